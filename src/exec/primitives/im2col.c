/* Patches as rows of a matrix; see im2col.h.
 *
 * Cost: one write of n_positions * kernel_y * kernel_x * channels numbers; what is read stays in the cache, as
 * neighbouring windows overlap. With float64 rows the images are widened on the way.
 */
#include "im2col.h"

#include <string.h>

/* What differs between the precisions: elements [at, at + n) of `rows` become a run of an image, or zeros. */
typedef void (*copy_run)(void *rows, int64_t at, const float *from, int64_t n);
typedef void (*zero_run)(void *rows, int64_t at, int64_t n);

static inline void copy_f32(void *rows, int64_t at, const float *from, int64_t n) {
  memcpy((float *)rows + at, from, (size_t)n * sizeof(float));
}

static inline void zero_f32(void *rows, int64_t at, int64_t n) {
  memset((float *)rows + at, 0, (size_t)n * sizeof(float));
}

static inline void copy_f64(void *rows, int64_t at, const float *from, int64_t n) {
  double *restrict to = (double *)rows + at;
  for (int64_t i = 0; i < n; i++) to[i] = (double)from[i];
}

static inline void zero_f64(void *rows, int64_t at, int64_t n) {
  memset((double *)rows + at, 0, (size_t)n * sizeof(double));
}

/* Taps [*first, *last) of `kernel` that lie inside 0 .. size-1 if tap 0 is at `start`. */
static inline void taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t size, int64_t *first,
                               int64_t *last) {
  int64_t lo = start < 0 ? (-start + dilation - 1) / dilation : 0;
  int64_t hi = size > start ? (size - start + dilation - 1) / dilation : 0;
  if (hi > kernel) hi = kernel;
  *first = lo < hi ? lo : hi;
  *last = hi;
}

/* Channels of an image that are copied, and how. */
typedef struct run {
  const float *image;
  int64_t first_channel, channels;
  copy_run copy;
  zero_run zero;
} run;

/* The window whose first tap is at (z0, y0, x0). Inlined, as the rest, into each precision's function with that
 * precision's runs, which are constants there. */
static inline __attribute__((always_inline)) void gather_one(const reap_window *w, const run *f, int64_t z0, int64_t y0,
                                                             int64_t x0, void *rows, int64_t at) {
  const int64_t channels = f->channels, line = w->kernel_x * channels; /* columns of one kernel row */
  const bool whole = channels == w->channels && w->dilation_x == 1;
  int64_t first, last; /* taps of a kernel row inside the image */
  taps_inside(x0, w->kernel_x, w->dilation_x, w->width, &first, &last);
  for (int64_t kz = 0, z = z0; kz < w->kernel_z; kz++, z += w->dilation_z)
    for (int64_t ky = 0, y = y0; ky < w->kernel_y; ky++, y += w->dilation_y, at += line) {
      if (z < 0 || z >= w->depth || y < 0 || y >= w->height || first >= last) {
        f->zero(rows, at, line);
        continue;
      }
      const int64_t row = (z * w->height + y) * w->width;
      const float *from = f->image + (row + x0 + first * w->dilation_x) * w->channels + f->first_channel;
      if (first > 0) f->zero(rows, at, first * channels);
      if (last < w->kernel_x) f->zero(rows, at + last * channels, (w->kernel_x - last) * channels);
      if (whole) {
        f->copy(rows, at + first * channels, from, (last - first) * channels);
      } else {
        for (int64_t kx = first; kx < last; kx++, from += w->dilation_x * w->channels)
          f->copy(rows, at + kx * channels, from, channels);
      }
    }
}

static inline __attribute__((always_inline)) void gather(const reap_window *w, const run *f, int64_t n_positions,
                                                         const int64_t *positions, int64_t first_position, void *rows) {
  const int64_t columns = reap_window_taps(w) * f->channels;
  int64_t ox = first_position % w->out_width - 1, row = first_position / w->out_width;
  int64_t oy = row % w->out_height, oz = row / w->out_height;
  for (int64_t r = 0; r < n_positions; r++) {
    if (positions) {
      ox = positions[r] % w->out_width;
      row = positions[r] / w->out_width;
      oy = row % w->out_height;
      oz = row / w->out_height;
    } else if (++ox == w->out_width) {
      ox = 0;
      if (++oy == w->out_height) oy = 0, oz++;
    }
    gather_one(w, f, oz * w->stride_z - w->pad_front, oy * w->stride_y - w->pad_top, ox * w->stride_x - w->pad_left,
               rows, r * columns);
  }
}

void reap_im2col_rows_f32(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, float *rows) {
  const run f = {image, first_channel, channels, copy_f32, zero_f32};
  gather(w, &f, n_positions, positions, first_position, rows);
}

void reap_im2col_rows_f64(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, double *rows) {
  const run f = {image, first_channel, channels, copy_f64, zero_f64};
  gather(w, &f, n_positions, positions, first_position, rows);
}

/* One patch row to the image; an entry on padding belongs to no entry of the image. */
static void add_patch(const reap_window *w, int64_t z0, int64_t y0, int64_t x0, const float *row, int64_t first_channel,
                      int64_t channels, float *image) {
  for (int64_t kz = 0, z = z0; kz < w->kernel_z; kz++, z += w->dilation_z)
    for (int64_t ky = 0, y = y0; ky < w->kernel_y; ky++, y += w->dilation_y)
      for (int64_t kx = 0, x = x0; kx < w->kernel_x; kx++, x += w->dilation_x, row += channels) {
        if (z < 0 || z >= w->depth || y < 0 || y >= w->height || x < 0 || x >= w->width) continue;
        float *restrict to = image + ((z * w->height + y) * w->width + x) * w->channels + first_channel;
        for (int64_t c = 0; c < channels; c++) to[c] += row[c];
      }
}

void reap_col2im_add(const reap_window *w, int64_t first_channel, int64_t channels, int64_t first_position,
                     int64_t n_positions, const float *rows, float *image) {
  const int64_t columns = reap_window_taps(w) * channels;
  for (int64_t p = first_position; p < first_position + n_positions; p++, rows += columns) {
    const int64_t row = p / w->out_width, oz = row / w->out_height, oy = row % w->out_height, ox = p % w->out_width;
    add_patch(w, oz * w->stride_z - w->pad_front, oy * w->stride_y - w->pad_top, ox * w->stride_x - w->pad_left, rows,
              first_channel, channels, image);
  }
}
