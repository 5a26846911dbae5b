/* Resize and Upsample: nearest neighbour, linear and cubic.
 *
 * Method: one axis after the other. Along an axis, an output line is a weighted sum of one, two or four input lines, by
 * a table made once; lines are as long as what lies further in in storage order: rows of channels in images. Places
 * are computed in float32, step by step as in onnxruntime, since a neighbour may hang on the last digit. Cost: one to
 * four reads per number and axis. Pixels beyond the border are those at the border.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/resizing.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_TAPS = 4 };

/* One axis: [outer, in, inner] to [outer, out, inner]. */
typedef struct pass {
  int64_t outer, in, out, inner;
  int taps;
  int64_t *from;  /* [out, taps] input lines */
  float *weights; /* [out, taps] */
} pass;

typedef struct resize_state {
  int n_passes;
  pass passes[REAP_MAX_RANK];
  float *between[2]; /* results of all passes but the last, in turn */
} resize_state;

static void resize_destroy(void **state) {
  resize_state *s = *state;
  for (int i = 0; i < s->n_passes; i++) {
    reap_free(&s->passes[i].from);
    reap_free(&s->passes[i].weights);
  }
  reap_free(&s->between[0]);
  reap_free(&s->between[1]);
}

/* ---------------------------------------------------------------- places and weights */

/* Where output position i lies on the input's axis. */
static float place_of(const reap_resize *r, int axis, int64_t i) {
  const float in = (float)r->in[axis], out = (float)r->out[axis], scale = r->scale[axis], x = (float)i;
  switch (r->place) {
    case REAP_ALIGN_CORNERS:
      return r->out[axis] == 1 ? 0 : x * (in - 1) / (out - 1);
    case REAP_ASYMMETRIC:
      return x / scale;
    case REAP_TF_HALF_PIXEL_FOR_NN:
      return (x + 0.5f) / scale;
    case REAP_PYTORCH_HALF_PIXEL:
      return r->out[axis] > 1 ? (x + 0.5f) / scale - 0.5f : 0;
    case REAP_HALF_PIXEL_SYMMETRIC: {
      const float adjustment = out / (scale * in), center = in / 2;
      return center * (1 - adjustment) + (x + 0.5f) / scale - 0.5f;
    }
    default:
      return (x + 0.5f) / scale - 0.5f;
  }
}

static float rounded(reap_resize_rounding rounding, float scale, float x) {
  switch (rounding) {
    case REAP_ROUND_PREFER_CEIL:
      return roundf(x);
    case REAP_ROUND_FLOOR:
      return floorf(x);
    case REAP_ROUND_CEIL:
      return ceilf(x);
    case REAP_ROUND_SIMPLE:
      return scale < 1 ? ceilf(x) : truncf(x);
    default:
      return x == truncf(x) + 0.5f ? floorf(x) : roundf(x);
  }
}

static int64_t inside(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static void linear_taps(float x, int64_t n, int64_t *from, float *weights) {
  const float clamped = x < 0 ? 0 : x > (float)(n - 1) ? (float)(n - 1) : x;
  from[0] = inside((int64_t)clamped, n);
  from[1] = inside(from[0] + 1, n);
  weights[1] = from[0] == from[1] ? 0.5f : fabsf(clamped - (float)from[0]);
  weights[0] = from[0] == from[1] ? 0.5f : fabsf(clamped - (float)from[1]);
}

/* Keys' kernel: the cubic within one pixel of its centre, and between one and two. */
static float near_weight(float a, float s) { return ((a + 2) * s - (a + 3)) * s * s + 1; }
static float far_weight(float a, float s) { return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a; }

static void cubic_taps(const reap_resize *r, float x, int64_t n, int64_t *from, float *weights) {
  const float first = floorf(x), s = x - first, a = r->cubic_a;
  const float all[MOST_TAPS] = {far_weight(a, s + 1), near_weight(a, s), near_weight(a, 1 - s), far_weight(a, 2 - s)};
  float sum = 0;
  for (int t = 0; t < MOST_TAPS; t++) {
    const int64_t at = (int64_t)first + t - 1;
    from[t] = inside(at, n);
    weights[t] = r->exclude_outside && at != from[t] ? 0 : all[t];
    sum += weights[t];
  }
  for (int t = 0; t < MOST_TAPS && r->exclude_outside; t++) weights[t] /= sum;
}

static int fill_pass(const reap_resize *r, int axis, pass *p) {
  p->taps = r->mode == REAP_RESIZE_NEAREST ? 1 : r->mode == REAP_RESIZE_LINEAR ? 2 : MOST_TAPS;
  REAP_TRY(reap_alloc(&p->from, p->out * p->taps, sizeof *p->from));
  REAP_TRY(reap_alloc(&p->weights, p->out * p->taps, sizeof *p->weights));
  for (int64_t i = 0; i < p->out; i++) {
    int64_t *from = p->from + i * p->taps;
    float *weights = p->weights + i * p->taps, x = place_of(r, axis, i);
    if (p->taps == 1)
      from[0] = inside((int64_t)rounded(r->rounding, r->scale[axis], x), p->in);
    else if (p->taps == 2)
      linear_taps(x, p->in, from, weights);
    else
      cubic_taps(r, x, p->in, from, weights);
  }
  return REAP_OK;
}

/* ---------------------------------------------------------------- all axes */

static int fill(const reap_graph *graph, const reap_node *node, resize_state *s) {
  const bool row_major = reap_stored_row_major(reap_node_output(graph, node, 0));
  reap_resize r;
  int64_t dims[REAP_MAX_RANK], strides[REAP_MAX_RANK], largest[2] = {0, 0};
  REAP_TRY(reap_resize_resolve(graph, node, &r));
  memcpy(dims, r.in, (size_t)r.rank * sizeof *dims);
  for (int axis = 0; axis < r.rank; axis++) {
    if (r.scale[axis] == 1) continue;
    int64_t total = 1;
    pass *p = &s->passes[s->n_passes++];
    for (int i = 0; i < r.rank; i++) total *= dims[i];
    reap_storage_strides_of(row_major, r.rank, dims, strides);
    *p = (pass){.in = r.in[axis], .out = r.out[axis], .inner = strides[axis]};
    p->outer = total / (p->in * p->inner);
    REAP_TRY(fill_pass(&r, axis, p));
    dims[axis] = r.out[axis];
    const int64_t result = p->outer * p->out * p->inner;
    int64_t *most = &largest[s->n_passes % 2];
    if (result > *most) *most = result;
  }
  for (int i = 0; i < 2 && s->n_passes > 1; i++) REAP_TRY(reap_alloc(&s->between[i], largest[i], sizeof(float)));
  return REAP_OK;
}

static int resize_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(resize_state)));
  return fill(graph, node, *state);
}

static void combine(const pass *p, const float *lines, int64_t i, float *restrict out) {
  const int64_t n = p->inner, *from = p->from + i * p->taps;
  const float *weights = p->weights + i * p->taps;
  if (p->taps == 1) {
    memcpy(out, lines + from[0] * n, (size_t)n * sizeof *out);
  } else if (p->taps == 2) {
    const float *a = lines + from[0] * n, *b = lines + from[1] * n;
    for (int64_t k = 0; k < n; k++) out[k] = weights[0] * a[k] + weights[1] * b[k];
  } else {
    const float *a = lines + from[0] * n, *b = lines + from[1] * n, *c = lines + from[2] * n, *d = lines + from[3] * n;
    for (int64_t k = 0; k < n; k++)
      out[k] = weights[0] * a[k] + weights[1] * b[k] + weights[2] * c[k] + weights[3] * d[k];
  }
}

static int resize_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                      float *output) {
  const resize_state *s = state;
  const float *from = inputs[0];
  if (s->n_passes == 0)
    memcpy(output, from, (size_t)reap_value_count(reap_node_output(graph, node, 0)) * sizeof *output);
  for (int k = 0; k < s->n_passes; k++) {
    const pass *p = &s->passes[k];
    float *to = k + 1 == s->n_passes ? output : s->between[(k + 1) % 2];
    for (int64_t o = 0; o < p->outer; o++)
      for (int64_t i = 0; i < p->out; i++) combine(p, from + o * p->in * p->inner, i, to + (o * p->out + i) * p->inner);
    from = to;
  }
  return REAP_OK;
}

const reap_kernel reap_kernel_resize = {resize_prepare, resize_run, resize_destroy, false, NULL, false};
