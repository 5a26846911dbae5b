#include "prune_plan.h"

#include <math.h>
#include <string.h>

#include "plan_file.h"
#include "reap/budget.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/ratios.h"
#include "report.h"

const char *prune_plan_ratios(const prune_options *o) {
  if (o->plan) return "plan";
  if (!isnan(o->keep)) return "uniform";
  return o->ratios ? o->ratios : "uniform";
}

bool prune_plan_losses(const prune_options *o) {
  const char *ratios = prune_plan_ratios(o);
  return strcmp(ratios, "path") == 0 || strcmp(ratios, "output") == 0;
}

/* ------------------------------------------------------------------ which groups */

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
  return reap_error(REAP_ERR_USAGE, "--exclude names \"%.*s\", which is no group or layer of this network; see reap inspect",
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
    const int64_t channels = reap_groups_at(groups, g)->channels;
    const double share = o->min_keep; /* below 1 a share, else a number */
    const int64_t least = share < 1 ? reap_budget_round(share, channels) : share < (double)channels ? (int64_t)share : channels;
    plan->least[g] = least;
    count += plan->chosen[g];
  }
  if (count > 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "the network has no channel group that can be pruned here; reap inspect tells why");
}

/* ------------------------------------------------------------------ how far */

typedef struct budget {
  const char *name;
  double share;
  int (*model)(const reap_graph *, const reap_groups *, const bool *, reap_cost_model **);
} budget;

static budget budget_of(const prune_options *o) {
  if (!isnan(o->params)) return (budget){"params", o->params, reap_cost_model_params};
  return (budget){"flops", o->flops, reap_cost_model_flops};
}

static void keep_share(const reap_groups *groups, double share, prune_plan *plan) {
  for (int g = 0; g < plan->n_groups; g++) {
    const int64_t channels = reap_groups_at(groups, g)->channels;
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
    if (named[g] && !plan->chosen[g] && plan->counts[g] < group->channels)
      status = reap_error(REAP_ERR_USAGE, "--exclude takes out group %s, which %s prunes", group->name, o->plan);
  }
  reap_free(&named);
  return status;
}

static int cost_model(const reap_graph *graph, const reap_groups *groups, const prune_options *o, prune_plan *plan,
                      reap_cost_model **model) {
  const budget b = budget_of(o);
  plan->budget = b.name;
  plan->asked = b.share;
  REAP_TRY(b.model(graph, groups, plan->chosen, model));
  plan->whole = strcmp(b.name, "params") == 0 ? (double)reap_graph_params(graph) : (*model)->whole;
  plan->limit = b.share * plan->whole;
  return REAP_OK;
}

/* A budget that even the smallest sizes do not meet. */
static int check_reach(const reap_cost_model *model, const prune_plan *plan) {
  const double least = reap_cost_model_at(model, plan->least);
  if (least <= plan->limit) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "--%s %g cannot be reached: with the fewest channels allowed in every prunable group "
                    "%.4f are left", plan->budget, plan->asked, least / plan->whole);
}

static int begin_budget(const reap_graph *graph, const reap_groups *groups, const prune_options *o, prune_plan *plan) {
  reap_cost_model *model = NULL;
  int status = cost_model(graph, groups, o, plan, &model);
  if (status == REAP_OK) status = check_reach(model, plan);
  if (status == REAP_OK && !prune_plan_losses(o)) {
    const reap_ratio_problem problem = {model, NULL, plan->least, NULL, plan->limit};
    status = reap_ratios_uniform(&problem, plan->counts);
    plan->cost = status == REAP_OK ? reap_cost_model_at(model, plan->counts) : NAN;
    plan->complete = true;
  }
  reap_cost_model_destroy(&model);
  return status;
}

static int allocate(const reap_groups *groups, prune_plan *plan) {
  const int n = reap_groups_count(groups);
  *plan = (prune_plan){.n_groups = n, .asked = NAN, .limit = NAN, .cost = NAN, .whole = NAN, .predicted_loss = NAN,
                       .bound = NAN, .gap = NAN};
  REAP_TRY(reap_calloc(&plan->chosen, n, sizeof *plan->chosen));
  REAP_TRY(reap_calloc(&plan->counts, n, sizeof *plan->counts));
  REAP_TRY(reap_calloc(&plan->least, n, sizeof *plan->least));
  REAP_TRY(reap_calloc(&plan->channels, n, sizeof *plan->channels));
  for (int g = 0; g < n; g++) plan->channels[g] = reap_groups_at(groups, g)->channels;
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

/* Losses of every size of group g; and sizes that its path does not reach are out. */
static int fill_losses(const reap_group *group, const reap_group_path *path, bool output, double **loss, int64_t *least) {
  if (!path || path->channels != group->channels)
    return reap_error(REAP_ERR_INPUT, "group %s: the paths do not have it, or with another number of channels; they are of another network",
                      group->name);
  if (output && path->n_sizes == 0 && path->n_removed > 0)
    return reap_error(REAP_ERR_INPUT, "group %s: the paths do not tell how far the network's output moves; take --ratios path, or make "
                      "them anew with images", group->name);
  REAP_TRY(reap_alloc(loss, group->channels + 1, sizeof **loss));
  for (int64_t k = 0; k <= group->channels; k++)
    (*loss)[k] = output ? reap_group_path_moved(path, k) : reap_group_path_error(path, k);
  if (*least < reap_group_path_least(path)) *least = reap_group_path_least(path);
  return REAP_OK;
}

static int choose(const reap_groups *groups, const reap_group_paths *paths, const reap_cost_model *model, double **losses,
                  prune_plan *plan) {
  const bool output = strcmp(plan->ratios, "output") == 0;
  reap_ratio_outcome outcome;
  for (int g = 0; g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (plan->chosen[g])
      REAP_TRY(fill_losses(group, reap_group_paths_find(paths, group->name), output, &losses[g], &plan->least[g]));
  }
  REAP_TRY(check_reach(model, plan));
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
                      const reap_group_paths *paths, prune_plan *plan) {
  reap_cost_model *model = NULL;
  double **losses = NULL;
  if (plan->complete) return REAP_OK;
  if (!paths) return reap_error(REAP_ERR_INTERNAL, "a choice by %s without losses", plan->ratios);
  int status = reap_calloc(&losses, plan->n_groups, sizeof *losses);
  if (status == REAP_OK) status = cost_model(graph, groups, o, plan, &model);
  if (status == REAP_OK) status = choose(groups, paths, model, losses, plan);
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
