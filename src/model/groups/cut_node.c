/* Constants and attributes of nodes, cut; see cut_node.h.
 *
 * A number in a file may be computed there, from the shape of a tensor that is cut or from another one. What counts
 * channels becomes a constant; axes that a Reshape leaves as they are become 0, which takes them from its input, so
 * that networks with free sizes keep them. */
#include "cut_node.h"

#include <string.h>

#include "model/operators.h"
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

/* Place of `axis` in the list of axes of Slice or Pad, which may be left out. */
static int64_t place_of_axis(const reap_graph *graph, const reap_node *node, int axis, int rank) {
  const reap_tensor *t = reap_node_constant(graph, node, 3);
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

/* The new shape has the channels along its axis `axis`, `count` of them are left; -1 and 0 follow by themselves. */
static void cut_reshape(reap_graph *graph, reap_node *node, int input_axis, int axis, int64_t count) {
  const reap_tensor *shape = reap_node_constant(graph, node, 1);
  const bool copied = shape->i64[axis] == 0 && axis == input_axis;
  if (shape->i64[axis] < 0 || copied) return;
  list_to_change(graph, node, 1, "shape")[axis] = count;
}

/* A GroupNormalization loses whole groups. */
static void cut_groups(const reap_graph *graph, reap_node *node, int axis, int64_t count) {
  const int64_t groups = reap_node_int(node, "num_groups", 1);
  reap_cut_attribute(node, "num_groups", count / (reap_node_input(graph, node, 0)->dims[axis] / groups));
}

static int cut_output(reap_graph *graph, const reap_groups *groups, reap_node *node, const reap_member *member,
                      int group, const bool *keep) {
  const int value = node->outputs[0], axis = reap_groups_axis(groups, value);
  int64_t *entries = NULL;
  REAP_TRY(reap_alloc(&entries, graph->values[value].dims[axis], sizeof *entries));
  cut_reshape(graph, node, member->axis, axis, reap_groups_entries(groups, value, group, keep, entries));
  reap_free(&entries);
  return REAP_OK;
}

int reap_cut_node(reap_graph *graph, const reap_groups *groups, const reap_member *member, int group, const bool *keep,
                  int64_t count, const int64_t *entries) {
  reap_node *node = graph->nodes[member->node];
  if (graph->values[member->value].constant) {
    reap_cut_tensor(graph->values[member->value].constant, member->axis, count, entries);
    node->cut |= 1u << member->input;
    return REAP_OK;
  }
  if (node->fixed_shape) node->cut |= 1u << 1;
  if (node->op->id == REAP_OP_GroupNormalization) cut_groups(graph, node, member->axis, count);
  if (node->op->id == REAP_OP_Slice) return cut_slice(graph, node, member->axis, count, entries);
  if (node->op->id == REAP_OP_Pad && member->input < 0) return cut_pad(graph, node, member->axis, count, entries);
  if (node->op->id == REAP_OP_Reshape) return cut_output(graph, groups, node, member, group, keep);
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

/* Axes that a Reshape passes on are copied, the batch at least. */
static void free_sizes(const reap_graph *graph, const reap_node *node, reap_tensor *shape) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  if (reap_node_int(node, "allowzero", 0)) return;
  for (int i = 0; i < shape->count && i < x->rank && x->dims[i] == y->dims[i]; i++)
    if (shape->i64[i] > 0) shape->i64[i] = 0;
}

static int input_edit(const reap_graph *graph, const reap_node *node, int slot, reap_edits *edits) {
  reap_tensor *t = NULL;
  if (node->fixed_shape) return flatten_edit(graph, node, edits);
  REAP_TRY(reap_tensor_clone(reap_node_constant(graph, node, slot), &t));
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

int reap_cut_node_edits(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  for (int slot = 0; slot < 31; slot++)
    if (node->cut >> slot & 1) REAP_TRY(input_edit(graph, node, slot, edits));
  return node->cut & REAP_CUT_ATTRIBUTES ? attribute_edits(node, edits) : REAP_OK;
}
