#include "inspect_estimate.h"

#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "prune/session/session_settings.h"
#include "prune/session/size_plan.h"
#include "reap/error.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/memory.h"

int estimate_options_check(estimate_options *o) {
  if (o->ranks == 0 && (o->exclude || o->memory.text || o->images != 4000 || o->keep != 0.5))
    return reap_error(REAP_ERR_USAGE, "reap inspect: --images, --keep, --exclude and --memory belong to --estimate");
  return memory_options_read("reap inspect", &o->memory);
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
  int status = reap_comm_agree(comm, reap_estimate_run(&setting, o->memory.bytes, &f->run));
  return status == REAP_OK ? reap_estimate_speeds(comm, &setting, REAP_BACKEND_AUTO, &f->speeds) : status;
}

/* Kernels, BLAS and the allocator keep some memory of their own. */
static const double OVERHEAD = 32e6;

int estimate_make(const reap_comm *comm, const estimate_options *o, const reap_network *network, double load,
                  estimate_figures *f) {
  reap_groups *groups = NULL;
  bool *repair = NULL;
  reap_size_plan plan = {0};
  reap_session_settings settings = reap_session_defaults();
  settings.budget = REAP_BUDGET_KEEP;
  settings.amount = o->keep;
  settings.exclude = o->exclude;
  *f = (estimate_figures){.base = (double)reap_memory_resident() + OVERHEAD};
  const double peak = (double)reap_memory_peak_resident();
  int status = reap_groups_find(network->graph, &groups);
  if (status == REAP_OK) status = reap_size_plan_begin(network->graph, groups, &settings, &plan);
  if (status == REAP_OK) status = reap_settings_repair_layers(&settings, network->graph, &repair);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    status = estimate_run(comm, o, network->graph, groups, &plan, repair, reap_settings_producer_rounds(&settings), f);
  if (status == REAP_OK) {
    const double limit = (double)o->memory.bytes;
    f->model = f->run.model;
    f->frontier = limit > 0 && limit < f->run.frontier ? fmax(limit, f->run.least) : f->run.frontier;
    f->matrices = f->run.matrices;
    f->memory = fmax(f->base + f->model + f->frontier + f->matrices, peak);
    f->seconds = 3 * load + reap_estimate_seconds(&f->run, &f->speeds, (int)o->ranks); /* read, copied and written */
  }
  reap_free(&repair);
  reap_size_plan_clear(&plan);
  reap_groups_destroy(&groups);
  return status;
}

static double mega(double bytes) { return bytes / 1e6; }

void estimate_print(const estimate_options *o, const estimate_figures *f) {
  const reap_run_estimate *c = &f->run;
  reap_print(stdout, "\nestimate for reap prune --keep %g with %lld images on %lld rank%s like this one:\n", o->keep,
             (long long)o->images, (long long)o->ranks, o->ranks > 1 ? "s" : "");
  reap_print(stdout,
             "%-16s %.0f MB on a rank: program and model %.0f, pruned copy %.0f, values and buffers %.0f, moments and "
             "solver %.0f\n",
             "memory", mega(f->memory), mega(f->base), mega(f->model), mega(f->frontier), mega(f->matrices));
  if (f->frontier < c->frontier)
    reap_print(stdout,
               "%-16s values and buffers would take %.0f MB without the limit; up to %.1f GB go to the scratch folder "
               "and back\n",
               "", mega(c->frontier), c->traffic / 1e9);
  if (o->memory.bytes > 0 && (double)o->memory.bytes < c->least)
    reap_print(stdout, "%-16s the limit is less than one block of images takes: %.0f MB\n", "", mega(c->least));
  reap_print(stdout, "%-16s %.3g s (at %.1f G multiply-adds a second forward, %.1f for moments, DGEMM %.1f GF/s)\n",
             "time", f->seconds, f->speeds.forward / 1e9, f->speeds.moments / 1e9, f->speeds.solver / 1e9);
}

void estimate_report(const estimate_options *o, const estimate_figures *f, cJSON *report) {
  cJSON *estimate = cJSON_AddObjectToObject(report, "estimate");
  JSON_NUMBERS(estimate, {"ranks", (double)o->ranks}, {"images", (double)o->images}, {"keep", o->keep},
               {"seconds", f->seconds}, {"peak_resident", f->memory}, {"base", f->base}, {"model", f->model},
               {"frontier", f->frontier}, {"frontier_without_limit", f->run.frontier}, {"least_limit", f->run.least},
               {"moments", f->run.moments}, {"solver", f->run.solver}, {"scratch_traffic", f->run.traffic},
               {"forward_multiply_adds", f->run.forward}, {"moments_multiply_adds", f->run.moments_work},
               {"solver_flops", f->run.solver_work + f->run.shared_work}, {"forward_rate", f->speeds.forward},
               {"moments_rate", f->speeds.moments}, {"dgemm_rate", f->speeds.solver});
}
