/* Batch normalisation that could not be folded into a linear layer: y = a x + b per channel.
 *
 * a = scale / sqrt(var + epsilon) and b = bias - a mean are formed in double precision once. One pass over memory, in
 * place if asked.
 */
#include <math.h>

#include "kernels.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct norm_state {
  int64_t channels;
  int64_t outer, inner;  /* the block as [outer, channels, inner] in storage order */
  float *factor, *shift; /* [channels] */
} norm_state;

static void norm_destroy(void **state) {
  norm_state *s = *state;
  reap_free(&s->factor);
  reap_free(&s->shift);
}

static int fill(const reap_graph *graph, const reap_node *node, norm_state *s) {
  const reap_tensor *p[4]; /* scale, bias, mean, var: [channels] each */
  for (int i = 0; i < 4; i++) {
    p[i] = reap_node_constant(graph, node, i + 1);
    if (!p[i] || p[i]->dtype != REAP_F32 || p[i]->count != s->channels)
      return reap_error(REAP_ERR_INPUT, "%s: input %d has to be constant, with one number per channel (%lld)",
                        reap_node_title(node), i + 1, (long long)s->channels);
  }
  double epsilon = reap_node_float(node, "epsilon", 1e-5f);
  REAP_TRY(reap_alloc(&s->factor, s->channels, sizeof *s->factor));
  REAP_TRY(reap_alloc(&s->shift, s->channels, sizeof *s->shift));
  for (int64_t c = 0; c < s->channels; c++) {
    double factor = p[0]->f32[c] / sqrt(p[3]->f32[c] + epsilon);
    s->factor[c] = (float)factor;
    s->shift[c] = (float)(p[1]->f32[c] - factor * p[2]->f32[c]);
  }
  return REAP_OK;
}

static int norm_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  const reap_value *out = reap_node_output(graph, node, 0);
  if (out->rank < 2)
    return reap_error(REAP_ERR_INPUT, "%s: a tensor of rank %d has no channels", reap_node_title(node), out->rank);
  REAP_TRY(reap_calloc(state, 1, sizeof(norm_state)));
  norm_state *s = *state;
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides(out, strides);
  s->channels = out->dims[REAP_NORM_AXIS];
  s->inner = strides[REAP_NORM_AXIS];
  s->outer = s->channels > 0 ? reap_value_count(out) / (s->channels * s->inner) : 0;
  return fill(graph, node, s);
}

static int norm_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)graph;
  (void)node;
  const norm_state *s = state;
  int64_t channels = s->channels, inner = s->inner;
  const float *restrict factor = s->factor, *restrict shift = s->shift;
  for (int64_t o = 0; o < s->outer; o++) {
    const float *x = inputs[0] + o * channels * inner;
    float *y = output + o * channels * inner;
    if (inner == 1) {
      REAP_INDEPENDENT
      for (int64_t c = 0; c < channels; c++) y[c] = x[c] * factor[c] + shift[c];
    } else {
      for (int64_t c = 0; c < channels; c++) {
        REAP_INDEPENDENT
        for (int64_t i = 0; i < inner; i++) y[c * inner + i] = x[c * inner + i] * factor[c] + shift[c];
      }
    }
  }
  return REAP_OK;
}

const reap_kernel reap_kernel_norm = {norm_prepare, norm_run, norm_destroy, true, NULL, false};
