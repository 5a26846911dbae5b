/* From classes of channels to groups; see reap/groups.h.
 *
 * A class that a layer makes is a unit. Units that have as many entries in every tensor form a group: all of them start
 * as one, and each tensor parts those it has from those it has not, and from those it has more often. Groups are
 * numbered, and named, by their first producer. Then one walk over the nodes lists the members of all groups. Cost:
 * sorting the units of each tensor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_rules.h"
#include "group_reason.h"
#include "groups_data.h"
#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/layout.h"
#include "model/operators/normalisation.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct search {
  const reap_graph *graph;
  reap_groups *g;
  reap_channel_map map;
  int n_members, n_ends; /* of all groups; producers and consumers among them */
  int *unit_of;          /* [n_atoms] at roots: unit of the network, or -1 */
  int n_units;           /* in the order in which producers make them */
  int *group_of, *place; /* [n_units] group, and unit within it */
  int *maker;            /* [n_units] the first producer */
  const char **pins;     /* [groups] what holds a unit of each, the first that does, or NULL */
  reap_first_few *reads; /* [nodes] groups of which a layer reads units */
  int *last;             /* [groups] the tensor that listed the group last, counted over all nodes */
} search;

static bool is_layer(const reap_node *node) { return node->linear || node->op->channels == REAP_CHANNELS_TRANSPOSED; }

/* Channels that a layer produces; count 0 if they are not followed. */
static const reap_channel_list *produced_list(const search *s, int node) {
  return &s->map.values[s->graph->nodes[node]->outputs[0]];
}

/* ------------------------------------------------------------------ units */

static int number_units(search *s) {
  const reap_graph *graph = s->graph;
  REAP_TRY(reap_alloc(&s->unit_of, s->map.n_atoms + 1, sizeof *s->unit_of));
  REAP_TRY(reap_alloc(&s->maker, s->map.n_atoms + 1, sizeof *s->maker));
  for (int64_t a = 0; a < s->map.n_atoms; a++) s->unit_of[a] = -1;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_channel_list *list = produced_list(s, i);
    for (int64_t k = 0; is_layer(graph->nodes[i]) && k < list->count; k++) {
      int *unit = &s->unit_of[reap_channel_map_find(&s->map, list->atoms[k])];
      if (*unit >= 0) continue;
      *unit = s->n_units++;
      s->maker[*unit] = i;
    }
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ which units form a group */

typedef struct tally {
  int unit, part;
  int64_t entries;
} tally;

typedef struct parting {
  int n_parts;
  int *part, *size; /* [n_units] of each unit; of each part */
  int *at;          /* [n_units] its tally in the present tensor, if stamp[] is that of the tensor */
  int *stamp;
  tally *list;
} parting;

static int by_part(const void *a, const void *b) {
  const tally *x = a, *y = b;
  if (x->part != y->part) return x->part < y->part ? -1 : 1;
  if (x->entries != y->entries) return x->entries < y->entries ? -1 : 1;
  return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* Entries of each unit in a tensor; returns the number of units. */
static int count_entries(const search *s, reap_channel_map *map, const reap_channel_list *list, int turn, parting *p) {
  int n = 0;
  for (int64_t i = 0; i < list->count; i++) {
    const int unit = s->unit_of[reap_channel_map_find(map, list->atoms[i])];
    if (unit < 0) continue;
    if (p->stamp[unit] != turn) {
      p->stamp[unit] = turn;
      p->at[unit] = n;
      p->list[n++] = (tally){unit, p->part[unit], 0};
    }
    p->list[p->at[unit]].entries += list->repeat;
  }
  return n;
}

/* A part of which a tensor has all units, equally often, stays as it is. */
static void part_by(const search *s, reap_channel_map *map, const reap_channel_list *list, int turn, parting *p) {
  const int n = count_entries(s, map, list, turn, p);
  bool alike = n > 0;
  for (int i = 0; i < n && alike; i++)
    alike = p->list[i].part == p->list[0].part && p->list[i].entries == p->list[0].entries;
  if (n == 0 || (alike && p->size[p->list[0].part] == n)) return;
  qsort(p->list, (size_t)n, sizeof *p->list, by_part);
  for (int i = 0, end; i < n; i = end) {
    const int old = p->list[i].part;
    for (end = i; end < n && p->list[end].part == old && p->list[end].entries == p->list[i].entries;) end++;
    if (end - i == p->size[old]) continue;
    p->size[old] -= end - i;
    p->size[p->n_parts] = end - i;
    for (int k = i; k < end; k++) p->part[p->list[k].unit] = p->n_parts;
    p->n_parts++;
  }
}

/* Numbers of parts become numbers of groups, in the order of their first units. */
static void number_groups(search *s, const int *part, int *number) {
  for (int u = 0; u < s->n_units; u++) number[u] = -1;
  for (int u = 0; u < s->n_units; u++) {
    int *group = &number[part[u]];
    if (*group < 0) *group = s->g->count++;
    s->group_of[u] = *group;
  }
}

static int part_units(search *s, parting *p) {
  const int n = s->n_units + 1; /* the first part may become empty */
  REAP_TRY(reap_calloc(&p->part, n, sizeof *p->part));
  REAP_TRY(reap_calloc(&p->size, n, sizeof *p->size));
  REAP_TRY(reap_calloc(&p->at, n, sizeof *p->at));
  REAP_TRY(reap_calloc(&p->stamp, n, sizeof *p->stamp));
  REAP_TRY(reap_calloc(&p->list, n, sizeof *p->list));
  p->n_parts = 1;
  p->size[0] = s->n_units;
  for (int v = 0; v < s->map.n_values; v++) part_by(s, &s->map, &s->map.values[v], v + 1, p);
  REAP_TRY(reap_alloc(&s->group_of, n, sizeof *s->group_of));
  number_groups(s, p->part, p->at);
  return REAP_OK;
}

static int find_groups(search *s) {
  parting p = {0};
  const int status = part_units(s, &p);
  reap_free(&p.part);
  reap_free(&p.size);
  reap_free(&p.at);
  reap_free(&p.stamp);
  reap_free(&p.list);
  return status;
}

/* The first producer's name; with a number behind it for its second group and those that follow. */
static int name_group(const search *s, int maker, int *named, reap_group *group) {
  const char *layer = s->graph->nodes[maker]->layer;
  return ++named[maker] == 1 ? reap_strdup(&group->name, layer)
                             : reap_format(&group->name, "%s:%d", layer, named[maker]);
}

static int describe_groups(search *s) {
  int *named = NULL, status = REAP_OK;
  REAP_TRY(reap_calloc(&s->g->list, s->g->count, sizeof *s->g->list));
  REAP_TRY(reap_alloc(&s->place, s->n_units + 1, sizeof *s->place));
  REAP_TRY(reap_calloc(&named, s->graph->n_nodes + 1, sizeof *named));
  for (int u = 0; status == REAP_OK && u < s->n_units; u++) {
    reap_group *group = &s->g->list[s->group_of[u]];
    s->place[u] = (int)group->units++;
    if (group->name) continue;
    group->groups = s->g;
    group->index = s->group_of[u];
    status = name_group(s, s->maker[u], named, group);
  }
  reap_free(&named);
  return status;
}

static int label_values(search *s) {
  REAP_TRY(reap_calloc(&s->g->values, s->graph->n_values, sizeof *s->g->values));
  s->g->n_values = s->graph->n_values;
  for (int v = 0; v < s->graph->n_values; v++) {
    const reap_channel_list *list = &s->map.values[v];
    reap_labels *labels = &s->g->values[v];
    if (list->count == 0) continue;
    REAP_TRY(reap_alloc(&labels->at, list->count, sizeof *labels->at));
    labels->count = list->count;
    labels->repeat = list->repeat;
    labels->axis = list->axis;
    for (int64_t i = 0; i < list->count; i++) {
      const int unit = s->unit_of[reap_channel_map_find(&s->map, list->atoms[i])];
      labels->at[i] = unit < 0 ? (reap_label){-1, -1} : (reap_label){s->group_of[unit], s->place[unit]};
    }
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ members */

/* Producers and consumers of all groups together, and all of their members, 50 MB. Dense connections have the square
 * of the number of layers, and each as often as nodes lie between. */
enum { MOST_ENDS = 1 << 18, MOST_MEMBERS = 1 << 21 };

static int append(search *s, int group, reap_member member) {
  reap_group *to = &s->g->list[group];
  const int n = to->n_members;
  s->n_ends += member.role == REAP_PRODUCES || member.role == REAP_CONSUMES;
  if (++s->n_members > MOST_MEMBERS || s->n_ends > MOST_ENDS)
    return reap_error(
        REAP_ERR_INPUT,
        "the network's channel groups have more than %d producers and consumers, or %d places where their "
        "channels stand; use a network with fewer connections between its layers",
        MOST_ENDS, MOST_MEMBERS);
  const bool full = (n & (n - 1)) == 0; /* lists are as long as the next power of two */
  if (full) REAP_TRY(reap_grow(&to->members, n, n > 0 ? 2 * (int64_t)n : 1, sizeof *to->members));
  to->members[to->n_members++] = member;
  if (member.role == REAP_CONSUMES) reap_first_few_add(&s->reads[member.node], group);
  return REAP_OK;
}

/* One member for each group that has units in the tensor. `turn`: number of the tensor, counted over all nodes. */
static int list_tensor(search *s, reap_member member, int turn) {
  const reap_labels *labels = &s->g->values[member.value];
  member.axis = labels->axis;
  for (int64_t i = 0; i < labels->count; i++) {
    const int group = labels->at[i].group;
    if (group < 0 || s->last[group] == turn) continue;
    s->last[group] = turn;
    REAP_TRY(append(s, group, member));
  }
  return REAP_OK;
}

static int64_t entries_of(const search *s, int value) {
  return s->map.values[value].count * s->map.values[value].repeat;
}

/* True if several of the node's inputs have channels, which it makes one. */
static bool adds(const search *s, const reap_node *node) {
  int first = -1;
  bool several = false;
  if (node->op->channels != REAP_CHANNELS_JOIN && node->op->channels != REAP_CHANNELS_CONCAT) return false;
  for (int k = 0; k < node->n_inputs; k++) {
    if (node->inputs[k] < 0 || s->graph->values[node->inputs[k]].constant) continue;
    if (s->g->values[node->inputs[k]].count == 0) continue;
    several |= first >= 0 && node->inputs[k] != first;
    if (first < 0) first = node->inputs[k];
  }
  const bool behind =
      node->op->channels == REAP_CHANNELS_CONCAT && entries_of(s, first) != entries_of(s, node->outputs[0]);
  return several && !behind;
}

static reap_role role_at(const search *s, int index, int value) {
  const reap_node *node = s->graph->nodes[index];
  if (is_layer(node) && s->g->values[value].axis == reap_linear_axis(s->graph, node)) return REAP_CONSUMES;
  return adds(s, node) ? REAP_ADDS : REAP_PASSES;
}

/* Layer, or Pad: it makes channels. What others make is read by nodes that follow. */
static bool makes(const reap_node *node) { return is_layer(node) || node->op->channels == REAP_CHANNELS_PAD; }

/* The group that has all units of a list, or -1. */
static int only_group(const reap_labels *labels) {
  for (int64_t i = 1; i < labels->count; i++)
    if (labels->at[i].group != labels->at[0].group) return -1;
  return labels->count > 0 ? labels->at[0].group : -1;
}

static int list_members(search *s) {
  int turn = 0;
  for (int i = 0; i < s->graph->n_nodes; i++) {
    const reap_node *node = s->graph->nodes[i];
    const bool layer = is_layer(node);
    for (int k = 0; k < node->n_inputs; k++) {
      const int value = node->inputs[k];
      if (value < 0 || s->g->values[value].count == 0) continue;
      const reap_role role = role_at(s, i, value);
      REAP_TRY(list_tensor(s, (reap_member){.node = i, .input = k, .value = value, .role = role}, ++turn));
    }
    if (!makes(node)) continue;
    const reap_role role = layer ? REAP_PRODUCES : REAP_PASSES;
    const reap_member output = {.node = i, .input = -1, .value = node->outputs[0], .role = role};
    REAP_TRY(list_tensor(s, output, ++turn));
    if (!layer) continue;
    s->g->produced[i] = only_group(&s->g->values[node->outputs[0]]);
    if (s->reads[i].count == 1) s->g->consumed[i] = s->reads[i].items[0];
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ what can be pruned */

static void find_pins(search *s) {
  for (int64_t a = 0; a < s->map.n_atoms; a++) {
    const int unit = s->map.parent[a] == a ? s->unit_of[a] : -1;
    if (unit >= 0 && s->map.pins[a] && !s->pins[s->group_of[unit]]) s->pins[s->group_of[unit]] = s->map.pins[a];
  }
}

/* First producers of the other groups among those that layer `node` reads. */
static reap_first_few others_of(const search *s, int index, int node) {
  reap_first_few others = {0, {0}};
  for (int i = 0; i < s->reads[node].count && i < REAP_FIRST_FEW; i++)
    if (s->reads[node].items[i] != index) {
      const reap_member *first = s->g->list[s->reads[node].items[i]].members;
      reap_first_few_add(&others, first->node);
    }
  others.count = s->reads[node].count - 1;
  return others;
}

/* Layers that make or read the units one by one and are re-solved; not depthwise and grouped convolutions. */
static bool is_plain(const search *s, int node) {
  return node >= 0 && s->graph->nodes[node]->linear && reap_node_int(s->graph->nodes[node], "group", 1) == 1;
}

/* What makes one group's channels depend on each other: a norm over them, or a part of it; NULL if there is none. */
static const reap_node *find_norm(const search *s, const reap_group *group) {
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    const reap_node *node = s->graph->nodes[member->node];
    if (member->role == REAP_PASSES && member->input == 0 && reap_normalises_over(s->graph, node, member->axis))
      return node;
  }
  return NULL;
}

static bool has_consumer(const reap_group *group) {
  for (int k = 0; k < group->n_members; k++)
    if (group->members[k].role == REAP_CONSUMES) return true;
  return false;
}

static int judge(search *s, int index) {
  reap_group *group = &s->g->list[index];
  const int producer = reap_group_producer(group), consumer = reap_group_consumer(group);
  const int input = consumer < 0 ? -1 : s->graph->nodes[consumer]->inputs[0];
  const int64_t read = consumer < 0 ? 0 : s->g->values[input].count; /* runs of entries */
  const bool adjacent =
      consumer >= 0 && (s->g->values[input].repeat == 1 || !reap_is_convolution(s->graph->nodes[consumer]));
  group->inner = is_plain(s, producer) && is_plain(s, consumer) && read == group->units && adjacent &&
                 produced_list(s, producer)->count == read;
  const reap_node *norm = find_norm(s, group);
  const bool by_norm = group->inner && norm;
  if (by_norm) group->inner = false;
  if (s->pins[index]) return reap_strdup(&group->reason, s->pins[index]);
  const reap_first_few others = consumer < 0 ? (reap_first_few){0, {0}} : others_of(s, index, consumer);
  group->cuttable = group->units > 1 && has_consumer(group);
  if (by_norm)
    return reap_format(&group->reason, "coupled: %s %s over all of it", reap_node_title(norm), reap_norm_verb(norm));
  if (!group->inner)
    return reap_coupled_reason(s->graph, group, &others, adjacent ? read : INT64_MAX, norm, &group->reason);
  if (group->units < 2) return reap_strdup(&group->reason, "a single channel");
  group->prunable = true;
  return REAP_OK;
}

/* ------------------------------------------------------------------ all of it */

static int set_up(search *s) {
  const int n = s->graph->n_nodes;
  REAP_TRY(reap_channel_map_build(s->graph, &s->map));
  REAP_TRY(reap_calloc(&s->reads, n + 1, sizeof *s->reads));
  REAP_TRY(reap_alloc(&s->g->consumed, n + 1, sizeof *s->g->consumed));
  REAP_TRY(reap_alloc(&s->g->produced, n + 1, sizeof *s->g->produced));
  for (int i = 0; i < n; i++) s->g->consumed[i] = s->g->produced[i] = -1;
  REAP_TRY(number_units(s));
  REAP_TRY(find_groups(s));
  REAP_TRY(reap_calloc(&s->pins, s->g->count + 1, sizeof *s->pins));
  return reap_calloc(&s->last, s->g->count + 1, sizeof *s->last);
}

static int find(search *s) {
  REAP_TRY(set_up(s));
  REAP_TRY(describe_groups(s));
  REAP_TRY(label_values(s));
  REAP_TRY(list_members(s));
  find_pins(s);
  for (int i = 0; i < s->g->count; i++) REAP_TRY(judge(s, i));
  return REAP_OK;
}

int reap_groups_find(const reap_graph *graph, reap_groups **out) {
  search s = {.graph = graph};
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  s.g = *out;
  int status = find(&s);
  reap_channel_map_clear(&s.map);
  reap_free(&s.unit_of);
  reap_free(&s.maker);
  reap_free(&s.group_of);
  reap_free(&s.place);
  reap_free(&s.pins);
  reap_free(&s.reads);
  reap_free(&s.last);
  if (status != REAP_OK) reap_groups_destroy(out);
  return status;
}
