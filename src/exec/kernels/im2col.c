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

/* Inlined into each precision's function with that precision's runs, which are constants there. */
static inline __attribute__((always_inline)) void gather(const reap_window *w, const float *image,
                                                         int64_t first_channel, int64_t channels, int64_t n_positions,
                                                         const int64_t *positions, int64_t first_position, void *rows,
                                                         copy_run copy, zero_run zero) {
  int64_t line = w->kernel_x * channels; /* columns of one kernel row */
  bool whole = channels == w->channels && w->dilation_x == 1;
  int64_t at = 0, oy = first_position / w->out_width, ox = first_position % w->out_width - 1;
  for (int64_t r = 0; r < n_positions; r++) {
    if (positions) {
      oy = positions[r] / w->out_width;
      ox = positions[r] % w->out_width;
    } else if (++ox == w->out_width) {
      ox = 0;
      oy++;
    }
    int64_t y0 = oy * w->stride_y - w->pad_top, x0 = ox * w->stride_x - w->pad_left;
    int64_t first, last; /* taps of a kernel row inside the image */
    taps_inside(x0, w->kernel_x, w->dilation_x, w->width, &first, &last);
    for (int64_t ky = 0; ky < w->kernel_y; ky++, at += line) {
      int64_t y = y0 + ky * w->dilation_y;
      if (y < 0 || y >= w->height || first >= last) {
        zero(rows, at, line);
        continue;
      }
      const float *from = image + (y * w->width + x0 + first * w->dilation_x) * w->channels + first_channel;
      if (first > 0) zero(rows, at, first * channels);
      if (last < w->kernel_x) zero(rows, at + last * channels, (w->kernel_x - last) * channels);
      if (whole) {
        copy(rows, at + first * channels, from, (last - first) * channels);
      } else {
        for (int64_t kx = first; kx < last; kx++, from += w->dilation_x * w->channels)
          copy(rows, at + kx * channels, from, channels);
      }
    }
  }
}

void reap_im2col_rows_f32(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, float *rows) {
  gather(w, image, first_channel, channels, n_positions, positions, first_position, rows, copy_f32, zero_f32);
}

void reap_im2col_rows_f64(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, double *rows) {
  gather(w, image, first_channel, channels, n_positions, positions, first_position, rows, copy_f64, zero_f64);
}

/* An entry of a patch row on padding belongs to no entry of the image. */
void reap_col2im_add(const reap_window *w, const float *rows, float *image) {
  const int64_t channels = w->channels;
  for (int64_t oy = 0; oy < w->out_height; oy++)
    for (int64_t ox = 0; ox < w->out_width; ox++)
      for (int64_t ky = 0; ky < w->kernel_y; ky++) {
        const int64_t y = oy * w->stride_y + ky * w->dilation_y - w->pad_top;
        for (int64_t kx = 0; kx < w->kernel_x; kx++, rows += channels) {
          const int64_t x = ox * w->stride_x + kx * w->dilation_x - w->pad_left;
          if (y < 0 || y >= w->height || x < 0 || x >= w->width) continue;
          float *restrict to = image + (y * w->width + x) * channels;
          for (int64_t c = 0; c < channels; c++) to[c] += rows[c];
        }
      }
}
