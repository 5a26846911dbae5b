/* Loop nests over strided operands; see kernels.h.
 *
 * Method: the axes are sorted by operand 0's strides, largest first, and an axis is merged into the one outside it if
 * for every operand the outer stride is the inner one times the inner length. Cost: once per node, nothing per image.
 */
#include "nest.h"

#include "model/tensor.h"

/* Axes of more than one element, in the order of operand 0's strides; a stable insertion sort of at most eight. */
static int sort_axes(int rank, const int64_t *dims, const int64_t *strides, int *order) {
  int n = 0;
  for (int axis = 0; axis < rank; axis++) {
    if (dims[axis] == 1) continue;
    int at = n++;
    for (; at > 0 && strides[order[at - 1]] < strides[axis]; at--) order[at] = order[at - 1];
    order[at] = axis;
  }
  return n;
}

void reap_nest_build(int rank, const int64_t *dims, int operands, int64_t (*strides)[REAP_MAX_RANK], reap_nest *nest) {
  int order[REAP_MAX_RANK];
  int n = sort_axes(rank, dims, strides[0], order);
  *nest = (reap_nest){.rank = 0};
  bool empty = false;
  for (int i = 0; i < n; i++) {
    int64_t length = dims[order[i]];
    if (length == 0) empty = true;
    int last = nest->rank - 1;
    bool merge = last >= 0;
    for (int k = 0; k < operands && merge; k++) merge = nest->strides[k][last] == strides[k][order[i]] * length;
    if (!merge) last = nest->rank++;
    nest->dims[last] = merge ? nest->dims[last] * length : length;
    for (int k = 0; k < operands; k++) nest->strides[k][last] = strides[k][order[i]];
  }
  if (nest->rank == 0 || empty) { /* a single element, or none */
    *nest = (reap_nest){.rank = 1, .dims = {empty ? 0 : 1}};
    for (int k = 0; k < operands; k++) nest->strides[k][0] = 1;
  }
}

bool reap_nest_next(const reap_nest *nest, reap_cursor *cursor) {
  for (int axis = nest->rank - 2; axis >= 0; axis--) {
    bool more = ++cursor->index[axis] < nest->dims[axis];
    int64_t steps = more ? 1 : 1 - nest->dims[axis];
    for (int k = 0; k < REAP_NEST_OPERANDS; k++) cursor->offset[k] += steps * nest->strides[k][axis];
    if (more) return true;
    cursor->index[axis] = 0;
  }
  return false;
}

void reap_nest_copy(const reap_nest *nest, float *to, const float *from) {
  if (nest->dims[0] == 0) return;
  reap_strided_copy(nest->rank, nest->dims, sizeof *to, to, nest->strides[0], from, nest->strides[1]);
}
