/* The way from a layer back to the one that produces its inputs; private to src/prune. Local. */
#ifndef REAP_PRUNE_RUN_PRODUCER_PATH_H
#define REAP_PRUNE_RUN_PRODUCER_PATH_H

#include <stdbool.h>

#include "reap/graph.h"

enum { PRODUCER_NODES = 16 }; /* between the two, at most */

typedef struct producer_path {
  int producer;
  int n_between, between[PRODUCER_NODES]; /* nodes of the function between them, in order; 0: there is none */
  int n_beside, beside[PRODUCER_NODES];   /* values that take part and do not depend on the producer (a shortcut) */
  bool shared;                            /* others read what the consumer reads, too */
} producer_path;

/* Whether the layer `consumer` gets its inputs from one that can be solved in turn with it: one producer, both
 * convolutions or both matrix products without channel groups, small enough to be repaired, nothing but a function of
 * each number between them. stream: other values may take part in that, others may read what it gives. */
bool reap_producer_path_find(const reap_graph *graph, int consumer, bool stream, producer_path *path);

#endif
