/* Constants and attributes of nodes, cut; see cut_node.h.
 *
 * A number in a file may be computed there, from the shape of a tensor that is cut or from another one. What counts
 * channels becomes a constant; axes that a Reshape leaves as they are become 0, which takes them from its input, so
 * that networks with free sizes keep them. */
#include "cut_node.h"

#include <string.h>

#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

void reap_cut_tensor(reap_tensor *t, int axis, int64_t count, const int64_t *entries) {
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; i++) outer *= t->dims[i];
  for (int i = axis + 1; i < t->rank; i++) inner *= t->dims[i];
  for (int64_t o = 0; o < outer; o++)
    for (int64_t k = 0; k < count; k++) /* never ahead of what is still to be read */
      memmove(t->f32 + (o * count + k) * inner, t->f32 + (o * t->dims[axis] + entries[k]) * inner,
              (size_t)inner * sizeof *t->f32);
  t->dims[axis] = count;
  t->count = outer * count * inner;
}

/* ------------------------------------------------------------------ lists of numbers */

static reap_attribute *find_attribute(reap_node *node, const char *name) {
  for (int i = 0; i < node->n_attributes; i++)
    if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
  return NULL;
}

void reap_cut_attribute(reap_node *node, const char *name, int64_t value) {
  reap_attribute *a = find_attribute(node, name);
  if (!a) return;
  a->i = value;
  node->cut |= REAP_CUT_ATTRIBUTES;
}

/* Gives the node an attribute with these integers. */
static int set_list(reap_node *node, const char *name, const int64_t *values, int64_t count) {
  reap_attribute *a = find_attribute(node, name);
  if (!a) {
    REAP_TRY(reap_grow(&node->attributes, node->n_attributes, node->n_attributes + 1, sizeof *node->attributes));
    a = &node->attributes[node->n_attributes];
    memset(a, 0, sizeof *a);
    a->kind = REAP_ATTRIBUTE_INTS;
    REAP_TRY(reap_strdup(&a->name, name));
    node->n_attributes++;
  }
  reap_free(&a->ints);
  a->count = 0;
  REAP_TRY(reap_alloc(&a->ints, count, sizeof *a->ints));
  memcpy(a->ints, values, (size_t)count * sizeof *values);
  a->count = count;
  return REAP_OK;
}

/* The list in constant input `slot`, or in the attribute, to be changed; NULL if there is none. */
static int64_t *list_to_change(reap_graph *graph, reap_node *node, int slot, const char *attribute) {
  reap_value *v = reap_node_input(graph, node, slot);
  if (v) {
    node->cut |= 1u << slot;
    return v->constant->i64;
  }
  reap_attribute *a = find_attribute(node, attribute);
  node->cut |= REAP_CUT_ATTRIBUTES;
  return a ? a->ints : NULL;
}

/* Place of `axis` in the list of axes of Slice, Pad or Resize, which may be left out. */
static int64_t place_of_axis(const reap_graph *graph, const reap_node *node, int axis, int rank) {
  const bool listed = node->op->id == REAP_OP_Slice || node->op->id == REAP_OP_Pad;
  const reap_tensor *t = listed ? reap_node_constant(graph, node, 3) : NULL;
  const reap_attribute *a = reap_node_attribute(node, "axes");
  const int64_t *axes = t ? t->i64 : a ? a->ints : NULL, n = t ? t->count : a ? a->count : 0;
  for (int64_t i = 0; i < n; i++)
    if (axes[i] == axis || axes[i] == axis - rank) return i;
  return axes ? -1 : axis;
}

static int64_t count_below(const int64_t *entries, int64_t count, int64_t limit) {
  int64_t n = 0;
  while (n < count && entries[n] < limit) n++;
  return n;
}

/* ------------------------------------------------------------------ operators */

/* entries[count]: of the input. */
static int cut_slice(reap_graph *graph, reap_node *node, int axis, int64_t count, const int64_t *entries) {
  reap_slice slice;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  const int64_t place = place_of_axis(graph, node, axis, slice.rank);
  if (place < 0 || slice.count[axis] == reap_node_input(graph, node, 0)->dims[axis]) return REAP_OK;
  int64_t *starts = list_to_change(graph, node, 1, "starts"), *ends = list_to_change(graph, node, 2, "ends");
  starts[place] = count_below(entries, count, slice.start[axis]);
  ends[place] = count_below(entries, count, slice.start[axis] + slice.count[axis]);
  if (reap_node_input(graph, node, 3)) node->cut |= 1u << 3; /* one type for all of them */
  if (reap_node_input(graph, node, 4)) node->cut |= 1u << 4;
  return REAP_OK;
}

/* entries[count]: of the output. */
static int cut_pad(reap_graph *graph, reap_node *node, int axis, int64_t count, const int64_t *entries) {
  reap_padding padding;
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  const int64_t place = place_of_axis(graph, node, axis, padding.rank), before = padding.before[axis],
                inner = reap_node_input(graph, node, 0)->dims[axis];
  if (place < 0 || before + padding.after[axis] == 0) return REAP_OK;
  const reap_tensor *axes = reap_node_constant(graph, node, 3);
  int64_t *pads = list_to_change(graph, node, 1, "pads");
  pads[place] = count_below(entries, count, before);
  pads[place + (axes ? axes->count : padding.rank)] = count - count_below(entries, count, before + inner);
  return REAP_OK;
}

/* Sizes of all parts of a Split: the graph has a node for each, and each its own list, [those in front together, its
 * own, those behind] where it is an attribute. */
static int cut_split(reap_graph *graph, reap_node *node, int axis, int64_t count, const int64_t *entries) {
  reap_slice slice;
  reap_value *sizes = reap_node_input(graph, node, 1);
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  if (slice.count[axis] == reap_node_input(graph, node, 0)->dims[axis]) return REAP_OK;
  node->cut |= REAP_CUT_ATTRIBUTES;
  if (sizes) {
    for (int64_t i = 0, end = 0, before = 0; i < sizes->constant->count; i++) {
      end += sizes->constant->i64[i];
      const int64_t below = count_below(entries, count, end);
      sizes->constant->i64[i] = below - before;
      before = below;
    }
    return REAP_OK;
  }
  const int64_t before = count_below(entries, count, slice.start[axis]),
                end = count_below(entries, count, slice.start[axis] + slice.count[axis]);
  return set_list(node, "split", (int64_t[]){before, end - before, count - end}, 3);
}

/* Indices of what is left, by its new places. entries[count]: of the input, kept[left]: of the output. */
static void cut_gather(reap_graph *graph, reap_node *node, int64_t length, int64_t count, const int64_t *entries,
                       int64_t left, const int64_t *kept) {
  reap_tensor *index = reap_node_input(graph, node, 1)->constant;
  for (int64_t k = 0; k < left; k++) { /* never ahead of what is still to be read */
    const int64_t old = index->i64[kept[k]];
    index->i64[k] = count_below(entries, count, old < 0 ? old + length : old);
  }
  index->dims[0] = index->count = left;
  node->cut |= 1u << 1;
}

/* A list of sizes that names that of the axis: slot 3 of Resize, 1 of Expand. What the file computes from shapes
 * follows by itself. */
static void cut_sizes(reap_graph *graph, reap_node *node, int slot, int axis, int64_t count) {
  reap_value *sizes = reap_node_input(graph, node, slot);
  const reap_attribute *axes = reap_node_attribute(node, "axes");
  if (!sizes || sizes->constant->count == 0) return;
  const int rank = reap_node_output(graph, node, 0)->rank;
  const int64_t place = axes ? place_of_axis(graph, node, axis, rank) : axis - (rank - sizes->constant->count);
  if (place < 0 || sizes->constant->i64[place] == 1) return;
  sizes->constant->i64[place] = count;
  if (!sizes->measured) node->cut |= 1u << slot;
}

/* The new shape has the channels along its axis `axis`, `count` of them are left; -1 and 0 follow by themselves. */
static void cut_reshape(reap_graph *graph, reap_node *node, int input_axis, int axis, int64_t count) {
  const reap_tensor *shape = reap_node_constant(graph, node, 1);
  const bool copied = shape->i64[axis] == 0 && axis == input_axis;
  if (node->gathers) node->cut |= 1u << 1; /* the file has indices, and no -1 */
  if (shape->i64[axis] < 0 || copied) return;
  list_to_change(graph, node, 1, "shape")[axis] = count;
}

/* Weights [inputs, outputs of a group] of a transposed convolution; whole groups of a grouped one. */
static void cut_transposed(reap_graph *graph, reap_node *node, const reap_member *member, int64_t count,
                           const int64_t *entries) {
  reap_tensor *weights = reap_node_input(graph, node, 1)->constant;
  const bool outputs = member->role == REAP_PRODUCES, grouped = reap_node_int(node, "group", 1) > 1;
  node->cut |= 1u << 1;
  if (!outputs || !grouped) reap_cut_tensor(weights, outputs ? 1 : 0, count, entries);
  if (!outputs) return;
  if (grouped) reap_cut_attribute(node, "group", count / reap_weights_inputs(weights));
  if (!reap_node_input(graph, node, 2)) return;
  reap_cut_tensor(reap_node_input(graph, node, 2)->constant, 0, count, entries);
  node->cut |= 1u << 2;
}

/* A GroupNormalization loses whole groups, unless it has one only. */
static void cut_groups(const reap_graph *graph, reap_node *node, int axis, int64_t count) {
  const int64_t groups = reap_node_int(node, "num_groups", 1);
  if (groups == 1) return;
  reap_cut_attribute(node, "num_groups", count / (reap_node_input(graph, node, 0)->dims[axis] / groups));
}

/* What counts the entries of the output, of which kept[left] stay. */
static void cut_output(reap_graph *graph, reap_node *node, const reap_member *member, int64_t count,
                       const int64_t *entries, int axis, int64_t left, const int64_t *kept) {
  const int64_t length = graph->values[member->value].dims[member->axis];
  int own = -1;
  switch (node->op->id) {
    case REAP_OP_Reshape:
      cut_reshape(graph, node, member->axis, axis, left);
      break;
    case REAP_OP_Resize:
      cut_sizes(graph, node, 3, axis, left);
      break;
    case REAP_OP_Expand:
      cut_sizes(graph, node, 1, axis, left);
      break;
    case REAP_OP_Gather:
      if (reap_axis_resolve(graph, node, 0, &own) == REAP_OK && own == member->axis &&
          (left < reap_node_output(graph, node, 0)->dims[axis] || count < length))
        cut_gather(graph, node, length, count, entries, left, kept);
      break;
    default:
      break;
  }
}

int reap_cut_node(reap_graph *graph, const reap_groups *groups, const reap_member *member, int group, const bool *keep,
                  int64_t count, const int64_t *entries) {
  reap_node *node = graph->nodes[member->node];
  if (graph->values[member->value].constant) {
    reap_cut_tensor(graph->values[member->value].constant, member->axis, count, entries);
    node->cut |= 1u << member->input;
    return REAP_OK;
  }
  if (node->op->channels == REAP_CHANNELS_TRANSPOSED) {
    cut_transposed(graph, node, member, count, entries);
    return REAP_OK;
  }
  if (node->fixed_shape) node->cut |= 1u << 1;
  if (node->op->id == REAP_OP_GroupNormalization) cut_groups(graph, node, member->axis, count);
  if (node->op->id == REAP_OP_Slice) return cut_slice(graph, node, member->axis, count, entries);
  if (node->op->id == REAP_OP_Pad && member->input < 0) return cut_pad(graph, node, member->axis, count, entries);
  if (node->op->id == REAP_OP_Split) return cut_split(graph, node, member->axis, count, entries);
  const int value = node->outputs[0], axis = reap_groups_axis(groups, value);
  int64_t *kept = NULL;
  if (axis < 0) return REAP_OK;
  REAP_TRY(reap_alloc(&kept, graph->values[value].dims[axis], sizeof *kept));
  const int64_t left = reap_groups_entries(groups, value, group, keep, kept);
  cut_output(graph, node, member, count, entries, axis, left < 0 ? graph->values[value].dims[axis] : left, kept);
  reap_free(&kept);
  return REAP_OK;
}

/* ------------------------------------------------------------------ edits of the file */

/* A Reshape to a fixed number of columns: [-1, columns] serves any batch. */
static int flatten_edit(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  const reap_value *y = reap_node_output(graph, node, 0);
  const int64_t shape[] = {-1, reap_value_count(y) / y->dims[0]};
  reap_tensor *t = NULL;
  REAP_TRY(reap_tensor_from_ints(shape, 2, &t));
  return reap_edits_add(edits, REAP_EDIT_INPUT, node->source, 1, t);
}

/* Axes that a Reshape passes on are copied, the batch at least. Where the batch becomes part of another axis, as the
 * file computes it, that axis is whatever is left. */
static void free_sizes(const reap_graph *graph, const reap_node *node, reap_tensor *shape) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const reap_value *sizes = reap_node_input(graph, node, 1);
  bool left = false;
  if (sizes->measured && sizes->batch_known) {
    for (int i = 0; sizes->batch_entries && i < shape->count; i++)
      shape->i64[i] = sizes->batch_entries >> i & 1 ? -1 : y->dims[i];
    return;
  }
  if (!reap_node_int(node, "allowzero", 0))
    for (int i = 0; i < shape->count && i < x->rank && x->dims[i] == y->dims[i]; i++)
      if (shape->i64[i] > 0) shape->i64[i] = 0;
  for (int64_t i = 0; i < shape->count; i++) left |= shape->i64[i] < 0;
  if (sizes->measured && shape->count > 0 && shape->i64[0] > 0 && !left) shape->i64[0] = -1;
}

static int input_edit(const reap_graph *graph, const reap_node *node, int slot, reap_edits *edits) {
  reap_tensor *t = NULL;
  if (node->fixed_shape) return flatten_edit(graph, node, edits);
  REAP_TRY(reap_tensor_clone(reap_node_constant(graph, node, slot), &t));
  if (node->gathers) return reap_edits_add(edits, REAP_EDIT_RESHAPE, node->source, slot, t);
  if (node->op->id == REAP_OP_Reshape) free_sizes(graph, node, t);
  return reap_edits_add(edits, REAP_EDIT_INPUT, node->source, slot, t);
}

/* Those that reap_cut_node() and cuts of layers change. */
static int attribute_edits(const reap_node *node, reap_edits *edits) {
  static const char *const names[] = {"group", "num_groups", "starts", "ends", "pads"};
  for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
    const reap_attribute *a = reap_node_attribute(node, names[i]);
    reap_tensor *t = NULL;
    if (!a) continue;
    if (a->kind == REAP_ATTRIBUTE_INTS)
      REAP_TRY(reap_tensor_from_ints(a->ints, a->count, &t));
    else
      REAP_TRY(reap_tensor_create(REAP_I64, 0, NULL, &t));
    if (t->rank == 0) t->i64[0] = a->i;
    REAP_TRY(reap_edits_add_attribute(edits, node->source, names[i], t));
  }
  return REAP_OK;
}

/* Own sizes of the parts of one Split of the file; parts that nothing reads have what is left, together. */
static int split_sizes(const reap_graph *graph, const reap_node *node, int axis, reap_tensor **out) {
  const int64_t parts = node->parts;
  int64_t left = reap_node_input(graph, node, 0)->dims[axis];
  int first_unread = -1;
  REAP_TRY(reap_tensor_create(REAP_I64, 1, &parts, out));
  for (int k = 0; k < node->parts; k++) (*out)->i64[k] = -1;
  for (int i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->source == node->source && graph->nodes[i]->parts == node->parts)
      (*out)->i64[graph->nodes[i]->part] = reap_node_output(graph, graph->nodes[i], 0)->dims[axis];
  for (int k = 0; k < node->parts; k++) {
    if ((*out)->i64[k] < 0 && first_unread < 0) first_unread = k;
    if ((*out)->i64[k] < 0) (*out)->i64[k] = 0;
    left -= (*out)->i64[k];
  }
  if (first_unread >= 0) (*out)->i64[first_unread] = left;
  return REAP_OK;
}

/* Once for all parts: as an input, or before opset 13 as an attribute. */
static int split_edits(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  reap_tensor *t = NULL;
  int axis;
  for (int i = 0; i < graph->n_nodes && graph->nodes[i] != node; i++)
    if (graph->nodes[i]->source == node->source && graph->nodes[i]->parts > 0 && graph->nodes[i]->cut) return REAP_OK;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  REAP_TRY(split_sizes(graph, node, axis, &t));
  if (graph->opset < 13) return reap_edits_add_attribute(edits, node->source, "split", t);
  REAP_TRY(reap_edits_add(edits, REAP_EDIT_INPUT, node->source, 1, t));
  return reap_node_attribute(node, "num_outputs") ? reap_edits_add_attribute(edits, node->source, "num_outputs", NULL)
                                                  : REAP_OK;
}

int reap_cut_node_edits(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  if (node->cut && node->op->id == REAP_OP_Split) return split_edits(graph, node, edits);
  for (int slot = 0; slot < 31; slot++)
    if (node->cut >> slot & 1) REAP_TRY(input_edit(graph, node, slot, edits));
  return node->cut & REAP_CUT_ATTRIBUTES ? attribute_edits(node, edits) : REAP_OK;
}
