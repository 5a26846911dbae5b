/* What folding rules share; private to src/model. See fold.c. */
#ifndef REAP_MODEL_FOLDING_H
#define REAP_MODEL_FOLDING_H

#include "reap/graph.h"

/* The numbers of a tensor, and the bytes of one. */
void *reap_fold_data(const reap_tensor *tensor);
int reap_fold_width(const reap_tensor *tensor);

/* New tensor of output 0's inferred shape, which the graph's allowance pays for (allowance.h); the caller's. */
int reap_fold_output(reap_graph *graph, const reap_node *node, reap_dtype dtype, reap_tensor **out);

/* Goes through the elements of a broadcast shape in order, and along with them through up to three tensors. */
typedef struct reap_walk {
  int rank, tensors;
  int64_t dims[REAP_MAX_RANK], index[REAP_MAX_RANK], strides[3][REAP_MAX_RANK];
  int64_t at[3]; /* present element of each tensor */
} reap_walk;

reap_walk reap_walk_start(int rank, const int64_t *dims, int tensors, const reap_tensor *const *t);
void reap_walk_on(reap_walk *w);

#endif
