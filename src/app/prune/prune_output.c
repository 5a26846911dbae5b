#include "prune_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/report.h"
#include "base/text.h"
#include "base/timer.h"
#include "io/model_file.h"
#include "prune/sizes/cost_model.h"
#include "prune_notes.h"
#include "prune_report.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"

static int write_model(const prune_run *p, const reap_source *source, const char *path) {
  const reap_prune_result *result = &p->info->result;
  const bool stats = p->options->settings.from_stats != NULL;
  reap_group_record *groups = NULL;
  char seed[32], ranks[32];
  snprintf(seed, sizeof seed, "%lld", (long long)p->options->seed);
  snprintf(ranks, sizeof ranks, "%d", reap_comm_size(p->context->comm));
  const reap_step_kind kind = reap_prune_count(result, REAP_STEP_CUT) > 0 ? REAP_STEP_CUT : REAP_STEP_PRUNE;
  const int count = reap_prune_count(result, kind);
  REAP_TRY(reap_calloc(&groups, count, sizeof *groups));
  for (int i = 0; i < count; i++) {
    const reap_step_record *l = reap_prune_record(result, kind, i);
    groups[i] =
        (reap_group_record){l->group, l->layer, l->channels, l->n_removed, l->removed, l->path, l->n_kept, l->kept};
  }
  const reap_provenance_entry provenance[] = {{"command", p->context->typed},
                                              {"reap_version", REAP_VERSION},
                                              {"kernels", reap_backend_name(p->options->settings.backend)},
                                              {"method", p->options->method},
                                              {"refit", p->options->refit},
                                              {"seed", seed},
                                              {"ranks", ranks},
                                              {"model", p->options->model},
                                              {"model_sha256", reap_source_hash(source)},
                                              {stats ? "statistics" : "calibration", prune_options_images(p->options)},
                                              {stats ? "statistics_sha256" : "calibration_sha256", p->info->data_hash}};
  const reap_model_record record = {count, groups, (int)(sizeof provenance / sizeof provenance[0]), provenance};
  int status = reap_model_file_write(source, &record, path);
  reap_free(&groups);
  return status;
}

/* On images held out where there are any. */
static double worst_error(const reap_step_record *l) {
  return isnan(l->held_out_error) ? l->relative_error : l->held_out_error;
}

static void print_worst(const reap_prune_result *result, reap_refit_kind refit) {
  const int count = reap_prune_count(result, REAP_STEP_PRUNE), cut = reap_prune_count(result, REAP_STEP_CUT);
  const reap_step_record *worst = reap_prune_record(result, REAP_STEP_PRUNE, 0);
  for (int i = 1; i < count; i++) {
    const reap_step_record *l = reap_prune_record(result, REAP_STEP_PRUNE, i);
    if (worst_error(l) > worst_error(worst)) worst = l;
  }
  if (cut > 0)
    reap_print(stdout, "%-16s %d %s\n", "cut", cut,
               refit ? "coupled groups, everything behind them re-solved" : "groups, nothing re-solved");
  if (!worst) return;
  reap_print(stdout, "%-16s %d groups; largest error of a layer's output %.3g", "pruned", count, worst->relative_error);
  if (!isnan(worst->held_out_error)) reap_print(stdout, " (on held-out images %.3g)", worst->held_out_error);
  reap_print(stdout, ": %s\n", worst->layer);
}

static void print_files(const prune_options *o) {
  const char *const files[] = {o->output,
                               o->onnx,
                               o->report,
                               o->settings.save_stats,
                               o->settings.activations,
                               o->save_plan,
                               o->settings.save_paths};
  bool some = false;
  for (int i = 0; i < 7; i++) some |= files[i] != NULL;
  if (!some) return;
  reap_print(stdout, "%-16s", "written");
  for (int i = 0; i < 7; i++)
    if (files[i]) reap_print(stdout, " %s", files[i]);
  reap_print(stdout, "\n");
}

int prune_output_write_models(const prune_run *p, reap_source *source, const char *output, const char *onnx) {
  REAP_TRY(reap_session_apply(p->session, source));
  REAP_TRY(prune_notes_add(p, source));
  if (output) REAP_TRY(write_model(p, source, output));
  return onnx ? reap_source_write_onnx(source, onnx) : REAP_OK;
}

static void print_time(const prune_run *p) {
  const int ranks = reap_comm_size(p->context->comm);
  reap_print(stdout, "%-16s %.1f s on %d rank%s\n", "time", reap_seconds() - p->start, ranks, ranks > 1 ? "s" : "");
}

static void print_sizes(const reap_groups *groups, const reap_size_plan *plan) {
  reap_print(stdout, "%-40s %9s %9s\n", "group", "channels", "kept");
  for (int g = 0; g < plan->n_groups; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (plan->chosen[g])
      reap_print(stdout, "%-*s %9lld %9lld %7.1f %%\n", reap_text_width(group->name, 40), group->name,
                 (long long)group->units, (long long)plan->counts[g],
                 100 * (double)plan->counts[g] / (double)group->units);
  }
  reap_print(stdout, "\n");
}

/* What is left of a cost with the plan's sizes. */
static int cost_left(const prune_run *p, bool flops, int64_t *left) {
  const reap_size_plan *plan = &p->info->plan;
  reap_cost_model *model = NULL;
  REAP_TRY((flops ? reap_cost_model_flops : reap_cost_model_params)(
      p->inputs->network.graph, reap_session_groups(p->session), plan->chosen, &model));
  *left = (int64_t)llround(reap_cost_model_at(model, plan->counts));
  reap_cost_model_destroy(&model);
  return REAP_OK;
}

int prune_output_sizes(const prune_run *p) {
  const prune_options *o = p->options;
  const reap_graph *graph = p->inputs->network.graph;
  const reap_size_plan *plan = &p->info->plan;
  const report_network before = {NULL, reap_graph_flops(graph), reap_graph_params(graph), "original"};
  report_network after = {.name = "planned"};
  REAP_TRY(cost_left(p, true, &after.flops));
  REAP_TRY(cost_left(p, false, &after.params));
  if (o->save_plan) REAP_TRY(prune_run_save_plan(p));
  print_sizes(reap_session_groups(p->session), plan);
  report_print(&before, &after, o->settings.measure);
  if (prune_options_latency(o))
    reap_print(stdout, "%-16s %9.4f ms %9.4f ms %6.1f %% of it (predicted)\n", "time of an image", plan->whole,
               plan->cost, 100 * plan->cost / plan->whole);
  print_files(o);
  print_time(p);
  return REAP_OK;
}

static int write_report(const prune_run *p, double total, double writing) {
  cJSON *report = NULL;
  int status = prune_run_report(p, total, writing, &report);
  if (status == REAP_OK) status = report_write(report, p->options->report);
  cJSON_Delete(report);
  return status;
}

int prune_output_write(const prune_run *p) {
  double writing = reap_seconds();
  const prune_options *o = p->options;
  const reap_session_info *info = p->info;
  REAP_TRY(prune_output_write_models(p, p->inputs->network.source, o->output, o->onnx));
  if (o->save_plan) REAP_TRY(prune_run_save_plan(p));
  double now = reap_seconds();
  if (o->report) REAP_TRY(write_report(p, now - p->start, now - writing));
  progress_view_finish();
  prune_run_print(p);
  if (prune_options_latency(o))
    reap_print(stdout, "%-16s %9.4f ms %9.4f ms %6.1f %% of it (predicted %.4f ms)\n", "time of an image",
               info->plan.whole, info->measured_ms, 100 * info->measured_ms / info->plan.whole, info->plan.cost);
  print_worst(&info->result, o->settings.refit);
  print_files(o);
  memory_figures_print(&p->memory, &o->memory);
  print_time(p);
  return REAP_OK;
}
