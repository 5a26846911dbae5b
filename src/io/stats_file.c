/* Statistics files: moments of layers, read one at a time. */
#include "reap/stats_file.h"

#include <math.h>
#include <string.h>

#include "hdf5_util.h"
#include "origin.h"
#include "reap/error.h"
#include "reap/memory.h"

struct reap_stats_file {
  char *path;
  hid_t file, layers;
  int64_t count;
  char **names;
};

int reap_stats_file_open(const char *path, reap_stats_file **out) {
  reap_stats_file *file = NULL;
  REAP_TRY(reap_calloc(&file, 1, sizeof *file));
  file->file = file->layers = REAP_H5_NONE;
  int status = reap_strdup(&file->path, path);
  if (status == REAP_OK) status = reap_h5_open(path, &file->file);
  if (status == REAP_OK) status = reap_h5_check_format(file->file, "reap-stats");
  if (status == REAP_OK) status = reap_h5_open_group(file->file, "layers", &file->layers);
  if (status == REAP_OK) status = reap_h5_list(file->layers, &file->count, &file->names);
  if (status == REAP_OK && file->count == 0) status = reap_error(REAP_ERR_INPUT, "%s: holds no layers", path);
  if (status == REAP_OK)
    *out = file;
  else
    reap_stats_file_close(&file);
  return status;
}

void reap_stats_file_close(reap_stats_file **handle) {
  reap_stats_file *file = *handle;
  if (!file) return;
  reap_h5_free_names(file->count, &file->names);
  reap_h5_close(&file->layers);
  reap_h5_close(&file->file);
  reap_free(&file->path);
  reap_free(handle);
}

int reap_stats_file_layers(const reap_stats_file *file) { return (int)file->count; }

const char *reap_stats_file_layer_name(const reap_stats_file *file, int layer) { return file->names[layer]; }

const char *reap_stats_file_path(const reap_stats_file *file) { return file->path; }

int reap_stats_file_find(const reap_stats_file *file, const char *name) {
  for (int64_t i = 0; i < file->count; i++)
    if (strcmp(file->names[i], name) == 0) return (int)i;
  return -1;
}

int reap_stats_file_origin(reap_stats_file *file, reap_origin *origin) {
  int status = reap_h5_read_origin(file->file, origin);
  if (status != REAP_OK) reap_origin_clear(origin);
  return status;
}

int reap_stats_file_node(reap_stats_file *file, int index, char **node) {
  hid_t layer = REAP_H5_NONE;
  REAP_TRY(reap_h5_open_group(file->layers, file->names[index], &layer));
  int status = reap_h5_has_attribute(layer, "node") ? reap_h5_read_string(layer, "node", node) : reap_strdup(node, "");
  reap_h5_close(&layer);
  return status;
}

/* The four arrays of a layer, opened and checked before anything is allocated. */
typedef struct arrays {
  hid_t gram, cross, sum_x, sum_y;
} arrays;

static int open_arrays(hid_t layer, int64_t n, int64_t *m, arrays *a) {
  int64_t cross[2], gram[2] = {n, n};
  REAP_TRY(reap_h5_open_dataset(layer, "cross", &a->cross));
  REAP_TRY(reap_h5_shape(a->cross, "cross", 2, 2, NULL, cross));
  reap_h5_close(&a->cross);
  *m = cross[1];
  cross[0] = n;
  if (*m < 1) return reap_h5_refuse(layer, "\"cross\" has no columns");
  REAP_TRY(reap_h5_expect(layer, "gram", H5T_FLOAT, 2, gram, &a->gram));
  REAP_TRY(reap_h5_expect(layer, "cross", H5T_FLOAT, 2, cross, &a->cross));
  REAP_TRY(reap_h5_expect(layer, "sum_x", H5T_FLOAT, 1, &n, &a->sum_x));
  return reap_h5_expect(layer, "sum_y", H5T_FLOAT, 1, m, &a->sum_y);
}

static int read_sizes(hid_t layer, int64_t *channels, int64_t *block, int64_t *n) {
  REAP_TRY(reap_h5_read_integer(layer, "channels", channels));
  REAP_TRY(reap_h5_read_integer(layer, "block", block));
  if (*channels < 1 || *block < 1 || reap_multiply(*channels, *block, n) != REAP_OK)
    return reap_h5_refuse(layer, "%lld channels of %lld columns make no sense", (long long)*channels,
                          (long long)*block);
  return REAP_OK;
}

static int read_moments(hid_t layer, const arrays *a, reap_moments *moments) {
  REAP_TRY(reap_h5_read_integer(layer, "samples", &moments->samples));
  REAP_TRY(reap_h5_read_numbers(layer, "energy", 1, &moments->energy));
  REAP_TRY(reap_h5_read(a->gram, "gram", H5T_NATIVE_DOUBLE, moments->gram));
  REAP_TRY(reap_h5_read(a->cross, "cross", H5T_NATIVE_DOUBLE, moments->cross));
  REAP_TRY(reap_h5_read(a->sum_x, "sum_x", H5T_NATIVE_DOUBLE, moments->sum_x));
  return reap_h5_read(a->sum_y, "sum_y", H5T_NATIVE_DOUBLE, moments->sum_y);
}

static int read_layer(hid_t layer, reap_moments **out) {
  int64_t channels = 0, block = 0, n = 0, m = 0;
  arrays a = {REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE};
  int status = read_sizes(layer, &channels, &block, &n);
  if (status == REAP_OK) status = open_arrays(layer, n, &m, &a);
  if (status == REAP_OK) status = reap_moments_create(channels, block, m, out);
  if (status == REAP_OK) status = read_moments(layer, &a, *out);
  reap_h5_close(&a.gram);
  reap_h5_close(&a.cross);
  reap_h5_close(&a.sum_x);
  reap_h5_close(&a.sum_y);
  return status;
}

/* What is wrong with a layer is told with its name; errors of the layers below begin with the file's. */
static int name_layer(const reap_stats_file *file, const char *name, int status) {
  if (status == REAP_OK) return status;
  char text[REAP_ERROR_LENGTH];
  strcpy(text, reap_error_message());
  size_t length = strlen(file->path);
  bool named = strncmp(text, file->path, length) == 0 && strncmp(text + length, ": ", 2) == 0;
  return reap_error(status, "%s: layer \"%s\": %s", file->path, name, named ? text + length + 2 : text);
}

int reap_stats_file_read(reap_stats_file *file, int index, reap_moments **out) {
  const char *name = file->names[index];
  hid_t layer = REAP_H5_NONE;
  reap_moments *moments = NULL;
  REAP_TRY(reap_h5_open_group(file->layers, name, &layer));
  int status = name_layer(file, name, read_layer(layer, &moments));
  reap_h5_close(&layer);
  char *what = NULL;
  if (status == REAP_OK) status = reap_format(&what, "%s: layer \"%s\"", file->path, name);
  if (status == REAP_OK) status = reap_moments_check(moments, what);
  reap_free(&what);
  if (status == REAP_OK)
    *out = moments;
  else
    reap_moments_destroy(&moments);
  return status;
}
