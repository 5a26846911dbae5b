/* Follows channels through the graph, one rule per entry of reap_channel_rule.
 *
 * Cost: one pass over the nodes, union-find over as many atoms as the linear layers have outputs. A file of a few bytes
 * can put tensors behind each other until the channels are without number, so both are limited for the graph as a
 * whole.
 */
#include "channel_map.h"

#include <string.h>

#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

/* 48 MB of lists, 64 MB of atoms: ten times what the largest networks in use have. */
static const int64_t MOST_ENTRIES = 6000000, MOST_ATOMS = 2000000;

/* Counts entries of lists, before they are made or walked. */
static int count_entries(reap_channel_map *map, int64_t count) {
  if (count > MOST_ENTRIES - map->entries)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels and %lld of the tensors before it are more than the %lld that are followed; "
                      "use a network with fewer channels or nodes",
                      (long long)count, (long long)map->entries, (long long)MOST_ENTRIES);
  map->entries += count;
  return REAP_OK;
}

static int new_atoms(reap_channel_map *map, int64_t count, int64_t *first) {
  if (count > MOST_ATOMS - map->n_atoms)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels and %lld of the layers before it are more than the %lld that are followed; "
                      "use a network with fewer channels or layers",
                      (long long)count, (long long)map->n_atoms, (long long)MOST_ATOMS);
  if (map->n_atoms + count > map->capacity) {
    int64_t capacity = map->n_atoms + count > 2 * map->capacity ? map->n_atoms + count : 2 * map->capacity;
    REAP_TRY(reap_grow(&map->parent, map->n_atoms, capacity, sizeof *map->parent));
    REAP_TRY(reap_grow(&map->pins, map->n_atoms, capacity, sizeof *map->pins));
    map->capacity = capacity;
  }
  *first = map->n_atoms;
  for (int64_t i = 0; i < count; i++) {
    map->parent[map->n_atoms] = map->n_atoms;
    map->pins[map->n_atoms++] = NULL;
  }
  return REAP_OK;
}

int64_t reap_channel_map_find(reap_channel_map *map, int64_t atom) {
  while (map->parent[atom] != atom) {
    map->parent[atom] = map->parent[map->parent[atom]];
    atom = map->parent[atom];
  }
  return atom;
}

static void unite(reap_channel_map *map, int64_t a, int64_t b) {
  a = reap_channel_map_find(map, a);
  b = reap_channel_map_find(map, b);
  if (a == b) return;
  int64_t root = a < b ? a : b, other = a < b ? b : a;
  map->parent[other] = root;
  if (!map->pins[root]) {
    map->pins[root] = map->pins[other];
    map->pins[other] = NULL;
  }
}

/* Keeps the reason (taken over, also on failure) for as long as the map. */
static int keep_reason(reap_channel_map *map, char *reason) {
  if (map->n_reasons == map->reason_capacity) {
    const int capacity = map->reason_capacity ? 2 * map->reason_capacity : 16;
    const int status = reap_grow(&map->reasons, map->n_reasons, capacity, sizeof *map->reasons);
    if (status != REAP_OK) {
      reap_free(&reason);
      return status;
    }
    map->reason_capacity = capacity;
  }
  map->reasons[map->n_reasons++] = reason;
  return REAP_OK;
}

/* The first reason found is kept. */
static int pin_kept(reap_channel_map *map, int value, const char *reason) {
  const reap_channel_list *list = &map->values[value];
  REAP_TRY(count_entries(map, list->count));
  for (int64_t i = 0; i < list->count; i++) {
    int64_t root = reap_channel_map_find(map, list->atoms[i]);
    if (!map->pins[root]) map->pins[root] = reason;
  }
  return REAP_OK;
}

static int pin(reap_channel_map *map, int value, const char *why) {
  char *reason = NULL;
  REAP_TRY(reap_strdup(&reason, why));
  REAP_TRY(keep_reason(map, reason));
  return pin_kept(map, value, reason);
}

static int pin_inputs(const reap_graph *graph, const reap_node *node, reap_channel_map *map, const char *why) {
  char *reason = NULL;
  REAP_TRY(reap_format(&reason, "%s %s", reap_node_title(node), why));
  REAP_TRY(keep_reason(map, reason));
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0 && !graph->values[node->inputs[k]].constant)
      REAP_TRY(pin_kept(map, node->inputs[k], reason));
  return REAP_OK;
}

static int set_list(reap_channel_map *map, int value, int64_t count, int64_t repeat) {
  reap_channel_list *list = &map->values[value];
  REAP_TRY(count_entries(map, count));
  REAP_TRY(reap_alloc(&list->atoms, count, sizeof *list->atoms));
  list->count = count;
  list->repeat = repeat;
  return REAP_OK;
}

static int fresh(reap_channel_map *map, int value, int64_t count) {
  int64_t first = 0;
  REAP_TRY(set_list(map, value, count, 1));
  REAP_TRY(new_atoms(map, count, &first));
  for (int64_t i = 0; i < count; i++) map->values[value].atoms[i] = first + i;
  return REAP_OK;
}

static int pass(reap_channel_map *map, int from, int to, int64_t repeat) {
  const reap_channel_list *list = &map->values[from];
  if (list->count == 0) return REAP_OK;
  REAP_TRY(set_list(map, to, list->count, repeat));
  memcpy(map->values[to].atoms, list->atoms, (size_t)list->count * sizeof *list->atoms);
  return REAP_OK;
}

static int follow_linear(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_value *y = reap_node_output(graph, node, 0);
  if (!node->linear) return pin_inputs(graph, node, map, "multiplies tensors that depend on the images");
  /* A product of matrices within larger tensors sums along the last axis; groups are formed along axis 1 alone. */
  if (reap_linear_axis(graph, node) != 1)
    return pin_inputs(graph, node, map, "is a matrix product along another axis than that of the channels");
  const bool convolution = reap_is_convolution(node);
  if (convolution && map->values[node->inputs[0]].repeat > 1)
    REAP_TRY(pin_inputs(graph, node, map, "takes the positions of a flattened map for channels"));
  REAP_TRY(fresh(map, node->outputs[0], reap_value_channels(y)));
  if (reap_node_int(node, "group", 1) == 1) return REAP_OK;
  REAP_TRY(pin(map, node->outputs[0], "a grouped convolution produces it"));
  return pin_inputs(graph, node, map, "is a grouped convolution");
}

/* True if the output has the input's channels along the same axis. A Reshape may, but its shape is not written anew. */
static bool keeps_channel_axis(const reap_graph *graph, const reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const int axis = reap_channel_axis(x);
  return axis >= 0 && axis == reap_channel_axis(y) && x->dims[0] == y->dims[0] && x->dims[axis] == y->dims[axis] &&
         node->op->id != REAP_OP_Reshape;
}

/* A normalisation has parameters for each channel, which go with it; lists of these need no limit, as the file holds
 * the parameters themselves. */
static int follow_pass(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  if (!keeps_channel_axis(graph, node)) return pin_inputs(graph, node, map, "changes the channel axis");
  for (int slot = 1; node->op->channels == REAP_CHANNELS_NORM && slot < node->n_inputs; slot++) {
    REAP_TRY(pass(map, node->inputs[0], node->inputs[slot], map->values[node->inputs[0]].repeat));
    map->entries -= map->values[node->inputs[slot]].count;
  }
  return pass(map, node->inputs[0], node->outputs[0], map->values[node->inputs[0]].repeat);
}

/* A constant operand that differs from channel to channel would have to be cut as well. */
static bool constant_per_channel(const reap_value *v, const reap_value *y) {
  int axis = reap_channel_axis(y) - (y->rank - v->rank); /* place of the channel axis among the constant's own axes */
  return axis >= 0 && v->dims[axis] != 1;
}

static int follow_join(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_value *y = reap_node_output(graph, node, 0);
  const int axis = reap_channel_axis(y);
  int lead = -1;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_value *x = reap_node_input(graph, node, k);
    if (x->constant) {
      if (constant_per_channel(x, y)) return pin_inputs(graph, node, map, "has a constant for each channel");
      continue;
    }
    if (axis < 0 || x->rank != y->rank || x->dims[axis] != y->dims[axis] || map->values[node->inputs[k]].count == 0 ||
        (lead >= 0 && map->values[node->inputs[k]].repeat != map->values[lead].repeat))
      return pin_inputs(graph, node, map, "combines tensors of different shapes");
    if (lead < 0) lead = node->inputs[k];
  }
  if (lead < 0) return REAP_OK;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_channel_list *list = &map->values[node->inputs[k]];
    REAP_TRY(count_entries(map, list->count));
    for (int64_t i = 0; !graph->values[node->inputs[k]].constant && i < list->count; i++)
      unite(map, map->values[lead].atoms[i], list->atoms[i]);
  }
  return pass(map, lead, node->outputs[0], map->values[lead].repeat);
}

static int follow_concat(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const int channel_axis = reap_channel_axis(reap_node_output(graph, node, 0));
  int axis;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  if (channel_axis >= 0 && axis != channel_axis) return follow_join(graph, node, map);
  int64_t total = 0;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_channel_list *list = &map->values[node->inputs[k]];
    if (channel_axis < 0 || list->count == 0 || list->repeat != 1)
      return pin_inputs(graph, node, map, "joins tensors whose channels are not known");
    total += list->count;
  }
  REAP_TRY(set_list(map, node->outputs[0], total, 1));
  total = 0;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_channel_list *list = &map->values[node->inputs[k]];
    memcpy(map->values[node->outputs[0]].atoms + total, list->atoms, (size_t)list->count * sizeof *list->atoms);
    total += list->count;
  }
  return REAP_OK;
}

static int follow_slice(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *list = &map->values[node->inputs[0]];
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_slice slice;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  const int axis = reap_channel_axis(x);
  if (list->count == 0) return REAP_OK;
  if (slice.start[axis] == 0 && slice.step[axis] == 1 && slice.count[axis] == x->dims[axis])
    return pass(map, node->inputs[0], node->outputs[0], list->repeat);
  REAP_TRY(pin_inputs(graph, node, map, "takes a part of the channels"));
  if (list->repeat != 1) return REAP_OK;
  REAP_TRY(set_list(map, node->outputs[0], slice.count[axis], 1));
  for (int64_t i = 0; i < slice.count[axis]; i++)
    map->values[node->outputs[0]].atoms[i] = list->atoms[slice.start[axis] + i * slice.step[axis]];
  return REAP_OK;
}

static int follow_pad(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *list = &map->values[node->inputs[0]];
  reap_padding padding;
  int64_t first = 0;
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  const int axis = reap_channel_axis(reap_node_input(graph, node, 0));
  if (list->count == 0) return REAP_OK;
  int64_t before = padding.before[axis], after = padding.after[axis];
  if (before == 0 && after == 0) return pass(map, node->inputs[0], node->outputs[0], list->repeat);
  REAP_TRY(pin_inputs(graph, node, map, "pads the channels"));
  if (list->repeat != 1) return REAP_OK;
  REAP_TRY(set_list(map, node->outputs[0], before + list->count + after, 1));
  REAP_TRY(new_atoms(map, before + after, &first));
  int64_t *atoms = map->values[node->outputs[0]].atoms;
  for (int64_t i = 0; i < before; i++) atoms[i] = first + i;
  memcpy(atoms + before, list->atoms, (size_t)list->count * sizeof *atoms);
  for (int64_t i = 0; i < after; i++) atoms[before + list->count + i] = first + before + i;
  return REAP_OK;
}

static int follow_flatten(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *list = &map->values[node->inputs[0]];
  const int64_t columns = reap_value_channels(reap_node_output(graph, node, 0));
  if (columns == 0 || list->count == 0) return pin_inputs(graph, node, map, "flattens the batch as well");
  return pass(map, node->inputs[0], node->outputs[0], columns / list->count);
}

static int follow(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  switch (node->op->channels) {
    case REAP_CHANNELS_LINEAR:
      return follow_linear(graph, node, map);
    case REAP_CHANNELS_NORM:
    case REAP_CHANNELS_PASS:
    case REAP_CHANNELS_RESHAPE:
      return follow_pass(graph, node, map);
    case REAP_CHANNELS_JOIN:
      return follow_join(graph, node, map);
    case REAP_CHANNELS_CONCAT:
      return follow_concat(graph, node, map);
    case REAP_CHANNELS_SLICE:
      return follow_slice(graph, node, map);
    case REAP_CHANNELS_PAD:
      return follow_pad(graph, node, map);
    case REAP_CHANNELS_FLATTEN:
      return follow_flatten(graph, node, map);
    case REAP_CHANNELS_OPAQUE:
      break;
  }
  return pin_inputs(graph, node, map, "needs all its channels");
}

static int build(const reap_graph *graph, reap_channel_map *map) {
  REAP_TRY(reap_calloc(&map->values, graph->n_values, sizeof *map->values));
  map->n_values = graph->n_values;
  for (int i = 0; i < graph->n_inputs; i++) {
    const reap_value *v = &graph->values[graph->inputs[i]];
    if (reap_value_channels(v) == 0) continue;
    REAP_TRY(fresh(map, graph->inputs[i], reap_value_channels(v)));
    REAP_TRY(pin(map, graph->inputs[i], "the network's input"));
  }
  for (int i = 0; i < graph->n_nodes; i++)
    REAP_TRY(reap_error_prefix(follow(graph, graph->nodes[i], map), "%s", reap_node_title(graph->nodes[i])));
  for (int i = 0; i < graph->n_outputs; i++) REAP_TRY(pin(map, graph->outputs[i], "the network's output"));
  return REAP_OK;
}

int reap_channel_map_build(const reap_graph *graph, reap_channel_map *map) {
  memset(map, 0, sizeof *map);
  int status = build(graph, map);
  if (status != REAP_OK) reap_channel_map_clear(map);
  return status;
}

void reap_channel_map_clear(reap_channel_map *map) {
  for (int v = 0; map->values && v < map->n_values; v++) reap_free(&map->values[v].atoms);
  for (int r = 0; r < map->n_reasons; r++) reap_free(&map->reasons[r]);
  reap_free(&map->reasons);
  reap_free(&map->values);
  reap_free(&map->parent);
  reap_free(&map->pins);
  memset(map, 0, sizeof *map);
}
