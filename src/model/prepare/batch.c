#include "batch.h"

#include "model/operators.h"
#include "model/operators/rules.h"
#include "model/operators/slicing.h"
#include "reap/error.h"

/* True if the operator itself works along axis 0. Only called for operators whose parameters have been resolved before.
 */
static bool works_along_batch(const reap_graph *graph, const reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  bool mask[REAP_MAX_RANK];
  int axis = 1, permutation[REAP_MAX_RANK];
  reap_slice slice;
  reap_padding padding;
  switch (node->op->id) {
    case REAP_OP_Concat:
      return reap_axis_resolve(graph, node, 0, &axis) == REAP_OK && axis == 0;
    case REAP_OP_Softmax:
    case REAP_OP_LogSoftmax:
      return reap_axis_resolve(graph, node, graph->opset >= 13 ? -1 : 1, &axis) == REAP_OK && axis == 0;
    case REAP_OP_ReduceMean:
      return reap_axes_resolve(graph, node, x->rank, mask) == REAP_OK && mask[0];
    case REAP_OP_Slice:
      return reap_slice_resolve(graph, node, &slice) == REAP_OK &&
             (slice.start[0] != 0 || slice.step[0] != 1 || slice.count[0] != x->dims[0]);
    case REAP_OP_Pad:
      return reap_padding_resolve(graph, node, &padding) == REAP_OK && (padding.before[0] || padding.after[0]);
    case REAP_OP_Transpose:
      return reap_permutation_resolve(graph, node, permutation) == REAP_OK && permutation[0] != 0;
    default:
      return false;
  }
}

int reap_check_batch(const reap_graph *graph, const reap_node *node) {
  const reap_value *y = reap_node_output(graph, node, 0);
  for (int i = 0; i < y->rank; i++)
    if (y->dims[i] == 0) return reap_node_error(node, "its output is empty");
  if (y->rank < 1 || y->dims[0] % graph->batch != 0 || works_along_batch(graph, node))
    return reap_node_error(node, "mixes the images of a batch, which is not supported");
  return REAP_OK;
}
