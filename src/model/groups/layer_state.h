/* The weights of a linear layer in a graph, bit for bit, to be put back later into a graph that was cut in the same
 * way. Local. */
#ifndef REAP_MODEL_LAYER_STATE_H
#define REAP_MODEL_LAYER_STATE_H

#include <stdint.h>

#include "reap/graph.h"

typedef struct reap_layer_state {
  int64_t count, m; /* weights, outputs */
  float *weights; /* [count] as reap_surgery_set_weights() changes them: before a norm that is folded in; NULL: none */
  float *bias;    /* [m] of the norm if there is one */
  float *scale;   /* [m] of the norm; NULL: there is none */
} reap_layer_state;

/* Copies of a layer's weights. To be cleared also after an error. */
int reap_layer_state_take(const reap_graph *graph, int node, reap_layer_state *out);

/* REAP_ERR_INPUT names the layer if it has another shape. */
int reap_layer_state_put(reap_graph *graph, int node, const reap_layer_state *state);

void reap_layer_state_clear(reap_layer_state *state);

#endif
