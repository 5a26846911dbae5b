/* A network on its way through the graph, for this rank's blocks of images.
 *
 * Some nodes have been computed; the frontier holds, for every block, the values that were computed and are still to be
 * read: the tensors that cross the present cut. advance() moves the cut forward just as far as the
 * values asked for need. A whole run thus computes every node once. Local.
 */
#ifndef REAP_FRONTIER_H
#define REAP_FRONTIER_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/kernel.h"

typedef struct reap_frontier reap_frontier;

/* The graph is borrowed; nodes not yet computed may be changed (surgery) between calls of advance. */
int reap_frontier_create(const reap_graph *graph, int64_t n_blocks, reap_backend backend, reap_frontier **out);
void reap_frontier_destroy(reap_frontier **frontier);

/* Memory for input `input` of block `block` (storage order), to be filled by the caller before the first advance. */
int reap_frontier_input(reap_frontier *frontier, int input, int64_t block, float **storage);

/* A frontier at the same cut for `graph`, a clone of the first one's graph whose computed nodes still are the same.
 * Both share the memory of what is held, and go their own ways from here on. */
int reap_frontier_fork(const reap_frontier *frontier, const reap_graph *graph, reap_frontier **out);

/* Computes, for all blocks, whatever values[n] need and has not been computed. Afterwards these are held, and values
 * that neither they nor any node still to be computed need are given back. */
int reap_frontier_advance(reap_frontier *frontier, const int *values, int n);

/* Value of a block, in storage order; NULL if it is not held. */
const float *reap_frontier_value(const reap_frontier *frontier, int value, int64_t block);

/* True if node `node` has been computed. */
bool reap_frontier_done(const reap_frontier *frontier, int node);

/* Drops channels of `group` from all values held, just before surgery does so in the graph. */
int reap_frontier_cut(reap_frontier *frontier, const reap_groups *groups, int group, const bool *keep);

/* Bytes held now; blocks that are shared count in parts. */
int64_t reap_frontier_bytes(const reap_frontier *frontier);

#endif
