/* Channels and weights of the layer at hand: by the method with the standard ridge, then with the ridge that images
 * held out prefer.
 *
 * Rank 0's decision is broadcast: solves repeated on every rank could diverge where processors differ. From replicated
 * moments rank 0 chooses and solves, or all ranks do where the solver is distributed.
 *
 * From few rows, and from moments that no rank holds, all ranks choose and solve, with the options' ridge. Memory of a
 * rank besides its share of the solver (elimination.c) and of the moments (moments_panels.h): the weights of the
 * channels kept, which become part of the network on every rank; rank 0's are the solver's own array. The plain error
 * comes from the last solve (fit.c): where it is below what rounding leaves, it is 0.
 */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "linalg/placement.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "run.h"

int reap_decision_create(int64_t channels, int64_t block, int64_t m, int64_t n_kept, decision *d) {
  memset(d, 0, sizeof *d);
  d->block = block;
  d->m = m;
  d->record.channels = channels;
  d->record.n_kept = n_kept;
  d->record.n_removed = channels - n_kept;
  REAP_TRY(reap_calloc(&d->record.kept, n_kept, sizeof *d->record.kept));
  REAP_TRY(reap_calloc(&d->record.removed, channels - n_kept, sizeof *d->record.removed));
  REAP_TRY(reap_calloc(&d->record.path, channels - n_kept, sizeof *d->record.path));
  REAP_TRY(reap_calloc(&d->weights, n_kept * block * m, sizeof *d->weights));
  return reap_calloc(&d->bias, m, sizeof *d->bias);
}

void reap_decision_clear(decision *d) {
  reap_record_clear(&d->record);
  reap_free(&d->weights);
  reap_free(&d->bias);
}

/* What is predicted, and the errors along the path where the method gives them. */
static void take_path(const reap_path *path, bool eliminated, decision *d) {
  d->record.has_path = eliminated;
  for (int64_t i = 0; eliminated && i < path->n_removed; i++)
    d->record.path[i] = reap_relative_error(path->error_plain[i], path->energy);
  d->record.predicted_relative_error =
      eliminated ? (path->n_removed ? reap_relative_error(path->error[path->n_removed - 1], path->energy) : 0) : NAN;
  d->record.ridge = path->ridge;
  d->record.rcond = path->rcond;
  d->record.drift = path->drift;
}

/* The path's weights become the decision's, without a second copy of them. */
static void swap_weights(reap_path *path, decision *d) {
  double *weights = d->weights;
  d->weights = path->weights;
  path->weights = weights;
  memcpy(d->bias, path->bias, (size_t)d->m * sizeof *d->bias);
}

/* The present weights of the channels kept; bias may be d's own. */
static void slice_weights(const double *weights, const double *bias, decision *d) {
  const int64_t rows = d->block * d->m;
  for (int64_t k = 0; k < d->record.n_kept; k++)
    memcpy(d->weights + k * rows, weights + d->record.kept[k] * rows, (size_t)rows * sizeof *weights);
  memmove(d->bias, bias, (size_t)d->m * sizeof *bias);
}

/* Errors of moments that hold the ridge's pull (see ridge.h): what is predicted is relative to the plain energy, and
 * of the path's plain errors only the last is known. */
static void correct_path(const reap_path *path, double energy, decision *d) {
  const int64_t n = path->n_removed;
  if (!d->record.has_path || n == 0) return;
  for (int64_t i = 0; i < n; i++) d->record.path[i] = NAN;
  d->record.path[n - 1] = d->record.relative_error;
  d->record.predicted_relative_error = reap_relative_error(path->error[n - 1], energy);
}

/* Rank 0's decision to all. */
static int share(const reap_comm *comm, decision *d) {
  REAP_TRY(reap_record_broadcast(comm, &d->record));
  REAP_TRY(reap_comm_broadcast(comm, d->weights, (size_t)(d->record.n_kept * d->block * d->m) * sizeof *d->weights, 0));
  return reap_comm_broadcast(comm, d->bias, (size_t)d->m * sizeof *d->bias, 0);
}

/* ------------------------------------------------------------------ the method's choice */

/* The channels, those given or the method's. *path: as from reap_method_select. Local, or collective over
 * evidence->comm. */
static int choose(const run *r, const reap_evidence *evidence, decision *d, reap_path **path) {
  if (!d->given)
    return reap_method_select(r->options->method, r->method_state, evidence, d->record.kept, d->record.removed, path);
  memcpy(d->record.kept, d->given, (size_t)d->record.n_kept * sizeof *d->record.kept);
  reap_channels_left_out(d->record.channels, d->record.n_kept, d->record.kept, d->record.removed);
  return REAP_OK;
}

/* Least-squares weights for rank 0's choice: by rank 0, or by all where no rank holds the moments. */
static int fit(const run *r, const reap_gram *gram, const reap_solve_options *options, const char *what, decision *d,
               reap_path **path) {
  const bool first = reap_comm_rank(r->comm) == 0;
  reap_solve_options o = *options;
  o.no_weights = !first;
  if (gram->moments) return first ? reap_refit(gram, d->record.n_kept, d->record.kept, &o, what, path) : REAP_OK;
  REAP_TRY(reap_comm_broadcast(r->comm, d->record.kept, (size_t)d->record.n_kept * sizeof *d->record.kept, 0));
  return reap_refit(gram, d->record.n_kept, d->record.kept, &o, what, path);
}

/* On rank 0. plain: the layer's moments; NULL if no rank holds them: weights and error are the re-solved ones' then. */
static int take(const run *r, const reap_moments *plain, bool pulled, const double *present_weights,
                const double *present_bias, reap_path *path, decision *d) {
  double error = 0;
  swap_weights(path, d);
  if (!plain) {
    d->record.relative_error =
        path->n_removed > 0 ? reap_relative_error(path->error_plain[path->n_removed - 1], path->energy) : 0;
    return REAP_OK;
  }
  if (!r->options->refit) slice_weights(present_weights, present_bias, d);
  REAP_TRY(reap_moments_error(plain, d->record.n_kept, d->record.kept, d->weights, d->bias, &error));
  d->record.relative_error = reap_relative_error(error, reap_moments_centred_energy(plain));
  if (pulled) correct_path(path, reap_moments_centred_energy(plain), d);
  return REAP_OK;
}

/* Collective: channels and weights, the same on all ranks. present: weights [channels * block, m] and bias [m] that the
 * layer has now; NULL where no rank holds the moments. */
static int make(const run *r, const step *s, const ridge_choice *ridge, const double *present_weights,
                const double *present_bias, decision *d) {
  const reap_prune_options *o = r->options;
  const reap_group *group = reap_groups_at(r->groups, s->group);
  const reap_moments *plain = s->gram.view.moments;
  const bool first = reap_comm_rank(r->comm) == 0;
  const bool all = !d->given && (o->method->can & REAP_CAN_DISTRIBUTED) &&
                   (!plain || reap_solver_choose(r->comm, o->solver, s->layer.n, s->layer.m) == REAP_SOLVER_SCALAPACK);
  const reap_solve_options solve =
      plain && !all ? reap_solver_local(ridge->ridge) : reap_solver_distributed(r->comm, o->solver, ridge->ridge);
  reap_gram gram = s->gram.view;
  const bool own = !d->given && reap_prune_own_weights(o);
  const reap_reader reader = {s->node, &gram, NULL};
  const reap_evidence evidence = {.graph = r->pruned,
                                  .group = group,
                                  .n_kept = d->record.n_kept,
                                  .gram = &gram,
                                  .n_readers = 1,
                                  .readers = &reader,
                                  .ridge = ridge->ridge,
                                  .seed = o->seed,
                                  .comm = all ? solve.comm : NULL,
                                  .own_weights = own};
  const bool has_path = !d->given && (o->method->gives & REAP_GIVES_PATH);
  reap_moments *pulled = NULL;
  reap_path *path = NULL;
  int status = REAP_OK;
  if (ridge->trained && (all || first)) status = reap_ridge_pull(plain, ridge->ridge, present_weights, &pulled);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  if (pulled) gram = reap_gram_of(pulled);
  if (all || first) status = choose(r, &evidence, d, &path);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  if (!has_path && !own) status = fit(r, &gram, &solve, group->name, d, &path);
  if (status == REAP_OK && path) take_path(path, has_path, d);
  if (status == REAP_OK && first) status = take(r, plain, pulled != NULL, present_weights, present_bias, path, d);
  d->record.distributed = solve.comm != NULL && !s->gram.rows;
  d->record.ridge_trained = ridge->trained;
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  status = share(r->comm, d); /* numbers that every rank works out for itself may differ where processors do */
done:
  reap_path_destroy(&path);
  reap_moments_destroy(&pulled);
  return status;
}

/* ------------------------------------------------------------------ other weights */

static int refit(const char *what, const reap_moments *moments, const ridge_choice *ridge,
                 const double *present_weights, decision *d) {
  reap_moments *pulled = NULL;
  reap_path *path = NULL;
  double error = 0;
  int status = REAP_OK;
  if (ridge->trained) REAP_TRY(reap_ridge_pull(moments, ridge->ridge, present_weights, &pulled));
  const reap_gram gram = reap_gram_of(pulled ? pulled : moments);
  const reap_solve_options options = reap_solver_local(ridge->ridge);
  REAP_TRY_OR(reap_refit(&gram, d->record.n_kept, d->record.kept, &options, what, &path), done);
  swap_weights(path, d);
  REAP_TRY_OR(reap_moments_error(moments, d->record.n_kept, d->record.kept, d->weights, d->bias, &error), done);
  d->record.relative_error = reap_relative_error(error, reap_moments_centred_energy(moments));
  d->record.ridge = path->ridge;
  d->record.rcond = path->rcond;
  d->record.ridge_trained = ridge->trained;
done:
  reap_path_destroy(&path);
  reap_moments_destroy(&pulled);
  return status;
}

int reap_decision_refit(const reap_comm *comm, const char *what, const reap_moments *moments, const ridge_choice *ridge,
                        const double *present_weights, decision *d) {
  int status = reap_comm_rank(comm) == 0 ? refit(what, moments, ridge, present_weights, d) : REAP_OK;
  REAP_TRY(reap_comm_agree(comm, status));
  return share(comm, d);
}

/* ------------------------------------------------------------------ the step */

/* The ridge that images held out prefer to the standard one, with the channels it keeps if those stand the test too. */
static int improve_ridge(run *r, step *s, const ridge_choice *standard, const double *weights, const double *bias) {
  const reap_moments *moments = s->gram.moments;
  decision *d = &s->decision, other = {0};
  ridge_choice best;
  double error = 0, again = 0;
  REAP_TRY(reap_ridge_choose(r->comm, &s->data, moments, weights, d->record.n_kept, d->record.kept,
                             r->options->ridge_rule == REAP_RIDGE_EVERY_LAYER ? RIDGE_ALL : RIDGE_FEW_ROWS, standard,
                             &best, &error));
  if (best.ridge == standard->ridge && best.trained == standard->trained) return REAP_OK;
  int status =
      reap_comm_agree(r->comm, reap_decision_create(d->record.channels, d->block, d->m, d->record.n_kept, &other));
  other.given = d->given;
  if (status == REAP_OK) status = make(r, s, &best, weights, bias, &other);
  if (status == REAP_OK)
    status = reap_ridge_measure(r->comm, &s->data, other.record.n_kept, other.record.kept, other.weights, other.bias,
                                &again);
  if (status == REAP_OK && again <= error) {
    const decision first = *d;
    *d = other;
    other = first;
  } else if (status == REAP_OK) {
    status = reap_decision_refit(r->comm, reap_groups_at(r->groups, s->group)->name, moments, &best, weights, d);
  }
  reap_decision_clear(&other);
  return status;
}

/* The weights that the layer has now, on the channels kept. */
static int keep_weights(run *r, step *s) {
  double *weights = NULL;
  int status = reap_comm_agree(r->comm, reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights));
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, s->decision.bias);
    slice_weights(weights, s->decision.bias, &s->decision);
  }
  reap_free(&weights);
  return status;
}

/* Of moments that no rank holds. What is left on the images in the moments is measured on the images themselves: G is
 * spent. */
static int finish_distributed(run *r, step *s) {
  decision *d = &s->decision;
  reap_held_out_error error = {0};
  if (!r->options->refit) REAP_TRY(keep_weights(r, s));
  if (s->gram.stored) return REAP_OK;
  REAP_TRY(reap_gram_residual(&s->gram, false, d->record.n_kept, d->record.kept, d->weights, d->bias, &error));
  d->record.relative_error = reap_relative_error(error.error, error.energy);
  return REAP_OK;
}

static int decide(run *r, step *s) {
  const ridge_choice standard = {r->options->ridge, false};
  const bool solved = r->options->refit && (s->decision.given || !reap_prune_own_weights(r->options));
  double *weights = NULL, *bias = NULL;
  int status = reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, s->layer.m, sizeof *bias);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, bias);
    status = make(r, s, &standard, weights, bias, &s->decision);
  }
  const bool looks = reap_ridge_looks(r->options->ridge_rule, s->gram.view.samples, s->layer.n);
  if (status == REAP_OK && looks && solved && !reap_run_frozen(r))
    status = improve_ridge(r, s, &standard, weights, bias);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

static int decide_distributed(run *r, step *s) {
  const ridge_choice standard = {r->options->ridge, false};
  REAP_TRY(make(r, s, &standard, NULL, NULL, &s->decision));
  return finish_distributed(r, s);
}

int reap_step_decide(run *r, step *s) {
  const double start = reap_seconds();
  const reap_prune_options *o = r->options;
  const int64_t units = reap_groups_at(r->groups, s->group)->units;
  int status = reap_decision_create(units, s->layer.block, s->layer.m, o->counts[s->group], &s->decision);
  if (o->given) s->decision.given = o->given[s->group];
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = s->gram.view.moments ? decide(r, s) : decide_distributed(r, s);
  r->result->seconds_solve += reap_seconds() - start;
  return status;
}
