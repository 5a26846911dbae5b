#include "prune_report.h"

#include <math.h>

#include "prune_latency.h"
#include "prune_paths.h"
#include "prune_repair.h"
#include "report.h"

static void report_seconds(const prune_run *run, cJSON *report, double total, double writing) {
  const reap_prune_result *r = &run->result;
  cJSON *seconds = report_add_seconds(report, total);
  cJSON_AddNumberToObject(seconds, "read", r->seconds_read);
  cJSON_AddNumberToObject(seconds, "forward", r->seconds_forward);
  cJSON_AddNumberToObject(seconds, "moments", r->seconds_moments);
  cJSON_AddNumberToObject(seconds, "reduce", r->seconds_reduce);
  cJSON_AddNumberToObject(seconds, "solve", r->seconds_solve);
  cJSON_AddNumberToObject(seconds, "producers", r->seconds_producers);
  cJSON_AddNumberToObject(seconds, "held_out", r->seconds_held_out);
  cJSON_AddNumberToObject(seconds, "store", r->seconds_store);
  if (run->inputs->evaluation)
    cJSON_AddNumberToObject(seconds, "evaluate", (run->baseline ? 0 : run->before.seconds) + run->after.seconds);
  cJSON_AddNumberToObject(seconds, "write", writing);
}

static void report_options(const prune_options *o, cJSON *report) {
  cJSON *options = cJSON_AddObjectToObject(report, "options");
  cJSON_AddStringToObject(options, "method", o->method);
  cJSON_AddStringToObject(options, "refit", o->refit);
  cJSON_AddBoolToObject(options, "repair", prune_repair_wanted(o));
  cJSON_AddNumberToObject(options, "producers", prune_repair_producers(o));
  cJSON_AddStringToObject(options, "scope", o->scope);
  report_add_number(options, "keep", o->keep > 0 ? o->keep : NAN);
  report_add_number(options, "flops", o->flops > 0 ? o->flops : NAN);
  report_add_number(options, "params", o->params > 0 ? o->params : NAN);
  if (o->ridge_auto)
    cJSON_AddStringToObject(options, "ridge", "auto");
  else
    cJSON_AddNumberToObject(options, "ridge", o->ridge);
  cJSON_AddStringToObject(options, "measure", o->measure);
  report_add_number(options, "positions", o->from_stats ? NAN : (double)o->positions); /* the file's own, then */
  cJSON_AddNumberToObject(options, "seed", (double)o->seed);
}

static void report_latency(const prune_run *run, cJSON *report) {
  cJSON *latency = cJSON_AddObjectToObject(report, "latency_ms");
  report_add_number(latency, "original", run->plan.whole);
  report_add_number(latency, "predicted", run->plan.cost);
  report_add_number(latency, "measured", run->measured_ms);
}

cJSON *prune_run_report(const prune_run *run, double total, double writing) {
  const prune_options *o = run->options;
  const reap_network *network = &run->inputs->network;
  const bool evaluated = run->inputs->evaluation != NULL;
  const report_network before = {evaluated ? &run->before : NULL, reap_graph_flops(network->graph),
                                 reap_graph_params(network->graph)};
  const report_network after = {evaluated ? &run->after : NULL, reap_graph_flops(run->pruned),
                                reap_graph_params(run->pruned)};
  cJSON *report = report_create(run->context, command_backend(o->common.kernels));
  report_seconds(run, report, total, writing);
  report_add_network(report, "baseline", &before);
  report_add_network(report, "pruned", &after);
  report_add_layers(report, &run->result);
  report_add_repaired(report, &run->result);
  report_add_classifiers(report, &run->result);
  report_options(o, report);
  prune_plan_report(&run->plan, run->groups, report);
  prune_paths_report(run, report);
  if (prune_options_latency(o)) report_latency(run, report);
  report_add_input(report, "model", o->model, reap_source_hash(network->source));
  report_add_input(report, o->from_stats ? "statistics" : "calibration", prune_options_images(o),
                   run->inputs->images_hash);
  run_files_report(run->files, report);
  cJSON_AddStringToObject(report, "layer_inputs", o->from_stats ? "original" : "pruned");
  report_add_few_samples(report, &run->result);
  memory_figures_report(&run->memory, &o->memory, report);
  cJSON_AddNumberToObject(report, "peak_resident_bytes", run->memory.peak_resident);
  return report;
}
