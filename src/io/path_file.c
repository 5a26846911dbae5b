/* Path files: the results of eliminating channels, one group per layer. */
#include "io/hdf5/hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

struct reap_path_file {
  reap_h5_output output;
};

int reap_path_file_create(const char *path, reap_path_file **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_h5_output *o = &(*out)->output;
  *o = REAP_H5_NO_OUTPUT;
  int status = reap_h5_output_begin(path, "reap-path", o);
  if (status == REAP_OK) status = reap_h5_create_group(o->file, "layers", &o->layers);
  if (status != REAP_OK) reap_path_file_destroy(out);
  return status;
}

static int write_attributes(hid_t layer, const reap_path *path) {
  REAP_TRY(reap_h5_write_integer(layer, "channels", path->channels));
  REAP_TRY(reap_h5_write_integer(layer, "block", path->block));
  REAP_TRY(reap_h5_write_double(layer, "energy", path->energy));
  REAP_TRY(reap_h5_write_double(layer, "ridge", path->ridge));
  REAP_TRY(reap_h5_write_double(layer, "rcond", path->rcond));
  return reap_h5_write_double(layer, "drift", path->drift);
}

static int write_layer(hid_t layer, const reap_path *path) {
  int64_t weights[2] = {0, path->m};
  REAP_TRY(reap_multiply(path->n_kept, path->block, &weights[0]));
  REAP_TRY(write_attributes(layer, path));
  REAP_TRY(reap_h5_write_vector(layer, "order", H5T_NATIVE_INT64, path->n_removed, path->order));
  REAP_TRY(reap_h5_write_vector(layer, "error", H5T_NATIVE_DOUBLE, path->n_removed, path->error));
  REAP_TRY(reap_h5_write_vector(layer, "error_plain", H5T_NATIVE_DOUBLE, path->n_removed, path->error_plain));
  REAP_TRY(reap_h5_write_vector(layer, "kept", H5T_NATIVE_INT64, path->n_kept, path->kept));
  REAP_TRY(reap_h5_write(layer, "weights", H5T_NATIVE_DOUBLE, H5T_NATIVE_DOUBLE, 2, weights, path->weights, NULL));
  return reap_h5_write_vector(layer, "bias", H5T_NATIVE_DOUBLE, path->m, path->bias);
}

int reap_path_file_write(reap_path_file *file, const char *layer, const reap_path *path) {
  hid_t group = REAP_H5_NONE;
  REAP_TRY(reap_h5_create_group(file->output.layers, layer, &group));
  int status = write_layer(group, path);
  if (!reap_h5_close(&group) && status == REAP_OK) status = reap_h5_path_error(file->output.path, "cannot be written");
  return status;
}

int reap_path_file_commit(reap_path_file **file) {
  const int status = reap_h5_output_commit(&(*file)->output);
  reap_path_file_destroy(file);
  return status;
}

void reap_path_file_destroy(reap_path_file **file) {
  if (!*file) return;
  reap_h5_output_abandon(&(*file)->output);
  reap_free(file);
}
