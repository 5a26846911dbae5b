/* Functions of one number after each other, computed in one pass: what a few element-wise nodes make of each number x
 * of a value, as in x * sigmoid(x) or a Gelu written out. Private to src/exec. Local.
 */
#ifndef REAP_EXEC_KERNELS_CHAIN_H
#define REAP_EXEC_KERNELS_CHAIN_H

#include "kernel.h"

/* One innermost loop of arithmetic: out[n], a and b with steps in elements. */
typedef void (*reap_arithmetic_loop)(int64_t n, float *out, const float *a, int64_t step_a, const float *b,
                                     int64_t step_b);

/* That of Add and so on, or NULL (kernel_arithmetic.c). */
reap_arithmetic_loop reap_arithmetic_loop_of(const reap_operator *op);

/* y = f(y), or y = y op z with a number z, or x. */
typedef struct reap_link {
  void (*apply)(int64_t n, const float *x, float a, float b, float *y); /* f; NULL: a function of two */
  float a, b;
  reap_arithmetic_loop combine;
  bool with_x, swapped; /* z is x; z comes first */
  float number;
} reap_link;

enum { REAP_CHAIN_LINKS = 12 };

struct reap_chain {
  int n;
  reap_link links[REAP_CHAIN_LINKS];
};

/* Appends what `node` does to value `at` of the graph, the result so far (at first x itself); false if it is no
 * function of that, of x and of constants of one number, or has another shape, or if the chain is full. */
bool reap_chain_append(const reap_graph *graph, const reap_node *node, int x, int at, reap_chain *chain);

/* y[n] from x[n]; y may be x itself. Rounding is that of the nodes one by one. */
void reap_chain_apply(const reap_chain *chain, int64_t n, const float *x, float *y);

#endif
