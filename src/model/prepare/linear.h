/* Linear layers in their computation form; private to src/model. */
#ifndef REAP_MODEL_LINEAR_H
#define REAP_MODEL_LINEAR_H

#include "reap/graph.h"

/* Gives every Conv, Gemm and MatMul with constant weights a reap_linear and weights of its own in computation form;
 * absorbs the Add of a constant vector behind a MatMul. Shapes have to be known. */
int reap_linear_collect(reap_graph *graph);

/* Folds each BatchNormalization that alone reads a linear layer's output into that layer, if the layer's outputs lie
 * along axis 1, which the norm works on. The norm's node is left without an output; others stay nodes. */
int reap_linear_fold_norms(reap_graph *graph);

/* Makes the layer's weights and bias, and what the file has of them, the graph's own, to be written to. */
int reap_linear_own(reap_graph *graph, reap_node *node);

/* Computation weights and bias (inputs 1 and 2) from the raw ones and the norm. Nothing to do without a norm. */
int reap_linear_refresh(reap_graph *graph, reap_node *node);

/* scale / sqrt(var + epsilon) of output j. */
double reap_norm_factor(const reap_norm *norm, int64_t j);

#endif
