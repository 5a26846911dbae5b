/* Sizes of layers that groups of any kind share; see latency_sides.h. */
#include "latency_sides.h"

#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

/* A coupled group's entries on one side of a layer; *repeat: the same in each group of the convolution. */
static int has_entries(const reap_graph *graph, const reap_groups *groups, int node, reap_role role, bool *some,
                       bool *repeat) {
  const int64_t parts = reap_node_int(graph->nodes[node], "group", 1);
  *some = false;
  *repeat = true;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    for (int k = 0; group->cuttable && !group->prunable && k < group->n_members; k++) {
      const reap_member *member = &group->members[k];
      int64_t *units = NULL;
      if (member->node != node || member->role != role) continue;
      REAP_TRY(reap_alloc(&units, graph->values[member->value].dims[member->axis], sizeof *units));
      const int64_t count = reap_member_units(group, member, units);
      *some = true;
      *repeat &= reap_units_repeat(units, count, parts);
      reap_free(&units);
    }
  }
  return REAP_OK;
}

/* Channels of the inner group on one side of a layer; 0 if there is none. */
static int64_t inner(const reap_groups *groups, int group) {
  return group >= 0 && reap_groups_at(groups, group)->prunable ? reap_groups_at(groups, group)->units : 0;
}

int reap_latency_sides(const reap_graph *graph, const reap_groups *groups, int node, bool coupled, latency_sides *out) {
  const reap_tensor *weights = reap_node_constant(graph, graph->nodes[node], 1);
  const int64_t parts = reap_node_int(graph->nodes[node], "group", 1);
  bool in = false, made = false, in_repeats = true, out_repeats = true;
  *out = (latency_sides){inner(groups, reap_groups_consumed_by(groups, node)),
                         inner(groups, reap_groups_produced_by(groups, node)), false};
  if (!coupled) return REAP_OK;
  REAP_TRY(has_entries(graph, groups, node, REAP_CONSUMES, &in, &in_repeats));
  REAP_TRY(has_entries(graph, groups, node, REAP_PRODUCES, &made, &out_repeats));
  out->groups_leave = parts > 1 && (in || made) && !(in_repeats && out_repeats);
  if (out->groups_leave) {
    out->in = 0;
    out->out = parts;
    return REAP_OK;
  }
  if (in) out->in = reap_weights_inputs(weights);
  if (made) out->out = weights->dims[0] / parts;
  return REAP_OK;
}

bool reap_latency_coupled(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int node) {
  if (!graph->nodes[node]->linear) return false;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    for (int k = 0; chosen[g] && !group->prunable && k < group->n_members; k++)
      if (group->members[k].node == node && group->members[k].role != REAP_PASSES) return true;
  }
  return false;
}
