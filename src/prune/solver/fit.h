/* The last solve: fresh weights of the channels kept; private to src/prune. */
#ifndef REAP_PRUNE_SOLVER_FIT_H
#define REAP_PRUNE_SOLVER_FIT_H

#include "linalg/symmetric.h"
#include "normal_equations.h"
#include "reap/path.h"
#include "reap/solver.h"

/* A solve of the upper matrix's leading slots against the outputs. */
typedef struct fit {
  const reap_normal_equations *equations;
  reap_symmetric *matrix; /* above: D G D + R; overwritten by its factor */
  const reap_comm *comm;  /* NULL: local */
  int64_t slots;
  const int64_t *channel; /* [slots], the channels of path->kept in any order */
} fit;

/* Weights (where path->weights is there), bias, J and the plain error without the ridge term. *singular: not positive
 * definite, nothing done. Collective if distributed. */
int reap_fit_weights(const fit *f, reap_path *path, double *error, double *plain, bool *singular);

/* Weights of the channels path->kept (where path->weights is there), bias, facts and the last errors, from moments of
 * all channels: in sample space where that is smaller, else by the normal equations on the grid (NULL: local).
 * *singular: not positive definite with this ridge. Collective over the grid. */
int reap_fit_kept(const reap_gram *gram, double ridge, const reap_grid *grid, reap_path *path, bool *singular);

/* The channels that are left of path->channels behind its first `removed` removals, ascending. Local. */
int reap_fit_channels_left(const reap_path *path, int64_t removed, int64_t *left);

/* The ranks that solve a layer by the options; NULL: every rank for itself. */
static inline const reap_comm *fit_comm(const reap_solve_options *options) {
  return options->solver == REAP_SOLVER_SCALAPACK ? options->comm : NULL;
}

/* Facts of a path that the equations know. */
void reap_fit_facts(const reap_normal_equations *equations, reap_path *path);

#endif
