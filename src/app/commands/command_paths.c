/* reap paths: what every group would lose at every size, and how far the network's output moves. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/image_range.h"
#include "app/memory_check.h"
#include "app/memory_options.h"
#include "app/prune_options.h"
#include "app/prune_repair.h"
#include "app/prune_stored.h"
#include "app/run_files.h"
#include "base/text.h"
#include "base/timer.h"
#include "io/paths_file.h"
#include "prune/estimate/footprint.h"
#include "prune/sensitivity/joint.h"
#include "prune/sensitivity/paths.h"
#include "reap/error.h"
#include "reap/hash.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/network.h"

static const char *const SYNOPSIS =
    "reap paths MODEL --calib D.h5 -o P.h5 [options]\n"
    "       reap paths MODEL --from-stats S.h5 [--calib D.h5] -o P.h5 [options]";
static const char *const ABOUT =
    "Follows every prunable group down to its last channel in one pass over the original network: the order in which\n"
    "channels go and the error of the layer that reads them. Then prunes each group alone to a few sizes and measures, "
    "on\n"
    "calibration images held out (index 9 modulo 10), how far the network's outputs move: KL divergence of the "
    "soft-max for\n"
    "classifiers, relative squared error otherwise; each relative to how much it varies over the images where there "
    "are\n"
    "several outputs. Last, a few trials tell how the losses of groups pruned together go with these. Labels are not "
    "used.\n"
    "The file is used to distribute a budget over the groups; the result does not depend on the number of ranks.\n";

typedef struct paths_options {
  const char *model, *calibration, *from_stats, *output, *solver, *positions_text, *measure;
  int64_t images, positions, seed, sizes, measured, min_keep;
  double ridge;
  memory_options memory;
  common_options common;
} paths_options;

typedef struct job {
  const command_context *context;
  const paths_options *options;
  progress_view *view;
  reap_network network;
  reap_groups *groups;
  reap_dataset *images; /* NULL without --calib */
  reap_shard shard;
  prune_stored stored; /* --from-stats */
  run_files files;
  char data_hash[REAP_HASH_LENGTH];
  reap_group_paths *paths;
  reap_paths_times times;
} job;

/* Local: everything that can be found wrong before work starts. */
static int prepare(job *j) {
  const paths_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  int64_t images, c, h, w;
  REAP_TRY(reap_groups_find(j->network.graph, &j->groups));
  if (!o->calibration) return REAP_OK;
  REAP_TRY(reap_dataset_open(o->calibration, &j->images));
  REAP_TRY(reap_network_check_images(&j->network, j->images));
  reap_dataset_shape(j->images, &images, &c, &h, &w);
  if (o->images > 0 && o->images < images) images = o->images;
  j->shard = reap_shard_make(images, j->network.graph->batch, reap_comm_rank(comm), reap_comm_size(comm));
  return REAP_OK;
}

static reap_paths_options paths_options_of(const job *j) {
  const paths_options *o = j->options;
  return (reap_paths_options){.min_keep = o->min_keep,
                              .sizes = (int)o->sizes,
                              .measured_images = o->measured,
                              .measure = reap_measure_named(o->measure),
                              .sampling = {o->positions, (uint64_t)o->seed},
                              .ridge = o->ridge,
                              .solver = reap_solver_named(o->solver),
                              .backend = command_backend(o->common.kernels),
                              .memory = o->memory.bytes,
                              .scratch = o->memory.folder,
                              .from_stats = j->stored.from,
                              .progress = &j->view->callback};
}

/* Collective. */
static int check_memory(const job *j) {
  const reap_comm *comm = j->context->comm;
  const reap_paths_options options = paths_options_of(j);
  reap_footprint expected;
  REAP_TRY(memory_options_check(comm, &j->options->memory));
  REAP_TRY(reap_paths_footprint(comm, j->network.graph, j->groups, j->shard.images, &options, &expected));
  return memory_check(
      comm, &expected, j->options->memory.bytes,
      "spread it over the ranks (--solver scalapack), measure fewer sizes (--sizes), put fewer ranks on a node, or "
      "take nodes with more memory");
}

/* Collective. The file has to be of this network. */
static int open_stats(job *j) {
  prune_options o = PRUNE_DEFAULTS("reap paths");
  o.model = j->options->model;
  o.from_stats = j->options->from_stats;
  return prune_stored_open(j->context, &o, &j->network, j->groups, NULL, 0, j->data_hash, &j->stored);
}

static int collect(job *j) {
  const paths_options *o = j->options;
  const reap_paths_options options = paths_options_of(j);
  if (j->images && !o->from_stats) command_warn_idle(j->context->comm, j->shard.blocks);
  REAP_TRY(reap_paths_collect(j->context->comm, j->network.graph, j->groups, j->images, j->images ? &j->shard : NULL,
                              &options, &j->times, &j->paths));
  snprintf(j->paths->model_hash, sizeof j->paths->model_hash, "%s", reap_source_hash(j->network.source));
  snprintf(j->paths->calibration_hash, sizeof j->paths->calibration_hash, "%s", j->data_hash);
  if (j->paths->measured_images == 0 && o->sizes > 0 && o->measured > 0)
    reap_log(REAP_LOG_WARNING, "%s: how far the output moves is not measured",
             j->images ? "of fewer than 10 images none is held out" : "without --calib there are no images");
  return REAP_OK;
}

/* How losses of groups pruned together go with these: trials as reap prune would run them. Collective. */
static int fit_joint(job *j) {
  const paths_options *o = j->options;
  const int groups = reap_groups_count(j->groups);
  prune_options defaults = PRUNE_DEFAULTS("reap paths");
  reap_joint_trial trials[REAP_JOINT_TRIALS];
  bool *chosen = NULL, *repair = NULL;
  if (!j->images) return REAP_OK;
  defaults.model = o->model;
  int status = reap_calloc(&chosen, groups, sizeof *chosen);
  for (int g = 0; status == REAP_OK && g < groups; g++) chosen[g] = reap_groups_at(j->groups, g)->prunable;
  if (status == REAP_OK) status = prune_repair_layers(&defaults, j->network.graph, &repair);
  status = reap_comm_agree(j->context->comm, status);
  const reap_prune_options options = {.chosen = chosen,
                                      .repair = repair,
                                      .classifier = prune_repair_classifier(&defaults, j->network.graph, j->images),
                                      .positions = o->positions,
                                      .solver = reap_solver_named(o->solver),
                                      .ridge = o->ridge,
                                      .backend = command_backend(o->common.kernels),
                                      .memory = o->memory.bytes,
                                      .scratch = o->memory.folder,
                                      .measure = reap_measure_named(o->measure),
                                      .progress = &j->view->callback};
  if (status == REAP_OK)
    status =
        reap_joint_fit(j->context->comm, j->network.graph, j->groups, j->images, &j->shard, &options, j->paths, trials);
  reap_free(&chosen);
  reap_free(&repair);
  return status;
}

static void print_paths(const job *j) {
  const reap_group_paths *paths = j->paths;
  static const char *const heads[] = {"  output error", "  KL of output", " largest share", " sum of shares"};
  const bool measured = paths->measured_images > 0;
  reap_print(stdout, "%-40s %9s %9s %14s%s\n", "group", "channels", "half", "layer's error",
             measured ? heads[paths->measure] : "");
  for (int i = 0; i < paths->n; i++) {
    const reap_group_path *p = &paths->paths[i];
    int64_t half = (p->channels + 1) / 2;
    if (half < reap_group_path_least(p)) half = reap_group_path_least(p);
    reap_print(stdout, "%-40s %9lld %9lld %14.4g", p->group, (long long)p->channels, (long long)half,
               reap_group_path_error(p, half));
    if (measured) reap_print(stdout, " %13.4g", reap_group_path_moved(p, half));
    reap_print(stdout, "\n");
  }
  reap_print(stdout, "%-16s %d groups, %lld images, output measured on %lld held out\n", "paths", paths->n,
             (long long)paths->images, (long long)paths->measured_images);
}

static int finish(const job *j, double start) {
  const paths_options *o = j->options;
  const reap_paths_times *t = &j->times;
  const int ranks = reap_comm_size(j->context->comm);
  if (reap_comm_rank(j->context->comm) != 0) return REAP_OK;
  REAP_TRY(reap_paths_file_write(o->output, j->paths));
  print_paths(j);
  reap_print(stdout, "%-16s %s\n", "written", o->output);
  reap_print(stdout, "%-16s %.1f s on %d rank%s (read %.1f, forward %.1f, moments %.1f, solve %.1f, output %.1f)\n",
             "time", reap_seconds() - start, ranks, ranks > 1 ? "s" : "", t->read, t->forward, t->moments, t->solve,
             t->measure);
  return REAP_OK;
}

static int run(const command_context *context, const paths_options *o) {
  const double start = reap_seconds();
  progress_view view;
  job j = {.context = context, .options = o, .view = &view};
  const run_file table[] = {RUN_INPUT("MODEL", o->model), RUN_INPUT("--calib", o->calibration),
                            RUN_INPUT("--from-stats", o->from_stats), RUN_OUTPUT("-o", o->output, FORM_HDF5)};
  REAP_TRY(command_set_up(context, &o->common, &view));
  int status = run_files_check(context->comm, "reap paths", table, 4, &j.files);
  if (status == REAP_OK) status = reap_network_load(context->comm, o->model, &j.network);
  if (status == REAP_OK) status = run_files_check_network(context->comm, &j.network, "MODEL's data", &j.files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &j.files);
  if (status == REAP_OK)
    status = run_files_hash(context->comm, o->from_stats ? o->from_stats : o->calibration, j.data_hash);
  if (status == REAP_OK) status = reap_comm_agree(context->comm, prepare(&j));
  if (status == REAP_OK) status = check_memory(&j);
  if (status == REAP_OK) status = open_stats(&j);
  if (status == REAP_OK) status = collect(&j);
  if (status == REAP_OK) status = fit_joint(&j);
  if (status == REAP_OK) status = image_range_warn(context->comm, j.images);
  progress_view_finish(&view);
  if (status == REAP_OK) status = reap_comm_agree(context->comm, finish(&j, start));
  run_files_warn(&j.files);
  run_files_clear(&j.files);
  reap_group_paths_destroy(&j.paths);
  prune_stored_close(&j.stored);
  reap_dataset_close(&j.images);
  reap_groups_destroy(&j.groups);
  reap_network_clear(&j.network);
  return status;
}

static int check(const paths_options *o) {
  if (!o->output) return reap_error(REAP_ERR_USAGE, "reap paths: -o is missing");
  if (!o->calibration && !o->from_stats)
    return reap_error(REAP_ERR_USAGE, "reap paths: --calib is missing (or --from-stats)");
  if (o->from_stats && (o->positions_text || o->seed))
    return reap_error(REAP_ERR_USAGE,
                      "reap paths: --positions and --seed are those of the file that --from-stats names");
  if (!(o->ridge >= 0)) return reap_error(REAP_ERR_USAGE, "reap paths: --ridge wants a number that is not negative");
  return REAP_OK;
}

int command_paths(const command_context *context) {
  paths_options o = {.solver = "auto",
                     .sizes = REAP_PATHS_SIZES,
                     .measured = REAP_PATHS_IMAGES,
                     .min_keep = 1,
                     .measure = "largest",
                     .ridge = REAP_DEFAULT_RIDGE,
                     .common = COMMON_DEFAULTS};
  const option options[] = {
      {"What goes in and out:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--calib", NULL, OPTION_TEXT, "D.h5", "calibration images; required without --from-stats", &o.calibration, 0},
      {"--from-stats", NULL, OPTION_TEXT, "S.h5",
       "moments of this network (reap stats) in place of a pass over the\nimages; those of --calib then serve to "
       "measure the output alone",
       &o.from_stats, 0},
      {"--output", "-o", OPTION_TEXT, "P.h5", "orders, errors and movements (format reap-paths); required", &o.output,
       0},
      {"How:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--images", NULL, OPTION_INT, "N", "only the first N calibration images", &o.images, 1},
      {"--positions", NULL, OPTION_TEXT, "all|K",
       "output positions of an image that count: all, or K drawn at\nrandom (default all)", &o.positions_text, 0},
      {"--seed", NULL, OPTION_INT, "S", "for --positions K (default 0)", &o.seed, 0},
      {"--min-keep", NULL, OPTION_INT, "N", "end each path at N channels (default 1)", &o.min_keep, 1},
      {"--ridge", NULL, OPTION_NUMBER, "R", "ridge relative to each column's own scale (default 1e-6)", &o.ridge, 0},
      {"--solver", NULL, OPTION_CHOICE, "auto|local|scalapack",
       "where a layer is solved: on one rank, or by ScaLAPACK on all\ntogether, no rank then holding its moments "
       "(default auto: by size\nand memory)",
       &o.solver, 0},
      {"--sizes", NULL, OPTION_INT, "N",
       "sizes of each group at which the output is measured (default 5; 0:\nit is not)", &o.sizes, 0},
      {"--sensitivity-images", NULL, OPTION_INT, "N",
       "held-out images that the output is measured on, at most (default 500)", &o.measured, 0},
      {"--measure", NULL, OPTION_CHOICE, "largest|sum", MEASURE_HELP, &o.measure, 0},
      MEMORY_OPTIONS(o.memory),
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap paths", options, 1, names, &o.model, false};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  REAP_TRY(check(&o));
  REAP_TRY(command_positions("reap paths", o.positions_text ? o.positions_text : "all", &o.positions));
  if (o.sizes > 64) return reap_error(REAP_ERR_USAGE, "reap paths: --sizes %lld: at most 64", (long long)o.sizes);
  REAP_TRY(memory_options_read("reap paths", &o.memory));
  return run(context, &o);
}
