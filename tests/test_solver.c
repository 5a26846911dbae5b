/* The solver: against brute force and the plain recursion, on hostile moments, local against distributed. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "io/origin.h"
#include "linalg/dense.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "reap/stats_file.h"

const char *const test_suite_name = "solver";

/* ------------------------------------------------------------------ moments of made-up layers */

typedef enum trait {
  SCALES = 1,
  DUPLICATES = 2,
  CONSTANT = 4,
  DEAD = 8,
  ALL_DEAD = 16,
  HALF_DEAD = 32,
  DEPENDENT = 64,
  CONSTANT_OUTPUTS = 128
} trait;

/* Rows of correlated, rectified inputs and a linear output with noise; the traits spoil some channels. */
static reap_moments *make(int64_t channels, int64_t block, int64_t m, int64_t samples, int traits, uint64_t seed) {
  const int64_t n = channels * block, rank = n / 2 + 1;
  reap_moments *s = NULL;
  double *mix = NULL, *weights = NULL, *x = NULL, *latent = NULL;
  reap_random r = reap_random_init(seed, (uint64_t)n, (uint64_t)m);
  CHECK_OK(reap_moments_create(channels, block, m, &s));
  CHECK_OK(reap_alloc(&mix, rank * n, sizeof *mix));
  CHECK_OK(reap_alloc(&weights, n * m, sizeof *weights));
  CHECK_OK(reap_alloc(&x, n + m, sizeof *x));
  CHECK_OK(reap_alloc(&latent, rank, sizeof *latent));
  for (int64_t i = 0; i < rank * n; i++) mix[i] = reap_random_normal(&r) / sqrt((double)rank);
  for (int64_t i = 0; i < n * m; i++) weights[i] = reap_random_normal(&r) / sqrt((double)n);
  s->samples = samples;
  for (int64_t row = 0; row < samples; row++) {
    double *y = x + n;
    for (int64_t k = 0; k < rank; k++) latent[k] = reap_random_normal(&r);
    for (int64_t i = 0; i < n; i++) {
      const int64_t c = i / block;
      double v = 0.3 * reap_random_normal(&r);
      for (int64_t k = 0; k < rank; k++) v += latent[k] * mix[k * n + i];
      x[i] = v > 0 ? v : 0;
      if (traits & SCALES) x[i] *= pow(10, (double)(c * 5 % 13) - 6);
      if ((traits & DUPLICATES) && c >= channels - 2 && channels > 4) x[i] = x[i - (channels - 2) * block];
      if ((traits & CONSTANT) && c == 2) x[i] = 0.7;
      if ((traits & DEPENDENT) &&
          c == channels * 3 / 4) { /* the sum of those before: each of them can go, and then no other */
        x[i] = 0.01 * v;
        for (int64_t j = i % block; j < i; j += block) x[i] += x[j];
      }
      if (((traits & DEAD) && c == 3) || (traits & ALL_DEAD) || ((traits & HALF_DEAD) && c < channels / 2)) x[i] = 0;
    }
    for (int64_t j = 0; j < m; j++) {
      y[j] = 0.05 * reap_random_normal(&r) + (double)j;
      for (int64_t i = 0; i < n; i++)
        y[j] += x[i] * weights[i * m + j] * (traits & SCALES ? pow(10, 6 - (double)(i / block * 5 % 13)) : 1);
      if (traits & CONSTANT_OUTPUTS) y[j] = 0.1 * (double)(j + 1); /* no binary fraction: sums are rounded */
    }
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++) s->gram[i * n + j] += x[i] * x[j];
      for (int64_t j = 0; j < m; j++) s->cross[i * m + j] += x[i] * y[j];
      s->sum_x[i] += x[i];
    }
    for (int64_t j = 0; j < m; j++) {
      s->sum_y[j] += y[j];
      s->energy += y[j] * y[j];
    }
  }
  reap_free(&mix);
  reap_free(&weights);
  reap_free(&x);
  reap_free(&latent);
  return s;
}

/* ------------------------------------------------------------------ brute force */

/* J of the least-squares fit on the channels alive, by a solve of its own (Cholesky by hand, nothing of the solver). */
static double fit_error(const reap_moments *s, const bool *alive, double ridge) {
  const int64_t n = s->n, m = s->m;
  const double count = (double)s->samples;
  double *a = NULL, *c = NULL, energy = s->energy;
  int64_t *index = NULL, r = 0;
  CHECK_OK(reap_alloc(&a, n * n, sizeof *a));
  CHECK_OK(reap_alloc(&c, n * m, sizeof *c));
  CHECK_OK(reap_alloc(&index, n, sizeof *index));
  for (int64_t i = 0; i < n; i++)
    if (alive[i / s->block] && s->gram[i * n + i] - s->sum_x[i] * s->sum_x[i] / count > 1e-12 * s->gram[i * n + i])
      index[r++] = i;
  for (int64_t i = 0; i < r; i++) {
    const int64_t gi = index[i];
    const double scale = 1 / sqrt(s->gram[gi * n + gi] - s->sum_x[gi] * s->sum_x[gi] / count);
    for (int64_t j = 0; j < r; j++) {
      const int64_t gj = index[j];
      const double other = 1 / sqrt(s->gram[gj * n + gj] - s->sum_x[gj] * s->sum_x[gj] / count);
      a[i * r + j] = i == j ? 1 + ridge : (s->gram[gi * n + gj] - s->sum_x[gi] * s->sum_x[gj] / count) * scale * other;
    }
    for (int64_t j = 0; j < m; j++) c[i * m + j] = (s->cross[gi * m + j] - s->sum_x[gi] * s->sum_y[j] / count) * scale;
  }
  for (int64_t j = 0; j < m; j++) energy -= s->sum_y[j] * s->sum_y[j] / count;
  for (int64_t k = 0; k < r; k++) { /* forward elimination: what C gives up at each pivot is what the fit gains */
    for (int64_t j = 0; j < m; j++) energy -= c[k * m + j] * c[k * m + j] / a[k * r + k];
    for (int64_t i = k + 1; i < r; i++) {
      const double f = a[i * r + k] / a[k * r + k];
      for (int64_t j = k; j < r; j++) a[i * r + j] -= f * a[k * r + j];
      for (int64_t j = 0; j < m; j++) c[i * m + j] -= f * c[k * m + j];
    }
  }
  reap_free(&a);
  reap_free(&c);
  reap_free(&index);
  return energy;
}

/* Compares a path with trying out every channel at every step. */
static void compare_with_brute_force(const reap_moments *s, const reap_path *path, double tolerance) {
  bool alive[64];
  double trial[64];
  const double energy = reap_moments_centred_energy(s);
  for (int64_t c = 0; c < s->channels; c++) alive[c] = true;
  for (int64_t at = 0; at < path->n_removed; at++) {
    double least = INFINITY;
    int64_t best = -1;
    for (int64_t c = 0; c < s->channels; c++) {
      if (!alive[c]) continue;
      alive[c] = false;
      trial[c] = fit_error(s, alive, path->ridge);
      alive[c] = true;
      if (trial[c] < least) least = trial[c];
    }
    for (int64_t c = s->channels; c-- > 0;)
      if (alive[c] && trial[c] <= least + 1e-9 * energy) best = c;
    CU_ASSERT_EQUAL(path->order[at], best);
    if (path->order[at] != best) return;
    CHECK_NEAR(path->error[at], trial[best], tolerance * energy);
    alive[best] = false;
  }
  for (int64_t k = 0; k < path->n_kept; k++) CU_ASSERT_TRUE(alive[path->kept[k]]);
}

static void same_path(const reap_path *a, const reap_path *b, double tolerance) {
  CU_ASSERT_EQUAL_FATAL(a->n_removed, b->n_removed);
  CU_ASSERT_EQUAL(memcmp(a->order, b->order, (size_t)a->n_removed * sizeof *a->order), 0);
  CU_ASSERT_EQUAL(memcmp(a->kept, b->kept, (size_t)a->n_kept * sizeof *a->kept), 0);
  CHECK_NEAR(test_max_difference(a->error, b->error, a->n_removed), 0, tolerance * a->energy);
}

static reap_path *solve(const reap_moments *s, int64_t n_kept, double ridge, reap_solver solver, reap_route route) {
  const reap_solve_options options = {.comm = test_comm(), .solver = solver, .ridge = ridge, .route = route};
  const reap_gram gram = reap_gram_of(s);
  reap_path *path = NULL;
  CHECK_OK(reap_solve(&gram, n_kept, &options, "layer", &path));
  return path;
}

static const struct {
  int64_t channels, block, m, samples;
  int traits;
} layers[] = {
    {12, 1, 5, 300, 0},
    {10, 3, 4, 400, DUPLICATES | CONSTANT | DEAD},
    {7, 9, 3, 500, SCALES | DEAD},
    {5, 16, 2, 400, 0},
    {12, 2, 60, 300, DUPLICATES},
    {9, 4, 6, 12, 0}, /* fewer samples than columns */
    {12, 1, 1, 200, SCALES},
    {6, 1, 40, 100, DUPLICATES | SCALES | CONSTANT | DEAD},
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

static void both_routes_agree_with_brute_force(void) {
  for (int i = 0; i < N_LAYERS; i++)
    for (int route = REAP_ROUTE_AUTO; route <= REAP_ROUTE_PRODUCT; route++) {
      reap_moments *s = make(layers[i].channels, layers[i].block, layers[i].m, layers[i].samples, layers[i].traits, 1);
      reap_path *path = solve(s, 1, 1e-6, REAP_SOLVER_LOCAL, (reap_route)route);
      compare_with_brute_force(s, path, 1e-9);
      reap_path_destroy(&path);
      reap_moments_destroy(&s);
    }
}

static void level_3_agrees_with_the_plain_recursion(void) {
  const int64_t shapes[][4] = {
      {150, 1, 20, 1}, {40, 9, 30, 0}, {150, 1, 700, 0}, {20, 17, 40, 0}, {60, 4, 20, DUPLICATES | DEAD}};
  for (int i = 0; i < 5; i++)
    for (int route = REAP_ROUTE_WEIGHTS; route <= REAP_ROUTE_PRODUCT; route++) {
      reap_moments *s = make(shapes[i][0], shapes[i][1], shapes[i][2], 600, (int)shapes[i][3], 2);
      const reap_gram gram = reap_gram_of(s);
      reap_path *plain = NULL, *path = solve(s, shapes[i][0] / 3, 1e-6, REAP_SOLVER_LOCAL, (reap_route)route);
      CHECK_OK(reap_solve_plain(&gram, shapes[i][0] / 3, 1e-6, "layer", &plain));
      same_path(path, plain, 1e-9);
      CU_ASSERT_EQUAL(path->refreshes, 0);
      CHECK_NEAR(test_max_difference(path->weights, plain->weights, path->n_kept * path->block * path->m), 0, 1e-6);
      reap_path_destroy(&path);
      reap_path_destroy(&plain);
      reap_moments_destroy(&s);
    }
}

/* Every channel of a small layer, many times over: costs tie by the hundreds, and differ by rounding alone. */
static reap_moments *repeated(int64_t channels) {
  enum { BASE = 5 };
  reap_moments *few = make(BASE, 1, 3, 300, 0, 7), *s = NULL;
  CHECK_OK(reap_moments_create(channels, 1, 3, &s));
  for (int64_t i = 0; i < channels; i++) {
    for (int64_t j = 0; j < channels; j++) s->gram[i * channels + j] = few->gram[i % BASE * BASE + j % BASE];
    for (int64_t j = 0; j < 3; j++) s->cross[i * 3 + j] = few->cross[i % BASE * 3 + j];
    s->sum_x[i] = few->sum_x[i % BASE];
  }
  for (int64_t j = 0; j < 3; j++) s->sum_y[j] = few->sum_y[j];
  s->energy = few->energy;
  s->samples = few->samples;
  reap_moments_destroy(&few);
  return s;
}

static void of_hundreds_of_ties_the_lowest_index_goes(void) {
  reap_moments *s = repeated(400);
  for (int solver = REAP_SOLVER_LOCAL; solver <= REAP_SOLVER_SCALAPACK; solver++)
    for (int route = REAP_ROUTE_WEIGHTS; route <= REAP_ROUTE_PRODUCT; route++) {
      reap_path *path =
          solve(s, 250, 1e-6, (reap_solver)solver, (reap_route)route); /* with fewer, the ridge tells copies apart */
      for (int64_t at = 0; at < path->n_removed; at++) CU_ASSERT_EQUAL(path->order[at], at);
      CHECK_NEAR(path->error[path->n_removed - 1], path->error[0], 1e-6 * path->energy);
      reap_path_destroy(&path);
    }
  reap_moments_destroy(&s);
}

/* Hundreds of channels cost nothing until one of them goes; then those that were not looked at are the cheapest. */
static void an_order_that_was_not_foreseen_is_followed(void) {
  const int64_t shapes[][3] = {{300, 1, 10}, {60, 4, 6}, {30, 17, 3}};
  for (int i = 0; i < 3; i++)
    for (int route = REAP_ROUTE_WEIGHTS; route <= REAP_ROUTE_PRODUCT; route++) {
      const int64_t kept = shapes[i][0] / 3;
      reap_moments *s = make(shapes[i][0], shapes[i][1], shapes[i][2], 800, DEPENDENT, 12);
      const reap_gram gram = reap_gram_of(s);
      reap_path *plain = NULL;
      CHECK_OK(reap_solve_plain(&gram, kept, 1e-6, "layer", &plain));
      for (int solver = REAP_SOLVER_LOCAL; solver <= REAP_SOLVER_SCALAPACK; solver++) {
        reap_path *path = solve(s, kept, 1e-6, (reap_solver)solver, (reap_route)route);
        same_path(path, plain, 1e-9);
        reap_path_destroy(&path);
      }
      reap_path_destroy(&plain);
      reap_moments_destroy(&s);
    }
}

static void distributed_agrees_with_local(void) {
  const int64_t shapes[][5] = {{150, 1, 20, 1, 0},
                               {40, 9, 30, 0, 0},
                               {150, 1, 400, 0, 0},
                               {20, 17, 3, 0, 0},
                               {60, 4, 1, 0, DEAD},
                               {3, 2, 5, 0, 0},
                               {60, 4, 20, 0, DUPLICATES | DEAD | SCALES},
                               {40, 3, 10, 0, HALF_DEAD}, /* nothing is left of the first ranks' share */
                               {24, 20, 10, 0, HALF_DEAD}};
  for (int i = 0; i < 9; i++)
    for (int route = REAP_ROUTE_WEIGHTS; route <= REAP_ROUTE_PRODUCT; route++) {
      const int64_t kept = shapes[i][0] / 3;
      reap_moments *s = make(shapes[i][0], shapes[i][1], shapes[i][2], 500, (int)shapes[i][4], 3);
      reap_path *local = solve(s, kept, 1e-6, REAP_SOLVER_LOCAL, (reap_route)route);
      reap_path *path = solve(s, kept, 1e-6, REAP_SOLVER_SCALAPACK, (reap_route)route);
      same_path(local, path, 1e-9);
      CU_ASSERT_TRUE(path->distributed);
      CU_ASSERT_EQUAL(path->weights != NULL, test_rank() == 0);
      CHECK_NEAR(path->error_plain[path->n_removed - 1], local->error_plain[path->n_removed - 1], 1e-9 * path->energy);
      CHECK_NEAR(log10(path->rcond), log10(local->rcond), 0.01);
      double largest = 0;
      for (int64_t j = 0; j < path->n_kept * path->block * path->m; j++)
        largest = fmax(largest, fabs(local->weights[j]));
      if (path->weights)
        CHECK_NEAR(test_max_difference(path->weights, local->weights, path->n_kept * path->block * path->m), 0,
                   1e-6 * largest);
      reap_path_destroy(&local);
      reap_path_destroy(&path);
      reap_moments_destroy(&s);
    }
}

static void local_is_the_same_on_all_ranks_to_the_last_bit(void) {
  reap_moments *s = make(40, 9, 12, 500, DUPLICATES | DEAD, 4);
  reap_path *path = solve(s, 11, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  CHECK_OK(reap_comm_same(test_comm(), path->order, (size_t)path->n_removed * sizeof *path->order, "order"));
  CHECK_OK(reap_comm_same(test_comm(), path->error, (size_t)path->n_removed * sizeof *path->error, "error"));
  CHECK_OK(
      reap_comm_same(test_comm(), path->weights, (size_t)(path->n_kept * 9 * 12) * sizeof *path->weights, "weights"));
  reap_path_destroy(&path);
  reap_moments_destroy(&s);
}

static void weights_at_any_size_without_eliminating_again(void) {
  reap_moments *s = make(20, 4, 6, 400, DUPLICATES, 5);
  const reap_gram gram = reap_gram_of(s);
  reap_path *path = solve(s, 3, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  for (int64_t kept = 3; kept <= 20; kept++) {
    reap_path *part = NULL;
    double error = 0;
    CHECK_OK(reap_path_weights(&gram, path, kept, "layer", &part));
    CU_ASSERT_EQUAL(part->n_removed, 20 - kept);
    CHECK_OK(reap_moments_error(s, kept, part->kept, part->weights, part->bias, &error));
    if (kept < 20) {
      CHECK_NEAR(part->error[19 - kept], path->error[19 - kept], 1e-9 * path->energy);
      CHECK_NEAR(part->error_plain[19 - kept], path->error_plain[19 - kept], 1e-9 * path->energy);
      CHECK_NEAR(error, path->error_plain[19 - kept],
                 1e-9 * path->energy); /* of the weights themselves, at every size */
    }
    reap_path_destroy(&part);
  }
  reap_path *none = NULL;
  CHECK_FAILS(reap_path_weights(&gram, path, 2, "layer", &none), REAP_ERR_USAGE, "does not pass");
  reap_path_destroy(&path);
  reap_moments_destroy(&s);
}

/* Both solvers, down to one channel: finite numbers, errors that grow, and every removal free where nothing can be
 * fitted. */
static void check_hostile(const reap_moments *s, double ridge, bool free) {
  for (int solver = REAP_SOLVER_LOCAL; solver <= REAP_SOLVER_SCALAPACK; solver++)
    for (int route = REAP_ROUTE_WEIGHTS; route <= REAP_ROUTE_PRODUCT; route++) {
      reap_path *path = solve(s, 1, ridge, (reap_solver)solver, (reap_route)route);
      double before = -INFINITY;
      if (!path) continue;
      CU_ASSERT_TRUE(path->ridge >= ridge && path->ridge <= 1);
      CU_ASSERT_TRUE(path->drift < 1e-8);
      for (int64_t i = 0; i < path->n_removed; i++) {
        CU_ASSERT_TRUE(isfinite(path->error[i]) && path->error_plain[i] >= 0);
        CU_ASSERT_TRUE(path->error[i] >= before - 1e-9 * path->energy);
        CU_ASSERT_TRUE(path->error_plain[i] <= path->error[i] * (1 + 1e-9) + 1e-9 * path->energy);
        if (free) CHECK_NEAR(path->error[i], path->energy, 1e-9 * path->energy);
        before = path->error[i];
      }
      for (int64_t i = 0; path->weights && i < path->n_kept * path->block * path->m; i++)
        CU_ASSERT_TRUE(isfinite(path->weights[i]));
      reap_path_destroy(&path);
    }
}

static void hostile_moments(void) {
  const struct {
    int64_t channels, block, m, samples;
    int traits;
    double ridge;
    bool free;
  } cases[] = {{13, 4, 5, 300, SCALES, 1e-6, false},
               {13, 4, 5, 300, SCALES | DUPLICATES | CONSTANT | DEAD, 0, false},
               {10, 9, 4, 20, 0, 0, false}, /* singular: the ridge has to come by itself */
               {10, 9, 4, 20, DUPLICATES, 1e-15, false},
               {8, 4, 3, 2, 0, 1e-6, false},
               {1, 9, 3, 100, 0, 1e-6, false},
               {1, 1, 1, 100, 0, 0, false},
               {6, 4, 3, 100, ALL_DEAD, 1e-6, true},
               {6, 1, 3, 100, ALL_DEAD, 0, true},
               {6, 4, 3, 1, 0, 1e-6, true}}; /* one row: every column is constant */
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    reap_moments *s = make(cases[i].channels, cases[i].block, cases[i].m, cases[i].samples, cases[i].traits, 6);
    check_hostile(s, cases[i].ridge, cases[i].free);
    reap_moments_destroy(&s);
  }
}

/* A layer without weights but a bias: any channels will do, at no cost, and none needs a weight. */
static void constant_outputs_are_fitted_by_the_bias(void) {
  for (int form = 0; form < 4; form++) {
    const double ridge = form % 2 ? 1e-6 : 0;
    reap_moments *s = make(9, form < 2 ? 4 : 1, 5, 3000, CONSTANT_OUTPUTS, 6);
    reap_path *path = solve(s, 4, ridge, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
    reap_path *shared = solve(s, 4, ridge, REAP_SOLVER_SCALAPACK, REAP_ROUTE_AUTO);
    for (int other = 0; other < 2; other++) {
      const reap_path *p = other ? shared : path;
      CU_ASSERT_EQUAL(p->energy, 0);
      for (int i = 0; i < 5; i++) CU_ASSERT_TRUE(p->error[i] == 0 && p->error_plain[i] == 0);
      for (int64_t i = 0; p->weights && i < 4 * s->block * s->m; i++) CU_ASSERT_EQUAL(p->weights[i], 0);
      for (int64_t j = 0; j < s->m; j++) CHECK_NEAR(p->bias[j], 0.1 * (double)(j + 1), 1e-12);
      for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL(p->kept[i], 5 + i);
    }
    reap_path_destroy(&path);
    reap_path_destroy(&shared);
    reap_moments_destroy(&s);
  }
}

static void a_singular_matrix_raises_the_ridge_and_says_so(void) {
  reap_moments *s = make(12, 4, 5, 300, DUPLICATES, 7);
  reap_path *path = solve(s, 6, 0, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  CU_ASSERT_TRUE(path->ridge > 0 && path->ridge < 1e-6);
  CU_ASSERT_TRUE(path->rcond > DBL_EPSILON);
  reap_path_destroy(&path);
  path = solve(s, 6, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  CU_ASSERT_EQUAL(path->ridge, 1e-6);
  CU_ASSERT_TRUE(path->rcond > 1e-9 && path->rcond < 1e-5);
  reap_path_destroy(&path);
  reap_moments_destroy(&s);
}

static void units_do_not_matter(void) {
  reap_moments *s = make(13, 2, 4, 300, 0, 8), *t = make(13, 2, 4, 300, 0, 8);
  for (int64_t i = 0; i < t->n; i++) { /* other units for every channel */
    const double f = pow(10, (double)(i / 2) - 6);
    for (int64_t j = 0; j < t->n; j++) t->gram[i * t->n + j] *= f;
    for (int64_t j = 0; j < t->n; j++) t->gram[j * t->n + i] *= f;
    for (int64_t j = 0; j < t->m; j++) t->cross[i * t->m + j] *= f;
    t->sum_x[i] *= f;
  }
  reap_path *a = solve(s, 4, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO),
            *b = solve(t, 4, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  same_path(a, b, 1e-9);
  reap_path_destroy(&a);
  reap_path_destroy(&b);
  reap_moments_destroy(&s);
  reap_moments_destroy(&t);
}

/* A layer read from its file straight into the layout, against the same one in memory. */
static void a_file_is_read_into_the_layout(void) {
  const char *name = test_scratch_path("layer.h5");
  reap_moments *s = make(23, 4, 7, 300, DEAD, 10);
  const reap_gram gram = reap_gram_of(s);
  reap_origin origin;
  reap_stats_writer *writer = NULL;
  reap_stats_file *file = NULL;
  reap_stats_source *source = NULL;
  int64_t channels = 0, block = 0, m = 0;
  CHECK_OK(reap_origin_make("model", false, 0, 0, "data", 0, 10, &origin));
  CHECK_OK(reap_stats_writer_create(test_comm(), name, &origin, &writer));
  CHECK_OK(reap_stats_writer_add(writer, "conv", "conv", &gram));
  CHECK_OK(reap_stats_writer_commit(&writer));
  CHECK_OK(reap_stats_file_open(name, &file));
  CHECK_OK(reap_stats_file_shape(file, 0, &channels, &block, &m));
  CU_ASSERT_TRUE(channels == 23 && block == 4 && m == 7);
  CHECK_OK(reap_stats_source_open(file, 0, &source));
  const reap_solve_options options = reap_solver_distributed(test_comm(), REAP_SOLVER_SCALAPACK, 1e-6);
  reap_path *path = NULL, *local = solve(s, 9, 1e-6, REAP_SOLVER_LOCAL, REAP_ROUTE_AUTO);
  CHECK_OK(reap_solve(reap_stats_source_gram(source), 9, &options, "conv", &path));
  same_path(local, path, 1e-9);
  if (path->weights) CHECK_NEAR(test_max_difference(path->weights, local->weights, 9 * 4 * 7), 0, 1e-8);
  CHECK_NEAR(test_max_difference(path->bias, local->bias, 7), 0, 1e-8);
  reap_path_destroy(&path);
  reap_path_destroy(&local);
  reap_stats_source_close(&source);
  reap_stats_file_close(&file);
  reap_origin_clear(&origin);
  reap_moments_destroy(&s);
}

static void bad_arguments_are_refused(void) {
  reap_moments *s = make(4, 2, 3, 50, 0, 9);
  const reap_gram gram = reap_gram_of(s);
  const reap_solve_options options = reap_solver_local(1e-6), negative = reap_solver_local(-1);
  reap_path *path = NULL;
  const int64_t kept[] = {2, 1};
  CHECK_FAILS(reap_solve(&gram, 0, &options, "conv1", &path), REAP_ERR_USAGE, "conv1");
  CHECK_FAILS(reap_solve(&gram, 5, &options, "conv1", &path), REAP_ERR_USAGE, "5 of 4");
  CHECK_FAILS(reap_solve(&gram, 2, &negative, "conv1", &path), REAP_ERR_USAGE, "ridge");
  CHECK_FAILS(reap_refit(&gram, 2, kept, &options, "conv1", &path), REAP_ERR_INTERNAL, "ascending");
  s->cross[1] = NAN;
  CHECK_FAILS(reap_solve(&gram, 2, &options, "conv1", &path), REAP_ERR_NUMERIC, "NaN");
  CU_ASSERT_PTR_NULL(path);
  reap_moments_destroy(&s);
}

/* Moments that no rank has checked by itself: a NaN, and triangles that differ in one element. */
static void a_bad_matrix_is_found_by_all_ranks_together(void) {
  reap_moments *s = make(11, 3, 2, 300, DEAD, 12);
  const reap_solve_options options = reap_solver_distributed(test_comm(), REAP_SOLVER_SCALAPACK, 1e-6);
  const double root = sqrt(s->gram[s->n + 1] * s->gram[(s->n - 2) * s->n + s->n - 2]), right = s->gram[2 * s->n - 2];
  const struct {
    double gap;
    const char *message;
  } cases[] = {{1e-14 * root, NULL}, {1e-7 * root, "not symmetric"}, {-root, "not symmetric"}, {NAN, "NaN"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    reap_gram pieces = reap_gram_of(s);
    reap_path *path = NULL;
    pieces.moments = NULL;
    s->gram[2 * s->n - 2] = right + cases[i].gap;
    if (cases[i].message) {
      CHECK_FAILS(reap_solve(&pieces, 4, &options, "conv7", &path), REAP_ERR_NUMERIC, cases[i].message);
      CU_ASSERT_PTR_NULL(path);
    } else {
      CHECK_OK(reap_solve(&pieces, 4, &options, "conv7", &path));
    }
    reap_path_destroy(&path);
  }
  reap_moments_destroy(&s);
}

const test_case test_cases[] = {
    {"both_routes_agree_with_brute_force", both_routes_agree_with_brute_force},
    {"level_3_agrees_with_the_plain_recursion", level_3_agrees_with_the_plain_recursion},
    {"of_hundreds_of_ties_the_lowest_index_goes", of_hundreds_of_ties_the_lowest_index_goes},
    {"an_order_that_was_not_foreseen_is_followed", an_order_that_was_not_foreseen_is_followed},
    {"distributed_agrees_with_local", distributed_agrees_with_local},
    {"local_is_the_same_on_all_ranks_to_the_last_bit", local_is_the_same_on_all_ranks_to_the_last_bit},
    {"weights_at_any_size_without_eliminating_again", weights_at_any_size_without_eliminating_again},
    {"hostile_moments", hostile_moments},
    {"constant_outputs_are_fitted_by_the_bias", constant_outputs_are_fitted_by_the_bias},
    {"a_singular_matrix_raises_the_ridge_and_says_so", a_singular_matrix_raises_the_ridge_and_says_so},
    {"units_do_not_matter", units_do_not_matter},
    {"a_file_is_read_into_the_layout", a_file_is_read_into_the_layout},
    {"a_bad_matrix_is_found_by_all_ranks_together", a_bad_matrix_is_found_by_all_ranks_together},
    {"bad_arguments_are_refused", bad_arguments_are_refused},
    {NULL, NULL}};
