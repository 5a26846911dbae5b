#include "inspect_groups.h"

#include <stdio.h>

#include "app/command.h"
#include "app/report.h"
#include "base/text.h"
#include "prune/sizes/cost_model.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ what can go */

/* Multiply-adds with one unit of each chosen group, as a share; flops[groups] (or NULL) of each of them alone. */
static int find_reach(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int64_t *counts,
                      double *share, double *flops) {
  reap_cost_model *model = NULL;
  REAP_TRY(reap_cost_model_flops(graph, groups, chosen, &model));
  for (int g = 0; flops && g < model->n_groups; g++) {
    for (int h = 0; h < model->n_groups; h++) counts[h] = model->channels[h];
    if (chosen[g]) counts[g] = 1;
    flops[g] = model->whole - reap_cost_model_at(model, counts);
  }
  for (int g = 0; g < model->n_groups; g++) counts[g] = chosen[g] ? 1 : model->channels[g];
  *share = model->whole > 0 ? reap_cost_model_at(model, counts) / model->whole : 1;
  reap_cost_model_destroy(&model);
  return REAP_OK;
}

int inspect_reach_find(const reap_graph *graph, const reap_groups *groups, inspect_reach *out) {
  const int n = reap_groups_count(groups);
  bool *chosen = NULL;
  int64_t *counts = NULL;
  int status = REAP_OK;
  *out = (inspect_reach){NULL, 1, 1};
  REAP_TRY_OR(reap_calloc(&chosen, n, sizeof *chosen), done);
  REAP_TRY_OR(reap_calloc(&counts, n, sizeof *counts), done);
  REAP_TRY_OR(reap_calloc(&out->flops, n, sizeof *out->flops), done);
  for (int g = 0; g < n; g++) chosen[g] = reap_groups_at(groups, g)->prunable;
  REAP_TRY_OR(find_reach(graph, groups, chosen, counts, &out->inner, NULL), done);
  for (int g = 0; g < n; g++) chosen[g] = reap_groups_at(groups, g)->cuttable;
  status = find_reach(graph, groups, chosen, counts, &out->all, out->flops);
done:
  reap_free(&chosen);
  reap_free(&counts);
  return status;
}

void inspect_reach_clear(inspect_reach *reach) { reap_free(&reach->flops); }

/* ------------------------------------------------------------------ shown */

static int n_cuttable(const reap_groups *groups, bool coupled) {
  int n = 0;
  for (int g = 0; g < reap_groups_count(groups); g++)
    n += coupled ? reap_groups_at(groups, g)->cuttable && !reap_groups_at(groups, g)->prunable
                 : reap_groups_at(groups, g)->prunable;
  return n;
}

void inspect_groups_print(const reap_graph *graph, const reap_groups *groups, const inspect_reach *reach) {
  char flops[32];
  reap_print(stdout, "\n%-40s %8s %13s  %s\n", "group (named after its producer)", "channels", "multiply-adds", "");
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_print(stdout, "%-*s %8lld %13s  ", reap_text_width(group->name, 40), group->name, (long long)group->units,
               group->cuttable ? report_count(reach->flops[g], flops) : "");
    if (group->prunable)
      reap_print(stdout, "prunable, consumed by %s\n", graph->nodes[reap_group_consumer(group)]->layer);
    else
      reap_print(stdout, "%s%s\n", group->cuttable ? "" : "kept: ", group->reason);
  }
  const int inner = n_cuttable(groups, false), coupled = n_cuttable(groups, true);
  reap_print(stdout, "%d of %d groups are prunable: up to %.1f %% of the multiply-adds can go.", inner,
             reap_groups_count(groups), 100 * (1 - reach->inner));
  if (coupled > 0)
    reap_print(stdout, " With %d coupled ones (--scope all) up to %.1f %%.", coupled, 100 * (1 - reach->all));
  reap_print(stdout, "\n");
}

static cJSON *layers_in_role(const reap_graph *graph, const reap_group *group, reap_role role) {
  cJSON *array = cJSON_CreateArray();
  for (int k = 0; k < group->n_members; k++)
    if (group->members[k].role == role)
      json_append(array, cJSON_CreateString(graph->nodes[group->members[k].node]->layer));
  return array;
}

/* Every tensor in which the units stand: of the node's input, or null of its output. */
static cJSON *members_of(const reap_graph *graph, const reap_group *group) {
  static const char *const roles[] = {"produces", "consumes", "passes", "adds"};
  cJSON *array = cJSON_CreateArray();
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "node", graph->nodes[member->node]->layer);
    if (member->input >= 0)
      cJSON_AddNumberToObject(object, "input", member->input);
    else
      cJSON_AddNullToObject(object, "input");
    cJSON_AddStringToObject(object, "role", roles[member->role]);
    cJSON_AddNumberToObject(object, "axis", member->axis);
    json_append(array, object);
  }
  return array;
}

void inspect_groups_report(const reap_graph *graph, const reap_groups *groups, const inspect_reach *reach,
                           cJSON *report) {
  cJSON *list = cJSON_AddArrayToObject(report, "groups");
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", group->name);
    cJSON_AddNumberToObject(object, "channels", (double)group->units);
    json_add(object, "producers", layers_in_role(graph, group, REAP_PRODUCES));
    json_add(object, "consumers", layers_in_role(graph, group, REAP_CONSUMES));
    json_add(object, "members", members_of(graph, group));
    cJSON_AddBoolToObject(object, "prunable", group->prunable);
    cJSON_AddBoolToObject(object, "cuttable", group->cuttable);
    cJSON_AddNumberToObject(object, "flops", group->cuttable ? reach->flops[g] : 0);
    if (group->reason)
      cJSON_AddStringToObject(object, "reason", group->reason);
    else
      cJSON_AddNullToObject(object, "reason");
    json_append(list, object);
  }
  cJSON *shares = cJSON_AddObjectToObject(report, "least_flops_share");
  cJSON_AddNumberToObject(shares, "inner", reach->inner);
  cJSON_AddNumberToObject(shares, "all", reach->all);
}
