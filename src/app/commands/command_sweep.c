/* reap sweep: many budgets, methods and seeds in one launch. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/image_range.h"
#include "app/report.h"
#include "app/sweep/sweep_run.h"
#include "base/text.h"
#include "base/timer.h"
#include "prune/estimate/run_estimate.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

static const char *const SYNOPSIS =
    "reap sweep MODEL --calib D.h5 --eval D.h5 --flops F,... -o SWEEP.h5 [options]\n"
    "       (budgets also by --params, --latency and --keep; several at once: --method, --ratios, --seed)";
static const char *const ABOUT =
    "Prunes one network in many ways: all budgets with all methods and seeds, side by side on groups of ranks.\n"
    "Each setting does what reap prune does with the same options, and writes a file to SWEEP.h5.d/ as it\n"
    "finishes. In the end all are merged into SWEEP.h5. The sensitivity data are computed once and shared by all\n"
    "budgets and methods: sizes for other methods are those of reap. The same command, started again, computes\n"
    "the missing settings. A setting that fails does not stop the others.\n";

/* Hashes of what the network does not tell, known to all ranks. */
static int hash_inputs(const reap_comm *comm, const prune_options *o, sweep_hashes *hashes) {
  int status = REAP_OK;
  if (reap_comm_rank(comm) == 0) {
    status = reap_hash_file(prune_options_images(o), hashes->data);
    if (status == REAP_OK && o->evaluation) status = reap_hash_file(o->evaluation, hashes->evaluation);
    if (status == REAP_OK && o->settings.from_paths) status = reap_hash_file(o->settings.from_paths, hashes->paths);
    if (status == REAP_OK && o->latency_table) status = reap_hash_file(o->latency_table, hashes->latency);
  }
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_comm_broadcast(comm, hashes, sizeof *hashes, 0);
}

/* What is there already, by rank 0's eyes. */
static int scan(sweep *s) {
  const reap_comm *comm = s->context->comm;
  int status = reap_calloc(&s->done, s->count, sizeof *s->done);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) {
    status = sweep_folder_check_outputs(&s->folder, s->count, s->settings, &s->files);
    if (status == REAP_OK) status = sweep_folder_claim(&s->folder);
    if (status == REAP_OK) status = sweep_folder_scan(&s->folder, s->count, s->settings, s->done);
  }
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_comm_broadcast(comm, s->done, (size_t)s->count * sizeof *s->done, 0));
  int there = 0;
  for (int i = 0; i < s->count; i++) there += s->done[i];
  if (there > 0) reap_log(REAP_LOG_INFO, "%s: %d of %d settings are done already", s->folder.path, there, s->count);
  return REAP_OK;
}

static int check_files(sweep *s) {
  const prune_options *o = &s->options->prune;
  const run_file table[] = {RUN_INPUT("MODEL", o->model),
                            RUN_INPUT("--calib", o->calibration),
                            RUN_INPUT("--eval", o->evaluation),
                            RUN_INPUT("--from-stats", o->settings.from_stats),
                            RUN_INPUT("--from-paths", o->settings.from_paths),
                            RUN_INPUT("--latency-table", o->latency_table),
                            RUN_OUTPUT("-o", o->output, FORM_HDF5)};
  return run_files_check(s->context->comm, o->title, table, (int)(sizeof table / sizeof table[0]), &s->files);
}

static int set_up(sweep *s) {
  const reap_comm *comm = s->context->comm;
  const prune_options *o = &s->options->prune;
  if (s->options->groups > reap_comm_size(comm))
    return reap_error(REAP_ERR_USAGE, "reap sweep: --groups %lld wants as many ranks; there are %d",
                      (long long)s->options->groups, reap_comm_size(comm));
  REAP_TRY(check_files(s));
  REAP_TRY(reap_network_load_for(comm, o->model, o->calibration ? o->calibration : o->evaluation, &s->inputs.network));
  REAP_TRY(run_files_check_network(comm, &s->inputs.network, "MODEL's data", &s->files));
  REAP_TRY(run_files_announce(comm, &s->files));
  REAP_TRY(prune_inputs_open(comm, o, &s->inputs));
  if (s->inputs.calibration)
    REAP_TRY(reap_comm_agree(comm, reap_network_check_images(&s->inputs.network, s->inputs.calibration)));
  REAP_TRY(hash_inputs(comm, o, &s->hashes));
  REAP_TRY(reap_comm_agree(comm, sweep_folder_make(s->options, s->inputs.network.source, &s->hashes, &s->folder)));
  REAP_TRY(scan(s));
  return image_range_check_original(comm, &s->inputs.network, s->inputs.calibration, o->settings.backend);
}

/* By rank 0. */
static int merge(const sweep *s, const sweep_outcome *outcomes, int n, const reap_sweep_setting *settings) {
  reap_sweep_failure *failures = NULL;
  int n_failures = 0;
  if (s->options->no_merge) return REAP_OK;
  REAP_TRY(reap_calloc(&failures, s->count, sizeof *failures));
  for (int i = 0; i < s->count; i++)
    if (!s->done[i]) failures[n_failures++] = (reap_sweep_failure){s->settings[i].name, outcomes[i].message};
  int status = sweep_folder_merge(&s->folder, n, settings, n_failures, failures, sweep_choices_file(&s->choices));
  reap_free(&failures);
  return status;
}

static void print_share(const char *format, double share, const char *unknown) {
  if (isfinite(share))
    reap_print(stdout, format, share);
  else
    reap_print(stdout, "%10s", unknown);
}

static void print_table(const sweep *s, int n, const reap_sweep_setting *settings) {
  const double flops = (double)reap_graph_flops(s->inputs.network.graph),
               params = (double)reap_graph_params(s->inputs.network.graph);
  if (n > 0)
    reap_print(stdout, "%-36s %10s %10s %10s %10s %10s\n", "setting", "top-1, %", "KL", "mult-adds", "params",
               "seconds");
  for (int i = 0; i < n; i++) {
    const reap_sweep_setting *r = &settings[i];
    reap_print(stdout, "%-36s ", r->name);
    print_share("%10.2f", 100 * r->top1, "-");
    print_share(" %10.4f", r->kl, " -");
    reap_print(stdout, " %8.1f %% %8.1f %% %10.1f\n", 100 * (double)r->flops / flops, 100 * (double)r->params / params,
               r->seconds);
  }
}

/* By rank 0: what failed, what the others came to, and where it is. */
static void show(const sweep *s, const sweep_outcome *outcomes, int n, const reap_sweep_setting *settings,
                 double start) {
  const int ranks = reap_comm_size(s->context->comm);
  for (int i = 0; i < s->count; i++) {
    char hint[COMMAND_HINT], text[1024];
    if (s->done[i]) continue;
    command_hint(outcomes[i].message, hint);
    snprintf(text, sizeof text, "%s failed: %s%s", s->settings[i].name, outcomes[i].message, hint);
    progress_view_complain(text);
  }
  print_table(s, n, settings);
  reap_print(stdout, "%-16s %s\n", "written", s->options->no_merge ? s->folder.path : s->options->prune.output);
  reap_print(stdout, "%-16s %.1f s on %d rank%s\n", "time", reap_seconds() - start, ranks, ranks > 1 ? "s" : "");
}

static int merge_and_show(const sweep *s, const sweep_outcome *outcomes, double start) {
  reap_sweep_setting *settings = NULL;
  int n = 0;
  int status = sweep_folder_collect(&s->folder, s->count, s->settings, s->done, &n, &settings);
  if (status == REAP_OK) status = merge(s, outcomes, n, settings);
  if (status == REAP_OK) show(s, outcomes, n, settings, start);
  sweep_folder_release(n, &settings);
  return status;
}

/* The sweep's status: that of the first setting that failed. */
static int finish(const sweep *s, const sweep_outcome *outcomes, double start) {
  int n_failures = 0, status = REAP_OK, first = REAP_OK;
  for (int i = 0; i < s->count; i++) n_failures += !s->done[i];
  for (int i = s->count - 1; i >= 0; i--)
    if (!s->done[i]) first = (int)outcomes[i].status;
  if (reap_comm_rank(s->context->comm) == 0) status = merge_and_show(s, outcomes, start);
  REAP_TRY(reap_comm_agree(s->context->comm, status));
  return first == REAP_OK ? REAP_OK
                          : reap_error(first, "%d of %d settings failed, for the reasons above; the others are done",
                                       n_failures, s->count);
}

/* Where no choice of sizes tells more (sweep_choices.c): both networks, their moments and repairs. */
static void expect_work(const sweep *s) {
  static const double ROUGHLY = 20; /* forward passes that a setting takes */
  const prune_inputs *in = &s->inputs;
  const double pass =
      (double)reap_graph_flops(in->network.graph) / reap_nominal_speeds.forward / reap_comm_size(s->context->comm);
  const double evaluated = in->evaluation ? (double)reap_dataset_images(in->evaluation) : 0;
  const double images = in->calibration ? (double)reap_dataset_images(in->calibration) : 0;
  double todo = 0;
  for (int i = 0; i < s->count; i++) todo += !s->done[i];
  progress_view_expect("choices", 0);
  progress_view_expect("evaluate", evaluated * pass);
  progress_view_expect("sweep", todo * (ROUGHLY * images + evaluated) * pass);
}

static int run(const command_context *context, sweep_options *o) {
  const double start = reap_seconds();
  sweep_outcome *outcomes = NULL;
  sweep s = {.context = context, .options = o};
  int status = reap_comm_agree(context->comm, sweep_settings_make(o, &s.count, &s.settings));
  if (status != REAP_OK) goto done;
  REAP_TRY_OR(command_set_up(context, &o->prune.common), done);
  REAP_TRY_OR(set_up(&s), done);
  expect_work(&s);
  status = sweep_choices_make(context, &s.folder, &s.inputs, s.hashes.data, s.count, s.settings, s.done, &s.choices);
  if (status != REAP_OK) goto done;
  REAP_TRY_OR(reap_comm_agree(context->comm, reap_calloc(&outcomes, s.count, sizeof *outcomes)), done);
  REAP_TRY_OR(sweep_run(&s, outcomes), done);
  progress_view_finish();
  status = finish(&s, outcomes, start);
  command_set_log(context, &o->prune.common); /* settings have silenced it */
  run_files_warn(&s.files);
done:
  run_files_clear(&s.files);
  reap_free(&outcomes);
  sweep_choices_clear(&s.choices);
  sweep_folder_clear(&s.folder);
  reap_free(&s.done);
  sweep_settings_clear(s.count, &s.settings);
  prune_inputs_close(&s.inputs);
  return status;
}

int command_sweep(const command_context *context) {
  sweep_options o = {.prune = PRUNE_DEFAULTS("reap sweep")};
  static const char *const names[] = {"MODEL"};
  sweep_options_table(&o);
  command_line line = {"reap sweep", o.table, 1, names, .positional = &o.prune.model};
  bool done = false;
  int status = command_begin(context, &line, SYNOPSIS, ABOUT, &done);
  if (status == REAP_OK && !done) status = run(context, &o);
  sweep_options_clear(&o);
  return status;
}
