/* Private to src/exec. */
#ifndef REAP_EXEC_PRIMITIVES_FUSION_H
#define REAP_EXEC_PRIMITIVES_FUSION_H

#include <stdbool.h>

/* What may be computed along with a node, while its output is still in the cache: output = clamp(node(x) + addend), or
 * chain(node(x)). */
typedef struct reap_chain reap_chain; /* exec/kernels/chain.h */

typedef struct reap_fusion {
  bool add;                /* the addend has the output's shape */
  const reap_chain *chain; /* of a matrix product; NULL: none. Copied. */
  bool clamp;              /* to low .. high: a Relu or a Clip */
  float low, high;         /* -INFINITY, INFINITY: no such bound */
} reap_fusion;

#endif
