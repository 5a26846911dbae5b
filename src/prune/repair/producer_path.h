/* The way from a layer back to the one that produces its inputs; private to src/prune. Local. */
#ifndef REAP_PRUNE_REPAIR_PRODUCER_PATH_H
#define REAP_PRUNE_REPAIR_PRODUCER_PATH_H

#include <stdbool.h>

#include "reap/graph.h"

enum { PRODUCER_NODES = 16 }; /* between the two, at most */

typedef struct producer_path {
  int producer;
  int n_between, between[PRODUCER_NODES]; /* nodes of the function between them, in order; 0: there is none */
} producer_path;

/* Whether the layer `consumer` gets its inputs from one that can be solved in turn with it: one producer, both
 * convolutions or both matrix products without channel groups, small enough to be repaired, nothing but a function of
 * each number between them. */
bool reap_producer_path_find(const reap_graph *graph, int consumer, producer_path *path);

#endif
