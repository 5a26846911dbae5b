/* Writing stored activations: rank 0 writes the file, all ranks pack what goes into it (packed_rows.h). */
#include "activations_file.h"

#include "io/hdf5/hdf5_util.h"
#include "origin_attributes.h"
#include "packed_rows.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

enum { INPUTS, OUTPUTS, IMAGE, POSITION, COLUMNS };

struct reap_activations_file {
  const reap_comm *comm;
  reap_h5_output output; /* rank 0's, but for the path */
  hid_t layer;           /* rank 0's */
  int64_t rows;          /* of the current layer */
  packed_rows columns[COLUMNS];
};

static bool writes(const reap_activations_file *file) { return reap_comm_rank(file->comm) == 0; }

static int create_file(const char *path, const reap_origin *origin, reap_h5_output *o) {
  REAP_TRY(reap_h5_output_begin(path, "reap-activations", o));
  REAP_TRY(reap_h5_write_origin(o->file, origin));
  return reap_h5_create_group(o->file, "layers", &o->layers);
}

int reap_activations_file_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                                 reap_activations_file **out) {
  reap_activations_file *file = NULL;
  int status = reap_calloc(&file, 1, sizeof *file);
  if (status == REAP_OK) {
    file->comm = comm;
    file->output = REAP_H5_NO_OUTPUT;
    file->layer = REAP_H5_NONE;
    for (int i = 0; i < COLUMNS; i++) file->columns[i].dataset = REAP_H5_NONE;
    status = writes(file) ? create_file(path, origin, &file->output) : reap_strdup(&file->output.path, path);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    *out = file;
  else
    reap_activations_file_destroy(&file);
  return status;
}

/* ------------------------------------------------------------------ a layer */

static int create_layer(reap_activations_file *file, const char *layer, const char *node, int64_t channels,
                        int64_t block) {
  REAP_TRY(reap_h5_create_group(file->output.layers, layer, &file->layer));
  REAP_TRY(reap_h5_write_integer(file->layer, "channels", channels));
  REAP_TRY(reap_h5_write_integer(file->layer, "block", block));
  REAP_TRY(reap_h5_write_integer(file->layer, "samples", file->rows));
  return reap_h5_write_string(file->layer, "node", node);
}

int reap_activations_file_begin(reap_activations_file *file, const char *layer, const char *node, int64_t channels,
                                int64_t block, int64_t m, int64_t rows) {
  const hid_t f32 = H5T_IEEE_F32LE, f = H5T_NATIVE_FLOAT, i64 = H5T_STD_I64LE, i = H5T_NATIVE_INT64;
  const packed_rows columns[COLUMNS] = {
      {"inputs", file->output.path, f32, f, 2, rows, channels * block, 0, REAP_H5_NONE},
      {"outputs", file->output.path, f32, f, 2, rows, m, 0, REAP_H5_NONE},
      {"image", file->output.path, i64, i, 1, rows, 1, 0, REAP_H5_NONE},
      {"position", file->output.path, i64, i, 2, rows, 2, 0, REAP_H5_NONE},
  };
  if (rows < 1)
    return reap_error(REAP_ERR_INPUT, "%s: layer \"%s\" has no rows: no image enters the moments", file->output.path,
                      layer);
  for (int k = 0; k < COLUMNS; k++) file->columns[k] = columns[k];
  file->rows = rows;
  int status = writes(file) ? create_layer(file, layer, node, channels, block) : REAP_OK;
  for (int k = 0; k < COLUMNS && status == REAP_OK; k++)
    status = reap_packed_rows_create(file->layer, &file->columns[k]);
  return reap_comm_agree(file->comm, status);
}

int reap_activations_file_write(reap_activations_file *file, int64_t first, int64_t count, const float *inputs,
                                const float *outputs, const int64_t *image, const int64_t *position) {
  const void *values[COLUMNS] = {inputs, outputs, image, position};
  int status = REAP_OK;
  if (first < 0 || count < 0 || first > file->rows || count > file->rows - first)
    status = reap_error(REAP_ERR_INTERNAL, "%s: rows %lld to %lld of %lld", file->output.path, (long long)first,
                        (long long)(first + count), (long long)file->rows);
  REAP_TRY(reap_comm_agree(file->comm, status));
  for (int i = 0; i < COLUMNS; i++)
    REAP_TRY(reap_packed_rows_write(file->comm, &file->columns[i], first, count, values[i]));
  return REAP_OK;
}

static bool close_layer(reap_activations_file *file) {
  bool closed = true;
  for (int i = 0; i < COLUMNS; i++) closed = reap_h5_close(&file->columns[i].dataset) && closed;
  return reap_h5_close(&file->layer) && closed;
}

static int end_layer(reap_activations_file *file, double energy) {
  REAP_TRY(reap_h5_write_double(file->layer, "energy", energy));
  if (!close_layer(file)) return reap_h5_path_error(file->output.path, "cannot be written");
  return reap_h5_written(file->output.layers);
}

int reap_activations_file_end(reap_activations_file *file, double energy) {
  return reap_comm_agree(file->comm, writes(file) ? end_layer(file, energy) : REAP_OK);
}

/* ------------------------------------------------------------------ the end */

static int commit(reap_activations_file *file) {
  if (!close_layer(file)) return reap_h5_path_error(file->output.path, "cannot be written");
  return reap_h5_output_commit(&file->output);
}

int reap_activations_file_commit(reap_activations_file **handle) {
  reap_activations_file *file = *handle;
  const int status = reap_comm_agree(file->comm, writes(file) ? commit(file) : REAP_OK);
  reap_activations_file_destroy(handle);
  return status;
}

void reap_activations_file_destroy(reap_activations_file **handle) {
  reap_activations_file *file = *handle;
  if (!file) return;
  close_layer(file); /* the message stays that of the first failure */
  reap_h5_output_abandon(&file->output);
  reap_free(handle);
}

int reap_activations_check_size(const char *path, double bytes, int64_t positions) {
  const double most = 64e9; /* of all positions: more is a mistake rather than a wish */
  if (positions == 0 && bytes > most)
    return reap_error(REAP_ERR_USAGE, "%s: would hold %.0f GB of activations; take a number of positions of each image",
                      path, bytes / 1e9);
  reap_log(REAP_LOG_INFO, "%s: %.3g MB of activations before they are packed", path, bytes / 1e6);
  return REAP_OK;
}
