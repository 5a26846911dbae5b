/* Functions of one number: what an operator like Sigmoid does to each element. Local.
 *
 * Kernels and folding share them. See elementwise.c for the table.
 */
#ifndef REAP_MODEL_ELEMENTWISE_H
#define REAP_MODEL_ELEMENTWISE_H

#include <stdbool.h>

#include "reap/graph.h"

/* y[n] = f(x[n]); y may be x itself. */
typedef struct reap_elementwise {
  void (*apply)(int64_t n, const float *x, float a, float b, float *y);
  float a, b; /* parameters of f, from the node's attributes */
} reap_elementwise;

/* True for an operator that is in the table. */
bool reap_is_elementwise(const reap_operator *op);

/* Of a node whose operator is in the table. REAP_ERR_INPUT: an attribute of a kind that is not known. */
int reap_elementwise_of(const reap_node *node, reap_elementwise *f);

#endif
