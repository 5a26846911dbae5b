/* reap paths: what every group would lose at every size, and how far the network's output moves. */
#include "app/command.h"
#include "app/image_range.h"
#include "app/options/memory_options.h"
#include "app/prune/prune_options.h"
#include "app/run_files.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/timer.h"
#include "prune/session/session_info.h"
#include "prune/session/session_phases.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/network.h"

static const char *const SYNOPSIS =
    "reap paths MODEL --calib D.h5 -o P.h5 [options]\n"
    "       reap paths MODEL --from-stats S.h5 [--calib D.h5] -o P.h5 [options]";
static const char *const ABOUT =
    "Computes the elimination path of every prunable group down to its last channel, in one pass over the\n"
    "original network: the order of removal, and the error of the layer that reads the channels. Then prunes each\n"
    "group alone to a few sizes and measures the divergence of the network's outputs on held-out calibration\n"
    "images (index 9 modulo 10): KL divergence of the soft-max for classifiers, relative squared error for other\n"
    "outputs. With several outputs each divergence is relative to its variation over the images. Last, a few\n"
    "pilot runs show how the losses of several groups combine. Labels are not used. The file is used to\n"
    "distribute a budget over the groups. The result does not depend on the number of ranks.\n";

typedef struct job {
  const command_context *context;
  const prune_options *options;
  reap_network network;
  reap_dataset *images; /* NULL without --calib */
  run_files files;
  reap_session *session;
} job;

/* All but the steps, which come last. Local. */
static int expect_phases(const reap_session *session) {
  reap_session_phase phases[REAP_SESSION_PHASES];
  int n = 0;
  REAP_TRY(reap_session_phases(session, &n, phases));
  for (int i = 0; i < n - 1; i++) progress_view_expect(phases[i].name, phases[i].seconds);
  return REAP_OK;
}

/* Collective. */
static int measure(job *j) {
  const reap_comm *comm = j->context->comm;
  const prune_options *o = j->options;
  if (o->calibration) REAP_TRY(reap_comm_agree(comm, reap_dataset_open(o->calibration, &j->images)));
  REAP_TRY(reap_session_create(comm, &j->network, j->images, &o->settings, &j->session));
  REAP_TRY(image_range_check_original(comm, &j->network, j->images, o->settings.backend));
  REAP_TRY(reap_comm_agree(comm, expect_phases(j->session)));
  REAP_TRY(reap_session_measure(j->session));
  if (reap_session_get_info(j->session)->paths->measured_images == 0 && o->settings.path_sizes > 0 &&
      o->settings.path_images > 0)
    reap_log(REAP_LOG_WARNING, "%s: the divergence of the outputs is not measured",
             j->images ? "with fewer than 10 images none is held out" : "without --calib there are no images");
  return REAP_OK;
}

static void print_paths(const reap_group_paths *paths) {
  static const char *const heads[] = {"  output error", "  KL of output", " largest share", " sum of shares"};
  const bool measured = paths->measured_images > 0;
  reap_print(stdout, "%-40s %9s %9s %14s%s\n", "group", "channels", "half", "layer's error",
             measured ? heads[paths->measure] : "");
  for (int i = 0; i < paths->n; i++) {
    const reap_group_path *p = &paths->paths[i];
    int64_t half = (p->channels + 1) / 2;
    if (half < reap_group_path_least(p)) half = reap_group_path_least(p);
    reap_print(stdout, "%-*s %9lld %9lld %14.4g", reap_text_width(p->group, 40), p->group, (long long)p->channels,
               (long long)half, reap_group_path_error(p, half));
    if (measured) reap_print(stdout, " %13.4g", reap_group_path_moved(p, half));
    reap_print(stdout, "\n");
  }
  reap_print(stdout, "%-16s %d groups, %lld images, outputs compared on %lld held-out images\n", "paths", paths->n,
             (long long)paths->images, (long long)paths->measured_images);
}

static void show(const job *j, double start) {
  const reap_session_info *info = reap_session_get_info(j->session);
  const reap_paths_times *t = &info->paths_times;
  const int ranks = reap_comm_size(j->context->comm);
  print_paths(info->paths);
  reap_print(stdout, "%-16s %s\n", "written", j->options->output);
  reap_print(stdout, "%-16s %.1f s on %d rank%s (read %.1f, forward %.1f, moments %.1f, solve %.1f, output %.1f)\n",
             "time", reap_seconds() - start, ranks, ranks > 1 ? "s" : "", t->read, t->forward, t->moments, t->solve,
             t->measure);
}

static int run(const command_context *context, prune_options *o) {
  const double start = reap_seconds();
  job j = {.context = context, .options = o};
  const run_file table[] = {RUN_INPUT("MODEL", o->model), RUN_INPUT("--calib", o->calibration),
                            RUN_INPUT("--from-stats", o->settings.from_stats), RUN_OUTPUT("-o", o->output, FORM_HDF5)};
  REAP_TRY(command_set_up(context, &o->common));
  o->settings.progress = progress_view_progress();
  int status = run_files_check(context->comm, "reap paths", table, 4, &j.files);
  if (status == REAP_OK) status = reap_network_load_for(context->comm, o->model, o->calibration, &j.network);
  if (status == REAP_OK)
    status = reap_comm_agree(context->comm, reap_network_set_output_kinds(&j.network, o->output_kind));
  if (status == REAP_OK) status = run_files_check_network(context->comm, &j.network, "MODEL's data", &j.files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &j.files);
  if (status == REAP_OK) status = measure(&j);
  if (status == REAP_OK) status = image_range_warn(context->comm, j.images);
  progress_view_finish();
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) show(&j, start);
  run_files_warn(&j.files);
  run_files_clear(&j.files);
  reap_session_destroy(&j.session);
  reap_dataset_close(&j.images);
  reap_network_clear(&j.network);
  return status;
}

static int check(const prune_options *o) {
  if (!o->output) return reap_error(REAP_ERR_USAGE, "reap paths: -o is missing");
  if (!o->calibration && !o->settings.from_stats)
    return reap_error(REAP_ERR_USAGE, "reap paths: --calib is missing (or --from-stats)");
  if (o->settings.from_stats && (o->positions_text || o->seed))
    return reap_error(REAP_ERR_USAGE,
                      "reap paths: --positions and --seed are those of the file that --from-stats names");
  return REAP_OK;
}

int command_paths(const command_context *context) {
  prune_options o = PRUNE_DEFAULTS("reap paths");
  int64_t sizes = o.settings.path_sizes;
  const option options[] = {
      {"Input and output:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--calib", NULL, OPTION_TEXT, "D.h5", "calibration images; required without --from-stats", &o.calibration, 0},
      {"--from-stats", NULL, OPTION_TEXT, "S.h5",
       "moments of this network (reap stats) in place of a pass over the\n"
       "images; the images of --calib then only serve to compare outputs",
       &o.settings.from_stats, 0},
      {"--output", "-o", OPTION_TEXT, "P.h5", "orders, errors and divergences (format reap-paths); required", &o.output,
       0},
      {"How:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--images", NULL, OPTION_INT, "N", "only the first N calibration images", &o.settings.images, 1},
      POSITIONS_OPTION(o.positions_text, "auto"),
      {"--seed", NULL, OPTION_INT, "S", "for positions drawn at random (default 0)", &o.seed, 0},
      {"--min-keep", NULL, OPTION_INT, "N", "end each path at N channels (default 1)", &o.settings.path_least, 1},
      {"--ridge", NULL, OPTION_TEXT, "few|R",
       "ridge relative to each column's own scale; few (default): for layers\n"
       "with fewer than 20 rows for each column the one with the least\n"
       "held-out error, 1e-6 for others",
       &o.ridge_text, 0},
      SOLVER_OPTION(o.solver),
      {"--sizes", NULL, OPTION_INT, "N",
       "sizes of each group at which the outputs are compared (default 5; 0:\n"
       "none)",
       &sizes, 0},
      {"--sensitivity-images", NULL, OPTION_INT, "N", "held-out images for that comparison, at most (default 500)",
       &o.settings.path_images, 0},
      {"--measure", NULL, OPTION_CHOICE, MEASURES, MEASURE_HELP, &o.measure, 0},
      OUTPUT_KIND_OPTION(o.output_kind),
      MEMORY_OPTIONS(o.memory),
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap paths", options, 1, names, .positional = &o.model};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  REAP_TRY(check(&o));
  if (sizes > 64) return reap_error(REAP_ERR_USAGE, "reap paths: --sizes %lld: at most 64", (long long)sizes);
  REAP_TRY(prune_options_read_common(&o));
  o.settings.scope = REAP_SCOPE_INNER;
  o.settings.budget = REAP_BUDGET_KEEP; /* all groups are measured, and nothing is pruned */
  o.settings.amount = 1;
  o.settings.save_paths = o.output;
  o.settings.path_sizes = (int)sizes;
  return run(context, &o);
}
