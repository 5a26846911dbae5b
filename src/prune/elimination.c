/* Greedy elimination of channels with the biorthogonal system: REAP's own step.
 *
 * Method (Kamma and Wada, ISVC 2019). With H = (G + R)^-1 the columns of D = X H are the dual basis of the columns of X,
 * W = H C are the least-squares weights, and J = E - tr(W'C) is the squared error plus the ridge term. For channel j
 * with its `block` columns, H_jj the block of H and W_j the rows of W,
 *
 *     dJ_j = tr( W_j' H_jj^-1 W_j )           exact growth of J if channel j goes
 *     W  <-  W - H_:j H_jj^-1 W_j             weights of the rest, already re-solved
 *     H  <-  H - H_:j H_jj^-1 H_j:            dual system of the rest
 *     J  <-  J + dJ_j
 *
 * The channel with the smallest dJ_j goes, the lowest index among those within 1e-9 E of the smallest (exact duplicates
 * tie, and a rule makes all routes choose alike). One elimination gives the whole path of smaller and smaller layers.
 * This is Optimal Brain Surgeon (Hassibi and Stork, NeurIPS 1992) with one mask of whole blocks shared by all outputs,
 * as block-OBS in OBC (Frantar and Alistarh, NeurIPS 2022) and structured pruning in ZipLM (Kurtic et al., NeurIPS 2023).
 *
 * In the code (paper): dual (H), weights (W), growth (dJ), error (J). All in the scaled system of
 * normal_equations.h, whose traces are those of the unscaled one.
 *
 * Cost: n^3 for the inverse, 2 n^2 m for W, and for each removal 2 a^2 b + 2 a b m on the a columns still alive; the
 * arrays are compacted whenever a quarter of the channels has gone.
 *
 * Failure modes: rounding builds up along the recursion, at worst with the condition number of G + R. At each
 * compaction the system is factored afresh from G, the recursion's J is compared with the fresh one (path->drift is the
 * largest difference found, over E) and replaced by it. A Gram matrix that cannot be factored gets a larger ridge.
 */
#include <math.h>
#include <string.h>

#include "normal_equations.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

static const double TIE = 1e-9;

/* The dual system of the channels alive at the last compaction; removed channels keep their (zero) rows until the next. */
typedef struct dual_system {
  reap_normal_equations *equations;
  int64_t n_slots;   /* channels at the last compaction */
  int64_t n_alive;   /* of them still there */
  int64_t *channel;  /* [n_slots] ascending */
  bool *alive;       /* [n_slots] */
  int64_t size;      /* n_slots * block: order of the arrays below */
  int64_t *columns;  /* [size] of the normal equations */
  double *dual;      /* [size, size] H, symmetric */
  double *weights;   /* [size, m] row-major W */
  double *pivot;     /* [block, block] inverse of H_jj; scratch for Cholesky factors */
  double *panel;     /* [size, block] column-major H_:j H_jj^-1 */
  double *strip;     /* [block, size or m] copy of H_j: or W_j, scratch */
  double error;      /* J */
  double drift;
} dual_system;

static void dual_clear(dual_system *d) {
  reap_normal_destroy(&d->equations);
  reap_free(&d->channel);
  reap_free(&d->alive);
  reap_free(&d->columns);
  reap_free(&d->dual);
  reap_free(&d->weights);
  reap_free(&d->pivot);
  reap_free(&d->panel);
  reap_free(&d->strip);
}

static int dual_create(const reap_moments *moments, double ridge, dual_system *d) {
  const int64_t n = moments->n, m = moments->m, b = moments->block;
  REAP_TRY(reap_normal_create(moments, ridge, &d->equations));
  REAP_TRY(reap_alloc(&d->channel, moments->channels, sizeof *d->channel));
  REAP_TRY(reap_alloc(&d->alive, moments->channels, sizeof *d->alive));
  REAP_TRY(reap_alloc(&d->columns, n, sizeof *d->columns));
  REAP_TRY(reap_alloc(&d->dual, n * n, sizeof *d->dual));
  REAP_TRY(reap_alloc(&d->weights, n * m, sizeof *d->weights));
  REAP_TRY(reap_alloc(&d->pivot, b * b, sizeof *d->pivot));
  REAP_TRY(reap_alloc(&d->panel, n * b, sizeof *d->panel));
  REAP_TRY(reap_alloc(&d->strip, (n > m ? n : m) * b, sizeof *d->strip));
  d->n_slots = d->n_alive = moments->channels;
  for (int64_t c = 0; c < d->n_slots; c++) {
    d->channel[c] = c;
    d->alive[c] = true;
  }
  return REAP_OK;
}

/* tr(W'C) over the rows in use. */
static double explained(const dual_system *d) {
  const reap_normal_equations *e = d->equations;
  double sum = 0;
  for (int64_t i = 0; i < d->size; i++)
    for (int64_t j = 0; j < e->m; j++) sum += d->weights[i * e->m + j] * e->cross[d->columns[i] * e->m + j];
  return sum;
}

/* Drops removed channels and computes H, W and J afresh for those alive. */
static int refresh(dual_system *d, bool first) {
  reap_normal_equations *e = d->equations;
  const int64_t m = e->m;
  int64_t kept = 0;
  for (int64_t s = 0; s < d->n_slots; s++)
    if (d->alive[s]) d->channel[kept++] = d->channel[s];
  d->n_slots = kept;
  for (int64_t s = 0; s < kept; s++) d->alive[s] = true;
  d->size = reap_normal_columns(e, kept, d->channel, d->columns);
  REAP_TRY(reap_normal_factor(e, d->size, d->columns, d->dual));
  REAP_TRY(reap_dpotri_lower(d->size, d->dual, d->size));
  reap_mirror_lower(d->size, d->dual, d->size);
  double *cross = NULL;
  REAP_TRY(reap_alloc(&cross, d->size * m, sizeof *cross));
  for (int64_t i = 0; i < d->size; i++) memcpy(cross + i * m, e->cross + d->columns[i] * m, (size_t)m * sizeof *cross);
  /* Row-major W [size, m] is column-major [m, size]: W' = C' H. */
  int status = reap_dgemm('N', 'N', m, d->size, d->size, 1, cross, m, d->dual, d->size, 0, d->weights, m);
  reap_free(&cross);
  REAP_TRY(status);
  double fresh = e->energy - explained(d);
  double drift = first || e->energy <= 0 ? 0 : fabs(d->error - fresh) / e->energy;
  if (drift > d->drift) d->drift = drift;
  d->error = fresh;
  return REAP_OK;
}

/* Lower Cholesky factor of H_jj into d->pivot (column-major). */
static int factor_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->equations->block, at = slot * b;
  int64_t info = 0;
  for (int64_t j = 0; j < b; j++)
    for (int64_t i = 0; i < b; i++) d->pivot[i + j * b] = d->dual[(at + i) + (at + j) * d->size];
  REAP_TRY(reap_dpotrf_lower(b, d->pivot, b, &info));
  if (info != 0) return reap_error(REAP_ERR_NUMERIC, "the dual system lost its positive definiteness; raise --ridge");
  return REAP_OK;
}

/* dJ_j = |L^-1 W_j|^2 with H_jj = L L'. */
static int growth_of(dual_system *d, int64_t slot, double *growth) {
  const int64_t b = d->equations->block, m = d->equations->m;
  const double *rows = d->weights + slot * b * m;
  REAP_TRY(factor_pivot(d, slot));
  double sum = 0;
  for (int64_t i = 0; i < b; i++) { /* forward substitution, all outputs at once */
    double *z = d->strip + i * m;
    memcpy(z, rows + i * m, (size_t)m * sizeof *z);
    for (int64_t k = 0; k < i; k++) {
      const double l = d->pivot[i + k * b], *zk = d->strip + k * m;
      for (int64_t j = 0; j < m; j++) z[j] -= l * zk[j];
    }
    const double inverse = 1 / d->pivot[i + i * b];
    for (int64_t j = 0; j < m; j++) {
      z[j] *= inverse;
      sum += z[j] * z[j];
    }
  }
  *growth = sum;
  return REAP_OK;
}

/* Slot of the cheapest channel, the lowest among ties, and its growth. growth[n_slots] is scratch. */
static int choose(dual_system *d, double *growth, int64_t *slot) {
  double least = INFINITY;
  for (int64_t s = 0; s < d->n_slots; s++) {
    if (!d->alive[s]) continue;
    REAP_TRY(growth_of(d, s, &growth[s]));
    if (growth[s] < least) least = growth[s];
  }
  for (int64_t s = 0; s < d->n_slots; s++)
    if (d->alive[s] && growth[s] <= least + TIE * d->equations->energy) {
      *slot = s;
      return REAP_OK;
    }
  return reap_error(REAP_ERR_NUMERIC, "the costs of the channels are not numbers");
}

/* Takes the channel of `slot` out of W and H. */
static int eliminate(dual_system *d, int64_t slot) {
  const int64_t b = d->equations->block, m = d->equations->m, n = d->size, at = slot * b;
  REAP_TRY(factor_pivot(d, slot));
  REAP_TRY(reap_dpotri_lower(b, d->pivot, b));
  reap_mirror_lower(b, d->pivot, b);
  REAP_TRY(reap_dgemm('N', 'N', n, b, b, 1, d->dual + at * n, n, d->pivot, b, 0, d->panel, n));
  memcpy(d->strip, d->weights + at * m, (size_t)(b * m) * sizeof *d->strip);
  REAP_TRY(reap_dgemm('N', 'T', m, n, b, -1, d->strip, m, d->panel, n, 1, d->weights, m));
  memcpy(d->strip, d->dual + at * n, (size_t)(b * n) * sizeof *d->strip); /* H_:j, and H_j: by symmetry */
  REAP_TRY(reap_dgemm('N', 'T', n, n, b, -1, d->panel, n, d->strip, n, 1, d->dual, n));
  memset(d->weights + at * m, 0, (size_t)(b * m) * sizeof *d->weights); /* zero but for rounding */
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = at; k < at + b; k++) d->dual[i + k * n] = d->dual[k + i * n] = 0;
  d->alive[slot] = false;
  d->n_alive--;
  return REAP_OK;
}

/* tr(W'RW): what J has beyond the plain squared error. */
static double ridge_term(const dual_system *d) {
  double sum = 0;
  for (int64_t i = 0; i < d->size * d->equations->m; i++) sum += d->weights[i] * d->weights[i];
  return sum * d->equations->ridge; /* rows of dead columns are zero */
}

static int remove_channels(dual_system *d, reap_path *path) {
  double *growth = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&growth, d->n_slots, sizeof *growth), done);
  REAP_TRY_OR(refresh(d, true), done);
  for (int64_t step = 0; step < path->n_removed; step++) {
    int64_t slot = -1;
    if (4 * d->n_alive <= 3 * d->n_slots) REAP_TRY_OR(refresh(d, false), done);
    REAP_TRY_OR(choose(d, growth, &slot), done);
    REAP_TRY_OR(eliminate(d, slot), done);
    d->error += growth[slot];
    path->order[step] = d->channel[slot];
    path->error[step] = d->error;
    path->error_plain[step] = d->error - ridge_term(d);
  }
done:
  reap_free(&growth);
  return status;
}

/* Fresh least-squares weights of path->kept, unscaled, with the bias; returns J. */
static int solve_kept(reap_normal_equations *e, const reap_moments *moments, reap_path *path, double *error) {
  const int64_t m = e->m;
  int64_t *columns = NULL;
  double *factor = NULL, *right = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&columns, e->n, sizeof *columns), done);
  const int64_t n = reap_normal_columns(e, path->n_kept, path->kept, columns);
  REAP_TRY_OR(reap_alloc(&factor, n * n, sizeof *factor), done);
  REAP_TRY_OR(reap_alloc(&right, n * m, sizeof *right), done);
  REAP_TRY_OR(reap_normal_factor(e, n, columns, factor), done);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < m; j++) right[i + j * n] = e->cross[columns[i] * m + j];
  REAP_TRY_OR(reap_dpotrs_lower(n, m, factor, n, right, n), done);
  double gained = 0;
  for (int64_t j = 0; j < m; j++) {
    double mean = moments->sum_y[j];
    for (int64_t i = 0; i < n; i++) {
      gained += right[i + j * n] * e->cross[columns[i] * m + j];
      double w = right[i + j * n] * e->scale[columns[i]];
      path->weights[i * m + j] = w;
      mean -= w * moments->sum_x[columns[i]];
    }
    path->bias[j] = mean / (double)moments->samples;
  }
  *error = e->energy - gained;
done:
  reap_free(&columns);
  reap_free(&factor);
  reap_free(&right);
  return status;
}

static int64_t dead_channels(const reap_normal_equations *e) {
  int64_t count = 0;
  for (int64_t c = 0; c < e->channels; c++) {
    bool all = true;
    for (int64_t t = 0; t < e->block; t++) all &= e->dead[c * e->block + t];
    count += all;
  }
  return count;
}

/* What both ways of filling a path end with: weights, exact last errors, what to report. */
static int finish(reap_normal_equations *e, const reap_moments *moments, double recursive, double drift, reap_path *path) {
  double fresh = 0, plain = 0;
  REAP_TRY(solve_kept(e, moments, path, &fresh));
  REAP_TRY(reap_moments_error(moments, path->n_kept, path->kept, path->weights, path->bias, &plain));
  double difference = e->energy > 0 && isfinite(recursive) ? fabs(recursive - fresh) / e->energy : 0;
  path->drift = difference > drift ? difference : drift;
  path->energy = e->energy;
  path->ridge = e->ridge;
  path->rcond = e->rcond;
  path->dead = dead_channels(e);
  if (path->n_removed > 0) {
    path->error[path->n_removed - 1] = fresh;
    path->error_plain[path->n_removed - 1] = plain;
  }
  return REAP_OK;
}

static int check_arguments(const reap_moments *moments, int64_t n_kept, double ridge, const char *what) {
  if (n_kept < 1 || n_kept > moments->channels)
    return reap_error(REAP_ERR_USAGE, "%s: %lld of %lld channels cannot be kept", what, (long long)n_kept,
                      (long long)moments->channels);
  if (!(ridge >= 0) || !isfinite(ridge)) return reap_error(REAP_ERR_USAGE, "a ridge of %g is not possible", ridge);
  return reap_moments_check(moments, what);
}

int reap_solve(const reap_moments *moments, int64_t n_kept, double ridge, const char *what, reap_path **out) {
  dual_system d = {0};
  reap_path *path = NULL;
  int status = REAP_OK;
  REAP_TRY(check_arguments(moments, n_kept, ridge, what));
  REAP_TRY_OR(reap_path_create(moments->channels, moments->block, moments->m, n_kept, &path), done);
  REAP_TRY_OR(dual_create(moments, ridge, &d), done);
  REAP_TRY_OR(remove_channels(&d, path), done);
  int64_t kept = 0;
  for (int64_t s = 0; s < d.n_slots; s++)
    if (d.alive[s]) path->kept[kept++] = d.channel[s];
  status = finish(d.equations, moments, d.error, d.drift, path);
done:
  dual_clear(&d);
  if (status != REAP_OK) reap_path_destroy(&path);
  *out = path;
  return reap_error_prefix(status, "%s", what);
}

int reap_refit(const reap_moments *moments, int64_t n_kept, const int64_t *kept, double ridge, const char *what,
               reap_path **out) {
  reap_normal_equations *equations = NULL;
  reap_path *path = NULL;
  int status = REAP_OK;
  REAP_TRY(check_arguments(moments, n_kept, ridge, what));
  REAP_TRY_OR(reap_path_create(moments->channels, moments->block, moments->m, n_kept, &path), done);
  REAP_TRY_OR(reap_normal_create(moments, ridge, &equations), done);
  int64_t k = 0, gone = 0;
  for (int64_t c = 0; c < moments->channels; c++) {
    if (k < n_kept && kept[k] == c)
      path->kept[k++] = c;
    else if (gone < path->n_removed)
      path->order[gone++] = c;
  }
  for (int64_t i = 0; i < path->n_removed; i++) path->error[i] = NAN;
  status = k == n_kept ? finish(equations, moments, NAN, 0, path)
                       : reap_error(REAP_ERR_INTERNAL, "channels to keep are not ascending");
done:
  reap_normal_destroy(&equations);
  if (status != REAP_OK) reap_path_destroy(&path);
  *out = path;
  return reap_error_prefix(status, "%s", what);
}
