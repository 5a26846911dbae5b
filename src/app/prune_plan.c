#include "prune_plan.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "plan_file.h"
#include "prune/sensitivity/joint.h"
#include "prune/sizes/budget.h"
#include "prune/sizes/ratios.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "report.h"

const char *prune_plan_ratios(const prune_options *o) {
  if (o->plan) return "plan";
  if (!isnan(o->keep)) return "uniform";
  return o->ratios ? o->ratios : o->from_stats ? "path" : "output";
}

bool prune_plan_losses(const prune_options *o) {
  const char *ratios = prune_plan_ratios(o);
  return strcmp(ratios, "path") == 0 || strcmp(ratios, "output") == 0;
}

/* ------------------------------------------------------------------ which groups */

/* Takes the groups that one name stands for out of the choice. */
static int exclude_name(const reap_graph *graph, const reap_groups *groups, const char *name, size_t length,
                        bool *chosen) {
  bool found = false;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    if (!reap_text_names(name, length, reap_groups_at(groups, g)->name)) continue;
    chosen[g] = false;
    found = true;
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear || !reap_text_names(name, length, graph->nodes[i]->layer)) continue;
    const int both[] = {reap_groups_produced_by(groups, i), reap_groups_consumed_by(groups, i)};
    for (int k = 0; k < 2; k++)
      if (both[k] >= 0) chosen[both[k]] = false;
    found = true;
  }
  if (found) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "--exclude names \"%.*s\", which is no group or layer of this network; see reap inspect",
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

static int choose_groups(const reap_graph *graph, const reap_groups *groups, const prune_options *o, prune_plan *plan) {
  int count = 0;
  for (int g = 0; g < plan->n_groups; g++) plan->chosen[g] = reap_groups_at(groups, g)->prunable;
  REAP_TRY(exclude_all(graph, groups, o->exclude, plan->chosen));
  for (int g = 0; g < plan->n_groups; g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    const double share = o->min_keep; /* below 1 a share, else a number */
    const int64_t least = share < 1                  ? reap_budget_round(share, channels)
                          : share < (double)channels ? (int64_t)share
                                                     : channels;
    plan->least[g] = least;
    count += plan->chosen[g];
  }
  if (count > 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "the network has no channel group that can be pruned here; reap inspect tells why");
}

/* ------------------------------------------------------------------ how far */

static void keep_share(const reap_groups *groups, double share, prune_plan *plan) {
  for (int g = 0; g < plan->n_groups; g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    plan->counts[g] = plan->chosen[g] ? reap_budget_round(share, channels) : channels;
    if (plan->counts[g] < plan->least[g]) plan->counts[g] = plan->least[g];
  }
}

/* Sizes of a file; groups that keep all their channels are left alone. */
static int read_plan(const reap_groups *groups, const prune_options *o, prune_plan *plan) {
  bool *named = NULL;
  REAP_TRY(reap_calloc(&named, plan->n_groups, sizeof *named));
  int status = plan_file_read(o->plan, groups, plan->counts, plan->given, named);
  for (int g = 0; status == REAP_OK && g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (named[g] && !plan->chosen[g] && plan->counts[g] < group->units)
      status = reap_error(REAP_ERR_USAGE, "--exclude takes out group %s, which %s prunes", group->name, o->plan);
  }
  reap_free(&named);
  return status;
}

/* Costs in the unit of the budget, what is allowed and what the whole network costs. */
static int cost_model(const reap_graph *graph, const reap_groups *groups, const prune_options *o,
                      const reap_latency *latency, prune_plan *plan, reap_cost_model **model) {
  plan->budget = prune_options_latency(o) ? "latency" : !isnan(o->params) ? "params" : "flops";
  if (latency) {
    REAP_TRY(reap_cost_model_latency(graph, groups, plan->chosen, latency, model));
    plan->whole = (*model)->whole;
    plan->asked = isnan(o->latency_ms) ? o->latency_share : o->latency_ms;
    plan->limit = isnan(o->latency_ms) ? o->latency_share * plan->whole : o->latency_ms;
    return REAP_OK;
  }
  const bool params = !isnan(o->params);
  REAP_TRY((params ? reap_cost_model_params : reap_cost_model_flops)(graph, groups, plan->chosen, model));
  plan->whole = params ? (double)reap_graph_params(graph) : (*model)->whole;
  plan->asked = params ? o->params : o->flops;
  plan->limit = plan->asked * plan->whole;
  return REAP_OK;
}

/* A budget that even the smallest sizes do not meet. */
static int check_reach(const reap_cost_model *model, const prune_plan *plan) {
  const double least = reap_cost_model_at(model, plan->least);
  if (least <= plan->limit) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "--%s %g cannot be reached: with the fewest channels allowed in every prunable group "
                    "%.4f are left",
                    plan->budget, plan->asked, least / plan->whole);
}

static int choose_uniform(const reap_cost_model *model, prune_plan *plan) {
  const reap_ratio_problem problem = {model, NULL, plan->least, NULL, plan->limit};
  REAP_TRY(reap_ratios_uniform(&problem, plan->counts));
  plan->cost = reap_cost_model_at(model, plan->counts);
  plan->complete = true;
  return REAP_OK;
}

static int begin_budget(const reap_graph *graph, const reap_groups *groups, const prune_options *o, prune_plan *plan) {
  reap_cost_model *model = NULL;
  if (prune_options_latency(o)) return REAP_OK; /* nothing is known of times yet */
  int status = cost_model(graph, groups, o, NULL, plan, &model);
  if (status == REAP_OK) status = check_reach(model, plan);
  if (status == REAP_OK && !prune_plan_losses(o)) status = choose_uniform(model, plan);
  reap_cost_model_destroy(&model);
  return status;
}

static int allocate(const reap_groups *groups, prune_plan *plan) {
  const int n = reap_groups_count(groups);
  *plan = (prune_plan){.n_groups = n,
                       .asked = NAN,
                       .limit = NAN,
                       .cost = NAN,
                       .whole = NAN,
                       .predicted_loss = NAN,
                       .bound = NAN,
                       .gap = NAN};
  REAP_TRY(reap_calloc(&plan->chosen, n, sizeof *plan->chosen));
  REAP_TRY(reap_calloc(&plan->counts, n, sizeof *plan->counts));
  REAP_TRY(reap_calloc(&plan->least, n, sizeof *plan->least));
  REAP_TRY(reap_calloc(&plan->channels, n, sizeof *plan->channels));
  for (int g = 0; g < n; g++) plan->channels[g] = reap_groups_at(groups, g)->units;
  return reap_calloc(&plan->given, n, sizeof *plan->given);
}

int prune_plan_begin(const reap_graph *graph, const reap_groups *groups, const prune_options *o, prune_plan *plan) {
  REAP_TRY(allocate(groups, plan));
  plan->ratios = prune_plan_ratios(o);
  REAP_TRY(choose_groups(graph, groups, o, plan));
  if (!o->plan && isnan(o->keep)) return begin_budget(graph, groups, o, plan);
  plan->complete = true;
  plan->budget = o->plan ? "plan" : "keep";
  plan->asked = o->plan ? NAN : o->keep;
  if (o->plan) return read_plan(groups, o, plan);
  keep_share(groups, o->keep, plan);
  return REAP_OK;
}

/* ------------------------------------------------------------------ by losses */

static int choose(const reap_groups *groups, const reap_group_paths *paths, const reap_cost_model *model,
                  double **losses, prune_plan *plan) {
  const bool output = strcmp(plan->ratios, "output") == 0;
  reap_ratio_outcome outcome;
  REAP_TRY(reap_joint_losses(groups, plan->chosen, paths, output, plan->least, losses));
  REAP_TRY(check_reach(model, plan));
  if (output && paths->power == 0) {
    reap_log(REAP_LOG_INFO, "trials found no sizes that move the output less than uniform ones");
    return choose_uniform(model, plan);
  }
  const reap_ratio_problem problem = {model, (const double *const *)losses, plan->least, NULL, plan->limit};
  REAP_TRY(reap_ratios_choose(&problem, plan->counts, &outcome));
  plan->cost = outcome.cost;
  plan->predicted_loss = outcome.loss;
  plan->bound = outcome.bound;
  plan->gap = reap_ratios_gap(&outcome);
  plan->rounds = outcome.rounds;
  plan->complete = true;
  reap_log(REAP_LOG_INFO, "sizes by %s: predicted loss %.4g, at most %.2g %% above the least possible", plan->ratios,
           plan->predicted_loss, 100 * plan->gap);
  return REAP_OK;
}

int prune_plan_finish(const reap_graph *graph, const reap_groups *groups, const prune_options *o,
                      const prune_plan_data *data, prune_plan *plan) {
  reap_cost_model *model = NULL;
  double **losses = NULL;
  if (plan->complete) return REAP_OK;
  int status = reap_calloc(&losses, plan->n_groups, sizeof *losses);
  if (status == REAP_OK) status = cost_model(graph, groups, o, data->latency, plan, &model);
  if (status == REAP_OK) status = check_reach(model, plan);
  if (status == REAP_OK)
    status = prune_plan_losses(o) ? choose(groups, data->paths, model, losses, plan) : choose_uniform(model, plan);
  for (int g = 0; losses && g < plan->n_groups; g++) reap_free(&losses[g]);
  reap_free(&losses);
  reap_cost_model_destroy(&model);
  return status;
}

void prune_plan_clear(prune_plan *plan) {
  for (int g = 0; plan->given && g < plan->n_groups; g++) reap_free(&plan->given[g]);
  reap_free(&plan->chosen);
  reap_free(&plan->counts);
  reap_free(&plan->given);
  reap_free(&plan->least);
  reap_free(&plan->channels);
}

/* ------------------------------------------------------------------ telling */

void prune_plan_report(const prune_plan *plan, const reap_groups *groups, cJSON *report) {
  cJSON_AddStringToObject(report, "ratios", plan->ratios);
  cJSON *b = cJSON_AddObjectToObject(report, "budget");
  cJSON_AddStringToObject(b, "of", plan->budget);
  report_add_number(b, "asked", plan->asked);
  report_add_number(b, "limit", plan->limit);
  report_add_number(b, "cost", plan->cost);
  report_add_number(b, "original", plan->whole);
  report_add_number(report, "predicted_loss", plan->predicted_loss);
  report_add_number(report, "gap", plan->gap);
  cJSON *list = cJSON_AddObjectToObject(report, "groups");
  for (int g = 0; g < plan->n_groups; g++) {
    if (!plan->chosen[g]) continue;
    cJSON *group = cJSON_AddObjectToObject(list, reap_groups_at(groups, g)->name);
    cJSON_AddNumberToObject(group, "channels", (double)plan->channels[g]);
    cJSON_AddNumberToObject(group, "kept", (double)plan->counts[g]);
  }
}

int prune_plan_save(const prune_plan *plan, const reap_groups *groups, const char *path) {
  cJSON *facts = cJSON_CreateObject();
  cJSON_AddStringToObject(facts, "format", "reap-plan");
  cJSON_AddNumberToObject(facts, "version", 1);
  cJSON_AddStringToObject(facts, "ratios", plan->ratios);
  cJSON_AddStringToObject(facts, "budget", plan->budget);
  report_add_number(facts, "asked", plan->asked);
  report_add_number(facts, "predicted_loss", plan->predicted_loss);
  report_add_number(facts, "gap", plan->gap);
  return plan_file_write(path, groups, plan->chosen, plan->counts, plan->given, facts);
}
