/* A stretch of the graph that is run on one block after another. Local. */
#ifndef REAP_EXEC_SEGMENT_H
#define REAP_EXEC_SEGMENT_H

#include <stdbool.h>

#include "block_store.h"
#include "exec/kernels/kernel.h"
#include "plan.h"
#include "reap/graph.h"

typedef struct segment {
  int64_t references;
  block_store *store; /* charged with the plan's memory; borrowed */
  const reap_graph *graph;
  bool *computed;      /* [n_nodes] nodes of the segment */
  bool *needed;        /* [n_values] asked for, lasting, or read by a node computed later */
  int n_reads, *reads; /* values that come from outside */
  int n_kept, *kept;   /* values computed here and needed */
  float **storage;     /* [n_values] of the current block */
  reap_plan *plan;
  int64_t bytes;        /* of the plan */
  double work;          /* multiply-adds of a block; other operations counted by the memory they touch */
  double multiply_adds; /* of a block, alone */
} segment;

/* Which nodes that stretch is: computed[n_nodes] are those that `values[n]` need and that are not done[n_nodes] yet;
 * needed[n_values] are these values and all that nodes read which are neither. */
void reap_segment_mark(const reap_graph *graph, const bool *done, const int *values, int n, bool *computed,
                       bool *needed);

/* What `values[n]` need and is not done[n_nodes] yet. lasting[n_values]: values that are needed ever after. One
 * reference. */
int reap_segment_create(const reap_graph *graph, const bool *done, const bool *lasting, const int *values, int n,
                        reap_backend backend, block_store *store, segment **out);
void reap_segment_release(segment **s);

/* Gives the results of one block of images a maker that runs the segment again on its sources (sources[n_reads],
 * results[n_kept]; sources get a reference each). */
int reap_segment_remember(segment *s, value_block *const *sources, value_block *const *results);

/* True if the block is made by running a segment of `graph`. */
bool reap_segment_makes(const value_block *block, const reap_graph *graph);

#endif
