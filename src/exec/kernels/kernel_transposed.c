/* ConvTranspose: the transpose of a convolution that goes from the output to the input (see geometry.h).
 *
 * Method: for each chunk of input positions and each group, one SGEMM makes rows [positions, taps * outputs of a
 * group], which are added to the pixels that the windows cover (im2col.h); the bias is there before. Cost: as many
 * multiply-adds as the convolution has. Sums are in float32, in an order that depends on BLAS only.
 */
#include <string.h>

#include "base/numbers.h"
#include "exec/primitives/im2col.h"
#include "kernels.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { CHUNK_FLOATS = 1 << 20, FEWEST_POSITIONS = 16 };

typedef struct transposed_state {
  reap_window w;     /* from the output's images (w.channels) to the input's (w.outputs) */
  const float *bias; /* [w.channels], in the graph; NULL if there is none */
  float *weights;    /* [groups, inputs of a group, taps * outputs of a group] */
  int64_t chunk;     /* positions per product */
  float *rows;       /* [chunk, taps * outputs of a group] */
} transposed_state;

static void transposed_destroy(void **state) {
  transposed_state *s = *state;
  reap_free(&s->weights);
  reap_free(&s->rows);
}

/* From [inputs, outputs of a group, taps]. */
static int reorder_weights(const float *from, transposed_state *s) {
  const int64_t taps = reap_window_taps(&s->w), depth = s->w.channels / s->w.groups;
  REAP_TRY(reap_alloc(&s->weights, s->w.outputs * depth * taps, sizeof *s->weights));
  for (int64_t i = 0; i < s->w.outputs; i++)
    for (int64_t c = 0; c < depth; c++)
      for (int64_t t = 0; t < taps; t++) s->weights[(i * taps + t) * depth + c] = from[(i * depth + c) * taps + t];
  return REAP_OK;
}

static int fill(const reap_graph *graph, const reap_node *node, transposed_state *s) {
  const reap_tensor *weights = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2);
  REAP_TRY(reap_transposed_window(graph, node, &s->w));
  s->bias = bias ? bias->f32 : NULL;
  const int64_t columns = reap_window_taps(&s->w) * (s->w.channels / s->w.groups);
  s->chunk = reap_smaller(reap_larger(CHUNK_FLOATS / columns, FEWEST_POSITIONS), reap_window_positions(&s->w));
  REAP_TRY(reap_alloc(&s->rows, s->chunk * columns, sizeof *s->rows));
  return reorder_weights(weights->f32, s);
}

static int transposed_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(transposed_state)));
  return fill(graph, node, *state);
}

static void set_bias(const transposed_state *s, float *image) {
  const int64_t channels = s->w.channels, pixels = reap_window_pixels(&s->w);
  if (!s->bias) {
    memset(image, 0, (size_t)(pixels * channels) * sizeof *image);
    return;
  }
  for (int64_t p = 0; p < pixels; p++) memcpy(image + p * channels, s->bias, (size_t)channels * sizeof *image);
}

/* x [positions, w.outputs] to image [pixels, w.channels]. */
static int run_image(const transposed_state *s, const float *x, float *image) {
  const reap_window *w = &s->w;
  const int64_t positions = reap_window_positions(w), outputs = w->channels / w->groups,
                inputs = w->outputs / w->groups;
  const int64_t columns = reap_window_taps(w) * outputs;
  set_bias(s, image);
  for (int64_t first = 0; first < positions; first += s->chunk)
    for (int64_t g = 0; g < w->groups; g++) {
      const int64_t n = reap_smaller(positions - first, s->chunk);
      REAP_TRY(reap_sgemm('N', 'N', columns, n, inputs, 1.0f, s->weights + g * inputs * columns, columns,
                          x + first * w->outputs + g * inputs, w->outputs, 0.0f, s->rows, columns));
      reap_col2im_add(w, g * outputs, outputs, first, n, s->rows, image);
    }
  return REAP_OK;
}

static int transposed_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                          float *output) {
  (void)graph;
  (void)node;
  const transposed_state *s = state;
  const int64_t from = reap_window_positions(&s->w) * s->w.outputs, to = reap_window_pixels(&s->w) * s->w.channels;
  for (int64_t i = 0; i < s->w.batch; i++) REAP_TRY(run_image(s, inputs[0] + i * from, output + i * to));
  return REAP_OK;
}

const reap_kernel reap_kernel_conv_transposed = {
    transposed_prepare, transposed_run, transposed_destroy, false, NULL, false};
