/* Least-squares weights of given channels, by one Cholesky factorisation of their Gram matrix.
 *
 * With (G + R) W = C and G + R = U'U the squared error follows without forming residuals: |Y - XW|^2 = E - tr(W'C) -
 * tr(W'RW), since tr(W'GW) is tr(W'C) - tr(W'RW), and tr(W'C) = |U^-T C|^2, which is half way to W.
 *
 * Cost: r^3 / 3 + 2 r^2 m on r columns.
 */
#include "fit.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "sample_space.h"

void reap_fit_facts(const reap_normal_equations *e, reap_path *path) {
  path->energy = e->energy;
  path->ridge = e->ridge;
  path->dead = e->dead;
}

/* Row of the path's weights at which each slot's channel stands. */
static void place_slots(const fit *f, const reap_path *path, int64_t *place) {
  for (int64_t s = 0; s < f->slots; s++) {
    int64_t low = 0, high = path->n_kept - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (path->kept[middle] < f->channel[s])
        low = middle + 1;
      else
        high = middle;
    }
    place[s] = low;
  }
}

/* Outputs handled at a time where a second matrix is to be avoided, and where rows meet columns. */
enum { AT_ONCE = 64, TILE = 8 };

/* Unscaled weights of `count` outputs from `first`, and their biases, into the path. */
static void store(const fit *f, const int64_t *place, int64_t first, int64_t count, const double *solved,
                  reap_path *path) {
  const reap_gram *s = &f->equations->gram;
  const int64_t b = s->block, rows = f->slots * b;
  for (int64_t j = 0; j < count; j++) path->bias[first + j] = s->sum_y[first + j];
  for (int64_t jj = 0; jj < count; jj += TILE)
    for (int64_t i = 0; i < rows; i++) {
      const int64_t column = f->channel[i / b] * b + i % b, row = place[i / b] * b + i % b;
      for (int64_t j = jj; j < jj + TILE && j < count; j++) {
        const double w = solved[i + j * rows] * f->equations->scale[column];
        path->bias[first + j] -= w * s->sum_x[column];
        if (path->weights) path->weights[row * s->m + first + j] = w;
      }
    }
  for (int64_t j = 0; j < count; j++) path->bias[first + j] /= (double)s->samples;
}

/* Every rank's outputs in turn to all; ranks with room for weights keep them. A few outputs at a time, to need no
 * second matrix. */
static int collect(const fit *f, const int64_t *place, const double *solved, reap_path *path) {
  const int64_t rows = f->slots * f->equations->gram.block, m = f->equations->gram.m;
  double *slab = NULL;
  int status = reap_comm_agree(f->comm, reap_alloc(&slab, rows * AT_ONCE, sizeof *slab));
  for (int owner = 0; status == REAP_OK && owner < reap_comm_size(f->comm); owner++) {
    int64_t first, last;
    reap_comm_share(m, owner, reap_comm_size(f->comm), &first, &last);
    for (int64_t j = first; status == REAP_OK && j < last; j += AT_ONCE) {
      const int64_t count = last - j < AT_ONCE ? last - j : AT_ONCE;
      const size_t bytes = (size_t)(rows * count) * sizeof *slab;
      if (reap_comm_rank(f->comm) == owner) memcpy(slab, solved + (j - first) * rows, bytes);
      status = reap_comm_broadcast(f->comm, slab, bytes, owner);
      store(f, place, j, count, slab, path);
    }
  }
  reap_free(&slab);
  return status;
}

/* sums: tr(W'C) and |W|^2 of this rank's outputs. */
static int solve(const fit *f, const int64_t *place, double *right, int64_t first, int64_t count, reap_path *path,
                 double sums[2]) {
  const int64_t rows = f->slots * f->equations->gram.block;
  int status = reap_normal_cross(f->equations, f->slots, f->channel, first, count, right);
  status = reap_comm_agree(f->comm, status);
  if (status == REAP_OK) status = reap_symmetric_solve(f->matrix, f->slots, count, right, rows, &sums[0]);
  for (int64_t j = 0; status == REAP_OK && j < count; j++) {
    double sum[TILE] = {0};
    for (int64_t i = 0; i < rows; i++) sum[i % TILE] += right[i + j * rows] * right[i + j * rows];
    for (int t = 0; t < TILE; t++) sums[1] += sum[t];
  }
  status = reap_comm_agree(f->comm, status);
  if (status != REAP_OK) return status;
  if (f->comm) return collect(f, place, right, path);
  store(f, place, first, count, right, path);
  return REAP_OK;
}

int reap_fit_weights(const fit *f, reap_path *path, double *error, double *plain, bool *singular) {
  const int64_t rows = f->slots * f->equations->gram.block;
  int64_t info = 0, first = 0, count = 0, *place = NULL, size = 0;
  double *right = NULL, sums[2] = {0, 0};
  REAP_TRY(reap_symmetric_factor(f->matrix, REAP_UPPER, f->slots, &info));
  *singular = info != 0;
  if (*singular) return REAP_OK;
  reap_symmetric_share(f->matrix, f->equations->gram.m, &first, &count);
  int status = reap_multiply(rows, count, &size);
  if (status == REAP_OK) status = reap_alloc(&right, size, sizeof *right);
  if (status == REAP_OK) status = reap_alloc(&place, f->slots, sizeof *place);
  status = reap_comm_agree(f->comm, status);
  if (status == REAP_OK) {
    place_slots(f, path, place);
    status = solve(f, place, right, first, count, path, sums);
  }
  if (status == REAP_OK) status = reap_symmetric_sum(f->matrix, sums, 2);
  *error = f->equations->energy - sums[0];
  *plain = fmax(*error - f->equations->ridge * sums[1], 0); /* rows of dead columns are zero */
  reap_free(&right);
  reap_free(&place);
  return status;
}

/* By the normal equations. */
static int fit_columns(const reap_normal_equations *equations, const reap_grid *grid, reap_path *path, double *error,
                       double *plain, bool *singular) {
  reap_symmetric *matrix = NULL;
  int status = reap_symmetric_create(grid, path->n_kept, equations->gram.block, &matrix);
  if (status == REAP_OK) status = reap_normal_set(equations, matrix);
  if (status == REAP_OK) {
    const fit f = {equations, matrix, reap_grid_comm(grid), path->n_kept, path->kept};
    status = reap_fit_weights(&f, path, error, plain, singular);
  }
  reap_symmetric_destroy(&matrix);
  return status;
}

int reap_fit_kept(const reap_gram *gram, double ridge, const reap_grid *grid, reap_path *path, bool *singular) {
  reap_normal_equations *equations = NULL;
  double error = 0, plain = 0;
  int status = reap_normal_create(gram, path->n_kept, path->kept, ridge, &equations);
  status = reap_comm_agree(reap_grid_comm(grid), status);
  if (status == REAP_OK)
    status = sample_space_serves(gram, path->n_kept * gram->block)
                 ? reap_sample_space_fit(equations, path, &error, &plain, singular)
                 : fit_columns(equations, grid, path, &error, &plain, singular);
  if (status == REAP_OK) reap_fit_facts(equations, path);
  if (status == REAP_OK && path->n_removed > 0) {
    path->error[path->n_removed - 1] = error;
    path->error_plain[path->n_removed - 1] = plain;
  }
  reap_normal_destroy(&equations);
  return status;
}

/* Raises the ridge until the matrix can be factored. */
static int refit(const reap_gram *gram, double ridge, const reap_grid *grid, reap_path *path) {
  bool singular = true;
  for (;;) {
    REAP_TRY(reap_fit_kept(gram, ridge, grid, path, &singular));
    if (!singular) return REAP_OK;
    if (ridge >= 1)
      return reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not that of any data, even with a ridge of %g", ridge);
    ridge = reap_normal_raise(ridge);
  }
}

/* A path without an elimination: what is kept is given. */
static int bare_order(int64_t n_kept, const int64_t *kept, reap_path *path) {
  int64_t k = 0, gone = 0;
  for (int64_t c = 0; c < path->channels; c++) {
    if (k < n_kept && kept[k] == c)
      path->kept[k++] = c;
    else if (gone < path->n_removed)
      path->order[gone++] = c;
  }
  for (int64_t i = 0; i < path->n_removed; i++) path->error[i] = NAN;
  return k == n_kept ? REAP_OK : reap_error(REAP_ERR_INTERNAL, "channels to keep are not ascending");
}

int reap_refit(const reap_gram *gram, int64_t n_kept, const int64_t *kept, const reap_solve_options *options,
               const char *what, reap_path **out) {
  const reap_comm *comm = fit_comm(options);
  reap_grid *grid = NULL;
  reap_path *path = NULL;
  *out = NULL;
  if (n_kept < 1 || n_kept > gram->channels || !(options->ridge >= 0) || !isfinite(options->ridge))
    return reap_error(REAP_ERR_USAGE, "%s: %lld of %lld channels with a ridge of %g are not possible", what,
                      (long long)n_kept, (long long)gram->channels, options->ridge);
  int status = gram->moments ? reap_moments_check(gram->moments) : REAP_OK;
  if (status == REAP_OK) status = reap_path_create_bare(gram->channels, gram->block, gram->m, n_kept, &path);
  if (status == REAP_OK && !options->no_weights) status = reap_path_add_weights(path);
  if (status == REAP_OK) status = bare_order(n_kept, kept, path);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && comm && !sample_space_serves(gram, gram->n)) status = reap_grid_create(comm, &grid);
  if (status == REAP_OK) {
    path->distributed = comm != NULL;
    status = reap_comm_agree(grid ? NULL : comm, refit(gram, options->ridge, grid, path));
  }
  reap_grid_destroy(&grid);
  if (status != REAP_OK) reap_path_destroy(&path);
  *out = path;
  return reap_error_prefix(status, "%s", what);
}

int reap_fit_channels_left(const reap_path *path, int64_t removed, int64_t *left) {
  bool *gone = NULL;
  REAP_TRY(reap_calloc(&gone, path->channels, sizeof *gone));
  for (int64_t i = 0; i < removed; i++) gone[path->order[i]] = true;
  for (int64_t c = 0; c < path->channels; c++)
    if (!gone[c]) *left++ = c;
  reap_free(&gone);
  return REAP_OK;
}

int reap_path_weights(const reap_gram *gram, const reap_path *path, int64_t n_kept, const char *what, reap_path **out) {
  const reap_solve_options options = {.solver = REAP_SOLVER_LOCAL, .ridge = path->ridge};
  int64_t *kept = NULL;
  const int64_t removed = path->channels - n_kept;
  if (n_kept < path->n_kept || removed < 0 || path->channels != gram->channels || path->block != gram->block)
    return reap_error(REAP_ERR_USAGE, "%s: the path does not pass %lld channels", what, (long long)n_kept);
  int status = reap_alloc(&kept, n_kept, sizeof *kept);
  if (status == REAP_OK) status = reap_fit_channels_left(path, removed, kept);
  if (status == REAP_OK) status = reap_refit(gram, n_kept, kept, &options, what, out);
  if (status == REAP_OK) { /* the order and the errors on the way; the last ones are of the fresh solve */
    memcpy((*out)->order, path->order, (size_t)removed * sizeof *path->order);
    for (int64_t i = 0; i + 1 < removed; i++) {
      (*out)->error[i] = path->error[i];
      (*out)->error_plain[i] = path->error_plain[i];
    }
    (*out)->rcond = path->rcond;
    (*out)->drift = path->drift;
  }
  reap_free(&kept);
  return status;
}
