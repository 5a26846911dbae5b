/* Files written by one process. */
#include "hdf5_util.h"
#include "io/files/durable.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_h5_output_begin(const char *path, const char *format, reap_h5_output *o) {
  REAP_TRY(reap_strdup(&o->path, path));
  REAP_TRY(reap_durable_begin(path, &o->temporary));
  REAP_TRY(reap_h5_create(path, o->temporary, &o->file));
  return reap_h5_write_format(o->file, format);
}

int reap_h5_output_commit(reap_h5_output *o) {
  if (!reap_h5_close(&o->layers)) return reap_h5_path_error(o->path, "cannot be written");
  REAP_TRY(reap_h5_close_written(&o->file, o->path));
  return reap_durable_commit(&o->temporary, o->path);
}

void reap_h5_output_abandon(reap_h5_output *o) {
  reap_h5_close(&o->layers);
  reap_h5_close(&o->file);
  reap_durable_abandon(&o->temporary);
  reap_free(&o->path);
}

int reap_h5_write_file(const char *path, const char *format, int (*fill)(hid_t file, const void *context),
                       const void *context) {
  reap_h5_output output = REAP_H5_NO_OUTPUT;
  int status = reap_h5_output_begin(path, format, &output);
  if (status == REAP_OK) status = fill(output.file, context);
  if (status == REAP_OK) status = reap_h5_output_commit(&output);
  reap_h5_output_abandon(&output);
  return status;
}
