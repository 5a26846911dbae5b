/* Rules of the column `layout` of operators.def, and when they run; private to src/model. See layout.c. */
#ifndef REAP_MODEL_LAYOUT_RULES_H
#define REAP_MODEL_LAYOUT_RULES_H

#include "reap/graph.h"

/* Channel axis of a network's input, and of a node's output 0 once its shape is known. */
void reap_layout_input(reap_value *value);
void reap_layout_infer(reap_graph *graph, const reap_node *node);

/* Axis of the output where that of the input lies behind a Reduce*; -1 if it is summed up, or is -1. */
int reap_axis_reduced(const reap_graph *graph, const reap_node *node, int axis);

int reap_layout_none(const reap_graph *graph, const reap_node *node);    /* not known */
int reap_layout_second(const reap_graph *graph, const reap_node *node);  /* axis 1 */
int reap_layout_product(const reap_graph *graph, const reap_node *node); /* the last one of a layer's outputs */
int reap_layout_same(const reap_graph *graph, const reap_node *node);    /* that of input 0 */
int reap_layout_windows(const reap_graph *graph, const reap_node *node); /* the same, unless windows run over it */
int reap_layout_joined(const reap_graph *graph, const reap_node *node);  /* that of all inputs, if they agree */
int reap_layout_reduced(const reap_graph *graph, const reap_node *node);
int reap_layout_flattened(const reap_graph *graph, const reap_node *node);
int reap_layout_reshaped(const reap_graph *graph, const reap_node *node);
int reap_layout_gathered(const reap_graph *graph, const reap_node *node);
int reap_layout_expanded(const reap_graph *graph, const reap_node *node);
int reap_layout_permuted(const reap_graph *graph, const reap_node *node);

#endif
