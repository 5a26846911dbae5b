/* Stored outputs: for each of them one contiguous data set that every rank writes its images into. */
#include "reap/outputs_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "hdf5_util.h"
#include "reap/comm_mpi.h"
#include "reap/durable.h"
#include "reap/error.h"
#include "reap/memory.h"

/* One transfer stays below MPI-IO's 2 GB. */
static const int64_t SLAB_BYTES = (int64_t)1 << 29;

/* A disk with less room than this is full. */
enum { FULL_BYTES = 1 << 18 };

enum { MAX_RANK = 16 };

typedef struct stored_output {
  char dataset_name[32];
  char *name;             /* attribute of the data set; NULL: it has none */
  hid_t dataset;
  int rank;               /* of the data set, images included */
  int64_t dims[MAX_RANK]; /* [images, ...] */
  int64_t row;            /* elements of one image's output */
} stored_output;

struct reap_outputs_file {
  const reap_comm *comm;
  char *path, *temporary; /* temporary: owned by rank 0 alone, NULL elsewhere */
  hid_t file;
  int count;
  stored_output *list;    /* [count] */
};

/* Checks on rank 0 whether the file can be written at all, before all ranks enter HDF5 together. */
static int begin(reap_outputs_file *file) {
  int status = REAP_OK;
  if (reap_comm_rank(file->comm) == 0) status = reap_durable_begin(file->path, &file->temporary);
  return reap_comm_agree(file->comm, status);
}

/* All ranks create the same file; the name is the same everywhere. */
static int create_file(reap_outputs_file *file) {
  char *name = NULL;
  hid_t access = REAP_H5_NONE;
  int status = reap_durable_share(file->comm, file->temporary, &name);
  if (status == REAP_OK) access = H5Pcreate(H5P_FILE_ACCESS);
  if (status == REAP_OK && (access < 0 || H5Pset_fapl_mpio(access, reap_comm_mpi(file->comm), MPI_INFO_NULL) < 0))
    status = reap_h5_path_error(file->path, "cannot be created in parallel");
  status = reap_comm_agree(file->comm, status);
  if (status == REAP_OK) {
    status = reap_h5_create(file->path, name, access, &file->file);
    status = reap_comm_agree(file->comm, status);
  }
  reap_h5_close(&access);
  reap_free(&name);
  return status;
}

/* Creating a data set is collective as well. */
static int create_dataset(reap_outputs_file *file, stored_output *o) {
  hsize_t sizes[MAX_RANK];
  for (int i = 0; i < o->rank; i++) sizes[i] = (hsize_t)o->dims[i];
  hid_t space = H5Screate_simple(o->rank, sizes, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  int status = REAP_OK;
  bool ready = space >= 0 && list >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0;
  if (!ready) status = reap_h5_path_error(file->path, "cannot be created");
  status = reap_comm_agree(file->comm, status);
  if (status == REAP_OK) {
    o->dataset = H5Dcreate2(file->file, o->dataset_name, H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (o->dataset < 0) status = reap_h5_path_error(file->path, "\"outputs\" cannot be created");
    if (status == REAP_OK && o->name) status = reap_h5_write_string(o->dataset, "name", o->name);
    status = reap_comm_agree(file->comm, status);
  }
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
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
static int describe(reap_outputs_file *file, const char *path, int64_t images, int count, const reap_outputs_shape *shapes) {
  REAP_TRY(reap_strdup(&file->path, path));
  REAP_TRY(reap_calloc(&file->list, count, sizeof *file->list));
  for (int k = 0; k < count; k++) {
    stored_output *o = &file->list[file->count++];
    o->dataset = REAP_H5_NONE;
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
    file->file = REAP_H5_NONE;
    status = describe(file, path, images, count, shapes);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = begin(file);
  if (status == REAP_OK) status = create_file(file);
  for (int k = 0; status == REAP_OK && k < count; k++) status = create_dataset(file, &file->list[k]);
  if (status == REAP_OK)
    *out = file;
  else if (file)
    reap_outputs_file_destroy(&file);
  return status;
}

/* MPI-IO may report no more than that less was written: a full disk has to be looked for. */
static int write_error(const char *path) {
  char *folder = NULL;
  int status = reap_h5_path_error(path, "\"outputs\" cannot be written");
  const char *slash = strrchr(path, '/');
  if (slash && reap_strndup(&folder, path, (size_t)(slash - path) + 1) != REAP_OK) return status;
  struct statvfs about;
  bool full = statvfs(folder ? folder : ".", &about) == 0 && about.f_bavail * about.f_frsize < FULL_BYTES;
  reap_free(&folder);
  return full ? reap_error(REAP_ERR_RESOURCE, "%s: cannot be written: the disk is full", path) : status;
}

static int write_rows(const reap_outputs_file *file, const stored_output *o, int64_t first, int64_t count, const float *outputs) {
  hsize_t start[MAX_RANK] = {(hsize_t)first}, sizes[MAX_RANK];
  sizes[0] = (hsize_t)count;
  for (int i = 1; i < o->rank; i++) sizes[i] = (hsize_t)o->dims[i];
  hid_t space = H5Dget_space(o->dataset), memory = H5Screate_simple(o->rank, sizes, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
              H5Dwrite(o->dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, outputs) >= 0;
  int status = done ? REAP_OK : write_error(file->path);
  reap_h5_close(&memory);
  reap_h5_close(&space);
  return status;
}

int reap_outputs_file_write(reap_outputs_file *file, int output, int64_t first, int64_t count, const float *outputs) {
  const stored_output *o = &file->list[output];
  if (first < 0 || count < 0 || first > o->dims[0] || count > o->dims[0] - first)
    return reap_error(REAP_ERR_INTERNAL, "%s: outputs %lld to %lld of %lld", file->path, (long long)first,
                      (long long)(first + count), (long long)o->dims[0]);
  if (o->row == 0) return REAP_OK;
  int64_t most = SLAB_BYTES / (int64_t)sizeof(float) / o->row;
  if (most < 1) most = 1;
  for (int64_t done = 0; done < count; done += most) {
    int64_t n = count - done < most ? count - done : most;
    REAP_TRY(write_rows(file, o, first + done, n, outputs + done * o->row));
  }
  return REAP_OK;
}

/* Closing is collective; a rank that failed takes part all the same. */
static bool close_all(reap_outputs_file *file) {
  bool closed = true;
  for (int k = 0; k < file->count; k++) closed = reap_h5_close(&file->list[k].dataset) && closed;
  return reap_h5_close(&file->file) && closed;
}

static void release(reap_outputs_file **file) {
  reap_durable_abandon(&(*file)->temporary);
  for (int k = 0; k < (*file)->count; k++) reap_free(&(*file)->list[k].name);
  reap_free(&(*file)->list);
  reap_free(&(*file)->path);
  reap_free(file);
}

int reap_outputs_file_commit(reap_outputs_file **handle) {
  reap_outputs_file *file = *handle;
  const reap_comm *comm = file->comm;
  int status = reap_comm_agree(comm, close_all(file) ? REAP_OK : write_error(file->path));
  if (status == REAP_OK && file->temporary) status = reap_durable_commit(&file->temporary, file->path);
  status = reap_comm_agree(comm, status);
  release(handle);
  return status;
}

void reap_outputs_file_destroy(reap_outputs_file **handle) {
  if (!*handle) return;
  close_all(*handle); /* the message stays that of the first failure */
  release(handle);
}
