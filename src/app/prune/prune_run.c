#include "prune_run.h"

#include <string.h>

#include "app/progress/progress_view.h"
#include "app/progress/rank_balance.h"
#include "base/progress_span.h"
#include "base/timer.h"
#include "latency_file.h"
#include "plan_file.h"
#include "prune/estimate/run_estimate.h"
#include "prune/session/session_phases.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ inputs */

static int open_images(const prune_options *o, prune_inputs *in) {
  REAP_TRY(reap_network_set_output_kinds(&in->network, o->output_kind));
  if (o->calibration) REAP_TRY(reap_dataset_open(o->calibration, &in->calibration));
  if (!o->evaluation) return REAP_OK;
  REAP_TRY(reap_dataset_open(o->evaluation, &in->evaluation));
  return reap_network_check_images(&in->network, in->evaluation);
}

/* Times of another network would be of other layers. */
static int read_latency(const prune_options *o, prune_inputs *in) {
  const char *model = reap_source_hash(in->network.source);
  REAP_TRY(latency_file_read(o->latency_table, &in->latency));
  const char *hash = in->latency->model_hash;
  if (!hash[0] || strcmp(hash, model) == 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: holds times of another model than %s (sha256 %.12s and %.12s)",
                    o->latency_table, o->model, hash, model);
}

int prune_inputs_open(const reap_comm *comm, const prune_options *o, prune_inputs *in) {
  int status = open_images(o, in);
  if (status == REAP_OK && o->latency_table && reap_comm_rank(comm) == 0) status = read_latency(o, in);
  REAP_TRY(reap_comm_agree(comm, status));
  return o->latency_table ? reap_latency_broadcast(comm, &in->latency) : REAP_OK;
}

void prune_inputs_close(prune_inputs *in) {
  reap_dataset_close(&in->calibration);
  reap_dataset_close(&in->evaluation);
  reap_latency_destroy(&in->latency);
  reap_network_clear(&in->network);
}

/* ------------------------------------------------------------------ the run */

/* Multiply-adds on a rank: of the original network, and of the pruned one as far as it is pruned. */
static double evaluation_work(const prune_run *r) {
  const double share = (double)reap_dataset_images(r->inputs->evaluation) / reap_comm_size(r->context->comm);
  const double whole = (double)reap_graph_flops(r->inputs->network.graph);
  return share * ((r->baseline ? 0 : whole) + (double)reap_graph_flops(reap_session_graph(r->session)));
}

/* Local. */
static int give_sizes(prune_run *r) {
  const char *path = r->options->plan;
  const reap_groups *groups = reap_session_groups(r->session);
  const bool coupled = r->options->settings.scope != REAP_SCOPE_INNER;
  const int n = reap_groups_count(groups);
  int64_t *counts = NULL, **given = NULL;
  int status = reap_calloc(&counts, n, sizeof *counts);
  if (status == REAP_OK) status = reap_calloc(&given, n, sizeof *given);
  if (status == REAP_OK) status = plan_file_read(path, groups, coupled, counts, given);
  if (status == REAP_OK) status = reap_error_prefix(reap_session_set_sizes(r->session, counts, given), "%s", path);
  for (int g = 0; given && g < n; g++) reap_free(&given[g]);
  reap_free(&given);
  reap_free(&counts);
  return status;
}

static void expect(const prune_run *r, const char *phase, double seconds) {
  if (r->phases)
    progress_model_expect(r->phases, phase, seconds);
  else
    progress_view_expect(phase, seconds);
}

/* The phases to come. Local. */
static int expect_phases(const prune_run *r) {
  reap_session_phase phases[REAP_SESSION_PHASES];
  int n = 0;
  REAP_TRY(reap_session_phases(r->session, &n, phases));
  if (r->options->dry_run) n--; /* the steps come last */
  for (int i = 0; i < n; i++) expect(r, phases[i].name, phases[i].seconds);
  if (r->options->dry_run) return REAP_OK;
  if (r->inputs->evaluation) expect(r, "evaluate", evaluation_work(r) / reap_nominal_speeds.forward);
  expect(r, "write", 0);
  return REAP_OK;
}

int prune_run_open(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  reap_session_settings settings = r->options->settings;
  settings.progress = r->progress;
  settings.data_hash = r->data_hash;
  REAP_TRY(reap_session_create(comm, &r->inputs->network, r->inputs->calibration, &settings, &r->session));
  r->info = reap_session_get_info(r->session);
  reap_session_lend(r->session, NULL, r->inputs->latency);
  int status = r->options->plan ? give_sizes(r) : REAP_OK;
  if (status == REAP_OK) status = expect_phases(r);
  return reap_comm_agree(comm, status);
}

static int evaluate(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  const reap_session_settings *settings = &r->options->settings;
  const reap_graph *original = r->inputs->network.graph;
  reap_dataset *images = r->inputs->evaluation;
  if (!images) return REAP_OK;
  const double start = reap_seconds();
  const reap_shard shard = reap_shard_of(comm, images, 0, original->batch);
  reap_reference *reference = NULL;
  const double work = r->baseline ? 0 : (double)reap_graph_flops(original);
  const double total = work + (double)reap_graph_flops(reap_session_graph(r->session));
  reap_progress_span span;
  reap_evaluate_options e = {.backend = settings->backend,
                             .progress = &span.inner,
                             .label = "original",
                             .keep = &reference,
                             .measure = settings->measure};
  reap_progress_span_begin(&span, r->progress, "evaluate", 0, work, total);
  if (r->baseline)
    r->before = *r->baseline;
  else
    REAP_TRY(reap_evaluate_with(comm, original, images, &shard, &e, &r->before));
  reap_progress_span_begin(&span, r->progress, "evaluate", work, total - work, total);
  e.label = "pruned";
  e.keep = NULL;
  e.against = r->baseline ? r->reference : reference;
  int status = reap_evaluate_with(comm, reap_session_graph(r->session), images, &shard, &e, &r->after);
  reap_reference_destroy(&reference);
  r->seconds_evaluate = reap_seconds() - start;
  return status;
}

int prune_run_do(prune_run *r) {
  r->seconds_load = reap_seconds() - r->start;
  REAP_TRY(reap_session_plan(r->session));
  REAP_TRY(reap_comm_agree(r->context->comm, expect_phases(r)));
  for (bool more = true; more;) REAP_TRY(reap_session_step(r->session, NULL, &more));
  REAP_TRY(reap_session_finish(r->session));
  return prune_run_judge(r);
}

int prune_run_judge(prune_run *r) {
  REAP_TRY(evaluate(r));
  REAP_TRY(rank_balance_log(r->context->comm, &r->info->result));
  return memory_figures_gather(r->context->comm, &r->options->memory, &r->info->result.use, &r->info->memory_estimate,
                               &r->memory);
}

void prune_run_clear(prune_run *r) {
  reap_evaluation_clear(&r->after);
  reap_session_destroy(&r->session);
  reap_group_paths_destroy(&r->paths);
}
