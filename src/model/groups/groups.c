/* Groups once they are found: where their units stand, and what is left after a cut; see reap/groups.h. */
#include "reap/groups.h"

#include "groups_data.h"
#include "reap/error.h"
#include "reap/memory.h"

static void group_clear(reap_group *group) {
  reap_free(&group->name);
  reap_free(&group->reason);
  reap_free(&group->members);
}

void reap_groups_destroy(reap_groups **groups) {
  reap_groups *g = *groups;
  if (!g) return;
  for (int i = 0; g->list && i < g->count; i++) group_clear(&g->list[i]);
  for (int v = 0; g->values && v < g->n_values; v++) reap_free(&g->values[v].at);
  reap_free(&g->list);
  reap_free(&g->values);
  reap_free(&g->consumed);
  reap_free(&g->produced);
  reap_free(groups);
}

int reap_groups_count(const reap_groups *groups) { return groups->count; }
const reap_group *reap_groups_at(const reap_groups *groups, int index) { return &groups->list[index]; }
int reap_groups_consumed_by(const reap_groups *groups, int node) { return groups->consumed[node]; }
int reap_groups_produced_by(const reap_groups *groups, int node) { return groups->produced[node]; }

static int only_node(const reap_group *group, reap_role role) {
  int found = -1;
  for (int k = 0; k < group->n_members; k++) {
    if (group->members[k].role != role) continue;
    if (found >= 0) return -1;
    found = group->members[k].node;
  }
  return found;
}

int reap_group_consumer(const reap_group *group) { return only_node(group, REAP_CONSUMES); }
int reap_group_producer(const reap_group *group) { return only_node(group, REAP_PRODUCES); }

/* The unit at each entry; *carries: there is any. */
static int64_t units_along(const reap_labels *labels, int group, int64_t *units, bool *carries) {
  int64_t count = 0;
  *carries = false;
  for (int64_t i = 0; i < labels->count; i++) {
    const int64_t unit = labels->at[i].group == group ? labels->at[i].unit : -1;
    *carries |= unit >= 0;
    for (int64_t r = 0; r < labels->repeat; r++) units[count++] = unit;
  }
  return count;
}

int64_t reap_member_units(const reap_group *group, const reap_member *member, int64_t *units) {
  bool carries;
  return units_along(&group->groups->values[member->value], group->index, units, &carries);
}

bool reap_units_repeat(const int64_t *units, int64_t count, int64_t parts) {
  const int64_t size = count / parts;
  int64_t i = size;
  while (i < count && units[i] == units[i - size]) i++;
  return i == count;
}

int reap_groups_axis(const reap_groups *groups, int value) {
  return groups->values[value].count > 0 ? groups->values[value].axis : -1;
}

int64_t reap_groups_entries(const reap_groups *groups, int value, int group, const bool *keep, int64_t *entries) {
  bool carries;
  const int64_t count = units_along(&groups->values[value], group, entries, &carries);
  int64_t left = 0;
  for (int64_t i = 0; i < count; i++)
    if (entries[i] < 0 || keep[entries[i]]) entries[left++] = i;
  return carries ? left : -1;
}

/* Drops the labels of units that go; renumbered[unit]: the new number of the others. */
static void shrink_labels(reap_labels *labels, int group, const int64_t *renumbered) {
  int64_t count = 0;
  for (int64_t i = 0; i < labels->count; i++) {
    reap_label label = labels->at[i];
    if (label.group == group) label.unit = (int)renumbered[label.unit];
    if (label.group != group || label.unit >= 0) labels->at[count++] = label;
  }
  labels->count = count;
}

int reap_groups_shrink(reap_groups *groups, int group, const bool *keep) {
  reap_group *g = &groups->list[group];
  int64_t *renumbered = NULL, next = 0;
  REAP_TRY(reap_alloc(&renumbered, g->units, sizeof *renumbered));
  for (int64_t u = 0; u < g->units; u++) renumbered[u] = keep[u] ? next++ : -1;
  groups->cuts++;
  for (int k = 0; k < g->n_members; k++) {
    reap_labels *labels = &groups->values[g->members[k].value];
    if (labels->cuts != groups->cuts) shrink_labels(labels, group, renumbered); /* several members may share a value */
    labels->cuts = groups->cuts;
  }
  g->units = next;
  reap_free(&renumbered);
  return REAP_OK;
}
