/* Statistics files: moments of layers, read one at a time. */
#include "reap/stats_file.h"

#include <math.h>
#include <string.h>

#include "io/hdf5/hdf5_util.h"
#include "origin_attributes.h"
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

static void close_arrays(arrays *a) {
  reap_h5_close(&a->gram);
  reap_h5_close(&a->cross);
  reap_h5_close(&a->sum_x);
  reap_h5_close(&a->sum_y);
}

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
  close_arrays(&a);
  return status;
}

/* An error in a layer names the layer; errors of the layers below begin with the file's. */
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
  if (status == REAP_OK) status = name_layer(file, name, reap_moments_check(moments));
  if (status == REAP_OK)
    *out = moments;
  else
    reap_moments_destroy(&moments);
  return status;
}

/* ------------------------------------------------------------------ piece by piece */

struct reap_stats_source {
  hid_t layer;
  arrays data;
  reap_gram gram;
  double *diagonal, *sum_x, *sum_y;
};

int reap_stats_file_shape(reap_stats_file *file, int index, int64_t *channels, int64_t *block, int64_t *m) {
  hid_t layer = REAP_H5_NONE;
  int64_t n = 0;
  arrays a = {REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE};
  REAP_TRY(reap_h5_open_group(file->layers, file->names[index], &layer));
  int status = read_sizes(layer, channels, block, &n);
  if (status == REAP_OK) status = open_arrays(layer, n, m, &a);
  close_arrays(&a);
  reap_h5_close(&layer);
  return name_layer(file, file->names[index], status);
}

/* Rows and columns of a stored matrix as rows of `ld` elements in memory. */
static int read_rows(hid_t dataset, const char *name, int64_t row, int64_t rows, int64_t column, int64_t columns,
                     double *out, int64_t ld) {
  const hsize_t start[] = {(hsize_t)row, (hsize_t)column}, count[] = {(hsize_t)rows, (hsize_t)columns};
  const hsize_t zero[] = {0, 0}, shape[] = {(hsize_t)rows, (hsize_t)ld};
  hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(2, shape, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
              H5Sselect_hyperslab(memory, H5S_SELECT_SET, zero, NULL, count, NULL) >= 0 &&
              H5Dread(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, out) >= 0;
  int status = done ? REAP_OK : reap_h5_error(dataset, name);
  reap_h5_close(&space);
  reap_h5_close(&memory);
  return status;
}

/* Slabs of whole rows, well below the 2 GB that a transfer of parallel HDF5 1.10 may have. */
enum { SLAB_BYTES = 1 << 28 };

static int gram_piece(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                      int64_t ld) {
  const reap_stats_source *s = context;
  const int64_t most = 1 + SLAB_BYTES / ((int64_t)sizeof *out * ld);
  for (int64_t j = 0; j < columns; j += most) /* symmetric: what is wanted by columns lies by rows */
    REAP_TRY(read_rows(s->data.gram, "gram", column + j, columns - j < most ? columns - j : most, row, rows,
                       out + j * ld, ld));
  return REAP_OK;
}

static int cross_piece(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                       int64_t ld) {
  const reap_stats_source *s = context;
  const int64_t most = 1 + (1 << 20) / columns;
  double *slab = NULL;
  int status = reap_alloc(&slab, (rows < most ? rows : most) * columns, sizeof *slab);
  for (int64_t i = 0; status == REAP_OK && i < rows; i += most) {
    const int64_t height = rows - i < most ? rows - i : most;
    status = read_rows(s->data.cross, "cross", row + i, height, column, columns, slab, columns);
    for (int64_t j = 0; status == REAP_OK && j < columns; j++)
      for (int64_t k = 0; k < height; k++) out[i + k + j * ld] = slab[k * columns + j];
  }
  reap_free(&slab);
  return status;
}

static int read_diagonal(hid_t gram, int64_t n, double *out) {
  hsize_t *points = NULL;
  const hsize_t count = (hsize_t)n;
  REAP_TRY(reap_alloc(&points, 2 * n, sizeof *points));
  for (int64_t i = 0; i < n; i++) points[2 * i] = points[2 * i + 1] = (hsize_t)i;
  hid_t space = H5Dget_space(gram), memory = H5Screate_simple(1, &count, NULL);
  bool done = space >= 0 && memory >= 0 && H5Sselect_elements(space, H5S_SELECT_SET, (size_t)n, points) >= 0 &&
              H5Dread(gram, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, out) >= 0;
  int status = done ? REAP_OK : reap_h5_error(gram, "gram");
  reap_h5_close(&space);
  reap_h5_close(&memory);
  reap_free(&points);
  return status;
}

static int fill_source(reap_stats_source *s) {
  reap_gram *m = &s->gram;
  REAP_TRY(read_sizes(s->layer, &m->channels, &m->block, &m->n));
  REAP_TRY(open_arrays(s->layer, m->n, &m->m, &s->data));
  REAP_TRY(reap_h5_read_integer(s->layer, "samples", &m->samples));
  REAP_TRY(reap_h5_read_numbers(s->layer, "energy", 1, &m->energy));
  REAP_TRY(reap_alloc(&s->diagonal, m->n, sizeof *s->diagonal));
  REAP_TRY(reap_alloc(&s->sum_x, m->n, sizeof *s->sum_x));
  REAP_TRY(reap_alloc(&s->sum_y, m->m, sizeof *s->sum_y));
  REAP_TRY(reap_h5_read(s->data.sum_x, "sum_x", H5T_NATIVE_DOUBLE, s->sum_x));
  REAP_TRY(reap_h5_read(s->data.sum_y, "sum_y", H5T_NATIVE_DOUBLE, s->sum_y));
  m->diagonal = s->diagonal;
  m->diagonal_step = 1;
  m->sum_x = s->sum_x;
  m->sum_y = s->sum_y;
  m->context = s;
  m->gram = gram_piece;
  m->cross = cross_piece;
  return read_diagonal(s->data.gram, m->n, s->diagonal);
}

int reap_stats_source_open(reap_stats_file *file, int index, reap_stats_source **out) {
  reap_stats_source *s = NULL;
  REAP_TRY(reap_calloc(&s, 1, sizeof *s));
  s->layer = REAP_H5_NONE;
  s->data = (arrays){REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE};
  int status = reap_h5_open_group(file->layers, file->names[index], &s->layer);
  if (status == REAP_OK) status = name_layer(file, file->names[index], fill_source(s));
  if (status != REAP_OK) reap_stats_source_close(&s);
  *out = s;
  return status;
}

void reap_stats_source_close(reap_stats_source **source) {
  reap_stats_source *s = *source;
  if (!s) return;
  close_arrays(&s->data);
  reap_h5_close(&s->layer);
  reap_free(&s->diagonal);
  reap_free(&s->sum_x);
  reap_free(&s->sum_y);
  reap_free(source);
}

const reap_gram *reap_stats_source_gram(const reap_stats_source *s) { return &s->gram; }
