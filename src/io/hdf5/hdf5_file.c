/* A whole file written by one process. */
#include "hdf5_util.h"
#include "io/files/durable.h"
#include "reap/error.h"

int reap_h5_write_file(const char *path, const char *format, int (*fill)(hid_t file, const void *context),
                       const void *context) {
  char *temporary = NULL;
  hid_t file = REAP_H5_NONE;
  int status = reap_durable_begin(path, &temporary);
  if (status == REAP_OK) status = reap_h5_create(path, temporary, &file);
  if (status == REAP_OK) status = reap_h5_write_format(file, format);
  if (status == REAP_OK) status = fill(file, context);
  if (status == REAP_OK) status = reap_h5_close_written(&file, path);
  if (status == REAP_OK) status = reap_durable_commit(&temporary, path);
  reap_h5_close(&file);
  reap_durable_abandon(&temporary);
  return status;
}
