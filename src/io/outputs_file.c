/* Stored outputs: for each of them one contiguous data set that every rank writes its images into.
 *
 * Rank 0 creates the file, data sets allocated, and closes it. From then on every rank writes rows at their places in
 * it with plain system calls: no rank waits for another, and a write that fails on one rank is that rank's error, to
 * be agreed on by the caller. (HDF5's own parallel files wait for ever for a rank whose write failed.)
 */
#include "outputs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/files/durable.h"
#include "io/files/file_bytes.h"
#include "io/hdf5/hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MAX_RANK = 16 };

typedef struct stored_output {
  char dataset_name[32];
  char *name;             /* attribute of the data set; NULL: it has none */
  int64_t offset;         /* of the first row in the file */
  int rank;               /* of the data set, images included */
  int64_t dims[MAX_RANK]; /* [images, ...] */
  int64_t row;            /* elements of one image's output */
} stored_output;

struct reap_outputs_file {
  const reap_comm *comm;
  char *path, *temporary; /* temporary: owned by rank 0 alone, NULL elsewhere */
  int descriptor;
  int count;
  stored_output *list; /* [count] */
};

/* ------------------------------------------------------------------ creating, on rank 0 */

/* A data set whose place in the file is fixed at once; one without elements has none. */
static int create_dataset(const reap_outputs_file *file, hid_t hdf5, stored_output *o) {
  hsize_t sizes[MAX_RANK];
  hid_t dataset = REAP_H5_NONE;
  for (int i = 0; i < o->rank; i++) sizes[i] = (hsize_t)o->dims[i];
  hid_t space = H5Screate_simple(o->rank, sizes, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  if (space >= 0 && list >= 0 && H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY) >= 0 &&
      H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0)
    dataset = H5Dcreate2(hdf5, o->dataset_name, H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
  int status = dataset < 0 ? reap_h5_path_error(file->path, "\"outputs\" cannot be created") : REAP_OK;
  if (status == REAP_OK && o->name) status = reap_h5_write_string(dataset, "name", o->name);
  const haddr_t place = dataset < 0 ? HADDR_UNDEF : H5Dget_offset(dataset);
  if (place != HADDR_UNDEF) o->offset = (int64_t)place;
  reap_h5_close(&dataset);
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
}

static int create_file(reap_outputs_file *file) {
  hid_t hdf5 = REAP_H5_NONE;
  REAP_TRY(reap_durable_begin(file->path, &file->temporary));
  int status = reap_h5_create(file->path, file->temporary, &hdf5);
  for (int k = 0; status == REAP_OK && k < file->count; k++) status = create_dataset(file, hdf5, &file->list[k]);
  if (status == REAP_OK) status = reap_h5_close_written(&hdf5, file->path);
  reap_h5_close(&hdf5);
  return status;
}

/* ------------------------------------------------------------------ opening, on all ranks */

/* Opens rank 0's file on all ranks. Collective. */
static int open_file(reap_outputs_file *file) {
  char *name = NULL;
  int status = REAP_OK;
  for (int k = 0; k < file->count; k++)
    REAP_TRY(reap_comm_broadcast(file->comm, &file->list[k].offset, sizeof file->list[k].offset, 0));
  REAP_TRY(reap_durable_share(file->comm, file->temporary, &name));
  file->descriptor = open(name, O_WRONLY | O_CLOEXEC);
  if (file->descriptor < 0)
    status = reap_durable_error(file->path, "cannot be opened by all ranks; write to a folder they share");
  reap_free(&name);
  return reap_comm_agree(file->comm, status);
}

static int set_shape(stored_output *o, int64_t images, const reap_outputs_shape *shape) {
  int64_t total = 0;
  if (shape->rank < 0 || shape->rank >= MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "outputs of %d dimensions cannot be stored", shape->rank);
  o->rank = shape->rank + 1;
  o->dims[0] = images;
  for (int i = 0; i < shape->rank; i++) o->dims[i + 1] = shape->dims[i];
  REAP_TRY(reap_product(shape->dims, shape->rank, &o->row));
  REAP_TRY(reap_product(o->dims, o->rank, &total));
  return reap_multiply(total, (int64_t)sizeof(float), &total);
}

/* Local. */
static int describe(reap_outputs_file *file, const char *path, int64_t images, int count,
                    const reap_outputs_shape *shapes) {
  REAP_TRY(reap_strdup(&file->path, path));
  REAP_TRY(reap_calloc(&file->list, count, sizeof *file->list));
  for (int k = 0; k < count; k++) {
    stored_output *o = &file->list[file->count++];
    snprintf(o->dataset_name, sizeof o->dataset_name, k == 0 ? "outputs" : "outputs_%d", k);
    if (shapes[k].name) REAP_TRY(reap_strdup(&o->name, shapes[k].name));
    REAP_TRY(set_shape(o, images, &shapes[k]));
  }
  return REAP_OK;
}

int reap_outputs_file_create(const reap_comm *comm, const char *path, int64_t images, int count,
                             const reap_outputs_shape *shapes, reap_outputs_file **out) {
  reap_outputs_file *file = NULL;
  int status = reap_calloc(&file, 1, sizeof *file);
  if (status == REAP_OK) {
    file->comm = comm;
    file->descriptor = -1;
    status = describe(file, path, images, count, shapes);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_comm_agree(comm, reap_comm_rank(comm) == 0 ? create_file(file) : REAP_OK);
  if (status == REAP_OK) status = open_file(file);
  if (status == REAP_OK)
    *out = file;
  else
    reap_outputs_file_destroy(&file);
  return status;
}

/* ------------------------------------------------------------------ writing */

int reap_outputs_file_write(reap_outputs_file *file, int output, int64_t first, int64_t count, const float *outputs) {
  const stored_output *o = &file->list[output];
  if (first < 0 || count < 0 || first > o->dims[0] || count > o->dims[0] - first)
    return reap_error(REAP_ERR_INTERNAL, "%s: outputs %lld to %lld of %lld", file->path, (long long)first,
                      (long long)(first + count), (long long)o->dims[0]);
  const int64_t row = o->row * (int64_t)sizeof *outputs;
  const int error = reap_bytes_write(file->descriptor, outputs, (size_t)(count * row), o->offset + first * row);
  if (error == 0) return REAP_OK;
  errno = error;
  return reap_durable_error(file->path, "cannot be written");
}

/* Some systems tell only here, and only the rank that wrote, that there was no room. */
static int close_file(reap_outputs_file *file) {
  const int descriptor = file->descriptor;
  file->descriptor = -1;
  int status = fsync(descriptor) == 0 ? REAP_OK : reap_durable_error(file->path, "cannot be brought to the disk");
  if (close(descriptor) != 0 && status == REAP_OK) status = reap_durable_error(file->path, "cannot be written");
  return status;
}

int reap_outputs_file_commit(reap_outputs_file **handle) {
  reap_outputs_file *file = *handle;
  const reap_comm *comm = file->comm;
  int status = reap_comm_agree(comm, close_file(file));
  if (status == REAP_OK && file->temporary) status = reap_durable_commit(&file->temporary, file->path);
  status = reap_comm_agree(comm, status);
  reap_outputs_file_destroy(handle);
  return status;
}

void reap_outputs_file_destroy(reap_outputs_file **handle) {
  reap_outputs_file *file = *handle;
  if (!file) return;
  if (file->descriptor >= 0) close(file->descriptor); /* the message stays that of the first failure */
  for (int k = 0; k < file->count; k++) reap_free(&file->list[k].name);
  reap_free(&file->list);
  reap_durable_abandon(&file->temporary);
  reap_free(&file->path);
  reap_free(handle);
}
