/* A pruned layer and the layer that produces its inputs, solved in turn.
 *
 * Least squares fits the pruned layer to the channels that stay, which still have the values of the full network. The
 * layer that produces them can be fitted as well: with T the target, x the producer's inputs, w_j its
 * weights for channel j and U the weights of the pruned layer,
 *
 *     min over w, U of  sum | T - sum_j U_j f(w_j x) |^2,     f what acts on each number between them.
 *
 * For given w that is the least-squares problem of U. For given U, and f with the slope that it has now (D_j; of a Relu
 * 0 or 1), it is one in w, with the residual R and B_j = D_j (R U')_j as half its negative gradient in the producer's
 * outputs. A round is
 *
 *     V  =  (G + S)^-1 x'B              regression of B on the producer's inputs, G their Gram matrix, S a ridge
 *     K_ij = mean over positions of D_i D_j, times sum over outputs and taps of U_i U_j
 *     w  <-  w + step V K^-1            Gauss-Newton with the curvature factored into inputs and outputs
 *     U  <-  least squares
 *
 * where a factored curvature (the idea of K-FAC, Martens and Grosse, ICML 2015) takes positions as if taps did not
 * overlap and inputs and what is let through as if they were independent. That is wrong in detail and right in scale:
 * the error with U solved anew decides. If it falls, the round counts and the step grows towards 1; if not, the weights
 * go back and the step shrinks. No labels, no learning rate.
 *
 * Where the producer writes into a stream that was cut, others read what the consumer reads: later blocks. For them the
 * stream itself is a target, its entries that are left in the original: OF_STREAM times the relative error there is
 * added to the consumer's, its residual to B and its weight to the diagonal of K. What the stream gets from elsewhere
 * stays. ResNet-20 with 11 of 16 channels of its first stream, nothing else: KL 0.0896 without, 0.0732 with it; 0.0729
 * and 0.0790 with a quarter and four times that weight (1000 images).
 *
 * Rounds are on a part of the images (producer_pass.h); the last U and all errors reported are of all of them. Both
 * layers stay as they were unless the held-out error falls, by the rows and run forward (forward_error.h).
 *
 * On ResNet-56 for CIFAR-10 at 0.4 of the multiply-adds four rounds lowered the error of the first blocks by a quarter,
 * of those in the middle by a twentieth, of the last ones by a hundredth, and with all of that the divergence from the
 * original on test images from 0.157 to 0.107. Ten rounds brought no more (0.113); gradient descent on both layers'
 * weights, 3000 steps a block and many times as long, came to 0.095.
 *
 * Cost of a round: moments of both layers on these images, and some five passes through them. Memory: the producer's
 * inputs are held until the step is done, moments of both layers one after the other. Failure modes: none of its own; a
 * singular K has a hundredth of its diagonal added.
 */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "linalg/dense.h"
#include "model/groups/surgery.h"
#include "producer_pass.h"
#include "prune/run/forward_error.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

static const double RIDGE = 1e-3;           /* of the regression: a direction, not a solution */
static const double CURVATURE_RIDGE = 0.01; /* of K */
static const double FIRST_STEP = 0.5, LEAST_STEP = 0.05, GROW = 1.5, SHRINK = 1.0 / 3;
static const double OF_STREAM = 1;          /* weight of the stream's relative error beside the consumer's */
static const double WORTH_GOING_ON = 0.005; /* of the error, a round */

/* Weights of a layer, as surgery.h has them. */
typedef struct weights {
  int node;
  int64_t n, m;
  double *w, *bias; /* [n, m] row-major, [m] */
} weights;

typedef struct search {
  run *run;
  producer_pass pass;
  weights producer, consumer; /* the best so far, in the graph unless a round is under way */
  weights trial, trial_consumer;
  double *both;              /* [channels, channels] */
  double error, trial_error; /* of the consumer on the images used, relative; with the stream's where others read it */
  double weight;             /* of the stream's squared errors beside the consumer's */
} search;

int reap_step_find_producer(const run *r, step *s) {
  if (r->options->producer_rounds <= 0 || !r->options->refit || reap_prune_own_weights(r->options)) return -1;
  if (reap_run_frozen(r)) return -1;
  producer_path *path = &s->path;
  const bool stream = r->stays && r->stays[s->layer.input].entries;
  if (!reap_producer_path_find(r->pruned, s->node, stream, path)) return -1;
  if (r->front_pruned && reap_frontier_done(r->front_pruned, path->producer)) return -1;
  return r->options->repair && r->options->repair[path->producer] ? path->producer : -1;
}

/* ------------------------------------------------------------------ weights */

static int weights_create(const reap_layer *layer, weights *w) {
  w->node = layer->node;
  w->n = layer->n;
  w->m = layer->m;
  REAP_TRY(reap_alloc(&w->w, w->n * w->m, sizeof *w->w));
  return reap_alloc(&w->bias, w->m, sizeof *w->bias);
}

static void weights_clear(weights *w) {
  reap_free(&w->w);
  reap_free(&w->bias);
}

static void weights_copy(weights *to, const weights *from) {
  memcpy(to->w, from->w, (size_t)(from->n * from->m) * sizeof *to->w);
  memcpy(to->bias, from->bias, (size_t)from->m * sizeof *to->bias);
}

static void weights_get(const run *r, weights *w) { reap_surgery_get_weights(r->pruned, w->node, w->w, w->bias); }

static int weights_set(const run *r, const weights *w) {
  return reap_surgery_set_weights(r->pruned, w->node, w->w, w->bias);
}

static int weights_share(const reap_comm *comm, const weights *w) {
  REAP_TRY(reap_comm_broadcast(comm, w->w, (size_t)(w->n * w->m) * sizeof *w->w, 0));
  return reap_comm_broadcast(comm, w->bias, (size_t)w->m * sizeof *w->bias, 0);
}

/* ------------------------------------------------------------------ set up */

static int open_search(run *r, const step *s, search *x) {
  x->run = r;
  REAP_TRY(reap_producer_pass_create(r, s, &x->pass));
  const reap_layer *p = &x->pass.producer, *c = &x->pass.consumer;
  REAP_TRY(weights_create(p, &x->producer));
  REAP_TRY(weights_create(p, &x->trial));
  REAP_TRY(weights_create(c, &x->consumer));
  REAP_TRY(weights_create(c, &x->trial_consumer));
  weights_get(r, &x->producer);
  weights_get(r, &x->consumer);
  return reap_alloc(&x->both, c->channels * c->channels, sizeof *x->both);
}

static void close_search(search *x) {
  reap_producer_pass_clear(&x->pass);
  weights_clear(&x->producer);
  weights_clear(&x->trial);
  weights_clear(&x->consumer);
  weights_clear(&x->trial_consumer);
  reap_free(&x->both);
}

/* Both layers' weights into the graph. Local. */
static int put(search *x, const weights *producer, const weights *consumer) {
  REAP_TRY(weights_set(x->run, producer));
  REAP_TRY(weights_set(x->run, consumer));
  return reap_producer_pass_renew(&x->pass);
}

/* ------------------------------------------------------------------ one round */

static int regress(const reap_moments *moments, double ridge, const char *what, weights *out, double *error) {
  const reap_gram gram = reap_gram_of(moments);
  const reap_solve_options options = reap_solver_local(ridge);
  int64_t *all = NULL;
  reap_path *path = NULL;
  REAP_TRY(reap_alloc(&all, moments->channels, sizeof *all));
  for (int64_t c = 0; c < moments->channels; c++) all[c] = c;
  int status = reap_refit(&gram, gram.channels, all, &options, what, &path);
  if (status == REAP_OK) {
    memcpy(out->w, path->weights, (size_t)(out->n * out->m) * sizeof *out->w);
    memcpy(out->bias, path->bias, (size_t)out->m * sizeof *out->bias);
    status = reap_moments_error(moments, moments->channels, all, out->w, out->bias, error);
  }
  reap_path_destroy(&path);
  reap_free(&all);
  return status;
}

/* x->trial_consumer and x->trial_error for the producer that is in the graph. Collective. */
static int solve_consumer(search *x) {
  const reap_comm *comm = x->run->comm;
  reap_moments *moments = NULL;
  double drift, square;
  REAP_TRY(reap_producer_pass_moments(&x->pass, &moments, &drift, &square));
  int status = REAP_OK;
  if (reap_comm_rank(comm) == 0) {
    status = regress(moments, x->run->options->ridge, x->pass.names[1], &x->trial_consumer, &x->trial_error);
    const double energy = reap_moments_centred_energy(moments);
    x->trial_error = reap_relative_error(x->trial_error, energy) + OF_STREAM * reap_relative_error(drift, square);
    x->weight = square > 0 ? OF_STREAM * energy / square : 0;
  }
  reap_moments_destroy(&moments);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_comm_broadcast(comm, &x->trial_error, sizeof x->trial_error, 0));
  REAP_TRY(reap_comm_broadcast(comm, &x->weight, sizeof x->weight, 0));
  return weights_share(comm, &x->trial_consumer);
}

/* K in its lower triangle, with what keeps it definite. */
static int curvature(const search *x, double *k) {
  const reap_layer *c = &x->pass.consumer;
  const int64_t n = c->channels, width = c->block * c->m; /* a channel's weights lie next to each other */
  REAP_TRY(reap_dsyrk_lower('T', n, width, 1, x->consumer.w, width, 0, k, n));
  double largest = 0;
  for (int64_t j = 0; j < n; j++) k[j + j * n] += x->weight;
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = j; i < n; i++) k[i + j * n] *= x->both[i + j * n];
  for (int64_t j = 0; j < n; j++) largest = fmax(largest, k[j + j * n]);
  for (int64_t j = 0; j < n; j++) k[j + j * n] += CURVATURE_RIDGE * k[j + j * n] + 1e-9 * largest;
  return REAP_OK;
}

/* V K^-1 in place of V; nothing to gain (zeros) where K is zero. */
static int divide(const search *x, weights *v) {
  const int64_t n = x->pass.consumer.channels;
  double *k = NULL;
  int64_t info = 0;
  REAP_TRY(reap_alloc(&k, n * n, sizeof *k));
  int status = curvature(x, k);
  if (status == REAP_OK) status = reap_dpotrf_lower(n, k, n, &info);
  if (status == REAP_OK && info == 0) status = reap_dpotrs_lower(n, v->n, k, n, v->w, n);
  if (status == REAP_OK && info == 0) status = reap_dpotrs_lower(n, 1, k, n, v->bias, n);
  if (info != 0) {
    memset(v->w, 0, (size_t)(v->n * v->m) * sizeof *v->w);
    memset(v->bias, 0, (size_t)v->m * sizeof *v->bias);
  }
  reap_free(&k);
  return status;
}

/* x->trial: the producer moved by so many Gauss-Newton steps. Collective. */
static int propose(search *x, double length) {
  const reap_comm *comm = x->run->comm;
  reap_moments *moments = NULL;
  double ignored = 0;
  REAP_TRY(reap_producer_pass_back(&x->pass, x->weight, &moments, x->both));
  int status = REAP_OK;
  if (reap_comm_rank(comm) == 0) {
    weights *t = &x->trial;
    status = regress(moments, RIDGE, x->pass.names[0], t, &ignored);
    if (status == REAP_OK) status = divide(x, t);
    for (int64_t i = 0; i < t->n * t->m; i++) t->w[i] = x->producer.w[i] + length * t->w[i];
    for (int64_t j = 0; j < t->m; j++) t->bias[j] = x->producer.bias[j] + length * t->bias[j];
  }
  reap_moments_destroy(&moments);
  REAP_TRY(reap_comm_agree(comm, status));
  return weights_share(comm, &x->trial);
}

/* Rounds until the error hardly falls; the best weights are in x and in the graph. Collective. */
static int search_rounds(search *x, int most, int64_t *rounds) {
  const reap_comm *comm = x->run->comm;
  double length = FIRST_STEP;
  REAP_TRY(reap_comm_agree(comm, reap_producer_pass_renew(&x->pass)));
  REAP_TRY(solve_consumer(x));
  x->error = x->trial_error;
  weights_copy(&x->consumer, &x->trial_consumer);
  REAP_TRY(reap_comm_agree(comm, put(x, &x->producer, &x->consumer)));
  for (*rounds = 0; *rounds < most && length >= LEAST_STEP;) {
    ++*rounds;
    REAP_TRY(propose(x, length));
    REAP_TRY(reap_comm_agree(comm, put(x, &x->trial, &x->consumer)));
    REAP_TRY(solve_consumer(x));
    const double before = x->error;
    const bool better = x->trial_error < before;
    if (better) {
      weights_copy(&x->producer, &x->trial);
      weights_copy(&x->consumer, &x->trial_consumer);
      x->error = x->trial_error;
    }
    length = better ? fmin(1, length * GROW) : length * SHRINK;
    REAP_TRY(reap_comm_agree(comm, put(x, &x->producer, &x->consumer)));
    if (better && x->error > (1 - WORTH_GOING_ON) * before) break;
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ the result */

/* The consumer solved on all images, inputs as they are now: into `after`. Collective. */
static int solve_all(run *r, const step *s, step *after) {
  const ridge_choice ridge = {r->options->ridge, false};
  REAP_TRY(reap_step_moments(r, after));
  const reap_layer *l = &after->layer;
  int status = reap_decision_create(l->channels, l->block, l->m, l->channels, &after->decision);
  for (int64_t c = 0; status == REAP_OK && c < l->channels; c++) after->decision.record.kept[c] = c;
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK)
    status = reap_decision_refit(r->comm, r->pruned->nodes[s->node]->layer, after->gram.moments, &ridge, NULL,
                                 &after->decision);
  if (status == REAP_OK)
    status = reap_step_measure_held_out(r, after, after->decision.weights, after->decision.bias, &after->held_out);
  return status;
}

/* The stream's part, of those images on which errors are compared; 0 where nothing else reads it. Collective. */
static int measure_stream(const run *r, const step *s, double *drift) {
  *drift = 0;
  return s->path.shared ? reap_stream_drift_measure(r, s->layer.input, s->held_out.samples > 0, drift) : REAP_OK;
}

/* On images held out if there are any. fall: of the stream's relative error. */
static bool is_better(const step *after, const step *s, double fall) {
  const double gain = OF_STREAM * fall;
  if (s->held_out.samples > 0) return after->held_out.error < s->held_out.error + gain * s->held_out.energy;
  return !reap_step_has_few_samples(s) &&
         after->decision.record.relative_error < s->decision.record.relative_error + gain;
}

static void take_over(step *s, const step *after) {
  decision *d = &s->decision;
  const decision *from = &after->decision;
  memcpy(d->weights, from->weights, (size_t)(from->record.n_kept * from->block * from->m) * sizeof *d->weights);
  memcpy(d->bias, from->bias, (size_t)from->m * sizeof *d->bias);
  d->record.relative_error = from->record.relative_error;
  d->record.ridge = from->record.ridge;
  d->record.ridge_trained = from->record.ridge_trained;
  s->held_out = after->held_out;
}

/* The consumer has to do in the network what its rows say; if not, what it does there decides. Collective. */
static int confirm(run *r, step *s, step *after, double fall) {
  const double start = reap_seconds();
  forward_error forward;
  REAP_TRY(reap_forward_error_measure(r, after, after->decision.weights, after->decision.bias, &forward));
  r->result->seconds_held_out += reap_seconds() - start;
  if (reap_forward_error_agrees(&forward, &after->held_out)) return REAP_OK;
  reap_forward_error_warn(r, s, &after->held_out, forward.error, s->held_out.error, "those of both layers before");
  after->held_out.error = forward.error;
  s->decision.record.producer_changed = is_better(after, s, fall);
  return REAP_OK;
}

/* As the layer was. Local. */
static int restore(run *r, int node, const reap_graph *before) {
  const int64_t whole = 0;
  return reap_surgery_copy_weights(r->pruned, node, before, 0, 1, 1, &whole);
}

/* Either all of it, or nothing. before: both layers as they were. Collective. */
static int conclude(run *r, step *s, const search *x, reap_graph *const before[2]) {
  step after = {.group = s->group,
                .node = s->node,
                .producer = s->producer, /* its moments are whole, too */
                .layer = x->pass.consumer,
                .shortcut = s->shortcut,
                .start = s->start};
  bool *changed = &s->decision.record.producer_changed;
  double drift = 0, drift_after = 0;
  int status = measure_stream(r, s, &drift);
  if (status == REAP_OK) status = reap_comm_agree(r->comm, reap_run_advance_again(r, s));
  if (status == REAP_OK) status = solve_all(r, s, &after);
  if (status == REAP_OK) status = measure_stream(r, s, &drift_after);
  if (status == REAP_OK) {
    *changed = is_better(&after, s, drift - drift_after);
    if (*changed && reap_forward_error_wanted(r, &after.held_out)) status = confirm(r, s, &after, drift - drift_after);
  }
  if (status == REAP_OK) {
    if (*changed) {
      take_over(s, &after);
      status = reap_surgery_set_weights(r->pruned, s->node, s->decision.weights, s->decision.bias);
    } else {
      status = restore(r, x->producer.node, before[0]);
      if (status == REAP_OK) status = restore(r, x->consumer.node, before[1]);
      if (status == REAP_OK) status = reap_run_advance_again(r, s);
    }
    status = reap_comm_agree(r->comm, status);
  }
  reap_gram_clear(&after.gram);
  reap_step_clear_taps(&after);
  reap_decision_clear(&after.decision);
  return status;
}

static int solve_both(run *r, step *s) {
  search x = {0};
  reap_graph *before[2] = {NULL, NULL};
  int status = open_search(r, s, &x);
  if (status == REAP_OK) status = reap_graph_extract(r->pruned, x.producer.node, 1, &before[0]);
  if (status == REAP_OK) status = reap_graph_extract(r->pruned, x.consumer.node, 1, &before[1]);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  const double start =
      reap_seconds(); /* what follows the rounds is counted by what it is: forward, moments, held-out error */
  REAP_TRY_OR(search_rounds(&x, r->options->producer_rounds, &s->decision.record.producer_rounds), done);
  r->result->seconds_producers += reap_seconds() - start;
  status = conclude(r, s, &x, before);
done:
  close_search(&x);
  reap_graph_destroy(&before[0]);
  reap_graph_destroy(&before[1]);
  return status;
}

int reap_step_producer(run *r, step *s) {
  if (s->producer < 0 || !s->before || !s->gram.moments) return REAP_OK;
  const double start = reap_seconds();
  reap_step_record *record = &s->decision.record;
  reap_step_tell(r, s, "producer");
  record->alone_error = record->relative_error;
  record->alone_held_out = reap_step_held_out_error(&s->held_out);
  int status = reap_comm_agree(r->comm, reap_strdup(&record->producer, r->pruned->nodes[s->producer]->layer));
  if (status == REAP_OK) status = solve_both(r, s);
  if (s->group < 0) {
    record->changed |= record->producer_changed;
    record->held_out_error = reap_step_held_out_error(&s->held_out);
  }
  record->producer_seconds = reap_seconds() - start;
  return reap_error_prefix(status, "solving %s with the layer before", r->pruned->nodes[s->node]->layer);
}
