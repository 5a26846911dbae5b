#include "prune_plan.h"

#include <string.h>

#include "reap/budget.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Takes the groups that one name stands for out of the choice. */
static int exclude_name(const reap_graph *graph, const reap_groups *groups, const char *name, size_t length, bool *chosen) {
  bool found = false;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const char *group = reap_groups_at(groups, g)->name;
    if (strlen(group) != length || strncmp(group, name, length) != 0) continue;
    chosen[g] = false;
    found = true;
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    const char *layer = graph->nodes[i]->layer;
    if (!graph->nodes[i]->linear || strlen(layer) != length || strncmp(layer, name, length) != 0) continue;
    const int both[] = {reap_groups_produced_by(groups, i), reap_groups_consumed_by(groups, i)};
    for (int k = 0; k < 2; k++)
      if (both[k] >= 0) chosen[both[k]] = false;
    found = true;
  }
  if (found) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "reap prune: --exclude names \"%.*s\", which is no group or layer of this network; see reap inspect",
                    (int)length, name);
}

static int exclude_all(const reap_graph *graph, const reap_groups *groups, const char *list, bool *chosen) {
  for (const char *name = list; name && *name;) {
    size_t length = strcspn(name, ",");
    if (length > 0) REAP_TRY(exclude_name(graph, groups, name, length, chosen));
    name += length;
    if (*name == ',') name++;
  }
  return REAP_OK;
}

static int make(const reap_graph *graph, const reap_groups *groups, double keep, double flops, const char *exclude,
                prune_plan *plan) {
  const int n = reap_groups_count(groups);
  int count = 0;
  REAP_TRY(reap_calloc(&plan->chosen, n, sizeof *plan->chosen));
  REAP_TRY(reap_calloc(&plan->counts, n, sizeof *plan->counts));
  for (int g = 0; g < n; g++) plan->chosen[g] = reap_groups_at(groups, g)->prunable;
  REAP_TRY(exclude_all(graph, groups, exclude, plan->chosen));
  for (int g = 0; g < n; g++) count += plan->chosen[g];
  if (count == 0)
    return reap_error(REAP_ERR_INPUT, "the network has no channel group that can be pruned here; reap inspect tells why");
  if (flops > 0) return reap_error_prefix(reap_budget_uniform_flops(graph, groups, plan->chosen, flops, plan->counts), "reap prune");
  for (int g = 0; g < n; g++) {
    int64_t channels = reap_groups_at(groups, g)->channels;
    plan->counts[g] = plan->chosen[g] ? reap_budget_round(keep, channels) : channels;
  }
  return REAP_OK;
}

int prune_plan_make(const reap_graph *graph, const reap_groups *groups, double keep, double flops, const char *exclude,
                    prune_plan *plan) {
  memset(plan, 0, sizeof *plan);
  int status = make(graph, groups, keep, flops, exclude, plan);
  if (status != REAP_OK) prune_plan_clear(plan);
  return status;
}

void prune_plan_clear(prune_plan *plan) {
  reap_free(&plan->chosen);
  reap_free(&plan->counts);
}
