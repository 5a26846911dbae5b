#include "size_plan.h"

#include <math.h>
#include <string.h>

#include "group_names.h"
#include "prune/sensitivity/coupled_paths.h"
#include "prune/sensitivity/joint.h"
#include "prune/sizes/budget.h"
#include "prune/sizes/ratios.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "session_settings.h"

/* ------------------------------------------------------------------ which groups */

static int64_t common_divisor(int64_t a, int64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* Units of a group are kept by multiples of it, so that each layer keeps a multiple of `of` entries. Units have as many
 * entries in a layer one as another. */
static int find_multiple(const reap_graph *graph, const reap_group *group, int64_t of, int64_t *multiple) {
  *multiple = 1;
  for (int k = 0; of > 1 && k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    int64_t *units = NULL, entries = 0;
    if (member->role != REAP_PRODUCES && member->role != REAP_CONSUMES) continue;
    REAP_TRY(reap_alloc(&units, graph->values[member->value].dims[member->axis], sizeof *units));
    const int64_t count = reap_member_units(group, member, units);
    for (int64_t i = 0; i < count; i++) entries += units[i] == 0;
    reap_free(&units);
    const int64_t step = of / common_divisor(of, entries);
    *multiple = *multiple / common_divisor(*multiple, step) * step; /* both divide `of` */
  }
  return REAP_OK;
}

static int64_t round_up(int64_t count, int64_t multiple, int64_t most) {
  if (count > most - multiple) return count % multiple == 0 ? count : most;
  return (count + multiple - 1) / multiple * multiple;
}

static int choose_groups(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *o,
                         reap_size_plan *plan) {
  int count = 0;
  for (int g = 0; g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    plan->chosen[g] = o->scope == REAP_SCOPE_ALL ? group->cuttable : group->prunable;
  }
  REAP_TRY(reap_group_names_exclude(graph, groups, o->exclude, plan->chosen));
  REAP_TRY(reap_group_names_least(groups, o->min_keep, plan->least));
  for (int g = 0; g < plan->n_groups; g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    REAP_TRY(find_multiple(graph, reap_groups_at(groups, g), o->multiple_of, &plan->multiple[g]));
    plan->least[g] = round_up(plan->least[g], plan->multiple[g], channels);
    count += plan->chosen[g];
  }
  if (count > 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "the network has no channel group that can be pruned here");
}

/* ------------------------------------------------------------------ how far */

/* The multiple nearest to `count`, of two the larger one, but not 0; or all. */
static int64_t nearest(int64_t count, int64_t multiple, int64_t most) {
  const int64_t rounded = (2 * count + multiple) / (2 * multiple) * multiple;
  if (count == most) return most;
  return rounded < multiple ? round_up(1, multiple, most) : rounded < most ? rounded : most;
}

static void keep_share(const reap_groups *groups, double share, reap_size_plan *plan) {
  for (int g = 0; g < plan->n_groups; g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    plan->counts[g] =
        plan->chosen[g] ? nearest(reap_budget_round(share, channels), plan->multiple[g], channels) : channels;
    if (plan->counts[g] < plan->least[g]) plan->counts[g] = plan->least[g];
  }
}

int reap_size_plan_give(const reap_groups *groups, const int64_t *counts, int64_t *const *kept, reap_size_plan *plan) {
  for (int g = 0; g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (counts[g] < 1 || counts[g] > group->units)
      return reap_error(REAP_ERR_USAGE, "group %s: keeps from 1 to %lld channels, not %lld", group->name,
                        (long long)group->units, (long long)counts[g]);
    if (counts[g] < group->units && counts[g] % plan->multiple[g] != 0)
      return reap_error(REAP_ERR_USAGE, "group %s: keeps multiples of %lld, or all, not %lld", group->name,
                        (long long)plan->multiple[g], (long long)counts[g]);
    if (!plan->chosen[g] && counts[g] < group->units)
      return reap_error(REAP_ERR_USAGE,
                        "group %s is excluded or cannot be pruned, and %lld of its channels are to stay", group->name,
                        (long long)counts[g]);
    plan->counts[g] = counts[g];
    reap_free(&plan->given[g]);
    if (!kept || !kept[g]) continue;
    for (int64_t k = 0; k < counts[g]; k++)
      if (kept[g][k] <= (k > 0 ? kept[g][k - 1] : -1) || kept[g][k] >= group->units)
        return reap_error(REAP_ERR_USAGE, "group %s: indices of channels ascend from 0 to %lld at most", group->name,
                          (long long)group->units - 1);
    REAP_TRY(reap_alloc(&plan->given[g], counts[g], sizeof *plan->given[g]));
    memcpy(plan->given[g], kept[g], (size_t)counts[g] * sizeof *plan->given[g]);
  }
  plan->complete = true;
  return REAP_OK;
}

/* Costs in the unit of the budget, what is allowed and what the whole network costs. */
static int cost_model(const reap_graph *graph, const reap_groups *groups, const reap_latency *latency,
                      reap_size_plan *plan, reap_cost_model **model) {
  const bool params = plan->budget == REAP_BUDGET_PARAMS;
  if (latency)
    REAP_TRY(reap_cost_model_latency(graph, groups, plan->chosen, latency, model));
  else
    REAP_TRY((params ? reap_cost_model_params : reap_cost_model_flops)(graph, groups, plan->chosen, model));
  plan->whole = params ? (double)reap_graph_params(graph) : (*model)->whole;
  plan->limit = plan->budget == REAP_BUDGET_MILLISECONDS ? plan->asked : plan->asked * plan->whole;
  return REAP_OK;
}

/* A budget that even the smallest sizes do not meet. */
static int check_reach(const reap_cost_model *model, const reap_size_plan *plan) {
  const double least = reap_cost_model_at(model, plan->least);
  if (least <= plan->limit) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "%s %g cannot be reached: with the fewest channels allowed in every prunable group %.4f are left",
                    reap_budget_name(plan->budget), plan->asked, least / plan->whole);
}

static int choose_uniform(const reap_cost_model *model, reap_size_plan *plan) {
  const reap_ratio_problem problem = {model, NULL, plan->least, plan->multiple, plan->limit};
  REAP_TRY(reap_ratios_uniform(&problem, plan->counts));
  plan->cost = reap_cost_model_at(model, plan->counts);
  plan->complete = true;
  return REAP_OK;
}

static int begin_budget(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *o,
                        reap_size_plan *plan) {
  reap_cost_model *model = NULL;
  if (reap_settings_need_latency(o)) return REAP_OK; /* nothing is known of times yet */
  int status = cost_model(graph, groups, NULL, plan, &model);
  if (status == REAP_OK) status = check_reach(model, plan);
  if (status == REAP_OK && !reap_settings_need_losses(o)) status = choose_uniform(model, plan);
  reap_cost_model_destroy(&model);
  return status;
}

static int allocate(const reap_groups *groups, reap_size_plan *plan) {
  const int n = reap_groups_count(groups);
  *plan = (reap_size_plan){.n_groups = n,
                           .coupled = 1,
                           .asked = NAN,
                           .limit = NAN,
                           .cost = NAN,
                           .whole = NAN,
                           .predicted_loss = NAN,
                           .gap = NAN};
  REAP_TRY(reap_calloc(&plan->chosen, n, sizeof *plan->chosen));
  REAP_TRY(reap_calloc(&plan->counts, n, sizeof *plan->counts));
  REAP_TRY(reap_calloc(&plan->least, n, sizeof *plan->least));
  REAP_TRY(reap_calloc(&plan->multiple, n, sizeof *plan->multiple));
  REAP_TRY(reap_calloc(&plan->channels, n, sizeof *plan->channels));
  for (int g = 0; g < n; g++) plan->channels[g] = reap_groups_at(groups, g)->units;
  return reap_calloc(&plan->given, n, sizeof *plan->given);
}

int reap_size_plan_begin(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *o,
                         reap_size_plan *plan) {
  REAP_TRY(allocate(groups, plan));
  plan->ratios = reap_settings_ratios(o);
  plan->budget = o->budget;
  plan->scope = o->scope;
  REAP_TRY(choose_groups(graph, groups, o, plan));
  if (o->budget == REAP_BUDGET_SIZES) return REAP_OK;
  plan->asked = o->amount;
  if (o->budget != REAP_BUDGET_KEEP) return begin_budget(graph, groups, o, plan);
  keep_share(groups, o->amount, plan);
  plan->complete = true;
  return REAP_OK;
}

/* ------------------------------------------------------------------ by losses */

/* Coupled groups keep plan->share of their units: no fewer, and more are worth nothing. */
static void hold(const reap_groups *groups, const reap_size_plan *plan, double **losses, int64_t *least) {
  for (int g = 0; g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (!plan->chosen[g] || group->prunable) continue;
    const int64_t size = nearest(reap_budget_round(plan->share, group->units), plan->multiple[g], group->units);
    if (least[g] < size) least[g] = size;
    for (int64_t k = least[g]; k <= group->units; k++) losses[g][k] = losses[g][least[g]];
  }
}

static int choose_by_losses(const reap_groups *groups, const reap_cost_model *model, double **losses,
                            reap_size_plan *plan, reap_ratio_outcome *outcome) {
  int64_t *least = NULL;
  REAP_TRY(reap_alloc(&least, plan->n_groups, sizeof *least));
  memcpy(least, plan->least, (size_t)plan->n_groups * sizeof *least);
  if (plan->share > 0) hold(groups, plan, losses, least);
  const reap_ratio_problem problem = {model, (const double *const *)losses, least, plan->multiple, plan->limit};
  const int status = reap_ratios_choose(&problem, plan->counts, outcome);
  reap_free(&least);
  return status;
}

static int choose(const reap_groups *groups, const reap_group_paths *paths, const reap_cost_model *model,
                  double **losses, bool jointly, reap_size_plan *plan) {
  const bool output = plan->ratios == REAP_RATIOS_OUTPUT;
  reap_ratio_outcome outcome;
  REAP_TRY(reap_joint_losses(groups, plan->chosen, paths, output, plan->coupled, plan->least, losses));
  REAP_TRY(check_reach(model, plan));
  if (output && paths->power == 0) {
    reap_log(REAP_LOG_INFO, "pilot runs found no sizes with a smaller divergence of the outputs than uniform ones");
    return choose_uniform(model, plan);
  }
  REAP_TRY(choose_by_losses(groups, model, losses, plan, &outcome));
  if (jointly) REAP_TRY(reap_coupled_paths_give(groups, paths, plan->counts, plan->given));
  plan->cost = outcome.cost;
  plan->predicted_loss = 0; /* as measured, not as coupled groups were made to count */
  for (int g = 0; g < plan->n_groups; g++)
    if (plan->chosen[g])
      plan->predicted_loss += losses[g][plan->counts[g]] / (reap_groups_at(groups, g)->prunable ? 1 : plan->coupled);
  plan->gap = reap_ratios_gap(&outcome);
  plan->complete = true;
  return REAP_OK;
}

int reap_size_plan_finish(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *o,
                          const reap_group_paths *paths, const reap_latency *latency, reap_size_plan *plan) {
  reap_cost_model *model = NULL;
  double **losses = NULL;
  if (plan->complete) return REAP_OK;
  if (o->budget == REAP_BUDGET_SIZES) return reap_error(REAP_ERR_USAGE, "sizes are to be given, and are not there");
  const bool jointly = o->method->gives & REAP_GIVES_PATH; /* the paths' units are the method's */
  int status = reap_calloc(&losses, plan->n_groups, sizeof *losses);
  if (status == REAP_OK) status = cost_model(graph, groups, latency, plan, &model);
  if (status == REAP_OK) status = check_reach(model, plan);
  if (status == REAP_OK)
    status = reap_settings_need_losses(o) ? choose(groups, paths, model, losses, jointly, plan)
                                          : choose_uniform(model, plan);
  for (int g = 0; losses && g < plan->n_groups; g++) reap_free(&losses[g]);
  reap_free(&losses);
  reap_cost_model_destroy(&model);
  return status;
}

void reap_size_plan_clear(reap_size_plan *plan) {
  for (int g = 0; plan->given && g < plan->n_groups; g++) reap_free(&plan->given[g]);
  reap_free(&plan->chosen);
  reap_free(&plan->counts);
  reap_free(&plan->given);
  reap_free(&plan->least);
  reap_free(&plan->multiple);
  reap_free(&plan->channels);
}
