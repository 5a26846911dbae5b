#include "layer_state.h"

#include <string.h>

#include "model/operators.h"
#include "model/prepare/linear.h"
#include "reap/error.h"
#include "reap/memory.h"

/* What set_weights() changes of a layer. */
typedef struct place {
  int64_t count, m;
  float *weights, *bias, *scale;
} place;

static place place_of(const reap_graph *graph, int index) {
  const reap_node *node = graph->nodes[index];
  const reap_linear *linear = node->linear;
  reap_tensor *w = graph->values[node->inputs[1]].constant, *b = graph->values[node->inputs[2]].constant;
  if (!linear->norm) return (place){w->count, w->dims[0], w->f32, b->f32, NULL};
  return (place){w->count, w->dims[0], linear->raw_weights, linear->norm->bias, linear->norm->scale};
}

static int copy(const float *from, int64_t count, float **to) {
  REAP_TRY(reap_alloc(to, count, sizeof **to));
  memcpy(*to, from, (size_t)count * sizeof **to);
  return REAP_OK;
}

int reap_layer_state_take(const reap_graph *graph, int node, reap_layer_state *out) {
  const place at = place_of(graph, node);
  *out = (reap_layer_state){.count = at.count, .m = at.m};
  REAP_TRY(copy(at.weights, at.count, &out->weights));
  REAP_TRY(copy(at.bias, at.m, &out->bias));
  return at.scale ? copy(at.scale, at.m, &out->scale) : REAP_OK;
}

int reap_layer_state_put(reap_graph *graph, int index, const reap_layer_state *state) {
  reap_node *node = graph->nodes[index];
  const place present = place_of(graph, index);
  if (present.count != state->count || present.m != state->m || !present.scale != !state->scale)
    return reap_error(REAP_ERR_INPUT, "layer %s has another shape than its stored weights", node->layer);
  REAP_TRY(reap_linear_own(graph, node));
  const place at = place_of(graph, index);
  memcpy(at.weights, state->weights, (size_t)at.count * sizeof *at.weights);
  memcpy(at.bias, state->bias, (size_t)at.m * sizeof *at.bias);
  if (at.scale) memcpy(at.scale, state->scale, (size_t)at.m * sizeof *at.scale);
  node->linear->changed = true;
  if (!at.scale) node->linear->bias_present = true;
  return reap_linear_refresh(graph, node);
}

void reap_layer_state_clear(reap_layer_state *state) {
  reap_free(&state->weights);
  reap_free(&state->bias);
  reap_free(&state->scale);
}
