/* Loops over boxes whose operands lie in memory each in its own way; private to src/exec. */
#ifndef REAP_EXEC_PRIMITIVES_NEST_H
#define REAP_EXEC_PRIMITIVES_NEST_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"

/* Loops over the elements of a box in the order in which operand 0 lies in memory. Axes of one element are left out,
 * and neighbouring axes that every operand walks through without a gap are merged, so that the innermost loop is as
 * long as the operands' layouts allow: a whole block where they agree. */
enum { REAP_NEST_OPERANDS = 4 };

typedef struct reap_nest {
  int rank; /* at least 1 */
  int64_t dims[REAP_MAX_RANK];
  int64_t strides[REAP_NEST_OPERANDS][REAP_MAX_RANK]; /* in elements, any sign; 0 where an operand stands still */
} reap_nest;

typedef struct reap_cursor {
  int64_t index[REAP_MAX_RANK];
  int64_t offset[REAP_NEST_OPERANDS]; /* elements from each operand's start to the current innermost loop */
} reap_cursor;

/* strides: [operands][REAP_MAX_RANK], of which the first `rank` count. */
void reap_nest_build(int rank, const int64_t *dims, int operands, int64_t (*strides)[REAP_MAX_RANK], reap_nest *nest);

/* Length and steps of the innermost loop. */
static inline int64_t reap_nest_length(const reap_nest *nest) { return nest->dims[nest->rank - 1]; }
static inline int64_t reap_nest_step(const reap_nest *nest, int operand) {
  return nest->strides[operand][nest->rank - 1];
}

/* Moves to the next innermost loop; false after the last. A cursor starts as all zeros. */
bool reap_nest_next(const reap_nest *nest, reap_cursor *cursor);

/* Copies operand 1 (from) to operand 0 (to). */
void reap_nest_copy(const reap_nest *nest, float *to, const float *from);

#endif
