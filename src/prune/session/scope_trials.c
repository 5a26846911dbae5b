/* Coupled groups in a choice of sizes; see scope_trials.h.
 *
 * Losses are measured with one group cut alone. Those of coupled groups tell too little then: a layer that reads two of
 * them, as behind a padded shortcut, makes up for the one by the other, and a stream that has lost channels leaves
 * little room for what inner groups lose. How far they take part depends on the network and the budget. So sizes are
 * chosen in several ways, the network is pruned in small with each, and those sizes are taken whose outputs are nearest
 * to the original's on views of images held out (trial.h):
 *
 *     whole      coupled groups keep all units wherever inner groups reach the budget
 *     shares     each coupled group keeps the same share of its units, less and less as long as that is better
 *     factors    their measured losses count four times, twice, once, as long as that is better
 *
 * and inner groups have what the budget leaves by their losses. Others than the first have to be better by more than
 * trials differ by chance.
 *
 * Figures: ResNet-20 for CIFAR-10 at 0.2 of the multiply-adds, 2000 images. Shares of 1, 7/8 and 3/4: KL in trials
 * 0.912, 0.788 and 0.832, of the networks in the end on test images 0.629, 0.575 and 0.563. Trials with producers,
 * judged by the movement of the outputs at a higher temperature without scaling: 6.90, 6.55 and 7.05.
 *
 * Cost: a trial for each way that comes to other sizes.
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

/* What is tried: coupled groups' losses times a factor or, where it is not 0, a share of the units of each. */
typedef struct attempt {
  double coupled, share;
  double apart; /* how far the outputs are from the original's; NaN: not tried, out of reach, or tried before */
} attempt;

static const attempt WHOLE = {1e6, 0, NAN};
static const double SHARE[REAP_SCOPE_SHARES] = {0.875, 0.75, 0.625, 0.5}, FACTOR[REAP_SCOPE_FACTORS] = {4, 2, 1};
static const double WORTH_CHANGING = 0.03; /* trials are of the same images */

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
static int finish(reap_session *s, const attempt *a) {
  reap_size_plan *p = &s->info.plan;
  const bool whole = a->coupled == WHOLE.coupled;
  p->coupled = a->coupled;
  p->share = a->share;
  int status = whole ? finish_inner(s, p) : finish_plan(s, p);
  if (whole && status == REAP_ERR_USAGE) status = finish_plan(s, p); /* they do not reach the budget */
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

static int finish_and_tell(reap_session *s, const attempt *a) {
  const bool chosen = !s->info.plan.complete;
  REAP_TRY(finish(s, a));
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

/* Sizes that were tried: [n][groups]. */
typedef struct trials {
  int n;
  int64_t *counts[REAP_SCOPE_TRIALS];
} trials;

/* Notes the sizes; *known: they were tried before. Collective. */
static int note(const reap_session *s, trials *t, bool *known) {
  const reap_size_plan *p = &s->info.plan;
  const size_t bytes = (size_t)p->n_groups * sizeof *p->counts;
  *known = false;
  for (int k = 0; k < t->n; k++) *known |= memcmp(t->counts[k], p->counts, bytes) == 0;
  if (*known) return REAP_OK;
  REAP_TRY(reap_comm_alloc(s->comm, &t->counts[t->n], p->n_groups, sizeof *p->counts));
  memcpy(t->counts[t->n++], p->counts, bytes);
  return REAP_OK;
}

/* Sizes, and a->apart. Collective. */
static int try_one(reap_session *s, trials *t, const reap_progress *progress, attempt *a) {
  bool known = false;
  a->apart = NAN;
  s->info.plan.complete = false;
  const int status = finish(s, a);
  if (status == REAP_ERR_USAGE && t->n > 0) return REAP_OK; /* so few units less do not reach the budget */
  REAP_TRY(status);
  REAP_TRY(note(s, t, &known));
  if (known) return REAP_OK;
  reap_prune_options options = reap_session_prune_options(s);
  options.progress = progress;
  REAP_TRY(reap_trial_on_views(s->comm, s->network->graph, s->images, &s->shard, &options, REAP_TRIAL_FEW_IMAGES,
                               &a->apart));
  if (a->share > 0)
    reap_log(REAP_LOG_DEBUG, "%.3g of coupled groups: outputs are apart by %.4g", a->share, a->apart);
  else
    reap_log(REAP_LOG_DEBUG, "coupled groups' losses times %g: outputs are apart by %.4g", a->coupled, a->apart);
  return REAP_OK;
}

/* Tries `next`, which becomes the best if it is better. *go_on: it is, or says nothing. */
static int challenge(reap_session *s, trials *t, attempt *best, attempt next, bool *go_on) {
  const double least = best->coupled == WHOLE.coupled ? 1 - WORTH_CHANGING : 1;
  reap_progress_span span;
  reap_progress_span_begin(&span, s->settings.progress, "trials of scope", t->n, 1, REAP_SCOPE_TRIALS);
  REAP_TRY(try_one(s, t, &span.inner, &next));
  const bool better = next.apart < least * best->apart;
  *go_on = better || isnan(next.apart);
  if (better) *best = next;
  return REAP_OK;
}

/* Shares and factors get smaller as long as that is better. */
static int search(reap_session *s, trials *t) {
  reap_progress_span span;
  attempt best = WHOLE;
  bool go_on = true;
  reap_progress_span_begin(&span, s->settings.progress, "trials of scope", 0, 1, REAP_SCOPE_TRIALS);
  REAP_TRY(try_one(s, t, &span.inner, &best));
  for (int i = 0; go_on && i < REAP_SCOPE_SHARES; i++)
    REAP_TRY(challenge(s, t, &best, (attempt){1, SHARE[i], NAN}, &go_on));
  go_on = true;
  for (int i = 0; go_on && i < REAP_SCOPE_FACTORS; i++)
    REAP_TRY(challenge(s, t, &best, (attempt){FACTOR[i], 0, NAN}, &go_on));
  s->info.plan.complete = false;
  return finish_and_tell(s, &best);
}

int reap_session_finish_plan(reap_session *s) {
  const attempt plain = {1, 0, NAN};
  trials t = {0};
  if (s->info.plan.complete && s->checkpoint.stage == STAGE_PLAN) return REAP_OK; /* it was read */
  if (!needs_trials(s)) return finish_and_tell(s, &plain);
  REAP_TRY(reap_session_views_choose(s));
  const int status = search(s, &t);
  for (int k = 0; k < t.n; k++) reap_free(&t.counts[k]);
  return status;
}
