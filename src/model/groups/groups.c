/* From classes of channels to groups; see groups.h.
 *
 * A union-find over classes merges those that share a producer; groups are numbered by their first producer. Cost is
 * linear in the number of channels and nodes.
 */
#include "reap/groups.h"

#include <string.h>

#include "channel_map.h"
#include "group_reason.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

struct reap_groups {
  reap_channel_map map;
  int count, members;
  reap_group *list;
  int n_nodes;
  int *consumed, *produced; /* [n_nodes] group or -1 */
  int *group_of;            /* [n_atoms] at roots: group, or -1 */
  int64_t *channel_of;      /* [n_atoms] at roots: channel within the group; -1 once removed */
  reap_first_few *ties;     /* [count] nodes that make channels of several tensors one */
  reap_first_few *reads;    /* [n_nodes] groups of which a linear layer reads channels */
};

static void group_clear(reap_group *group) {
  reap_free(&group->name);
  reap_free(&group->reason);
  reap_free(&group->producers);
  reap_free(&group->consumers);
}

void reap_groups_destroy(reap_groups **groups) {
  reap_groups *g = *groups;
  if (!g) return;
  for (int i = 0; i < g->count; i++) group_clear(&g->list[i]);
  reap_free(&g->list);
  reap_free(&g->consumed);
  reap_free(&g->produced);
  reap_free(&g->group_of);
  reap_free(&g->channel_of);
  reap_free(&g->ties);
  reap_free(&g->reads);
  reap_channel_map_clear(&g->map);
  reap_free(groups);
}

static bool is_linear(const reap_graph *graph, int node) {
  return graph->nodes[node]->op->channels == REAP_CHANNELS_LINEAR;
}

/* Channels that node `node` produces; count 0 if it is not a linear layer or they are not followed. */
static const reap_channel_list *produced_list(const reap_groups *g, const reap_graph *graph, int node) {
  return &g->map.values[graph->nodes[node]->outputs[0]];
}

/* The first of the producers that `node` is merged with; halves the way there. */
static int lead_of(int *merged, int node) {
  while (merged[node] != node) node = merged[node] = merged[merged[node]];
  return node;
}

/* Numbers the groups: all classes of one producer share a group; producers that share a class do, too. */
static int number_groups(reap_groups *g, const reap_graph *graph) {
  reap_channel_map *map = &g->map;
  int *merged = NULL, status = REAP_OK; /* [n_nodes] union-find over producers */
  REAP_TRY(reap_alloc(&merged, graph->n_nodes + 1, sizeof *merged));
  REAP_TRY_OR(reap_alloc(&g->group_of, map->n_atoms + 1, sizeof *g->group_of), done);
  for (int64_t a = 0; a < map->n_atoms; a++) g->group_of[a] = -1;
  for (int i = 0; i < graph->n_nodes; i++) merged[i] = i;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_channel_list *list = produced_list(g, graph, i);
    for (int64_t k = 0; is_linear(graph, i) && k < list->count; k++) {
      int64_t root = reap_channel_map_find(map, list->atoms[k]);
      int a = lead_of(merged, g->group_of[root] < 0 ? i : g->group_of[root]), b = lead_of(merged, i);
      merged[a > b ? a : b] = a > b ? b : a;
      g->group_of[root] = a > b ? b : a; /* a producer for now */
    }
  }
  int *number = g->produced;
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!is_linear(graph, i) || produced_list(g, graph, i)->count == 0) continue;
    const int lead = lead_of(merged, i);
    number[i] = lead == i ? g->count++ : number[lead];
  }
  for (int64_t a = 0; a < map->n_atoms; a++) {
    if (g->group_of[a] >= 0) g->group_of[a] = number[lead_of(merged, g->group_of[a])];
  }
done:
  reap_free(&merged);
  return status;
}

/* Producers and consumers of all groups together. Dense connections have the square of the number of layers. */
enum { MOST_MEMBERS = 1 << 18 };

static int append(reap_groups *g, int **list, int *count, int value) {
  if (*count > 0 && (*list)[*count - 1] == value) return REAP_OK;
  if (++g->members > MOST_MEMBERS)
    return reap_error(REAP_ERR_INPUT,
                      "the network's channel groups have more than %d producers and consumers; use a network with "
                      "fewer connections between its layers",
                      MOST_MEMBERS);
  const bool full = (*count & (*count - 1)) == 0; /* lists are as long as the next power of two */
  if (full) REAP_TRY(reap_grow(list, *count, *count > 0 ? 2 * (int64_t)*count : 1, sizeof **list));
  (*list)[(*count)++] = value;
  return REAP_OK;
}

/* Lists producers and consumers, numbers the channels in the order in which producers make them. */
static int collect_members(reap_groups *g, const reap_graph *graph) {
  reap_channel_map *map = &g->map;
  REAP_TRY(reap_alloc(&g->channel_of, map->n_atoms + 1, sizeof *g->channel_of));
  for (int64_t a = 0; a < map->n_atoms; a++) g->channel_of[a] = -1;
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!is_linear(graph, i)) continue;
    const reap_channel_list *out = produced_list(g, graph, i), *in = &map->values[graph->nodes[i]->inputs[0]];
    if (g->produced[i] >= 0) {
      reap_group *group = &g->list[g->produced[i]];
      if (!group->name) REAP_TRY(reap_strdup(&group->name, graph->nodes[i]->layer));
      REAP_TRY(append(g, &group->producers, &group->n_producers, i));
      for (int64_t k = 0; k < out->count; k++) {
        int64_t root = reap_channel_map_find(map, out->atoms[k]);
        if (g->channel_of[root] < 0) g->channel_of[root] = group->channels++;
      }
    }
    for (int64_t k = 0; k < in->count; k++) {
      int group = g->group_of[reap_channel_map_find(map, in->atoms[k])];
      if (group < 0) continue;
      REAP_TRY(append(g, &g->list[group].consumers, &g->list[group].n_consumers, i));
      if (g->consumed[i] < 0) g->consumed[i] = group;
    }
  }
  return REAP_OK;
}

/* What holds a channel of each group, the first that does. */
static void find_pins(const reap_groups *g, const char **pins) {
  for (int64_t a = 0; a < g->map.n_atoms; a++)
    if (g->map.parent[a] == a && g->group_of[a] >= 0 && g->map.pins[a] && !pins[g->group_of[a]])
      pins[g->group_of[a]] = g->map.pins[a];
}

/* True if the node's inputs that are not constant are several tensors. */
static bool joins_several(const reap_graph *graph, const reap_node *node, int *first) {
  *first = -1;
  for (int k = 0; k < node->n_inputs; k++) {
    if (node->inputs[k] < 0 || graph->values[node->inputs[k]].constant) continue;
    if (*first >= 0 && node->inputs[k] != *first) return true;
    if (*first < 0) *first = node->inputs[k];
  }
  return false;
}

/* Adds node `node` to the ties of each group that `list` has channels of, or the groups to what the node reads. `last`
 * [count]: the file's node that came by each group last; several nodes here may be one there. */
static void note_groups(reap_groups *g, const reap_graph *graph, const reap_channel_list *list, int node, bool tie,
                        int *last) {
  for (int64_t k = 0; k < list->count; k++) {
    const int group = g->group_of[reap_channel_map_find(&g->map, list->atoms[k])];
    if (group < 0 || last[group] == graph->nodes[node]->source) continue;
    last[group] = graph->nodes[node]->source;
    if (tie)
      reap_first_few_add(&g->ties[group], node);
    else
      reap_first_few_add(&g->reads[node], group);
  }
}

/* Additions and the like make each channel of their inputs one with those of the others; a Concat along another axis,
 * too. */
static int collect_relations(reap_groups *g, const reap_graph *graph) {
  int *last = NULL;
  REAP_TRY(reap_calloc(&g->ties, g->count + 1, sizeof *g->ties));
  REAP_TRY(reap_calloc(&g->reads, graph->n_nodes + 1, sizeof *g->reads));
  REAP_TRY(reap_alloc(&last, g->count + 1, sizeof *last));
  for (int i = 0; i < g->count; i++) last[i] = -1;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    const reap_channel_rule rule = node->op->channels;
    int first = -1;
    if (rule == REAP_CHANNELS_LINEAR) note_groups(g, graph, &g->map.values[node->inputs[0]], i, false, last);
    if ((rule != REAP_CHANNELS_JOIN && rule != REAP_CHANNELS_CONCAT) || !joins_several(graph, node, &first)) continue;
    const reap_channel_list *in = &g->map.values[first];
    if (in->count == g->map.values[node->outputs[0]].count) note_groups(g, graph, in, i, true, last);
  }
  reap_free(&last);
  return REAP_OK;
}

/* First producers of the other groups among those that the group's one consumer reads. */
static reap_first_few others_of(const reap_groups *g, int index) {
  const reap_group *group = &g->list[index];
  const reap_first_few *reads = &g->reads[group->consumers[0]];
  reap_first_few others = {0, {0}};
  for (int i = 0; i < reads->count && i < REAP_FIRST_FEW; i++)
    if (reads->items[i] != index) reap_first_few_add(&others, g->list[reads->items[i]].producers[0]);
  others.count = reads->count - 1;
  return others;
}

static int judge(reap_groups *g, const reap_graph *graph, int index, const char *pin) {
  reap_group *group = &g->list[index];
  const reap_channel_list *in =
      group->n_consumers == 1 ? &g->map.values[graph->nodes[group->consumers[0]]->inputs[0]] : NULL;
  group->inner = group->n_producers == 1 && in && in->count == group->channels &&
                 produced_list(g, graph, group->producers[0])->count == group->channels;
  if (pin) return reap_strdup(&group->reason, pin);
  if (group->n_consumers == 0) return reap_strdup(&group->reason, "no layer consumes it");
  if (!group->inner) {
    const reap_first_few others = others_of(g, index);
    return reap_coupled_reason(graph, group, &g->ties[index], &others, in ? in->count : 0, &group->reason);
  }
  if (group->channels < 2) return reap_strdup(&group->reason, "a single channel");
  group->prunable = true;
  return REAP_OK;
}

static int judge_all(reap_groups *g, const reap_graph *graph) {
  const char **pins = NULL; /* [count] */
  REAP_TRY(collect_relations(g, graph));
  int status = reap_calloc(&pins, g->count, sizeof *pins);
  if (status == REAP_OK) find_pins(g, pins);
  for (int i = 0; status == REAP_OK && i < g->count; i++) status = judge(g, graph, i, pins[i]);
  reap_free(&pins);
  return status;
}

static int find(reap_groups *g, const reap_graph *graph) {
  REAP_TRY(reap_channel_map_build(graph, &g->map));
  g->n_nodes = graph->n_nodes;
  REAP_TRY(reap_alloc(&g->consumed, graph->n_nodes + 1, sizeof *g->consumed));
  REAP_TRY(reap_alloc(&g->produced, graph->n_nodes + 1, sizeof *g->produced));
  for (int i = 0; i < graph->n_nodes; i++) g->consumed[i] = g->produced[i] = -1;
  REAP_TRY(number_groups(g, graph));
  int count = g->count;
  g->count = 0;
  REAP_TRY(reap_calloc(&g->list, count, sizeof *g->list));
  g->count = count;
  REAP_TRY(collect_members(g, graph));
  return judge_all(g, graph);
}

int reap_groups_find(const reap_graph *graph, reap_groups **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  int status = find(*out, graph);
  if (status != REAP_OK) reap_groups_destroy(out);
  return status;
}

int reap_groups_count(const reap_groups *groups) { return groups->count; }
const reap_group *reap_groups_at(const reap_groups *groups, int index) { return &groups->list[index]; }
int reap_groups_consumed_by(const reap_groups *groups, int node) { return groups->consumed[node]; }
int reap_groups_produced_by(const reap_groups *groups, int node) { return groups->produced[node]; }

/* Channel of `group` that an atom is, or -1. */
static int64_t channel_in(const reap_groups *groups, int64_t atom, int group) {
  while (groups->map.parent[atom] != atom) atom = groups->map.parent[atom];
  return groups->group_of[atom] == group ? groups->channel_of[atom] : -1;
}

int64_t reap_groups_entries(const reap_groups *groups, int value, int group, const bool *keep, int64_t *entries) {
  const reap_channel_list *list = &groups->map.values[value];
  int64_t count = 0;
  bool carries = false;
  for (int64_t i = 0; i < list->count; i++) {
    int64_t channel = channel_in(groups, list->atoms[i], group);
    carries |= channel >= 0;
    if (channel >= 0 && !keep[channel]) continue;
    for (int64_t r = 0; r < list->repeat; r++) entries[count++] = i * list->repeat + r;
  }
  return carries ? count : -1;
}

int reap_groups_shrink(reap_groups *groups, int group, const bool *keep) {
  reap_channel_map *map = &groups->map;
  for (int v = 0; v < map->n_values; v++) {
    reap_channel_list *list = &map->values[v];
    int64_t count = 0;
    for (int64_t i = 0; i < list->count; i++) {
      int64_t channel = channel_in(groups, list->atoms[i], group);
      if (channel < 0 || keep[channel]) list->atoms[count++] = list->atoms[i];
    }
    list->count = count;
  }
  int64_t *renumbered = NULL, next = 0, channels = groups->list[group].channels;
  REAP_TRY(reap_alloc(&renumbered, channels, sizeof *renumbered));
  for (int64_t c = 0; c < channels; c++) renumbered[c] = keep[c] ? next++ : -1;
  for (int64_t a = 0; a < map->n_atoms; a++)
    if (map->parent[a] == a && groups->group_of[a] == group && groups->channel_of[a] >= 0)
      groups->channel_of[a] = renumbered[groups->channel_of[a]];
  groups->list[group].channels = next;
  reap_free(&renumbered);
  return REAP_OK;
}
