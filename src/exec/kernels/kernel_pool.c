/* Max and average pooling over windows, on images stored channels last.
 *
 * Method: for every output position the pixels of its window are combined, all channels at once, in the order of the
 * taps. Cost: taps reads per output. A window that lies on padding alone, as dilated ones may, gives the smallest
 * number, as in onnxruntime, or an average of 0. Max pooling keeps a NaN that it meets.
 */
#include <float.h>

#include "kernels.h"
#include "model/operators/geometry.h"
#include "reap/error.h"
#include "reap/memory.h"

static int pool_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_alloc(state, 1, sizeof(reap_window)));
  return reap_pool_window(graph, node, *state);
}

/* Taps of `kernel` at start, start + dilation, ... that lie in low .. high-1. */
static int64_t taps_between(int64_t start, int64_t kernel, int64_t dilation, int64_t low, int64_t high) {
  int64_t n = 0;
  for (int64_t k = 0; k < kernel; k++) {
    int64_t at = start + k * dilation;
    n += at >= low && at < high;
  }
  return n;
}

/* ---------------------------------------------------------------- maximum */

/* best [channels] = the larger of itself and pixel [channels]; a NaN on either side stays. */
static void take_larger(int64_t channels, float *restrict best, const float *restrict pixel) {
  for (int64_t c = 0; c < channels; c++) {
    float x = pixel[c], b = best[c];
    float larger = x > b ? x : b; /* b if either is NaN */
    best[c] = x != x ? x : larger;
  }
}

static void add_pixel(int64_t channels, float *restrict sum, const float *restrict pixel) {
  for (int64_t c = 0; c < channels; c++) sum[c] += pixel[c];
}

/* Where a window's first tap lies. */
typedef struct place {
  int64_t z, y, x;
} place;

/* out [channels] = `combine` over the pixels of the window at `at`, starting from `start`. */
static inline __attribute__((always_inline)) void pool_position(const reap_window *w, const float *image, place at,
                                                                float start, float *out,
                                                                void (*combine)(int64_t, float *, const float *)) {
  for (int64_t c = 0; c < w->channels; c++) out[c] = start;
  for (int64_t kz = 0, z = at.z; kz < w->kernel_z; kz++, z += w->dilation_z)
    for (int64_t ky = 0, y = at.y; ky < w->kernel_y && z >= 0 && z < w->depth; ky++, y += w->dilation_y)
      for (int64_t kx = 0, x = at.x; kx < w->kernel_x && y >= 0 && y < w->height; kx++, x += w->dilation_x)
        if (x >= 0 && x < w->width)
          combine(w->channels, out, image + ((z * w->height + y) * w->width + x) * w->channels);
}

/* All output positions, one after the other: pool() takes the window at a place of an image. */
static void pool_images(const reap_window *w, const float *images, float *output,
                        void (*pool)(const reap_window *w, const float *image, place at, float *out)) {
  for (int64_t i = 0; i < w->batch; i++) {
    const float *image = images + i * reap_window_pixels(w) * w->channels;
    for (int64_t oz = 0; oz < w->out_depth; oz++)
      for (int64_t oy = 0; oy < w->out_height; oy++)
        for (int64_t ox = 0; ox < w->out_width; ox++, output += w->channels)
          pool(w, image,
               (place){oz * w->stride_z - w->pad_front, oy * w->stride_y - w->pad_top, ox * w->stride_x - w->pad_left},
               output);
  }
}

static void max_position(const reap_window *w, const float *image, place at, float *out) {
  pool_position(w, image, at, -FLT_MAX, out, take_larger);
}

static int max_pool_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                        float *output) {
  (void)graph;
  (void)node;
  pool_images(state, inputs[0], output, max_position);
  return REAP_OK;
}

const reap_kernel reap_kernel_max_pool = {pool_prepare, max_pool_run, NULL, false, NULL, false};

/* ---------------------------------------------------------------- average */

/* What the sum over the window at `at` is divided by: its pixels inside the image, or inside the image with its
 * padding. What ceil_mode adds beyond the padding never counts. */
static float divisor(const reap_window *w, place at) {
  const bool padded = w->count_padding;
  int64_t n =
      taps_between(at.z, w->kernel_z, w->dilation_z, padded ? -w->pad_front : 0,
                   w->depth + (padded ? w->pad_back : 0)) *
      taps_between(at.y, w->kernel_y, w->dilation_y, padded ? -w->pad_top : 0,
                   w->height + (padded ? w->pad_bottom : 0)) *
      taps_between(at.x, w->kernel_x, w->dilation_x, padded ? -w->pad_left : 0, w->width + (padded ? w->pad_right : 0));
  return n > 0 ? (float)n : 1.0f;
}

static void average_position(const reap_window *w, const float *image, place at, float *out) {
  const float by = divisor(w, at);
  pool_position(w, image, at, 0.0f, out, add_pixel);
  for (int64_t c = 0; c < w->channels; c++) out[c] /= by;
}

static int average_pool_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                            float *output) {
  (void)graph;
  (void)node;
  pool_images(state, inputs[0], output, average_position);
  return REAP_OK;
}

const reap_kernel reap_kernel_average_pool = {pool_prepare, average_pool_run, NULL, false, NULL, false};
