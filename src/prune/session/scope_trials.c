/* Coupled groups in a choice of sizes; see scope_trials.h.
 *
 * Losses are measured with one group cut alone. Those of coupled groups tell too little then: a layer that reads two of
 * them, as behind a padded shortcut, makes up for the one by the other, and a stream that has lost channels leaves
 * little room for what inner groups lose. By how much they have to count more depends on the network and the budget. So
 * sizes are chosen with several factors, the network is pruned in small with each (trial.h), and the sizes are taken
 * whose outputs move least on images held out. The first one leaves coupled groups whole wherever inner groups reach
 * the budget, which then have the sizes that they have alone; another has to be better by more than trials differ by
 * chance.
 *
 * Cost: a trial for each factor, of those that come to different sizes.
 */
#include "scope_trials.h"

#include <math.h>
#include <string.h>

#include "base/progress_span.h"
#include "prune/sensitivity/trial.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "session_settings.h"

static const double FACTORS[REAP_SCOPE_TRIALS] = {1e6, 4, 2, 1};
static const double WORTH_CHANGING = 0.1; /* as in sensitivity/joint.c */

static int finish_plan(const reap_session *s, reap_size_plan *p) {
  const int status =
      reap_size_plan_finish(s->network->graph, s->groups, &s->settings, s->info.paths, s->info.latency, p);
  return reap_comm_agree(s->comm, status);
}

/* As if there were inner groups alone. Collective. */
static int finish_inner(const reap_session *s, reap_size_plan *p) {
  bool *all = p->chosen, *inner = NULL;
  REAP_TRY(reap_comm_alloc(s->comm, &inner, p->n_groups, sizeof *inner));
  for (int g = 0; g < p->n_groups; g++) {
    const reap_group *group = reap_groups_at(s->groups, g);
    inner[g] = all[g] && group->prunable;
    if (all[g] && !group->prunable) p->counts[g] = group->units;
  }
  p->chosen = inner;
  const int status = finish_plan(s, p);
  p->chosen = all;
  reap_free(&inner);
  return status;
}

/* Rank 0's sizes hold on all ranks. */
static int finish(reap_session *s, double coupled) {
  reap_size_plan *p = &s->info.plan;
  p->coupled = coupled;
  int status = coupled == FACTORS[0] ? finish_inner(s, p) : finish_plan(s, p);
  if (coupled == FACTORS[0] && status == REAP_ERR_USAGE) status = finish_plan(s, p); /* they do not reach the budget */
  REAP_TRY(status);
  return reap_comm_broadcast(s->comm, p->counts, (size_t)p->n_groups * sizeof *p->counts, 0);
}

/* Sizes that were chosen here, by losses. */
static void announce(const reap_session *s) {
  const reap_size_plan *p = &s->info.plan;
  const reap_method *method = reap_settings_sizes_method(&s->settings);
  if (isnan(p->predicted_loss)) return;
  reap_log(REAP_LOG_INFO, "sizes by %s%s%s: predicted loss %.4g, at most %.2g %% above the least possible",
           reap_ratios_name(p->ratios), method == s->settings.method ? "" : " of the method ",
           method == s->settings.method ? "" : method->name, p->predicted_loss, 100 * p->gap);
}

static int finish_and_tell(reap_session *s, double coupled) {
  const bool chosen = !s->info.plan.complete;
  REAP_TRY(finish(s, coupled));
  if (chosen) announce(s);
  return REAP_OK;
}

/* Whether sizes hang on losses of coupled groups that trials can settle. */
static bool needs_trials(const reap_session *s) {
  const reap_size_plan *p = &s->info.plan;
  const reap_group_paths *paths = s->info.paths;
  bool some = false;
  for (int g = 0; g < p->n_groups; g++) some |= p->chosen[g] && !reap_groups_at(s->groups, g)->prunable;
  return some && !p->complete && p->ratios == REAP_RATIOS_OUTPUT && s->images && paths && paths->measured_images > 0 &&
         paths->power != 0;
}

/* One factor: sizes, and how far the outputs move; < 0: sizes that were tried before, tried[REAP_SCOPE_TRIALS][groups].
 */
static int try_factor(reap_session *s, int i, const reap_progress *progress, int64_t *tried, double *moved) {
  reap_size_plan *p = &s->info.plan;
  int64_t *own = tried + i * p->n_groups;
  p->complete = false;
  REAP_TRY(finish(s, FACTORS[i]));
  memcpy(own, p->counts, (size_t)p->n_groups * sizeof *own);
  *moved = -1;
  for (int k = 0; k < i; k++)
    if (memcmp(own, tried + k * p->n_groups, (size_t)p->n_groups * sizeof *own) == 0) return REAP_OK;
  reap_prune_options options = reap_session_prune_options(s);
  options.progress = progress;
  REAP_TRY(reap_trial(s->comm, s->network->graph, s->images, &s->shard, &options, REAP_TRIAL_FEW_IMAGES, moved));
  reap_log(REAP_LOG_DEBUG, "coupled groups' losses times %g: the outputs move by %.4g", FACTORS[i], *moved);
  return REAP_OK;
}

static int try_all(reap_session *s, int64_t *tried) {
  double least = 0, moved;
  int best = 0;
  reap_progress_span span;
  for (int i = 0; i < REAP_SCOPE_TRIALS; i++) {
    reap_progress_span_begin(&span, s->settings.progress, "trials of scope", i, 1, REAP_SCOPE_TRIALS);
    REAP_TRY(try_factor(s, i, &span.inner, tried, &moved));
    if (i > 0 && !(moved >= 0 && moved < (best == 0 ? 1 - WORTH_CHANGING : 1) * least)) continue;
    best = i;
    least = moved;
  }
  s->info.plan.complete = false;
  return finish_and_tell(s, FACTORS[best]);
}

int reap_session_finish_plan(reap_session *s) {
  int64_t *tried = NULL;
  if (s->info.plan.complete && s->checkpoint.stage == STAGE_PLAN) return REAP_OK; /* it was read */
  if (!needs_trials(s)) return finish_and_tell(s, 1);
  REAP_TRY(reap_comm_agree(s->comm, reap_calloc(&tried, REAP_SCOPE_TRIALS * s->info.plan.n_groups, sizeof *tried)));
  const int status = try_all(s, tried);
  reap_free(&tried);
  return status;
}
