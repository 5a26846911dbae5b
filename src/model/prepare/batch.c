#include "batch.h"

#include <string.h>

#include "model/operators.h"
#include "model/operators/rules.h"
#include "model/operators/slicing.h"
#include "reap/error.h"

/* True if the operator itself works along axis 0. Only called for operators whose parameters have been resolved before.
 */
static bool works_along_batch(const reap_graph *graph, const reap_node *node) {
  const char *op = node->op->name;
  const reap_value *x = reap_node_input(graph, node, 0);
  int axis = 1, permutation[REAP_MAX_RANK];
  if (strcmp(op, "Concat") == 0) return reap_axis_resolve(graph, node, 0, &axis) == REAP_OK && axis == 0;
  if (strcmp(op, "Softmax") == 0 || strcmp(op, "LogSoftmax") == 0)
    return reap_axis_resolve(graph, node, graph->opset >= 13 ? -1 : 1, &axis) == REAP_OK && axis == 0;
  if (strcmp(op, "ReduceMean") == 0) {
    bool mask[REAP_MAX_RANK];
    return reap_axes_resolve(graph, node, x->rank, mask) == REAP_OK && mask[0];
  }
  if (strcmp(op, "Slice") == 0) {
    reap_slice slice;
    return reap_slice_resolve(graph, node, &slice) == REAP_OK &&
           (slice.start[0] != 0 || slice.step[0] != 1 || slice.count[0] != x->dims[0]);
  }
  if (strcmp(op, "Pad") == 0) {
    reap_padding padding;
    return reap_padding_resolve(graph, node, &padding) == REAP_OK && (padding.before[0] || padding.after[0]);
  }
  if (strcmp(op, "Transpose") == 0)
    return reap_permutation_resolve(graph, node, permutation) == REAP_OK && permutation[0] != 0;
  return false;
}

int reap_check_batch(const reap_graph *graph, const reap_node *node) {
  const reap_value *y = reap_node_output(graph, node, 0);
  for (int i = 0; i < y->rank; i++)
    if (y->dims[i] == 0) return reap_node_error(node, "its output is empty");
  if (y->rank < 1 || y->dims[0] % graph->batch != 0 || works_along_batch(graph, node))
    return reap_node_error(node, "mixes the images of a batch, which is not supported");
  return REAP_OK;
}
