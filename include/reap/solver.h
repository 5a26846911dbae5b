/* The REAP solver: which channels of one layer go, in which order, and the weights of those that stay.
 *
 * Equations, the panel scheme, costs and failure modes are at the top of src/prune/solver/elimination.c.
 */
#ifndef REAP_SOLVER_H
#define REAP_SOLVER_H

#include <stdbool.h>

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/moments.h"
#include "reap/path.h"

REAP_API_BEGIN

/* Relative ridge that is taken where nothing else is asked for. */
#define REAP_DEFAULT_RIDGE 1e-6

/* Which layers of a run take the ridge that their held-out images prefer, towards zero or the trained weights, in place
 * of the one given. */
typedef enum reap_ridge_rule {
  REAP_RIDGE_GIVEN,      /* none */
  REAP_RIDGE_FEW_ROWS,   /* those with few rows for each column, which least squares over-fits */
  REAP_RIDGE_EVERY_LAYER /* all whose moments a rank holds */
} reap_ridge_rule;

/* How the dual system is carried, see elimination.c; tests and measurements force it. */
typedef enum reap_route { REAP_ROUTE_AUTO, REAP_ROUTE_WEIGHTS, REAP_ROUTE_PRODUCT } reap_route;

typedef struct reap_solve_options {
  const reap_comm *comm; /* NULL: local */
  reap_solver solver;    /* REAP_SOLVER_SCALAPACK: collective over comm; else every caller solves for itself */
  double ridge;
  reap_route route; /* of reap_solve */
  bool no_weights;  /* of reap_refit: this rank does not want them */
} reap_solve_options;

/* Options of a caller that solves for itself. */
reap_solve_options reap_solver_local(double ridge);

/* Options for moments that no rank holds: ScaLAPACK over all ranks, but on a single rank, unless ScaLAPACK is asked
 * for, its own solver, to which panels go as well. Local. */
reap_solve_options reap_solver_distributed(const reap_comm *comm, reap_solver solver, double ridge);

/* Removes channels greedily until n_kept are left (1 <= n_kept <= channels). Order, errors with and without the ridge
 * term after every removal, and least-squares weights and bias of the channels kept: on rank 0 only if distributed
 * (path->weights is NULL elsewhere), all else on all ranks. Moments in memory are checked first; collective calls pass
 * the same ones on all ranks. A ridge too small for the factorisation is raised until it serves; path->ridge tells.
 * REAP_ERR_NUMERIC only for moments that are not numbers or of no data. what: the layer's name in messages. */
int reap_solve(const reap_gram *gram, int64_t n_kept, const reap_solve_options *options, const char *what,
               reap_path **out);

/* The recursion as it stands in the paper, one update of all of H and W per removal: the reference that the solver is
 * compared with and measured against. Local. */
int reap_solve_plain(const reap_gram *gram, int64_t n_kept, double ridge, const char *what, reap_path **out);

/* Weights and bias for given channels kept[n_kept] (ascending): no elimination, order and errors empty but for the
 * last: path->n_removed entries of the order are the channels not in kept, ascending. path->weights is NULL on ranks
 * that do not want them. Moments in memory are checked first. Collective under ScaLAPACK. */
int reap_refit(const reap_gram *gram, int64_t n_kept, const int64_t *kept, const reap_solve_options *options,
               const char *what, reap_path **out);

/* The point of a path at which n_kept channels are left (path->n_kept <= n_kept <= channels): kept channels, order,
 * errors, weights and bias, by one solve and without eliminating again. Local. */
int reap_path_weights(const reap_gram *gram, const reap_path *path, int64_t n_kept, const char *what, reap_path **out);

REAP_API_END

#endif
