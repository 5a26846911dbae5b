/* Rank 0's decision is broadcast: solves repeated on every rank could diverge where processors differ.
 *
 * From moments that no rank holds all ranks choose and solve. Memory of a rank besides its share of the solver
 * (elimination.c) and of the moments (moments_panels.h): the weights of the channels kept, which become part of the
 * network on every rank; rank 0's are the solver's own array. The plain error comes from the last solve (fit.c): where
 * it is below what rounding leaves, it is 0.
 */
#include "decision.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

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

static void take_weights(const reap_path *path, decision *d) {
  memcpy(d->weights, path->weights, (size_t)(d->record.n_kept * d->block * d->m) * sizeof *d->weights);
  memcpy(d->bias, path->bias, (size_t)d->m * sizeof *d->bias);
}

/* The present weights of the channels kept. */
static void slice_weights(const double *weights, const double *bias, decision *d) {
  const int64_t rows = d->block * d->m;
  for (int64_t k = 0; k < d->record.n_kept; k++)
    memcpy(d->weights + k * rows, weights + d->record.kept[k] * rows, (size_t)rows * sizeof *weights);
  memcpy(d->bias, bias, (size_t)d->m * sizeof *bias);
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

/* Local, or collective over evidence->comm: the channels, those given or the method's. *path: as from
 * reap_method_select. */
static int choose(const decision_setting *by, const reap_evidence *evidence, decision *d, reap_path **path) {
  if (!d->given)
    return reap_method_select(by->options->method, by->state, evidence, d->record.kept, d->record.removed, path);
  memcpy(d->record.kept, d->given, (size_t)d->record.n_kept * sizeof *d->record.kept);
  reap_channels_left_out(d->record.channels, d->record.n_kept, d->record.kept, d->record.removed);
  return REAP_OK;
}

/* moments: plain ones; solved: those that channels and weights come from, the same unless the ridge pulls. */
static int decide_from(const decision_setting *by, const reap_moments *moments, const reap_moments *solved,
                       double ridge, const double *present_weights, const double *present_bias, const reap_comm *comm,
                       decision *d) {
  const reap_evidence evidence = {by->graph, by->group, d->record.n_kept, solved, NULL, ridge, by->options->seed, comm};
  const char *name = by->group->name;
  reap_path *path = NULL;
  double error = 0;
  int status = choose(by, &evidence, d, &path);
  const bool eliminated = path && (by->options->method->gives & REAP_GIVES_PATH);
  if (status == REAP_OK && !path) status = reap_refit(solved, d->record.n_kept, d->record.kept, ridge, name, &path);
  if (status != REAP_OK || (comm && reap_comm_rank(comm) != 0)) goto done; /* rank 0 has the weights */
  take_path(path, eliminated, d);
  if (by->options->refit)
    take_weights(path, d);
  else
    slice_weights(present_weights, present_bias, d);
  REAP_TRY_OR(reap_moments_error(moments, d->record.n_kept, d->record.kept, d->weights, d->bias, &error), done);
  d->record.relative_error = reap_relative_error(error, reap_moments_centred_energy(moments));
  if (solved != moments) correct_path(path, reap_moments_centred_energy(moments), d);
done:
  reap_path_destroy(&path);
  return status;
}

static int decide(const decision_setting *by, const reap_moments *moments, const ridge_choice *ridge,
                  const double *present_weights, const double *present_bias, const reap_comm *comm, decision *d) {
  reap_moments *pulled = NULL;
  int status = ridge->trained ? reap_ridge_pull(moments, ridge->ridge, present_weights, &pulled) : REAP_OK;
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK)
    status = decide_from(by, moments, pulled ? pulled : moments, ridge->ridge, present_weights, present_bias, comm, d);
  d->record.distributed = comm != NULL;
  d->record.ridge_trained = ridge->trained;
  reap_moments_destroy(&pulled);
  return status;
}

/* Rank 0's decision to all. */
static int share(const reap_comm *comm, decision *d) {
  REAP_TRY(reap_record_broadcast(comm, &d->record));
  REAP_TRY(reap_comm_broadcast(comm, d->weights, (size_t)(d->record.n_kept * d->block * d->m) * sizeof *d->weights, 0));
  return reap_comm_broadcast(comm, d->bias, (size_t)d->m * sizeof *d->bias, 0);
}

static int from_replicated(const decision_setting *by, const reap_moments *moments, const ridge_choice *ridge,
                           const double *present_weights, const double *present_bias, decision *d) {
  const reap_comm *comm = by->comm;
  const bool all = !d->given && (by->options->method->can & REAP_CAN_DISTRIBUTED) &&
                   reap_solver_settle(comm, by->options->solver, moments->n, moments->m) == REAP_SOLVER_SCALAPACK;
  int status = REAP_OK;
  if (all || reap_comm_rank(comm) == 0)
    status = decide(by, moments, ridge, present_weights, present_bias, all ? comm : NULL, d);
  REAP_TRY(reap_comm_agree(comm, status));
  return share(comm, d);
}

/* ------------------------------------------------------------------ moments that no rank holds */

/* Methods that can be distributed are; of the others rank 0's choice counts, and is re-solved by all. *eliminated: the
 * path is the method's. */
static int choose_distributed(const decision_setting *by, const reap_moments_source *source, decision *d,
                              reap_path **path, bool *eliminated) {
  const reap_prune_options *o = by->options;
  const bool all = !d->given && (o->method->can & REAP_CAN_DISTRIBUTED);
  const reap_solve_options solve = reap_solver_distributed(by->comm, o->solver, o->ridge);
  const reap_evidence evidence = {by->graph, by->group, d->record.n_kept, NULL,
                                  source,    o->ridge,  o->seed,          all ? solve.comm : NULL};
  int status = all || reap_comm_rank(by->comm) == 0 ? choose(by, &evidence, d, path) : REAP_OK;
  REAP_TRY(reap_comm_agree(by->comm, status));
  REAP_TRY(reap_comm_broadcast(by->comm, d->record.kept, (size_t)d->record.n_kept * sizeof *d->record.kept, 0));
  *eliminated = all;
  return all ? REAP_OK
             : reap_refit_source(source, d->record.n_kept, d->record.kept, &solve, reap_comm_rank(by->comm) == 0,
                                 by->group->name, path);
}

/* Rank 0's weights become the decision's, without a second copy of them there. */
static void move_weights(reap_path *path, decision *d) {
  if (!path->weights) return;
  double *own = d->weights;
  d->weights = path->weights;
  path->weights = own;
  memcpy(d->bias, path->bias, (size_t)d->m * sizeof *d->bias);
}

static int from_distributed(const decision_setting *by, const reap_moments_source *source, decision *d) {
  reap_path *path = NULL;
  bool eliminated = false;
  int status = choose_distributed(by, source, d, &path, &eliminated);
  if (status == REAP_OK) {
    take_path(path, eliminated, d);
    d->record.relative_error =
        path->n_removed > 0 ? reap_relative_error(path->error_plain[path->n_removed - 1], path->energy) : 0;
    d->record.distributed = path->distributed;
    move_weights(path, d);
    status = share(by->comm, d); /* numbers that every rank works out for itself may differ where processors do */
  }
  reap_path_destroy(&path);
  return status;
}

int reap_decision_make(const decision_setting *by, const reap_gram *gram, const ridge_choice *ridge,
                       const double *present_weights, const double *present_bias, decision *d) {
  return gram->place == REAP_GRAM_REPLICATED
             ? from_replicated(by, gram->moments, ridge, present_weights, present_bias, d)
             : from_distributed(by, gram->source, d);
}

/* ------------------------------------------------------------------ other weights */

static int refit(const char *what, const reap_moments *moments, const ridge_choice *ridge,
                 const double *present_weights, decision *d) {
  reap_moments *pulled = NULL;
  reap_path *path = NULL;
  double error = 0;
  int status = REAP_OK;
  if (ridge->trained) REAP_TRY(reap_ridge_pull(moments, ridge->ridge, present_weights, &pulled));
  REAP_TRY_OR(reap_refit(pulled ? pulled : moments, d->record.n_kept, d->record.kept, ridge->ridge, what, &path), done);
  take_weights(path, d);
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
