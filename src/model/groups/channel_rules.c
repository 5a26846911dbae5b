/* Follows channels through the graph, one rule per entry of reap_channel_rule.
 *
 * A rule reads the lists of a node's inputs, makes classes one, holds what cannot leave, and fills in the lists of the
 * outputs and of those constants that have a number for each channel. Cost: one pass over the nodes and their lists. */
#include "channel_rules.h"

#include <string.h>

#include "channel_reshape.h"
#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/layout_rules.h"
#include "model/operators/moving.h"
#include "model/operators/normalisation.h"
#include "model/operators/rules.h"
#include "model/operators/slicing.h"
#include "model/prepare/batch_sizes.h"
#include "reap/error.h"
#include "reap/memory.h"

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static int hold(const reap_graph *graph, const reap_node *node, reap_channel_map *map, const char *why) {
  return reap_channel_map_pin_inputs(graph, node, map, why);
}

/* ------------------------------------------------------------------ layers */

/* Channels of each `size` entries of a value become one. */
static int unite_groups(reap_channel_map *map, int value, int64_t size) {
  REAP_TRY(reap_channel_list_refine(map, value, common_divisor(map->values[value].repeat, size)));
  const reap_channel_list *x = &map->values[value];
  const int64_t runs = size / x->repeat;
  REAP_TRY(reap_channel_map_count(map, x->count));
  for (int64_t i = 0; i < x->count; i++) reap_channel_map_unite(map, x->atoms[i / runs * runs], x->atoms[i]);
  return REAP_OK;
}

/* One channel for each `size` entries of `from`, with `repeat` entries of `to`. */
static int take_groups(reap_channel_map *map, int from, int64_t size, int to, int axis, int64_t repeat) {
  const reap_channel_list *x = &map->values[from];
  const int64_t runs = size / x->repeat;
  REAP_TRY(reap_channel_list_set(map, to, axis, x->count / runs, repeat));
  for (int64_t g = 0; g < map->values[to].count; g++) map->values[to].atoms[g] = x->atoms[g * runs];
  return REAP_OK;
}

/* A convolution group of fewer channels has too few sizes to lose channels one by one. */
enum { LEAST_WIDTH = 8 };

/* Of each of `groups` parts of a value's channels as many leave: those at one place of all parts become one. */
static int unite_places(reap_channel_map *map, int value, int64_t groups, int64_t size) {
  REAP_TRY(reap_channel_list_refine(map, value, common_divisor(map->values[value].repeat, size)));
  const reap_channel_list *x = &map->values[value];
  const int64_t places = x->count / groups;
  REAP_TRY(reap_channel_map_count(map, x->count));
  for (int64_t i = places; i < x->count; i++) reap_channel_map_unite(map, x->atoms[i % places], x->atoms[i]);
  return REAP_OK;
}

/* Inputs and outputs leave by themselves, as many of each convolution group. */
static int follow_wide_groups(reap_channel_map *map, int from, int to, int axis, int64_t groups, int64_t inputs,
                              int64_t outputs) {
  if (map->values[from].count > 0 && map->values[from].axis == axis) REAP_TRY(unite_places(map, from, groups, inputs));
  REAP_TRY(reap_channel_list_fresh(map, to, axis, outputs * groups));
  return unite_places(map, to, groups, outputs);
}

/* Narrow groups of a grouped convolution leave as a whole, with their inputs and outputs; of a depthwise one each
 * channel. */
static int follow_grouped(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int64_t groups) {
  const int from = node->inputs[0], to = node->outputs[0], axis = reap_linear_axis(graph, node);
  const reap_channel_list *x = &map->values[from];
  const int64_t inputs = graph->values[from].dims[axis] / groups, outputs = graph->values[to].dims[axis] / groups;
  if (node->linear && inputs >= LEAST_WIDTH && outputs >= LEAST_WIDTH)
    return follow_wide_groups(map, from, to, axis, groups, inputs, outputs);
  if (x->count == 0 || x->axis != axis) {
    REAP_TRY(reap_channel_list_fresh(map, to, axis, outputs * groups));
    return reap_channel_map_pin(map, to, "a grouped convolution makes it from channels that are not followed");
  }
  REAP_TRY(unite_groups(map, from, inputs));
  return take_groups(map, from, inputs, to, axis, outputs);
}

static const char *const MULTIPLIES = "multiplies tensors that depend on the images, whose channels stay for now";
static const char *const NORMALISES = "normalises over the channels, which stay for now";
static const char *const COMBINES = "takes one of all channels, which stay for now";

static int follow_linear(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const bool transposed = node->op->channels == REAP_CHANNELS_TRANSPOSED,
             windows = transposed || reap_is_convolution(node);
  if (!node->linear && !transposed) return hold(graph, node, map, MULTIPLIES);
  const reap_channel_list *x = &map->values[node->inputs[0]];
  const int axis = reap_linear_axis(graph, node);
  const int64_t groups = windows ? reap_node_int(node, "group", 1) : 1;
  if (x->count > 0 && x->axis != axis)
    REAP_TRY(hold(graph, node, map,
                  windows ? "runs its window over the channels"
                          : "is a matrix product along another axis than that of the channels"));
  if (groups > 1) return follow_grouped(graph, node, map, groups);
  return reap_channel_list_fresh(map, node->outputs[0], axis, graph->values[node->outputs[0]].dims[axis]);
}

/* ------------------------------------------------------------------ one tensor passed on */

/* Axes [*first, *end) of its input along which a Softmax, LRN, Layer- or RMSNormalization mixes. */
static int mixed_axes(const reap_graph *graph, const reap_node *node, int *first, int *end) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const bool to_the_end = !reap_operator_normalises(node->op), matrix = !to_the_end && graph->opset < 13;
  *first = REAP_NORM_AXIS;
  *end = REAP_NORM_AXIS + 1;
  if (node->op->id == REAP_OP_LRN) return REAP_OK;
  REAP_TRY(reap_axis_resolve(graph, node, matrix ? 1 : -1, first));
  *end = to_the_end || matrix ? x->rank : *first + 1;
  return REAP_OK;
}

/* Numbers of scale and bias along axis `axis` of the input, which count from the last one, go with the channels there.
 * Lists of these need no limit, as the file holds the parameters themselves. */
static int label_numbers_along(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int axis) {
  const int64_t before = map->entries;
  for (int slot = 1; slot < node->n_inputs; slot++) {
    const reap_value *v = reap_node_input(graph, node, slot);
    const int own = v ? axis - (reap_node_input(graph, node, 0)->rank - v->rank) : -1;
    if (own < 0 || v->dims[own] == 1) continue;
    REAP_TRY(reap_channel_list_pass(map, node->inputs[0], node->inputs[slot], own));
    map->entries = before;
  }
  return REAP_OK;
}

/* Channels that a Layer- or RMSNormalization takes together leave one by one, and it normalises over those that stay.
 * Those that others mix are held. All are followed on. */
static int follow_along(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *x = &map->values[node->inputs[0]];
  int first, end;
  if (x->count == 0) return REAP_OK;
  REAP_TRY(mixed_axes(graph, node, &first, &end));
  if (reap_normalises_over(graph, node, x->axis))
    REAP_TRY(label_numbers_along(graph, node, map, x->axis));
  else if (x->axis >= first && x->axis < end)
    REAP_TRY(hold(graph, node, map, "needs all its channels"));
  return reap_channel_list_pass(map, node->inputs[0], node->outputs[0], x->axis);
}

static bool reduces(const reap_node *node) { return reap_rules_of(node->op)->channel_axis == reap_layout_reduced; }

/* Where the axis of the channels lies behind a node that leaves it as it is; -1 if it does not. */
static int passed_axis(const reap_graph *graph, const reap_node *node, int axis) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const bool windows = reap_rules_of(node->op)->channel_axis == reap_layout_windows && axis < REAP_NORM_AXIS + 1,
             same = windows || reap_rules_of(node->op)->channel_axis == reap_layout_same;
  const int to = same                           ? axis
                 : reduces(node)                ? reap_axis_reduced(graph, node, axis)
                 : axis == reap_channel_axis(x) ? reap_channel_axis(y)
                                                : -1;
  return to >= 0 && x->dims[0] == y->dims[0] && x->dims[axis] == y->dims[to] ? to : -1;
}

static int follow_pass(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *x = &map->values[node->inputs[0]];
  if (x->count == 0) return REAP_OK;
  const int axis = passed_axis(graph, node, x->axis);
  if (axis < 0 && reap_normalises_over(graph, node, x->axis)) return REAP_OK; /* what follows has no channels */
  if (axis < 0) return hold(graph, node, map, reduces(node) ? COMBINES : "changes the channel axis");
  return reap_channel_list_pass(map, node->inputs[0], node->outputs[0], axis);
}

/* Parameters of a normalisation, one for each channel or each of its groups, go with them; lists of these need no
 * limit, as the file holds the parameters themselves. */
static int label_parameters(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int64_t size) {
  const int64_t before = map->entries, channels = map->values[node->inputs[0]].count;
  for (int slot = 1; slot < node->n_inputs; slot++) {
    const bool of_groups = graph->values[node->inputs[slot]].dims[0] < channels;
    if (of_groups && size == 1) continue; /* that of the only group */
    REAP_TRY(of_groups ? take_groups(map, node->inputs[0], size, node->inputs[slot], 0, 1)
                       : reap_channel_list_pass(map, node->inputs[0], node->inputs[slot], 0));
    map->entries = before;
  }
  return REAP_OK;
}

/* Along its axis a normalisation treats each channel alone, or whole groups of them, which can leave together. If all
 * channels are one group, they leave one by one, and it normalises over those that stay. */
static int follow_norm(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const int from = node->inputs[0];
  const reap_channel_list *x = &map->values[from];
  if (x->count == 0) return REAP_OK;
  const bool together = reap_normalises_as_one(graph, node);
  if (x->axis != REAP_NORM_AXIS)
    return node->op->id == REAP_OP_BatchNormalization ? follow_pass(graph, node, map)
           : together                                 ? reap_channel_list_pass(map, from, node->outputs[0], x->axis)
                                                      : hold(graph, node, map, NORMALISES);
  const int64_t groups = together ? 0 : reap_node_int(node, "num_groups", 0),
                size = groups > 0 ? graph->values[from].dims[REAP_NORM_AXIS] / groups : 1;
  if (size > 1) {
    REAP_TRY(reap_channel_list_refine(map, from, 1));
    REAP_TRY(unite_groups(map, from, size));
  }
  REAP_TRY(label_parameters(graph, node, map, size));
  return reap_channel_list_pass(map, from, node->outputs[0], x->axis);
}

static int follow_transpose(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *x = &map->values[node->inputs[0]];
  int permutation[REAP_MAX_RANK], axis = 0;
  if (x->count == 0) return REAP_OK;
  REAP_TRY(reap_permutation_resolve(graph, node, permutation));
  while (permutation[axis] != x->axis) axis++;
  return reap_channel_list_pass(map, node->inputs[0], node->outputs[0], axis);
}

/* Entries first .. first + count - 1 along the axis of the channels. */
static int take_part(reap_channel_map *map, int from, int to, int64_t first, int64_t count) {
  const reap_channel_list *x = &map->values[from];
  REAP_TRY(reap_channel_list_refine(map, from, common_divisor(common_divisor(x->repeat, first), count)));
  REAP_TRY(reap_channel_list_set(map, to, x->axis, count / x->repeat, x->repeat));
  memcpy(map->values[to].atoms, x->atoms + first / x->repeat, (size_t)map->values[to].count * sizeof *x->atoms);
  return REAP_OK;
}

static int follow_slice(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *x = &map->values[node->inputs[0]];
  reap_slice slice;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  if (x->count == 0) return REAP_OK;
  if (slice.step[x->axis] != 1) return hold(graph, node, map, "takes channels at a distance from each other");
  return take_part(map, node->inputs[0], node->outputs[0], slice.start[x->axis], slice.count[x->axis]);
}

/* One index along the axis of the channels drops it; several are a list. */
static int follow_gather(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *x = &map->values[node->inputs[0]];
  const reap_tensor *index = reap_node_constant(graph, node, 1);
  int axis;
  if (x->count == 0) return REAP_OK;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  if (axis != x->axis) return follow_pass(graph, node, map);
  if (!index || index->rank != 1) return hold(graph, node, map, "takes single channels");
  REAP_TRY(reap_channel_list_refine(map, node->inputs[0], 1));
  REAP_TRY(reap_channel_list_set(map, node->outputs[0], axis, index->count, 1));
  for (int64_t k = 0; k < index->count; k++)
    map->values[node->outputs[0]].atoms[k] = x->atoms[index->i64[k] < 0 ? index->i64[k] + x->count : index->i64[k]];
  return REAP_OK;
}

/* Channels that become pixels of a square, or come from them, can leave together only. */
static int follow_blocks(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const int from = node->inputs[0], to = node->outputs[0];
  const bool deep = node->op->id == REAP_OP_DepthToSpace;
  reap_blocks b;
  if (map->values[from].count == 0) return REAP_OK;
  if (map->values[from].axis != REAP_NORM_AXIS) return hold(graph, node, map, "changes the channel axis");
  REAP_TRY(reap_blocks_resolve(graph, node, &b));
  REAP_TRY(reap_channel_list_refine(map, from, 1));
  const int64_t area = b.size * b.size, wide = b.channels * area;
  REAP_TRY(reap_channel_list_set(map, to, REAP_NORM_AXIS, deep ? b.channels : wide, 1));
  const int64_t *x = map->values[from].atoms;
  int64_t *y = map->values[to].atoms;
  for (int64_t i = 0; i < wide; i++) { /* of the deeper side */
    const int64_t channel = b.spread ? i / area : i % b.channels;
    if (!deep) y[i] = x[channel];
    if (deep && (b.spread ? i % area == 0 : i < b.channels)) y[channel] = x[i];
    if (deep) reap_channel_map_unite(map, y[channel], x[i]);
  }
  return REAP_OK;
}

/* Channels that are padded are new ones, which no layer makes. */
static int follow_pad(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const int from = node->inputs[0], to = node->outputs[0];
  const reap_channel_list *x = &map->values[from];
  reap_padding padding;
  int64_t first = 0;
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  if (x->count == 0) return REAP_OK;
  const int64_t before = padding.before[x->axis], after = padding.after[x->axis];
  if (before == 0 && after == 0) return reap_channel_list_pass(map, from, to, x->axis);
  if (padding.mode != REAP_PAD_CONSTANT) return hold(graph, node, map, "repeats channels");
  REAP_TRY(reap_channel_list_refine(map, from, 1));
  REAP_TRY(reap_channel_list_set(map, to, x->axis, before + x->count + after, 1));
  REAP_TRY(reap_channel_map_atoms(map, before + after, &first));
  int64_t *atoms = map->values[to].atoms;
  for (int64_t i = 0; i < before; i++) atoms[i] = first + i;
  memcpy(atoms + before, x->atoms, (size_t)x->count * sizeof *atoms);
  for (int64_t i = 0; i < after; i++) atoms[before + x->count + i] = first + before + i;
  return REAP_OK;
}

/* ------------------------------------------------------------------ several tensors */

/* The input whose channels the others take part in: of those that have all of the output's along an axis; -1 if none
 * has. *axis: of the output. */
static int find_lead(const reap_graph *graph, const reap_node *node, const reap_channel_map *map, int *axis) {
  const reap_value *y = reap_node_output(graph, node, 0);
  for (int k = 0; k < node->n_inputs; k++) {
    const int value = node->inputs[k];
    const reap_channel_list *list = value < 0 ? NULL : &map->values[value];
    if (!list || list->count == 0 || graph->values[value].constant) continue;
    *axis = list->axis + y->rank - graph->values[value].rank;
    if (list->count * list->repeat == y->dims[*axis]) return value;
  }
  return -1;
}

/* Partial results of a Sum, Min or Max of many tensors are no nodes of the file. */
static bool may_be_partial(const reap_node *node) {
  return node->op->id == REAP_OP_Sum || node->op->id == REAP_OP_Min || node->op->id == REAP_OP_Max;
}

/* A constant with a number for each channel loses those of channels that go. */
static int join_constant(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int lead, int value,
                         int axis) {
  const reap_value *v = &graph->values[value];
  if (axis < 0 || v->dims[axis] == 1) return REAP_OK;
  if (may_be_partial(node) || v->dtype != REAP_F32) return hold(graph, node, map, "has a constant for each channel");
  if (v->measured) return hold(graph, node, map, "has numbers for each channel that the file repeats to fit a shape");
  const int64_t before = map->entries;
  REAP_TRY(reap_channel_list_pass(map, lead, value, axis));
  map->entries = before;
  return REAP_OK;
}

/* Entry by entry the channels of `lead` and of another input are one. */
static int unite_with(reap_channel_map *map, int lead, int other) {
  const int64_t repeat = common_divisor(map->values[lead].repeat, map->values[other].repeat);
  REAP_TRY(reap_channel_list_refine(map, lead, repeat));
  REAP_TRY(reap_channel_list_refine(map, other, repeat));
  const reap_channel_list *a = &map->values[lead], *b = &map->values[other];
  REAP_TRY(reap_channel_map_count(map, b->count));
  for (int64_t i = 0; i < b->count; i++) reap_channel_map_unite(map, a->atoms[i], b->atoms[i]);
  return REAP_OK;
}

static int join_input(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int lead, int value,
                      int axis) {
  const reap_value *v = &graph->values[value];
  const reap_channel_list *list = &map->values[value];
  if (list->count > 0 && list->axis != axis) return hold(graph, node, map, "combines channels along different axes");
  if (axis < 0) return REAP_OK;
  if (list->count > 0 && list->count * list->repeat == map->values[lead].count * map->values[lead].repeat)
    return unite_with(map, lead, value);
  if (list->count > 0) return reap_channel_map_pin(map, value, "it is combined with every channel of a tensor");
  return v->dims[axis] == 1 ? REAP_OK : hold(graph, node, map, "combines them with channels that are not followed");
}

static int follow_join(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  int axis = 0;
  const int lead = find_lead(graph, node, map, &axis), rank = reap_node_output(graph, node, 0)->rank;
  if (lead < 0) return hold(graph, node, map, "combines tensors of different shapes");
  for (int k = 0; k < node->n_inputs; k++) {
    const int value = node->inputs[k];
    if (value < 0 || value == lead) continue;
    const int own = axis - (rank - graph->values[value].rank); /* axes count from the last one, as ONNX broadcasts */
    REAP_TRY((graph->values[value].constant ? join_constant : join_input)(graph, node, map, lead, value, own));
  }
  return reap_channel_list_pass(map, lead, node->outputs[0], axis);
}

/* Entries that no layer makes stay where they are. */
static int label_foreign(const reap_graph *graph, reap_channel_map *map, int value, int axis) {
  if (map->values[value].count > 0) return REAP_OK;
  return reap_channel_list_fresh(map, value, axis, graph->values[value].dims[axis]);
}

static int follow_concat(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  int axis, known = 0, along = 0;
  int64_t repeat = 0, total = 0;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_channel_list *x = &map->values[node->inputs[k]];
    known += x->count > 0;
    along += x->count > 0 && x->axis == axis;
  }
  if (known == 0) return REAP_OK;
  if (along < known) return follow_join(graph, node, map);
  for (int k = 0; k < node->n_inputs; k++) {
    REAP_TRY(label_foreign(graph, map, node->inputs[k], axis));
    repeat = common_divisor(repeat, map->values[node->inputs[k]].repeat);
  }
  for (int k = 0; k < node->n_inputs; k++) {
    REAP_TRY(reap_channel_list_refine(map, node->inputs[k], repeat));
    total += map->values[node->inputs[k]].count;
  }
  REAP_TRY(reap_channel_list_set(map, node->outputs[0], axis, total, repeat));
  int64_t *to = map->values[node->outputs[0]].atoms;
  for (int k = 0; k < node->n_inputs; to += map->values[node->inputs[k++]].count)
    memcpy(to, map->values[node->inputs[k]].atoms, (size_t)map->values[node->inputs[k]].count * sizeof *to);
  return REAP_OK;
}

/* ------------------------------------------------------------------ the graph */

static int follow(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  switch (node->op->channels) {
    case REAP_CHANNELS_LINEAR:
    case REAP_CHANNELS_TRANSPOSED:
      return follow_linear(graph, node, map);
    case REAP_CHANNELS_NORM:
      return follow_norm(graph, node, map);
    case REAP_CHANNELS_PASS:
      return follow_pass(graph, node, map);
    case REAP_CHANNELS_ALONG:
      return follow_along(graph, node, map);
    case REAP_CHANNELS_RESHAPE:
      return reap_channel_reshape(graph, node, map);
    case REAP_CHANNELS_TRANSPOSE:
      return follow_transpose(graph, node, map);
    case REAP_CHANNELS_JOIN:
      return follow_join(graph, node, map);
    case REAP_CHANNELS_CONCAT:
      return follow_concat(graph, node, map);
    case REAP_CHANNELS_SLICE:
      return follow_slice(graph, node, map);
    case REAP_CHANNELS_GATHER:
      return follow_gather(graph, node, map);
    case REAP_CHANNELS_BLOCKS:
      return follow_blocks(graph, node, map);
    case REAP_CHANNELS_PAD:
      return follow_pad(graph, node, map);
    case REAP_CHANNELS_OPAQUE:
      break;
  }
  return hold(graph, node, map, "needs all its channels");
}

/* A sum over channels is divided by their number. Where the file computes that number from a shape, it would be another
 * one than the constant that stands for it here, so the channels are held. taken[n_values]: the tensor whose channels a
 * value without channels has been taken of, or -1. */
static int follow_number(const reap_graph *graph, const reap_node *node, reap_channel_map *map, int *taken) {
  const int input = node->inputs[0];
  int from = -1;
  bool counted = false;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_value *v = reap_node_input(graph, node, k);
    if (v && taken[node->inputs[k]] >= 0) from = taken[node->inputs[k]];
    counted |= v && v->constant && v->measured && v->dtype == REAP_F32;
  }
  if (reduces(node) && map->values[input].count > 0 && reap_normalises_over(graph, node, map->values[input].axis))
    from = input;
  if (map->values[node->outputs[0]].count == 0) taken[node->outputs[0]] = from;
  if (from < 0 || !counted) return REAP_OK;
  char *reason = NULL;
  REAP_TRY(reap_format(&reason, "%s divides by a number of channels that the file computes", reap_node_title(node)));
  const int status = reap_channel_map_pin(map, from, reason);
  reap_free(&reason);
  return status;
}

/* A Reshape parts channels (into heads, say) by sizes that the file computes. */
static bool parts_by_computed_sizes(const reap_graph *graph, const reap_node *node, const reap_channel_map *map) {
  if (node->op->id != REAP_OP_Reshape || !reap_node_input(graph, node, 1)->measured) return false;
  const reap_channel_list *x = &map->values[node->inputs[0]];
  const reap_value *to = reap_node_output(graph, node, 0), *from = reap_node_input(graph, node, 0);
  if (x->count == 0 || to->rank <= from->rank) return false;
  for (int i = 0; i < to->rank; i++)
    if (to->dims[i] == from->dims[x->axis]) return false;
  return true;
}

/* Shapes and factors that the file computes from shapes can all be written as numbers (surgery.c). */
static bool sizes_can_be_written(const reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++)
    for (int slot = 0; slot < graph->nodes[i]->n_inputs; slot++)
      if (reap_is_computed_size(graph, graph->nodes[i], slot) && !reap_batch_is_free(graph, graph->nodes[i], slot))
        return false;
  return true;
}

/* Sizes of heads are often computed from the width of the normalised stream, which nothing tells: it is held, unless
 * they can be written as numbers. */
static int hold_streams(const reap_graph *graph, reap_channel_map *map) {
  const reap_node *parting = NULL;
  for (int i = 0; i < graph->n_nodes && !parting; i++)
    if (parts_by_computed_sizes(graph, graph->nodes[i], map)) parting = graph->nodes[i];
  if (!parting || sizes_can_be_written(graph)) return REAP_OK;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    const reap_channel_list *x = node->n_inputs > 0 && node->inputs[0] >= 0 ? &map->values[node->inputs[0]] : NULL;
    if (!x || x->count == 0 || node->op->channels == REAP_CHANNELS_NORM) continue;
    if (!reap_normalises_over(graph, node, x->axis)) continue;
    char *why = NULL;
    REAP_TRY(reap_format(&why, "normalises over them, and the file computes the sizes of %s, maybe from their number",
                         reap_node_title(parting)));
    const int status = hold(graph, node, map, why);
    reap_free(&why);
    REAP_TRY(status);
  }
  return REAP_OK;
}

static int follow_all(const reap_graph *graph, reap_channel_map *map) {
  int *taken = NULL, status = REAP_OK;
  REAP_TRY(reap_alloc(&taken, graph->n_values + 1, sizeof *taken));
  for (int v = 0; v < graph->n_values; v++) taken[v] = -1;
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++) {
    status = follow(graph, graph->nodes[i], map);
    if (status == REAP_OK) status = follow_number(graph, graph->nodes[i], map, taken);
    status = reap_error_prefix(status, "%s", reap_node_title(graph->nodes[i]));
  }
  reap_free(&taken);
  return status;
}

static int build(const reap_graph *graph, reap_channel_map *map) {
  REAP_TRY(reap_calloc(&map->values, graph->n_values, sizeof *map->values));
  map->n_values = graph->n_values;
  for (int i = 0; i < graph->n_inputs; i++) {
    const int value = graph->inputs[i], axis = reap_channel_axis(&graph->values[value]);
    if (axis < 0) continue;
    REAP_TRY(reap_channel_list_fresh(map, value, axis, graph->values[value].dims[axis]));
    REAP_TRY(reap_channel_map_pin(map, value, "the network's input"));
  }
  REAP_TRY(follow_all(graph, map));
  REAP_TRY(hold_streams(graph, map));
  for (int i = 0; i < graph->n_outputs; i++)
    REAP_TRY(reap_channel_map_pin(map, graph->outputs[i], "the network's output"));
  return REAP_OK;
}

int reap_channel_map_build(const reap_graph *graph, reap_channel_map *map) {
  memset(map, 0, sizeof *map);
  int status = build(graph, map);
  if (status != REAP_OK) reap_channel_map_clear(map);
  return status;
}
