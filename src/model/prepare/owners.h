/* Constants that belong to one input of one node; private to src/model. */
#ifndef REAP_MODEL_OWNERS_H
#define REAP_MODEL_OWNERS_H

#include "reap/graph.h"

/* Puts `tensor` (taken over, also on failure) into a new value "<layer>:<what>" and that into input `slot`. */
int reap_graph_own_input(reap_graph *graph, reap_node *node, int slot, const char *what, reap_tensor *tensor);

/* A constant that several inputs of nodes read becomes as many: all but the first reader get a copy. What is then cut
 * for one node leaves the others alone. */
int reap_graph_own_constants(reap_graph *graph);

#endif
