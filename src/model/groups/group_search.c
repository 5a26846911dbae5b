/* From classes of channels to groups; see reap/groups.h.
 *
 * A union-find over classes merges those that share a producer; groups are numbered by their first producer. Then one
 * walk over the nodes lists the members of all groups. Cost is linear in the number of channels and nodes.
 */
#include "channel_map.h"
#include "group_reason.h"
#include "groups_data.h"
#include "model/operators.h"
#include "model/operators/layout.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct search {
  const reap_graph *graph;
  reap_groups *g;
  reap_channel_map map;
  int n_members, n_ends; /* of all groups; producers and consumers among them */
  int *group_of;         /* [n_atoms] at roots: group, or -1 */
  int *unit_of;          /* [n_atoms] at roots: unit within the group */
  const char **pins;     /* [groups] what holds a unit of each, the first that does, or NULL */
  reap_first_few *reads; /* [nodes] groups of which a layer reads units */
  int *last;             /* [groups] the tensor that listed the group last, counted over all nodes */
} search;

static bool is_layer(const reap_node *node) { return node->linear != NULL; }

/* Channels that a layer produces; count 0 if they are not followed. */
static const reap_channel_list *produced_list(const search *s, int node) {
  return &s->map.values[s->graph->nodes[node]->outputs[0]];
}

/* ------------------------------------------------------------------ which units form a group */

/* The first of the producers that `node` is merged with; halves the way there. */
static int lead_of(int *merged, int node) {
  while (merged[node] != node) node = merged[node] = merged[merged[node]];
  return node;
}

/* All classes of one producer share a group; producers that share a class do, too. merged[nodes]: union-find. */
static void merge_producers(search *s, int *merged) {
  for (int i = 0; i < s->graph->n_nodes; i++) merged[i] = i;
  for (int i = 0; i < s->graph->n_nodes; i++) {
    const reap_channel_list *list = produced_list(s, i);
    for (int64_t k = 0; is_layer(s->graph->nodes[i]) && k < list->count; k++) {
      int *producer = &s->group_of[reap_channel_map_find(&s->map, list->atoms[k])]; /* for now */
      int a = lead_of(merged, *producer < 0 ? i : *producer), b = lead_of(merged, i);
      merged[a > b ? a : b] = *producer = a > b ? b : a;
    }
  }
}

static int number_groups(search *s) {
  const int n = s->graph->n_nodes;
  int *merged = NULL, *number = s->g->produced;
  REAP_TRY(reap_alloc(&merged, n + 1, sizeof *merged));
  merge_producers(s, merged);
  for (int i = 0; i < n; i++) {
    if (!is_layer(s->graph->nodes[i]) || produced_list(s, i)->count == 0) continue;
    const int lead = lead_of(merged, i);
    number[i] = lead == i ? s->g->count++ : number[lead];
  }
  for (int64_t a = 0; a < s->map.n_atoms; a++)
    if (s->group_of[a] >= 0) s->group_of[a] = number[lead_of(merged, s->group_of[a])];
  reap_free(&merged);
  return REAP_OK;
}

/* Names the groups and numbers their units in the order in which producers make them. */
static int number_units(search *s) {
  for (int i = 0; i < s->graph->n_nodes; i++) {
    if (s->g->produced[i] < 0) continue;
    reap_group *group = &s->g->list[s->g->produced[i]];
    const reap_channel_list *list = produced_list(s, i);
    group->groups = s->g;
    group->index = s->g->produced[i];
    if (!group->name) REAP_TRY(reap_strdup(&group->name, s->graph->nodes[i]->layer));
    for (int64_t k = 0; k < list->count; k++) {
      int *unit = &s->unit_of[reap_channel_map_find(&s->map, list->atoms[k])];
      if (*unit < 0) *unit = (int)group->units++;
    }
  }
  return REAP_OK;
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
    for (int64_t i = 0; i < list->count; i++) {
      const int64_t root = reap_channel_map_find(&s->map, list->atoms[i]);
      labels->at[i] = (reap_label){s->group_of[root], s->unit_of[root]};
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
  const reap_value *value = &s->graph->values[member.value];
  member.axis = value->constant ? 0 : reap_channel_axis(value); /* parameters have one axis */
  for (int64_t i = 0; i < labels->count; i++) {
    const int group = labels->at[i].group;
    if (group < 0 || s->last[group] == turn) continue;
    s->last[group] = turn;
    REAP_TRY(append(s, group, member));
  }
  return REAP_OK;
}

/* True if the node's inputs that are not constant are several tensors, whose channels it makes one. */
static bool adds(const search *s, const reap_node *node) {
  int first = -1;
  bool several = false;
  if (node->op->channels != REAP_CHANNELS_JOIN && node->op->channels != REAP_CHANNELS_CONCAT) return false;
  for (int k = 0; k < node->n_inputs; k++) {
    if (node->inputs[k] < 0 || s->graph->values[node->inputs[k]].constant) continue;
    several |= first >= 0 && node->inputs[k] != first;
    if (first < 0) first = node->inputs[k];
  }
  return several && s->map.values[first].count == s->map.values[node->outputs[0]].count;
}

static int list_members(search *s) {
  int turn = 0;
  for (int i = 0; i < s->graph->n_nodes; i++) {
    const reap_node *node = s->graph->nodes[i];
    const bool layer = is_layer(node);
    const reap_role role = layer ? REAP_CONSUMES : adds(s, node) ? REAP_ADDS : REAP_PASSES;
    for (int k = 0; k < node->n_inputs; k++)
      if (node->inputs[k] >= 0)
        REAP_TRY(list_tensor(s, (reap_member){.node = i, .input = k, .value = node->inputs[k], .role = role}, ++turn));
    if (!layer) continue; /* what others make is read by nodes that follow */
    const reap_member output = {.node = i, .input = -1, .value = node->outputs[0], .role = REAP_PRODUCES};
    REAP_TRY(list_tensor(s, output, ++turn));
    if (s->reads[i].count == 1) s->g->consumed[i] = s->reads[i].items[0];
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ what can be pruned */

static void find_pins(search *s) {
  for (int64_t a = 0; a < s->map.n_atoms; a++)
    if (s->map.parent[a] == a && s->group_of[a] >= 0 && s->map.pins[a] && !s->pins[s->group_of[a]])
      s->pins[s->group_of[a]] = s->map.pins[a];
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

static int judge(search *s, int index) {
  reap_group *group = &s->g->list[index];
  const int producer = reap_group_producer(group), consumer = reap_group_consumer(group);
  const int64_t read = consumer < 0 ? 0 : s->g->values[s->graph->nodes[consumer]->inputs[0]].count;
  group->inner = producer >= 0 && consumer >= 0 && read == group->units && produced_list(s, producer)->count == read;
  if (s->pins[index]) return reap_strdup(&group->reason, s->pins[index]);
  const reap_first_few others = consumer < 0 ? (reap_first_few){0, {0}} : others_of(s, index, consumer);
  if (!group->inner) return reap_coupled_reason(s->graph, group, &others, read, &group->reason);
  if (group->units < 2) return reap_strdup(&group->reason, "a single channel");
  group->prunable = true;
  return REAP_OK;
}

/* ------------------------------------------------------------------ all of it */

static int set_up(search *s) {
  const int n = s->graph->n_nodes;
  REAP_TRY(reap_channel_map_build(s->graph, &s->map));
  REAP_TRY(reap_alloc(&s->group_of, s->map.n_atoms + 1, sizeof *s->group_of));
  REAP_TRY(reap_alloc(&s->unit_of, s->map.n_atoms + 1, sizeof *s->unit_of));
  for (int64_t a = 0; a < s->map.n_atoms; a++) s->group_of[a] = s->unit_of[a] = -1;
  REAP_TRY(reap_calloc(&s->reads, n + 1, sizeof *s->reads));
  REAP_TRY(reap_alloc(&s->g->consumed, n + 1, sizeof *s->g->consumed));
  REAP_TRY(reap_alloc(&s->g->produced, n + 1, sizeof *s->g->produced));
  for (int i = 0; i < n; i++) s->g->consumed[i] = s->g->produced[i] = -1;
  REAP_TRY(number_groups(s));
  const int count = s->g->count;
  s->g->count = 0;
  REAP_TRY(reap_calloc(&s->g->list, count, sizeof *s->g->list));
  s->g->count = count;
  REAP_TRY(reap_calloc(&s->pins, count + 1, sizeof *s->pins));
  return reap_calloc(&s->last, count + 1, sizeof *s->last);
}

static int find(search *s) {
  REAP_TRY(set_up(s));
  REAP_TRY(number_units(s));
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
  reap_free(&s.group_of);
  reap_free(&s.unit_of);
  reap_free(&s.pins);
  reap_free(&s.reads);
  reap_free(&s.last);
  if (status != REAP_OK) reap_groups_destroy(out);
  return status;
}
