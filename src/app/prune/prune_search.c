/* A search over budgets; see prune_search.h.
 *
 * The excess of a network is the largest of the logarithms of a figure over its bound; at most zero is wanted. It falls
 * nearly linearly with the budget, so zeros of its linear interpolation are tried next. Cost: the losses, TRIALS runs
 * in small, and one to WHOLE runs. Memory: the best network so far beside the one at hand.
 */
#include "prune_search.h"

#include <math.h>
#include <stdio.h>

#include "app/image_range.h"
#include "base/timer.h"
#include "reap/error.h"
#include "reap/log.h"

enum { TRIALS = 3, WHOLE = 3, LEAST_IMAGES = 1000 }; /* fewer images: whole runs alone */
static const double WIDTH = 0.03;                    /* a budget nearer than that is not tried */
static const double LEAST = 0.05, INSIDE = -0.05;    /* least budget; excess that is aimed at */
static const double UNPRUNED = -3;                   /* excess of it, for the interpolation */
static const double SMALLER = -0.4; /* excess of whole runs above that of trials, before one is known */

typedef struct search {
  prune_run *run;
  prune_search *out;
  reap_group_paths *paths;
  reap_session *best;
  double amount, seconds; /* of the best one */
  double offset;          /* of whole runs above trials */
} search;

/* ------------------------------------------------------------------ one budget */

/* Collective. Also for what is to be known before the first: the images' labels, and how many are held out. */
static int open_session(search *s, double amount, bool whole, reap_session **out) {
  reap_session_settings o = s->run->options->settings;
  const int64_t all = reap_dataset_images(s->run->inputs->calibration);
  const int64_t images = o.images > 0 && o.images < all ? o.images : all;
  o.budget = REAP_BUDGET_FLOPS;
  o.amount = amount;
  o.progress = s->run->progress;
  o.data_hash = s->run->data_hash;
  if (o.scope == REAP_SCOPE_AUTO) o.scope = REAP_SCOPE_INNER;
  if (!whole) o.images = images / 4 < LEAST_IMAGES / 2 ? LEAST_IMAGES / 2 : images / 4;
  if (!whole) o.producer_rounds = 0;
  if (s->paths) o.save_paths = NULL;
  REAP_TRY(reap_session_create(s->run->context->comm, &s->run->inputs->network, s->run->inputs->calibration, &o, out));
  reap_session_lend(*out, s->paths, NULL);
  reap_session_judge_on(*out, images);
  return REAP_OK;
}

static int prune(reap_session *session) {
  REAP_TRY(reap_session_plan(session));
  for (bool more = true; more;) REAP_TRY(reap_session_step(session, NULL, &more));
  return reap_session_finish(session);
}

static double excess(const search *s, const reap_view_figures *f) {
  const prune_bounds *b = &s->out->bounds;
  const double kl = isnan(b->kl) ? -INFINITY : log(fmax(f->kl.high, 1e-12) / b->kl);
  const double drop = isnan(b->drop) ? -INFINITY : log(fmax(f->drop.high, 1e-12) / b->drop);
  return fmax(fmax(kl, drop), UNPRUNED);
}

/* A budget that cannot be reached is out of bounds as well. Collective. */
static int try_budget(search *s, double amount, bool whole) {
  prune_tried *t = &s->out->tried[s->out->n++];
  reap_session *session = NULL;
  const double start = reap_seconds();
  *t = (prune_tried){.amount = amount, .whole = whole, .excess = INFINITY};
  int status = open_session(s, amount, whole, &session);
  if (status == REAP_OK) status = prune(session);
  if (status == REAP_ERR_USAGE) {
    reap_log(REAP_LOG_INFO, "budget %.3f: %s", amount, reap_error_message());
    reap_session_destroy(&session);
    return REAP_OK;
  }
  if (status == REAP_OK) {
    t->figures = reap_session_get_info(session)->views.figures;
    t->flops = reap_graph_flops(reap_session_graph(session));
    t->excess = excess(s, &t->figures);
    t->within = t->excess <= 0;
    t->seconds = reap_seconds() - start;
    reap_log(REAP_LOG_INFO, "budget %.3f%s: KL at most %.4g, drop at most %.3g points: %s", amount,
             whole ? "" : " in small", t->figures.kl.high, 100 * t->figures.drop.high,
             t->within ? "within the bounds" : "too much");
  }
  if (status != REAP_OK || !whole || !t->within || (s->best && amount >= s->amount)) {
    reap_session_destroy(&session);
    return status;
  }
  reap_session_destroy(&s->best);
  s->best = session;
  s->amount = amount;
  s->seconds = t->seconds;
  return REAP_OK;
}

/* ------------------------------------------------------------------ which budget */

/* Nearest ones tried on either side of zero, by the excess of trials (plus the offset) and of whole runs. */
static double next_budget(const search *s, bool whole) {
  double low = 0, high = 1, above = INFINITY, below = UNPRUNED;
  for (int k = 0; k < s->out->n; k++) {
    const prune_tried *t = &s->out->tried[k];
    const double e = t->excess + (whole && !t->whole ? s->offset : 0) - INSIDE * whole;
    if (e > 0 && t->amount > low) low = t->amount, above = e;
    if (e <= 0 && t->amount < high) high = t->amount, below = e;
  }
  if (low >= high) return 0.5 * (high + fmin(1, low + WIDTH)); /* noise: two budgets the wrong way round */
  if (isinf(above) && low > 0) return 0.5 * (low + high);
  if (isinf(above) && high == 1) return 0.5;
  if (isinf(above)) return fmax(fmax(LEAST, 0.5 * high), high + below * (1 - high) / fmax(below - UNPRUNED, 0.1));
  return low + (high - low) * above / (above - below);
}

/* What the interpolated trials say of that budget is corrected by what the whole run says. */
static void correct(search *s) {
  const prune_tried *last = &s->out->tried[s->out->n - 1];
  double low = 0, high = 1, above = NAN, below = UNPRUNED;
  for (int k = 0; k < s->out->n; k++) {
    const prune_tried *t = &s->out->tried[k];
    if (t->whole || isinf(t->excess)) continue;
    if (t->amount <= last->amount && t->amount >= low) low = t->amount, above = t->excess;
    if (t->amount >= last->amount && t->amount <= high) high = t->amount, below = t->excess;
  }
  if (isinf(last->excess) || (isnan(above) && high == 1)) return;
  if (isnan(above)) above = below;
  s->offset = last->excess - (high > low ? above + (below - above) * (last->amount - low) / (high - low) : above);
}

static bool is_near(const search *s, double amount) {
  for (int k = 0; k < s->out->n; k++)
    if (s->out->tried[k].whole && fabs(s->out->tried[k].amount - amount) < 1e-3) return true;
  return s->best && amount > s->amount - WIDTH;
}

static int refuse(const search *s) {
  const prune_tried *last = &s->out->tried[s->out->n - 1];
  return reap_error(
      REAP_ERR_NUMERIC,
      "no network is within the bounds: the last one tried, with %.3f of the multiply-adds, has a KL of at "
      "most %.4g and a drop of at most %.3g points on views of images held out",
      last->amount, last->figures.kl.high, 100 * last->figures.drop.high);
}

static int search_all(search *s, bool trials) {
  for (int k = 0; trials && k < TRIALS; k++) REAP_TRY(try_budget(s, next_budget(s, false), false));
  for (int k = 0; k < (trials ? 1 : 2) * WHOLE; k++) {
    const double amount = next_budget(s, true);
    if (is_near(s, amount)) break;
    REAP_TRY(try_budget(s, amount, true));
    correct(s);
  }
  return s->best ? REAP_OK : refuse(s);
}

/* ------------------------------------------------------------------ the search */

/* Before work starts. Local. */
static int check_bounds(const search *s, int64_t images) {
  const prune_search *out = s->out;
  if (out->images < REAP_HELD_OUT_LEAST)
    return reap_error(REAP_ERR_USAGE, "%s: of %lld images too few are held out to judge a bound; give at least %lld",
                      s->run->options->title, (long long)images,
                      (long long)(REAP_HELD_OUT_LEAST * REAP_SPLIT_TENTH.every));
  if (isnan(out->bounds.drop)) return REAP_OK;
  if (!reap_dataset_has_labels(s->run->inputs->calibration))
    return reap_error(REAP_ERR_USAGE, "%s: --max-drop needs labels, and %s has none", s->run->options->title,
                      s->run->options->calibration);
  reap_log(REAP_LOG_INFO, "the smallest drop that %lld images held out can prove is %.2f points",
           (long long)out->images, 100 * out->provable_drop);
  if (out->bounds.drop >= out->provable_drop) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "%s: --max-drop %g: %lld images held out prove a drop of %.4g at the least; give more "
                    "images, or bound the drop less",
                    s->run->options->title, out->bounds.drop, (long long)out->images, out->provable_drop);
}

/* Losses of all groups, once. Collective. */
static int measure(search *s) {
  reap_session *session = NULL;
  REAP_TRY(open_session(s, 1, true, &session));
  int status = image_range_check_original(s->run->context->comm, &s->run->inputs->network, s->run->inputs->calibration,
                                          s->run->options->settings.backend);
  if (status == REAP_OK) status = reap_session_measure(session);
  if (status == REAP_OK) s->paths = reap_session_take_paths(session);
  s->out->measuring = reap_session_get_info(session)->times;
  reap_session_destroy(&session);
  return status;
}

int prune_search_run(prune_run *run, prune_search *out) {
  const prune_options *o = run->options;
  const int64_t all = reap_dataset_images(run->inputs->calibration);
  const int64_t images = o->settings.images > 0 && o->settings.images < all ? o->settings.images : all;
  search s = {.run = run, .out = out, .offset = SMALLER};
  *out = (prune_search){.bounds = {o->max_kl, o->max_drop}, .images = reap_split_count(REAP_SPLIT_TENTH, images)};
  out->provable_drop = reap_hidden_share(out->images);
  run->search = out;
  REAP_TRY(reap_comm_agree(run->context->comm, check_bounds(&s, images)));
  int status = measure(&s);
  if (status == REAP_OK) status = search_all(&s, images >= LEAST_IMAGES);
  if (status != REAP_OK) reap_session_destroy(&s.best);
  for (int k = 0; k < out->n; k++) out->seconds_others += out->tried[k].seconds;
  out->seconds_others -= s.seconds;
  run->session = s.best;
  run->info = s.best ? reap_session_get_info(s.best) : NULL;
  run->paths = s.paths;
  return status;
}
