/* Stored outputs: one contiguous data set that every rank writes its images into. */
#include "reap/outputs_file.h"

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

struct reap_outputs_file {
  const reap_comm *comm;
  char *path, *temporary; /* temporary: owned by rank 0 alone, NULL elsewhere */
  hid_t file, dataset;
  int rank;               /* of the data set, images included */
  int64_t dims[MAX_RANK]; /* [images, ...] */
  int64_t row;            /* elements of one image's output */
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
  int status = reap_format(&name, "%s.tmp", file->path);
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
static int create_dataset(reap_outputs_file *file) {
  hsize_t sizes[MAX_RANK];
  for (int i = 0; i < file->rank; i++) sizes[i] = (hsize_t)file->dims[i];
  hid_t space = H5Screate_simple(file->rank, sizes, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  int status = REAP_OK;
  bool ready = space >= 0 && list >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0;
  if (!ready) status = reap_h5_path_error(file->path, "cannot be created");
  status = reap_comm_agree(file->comm, status);
  if (status == REAP_OK) {
    file->dataset = H5Dcreate2(file->file, "outputs", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (file->dataset < 0) status = reap_h5_path_error(file->path, "\"outputs\" cannot be created");
    status = reap_comm_agree(file->comm, status);
  }
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
}

static int set_shape(reap_outputs_file *file, int64_t images, int rank, const int64_t *dims) {
  int64_t total = 0;
  if (rank < 0 || rank >= MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "outputs of %d dimensions cannot be stored", rank);
  file->rank = rank + 1;
  file->dims[0] = images;
  for (int i = 0; i < rank; i++) file->dims[i + 1] = dims[i];
  REAP_TRY(reap_product(dims, rank, &file->row));
  REAP_TRY(reap_product(file->dims, file->rank, &total));
  return reap_multiply(total, (int64_t)sizeof(float), &total);
}

int reap_outputs_file_create(const reap_comm *comm, const char *path, int64_t images, int rank, const int64_t *dims,
                             reap_outputs_file **out) {
  reap_outputs_file *file = NULL;
  int status = reap_calloc(&file, 1, sizeof *file);
  if (status == REAP_OK) {
    file->comm = comm;
    file->file = file->dataset = REAP_H5_NONE;
    status = reap_strdup(&file->path, path);
    if (status == REAP_OK) status = set_shape(file, images, rank, dims);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = begin(file);
  if (status == REAP_OK) status = create_file(file);
  if (status == REAP_OK) status = create_dataset(file);
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

static int write_rows(reap_outputs_file *file, int64_t first, int64_t count, const float *outputs) {
  hsize_t start[MAX_RANK] = {(hsize_t)first}, sizes[MAX_RANK];
  sizes[0] = (hsize_t)count;
  for (int i = 1; i < file->rank; i++) sizes[i] = (hsize_t)file->dims[i];
  hid_t space = H5Dget_space(file->dataset), memory = H5Screate_simple(file->rank, sizes, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
              H5Dwrite(file->dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, outputs) >= 0;
  int status = done ? REAP_OK : write_error(file->path);
  reap_h5_close(&memory);
  reap_h5_close(&space);
  return status;
}

int reap_outputs_file_write(reap_outputs_file *file, int64_t first, int64_t count, const float *outputs) {
  if (first < 0 || count < 0 || first > file->dims[0] || count > file->dims[0] - first)
    return reap_error(REAP_ERR_INTERNAL, "%s: outputs %lld to %lld of %lld", file->path, (long long)first,
                      (long long)(first + count), (long long)file->dims[0]);
  if (file->row == 0) return REAP_OK;
  int64_t most = SLAB_BYTES / (int64_t)sizeof(float) / file->row;
  if (most < 1) most = 1;
  for (int64_t done = 0; done < count; done += most) {
    int64_t n = count - done < most ? count - done : most;
    REAP_TRY(write_rows(file, first + done, n, outputs + done * file->row));
  }
  return REAP_OK;
}

/* Closing is collective; a rank that failed takes part all the same. */
static bool close_all(reap_outputs_file *file) {
  bool closed = reap_h5_close(&file->dataset);
  return reap_h5_close(&file->file) && closed;
}

static void release(reap_outputs_file **file) {
  reap_durable_abandon(&(*file)->temporary);
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
