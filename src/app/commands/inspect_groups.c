#include "inspect_groups.h"

#include <stdio.h>

#include "app/command.h"
#include "app/report.h"
#include "base/text.h"
#include "prune/sizes/cost_model.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ what can go */

typedef int (*make_model)(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                          reap_cost_model **out);

/* Costs with one unit of each chosen group, as a share; freed[groups] (or NULL) by each of them alone. */
static int find_reach(const reap_graph *graph, const reap_groups *groups, make_model make, const bool *chosen,
                      int64_t *counts, double *share, double *freed) {
  reap_cost_model *model = NULL;
  REAP_TRY(make(graph, groups, chosen, &model));
  for (int g = 0; freed && g < model->n_groups; g++) {
    for (int h = 0; h < model->n_groups; h++) counts[h] = model->channels[h];
    if (chosen[g]) counts[g] = 1;
    freed[g] = model->whole - reap_cost_model_at(model, counts);
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
  *out = INSPECT_REACH_NONE;
  REAP_TRY_OR(reap_calloc(&chosen, n, sizeof *chosen), done);
  REAP_TRY_OR(reap_calloc(&counts, n, sizeof *counts), done);
  REAP_TRY_OR(reap_calloc(&out->freed, n, sizeof *out->freed), done);
  for (int g = 0; g < n; g++) chosen[g] = reap_groups_at(groups, g)->prunable;
  REAP_TRY_OR(find_reach(graph, groups, reap_cost_model_flops, chosen, counts, &out->flops.inner, NULL), done);
  REAP_TRY_OR(find_reach(graph, groups, reap_cost_model_params, chosen, counts, &out->params.inner, NULL), done);
  for (int g = 0; g < n; g++) chosen[g] = reap_groups_at(groups, g)->cuttable;
  REAP_TRY_OR(find_reach(graph, groups, reap_cost_model_flops, chosen, counts, &out->flops.all, out->freed), done);
  status = find_reach(graph, groups, reap_cost_model_params, chosen, counts, &out->params.all, NULL);
done:
  reap_free(&chosen);
  reap_free(&counts);
  return status;
}

void inspect_reach_clear(inspect_reach *reach) { reap_free(&reach->freed); }

/* ------------------------------------------------------------------ shown */

static int n_cuttable(const reap_groups *groups, bool coupled) {
  int n = 0;
  for (int g = 0; g < reap_groups_count(groups); g++)
    n += coupled ? reap_groups_at(groups, g)->cuttable && !reap_groups_at(groups, g)->prunable
                 : reap_groups_at(groups, g)->prunable;
  return n;
}

void inspect_groups_print(const reap_graph *graph, const reap_groups *groups, const inspect_reach *reach) {
  const double whole = (double)reap_graph_flops(graph);
  char flops[32];
  reap_print(stdout, "\n%-40s %8s %13s %8s\n", "group (named after its producer)", "channels", "multiply-adds",
             "share");
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_print(stdout, "%-*s %8lld", reap_text_width(group->name, 40), group->name, (long long)group->units);
    if (group->cuttable)
      reap_print(stdout, " %13s %6.1f %%  ", report_count(reach->freed[g], flops), 100 * reach->freed[g] / whole);
    else
      reap_print(stdout, " %13s %8s  ", "", "");
    if (group->prunable)
      reap_print(stdout, "prunable, consumed by %s\n", graph->nodes[reap_group_consumer(group)]->layer);
    else
      reap_print(stdout, "%s%s\n", group->cuttable ? "" : "kept: ", group->reason);
  }
  const int inner = n_cuttable(groups, false), coupled = n_cuttable(groups, true);
  reap_print(stdout, "%d of %d groups are prunable: multiply-adds can go down to %.3g %%, parameters to %.3g %%.",
             inner, reap_groups_count(groups), 100 * reach->flops.inner, 100 * reach->params.inner);
  if (coupled > 0)
    reap_print(stdout, "\nWith %d coupled ones (--scope all): to %.3g %% and %.3g %%.", coupled, 100 * reach->flops.all,
               100 * reach->params.all);
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

static void report_share(cJSON *report, const char *name, const inspect_share *share) {
  cJSON *object = cJSON_AddObjectToObject(report, name);
  JSON_NUMBERS(object, {"inner", share->inner}, {"all", share->all});
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
    cJSON_AddNumberToObject(object, "flops", group->cuttable ? reach->freed[g] : 0);
    if (group->reason)
      cJSON_AddStringToObject(object, "reason", group->reason);
    else
      cJSON_AddNullToObject(object, "reason");
    json_append(list, object);
  }
  report_share(report, "least_flops_share", &reach->flops);
  report_share(report, "least_params_share", &reach->params);
}
