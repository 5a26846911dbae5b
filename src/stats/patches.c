/* Gathering rows of patches in the file's order of columns; see patches.h. */
#include "patches.h"

#include <string.h>

#include "base/random.h"
#include "exec/kernels/im2col.h"

static bool takes_all(const reap_layer *layer, const reap_sampling *sampling) {
  return sampling->positions <= 0 || sampling->positions >= layer->positions;
}

int64_t reap_patches_per_image(const reap_layer *layer, const reap_sampling *sampling) {
  return takes_all(layer, sampling) ? layer->positions : sampling->positions;
}

void reap_patches_positions(const reap_layer *layer, const char *name, const reap_sampling *sampling, int64_t image,
                            int64_t *positions) {
  if (takes_all(layer, sampling)) {
    for (int64_t p = 0; p < layer->positions; p++) positions[p] = p;
    return;
  }
  reap_random random = reap_random_init(sampling->seed, reap_random_key(name), (uint64_t)image);
  reap_random_sample(&random, layer->positions, sampling->positions, positions);
}

void reap_patches_place(const reap_layer *layer, int64_t position, int64_t place[2]) {
  const int64_t width = layer->convolution ? layer->window.out_width : 1;
  place[0] = position / width;
  place[1] = position % width;
}

int64_t reap_patches_input_size(const reap_layer *layer) {
  return layer->convolution ? layer->window.height * layer->window.width * layer->channels
                            : layer->positions * layer->n;
}

int64_t reap_patches_output_size(const reap_layer *layer) { return layer->positions * layer->m; }

/* Column t * channels + c of a patch becomes c * block + t. */
static void reorder(const reap_layer *layer, const float *from, float *to) {
  for (int64_t t = 0; t < layer->block; t++)
    for (int64_t c = 0; c < layer->channels; c++) to[c * layer->block + t] = from[t * layer->channels + c];
}

/* One row of a matrix product, or of any layer's outputs. */
static void copy_row(const reap_row_layout *rows, int64_t columns, const float *image, int64_t position, float *to) {
  const float *from = image + reap_row_start(rows, columns, position);
  const int64_t step = reap_row_step(rows);
  if (step == 1)
    memcpy(to, from, (size_t)columns * sizeof *to);
  else
    for (int64_t i = 0; i < columns; i++) to[i] = from[i * step];
}

void reap_patches_gather(const reap_layer *layer, const float *x, const float *y, int64_t count,
                         const int64_t *positions, float *scratch, float *rows_x, float *rows_y) {
  const int64_t n = layer->n, m = layer->m;
  for (int64_t r = 0; r < count; r++) {
    const int64_t p = positions[r];
    if (layer->convolution) {
      reap_im2col_rows_f32(&layer->window, x, 0, layer->channels, 1, &p, 0, scratch);
      reorder(layer, scratch, rows_x + r * n);
    } else {
      copy_row(&layer->rows_x, n, x, p, rows_x + r * n);
    }
    copy_row(&layer->rows_y, m, y, p, rows_y + r * m);
  }
}
