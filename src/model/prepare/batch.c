#include "batch.h"

#include "model/operators.h"
#include "model/operators/layout.h"
#include "model/operators/moving.h"
#include "model/operators/normalisation.h"
#include "model/operators/rules.h"
#include "model/operators/slicing.h"
#include "reap/error.h"

/* True if the operator itself works along `axis` of its inputs (of the first, where they differ). Only called for
 * operators whose parameters have been resolved before. */
static bool works_along(const reap_graph *graph, const reap_node *node, int axis) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  bool mask[REAP_MAX_RANK];
  int own = -1;
  reap_slice slice;
  reap_padding padding;
  reap_normalisation norm;
  switch (node->op->id) {
    case REAP_OP_Concat:
      return reap_axis_resolve(graph, node, 0, &own) == REAP_OK && axis == own;
    case REAP_OP_Softmax:
    case REAP_OP_LogSoftmax:
      return reap_axis_resolve(graph, node, graph->opset >= 13 ? -1 : 1, &own) == REAP_OK &&
             (axis == own || (graph->opset < 13 && axis > own));
    case REAP_OP_ReduceMean:
    case REAP_OP_ReduceSum:
    case REAP_OP_ReduceSumSquare:
    case REAP_OP_ReduceL1:
    case REAP_OP_ReduceL2:
    case REAP_OP_ReduceMax:
    case REAP_OP_ReduceMin:
    case REAP_OP_ReduceProd:
      return reap_axes_resolve(graph, node, x->rank, mask) == REAP_OK && mask[axis];
    case REAP_OP_Gather:
      if (reap_gather_keeps_order(graph, node)) return false;
      return reap_axis_resolve(graph, node, 0, &own) == REAP_OK && axis == own;
    case REAP_OP_ArgMax:
    case REAP_OP_ArgMin:
      return reap_axis_resolve(graph, node, 0, &own) == REAP_OK && axis == own;
    case REAP_OP_TopK:
      return reap_axis_resolve(graph, node, -1, &own) == REAP_OK && axis == own;
    case REAP_OP_Tile:
      return y->dims[axis] != x->dims[axis];
    case REAP_OP_LRN:
      return axis == REAP_NORM_AXIS;
    case REAP_OP_Split:
    case REAP_OP_Slice:
      return reap_slice_resolve(graph, node, &slice) == REAP_OK &&
             (slice.start[axis] != 0 || slice.step[axis] != 1 || slice.count[axis] != x->dims[axis]);
    case REAP_OP_Pad:
      return reap_padding_resolve(graph, node, &padding) == REAP_OK && (padding.before[axis] || padding.after[axis]);
    case REAP_OP_LayerNormalization:
    case REAP_OP_RMSNormalization:
      return reap_normalisation_resolve(graph, node, &norm) == REAP_OK && norm.merged[axis];
    case REAP_OP_Gemm:
    case REAP_OP_MatMul:
      return axis == x->rank - 1;
    case REAP_OP_Conv:
    case REAP_OP_ConvTranspose:
    case REAP_OP_DepthToSpace:
    case REAP_OP_SpaceToDepth:
    case REAP_OP_BatchNormalization:
    case REAP_OP_InstanceNormalization:
    case REAP_OP_GroupNormalization:
    case REAP_OP_MaxPool:
    case REAP_OP_AveragePool:
    case REAP_OP_GlobalAveragePool:
    case REAP_OP_GlobalMaxPool:
      return axis != 0;
    default:
      return false;
  }
}

static int64_t elements_behind(const reap_value *value, int axis) {
  int64_t count = 1;
  for (int i = axis + 1; i < value->rank; i++) count *= value->dims[i];
  return count;
}

/* The same numbers in row-major order: an image's consecutive ones make whole entries of one axis, or the images are
 * torn. There is at most one such axis, as several images do not fit behind one of their entries. */
static reap_image_place reshaped(const reap_graph *graph, const reap_value *x, const reap_value *y,
                                 reap_image_place from) {
  const int64_t image = from.run * elements_behind(x, from.axis);
  for (int i = 0; i < y->rank; i++) {
    const int64_t behind = elements_behind(y, i);
    if (image % behind == 0 && y->dims[i] % (image / behind * graph->batch) == 0)
      return (reap_image_place){i, image / behind};
  }
  return (reap_image_place){-1, 0};
}

/* Axes of the input in front of `axis` that the output lacks, less those that it has more. */
static int axes_gone(const reap_graph *graph, const reap_node *node, int axis) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  bool gone[REAP_MAX_RANK];
  int own = -1, count = 0;
  if (node->op->id == REAP_OP_Expand || node->op->channels == REAP_CHANNELS_JOIN) /* axes count from the last one */
    return x->rank - y->rank;
  if (node->op->id == REAP_OP_Gather || node->op->id == REAP_OP_ArgMax || node->op->id == REAP_OP_ArgMin)
    return reap_axis_resolve(graph, node, 0, &own) == REAP_OK && own < axis ? x->rank - y->rank : 0;
  if (reap_rules_of(node->op)->shape != reap_shape_reduce || x->rank == y->rank ||
      reap_axes_resolve(graph, node, x->rank, gone) != REAP_OK)
    return 0;
  for (int i = 0; i < axis; i++) count += gone[i];
  return count;
}

/* In the output, of images that lie at `from` in the first input. */
static reap_image_place moved(const reap_graph *graph, const reap_node *node, reap_image_place from) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  int permutation[REAP_MAX_RANK];
  reap_image_place to = from;
  if (node->op->id == REAP_OP_Transpose && reap_permutation_resolve(graph, node, permutation) == REAP_OK)
    for (int i = 0; i < y->rank; i++)
      if (permutation[i] == from.axis) to.axis = i;
  const bool gathers_all = node->op->id == REAP_OP_Gather && reap_gather_keeps_order(graph, node);
  if (node->op->channels == REAP_CHANNELS_RESHAPE || gathers_all) return reshaped(graph, x, y, from);
  to.axis -= axes_gone(graph, node, from.axis);
  return to;
}

/* Of a node with several inputs that depend on the images: where those of input `slot` lie in the output. */
static reap_image_place place_through(const reap_graph *graph, const reap_node *node, int slot, reap_image_place from) {
  const reap_value *x = reap_node_input(graph, node, slot), *y = reap_node_output(graph, node, 0);
  const bool right_operand = slot == 1 && node->op->id == REAP_OP_MatMul;
  if (!right_operand ? works_along(graph, node, from.axis) : from.axis >= x->rank - 2) return (reap_image_place){-1, 0};
  reap_image_place to = from;
  if (slot == 0 && node->op->id != REAP_OP_MatMul)
    to = moved(graph, node, from);
  else
    to.axis += y->rank - x->rank;
  if (to.axis < 0 || y->dims[to.axis] % (to.run * graph->batch) != 0) return (reap_image_place){-1, 0};
  return to;
}

/* Sizes that a file has as numbers may name another number of images than a block has. */
static int check_sizes(const reap_graph *graph, const reap_node *node, reap_image_place place) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const reap_operator_id op = node->op->id;
  if (op != REAP_OP_Expand && op != REAP_OP_Resize && op != REAP_OP_Upsample) return REAP_OK;
  const int64_t found = y->dims[place.axis + y->rank - x->rank];
  if (found == x->dims[place.axis]) return REAP_OK;
  return reap_node_error(node, "its sizes are those of %lld images, not of %lld", (long long)found,
                         (long long)x->dims[place.axis]);
}

static int mixes(reap_graph *graph, const reap_node *node) {
  graph->mixes = true;
  return reap_node_error(node, "mixes the images of a batch, which is not supported");
}

int reap_check_batch(reap_graph *graph, const reap_node *node, reap_image_place *places) {
  const reap_value *y = reap_node_output(graph, node, 0);
  reap_image_place found = {-1, 0};
  for (int i = 0; i < y->rank; i++)
    if (y->dims[i] == 0) return reap_node_error(node, "its output is empty");
  for (int k = 0; k < node->n_inputs && graph->batch > 1; k++) {
    const reap_value *x = reap_node_input(graph, node, k);
    if (!x || x->constant) continue;
    if (k == 0) REAP_TRY(check_sizes(graph, node, places[node->inputs[0]]));
    const reap_image_place place = place_through(graph, node, k, places[node->inputs[k]]);
    if (place.axis < 0 || (found.axis >= 0 && (place.axis != found.axis || place.run != found.run)))
      return mixes(graph, node);
    found = place;
  }
  if (graph->batch > 1 && found.axis < 0) return mixes(graph, node);
  for (int k = 0; k < node->n_outputs; k++)
    if (node->outputs[k] >= 0) places[node->outputs[k]] = found;
  return REAP_OK;
}

int reap_check_blocks(const reap_graph *graph, const reap_image_place *places) {
  for (int i = 0; i < graph->n_nodes && graph->batch > 1; i++) {
    const reap_value *y = reap_node_output(graph, graph->nodes[i], 0);
    if (!y || y->constant) continue;
    const reap_image_place place = places[graph->nodes[i]->outputs[0]];
    if (place.axis != 0 || y->dims[0] != place.run * graph->batch)
      return reap_node_error(graph->nodes[i],
                             "puts the images of a batch behind another axis; it is computed for "
                             "blocks of one image only, so export with a batch of one or a free one");
  }
  return REAP_OK;
}
