/* reap bench layers: time of every linear layer at a few sizes, for reap prune --latency. */
#include <stdio.h>

#include "app/command.h"
#include "app/prune/latency_file.h"
#include "app/report.h"
#include "app/run_files.h"
#include "base/text.h"
#include "reap/error.h"
#include "reap/groups.h"
#include "reap/network.h"

static const char *const SYNOPSIS = "reap bench layers MODEL [-o L.json]";
static const char *const ABOUT =
    "Times every convolution and matrix product at several numbers of input and output channels, with the kernels\n"
    "that reap uses, and the whole network. One rank measures. The file is for reap prune --latency-table on the\n"
    "same kind of machine.\n";

static double full_ms(const reap_time_table *t) { return t->ms[t->n_in * t->n_out - 1]; }

/* Milliseconds with about half of the channels that can go. */
static double half_ms(const reap_time_table *t) {
  return reap_time_table_at(t, (t->in[t->n_in - 1] + 1) / 2, (t->out[t->n_out - 1] + 1) / 2);
}

static void print(const reap_latency *l) {
  double sum = 0;
  printf("%-44s %12s %12s\n", "layer (ms an image)", "whole", "half");
  for (int i = 0; i < l->n; i++) {
    const char *layer = l->layers[i].layer;
    reap_print(stdout, "%-*s %12.5f %12.5f\n", reap_text_width(layer, 44), layer, full_ms(&l->layers[i].table),
               half_ms(&l->layers[i].table));
    sum += full_ms(&l->layers[i].table);
  }
  printf("%-44s %12.5f\n%-44s %12.5f\n", "all layers", sum, "the network", l->whole);
}

static int measure(const command_context *context, const reap_network *network, const common_options *common,
                   const reap_progress *progress, const char *output) {
  reap_groups *groups = NULL;
  reap_latency *latency = NULL;
  int status = reap_groups_find(network->graph, &groups);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    status = reap_latency_measure(network->graph, groups, true, command_backend(common->kernels), progress, &latency);
    if (status == REAP_OK) {
      snprintf(latency->model_hash, sizeof latency->model_hash, "%s", reap_source_hash(network->source));
      cJSON *table = latency_file_make(latency);
      if (output) status = report_write(table, output);
      cJSON_Delete(table);
    }
    progress_view_finish();
    if (status == REAP_OK) print(latency);
  }
  reap_latency_destroy(&latency);
  reap_groups_destroy(&groups);
  return reap_comm_agree(context->comm, status);
}

int command_bench_layers(const command_context *context) {
  const char *model = NULL, *output = NULL;
  common_options common = COMMON_DEFAULTS;
  const option options[] = {
      {"--output", "-o", OPTION_TEXT, "L.json", "write the table (-: to standard output)", &output, 0},
      COMMON_OPTIONS(common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap bench layers", options, 1, names, .positional = &model};
  reap_network network = {0};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  REAP_TRY(command_set_up(context, &common));
  const run_file table[] = {RUN_INPUT("MODEL", model), RUN_OUTPUT("-o", output, FORM_JSON)};
  run_files files = {0};
  int status = run_files_check(context->comm, "reap bench layers", table, 2, &files);
  if (status == REAP_OK) status = reap_network_load(context->comm, model, &network);
  if (status == REAP_OK) status = run_files_check_network(context->comm, &network, "MODEL's data", &files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &files);
  if (status == REAP_OK) status = measure(context, &network, &common, progress_view_progress(), output);
  progress_view_finish();
  run_files_clear(&files);
  reap_network_clear(&network);
  return status;
}
