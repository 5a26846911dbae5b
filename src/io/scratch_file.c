/* Arrays of floats in a file without a name; see scratch_file.h.
 *
 * Cost: one transfer for each array, contiguous, without conversion, and a look-up of its name. HDF5 keeps account of
 * the gaps that dropped arrays leave for as long as the file is open.
 *
 * Failure modes: a full disk shows when an array is written; the file is then closed like any other.
 */
#include "scratch_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files/durable.h"
#include "io/hdf5/hdf5_driver.h"
#include "io/hdf5/hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"

struct reap_scratch_file {
  char *folder;
  hid_t file;
  int64_t written; /* arrays so far: the next one's number */
};

enum { SLOT_NAME = 24 };

int reap_scratch_folder_check(const char *folder) {
  struct stat about;
  if (!*folder) return reap_error(REAP_ERR_INPUT, "the name of the scratch folder is empty");
  if (stat(folder, &about) != 0)
    return reap_error(REAP_ERR_INPUT, "scratch folder %s: %s; name another", folder, strerror(errno));
  if (!S_ISDIR(about.st_mode))
    return reap_error(REAP_ERR_INPUT, "scratch folder %s: is not a folder; name another", folder);
  if (access(folder, W_OK | X_OK) != 0)
    return reap_error(REAP_ERR_INPUT, "scratch folder %s: %s; name another", folder, strerror(errno));
  return REAP_OK;
}

/* A failure of HDF5 or of the system, in words that tell what to do. */
static int explain(const char *folder, int status) {
  if (status == REAP_ERR_RESOURCE)
    return reap_error(
        status,
        "scratch folder %s has no room left for what exceeds the memory limit; name another, or raise the "
        "limit",
        folder);
  return reap_error_prefix(status, "scratch folder %s", folder);
}

/* Creates the file under a name of its own and takes the name away. */
static int create_nameless(const char *folder, hid_t *file) {
  char *path = NULL;
  REAP_TRY(reap_format(&path, "%s/reap-scratch-XXXXXX", folder));
  int fd = mkstemp(path), status = REAP_OK;
  if (fd < 0) {
    status = reap_durable_error(path, "cannot be created");
  } else {
    close(fd);
    status = reap_h5_create(path, path, file);
    unlink(path);
  }
  reap_free(&path);
  return status == REAP_OK ? REAP_OK : explain(folder, status);
}

int reap_scratch_file_create(const char *folder, reap_scratch_file **out) {
  reap_scratch_file *f = NULL;
  *out = NULL;
  REAP_TRY(reap_scratch_folder_check(folder));
  REAP_TRY(reap_calloc(&f, 1, sizeof *f));
  f->file = REAP_H5_NONE;
  int status = reap_strdup(&f->folder, folder);
  if (status == REAP_OK) status = create_nameless(folder, &f->file);
  if (status != REAP_OK) reap_scratch_file_destroy(&f);
  *out = f;
  return status;
}

void reap_scratch_file_destroy(reap_scratch_file **file) {
  reap_scratch_file *f = *file;
  if (!f) return;
  reap_h5_close(&f->file);
  reap_free(&f->folder);
  reap_free(file);
}

static void slot_name(int64_t slot, char name[SLOT_NAME]) { snprintf(name, SLOT_NAME, "%lld", (long long)slot); }

int reap_scratch_file_write(reap_scratch_file *f, int64_t count, const float *values, int64_t *slot) {
  char name[SLOT_NAME];
  slot_name(f->written, name);
  int status = reap_h5_write_vector(f->file, name, H5T_NATIVE_FLOAT, count, values);
  if (status != REAP_OK) return explain(f->folder, status);
  *slot = f->written++;
  return REAP_OK;
}

int reap_scratch_file_read(reap_scratch_file *f, int64_t slot, int64_t count, float *values) {
  char name[SLOT_NAME];
  hid_t dataset = REAP_H5_NONE;
  slot_name(slot, name);
  int status = reap_h5_expect(f->file, name, H5T_FLOAT, 1, &count, &dataset);
  if (status == REAP_OK) status = reap_h5_read(dataset, name, H5T_NATIVE_FLOAT, values);
  reap_h5_close(&dataset);
  return status == REAP_OK ? REAP_OK : explain(f->folder, status);
}

void reap_scratch_file_drop(reap_scratch_file *f, int64_t slot) {
  char name[SLOT_NAME];
  slot_name(slot, name);
  H5Ldelete(f->file, name, H5P_DEFAULT);
}

int64_t reap_scratch_file_size(const reap_scratch_file *f) {
  struct stat about;
  const int fd = reap_h5_driver_descriptor(f->file);
  return fd >= 0 && fstat(fd, &about) == 0 ? (int64_t)about.st_blocks * 512 : 0;
}
