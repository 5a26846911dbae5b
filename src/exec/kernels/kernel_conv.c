/* Convolution of images stored channels last.
 *
 * Backend oneDNN: see onednn.c. Backend plain, the reference: patches are gathered as rows (im2col.h) and multiplied
 * with the weights by SGEMM, a chunk of positions at a time so that the patches stay in the cache; the output is
 * channels last as it comes out. A 1x1 convolution of stride 1 multiplies the images as they lie. Depthwise
 * convolutions, for which a product per channel would be all overhead, are summed tap by tap.
 *
 * Cost: outputs * channels / groups * taps multiply-adds per position, plus a copy of taps * channels numbers. Sums are
 * in float32, in an order that depends on BLAS only: results may differ between machines in the last digits.
 */
#include <string.h>

#include "base/numbers.h"
#include "exec/primitives/im2col.h"
#include "exec/primitives/onednn.h"
#include "kernels.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Products up to this many multiply-adds are computed by OpenBLAS without packing, at up to twice the rate of slightly
 * larger ones; chunks are made to fit where that leaves enough positions. Otherwise a chunk has as many patches as make
 * packing pay, within a bound on their memory (in floats). */
enum { SMALL_PRODUCT = 1000000, FEWEST_POSITIONS = 16, CHUNK_FLOATS = 1 << 20 };

typedef struct conv_state {
  reap_window w;
  const float *bias; /* [outputs], in the graph; NULL if there is none */
  reap_fusion fusion;
  float *weights;  /* [groups, taps * channels / groups, outputs / groups], tap-major; depthwise: [taps, channels] */
  bool in_place;   /* patches are the images' own pixels */
  bool depthwise;  /* one input and one output channel per group */
  int64_t chunk;   /* positions per product */
  float *patches;  /* [chunk, taps * channels / groups] */
  float *products; /* [chunk, outputs] with an addend, which may lie where the output goes */
  reap_onednn_conv *onednn; /* not NULL: all of the above except w is unused */
} conv_state;

static void conv_destroy(void **state) {
  conv_state *s = *state;
#ifdef REAP_HAVE_ONEDNN
  reap_onednn_conv_destroy(&s->onednn);
#endif
  reap_free(&s->weights);
  reap_free(&s->patches);
  reap_free(&s->products);
}

/* From [outputs, channels / groups, taps] to the order of the patches' columns. */
static int reorder_weights(const float *from, conv_state *s) {
  const reap_window *w = &s->w;
  int64_t taps = reap_window_taps(w), depth = w->channels / w->groups, outputs = w->outputs / w->groups;
  REAP_TRY(reap_alloc(&s->weights, w->outputs * depth * taps, sizeof *s->weights));
  for (int64_t o = 0; o < w->outputs; o++)
    for (int64_t c = 0; c < depth; c++)
      for (int64_t t = 0; t < taps; t++) {
        int64_t row = o / outputs * taps * depth + t * depth + c;
        int64_t to = s->depthwise ? t * w->outputs + o : row * outputs + o % outputs;
        s->weights[to] = from[(o * depth + c) * taps + t];
      }
  return REAP_OK;
}

static int64_t choose_chunk(const reap_window *w, int64_t columns) {
  int64_t unpacked = SMALL_PRODUCT / (w->outputs / w->groups * columns), bound = CHUNK_FLOATS / columns;
  int64_t chunk = reap_smaller(unpacked >= FEWEST_POSITIONS ? unpacked : bound, bound);
  if (chunk < FEWEST_POSITIONS) chunk = FEWEST_POSITIONS;
  return reap_smaller(chunk, w->batch * reap_window_positions(w));
}

static int prepare_plain(const float *weights, conv_state *s) {
  const reap_window *w = &s->w;
  int64_t columns = reap_window_taps(w) * (w->channels / w->groups);
  s->depthwise = w->groups > 1 && w->groups == w->channels && w->groups == w->outputs;
  s->in_place = reap_window_taps(w) == 1 && w->stride_z == 1 && w->stride_y == 1 && w->stride_x == 1 &&
                w->pad_front == 0 && w->pad_top == 0 && w->pad_left == 0 && w->out_depth == w->depth &&
                w->out_height == w->height && w->out_width == w->width;
  s->chunk = choose_chunk(w, columns);
  if (s->depthwise) s->chunk = 1;
  REAP_TRY(reorder_weights(weights, s));
  if (s->fusion.add) REAP_TRY(reap_alloc(&s->products, s->chunk * w->outputs, sizeof *s->products));
  if (s->depthwise || s->in_place) return REAP_OK;
  return reap_alloc(&s->patches, s->chunk * columns, sizeof *s->patches);
}

static int prepare_onednn(const reap_node *node, const float *weights, conv_state *s) {
#ifdef REAP_HAVE_ONEDNN
  return reap_onednn_conv_create(&s->w, reap_node_title(node), weights, s->bias, &s->fusion, &s->onednn);
#else
  (void)weights;
  (void)s;
  return reap_error(REAP_ERR_USAGE, "%s: oneDNN was not built in; use the plain backend", reap_node_title(node));
#endif
}

static int fill(const reap_graph *graph, const reap_node *node, reap_backend backend, conv_state *s) {
  REAP_TRY(reap_conv_window(graph, node, &s->w));
  const reap_tensor *weights = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2);
  if (!weights || weights->dtype != REAP_F32)
    return reap_error(REAP_ERR_INPUT, "%s: the weights have to be constant float32", reap_node_title(node));
  if (bias && (bias->dtype != REAP_F32 || bias->count != s->w.outputs))
    return reap_error(REAP_ERR_INPUT, "%s: the bias has to hold one float32 per output", reap_node_title(node));
  s->bias = bias ? bias->f32 : NULL;
  return reap_kernel_uses_onednn(backend) ? prepare_onednn(node, weights->f32, s) : prepare_plain(weights->f32, s);
}

static int conv_prepare_fused(const reap_graph *graph, const reap_node *node, reap_backend backend,
                              const reap_fusion *fusion, void **state) {
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(conv_state)));
  conv_state *s = *state;
  s->fusion = *fusion;
  return fill(graph, node, backend, s);
}

static int conv_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  return conv_prepare_fused(graph, node, backend, &(reap_fusion){.add = false}, state);
}

/* rows [n, outputs] = clamp(products + bias + addend), as far as there are such; in the order of the nodes, so that
 * the rounding is theirs. products may be the rows. */
static void finish(const conv_state *s, int64_t n, const float *products, const float *addend, float *rows) {
  int64_t outputs = s->w.outputs;
  const float *bias = s->bias;
  for (int64_t i = 0; i < n && (bias || addend); i++) {
    const int64_t at = i * outputs;
    REAP_INDEPENDENT
    for (int64_t o = 0; o < outputs; o++) {
      float value = bias ? products[at + o] + bias[o] : products[at + o];
      rows[at + o] = addend ? value + addend[at + o] : value;
    }
  }
  if (s->fusion.clamp) reap_kernel_clamp(n * outputs, rows, s->fusion.low, s->fusion.high, rows);
}

/* out [n, outputs] = patches [n, columns] * weights for the outputs of group g; rows of patches are `pitch` apart. */
static int multiply(const conv_state *s, int64_t g, int64_t n, const float *patches, int64_t pitch, float *out) {
  const reap_window *w = &s->w;
  int64_t outputs = w->outputs / w->groups, columns = reap_window_taps(w) * (w->channels / w->groups);
  return reap_sgemm('N', 'N', outputs, n, columns, 1.0f, s->weights + g * outputs * columns, outputs, patches, pitch,
                    0.0f, out + g * outputs, w->outputs);
}

/* Patches [n, columns] of group g for positions first, first + 1, ... of the block, counted through its images. */
static void gather(const conv_state *s, int64_t g, const float *images, int64_t first, int64_t n) {
  const reap_window *w = &s->w;
  int64_t positions = reap_window_positions(w), depth = w->channels / w->groups;
  int64_t columns = reap_window_taps(w) * depth;
  float *rows = s->patches;
  while (n > 0) {
    int64_t image = first / positions, from = first % positions, here = reap_smaller(positions - from, n);
    const float *pixels = images + image * reap_window_pixels(w) * w->channels;
    reap_im2col_rows_f32(w, pixels, g * depth, depth, here, NULL, from, rows);
    rows += here * columns;
    first += here;
    n -= here;
  }
}

/* The block: images [batch, depth, height, width, channels] to out [batch, positions, outputs]. */
static int run_products(const conv_state *s, const float *images, const float *addend, float *out) {
  const reap_window *w = &s->w;
  int64_t positions = w->batch * reap_window_positions(w), depth = w->channels / w->groups;
  for (int64_t first = 0; first < positions; first += s->chunk) {
    int64_t n = reap_smaller(positions - first, s->chunk), at = first * w->outputs;
    float *rows = addend ? s->products : out + at;
    for (int64_t g = 0; g < w->groups; g++) {
      if (s->in_place) {
        REAP_TRY(multiply(s, g, n, images + first * w->channels + g * depth, w->channels, rows));
      } else {
        gather(s, g, images, first, n);
        REAP_TRY(multiply(s, g, n, s->patches, reap_window_taps(w) * depth, rows));
      }
    }
    finish(s, n, rows, addend ? addend + at : NULL, out + at);
  }
  return REAP_OK;
}

/* One output position of a depthwise convolution: out [channels], the bias first. */
static void depthwise_position(const conv_state *s, const float *image, int64_t oz, int64_t oy, int64_t ox,
                               float *restrict out) {
  const reap_window *w = &s->w;
  int64_t channels = w->channels;
  for (int64_t c = 0; c < channels; c++) out[c] = s->bias ? s->bias[c] : 0.0f;
  const float *restrict weights = s->weights;
  const int64_t z0 = oz * w->stride_z - w->pad_front, y0 = oy * w->stride_y - w->pad_top,
                x0 = ox * w->stride_x - w->pad_left;
  for (int64_t kz = 0, z = z0; kz < w->kernel_z; kz++, z += w->dilation_z)
    for (int64_t ky = 0, y = y0; ky < w->kernel_y; ky++, y += w->dilation_y)
      for (int64_t kx = 0, x = x0; kx < w->kernel_x; kx++, x += w->dilation_x, weights += channels) {
        if (z < 0 || z >= w->depth || y < 0 || y >= w->height || x < 0 || x >= w->width) continue;
        const float *restrict pixel = image + ((z * w->height + y) * w->width + x) * channels;
        for (int64_t c = 0; c < channels; c++) out[c] += pixel[c] * weights[c];
      }
}

static void run_depthwise(const conv_state *s, const float *images, const float *addend, float *out) {
  const reap_window *w = &s->w;
  const int64_t planes = w->out_depth * w->out_height;
  for (int64_t i = 0; i < w->batch; i++)
    for (int64_t p = 0; p < planes; p++)
      for (int64_t ox = 0; ox < w->out_width; ox++, out += w->outputs) {
        float *sums = addend ? s->products : out;
        depthwise_position(s, images + i * reap_window_pixels(w) * w->channels, p / w->out_height, p % w->out_height,
                           ox, sums);
        for (int64_t c = 0; c < w->outputs && addend; c++) out[c] = sums[c] + *addend++;
        if (s->fusion.clamp) reap_kernel_clamp(w->outputs, out, s->fusion.low, s->fusion.high, out);
      }
}

static int conv_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)graph;
  const conv_state *s = state;
  const float *addend = s->fusion.add ? inputs[node->n_inputs] : NULL;
#ifdef REAP_HAVE_ONEDNN
  if (s->onednn) { /* adds to what the output holds */
    const int64_t count = s->w.batch * reap_window_positions(&s->w) * s->w.outputs;
    if (addend && addend != output) memcpy(output, addend, (size_t)count * sizeof *output);
    return reap_onednn_conv_run(s->onednn, inputs[0], output);
  }
#endif
  if (!s->depthwise) return run_products(s, inputs[0], addend, output);
  run_depthwise(s, inputs[0], addend, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_conv = {conv_prepare, conv_run, conv_destroy, false, conv_prepare_fused, true};
