#include "prune_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reap/edits.h"
#include "reap/error.h"
#include "reap/hash.h"
#include "reap/memory.h"
#include "reap/model_file.h"
#include "reap/surgery.h"
#include "reap/timer.h"
#include "reap/version.h"

/* What the run knew of images: the data set, or the moments of one. */
static const char *images_of(const prune_options *o) { return o->from_stats ? o->from_stats : o->calibration; }

static int write_model(const prune_output *p, const char *calibration_hash) {
  const reap_prune_result *result = p->result;
  reap_group_record *groups = NULL;
  char seed[32], ranks[32];
  snprintf(seed, sizeof seed, "%lld", (long long)p->options->seed);
  snprintf(ranks, sizeof ranks, "%d", reap_comm_size(p->context->comm));
  REAP_TRY(reap_calloc(&groups, result->n_layers, sizeof *groups));
  for (int i = 0; i < result->n_layers; i++) {
    const reap_layer_result *l = &result->layers[i];
    groups[i] = (reap_group_record){l->group, l->layer, l->channels, l->n_removed, l->removed, l->path, l->n_kept, l->kept};
  }
  const reap_provenance_entry provenance[] = {{"command", p->context->typed},
                                              {"reap_version", REAP_VERSION},
                                              {"kernels", reap_backend_name(command_backend(p->options->common.kernels))},
                                              {"method", p->options->method},
                                              {"refit", p->options->refit},
                                              {"seed", seed},
                                              {"ranks", ranks},
                                              {"model", p->options->model},
                                              {"model_sha256", reap_source_hash(p->network->source)},
                                              {p->options->from_stats ? "statistics" : "calibration", images_of(p->options)},
                                              {p->options->from_stats ? "statistics_sha256" : "calibration_sha256", calibration_hash}};
  const reap_model_record record = {result->n_layers, groups, (int)(sizeof provenance / sizeof provenance[0]), provenance};
  int status = reap_model_file_write(p->network->source, &record, p->options->output);
  reap_free(&groups);
  return status;
}

static int write_report(const prune_output *p, const char *calibration_hash, double total, double writing) {
  const prune_options *o = p->options;
  const reap_prune_result *r = p->result;
  cJSON *report = report_create(p->context, command_backend(o->common.kernels));
  cJSON *seconds = report_add_seconds(report, total);
  cJSON_AddNumberToObject(seconds, "read", r->seconds_read);
  cJSON_AddNumberToObject(seconds, "forward", r->seconds_forward);
  cJSON_AddNumberToObject(seconds, "moments", r->seconds_moments);
  cJSON_AddNumberToObject(seconds, "reduce", r->seconds_reduce);
  cJSON_AddNumberToObject(seconds, "solve", r->seconds_solve);
  cJSON_AddNumberToObject(seconds, "held_out", r->seconds_held_out);
  cJSON_AddNumberToObject(seconds, "store", r->seconds_store);
  if (p->original_figures.evaluation)
    cJSON_AddNumberToObject(seconds, "evaluate",
                            p->original_figures.evaluation->seconds + p->pruned_figures.evaluation->seconds);
  cJSON_AddNumberToObject(seconds, "write", writing);
  report_add_network(report, "baseline", &p->original_figures);
  report_add_network(report, "pruned", &p->pruned_figures);
  report_add_layers(report, r, "local");
  cJSON *options = cJSON_AddObjectToObject(report, "options");
  cJSON_AddStringToObject(options, "method", o->method);
  cJSON_AddStringToObject(options, "refit", o->refit);
  cJSON_AddStringToObject(options, "scope", o->scope);
  report_add_number(options, "keep", o->keep > 0 ? o->keep : NAN);
  report_add_number(options, "flops", o->flops > 0 ? o->flops : NAN);
  if (o->ridge_auto)
    cJSON_AddStringToObject(options, "ridge", "auto");
  else
    cJSON_AddNumberToObject(options, "ridge", o->ridge);
  report_add_number(options, "positions", o->from_stats ? NAN : (double)o->positions); /* the file's own, then */
  cJSON_AddNumberToObject(options, "seed", (double)o->seed);
  report_add_input(report, "model", o->model, reap_source_hash(p->network->source));
  report_add_input(report, o->from_stats ? "statistics" : "calibration", images_of(o), calibration_hash);
  cJSON_AddStringToObject(report, "layer_inputs", o->from_stats ? "original" : "pruned");
  report_add_few_samples(report, r);
  cJSON_AddNumberToObject(report, "peak_resident_bytes", (double)reap_memory_peak_resident());
  int status = report_write(report, o->report);
  cJSON_Delete(report);
  return status;
}

/* On images held out where there are any. */
static double worst_error(const reap_layer_result *l) { return isnan(l->held_out_error) ? l->relative_error : l->held_out_error; }

static void print_worst(const reap_prune_result *result) {
  const reap_layer_result *worst = NULL;
  for (int i = 0; i < result->n_layers; i++)
    if (!worst || worst_error(&result->layers[i]) > worst_error(worst)) worst = &result->layers[i];
  if (!worst) return;
  printf("%-16s %lld groups; largest error of a layer's output %.3g", "pruned", (long long)result->n_layers, worst->relative_error);
  if (!isnan(worst->held_out_error)) printf(" (on held-out images %.3g)", worst->held_out_error);
  printf(": %s\n", worst->layer);
}

static void print_files(const prune_options *o) {
  const char *const files[] = {o->output, o->onnx, o->report, o->save_stats, o->activations};
  printf("%-16s", "written");
  for (int i = 0; i < 5; i++)
    if (files[i]) printf(" %s", files[i]);
  printf("\n");
}

int prune_output_write(const prune_output *p, double start) {
  reap_edits edits = {0};
  char hash[REAP_HASH_LENGTH];
  double writing = reap_seconds();
  REAP_TRY(reap_hash_file(images_of(p->options), hash));
  int status = reap_surgery_edits(p->pruned, &edits);
  if (status == REAP_OK) status = reap_source_apply(p->network->source, &edits);
  reap_edits_clear(&edits);
  if (status == REAP_OK) status = write_model(p, hash);
  if (status == REAP_OK && p->options->onnx) status = reap_source_write_onnx(p->network->source, p->options->onnx);
  double now = reap_seconds();
  if (status == REAP_OK && p->options->report) status = write_report(p, hash, now - start, now - writing);
  if (status != REAP_OK) return status;
  report_print(&p->original_figures, &p->pruned_figures);
  print_worst(p->result);
  print_files(p->options);
  const int ranks = reap_comm_size(p->context->comm);
  printf("%-16s %.1f s on %d rank%s\n", "time", reap_seconds() - start, ranks, ranks > 1 ? "s" : "");
  return REAP_OK;
}
