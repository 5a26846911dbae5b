/* Repair of a grouped convolution (depthwise: a group for each channel).
 *
 * Each group is a least-squares problem of its own, of its own inputs and outputs and nothing else. A group takes the
 * solution with the standard ridge; where rows are few also those that pull towards the weights it has, of all of which
 * the best on images held out. It keeps its weights if these do better there. What the moments of images held out say
 * of weights is exact, so that no rows are walked over again.
 *
 * Cost: the moments, and a solve of n^3 for each group (n: its columns), on rank 0. Memory: group_moments.h.
 */
#include "group_repair.h"

#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "stats/group_moments.h"

enum { MANY_ROWS = 100 };                  /* a column: no other ridge than the standard one is looked at */
static const double WORTH_CHANGING = 1e-3; /* of the error: less does not make another ridge */

/* Of the layer, on rank 0 while groups are solved. */
typedef struct totals {
  double before, after, energy, held_before, held_after, held_energy; /* squared errors, centred energies */
  double ridge;                                                       /* the largest taken */
  int64_t samples, held_samples;
  bool trained, changed;
} totals;

/* One group's problem. */
typedef struct problem {
  const run *run;
  const char *layer;
  const reap_moments *sums, *held;
  int64_t n, m, *all;     /* all: [channels] 0, 1, ... */
  double *weights, *bias; /* [n, m], [m] the present ones, then the best */
} problem;

static int error_of(const problem *p, const reap_moments *moments, const double *weights, const double *bias,
                    double *error) {
  *error = 0;
  return moments->samples == 0 ? REAP_OK : reap_moments_error(moments, moments->channels, p->all, weights, bias, error);
}

static int solve(const problem *p, const ridge_choice *ridge, reap_path **path, double *held) {
  const reap_solve_options options = reap_solver_local(ridge->ridge);
  reap_moments *pulled = NULL;
  int status = ridge->trained ? reap_ridge_pull(p->sums, ridge->ridge, p->weights, &pulled) : REAP_OK;
  const reap_gram gram = reap_gram_of(pulled ? pulled : p->sums);
  if (status == REAP_OK) status = reap_refit(&gram, gram.channels, p->all, &options, p->layer, path);
  if (status == REAP_OK) status = error_of(p, p->held, (*path)->weights, (*path)->bias, held);
  reap_moments_destroy(&pulled);
  return status;
}

/* The best of the candidates, and its error on images held out. */
static int solve_best(const problem *p, reap_path **best, ridge_choice *ridge, double *held) {
  const ridge_choice standard = {p->run->options->ridge, false};
  const bool looks = p->held->samples > 0 && p->sums->samples < MANY_ROWS * p->n;
  ridge_choice list[RIDGE_MOST_CANDIDATES];
  const int count = looks ? reap_ridge_list(RIDGE_PULLS, &standard, list) : 1;
  if (!looks) list[0] = standard;
  REAP_TRY(solve(p, &list[0], best, held));
  double least = (1 - WORTH_CHANGING) * *held;
  *ridge = standard;
  for (int k = 1; k < count; k++) {
    reap_path *other = NULL;
    double error = 0;
    const int status = solve(p, &list[k], &other, &error);
    if (status == REAP_OK && error < least) {
      reap_path *last = *best;
      *best = other;
      other = last;
      *held = least = error;
      *ridge = list[k];
    }
    reap_path_destroy(&other);
    REAP_TRY(status);
  }
  return REAP_OK;
}

/* On images held out if there are any. */
static bool is_better(const problem *p, double before, double after) {
  return p->held->samples > 0 ? after < before : p->sums->samples >= 5 * p->n;
}

static int solve_group(const problem *p, totals *t) {
  reap_path *path = NULL;
  ridge_choice ridge;
  double before = 0, after = 0, held_before = 0, held = 0;
  REAP_TRY(error_of(p, p->sums, p->weights, p->bias, &before));
  REAP_TRY(error_of(p, p->held, p->weights, p->bias, &held_before));
  int status = solve_best(p, &path, &ridge, &held);
  if (status == REAP_OK) status = error_of(p, p->sums, path->weights, path->bias, &after);
  const bool better = status == REAP_OK && is_better(p, held_before, held);
  if (better) {
    memcpy(p->weights, path->weights, (size_t)(p->n * p->m) * sizeof *p->weights);
    memcpy(p->bias, path->bias, (size_t)p->m * sizeof *p->bias);
    t->changed = true;
    if (ridge.ridge > t->ridge) t->ridge = ridge.ridge;
    t->trained |= ridge.trained;
  }
  t->before += before;
  t->after += better ? after : before;
  t->held_before += held_before;
  t->held_after += better ? held : held_before;
  t->energy += reap_moments_centred_energy(p->sums);
  if (p->held->samples > 0) t->held_energy += reap_moments_centred_energy(p->held);
  reap_path_destroy(&path);
  return status;
}

/* Columns first .. first + m of weights [n, outputs] and of the bias, to a group's own and back. */
static void take_group(const problem *p, int64_t outputs, int64_t first, const double *weights, const double *bias) {
  for (int64_t i = 0; i < p->n; i++)
    memcpy(p->weights + i * p->m, weights + i * outputs + first, (size_t)p->m * sizeof *weights);
  memcpy(p->bias, bias + first, (size_t)p->m * sizeof *bias);
}

static void put_group(const problem *p, int64_t outputs, int64_t first, decision *d) {
  for (int64_t i = 0; i < p->n; i++)
    memcpy(d->weights + i * outputs + first, p->weights + i * p->m, (size_t)p->m * sizeof *p->weights);
  memcpy(d->bias + first, p->bias, (size_t)p->m * sizeof *p->bias);
}

/* The groups whose moments are at hand, on rank 0. */
static int solve_groups(problem *p, step *s, const reap_group_moments *moments, const double *weights,
                        const double *bias, totals *t) {
  for (int64_t k = 0; k < moments->count; k++) {
    const int64_t first = (moments->first + k) * p->m;
    p->sums = moments->in_sums[k];
    p->held = moments->held_out[k];
    t->samples = p->sums->samples;
    t->held_samples = p->held->samples;
    take_group(p, s->layer.m, first, weights, bias);
    REAP_TRY(solve_group(p, t));
    put_group(p, s->layer.m, first, &s->decision);
  }
  return REAP_OK;
}

/* Batches of groups, one after the other. Collective. */
static int walk(run *r, step *s, problem *p, const double *weights, const double *bias, totals *t) {
  const int64_t groups = s->layer.groups;
  int64_t batch = 0;
  double multiply_adds = 0, bytes = 0;
  REAP_TRY(reap_comm_agree(r->comm, reap_group_moments_batch(&s->data, &batch, &multiply_adds, &bytes)));
  for (int64_t first = 0; first < groups; first += batch) {
    const double start = reap_seconds();
    reap_group_moments moments;
    int status =
        reap_group_moments_gather(r->comm, &s->data, first, groups - first < batch ? groups - first : batch, &moments);
    s->gram.multiply_adds += moments.multiply_adds;
    s->gram.seconds += reap_seconds() - start;
    if (status == REAP_OK && reap_comm_rank(r->comm) == 0) status = solve_groups(p, s, &moments, weights, bias, t);
    status = reap_comm_agree(r->comm, status);
    reap_group_moments_clear(&moments);
    REAP_TRY(status);
  }
  return REAP_OK;
}

/* Rank 0's to all. Collective. */
static int share(const run *r, step *s, totals *t, reap_held_out_error *before) {
  decision *d = &s->decision;
  REAP_TRY(reap_comm_broadcast(r->comm, t, sizeof *t, 0));
  REAP_TRY(reap_comm_broadcast(r->comm, d->weights, (size_t)(s->layer.n * d->m) * sizeof *d->weights, 0));
  REAP_TRY(reap_comm_broadcast(r->comm, d->bias, (size_t)d->m * sizeof *d->bias, 0));
  *before = (reap_held_out_error){t->held_samples, t->held_before, t->held_energy};
  s->held_out = (reap_held_out_error){t->held_samples, t->held_after, t->held_energy};
  s->gram.view.samples = t->samples;
  d->record.error_before = reap_relative_error(t->before, t->energy);
  d->record.relative_error = reap_relative_error(t->after, t->energy);
  d->record.held_out_before = reap_step_held_out_error(before);
  d->record.held_out_error = reap_step_held_out_error(&s->held_out);
  d->record.ridge = t->ridge;
  d->record.ridge_trained = t->trained;
  d->record.changed = t->changed;
  return REAP_OK;
}

int reap_repair_groups(run *r, step *s, const double *weights, const double *bias, reap_held_out_error *before) {
  const reap_layer *layer = &s->layer;
  problem p = {.run = r,
               .layer = r->pruned->nodes[s->node]->layer,
               .n = layer->n,
               .m = layer->m / layer->groups,
               .all = s->decision.record.kept};
  totals t = {.ridge = r->options->ridge};
  int status = reap_alloc(&p.weights, p.n * p.m, sizeof *p.weights);
  if (status == REAP_OK) status = reap_alloc(&p.bias, p.m, sizeof *p.bias);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = walk(r, s, &p, weights, bias, &t);
  if (status == REAP_OK) status = share(r, s, &t, before);
  reap_free(&p.weights);
  reap_free(&p.bias);
  return status;
}
