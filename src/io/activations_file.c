/* Writing stored activations: one file, all ranks, collective transfers.
 *
 * Data sets with filters take collective transfers only: every rank joins each one, with an empty selection when it has
 * nothing. HDF5 hands a chunk that several ranks touch to one of them, which packs it.
 */
#include "reap/activations_file.h"

#include "hdf5_util.h"
#include "origin.h"
#include "reap/comm_mpi.h"
#include "reap/durable.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Chunks of about this size: large enough to pack well, small enough to be shared out among ranks. */
static const int64_t CHUNK_BYTES = (int64_t)1 << 20;

/* Floats are shuffled first; higher levels cost several times as much for a few per cent. */
enum { DEFLATE_LEVEL = 1 };

/* One data set of the layer at hand. */
typedef struct column {
  const char *name;
  hid_t file_type, memory_type, dataset;
  int rank;
  int64_t width;
} column;

enum { INPUTS, OUTPUTS, IMAGE, POSITION, COLUMNS };

struct reap_activations_file {
  const reap_comm *comm;
  char *path, *temporary; /* temporary: owned by rank 0 alone, NULL elsewhere */
  hid_t file, layers, layer, transfer;
  int64_t rows; /* of the layer at hand */
  column columns[COLUMNS];
};

static int fail(const reap_activations_file *file, const char *what) { return reap_h5_path_error(file->path, what); }

/* All ranks create the same file; rank 0 has looked whether it can be written at all. */
static int create_file(reap_activations_file *file) {
  char *name = NULL;
  hid_t access = REAP_H5_NONE;
  int status = reap_durable_share(file->comm, file->temporary, &name);
  if (status == REAP_OK) access = H5Pcreate(H5P_FILE_ACCESS);
  if (status == REAP_OK) file->transfer = H5Pcreate(H5P_DATASET_XFER);
  if (status == REAP_OK && (access < 0 || H5Pset_fapl_mpio(access, reap_comm_mpi(file->comm), MPI_INFO_NULL) < 0 ||
                            file->transfer < 0 || H5Pset_dxpl_mpio(file->transfer, H5FD_MPIO_COLLECTIVE) < 0))
    status = fail(file, "cannot be created in parallel");
  status = reap_comm_agree(file->comm, status);
  if (status == REAP_OK) status = reap_comm_agree(file->comm, reap_h5_create(file->path, name, access, &file->file));
  reap_h5_close(&access);
  reap_free(&name);
  return status;
}

static int write_head(reap_activations_file *file, const reap_origin *origin) {
  REAP_TRY(reap_h5_write_format(file->file, "reap-activations"));
  REAP_TRY(reap_h5_write_origin(file->file, origin));
  return reap_h5_create_group(file->file, "layers", &file->layers);
}

int reap_activations_file_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                                 reap_activations_file **out) {
  reap_activations_file *file = NULL;
  int status = reap_calloc(&file, 1, sizeof *file);
  if (status == REAP_OK) {
    file->comm = comm;
    file->file = file->layers = file->layer = file->transfer = REAP_H5_NONE;
    for (int i = 0; i < COLUMNS; i++) file->columns[i].dataset = REAP_H5_NONE;
    status = reap_strdup(&file->path, path);
    if (status == REAP_OK && reap_comm_rank(comm) == 0) status = reap_durable_begin(path, &file->temporary);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = create_file(file);
  if (status == REAP_OK) status = reap_comm_agree(comm, write_head(file, origin));
  if (status == REAP_OK)
    *out = file;
  else if (file)
    reap_activations_file_destroy(&file);
  return status;
}

/* ------------------------------------------------------------------ a layer */

static int create_column(reap_activations_file *file, column *c) {
  hsize_t dims[2] = {(hsize_t)file->rows, (hsize_t)c->width}, chunk[2];
  int64_t rows = CHUNK_BYTES / (c->width * (int64_t)H5Tget_size(c->file_type));
  if (rows > file->rows) rows = file->rows;
  chunk[0] = rows < 1 ? 1 : (hsize_t)rows;
  chunk[1] = (hsize_t)c->width;
  hid_t space = H5Screate_simple(c->rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  bool ready = space >= 0 && list >= 0 && H5Pset_chunk(list, c->rank, chunk) >= 0 && H5Pset_shuffle(list) >= 0 &&
               H5Pset_deflate(list, DEFLATE_LEVEL) >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0;
  if (ready) c->dataset = H5Dcreate2(file->layer, c->name, c->file_type, space, H5P_DEFAULT, list, H5P_DEFAULT);
  int status = c->dataset < 0 ? fail(file, c->name) : REAP_OK;
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
}

static int create_layer(reap_activations_file *file, const char *layer, const char *node, int64_t channels,
                        int64_t block) {
  REAP_TRY(reap_h5_create_group(file->layers, layer, &file->layer));
  REAP_TRY(reap_h5_write_integer(file->layer, "channels", channels));
  REAP_TRY(reap_h5_write_integer(file->layer, "block", block));
  REAP_TRY(reap_h5_write_integer(file->layer, "samples", file->rows));
  REAP_TRY(reap_h5_write_string(file->layer, "node", node));
  for (int i = 0; i < COLUMNS; i++) REAP_TRY(create_column(file, &file->columns[i]));
  return REAP_OK;
}

int reap_activations_file_begin(reap_activations_file *file, const char *layer, const char *node, int64_t channels,
                                int64_t block, int64_t m, int64_t rows) {
  const column columns[COLUMNS] = {
      {"inputs", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, REAP_H5_NONE, 2, channels * block},
      {"outputs", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, REAP_H5_NONE, 2, m},
      {"image", H5T_STD_I64LE, H5T_NATIVE_INT64, REAP_H5_NONE, 1, 1},
      {"position", H5T_STD_I64LE, H5T_NATIVE_INT64, REAP_H5_NONE, 2, 2},
  };
  for (int i = 0; i < COLUMNS; i++) file->columns[i] = columns[i];
  file->rows = rows;
  if (rows < 1)
    return reap_error(REAP_ERR_INPUT, "%s: layer \"%s\" has no rows: no image enters the moments", file->path, layer);
  return reap_comm_agree(file->comm, create_layer(file, layer, node, channels, block));
}

static int write_column(reap_activations_file *file, const column *c, int64_t first, int64_t count,
                        const void *values) {
  hsize_t start[2] = {(hsize_t)first, 0}, sizes[2] = {(hsize_t)count, (hsize_t)c->width};
  hid_t space = H5Dget_space(c->dataset), memory = H5Screate_simple(c->rank, sizes, NULL);
  bool ready = space >= 0 && memory >= 0;
  if (ready && count > 0)
    ready = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0;
  else if (ready)
    ready = H5Sselect_none(space) >= 0 && H5Sselect_none(memory) >= 0;
  const char nothing = 0;
  bool done =
      ready && H5Dwrite(c->dataset, c->memory_type, memory, space, file->transfer, count > 0 ? values : &nothing) >= 0;
  int status = done ? REAP_OK : fail(file, c->name);
  reap_h5_close(&memory);
  reap_h5_close(&space);
  return status;
}

int reap_activations_file_write(reap_activations_file *file, int64_t first, int64_t count, const float *inputs,
                                const float *outputs, const int64_t *image, const int64_t *position) {
  const void *values[COLUMNS] = {inputs, outputs, image, position};
  int status = REAP_OK;
  if (first < 0 || count < 0 || first > file->rows || count > file->rows - first)
    status = reap_error(REAP_ERR_INTERNAL, "%s: rows %lld to %lld of %lld", file->path, (long long)first,
                        (long long)(first + count), (long long)file->rows);
  REAP_TRY(reap_comm_agree(file->comm, status));
  for (int i = 0; i < COLUMNS; i++)
    REAP_TRY(reap_comm_agree(file->comm, write_column(file, &file->columns[i], first, count, values[i])));
  return REAP_OK;
}

static bool close_layer(reap_activations_file *file) {
  bool closed = true;
  for (int i = 0; i < COLUMNS; i++) closed = reap_h5_close(&file->columns[i].dataset) && closed;
  return reap_h5_close(&file->layer) && closed;
}

int reap_activations_file_end(reap_activations_file *file, double energy) {
  int status = reap_h5_write_double(file->layer, "energy", energy);
  if (!close_layer(file) && status == REAP_OK) status = fail(file, "cannot be written");
  return reap_comm_agree(file->comm, status);
}

/* ------------------------------------------------------------------ the end */

static bool close_all(reap_activations_file *file) {
  bool closed = close_layer(file);
  closed = reap_h5_close(&file->layers) && closed;
  return reap_h5_close(&file->file) && closed;
}

static void release(reap_activations_file **handle) {
  reap_h5_close(&(*handle)->transfer);
  reap_durable_abandon(&(*handle)->temporary);
  reap_free(&(*handle)->path);
  reap_free(handle);
}

int reap_activations_file_commit(reap_activations_file **handle) {
  reap_activations_file *file = *handle;
  const reap_comm *comm = file->comm;
  int status = reap_comm_agree(comm, close_all(file) ? REAP_OK : fail(file, "cannot be written"));
  if (status == REAP_OK && file->temporary) status = reap_durable_commit(&file->temporary, file->path);
  status = reap_comm_agree(comm, status);
  release(handle);
  return status;
}

void reap_activations_file_destroy(reap_activations_file **handle) {
  if (!*handle) return;
  close_all(*handle); /* the message stays that of the first failure */
  release(handle);
}
