#include "inspect_estimate.h"

#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "prune/estimate/choice_estimate.h"
#include "prune/session/session_settings.h"
#include "prune/session/size_plan.h"
#include "reap/error.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/memory.h"

int estimate_options_check(estimate_options *o) {
  const int budgets = !isnan(o->keep) + !isnan(o->flops) + !isnan(o->params);
  if (o->ranks == 0 && (o->exclude || o->memory.text || o->images != 4000 || budgets > 0))
    return reap_error(REAP_ERR_USAGE,
                      "reap inspect: --images, --keep, --flops, --params, --exclude and --memory belong to --estimate");
  if (budgets > 1) return reap_error(REAP_ERR_USAGE, "reap inspect: give one of --keep, --flops and --params");
  if (budgets == 0) o->keep = 0.5;
  return memory_options_read("reap inspect", &o->memory);
}

static bool chooses_sizes(const estimate_options *o) { return isnan(o->keep); }

/* As the run would have it; the sizes that losses would choose are not known, and uniform ones stand for them. */
static reap_session_settings settings_of(const estimate_options *o) {
  reap_session_settings settings = reap_session_defaults();
  settings.budget = !isnan(o->flops) ? REAP_BUDGET_FLOPS : !isnan(o->params) ? REAP_BUDGET_PARAMS : REAP_BUDGET_KEEP;
  settings.amount = !isnan(o->flops) ? o->flops : !isnan(o->params) ? o->params : o->keep;
  settings.ratios = REAP_RATIOS_UNIFORM;
  settings.scope = REAP_SCOPE_INNER;
  settings.exclude = o->exclude;
  return settings;
}

/* Coupled groups take part where inner ones alone do not reach the budget. */
static int make_plan(const reap_network *network, const reap_groups *groups, reap_session_settings *settings,
                     reap_size_plan *plan) {
  int status = reap_size_plan_begin(network->graph, groups, settings, plan);
  if (status == REAP_ERR_INPUT || (status == REAP_ERR_USAGE && settings->budget != REAP_BUDGET_KEEP)) {
    reap_size_plan_clear(plan);
    settings->scope = REAP_SCOPE_ALL;
    status = reap_size_plan_begin(network->graph, groups, settings, plan);
  }
  REAP_TRY(status);
  return reap_size_plan_finish(network->graph, groups, settings, NULL, NULL, plan);
}

static int estimate_run(const reap_comm *comm, const estimate_options *o, const reap_graph *graph,
                        const reap_groups *groups, const reap_size_plan *plan, const bool *repair, int producer_rounds,
                        estimate_figures *f) {
  const reap_run_setting setting = {.graph = graph,
                                    .groups = groups,
                                    .chosen = plan->chosen,
                                    .counts = plan->counts,
                                    .repair = repair,
                                    .producer_rounds = producer_rounds,
                                    .shard = reap_shard_make(o->images, graph->batch, 0, (int)o->ranks),
                                    .ranks = (int)o->ranks};
  reap_choice_estimate choice = {0};
  int status = reap_estimate_run(&setting, o->memory.bytes, &f->run);
  if (status == REAP_OK && chooses_sizes(o)) status = reap_estimate_choice(&setting, o->memory.bytes, &choice);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_estimate_speeds(comm, &setting, REAP_BACKEND_AUTO, &f->speeds));
  f->frontier = fmax(f->run.frontier, fmax(choice.paths.frontier, choice.trial.frontier));
  f->least = fmax(f->run.least, fmax(choice.paths.least, choice.trial.least));
  f->matrices = fmax(f->run.matrices, fmax(choice.paths.matrices, choice.trial.matrices));
  if (chooses_sizes(o)) f->choosing = reap_estimate_choice_seconds(&choice, &f->speeds, (int)o->ranks);
  return REAP_OK;
}

/* Kernels, BLAS and the allocator keep some memory of their own. */
static const double OVERHEAD = 32e6;

int estimate_make(const reap_comm *comm, const estimate_options *o, const reap_network *network, double load,
                  estimate_figures *f) {
  reap_groups *groups = NULL;
  bool *repair = NULL;
  reap_size_plan plan = {0};
  reap_session_settings settings = settings_of(o);
  *f = (estimate_figures){.base = (double)reap_memory_resident() + OVERHEAD};
  const double peak = (double)reap_memory_peak_resident();
  int status = reap_groups_find(network->graph, &groups);
  if (status == REAP_OK) status = make_plan(network, groups, &settings, &plan);
  if (status == REAP_OK) status = reap_settings_repair_layers(&settings, network->graph, &repair);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    status = estimate_run(comm, o, network->graph, groups, &plan, repair, reap_settings_producer_rounds(&settings), f);
  if (status == REAP_OK) {
    const double limit = (double)o->memory.bytes;
    f->model = f->run.model;
    f->unlimited = f->frontier;
    if (limit > 0 && limit < f->frontier) f->frontier = fmax(limit, f->least);
    f->memory = fmax(f->base + f->model + f->frontier + f->matrices, peak);
    f->seconds = f->choosing + 3 * load +
                 reap_estimate_seconds(&f->run, &f->speeds, (int)o->ranks); /* read, copied and written */
  }
  reap_free(&repair);
  reap_size_plan_clear(&plan);
  reap_groups_destroy(&groups);
  return status;
}

static double mega(double bytes) { return bytes / 1e6; }

void estimate_print(const estimate_options *o, const estimate_figures *f) {
  const reap_run_estimate *c = &f->run;
  const reap_session_settings settings = settings_of(o);
  reap_print(stdout, "\nestimate for reap prune --%s %g with %lld images on %lld rank%s like this one:\n",
             reap_budget_name(settings.budget), settings.amount, (long long)o->images, (long long)o->ranks,
             o->ranks > 1 ? "s" : "");
  reap_print(stdout,
             "%-16s %.0f MB on a rank: program and model %.0f, pruned copy %.0f, values and buffers %.0f, moments and "
             "solver %.0f\n",
             "memory", mega(f->memory), mega(f->base), mega(f->model), mega(f->frontier), mega(f->matrices));
  if (f->frontier < f->unlimited)
    reap_print(stdout,
               "%-16s values and buffers would take %.0f MB without the limit; up to %.1f GB go to the scratch folder "
               "and back\n",
               "", mega(f->unlimited), c->traffic / 1e9);
  if (o->memory.bytes > 0 && (double)o->memory.bytes < f->least)
    reap_print(stdout, "%-16s the limit is less than one block of images takes: %.0f MB\n", "", mega(f->least));
  reap_print(stdout, "%-16s %.3g s (at %.1f G multiply-adds a second forward, %.1f for moments, DGEMM %.1f GF/s)\n",
             "time", f->seconds, f->speeds.forward / 1e9, f->speeds.moments / 1e9, f->speeds.solver / 1e9);
  if (chooses_sizes(o))
    reap_print(stdout,
               "%-16s %.3g s of it to choose the sizes (none with --keep; less with --ratios path or uniform)\n", "",
               f->choosing);
}

void estimate_report(const estimate_options *o, const estimate_figures *f, cJSON *report) {
  cJSON *estimate = cJSON_AddObjectToObject(report, "estimate");
  JSON_NUMBERS(estimate, {"ranks", (double)o->ranks}, {"images", (double)o->images}, {"keep", o->keep},
               {"flops", o->flops}, {"params", o->params}, {"seconds", f->seconds}, {"seconds_choosing", f->choosing},
               {"peak_resident", f->memory}, {"base", f->base}, {"model", f->model}, {"frontier", f->frontier},
               {"frontier_without_limit", f->unlimited}, {"least_limit", f->least}, {"moments", f->run.moments},
               {"solver", f->run.solver}, {"scratch_traffic", f->run.traffic},
               {"forward_multiply_adds", f->run.forward}, {"moments_multiply_adds", f->run.moments_work},
               {"solver_flops", f->run.solver_work + f->run.shared_work}, {"forward_rate", f->speeds.forward},
               {"moments_rate", f->speeds.moments}, {"dgemm_rate", f->speeds.solver});
}
