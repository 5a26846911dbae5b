/* A layer's choice from moments that lie on all ranks: chosen, solved and told to all by panels and broadcasts.
 *
 * Memory of a rank besides its share of the solver (elimination.c) and of the moments (moments_panels.h): the weights
 * of the channels kept, which become part of the network on every rank; rank 0's are the solver's own array. The plain
 * error comes from the last solve (fit.c): where it is below what rounding leaves, it is 0.
 */
#include <string.h>

#include "decision.h"
#include "reap/error.h"
#include "reap/solver.h"

/* Methods that can be distributed are; of the others rank 0's choice counts, and is re-solved by all. *eliminated: the
 * path is the method's. */
static int choose(const decision_setting *by, const reap_moments_source *source, decision *d, reap_path **path,
                  bool *eliminated) {
  const reap_prune_options *o = by->options;
  const bool all = !d->given && (o->method->can & REAP_CAN_DISTRIBUTED);
  const reap_solve_options solve = reap_solver_for_spread(by->comm, o->solver, o->ridge);
  const reap_evidence evidence = {by->graph, by->group, d->record.n_kept, NULL,
                                  source,    o->ridge,  o->seed,          all ? solve.comm : NULL};
  int status = all || reap_comm_rank(by->comm) == 0 ? decision_choose(by, &evidence, d, path) : REAP_OK;
  REAP_TRY(reap_comm_agree(by->comm, status));
  REAP_TRY(reap_comm_broadcast(by->comm, d->record.kept, (size_t)d->record.n_kept * sizeof *d->record.kept, 0));
  *eliminated = all;
  return all ? REAP_OK : reap_refit_source(source, d->record.n_kept, d->record.kept, &solve, by->group->name, path);
}

/* Rank 0's weights to all, without a second copy of them there. */
static int share_weights(const reap_comm *comm, reap_path *path, decision *d) {
  if (path->weights) {
    double *own = d->weights;
    d->weights = path->weights;
    path->weights = own;
    memcpy(d->bias, path->bias, (size_t)d->m * sizeof *d->bias);
  }
  REAP_TRY(reap_comm_broadcast(comm, d->weights, (size_t)(d->record.n_kept * d->block * d->m) * sizeof *d->weights, 0));
  return reap_comm_broadcast(comm, d->bias, (size_t)d->m * sizeof *d->bias, 0);
}

static double last_error(const reap_path *path) {
  const double error = path->n_removed > 0 ? path->error_plain[path->n_removed - 1] : 0;
  return reap_relative_error(error, path->energy);
}

int decision_make_together(const decision_setting *by, const reap_moments_source *source, decision *d) {
  const reap_comm *comm = by->comm;
  reap_path *path = NULL;
  bool eliminated = false;
  int status = choose(by, source, d, &path, &eliminated);
  if (status == REAP_OK) {
    decision_take_path(path, eliminated, d);
    d->record.relative_error = last_error(path);
    d->record.distributed = path->distributed;
    status = share_weights(comm, path, d);
  }
  /* Numbers that every rank works out for itself may differ where processors do. */
  if (status == REAP_OK) status = reap_record_broadcast(comm, &d->record);
  reap_path_destroy(&path);
  return status;
}
