#include "prune_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/timer.h"
#include "io/model_file.h"
#include "model/groups/surgery.h"
#include "prune_report.h"
#include "reap/edits.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/version.h"
#include "report.h"

static int write_model(const prune_run *p) {
  const reap_prune_result *result = &p->result;
  const reap_network *network = &p->inputs->network;
  reap_group_record *groups = NULL;
  char seed[32], ranks[32];
  snprintf(seed, sizeof seed, "%lld", (long long)p->options->seed);
  snprintf(ranks, sizeof ranks, "%d", reap_comm_size(p->context->comm));
  REAP_TRY(reap_calloc(&groups, result->n_layers, sizeof *groups));
  for (int i = 0; i < result->n_layers; i++) {
    const reap_layer_result *l = &result->layers[i];
    groups[i] =
        (reap_group_record){l->group, l->layer, l->channels, l->n_removed, l->removed, l->path, l->n_kept, l->kept};
  }
  const reap_provenance_entry provenance[] = {
      {"command", p->context->typed},
      {"reap_version", REAP_VERSION},
      {"kernels", reap_backend_name(command_backend(p->options->common.kernels))},
      {"method", p->options->method},
      {"refit", p->options->refit},
      {"seed", seed},
      {"ranks", ranks},
      {"model", p->options->model},
      {"model_sha256", reap_source_hash(network->source)},
      {p->options->from_stats ? "statistics" : "calibration", prune_options_images(p->options)},
      {p->options->from_stats ? "statistics_sha256" : "calibration_sha256", p->inputs->images_hash}};
  const reap_model_record record = {result->n_layers, groups, (int)(sizeof provenance / sizeof provenance[0]),
                                    provenance};
  int status = reap_model_file_write(network->source, &record, p->options->output);
  reap_free(&groups);
  return status;
}

/* On images held out where there are any. */
static double worst_error(const reap_layer_result *l) {
  return isnan(l->held_out_error) ? l->relative_error : l->held_out_error;
}

static void print_worst(const reap_prune_result *result) {
  const reap_layer_result *worst = NULL;
  for (int i = 0; i < result->n_layers; i++)
    if (!worst || worst_error(&result->layers[i]) > worst_error(worst)) worst = &result->layers[i];
  if (!worst) return;
  reap_print(stdout, "%-16s %lld groups; largest error of a layer's output %.3g", "pruned", (long long)result->n_layers,
             worst->relative_error);
  if (!isnan(worst->held_out_error)) reap_print(stdout, " (on held-out images %.3g)", worst->held_out_error);
  reap_print(stdout, ": %s\n", worst->layer);
}

static void print_files(const prune_options *o) {
  const char *const files[] = {o->output,      o->onnx,      o->report,    o->save_stats,
                               o->activations, o->save_plan, o->save_paths};
  reap_print(stdout, "%-16s", "written");
  for (int i = 0; i < 7; i++)
    if (files[i]) reap_print(stdout, " %s", files[i]);
  reap_print(stdout, "\n");
}

int prune_output_write_models(const prune_run *p) {
  reap_edits edits = {0};
  int status = reap_surgery_edits(p->pruned, &edits);
  if (status == REAP_OK) status = reap_source_apply(p->inputs->network.source, &edits);
  reap_edits_clear(&edits);
  if (status == REAP_OK && p->options->output) status = write_model(p);
  if (status == REAP_OK && p->options->save_plan) status = prune_plan_save(&p->plan, p->groups, p->options->save_plan);
  if (status == REAP_OK && p->options->onnx)
    status = reap_source_write_onnx(p->inputs->network.source, p->options->onnx);
  return status;
}

static int write_report(const prune_run *p, double total, double writing) {
  cJSON *report = prune_run_report(p, total, writing);
  int status = report_write(report, p->options->report);
  cJSON_Delete(report);
  return status;
}

static void print_networks(const prune_run *p) {
  const bool evaluated = p->inputs->evaluation != NULL;
  const reap_graph *original = p->inputs->network.graph;
  const report_network before = {evaluated ? &p->before : NULL, reap_graph_flops(original),
                                 reap_graph_params(original)};
  const report_network after = {evaluated ? &p->after : NULL, reap_graph_flops(p->pruned),
                                reap_graph_params(p->pruned)};
  report_print(&before, &after, prune_options_measure(p->options));
}

int prune_output_write(const prune_run *p, double start) {
  double writing = reap_seconds();
  REAP_TRY(prune_output_write_models(p));
  double now = reap_seconds();
  if (p->options->report) REAP_TRY(write_report(p, now - start, now - writing));
  print_networks(p);
  if (prune_options_latency(p->options))
    reap_print(stdout, "%-16s %9.4f ms %9.4f ms %6.1f %% of it (predicted %.4f ms)\n", "time of an image",
               p->plan.whole, p->measured_ms, 100 * p->measured_ms / p->plan.whole, p->plan.cost);
  print_worst(&p->result);
  print_files(p->options);
  memory_figures_print(&p->memory, &p->options->memory);
  const int ranks = reap_comm_size(p->context->comm);
  reap_print(stdout, "%-16s %.1f s on %d rank%s\n", "time", reap_seconds() - start, ranks, ranks > 1 ? "s" : "");
  return REAP_OK;
}
