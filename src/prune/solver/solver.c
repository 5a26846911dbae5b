/* The way from moments to a path: ridge raised where needed, elimination repeated where it drifted, fresh weights. */
#include "reap/solver.h"
#include "base/numbers.h"

#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "elimination.h"
#include "fit.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "sample_space.h"

/* Above this drift, relative to E, an elimination is repeated with regular factorisations. */
static const double DRIFT = 1e-9;

reap_solve_options reap_solver_local(double ridge) {
  return (reap_solve_options){.solver = REAP_SOLVER_LOCAL, .ridge = ridge};
}

reap_solve_options reap_solver_distributed(const reap_comm *comm, reap_solver solver, double ridge) {
  const bool alone = reap_comm_size(comm) == 1 && solver != REAP_SOLVER_SCALAPACK;
  reap_solve_options options = reap_solver_local(ridge);
  if (alone) return options;
  options.comm = comm;
  options.solver = REAP_SOLVER_SCALAPACK;
  return options;
}

static int check_arguments(const reap_gram *s, int64_t n_kept, double ridge) {
  if (n_kept < 1 || n_kept > s->channels)
    return reap_error(REAP_ERR_USAGE, "%lld of %lld channels cannot be kept", (long long)n_kept,
                      (long long)s->channels);
  if (!(ridge >= 0) || !isfinite(ridge)) return reap_error(REAP_ERR_USAGE, "a ridge of %g is not possible", ridge);
  if (s->moments) return reap_moments_check(s->moments);
  if (s->samples < 1) return reap_error(REAP_ERR_NUMERIC, "the moments hold no samples");
  double sum = 0 * s->energy; /* a NaN or an infinity anywhere makes it a NaN */
  for (int64_t i = 0; i < s->n; i++) sum += 0 * s->diagonal[i * s->diagonal_step] + 0 * s->sum_x[i];
  for (int64_t j = 0; j < s->m; j++) sum += 0 * s->sum_y[j];
  if (sum != 0)
    return reap_error(REAP_ERR_NUMERIC, "the moments hold a NaN or an infinity; look at the weights and images");
  return REAP_OK;
}

/* Elimination and last solve; the drift between the two into the path. */
static int run(dual_system *d, int64_t interval, reap_path *path, bool *singular) {
  double fresh = 0, plain = 0, start = reap_seconds();
  REAP_TRY(reap_dual_start(d, singular));
  path->seconds.factor = reap_seconds() - start;
  if (*singular) return REAP_OK;
  start = reap_seconds();
  REAP_TRY(reap_elimination_run(d, interval, path, singular));
  path->seconds.eliminate = reap_seconds() - start;
  path->seconds.updates = d->seconds_updates;
  if (*singular) return REAP_OK;
  start = reap_seconds();
  REAP_TRY(reap_dual_finish(d));
  const int status = d->comm && reap_comm_rank(d->comm) > 0 ? REAP_OK : reap_path_add_weights(path);
  REAP_TRY(reap_comm_agree(d->comm, status));
  const fit f = {d->equations, d->dual, d->comm, d->slots, d->channel};
  REAP_TRY(reap_fit_weights(&f, path, &fresh, &plain, singular));
  path->seconds.weights = reap_seconds() - start;
  path->rcond = d->rcond;
  path->drift = reap_relative_error(fabs(d->error - fresh), d->equations->energy);
  if (path->n_removed > 0) {
    path->error[path->n_removed - 1] = fresh;
    path->error_plain[path->n_removed - 1] = plain;
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ fewer rows than columns */

/* The rest of a path, behind `count` removals, by the small dual system of the channels left. Local. */
static int finish_elimination(const reap_gram *gram, double ridge, int64_t interval, int64_t count, reap_path *path,
                              bool *singular) {
  dual_system d = {0};
  reap_normal_equations *equations = NULL;
  reap_path rest = *path;
  const int64_t n_left = path->channels - count;
  int64_t *left = NULL;
  rest.n_removed -= count;
  rest.order += count;
  rest.error += count;
  rest.error_plain += count;
  REAP_TRY(reap_alloc(&left, n_left, sizeof *left));
  int status = reap_fit_channels_left(path, count, left);
  if (status == REAP_OK) status = reap_normal_create(gram, n_left, left, ridge, &equations);
  if (status == REAP_OK) status = reap_dual_create(equations, NULL, rest.n_removed, DUAL_ROUTE_AUTO, &d);
  if (status == REAP_OK) status = reap_dual_start(&d, singular);
  if (status == REAP_OK && !*singular && count > 0)
    path->drift = fmax(path->drift, reap_relative_error(fabs(d.error - path->error[count - 1]), d.equations->energy));
  if (status == REAP_OK && !*singular) status = reap_elimination_run(&d, interval, &rest, singular);
  path->refreshes = rest.refreshes;
  reap_dual_clear(&d);
  reap_free(&left);
  return status;
}

/* What decides whether there is another attempt, and its statuses. Collective. */
static int agree(const reap_comm *comm, int status, reap_path *path, bool *singular) {
  double facts[] = {path->drift, *singular};
  REAP_TRY(reap_comm_agree(comm, status));
  if (comm) REAP_TRY(reap_comm_max(comm, facts, 2));
  path->drift = facts[0];
  *singular = facts[1] != 0;
  return REAP_OK;
}

/* Elimination by the rows as long as there are fewer of them than columns, and fresh weights. Ranks other than the
 * first one go without weights. */
static int attempt_few_rows(const reap_gram *gram, double ridge, int64_t interval, const reap_comm *comm,
                            reap_path *path, bool *singular) {
  reap_normal_equations *equations = NULL;
  int64_t count = 0;
  double start = reap_seconds();
  int status = reap_comm_agree(comm, reap_normal_create(gram, 0, NULL, ridge, &equations));
  if (status == REAP_OK) status = reap_sample_space_eliminate(equations, comm, interval, path, &count, singular);
  reap_normal_destroy(&equations);
  if (status != REAP_OK || *singular) return status;
  if (count < path->n_removed)
    status = finish_elimination(gram, ridge, interval, count, path, singular);
  else
    status = reap_fit_channels_left(path, count, path->kept);
  REAP_TRY(agree(comm, status, path, singular));
  path->seconds.eliminate = reap_seconds() - start;
  if (*singular) return REAP_OK;
  start = reap_seconds();
  const int64_t last = path->n_removed - 1;
  const double error = last >= 0 ? path->error[last] : 0;
  if (!path->weights && !(comm && reap_comm_rank(comm) > 0)) status = reap_path_add_weights(path);
  if (status == REAP_OK) status = reap_fit_kept(gram, ridge, NULL, path, singular);
  path->seconds.weights = reap_seconds() - start;
  if (last >= 0 && status == REAP_OK && !*singular)
    path->drift = fmax(path->drift, reap_relative_error(fabs(error - path->error[last]), path->energy));
  return agree(comm, status, path, singular);
}

/* ------------------------------------------------------------------ either */

/* One try with a ridge, on a system of its own. */
static int attempt(const reap_gram *gram, double ridge, int64_t interval, const reap_grid *grid, reap_route route,
                   reap_path *path, bool *singular) {
  dual_system d = {0};
  reap_normal_equations *equations = NULL;
  double start = reap_seconds();
  int status = reap_normal_create(gram, 0, NULL, ridge, &equations);
  status = reap_comm_agree(reap_grid_comm(grid), status);
  if (status == REAP_OK)
    status = reap_dual_create(equations, grid, path->n_removed,
                              route == REAP_ROUTE_WEIGHTS   ? DUAL_ROUTE_WEIGHTS
                              : route == REAP_ROUTE_PRODUCT ? DUAL_ROUTE_PRODUCT
                                                            : DUAL_ROUTE_AUTO,
                              &d);
  else
    reap_normal_destroy(&equations);
  path->seconds.set_up = reap_seconds() - start;
  if (status == REAP_OK) status = run(&d, interval, path, singular);
  if (status == REAP_OK) reap_fit_facts(d.equations, path);
  reap_dual_clear(&d);
  return status;
}

/* Raises the ridge until the matrix can be factored, and repeats an elimination that drifted. */
static int solve(const reap_gram *gram, const reap_solve_options *o, const reap_grid *grid, const char *what,
                 reap_path *path) {
  double ridge = o->ridge;
  int64_t interval = 0;
  for (;;) {
    bool singular = false;
    path->refreshes = 0;
    REAP_TRY(sample_space_serves(gram, gram->n) ? attempt_few_rows(gram, ridge, interval, fit_comm(o), path, &singular)
                                                : attempt(gram, ridge, interval, grid, o->route, path, &singular));
    if (!singular && (path->drift <= DRIFT || interval > 0 || path->n_removed == 0)) break;
    if (!singular) {
      interval = 1 + path->n_removed / 8;
      reap_log(REAP_LOG_DEBUG, "%s: the recursion drifted by %.1e: again with regular factorisations", what,
               path->drift);
      continue;
    }
    if (ridge >= 1)
      return reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not that of any data, even with a ridge of %g", ridge);
    ridge = reap_normal_raise(ridge);
    reap_log(REAP_LOG_DEBUG, "%s: the Gram matrix is not positive definite: ridge raised to %g", what, ridge);
  }
  if (ridge != o->ridge)
    reap_log(REAP_LOG_INFO, "%s: ridge raised from %g to %g, the Gram matrix being singular", what, o->ridge, ridge);
  return REAP_OK;
}

int reap_solve(const reap_gram *gram, int64_t n_kept, const reap_solve_options *options, const char *what,
               reap_path **out) {
  const reap_comm *comm = fit_comm(options);
  reap_grid *grid = NULL;
  reap_path *path = NULL;
  int status = check_arguments(gram, n_kept, options->ridge);
  if (status == REAP_OK) status = reap_path_create_bare(gram->channels, gram->block, gram->m, n_kept, &path);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && comm && !sample_space_serves(gram, gram->n)) status = reap_grid_create(comm, &grid);
  if (status == REAP_OK) {
    path->distributed = comm != NULL;
    status = solve(gram, options, grid, what, path);
  }
  reap_grid_destroy(&grid);
  if (status != REAP_OK) reap_path_destroy(&path);
  *out = path;
  return reap_error_prefix(status, "%s", what);
}
