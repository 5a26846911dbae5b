/* Layers with fewer rows than columns: elimination and weights in sample space against brute force in long double, and
 * against the normal equations of the same rows. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "linalg/few_rows.h"
#include "reap/memory.h"
#include "reap/solver.h"

const char *const test_suite_name = "few_rows";

/* ------------------------------------------------------------------ made-up rows */

typedef enum trait {
  DUPLICATES = 1,
  DEAD = 2,
  CONSTANT = 4,
  SCALES = 8,
  CONSTANT_OUTPUTS = 16,
  MOSTLY_DEAD = 32
} trait;

typedef struct shape {
  int64_t channels, block, m, rows;
  int traits;
} shape;

static double scale_of(const shape *s, int64_t column) {
  return s->traits & SCALES ? pow(10, (double)(column / s->block * 5 % 7) - 3) : 1;
}

/* Correlated, rectified inputs and a linear output with noise; the traits spoil some channels. */
static reap_few_rows *make(const shape *s, uint64_t seed) {
  const int64_t n = s->channels * s->block;
  reap_few_rows *rows = NULL;
  double *mix = NULL;
  reap_random r = reap_random_init(seed, (uint64_t)n, (uint64_t)s->m);
  CHECK_OK(reap_few_rows_create(s->channels, s->block, s->m, s->rows, &rows));
  CHECK_OK(reap_alloc(&mix, n * (s->m + 4), sizeof *mix));
  for (int64_t i = 0; i < n * (s->m + 4); i++) mix[i] = reap_random_normal(&r) / sqrt((double)n);
  for (int64_t k = 0; k < s->rows; k++) {
    double *x = rows->x + k * n, *y = rows->y + k * s->m, latent[4];
    for (int t = 0; t < 4; t++) latent[t] = reap_random_normal(&r) * sqrt((double)n);
    for (int64_t i = 0; i < n; i++) {
      const int64_t c = i / s->block;
      double v = reap_random_normal(&r);
      for (int t = 0; t < 4; t++) v += latent[t] * mix[(s->m + t) * n + i];
      x[i] = v > 0 ? v : 0;
      x[i] *= scale_of(s, i);
      if ((s->traits & DUPLICATES) && c >= s->channels - 2) x[i] = x[i - (s->channels - 2) * s->block];
      if (((s->traits & DEAD) && c == 3) || ((s->traits & MOSTLY_DEAD) && c > 2)) x[i] = 0;
      if ((s->traits & CONSTANT) && (c == 2 || i % s->block == 1)) x[i] = 0.7;
    }
    for (int64_t j = 0; j < s->m; j++) {
      y[j] = 0.05 * reap_random_normal(&r) + (double)j;
      for (int64_t i = 0; i < n; i++) y[j] += x[i] * mix[j * n + i] / scale_of(s, i);
      if (s->traits & CONSTANT_OUTPUTS) y[j] = 0.1 * (double)(j + 1);
    }
  }
  reap_few_rows_sum(rows);
  reap_free(&mix);
  return rows;
}

static reap_path *solve(const reap_few_rows *rows, bool by_rows, int64_t n_kept, double ridge, reap_solver solver) {
  const reap_solve_options options = {.comm = test_comm(), .solver = solver, .ridge = ridge};
  reap_gram gram = reap_few_rows_gram(rows);
  reap_path *path = NULL;
  if (!by_rows) gram.rows_x = gram.rows_y = NULL;
  CHECK_OK(reap_solve(&gram, n_kept, &options, "layer", &path));
  return path;
}

/* ------------------------------------------------------------------ brute force */

enum { MOST = 160 };

/* Centred rows, their columns scaled; columns that do not move are zero. */
typedef struct exact {
  int64_t n, m, rows;
  long double *x, *y, energy;
} exact;

static void centre(int64_t rows, int64_t columns, const double *from, bool scaled, long double *to) {
  for (int64_t i = 0; i < columns; i++) {
    long double mean = 0, square = 0, raw = 0;
    for (int64_t r = 0; r < rows; r++) mean += from[r * columns + i] / (long double)rows;
    for (int64_t r = 0; r < rows; r++) {
      const long double d = from[r * columns + i] - mean;
      to[r * columns + i] = d;
      square += d * d;
      raw += (long double)from[r * columns + i] * from[r * columns + i];
    }
    for (int64_t r = 0; scaled && r < rows; r++)
      to[r * columns + i] = square <= 1e-12L * raw ? 0 : to[r * columns + i] / sqrtl(square);
  }
}

static exact exact_of(const reap_few_rows *rows) {
  exact e = {.n = rows->n, .m = rows->m, .rows = rows->samples};
  CHECK_OK(reap_alloc(&e.x, e.n * e.rows, sizeof *e.x));
  CHECK_OK(reap_alloc(&e.y, e.m * e.rows, sizeof *e.y));
  centre(e.rows, e.n, rows->x, true, e.x);
  centre(e.rows, e.m, rows->y, false, e.y);
  for (int64_t i = 0; i < e.m * e.rows; i++) e.energy += e.y[i] * e.y[i];
  return e;
}

/* J of the channels alive: forward elimination of the normal equations; what C gives up at each pivot is what the fit
 * gains. */
static long double fit_error(const exact *e, int64_t block, const bool *alive, long double ridge) {
  static long double a[MOST][MOST], c[MOST][MOST];
  int64_t index[MOST], r = 0;
  long double left = e->energy;
  for (int64_t i = 0; i < e->n; i++)
    if (alive[i / block]) index[r++] = i;
  for (int64_t i = 0; i < r; i++) {
    for (int64_t j = 0; j < r; j++) {
      a[i][j] = i == j ? ridge : 0;
      for (int64_t k = 0; k < e->rows; k++) a[i][j] += e->x[k * e->n + index[i]] * e->x[k * e->n + index[j]];
    }
    for (int64_t j = 0; j < e->m; j++) {
      c[i][j] = 0;
      for (int64_t k = 0; k < e->rows; k++) c[i][j] += e->x[k * e->n + index[i]] * e->y[k * e->m + j];
    }
  }
  for (int64_t k = 0; k < r; k++) {
    for (int64_t j = 0; j < e->m; j++) left -= c[k][j] * c[k][j] / a[k][k];
    for (int64_t i = k + 1; i < r; i++) {
      const long double f = a[i][k] / a[k][k];
      for (int64_t j = k; j < r; j++) a[i][j] -= f * a[k][j];
      for (int64_t j = 0; j < e->m; j++) c[i][j] -= f * c[k][j];
    }
  }
  return left;
}

/* Columns that are not dead, of the channels alive. */
static int64_t live_columns(const exact *e, int64_t block, const bool *alive) {
  int64_t count = 0;
  for (int64_t i = 0; i < e->n; i++) {
    bool live = false;
    for (int64_t r = 0; r < e->rows; r++) live |= e->x[r * e->n + i] != 0;
    count += live && alive[i / block];
  }
  return count;
}

/* Tries out every channel at every step. In sample space errors and ties are relative to J, behind it to E. */
static void compare_with_brute_force(const reap_few_rows *rows, const reap_path *path) {
  exact e = exact_of(rows);
  bool alive[MOST];
  long double trial[MOST];
  for (int64_t c = 0; c < rows->channels; c++) alive[c] = true;
  long double now = fit_error(&e, rows->block, alive, path->ridge);
  for (int64_t at = 0; at < path->n_removed; at++) {
    const bool few = live_columns(&e, rows->block, alive) - rows->block >= rows->samples;
    long double least = INFINITY;
    int64_t best = -1;
    for (int64_t c = 0; c < rows->channels; c++) {
      if (!alive[c]) continue;
      alive[c] = false;
      trial[c] = fit_error(&e, rows->block, alive, path->ridge);
      alive[c] = true;
      if (trial[c] < least) least = trial[c];
    }
    for (int64_t c = rows->channels; c-- > 0;)
      if (alive[c] && trial[c] <= least + 1e-9L * (few ? now : e.energy)) best = c;
    CU_ASSERT_EQUAL(path->order[at], best);
    if (path->order[at] != best) break;
    now = trial[best];
    CHECK_NEAR(path->error[at], now, 1e-9L * (few ? now : e.energy));
    alive[best] = false;
  }
  for (int64_t k = 0; k < path->n_kept; k++) CU_ASSERT_TRUE(alive[path->kept[k]]);
  reap_free(&e.x);
  reap_free(&e.y);
}

/* |Y - X W - b|^2 of a path's weights, and |W|^2 in units of scaled columns. */
static double residual(const reap_few_rows *rows, const reap_path *path, double *squares) {
  const int64_t b = path->block, m = path->m;
  double error = 0;
  for (int64_t r = 0; r < rows->samples; r++)
    for (int64_t j = 0; j < m; j++) {
      double rest = rows->y[r * m + j] - path->bias[j];
      for (int64_t i = 0; i < path->n_kept * b; i++)
        rest -= rows->x[r * rows->n + path->kept[i / b] * b + i % b] * path->weights[i * m + j];
      error += rest * rest;
    }
  *squares = 0;
  for (int64_t i = 0; i < path->n_kept * b; i++) {
    const int64_t column = path->kept[i / b] * b + i % b;
    const double centred = rows->diagonal[column] - rows->sum_x[column] * rows->sum_x[column] / (double)rows->samples;
    for (int64_t j = 0; j < m; j++) *squares += centred * path->weights[i * m + j] * path->weights[i * m + j];
  }
  return error;
}

static void check_weights(const reap_few_rows *rows, const reap_path *path) {
  double squares = 0;
  const double error = residual(rows, path, &squares), tolerance = 1e-9 * path->energy;
  CHECK_NEAR(error, path->error_plain[path->n_removed - 1], tolerance);
  CHECK_NEAR(error + path->ridge * squares, path->error[path->n_removed - 1], tolerance);
}

/* ------------------------------------------------------------------ cases */

static const shape small[] = {{12, 1, 5, 6, 0},           {10, 3, 4, 9, DUPLICATES | CONSTANT | DEAD},
                              {9, 4, 6, 12, 0},           {5, 16, 2, 20, 0},
                              {7, 9, 3, 30, SCALES},      {8, 5, 40, 7, DUPLICATES | SCALES | DEAD},
                              {20, 2, 3, 39, DUPLICATES}, {30, 1, 4, 12, MOSTLY_DEAD},
                              {40, 1, 4, 6, DEAD},        {26, 2, 3, 8, 0}};
enum { N_SMALL = sizeof small / sizeof small[0] };

static void brute_force_agrees(void) {
  static const double ridges[] = {1e-6, 1e-2};
  for (int i = 0; i < N_SMALL; i++)
    for (int k = 0; k < 2; k++) {
      reap_few_rows *rows = make(&small[i], 1);
      reap_path *path = solve(rows, true, 1, ridges[k], REAP_SOLVER_LOCAL);
      compare_with_brute_force(rows, path);
      check_weights(rows, path);
      CU_ASSERT_EQUAL(path->ridge, ridges[k]);
      reap_path_destroy(&path);
      reap_few_rows_destroy(&rows);
    }
}

static const shape larger[] = {{150, 1, 20, 60, 0},
                               {40, 9, 30, 50, DUPLICATES | DEAD},
                               {24, 20, 10, 17, CONSTANT},
                               {100, 1, 5, 20, SCALES | DUPLICATES},
                               {33, 7, 3, 100, SCALES | DEAD | CONSTANT}};
enum { N_LARGER = sizeof larger / sizeof larger[0] };

/* With a ridge at which the normal equations tell all costs apart. */
static void normal_equations_agree(void) {
  for (int i = 0; i < N_LARGER; i++)
    for (int64_t n_kept = 2; n_kept < larger[i].channels; n_kept += larger[i].channels / 2) {
      reap_few_rows *rows = make(&larger[i], 2);
      reap_path *path = solve(rows, true, n_kept, 1e-2, REAP_SOLVER_LOCAL),
                *dense = solve(rows, false, n_kept, 1e-2, REAP_SOLVER_LOCAL);
      const int64_t count = path->n_kept * path->block * path->m;
      double largest = 0;
      for (int64_t j = 0; j < count; j++) largest = fmax(largest, fabs(dense->weights[j]));
      CU_ASSERT_EQUAL(memcmp(path->order, dense->order, (size_t)path->n_removed * sizeof *path->order), 0);
      CU_ASSERT_EQUAL(memcmp(path->kept, dense->kept, (size_t)path->n_kept * sizeof *path->kept), 0);
      CHECK_NEAR(test_max_difference(path->error, dense->error, path->n_removed), 0, 1e-9 * path->energy);
      CHECK_NEAR(test_max_difference(path->error_plain, dense->error_plain, path->n_removed), 0, 1e-9 * path->energy);
      CHECK_NEAR(test_max_difference(path->weights, dense->weights, count), 0, 1e-7 * largest);
      CHECK_NEAR(test_max_difference(path->bias, dense->bias, path->m), 0, 1e-7 * (largest + (double)path->m));
      CU_ASSERT_TRUE(path->drift < 1e-9);
      CHECK_NEAR(log10(path->rcond), log10(dense->rcond), 1.5);
      CU_ASSERT_EQUAL(path->dead, dense->dead);
      reap_path_destroy(&path);
      reap_path_destroy(&dense);
      reap_few_rows_destroy(&rows);
    }
}

static void ranks_together_choose_what_one_does_to_the_last_bit(void) {
  for (int i = 0; i < N_LARGER; i++) {
    reap_few_rows *rows = make(&larger[i], 3);
    reap_path *local = solve(rows, true, 3, 1e-6, REAP_SOLVER_LOCAL),
              *shared = solve(rows, true, 3, 1e-6, REAP_SOLVER_SCALAPACK);
    const size_t removed = (size_t)local->n_removed;
    CU_ASSERT_EQUAL(memcmp(local->order, shared->order, removed * sizeof *local->order), 0);
    CU_ASSERT_EQUAL(memcmp(local->error, shared->error, removed * sizeof *local->error), 0);
    CU_ASSERT_EQUAL(memcmp(local->error_plain, shared->error_plain, removed * sizeof *local->error), 0);
    CU_ASSERT_EQUAL(memcmp(local->bias, shared->bias, (size_t)local->m * sizeof *local->bias), 0);
    CU_ASSERT_TRUE(shared->distributed && !local->distributed);
    CU_ASSERT_EQUAL(shared->weights != NULL, test_rank() == 0);
    CHECK_OK(reap_comm_same(test_comm(), shared->error, removed * sizeof *shared->error, "errors"));
    CHECK_OK(reap_comm_same(test_comm(), shared->kept, 3 * sizeof *shared->kept, "channels"));
    reap_path_destroy(&local);
    reap_path_destroy(&shared);
    reap_few_rows_destroy(&rows);
  }
}

/* With a small ridge all errors but the last are far below what the normal equations tell from nothing. */
static void channels_are_told_apart_where_all_rows_are_fitted(void) {
  const shape s = {60, 2, 8, 20, 0};
  reap_few_rows *rows = make(&s, 4);
  reap_path *path = solve(rows, true, 20, 1e-8, REAP_SOLVER_LOCAL);
  bool ascending = true;
  for (int64_t i = 0; i < path->n_removed; i++) {
    ascending &= path->order[i] == i;
    CU_ASSERT_TRUE(path->error[i] > (i > 0 ? path->error[i - 1] : 0));
    CU_ASSERT_TRUE(path->error[i] < 1e-7 * path->energy);
  }
  CU_ASSERT_FALSE(ascending);
  reap_path_destroy(&path);
  reap_few_rows_destroy(&rows);
}

static void weights_of_given_channels(void) {
  const shape s = {20, 3, 6, 15, DUPLICATES | DEAD};
  const int64_t kept[] = {0, 2, 3, 5, 6, 8, 11, 13, 17, 19};
  reap_few_rows *rows = make(&s, 5);
  for (int64_t n_kept = 1; n_kept <= 10; n_kept++)
    for (int solver = REAP_SOLVER_LOCAL; solver <= REAP_SOLVER_SCALAPACK; solver++) {
      reap_gram gram = reap_few_rows_gram(rows), pieces = gram;
      const bool wanted = solver == REAP_SOLVER_LOCAL || test_rank() == 1 % test_ranks();
      const reap_solve_options options = {
          .comm = test_comm(), .solver = (reap_solver)solver, .ridge = 1e-4, .no_weights = !wanted};
      const reap_solve_options alone = reap_solver_local(1e-4);
      reap_path *path = NULL, *dense = NULL;
      pieces.rows_x = pieces.rows_y = NULL;
      CHECK_OK(reap_refit(&gram, n_kept, kept, &options, "layer", &path));
      CHECK_OK(reap_refit(&pieces, n_kept, kept, &alone, "layer", &dense));
      CHECK_NEAR(path->error[path->n_removed - 1], dense->error[path->n_removed - 1], 1e-9 * dense->energy);
      CHECK_NEAR(test_max_difference(path->bias, dense->bias, 6), 0, 1e-6);
      CU_ASSERT_EQUAL(path->weights != NULL, wanted);
      if (wanted) CHECK_NEAR(test_max_difference(path->weights, dense->weights, n_kept * 18), 0, 1e-6);
      if (wanted) check_weights(rows, path);
      reap_path_destroy(&path);
      reap_path_destroy(&dense);
    }
  reap_few_rows_destroy(&rows);
}

static void hostile_rows(void) {
  static const struct {
    shape shape;
    double ridge;
  } cases[] = {{{13, 4, 5, 20, SCALES | DUPLICATES | CONSTANT | DEAD}, 0},
               {{10, 9, 4, 20, DUPLICATES}, 1e-15},
               {{8, 4, 3, 2, 0}, 1e-6},
               {{6, 4, 3, 1, 0}, 1e-6}, /* every column is constant */
               {{9, 4, 5, 11, CONSTANT_OUTPUTS}, 1e-6},
               {{1, 9, 3, 5, 0}, 1e-6},
               {{20, 4, 3, 30, MOSTLY_DEAD}, 1e-6}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int solver = REAP_SOLVER_LOCAL; solver <= REAP_SOLVER_SCALAPACK; solver++) {
      reap_few_rows *rows = make(&cases[i].shape, 6);
      reap_path *path = solve(rows, true, 1, cases[i].ridge, (reap_solver)solver);
      double before = 0;
      CU_ASSERT_TRUE(path->ridge >= cases[i].ridge && path->ridge >= 1e-8 && path->ridge < 1e-5);
      for (int64_t at = 0; at < path->n_removed; at++) {
        CU_ASSERT_TRUE(isfinite(path->error[at]) && path->error[at] >= before - 1e-9 * path->energy);
        CU_ASSERT_TRUE(path->error_plain[at] >= 0);
        before = path->error[at];
      }
      if (cases[i].shape.traits & CONSTANT_OUTPUTS) CU_ASSERT_TRUE(before == 0);
      for (int64_t j = 0; path->weights && j < path->block * path->m; j++) CU_ASSERT_TRUE(isfinite(path->weights[j]));
      reap_path_destroy(&path);
      reap_few_rows_destroy(&rows);
    }
}

const test_case test_cases[] = {
    {"brute_force_agrees", brute_force_agrees},
    {"normal_equations_agree", normal_equations_agree},
    {"ranks_together_choose_what_one_does_to_the_last_bit", ranks_together_choose_what_one_does_to_the_last_bit},
    {"channels_are_told_apart_where_all_rows_are_fitted", channels_are_told_apart_where_all_rows_are_fitted},
    {"weights_of_given_channels", weights_of_given_channels},
    {"hostile_rows", hostile_rows},
    {NULL, NULL}};
