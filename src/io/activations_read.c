/* Reading stored activations, rows at a time. */
#include <math.h>
#include <string.h>

#include "activations_file.h"
#include "io/hdf5/hdf5_util.h"
#include "origin_attributes.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct stored_layer {
  reap_activations_layer about;
  char *node;
  hid_t inputs, outputs;
} stored_layer;

struct reap_activations_reader {
  char *path;
  hid_t file, layers;
  reap_origin origin;
  int64_t count;
  char **names;
  stored_layer *list; /* [count] */
};

static int read_sizes(hid_t group, stored_layer *l, int64_t *n) {
  reap_activations_layer *about = &l->about;
  int64_t outputs[2], samples = 0;
  REAP_TRY(reap_h5_read_integer(group, "channels", &about->channels));
  REAP_TRY(reap_h5_read_integer(group, "block", &about->block));
  REAP_TRY(reap_h5_read_integer(group, "samples", &samples));
  if (about->channels < 1 || about->block < 1 || reap_multiply(about->channels, about->block, n) != REAP_OK)
    return reap_h5_refuse(group, "layer \"%s\": %lld channels of %lld columns make no sense", about->name,
                          (long long)about->channels, (long long)about->block);
  REAP_TRY(reap_h5_open_dataset(group, "outputs", &l->outputs));
  REAP_TRY(reap_h5_shape(l->outputs, "outputs", 2, 2, NULL, outputs));
  reap_h5_close(&l->outputs);
  about->rows = outputs[0];
  about->m = outputs[1];
  if (about->rows < 1 || about->m < 1 || samples != about->rows)
    return reap_h5_refuse(group, "layer \"%s\": %lld rows of %lld outputs for %lld samples make no sense", about->name,
                          (long long)about->rows, (long long)about->m, (long long)samples);
  return REAP_OK;
}

static int open_layer(const reap_activations_reader *reader, const char *name, stored_layer *l) {
  hid_t group = REAP_H5_NONE;
  int64_t n = 0;
  l->about.name = name;
  REAP_TRY(reap_h5_open_group(reader->layers, name, &group));
  int status = read_sizes(group, l, &n);
  const int64_t inputs[] = {l->about.rows, n}, outputs[] = {l->about.rows, l->about.m};
  if (status == REAP_OK) status = reap_h5_expect(group, "inputs", H5T_FLOAT, 2, inputs, &l->inputs);
  if (status == REAP_OK) status = reap_h5_expect(group, "outputs", H5T_FLOAT, 2, outputs, &l->outputs);
  if (status == REAP_OK)
    status =
        reap_h5_has_attribute(group, "node") ? reap_h5_read_string(group, "node", &l->node) : reap_strdup(&l->node, "");
  l->about.node = l->node;
  reap_h5_close(&group);
  return status;
}

static int open_all(reap_activations_reader *r) {
  REAP_TRY(reap_h5_open(r->path, &r->file));
  REAP_TRY(reap_h5_check_format(r->file, "reap-activations"));
  REAP_TRY(reap_h5_read_origin(r->file, &r->origin));
  REAP_TRY(reap_h5_open_group(r->file, "layers", &r->layers));
  REAP_TRY(reap_h5_list(r->layers, &r->count, &r->names));
  if (r->count == 0) return reap_error(REAP_ERR_INPUT, "%s: holds no layers", r->path);
  REAP_TRY(reap_calloc(&r->list, r->count, sizeof *r->list));
  for (int64_t i = 0; i < r->count; i++) r->list[i].inputs = r->list[i].outputs = REAP_H5_NONE;
  for (int64_t i = 0; i < r->count; i++) REAP_TRY(open_layer(r, r->names[i], &r->list[i]));
  return REAP_OK;
}

int reap_activations_open(const char *path, reap_activations_reader **out) {
  reap_activations_reader *r = NULL;
  REAP_TRY(reap_calloc(&r, 1, sizeof *r));
  r->file = r->layers = REAP_H5_NONE;
  int status = reap_strdup(&r->path, path);
  if (status == REAP_OK) status = open_all(r);
  if (status == REAP_OK)
    *out = r;
  else
    reap_activations_close(&r);
  return status;
}

void reap_activations_close(reap_activations_reader **handle) {
  reap_activations_reader *r = *handle;
  if (!r) return;
  for (int64_t i = 0; r->list && i < r->count; i++) {
    reap_h5_close(&r->list[i].inputs);
    reap_h5_close(&r->list[i].outputs);
    reap_free(&r->list[i].node);
  }
  reap_free(&r->list);
  reap_h5_free_names(r->count, &r->names);
  reap_h5_close(&r->layers);
  reap_h5_close(&r->file);
  reap_origin_clear(&r->origin);
  reap_free(&r->path);
  reap_free(handle);
}

const reap_origin *reap_activations_origin(const reap_activations_reader *reader) { return &reader->origin; }
int reap_activations_layers(const reap_activations_reader *reader) { return (int)reader->count; }

const reap_activations_layer *reap_activations_layer_at(const reap_activations_reader *reader, int layer) {
  return &reader->list[layer].about;
}

static int read_rows(const reap_activations_reader *reader, const stored_layer *l, hid_t from, const char *name,
                     int64_t width, int64_t first, int64_t count, float *out) {
  hsize_t start[2] = {(hsize_t)first, 0}, sizes[2] = {(hsize_t)count, (hsize_t)width};
  hid_t space = H5Dget_space(from), memory = H5Screate_simple(2, sizes, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
              H5Dread(from, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, out) >= 0;
  int status = done ? REAP_OK : reap_h5_path_error(reader->path, "cannot be read; copy or write it again");
  reap_h5_close(&memory);
  reap_h5_close(&space);
  REAP_TRY(status);
  for (int64_t i = 0; i < count * width; i++)
    if (!isfinite(out[i]))
      return reap_error(REAP_ERR_INPUT, "%s: layer \"%s\": \"%s\" holds a NaN or an infinity in row %lld", reader->path,
                        l->about.name, name, (long long)(first + i / width));
  return REAP_OK;
}

int reap_activations_read(reap_activations_reader *reader, int layer, int64_t first, int64_t count, float *inputs,
                          float *outputs) {
  const stored_layer *l = &reader->list[layer];
  if (first < 0 || count < 0 || first > l->about.rows || count > l->about.rows - first)
    return reap_error(REAP_ERR_INTERNAL, "%s: rows %lld to %lld of %lld were asked for", reader->path, (long long)first,
                      (long long)(first + count), (long long)l->about.rows);
  if (count == 0) return REAP_OK;
  REAP_TRY(read_rows(reader, l, l->inputs, "inputs", l->about.channels * l->about.block, first, count, inputs));
  return read_rows(reader, l, l->outputs, "outputs", l->about.m, first, count, outputs);
}
