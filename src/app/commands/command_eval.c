/* reap eval: accuracy, loss, speed and stored outputs of a network. */
#include <string.h>

#include "app/command.h"
#include "app/image_range.h"
#include "app/report.h"
#include "app/run_files.h"
#include "base/hash.h"
#include "base/progress_span.h"
#include "base/text.h"
#include "base/timer.h"
#include "exec/evaluate.h"
#include "reap/error.h"
#include "reap/network.h"

static const char *const SYNOPSIS = "reap eval MODEL --data D.h5 [options]";
static const char *const ABOUT =
    "Runs a network over a data set and prints top-1, top-5, loss and images per second. With --against, compares\n"
    "its outputs with another network's. MODEL is an .onnx file or a pruned model that reap wrote (.h5). The data\n"
    "set is HDF5, see datasets/README.md.\n";

typedef struct eval_options {
  const char *model, *data, *against, *outputs, *report;
  const char *measure, *output_kind;
  int64_t images;
  common_options common;
} eval_options;

typedef struct job {
  const command_context *context;
  const eval_options *options;
  reap_network network, original; /* original: empty without --against */
  reap_dataset *data;
  run_files files;
  char data_hash[REAP_HASH_LENGTH]; /* for the report */
  reap_evaluation figures, original_figures;
  double start, seconds_load, seconds_evaluate; /* start: of reap_seconds() */
} job;

/* Local. */
static int open_data(job *j) {
  const eval_options *o = j->options;
  REAP_TRY(reap_dataset_open(o->data, &j->data));
  REAP_TRY(reap_network_check_images(&j->network, j->data));
  if (!o->against) return reap_network_set_output_kinds(&j->network, o->output_kind);
  REAP_TRY(reap_network_check_images(&j->original, j->data));
  const int64_t a = j->network.graph->batch, b = j->original.graph->batch, least = a < b ? a : b;
  REAP_TRY(reap_network_set_batch(&j->network, least));
  REAP_TRY(reap_network_set_batch(&j->original, least));
  REAP_TRY(reap_network_set_output_kinds(&j->network, o->output_kind));
  return reap_network_set_output_kinds(&j->original, o->output_kind);
}

static int evaluate(job *j) {
  const eval_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  reap_outputs_file *outputs = NULL;
  reap_reference *reference = NULL;
  int status = REAP_OK;
  const reap_shard shard = reap_shard_of(comm, j->data, o->images, j->network.graph->batch);
  reap_shard_warn_idle(comm, shard.blocks);
  const double work = (double)reap_graph_flops(j->network.graph);
  const double before = o->against ? (double)reap_graph_flops(j->original.graph) : 0;
  reap_progress_span span;
  reap_evaluate_options e = {.backend = command_backend(o->common.kernels),
                             .progress = &span.inner,
                             .measure = (reap_measure)option_index(MEASURES, o->measure)};
  if (o->against) {
    e.keep = &reference;
    e.label = o->against;
    reap_progress_span_begin(&span, progress_view_progress(), "evaluate", 0, before, before + work);
    REAP_TRY(reap_evaluate_with(comm, j->original.graph, j->data, &shard, &e, &j->original_figures));
    e.keep = NULL;
    e.against = reference;
  }
  if (o->outputs)
    REAP_TRY_OR(reap_evaluate_create_file(comm, j->network.graph, o->outputs, shard.images, &outputs), done);
  e.outputs = outputs;
  e.label = o->data;
  reap_progress_span_begin(&span, progress_view_progress(), "evaluate", before, work, before + work);
  status = reap_evaluate_with(comm, j->network.graph, j->data, &shard, &e, &j->figures);
  if (status == REAP_OK && outputs) status = reap_outputs_file_commit(&outputs);
  reap_outputs_file_destroy(&outputs);
done:
  reap_reference_destroy(&reference);
  return status;
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

/* Under the file's name, or the path where the names of both are the same. */
static report_network figures_of(const job *j, bool original) {
  const eval_options *o = j->options;
  const reap_graph *graph = original ? j->original.graph : j->network.graph;
  const char *path = original ? o->against : o->model;
  const bool same = o->against && strcmp(file_name(o->model), file_name(o->against)) == 0;
  return (report_network){original ? &j->original_figures : &j->figures, reap_graph_flops(graph),
                          reap_graph_params(graph), same ? path : file_name(path)};
}

/* With --against the networks are called as reap prune calls them. */
static int write_report(const job *j) {
  const eval_options *o = j->options;
  const report_network first = figures_of(j, false);
  cJSON *report = report_create(j->context, "reap-eval", command_backend(o->common.kernels));
  report_add_seconds(report, reap_seconds() - j->start,
                     (const json_number[]){{"load", j->seconds_load}, {"evaluate", j->seconds_evaluate}, {NULL, 0}});
  if (o->against) {
    const report_network original = figures_of(j, true);
    report_add_network(report, "baseline", &original);
    cJSON_AddStringToObject(report, "measure", o->measure);
    report_add_input(report, "against", o->against, reap_source_hash(j->original.source));
  }
  report_add_network(report, o->against ? "pruned" : "baseline", &first);
  report_add_input(report, "model", o->model, reap_source_hash(j->network.source));
  report_add_input(report, "data", o->data, j->data_hash);
  run_files_report(&j->files, report);
  int status = report_write(report, o->report);
  cJSON_Delete(report);
  return status;
}

static int show(const job *j) {
  const report_network figures = figures_of(j, false);
  if (j->options->against) {
    const report_network original = figures_of(j, true);
    report_print(&original, &figures, (reap_measure)option_index(MEASURES, j->options->measure));
  } else {
    report_print(&figures, NULL, REAP_MEASURE_LARGEST);
  }
  reap_print(stdout, "%-16s %12lld in %.2f s (%.0f a second)\n", "images", (long long)j->figures.images,
             j->figures.seconds, (double)j->figures.images / j->figures.seconds);
  return j->options->report ? write_report(j) : REAP_OK;
}

static int check_files(job *j) {
  const eval_options *o = j->options;
  const run_file files[] = {RUN_INPUT("MODEL", o->model), RUN_INPUT("--data", o->data),
                            RUN_INPUT("--against", o->against), RUN_OUTPUT("--outputs", o->outputs, FORM_HDF5),
                            RUN_OUTPUT("--report", o->report, FORM_JSON)};
  return run_files_check(j->context->comm, "reap eval", files, 5, &j->files);
}

static int load_networks(job *j) {
  const eval_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  REAP_TRY(reap_network_load_for(comm, o->model, o->data, &j->network));
  REAP_TRY(run_files_check_network(comm, &j->network, "MODEL's data", &j->files));
  if (o->against) {
    REAP_TRY(reap_network_load_for(comm, o->against, o->data, &j->original));
    REAP_TRY(run_files_check_network(comm, &j->original, "--against's data", &j->files));
  }
  return run_files_announce(comm, &j->files);
}

static int run(const command_context *context, const eval_options *o) {
  job j = {.context = context, .options = o, .start = reap_seconds()};
  int status = REAP_OK;
  REAP_TRY(command_set_up(context, &o->common));
  REAP_TRY_OR(check_files(&j), done);
  REAP_TRY_OR(load_networks(&j), done);
  if (o->report) REAP_TRY_OR(run_files_hash(context->comm, o->data, j.data_hash), done);
  REAP_TRY_OR(reap_comm_agree(context->comm, open_data(&j)), done);
  j.seconds_load = reap_seconds() - j.start;
  status = evaluate(&j);
  j.seconds_evaluate = reap_seconds() - j.start - j.seconds_load;
  progress_view_finish();
  if (status == REAP_OK) status = image_range_warn(context->comm, j.data);
  if (status == REAP_OK && !o->against) image_range_warn_original(&j.figures, j.data);
  if (status == REAP_OK) image_range_warn_figures(&j.figures, o->data);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) status = show(&j);
  status = reap_comm_agree(context->comm, status);
  run_files_warn(&j.files);
done:
  run_files_clear(&j.files);
  reap_evaluation_clear(&j.figures);
  reap_dataset_close(&j.data);
  reap_network_clear(&j.original);
  reap_network_clear(&j.network);
  return status;
}

int command_eval(const command_context *context) {
  eval_options o = {.measure = "largest", .common = COMMON_DEFAULTS};
  const option options[] = {
      {"--data", NULL, OPTION_TEXT, "D.h5", "images (and labels) to run; required", &o.data, 0},
      {"--images", NULL, OPTION_INT, "N", "only the first N images", &o.images, 1},
      {"--against", NULL, OPTION_TEXT, "ORIGINAL",
       "compare outputs with this network's: KL divergence of the soft-max,\n"
       "squared error of outputs that are not a classifier's",
       &o.against, 0},
      {"--measure", NULL, OPTION_CHOICE, MEASURES,
       "with --against and several outputs: the largest share lost, or the sum\n"
       "of shares (default largest)",
       &o.measure, 0},
      OUTPUT_KIND_OPTION(o.output_kind),
      {"--outputs", NULL, OPTION_TEXT, "O.h5",
       "store the network's outputs: `outputs` [N, ...], and if there are\n"
       "several the others as `outputs_1`, `outputs_2`, ...",
       &o.outputs, 0},
      {"--report", NULL, OPTION_TEXT, "R.json", "write the figures as JSON (-: to standard output)", &o.report, 0},
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap eval", options, 1, names, .positional = &o.model};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (!o.data) return reap_error(REAP_ERR_USAGE, "reap eval: --data is missing");
  return run(context, &o);
}
