/* reap eval: accuracy, loss, speed and stored outputs of a network. */
#include <string.h>

#include "command.h"
#include "reap/error.h"
#include "reap/evaluate.h"
#include "reap/hash.h"
#include "reap/network.h"
#include "reap/timer.h"
#include "report.h"

static const char *const SYNOPSIS = "reap eval MODEL --data D.h5 [options]";
static const char *const ABOUT =
    "Runs a network over a data set: top-1, top-5, loss and images per second.\n"
    "MODEL is an .onnx file or a pruned model that reap wrote (.h5). The data set is HDF5, see datasets/README.md.\n";

typedef struct eval_options {
  const char *model, *data, *outputs, *report;
  int64_t images;
  common_options common;
} eval_options;

static int evaluate(const command_context *context, const eval_options *o, const reap_network *network,
                    reap_dataset *data, progress_view *view, reap_evaluation *evaluation) {
  reap_outputs_file *outputs = NULL;
  int64_t images, c, h, w, dims[REAP_MAX_RANK];
  int rank;
  reap_dataset_shape(data, &images, &c, &h, &w);
  if (o->images > 0 && o->images < images) images = o->images;
  reap_shard shard = reap_shard_make(images, network->graph->batch, reap_comm_rank(context->comm), reap_comm_size(context->comm));
  command_warn_idle(context->comm, shard.blocks);
  reap_evaluate_output_shape(network->graph, &rank, dims);
  if (o->outputs) REAP_TRY(reap_outputs_file_create(context->comm, o->outputs, images, rank, dims, &outputs));
  int status = reap_evaluate(context->comm, network->graph, data, &shard, command_backend(o->common.kernels), outputs,
                             &view->callback, o->data, evaluation);
  if (status == REAP_OK && outputs) status = reap_outputs_file_commit(&outputs);
  reap_outputs_file_destroy(&outputs);
  return status;
}

static int write_report(const command_context *context, const eval_options *o, const reap_network *network,
                        const report_network *figures, double total) {
  char hash[REAP_HASH_LENGTH];
  REAP_TRY(reap_hash_file(o->data, hash));
  cJSON *report = report_create(context, command_backend(o->common.kernels));
  cJSON *seconds = report_add_seconds(report, total);
  cJSON_AddNumberToObject(seconds, "evaluate", figures->evaluation->seconds);
  cJSON_AddNumberToObject(seconds, "forward", figures->evaluation->seconds_forward);
  report_add_network(report, "baseline", figures);
  report_add_input(report, "model", o->model, reap_source_hash(network->source));
  report_add_input(report, "data", o->data, hash);
  int status = report_write(report, o->report);
  cJSON_Delete(report);
  return status;
}

static int run(const command_context *context, const eval_options *o) {
  double start = reap_seconds();
  progress_view view;
  reap_network network = {0};
  reap_dataset *data = NULL;
  reap_evaluation evaluation;
  int status = REAP_OK;
  command_set_up(context, &o->common, &view);
  const char *const outputs[] = {o->outputs, o->report};
  REAP_TRY_OR(command_check_writable(context->comm, outputs, 2), done);
  REAP_TRY_OR(reap_network_load(context->comm, o->model, &network), done);
  status = reap_dataset_open(o->data, &data);
  if (status == REAP_OK) status = reap_network_check_images(&network, data);
  REAP_TRY_OR(reap_comm_agree(context->comm, status), done);
  status = evaluate(context, o, &network, data, &view, &evaluation);
  progress_view_finish(&view);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    report_network figures = {&evaluation, reap_graph_flops(network.graph), reap_graph_params(network.graph)};
    report_print(&figures, NULL);
    printf("%-16s %12lld in %.2f s (%.0f a second)\n", "images", (long long)evaluation.images, evaluation.seconds,
           (double)evaluation.images / evaluation.seconds);
    if (o->report) status = write_report(context, o, &network, &figures, reap_seconds() - start);
  }
  status = reap_comm_agree(context->comm, status);
done:
  reap_dataset_close(&data);
  reap_network_clear(&network);
  return status;
}

int command_eval(const command_context *context) {
  eval_options o = {.common = COMMON_DEFAULTS};
  const option options[] = {{"--data", NULL, OPTION_TEXT, "D.h5", "images (and labels) to run; required", &o.data, 0},
                            {"--images", NULL, OPTION_INT, "N", "only the first N images", &o.images, 1},
                            {"--outputs", NULL, OPTION_TEXT, "O.h5", "store the network's outputs, `outputs` [N, ...]", &o.outputs, 0},
                            {"--report", NULL, OPTION_TEXT, "R.json", "write the figures as JSON", &o.report, 0},
                            COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap eval", options, 1, names, &o.model, false};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (!o.data) return reap_error(REAP_ERR_USAGE, "reap eval: --data is missing");
  return run(context, &o);
}
