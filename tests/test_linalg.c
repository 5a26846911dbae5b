/* linalg: local BLAS and LAPACK wrappers, the process grid and block-cyclic solves by ScaLAPACK. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "linalg/block_cyclic.h"
#include "linalg/dense.h"
#include "linalg/symmetric.h"
#include "reap/memory.h"

const char *const test_suite_name = "linalg";

/* Element (i, j) of a symmetric, strictly diagonally dominant matrix of order n, computable anywhere. */
static double spd(int64_t i, int64_t j, int64_t n) {
  if (i < j) return spd(j, i, n);
  reap_random r = reap_random_init(7, (uint64_t)i, (uint64_t)j);
  return i == j ? (double)n : reap_random_uniform(&r) - 0.5;
}

static void gemm_matches_the_definition(void) {
  enum { M = 5, N = 4, K = 7 };
  double a[M * K], b[K * N], c[M * N], want[M * N];
  reap_random r = reap_random_init(1, 0, 0);
  for (int i = 0; i < M * K; i++) a[i] = reap_random_normal(&r);
  for (int i = 0; i < K * N; i++) b[i] = reap_random_normal(&r);
  for (int i = 0; i < M * N; i++) c[i] = want[i] = reap_random_normal(&r);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += a[i + k * M] * b[k + j * K];
      want[i + j * M] = 2 * sum - want[i + j * M];
    }
  CHECK_OK(reap_dgemm('N', 'N', M, N, K, 2, a, M, b, K, -1, c, M));
  CHECK_NEAR(test_max_difference(c, want, M * N), 0, 100 * DBL_EPSILON);
  CHECK_FAILS(reap_dgemm('N', 'N', (int64_t)1 << 31, N, K, 2, a, M, b, K, -1, c, M), REAP_ERR_RESOURCE, "does not fit");
}

static void syrk_fills_the_lower_triangle(void) {
  enum { N = 4, K = 6 };
  double a[N * K], c[N * N];
  reap_random r = reap_random_init(2, 0, 0);
  for (int i = 0; i < N * K; i++) a[i] = reap_random_normal(&r);
  memset(c, 0, sizeof c);
  CHECK_OK(reap_dsyrk_lower('N', N, K, 1, a, N, 0, c, N));
  CU_ASSERT_EQUAL(c[0 + 1 * N], 0.0);
  reap_mirror_lower(N, c, N);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += a[i + k * N] * a[j + k * N];
      CHECK_NEAR(c[i + j * N], sum, 100 * DBL_EPSILON);
    }
}

static void cholesky_solves_and_inverts(void) {
  enum { N = 70 };
  double *a = NULL, *h = NULL, *x = NULL;
  CHECK_OK(reap_alloc(&a, N * N, sizeof *a));
  CHECK_OK(reap_alloc(&h, N * N, sizeof *h));
  CHECK_OK(reap_alloc(&x, N, sizeof *x));
  for (int64_t j = 0; j < N; j++)
    for (int64_t i = 0; i < N; i++) h[i + j * N] = a[i + j * N] = spd(i, j, N);
  for (int i = 0; i < N; i++) x[i] = 1;
  int64_t info = -1;
  CHECK_OK(reap_dpotrf_lower(N, h, N, &info));
  CU_ASSERT_EQUAL(info, 0);
  CHECK_OK(reap_dpotrs_lower(N, 1, h, N, x, N));
  for (int i = 0; i < N; i++) {
    double sum = 0;
    for (int j = 0; j < N; j++) sum += a[i + j * N] * x[j];
    CHECK_NEAR(sum, 1, N * 100 * DBL_EPSILON);
  }
  CHECK_OK(reap_dpotri_lower(N, h, N));
  reap_mirror_lower(N, h, N);
  double sum = 0;
  for (int j = 0; j < N; j++) sum += a[3 + j * N] * h[j + 3 * N];
  CHECK_NEAR(sum, 1, N * 100 * DBL_EPSILON);
  for (int i = 0; i < N * N; i++) a[i] = 0;
  CHECK_OK(reap_dpotrf_lower(N, a, N, &info));
  CU_ASSERT_EQUAL(info, 1);
  reap_free(&a);
  reap_free(&h);
  reap_free(&x);
}

/* Fills this rank's part of `matrix` from spd(); the right-hand side with A times ones. */
static void fill(reap_block_cyclic *a, reap_block_cyclic *b, int64_t n) {
  int64_t rows, columns, ld;
  double *local = reap_block_cyclic_local(a, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++)
      local[i + j * ld] = spd(reap_block_cyclic_row(a, i), reap_block_cyclic_column(a, j), n);
  local = reap_block_cyclic_local(b, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++) {
      double sum = 0;
      for (int64_t k = 0; k < n; k++) sum += spd(reap_block_cyclic_row(b, i), k, n);
      local[i + j * ld] = sum * (double)(1 + reap_block_cyclic_column(b, j));
    }
}

static void scalapack_solves_on_the_grid(void) {
  enum { N = 53, RHS = 3, BLOCK = 9 };
  reap_grid *grid = NULL;
  reap_block_cyclic *a = NULL, *b = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  int p, q, row, column;
  reap_grid_shape(grid, &p, &q, &row, &column);
  CU_ASSERT_EQUAL(p * q, test_ranks());
  CHECK_OK(reap_block_cyclic_create(grid, N, N, BLOCK, BLOCK, &a));
  CHECK_OK(reap_block_cyclic_create(grid, N, RHS, BLOCK, BLOCK, &b));
  fill(a, b, N);
  int64_t info = -1;
  CHECK_OK(reap_block_cyclic_potrf_lower(a, &info));
  CU_ASSERT_EQUAL(info, 0);
  CHECK_OK(reap_block_cyclic_potrs_lower(a, b));
  int64_t rows, columns, ld;
  const double *x = reap_block_cyclic_local(b, &rows, &columns, &ld);
  double elements = (double)(rows * columns);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++)
      CHECK_NEAR(x[i + j * ld], 1 + reap_block_cyclic_column(b, j), N * 100 * DBL_EPSILON);
  CHECK_OK(reap_comm_sum(test_comm(), &elements, 1));
  CU_ASSERT_EQUAL(elements, N * RHS); /* every element lies on exactly one rank */
  reap_block_cyclic_destroy(&a);
  reap_block_cyclic_destroy(&b);
  reap_grid_destroy(&grid);
  CU_ASSERT_PTR_NULL(grid);
}

static void scalapack_reports_indefinite_matrices_everywhere(void) {
  enum { N = 20 };
  reap_grid *grid = NULL;
  reap_block_cyclic *a = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  CHECK_OK(reap_block_cyclic_create(grid, N, N, 4, 4, &a)); /* all zero */
  int64_t info = 0;
  CHECK_OK(reap_block_cyclic_potrf_lower(a, &info));
  CU_ASSERT_EQUAL(info, 1);
  reap_block_cyclic_destroy(&a);
  reap_grid_destroy(&grid);
}

static void pdsyrk_takes_the_lower_triangle(void) {
  enum { N = 31, K = 5, BLOCK = 4 };
  reap_grid *grid = NULL;
  reap_block_cyclic *v = NULL, *c = NULL, *other = NULL;
  int64_t rows, columns, ld;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  CHECK_OK(reap_block_cyclic_create(grid, N, K, BLOCK, BLOCK, &v));
  CHECK_OK(reap_block_cyclic_create(grid, N, N, BLOCK, BLOCK, &c));
  CHECK_OK(reap_block_cyclic_create(grid, N, K, BLOCK + 1, BLOCK, &other));
  double *local = reap_block_cyclic_local(v, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++)
      local[i + j * ld] = spd(reap_block_cyclic_row(v, i), N + reap_block_cyclic_column(v, j), N);
  CHECK_OK(reap_block_cyclic_syrk_lower(v, c));
  local = reap_block_cyclic_local(c, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++) {
      const int64_t gi = reap_block_cyclic_row(c, i), gj = reap_block_cyclic_column(c, j);
      double want = 0;
      for (int64_t k = 0; k < K && gi >= gj; k++) want -= spd(gi, N + k, N) * spd(gj, N + k, N);
      CHECK_NEAR(local[i + j * ld], want, 100 * DBL_EPSILON);
    }
  CHECK_FAILS(reap_block_cyclic_syrk_lower(other, c), REAP_ERR_INTERNAL, "do not fit");
  reap_block_cyclic_destroy(&v);
  reap_block_cyclic_destroy(&c);
  reap_block_cyclic_destroy(&other);
  reap_grid_destroy(&grid);
}

enum { SLOTS = 29, WIDE = 3, ORDER = SLOTS * WIDE };

/* Another matrix above the diagonal than below. */
static int two_matrices(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                        int64_t ld) {
  (void)context;
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++)
      out[i + j * ld] = spd(row + i, column + j, ORDER) * (row + i < column + j ? 2 : 1);
  return REAP_OK;
}

/* Rows in any order, spread unevenly over the ranks, are those of whole columns. */
static void check_rows(const reap_grid *grid, reap_symmetric *s) {
  enum { COUNT = 3, LD = ORDER + 1 };
  const int64_t slot[COUNT] = {4, SLOTS - 1, 5}, ranks = grid ? reap_comm_size(test_comm()) : 1;
  const int64_t rank = grid ? reap_comm_rank(test_comm()) : 0;
  int64_t row[SLOTS], first[64] = {0}, count = 0;
  double *out = NULL, worst = 0;
  CHECK_OK(reap_alloc(&out, LD * COUNT * WIDE, sizeof *out));
  for (int64_t i = 7; i < SLOTS; i++) row[count++] = i;
  for (int64_t i = 5; i >= 0; i--) row[count++] = i;
  for (int64_t r = 0; r < ranks; r++) first[r + 1] = r + 1 == ranks ? count : count * (r * r) / (ranks * ranks);
  for (int t = 0; t < 2; t++) {
    CHECK_OK(reap_symmetric_gather_rows(s, t == 0 ? REAP_LOWER : REAP_UPPER, COUNT, slot, first, row, out, LD));
    for (int64_t j = 0; j < COUNT * WIDE; j++)
      for (int64_t i = 0; i < (first[rank + 1] - first[rank]) * WIDE; i++) {
        const int64_t at = row[first[rank] + i / WIDE] * WIDE + i % WIDE;
        worst = fmax(worst, fabs(out[i + j * LD] - spd(at, slot[j / WIDE] * WIDE + j % WIDE, ORDER)));
      }
  }
  CU_ASSERT_EQUAL(worst, 0);
  reap_free(&out);
}

/* Panels of several widths make up both matrices, whole and block-cyclic; rows above a panel's first are not looked at.
 */
static void check_panels(const reap_grid *grid) {
  enum { STEP = 5 };
  reap_symmetric *s = NULL;
  double *panel = NULL, *columns = NULL;
  CHECK_OK(reap_symmetric_create(grid, SLOTS, WIDE, &s));
  CHECK_OK(reap_alloc(&panel, (ORDER + 2) * STEP * WIDE, sizeof *panel));
  CHECK_OK(reap_alloc(&columns, ORDER * WIDE, sizeof *columns));
  for (int64_t first = 0, count; first < SLOTS; first += count) {
    const int64_t from = first * WIDE, ld = ORDER - from + 2;
    count = 1 + first % STEP;
    if (first + count > SLOTS) count = SLOTS - first;
    for (int64_t j = 0; j < count * WIDE; j++)
      for (int64_t i = 0; i < ORDER - from; i++) panel[i + j * ld] = spd(from + i, from + j, ORDER);
    CHECK_OK(reap_symmetric_put_panel(s, first, count, panel, ld));
  }
  for (int64_t i = 0; i < ORDER; i++) reap_symmetric_upper_diagonal(s)[i] = spd(i, i, ORDER);
  double worst = 0;
  for (int64_t slot = 0; slot < SLOTS; slot++)
    for (int t = 0; t < 2; t++) {
      CHECK_OK(reap_symmetric_gather(s, t == 0 ? REAP_LOWER : REAP_UPPER, SLOTS, 1, &slot, columns));
      for (int64_t j = 0; j < WIDE; j++)
        for (int64_t i = 0; i < ORDER; i++)
          worst = fmax(worst, fabs(columns[i + j * ORDER] - spd(i, slot * WIDE + j, ORDER)));
    }
  CU_ASSERT_EQUAL(worst, 0);
  check_rows(grid, s);
  CHECK_FAILS(reap_symmetric_put_panel(s, SLOTS - 1, 2, panel, ORDER), REAP_ERR_INTERNAL, "does not fit");
  CHECK_FAILS(reap_symmetric_put_panel(s, 0, 1, panel, ORDER - 1), REAP_ERR_INTERNAL, "does not fit");
  reap_free(&panel);
  reap_free(&columns);
  reap_symmetric_destroy(&s);
}

static void panels_make_up_the_matrix(void) {
  reap_grid *grid = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  check_panels(grid);
  check_panels(NULL);
  reap_grid_destroy(&grid);
}

static reap_symmetric *two_in_one(const reap_grid *grid) {
  reap_symmetric *s = NULL;
  CHECK_OK(reap_symmetric_create(grid, SLOTS, WIDE, &s));
  CHECK_OK(reap_symmetric_set(s, two_matrices, NULL));
  for (int64_t i = 0; i < ORDER; i++) reap_symmetric_upper_diagonal(s)[i] = 2 * spd(i, i, ORDER);
  return s;
}

static double whole[2][ORDER * ORDER];

/* Both matrices' leading slots in full, from the local and the distributed form, compared. */
static void compare_forms(reap_symmetric *const s[2], int64_t slots, double tolerance) {
  int64_t slot[SLOTS];
  for (int64_t k = 0; k < slots; k++) slot[k] = slots - 1 - k;
  for (int triangle = REAP_LOWER; triangle <= REAP_UPPER; triangle++) {
    for (int f = 0; f < 2; f++)
      CHECK_OK(reap_symmetric_gather(s[f], (reap_triangle)triangle, slots, slots, slot, whole[f]));
    CHECK_NEAR(test_max_difference(whole[0], whole[1], slots * WIDE * slots * WIDE), 0, tolerance);
  }
}

static void both_forms_of_a_symmetric_pair_agree(void) {
  reap_grid *grid = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  reap_symmetric *s[2] = {two_in_one(NULL), two_in_one(grid)};
  double v[ORDER * 4], b[2][ORDER], c[ORDER], norm[2], blocks[2][SLOTS * WIDE * WIDE];
  int64_t info = -1;
  const int64_t from[] = {SLOTS - 1, SLOTS - 2}, to[] = {4, 11};
  for (int i = 0; i < ORDER * 4; i++) v[i] = sin(i) / 4;
  for (int i = 0; i < ORDER; i++) c[i] = cos(i);
  compare_forms(s, SLOTS, 0);
  for (int f = 0; f < 2; f++) { /* above the diagonal lies twice what lies below */
    double gap = 0, want = 0;
    CHECK_OK(reap_symmetric_gap(s[f], SLOTS - 1, c, &gap));
    for (int64_t i = 0; i < ORDER - WIDE; i++) {
      double sum = 0;
      for (int64_t j = 0; j < ORDER - WIDE; j++) sum += i == j ? 0 : spd(i, j, ORDER) * c[j] * c[i];
      want = fmax(want, fabs(sum));
    }
    CHECK_NEAR(gap, want, 1e-12);
    CU_ASSERT_EQUAL(reap_symmetric_distributed(s[f]), f == 1);
  }
  for (int64_t i = 0; i < ORDER; i++)
    CHECK_NEAR(whole[1][i + (ORDER - WIDE) * ORDER], 2 * spd(i, 0, ORDER), 0); /* upper, slot 0 */
  for (int f = 0; f < 2; f++) {
    CHECK_OK(reap_symmetric_update(s[f], SLOTS, 4, v, ORDER));
    CHECK_OK(reap_symmetric_gather(s[f], REAP_LOWER, SLOTS, 2, from, whole[f]));
    for (int64_t j = 1; j < 2 * WIDE; j++)
      memmove(whole[f] + j * (SLOTS - 2) * WIDE, whole[f] + j * ORDER, (SLOTS - 2) * WIDE * sizeof **whole);
    CHECK_OK(reap_symmetric_put(s[f], REAP_LOWER, SLOTS - 2, 2, to, whole[f]));
    CHECK_OK(reap_symmetric_blocks(s[f], SLOTS, blocks[f]));
    CHECK_OK(reap_symmetric_norm(s[f], REAP_LOWER, SLOTS - 2, &norm[f]));
  }
  compare_forms(s, SLOTS - 2, 1e-13);
  CHECK_NEAR(test_max_difference(blocks[0], blocks[1], SLOTS * WIDE * WIDE), 0, 1e-13);
  CHECK_NEAR(norm[0], norm[1], 1e-10);
  for (int f = 0; f < 2; f++) { /* the upper matrix, solved directly and through its inverse */
    int64_t first, count;
    CHECK_OK(reap_symmetric_restore(s[f], SLOTS - 2));
    CHECK_OK(reap_symmetric_factor(s[f], REAP_LOWER, SLOTS - 2, &info));
    CHECK_OK(reap_symmetric_invert(s[f], SLOTS - 2));
    CHECK_OK(reap_symmetric_multiply(s[f], SLOTS - 2, 1, c, ORDER, b[0], ORDER));
    CHECK_OK(reap_symmetric_factor(s[f], REAP_UPPER, SLOTS - 2, &info));
    CU_ASSERT_EQUAL(info, 0);
    memcpy(b[1], c, sizeof c);
    double explained = 0;
    CHECK_OK(reap_symmetric_solve(s[f], SLOTS - 2, 1, b[1], ORDER, &explained));
    for (int64_t i = 0; i < ORDER - 2 * WIDE; i++) explained -= c[i] * b[1][i];
    CHECK_NEAR(explained, 0, 1e-13);
    CHECK_NEAR(test_max_difference(b[0], b[1], ORDER - 2 * WIDE), 0, 1e-13);
    reap_symmetric_share(s[f], 10, &first, &count);
    double total = (double)count;
    CHECK_OK(reap_symmetric_sum(s[f], &total, 1));
    CU_ASSERT_EQUAL(total, 10);
    reap_symmetric_destroy(&s[f]);
  }
  reap_grid_destroy(&grid);
}

/* The last slots take the places of some that left, in either matrix; the other one stays. */
static void slots_move_into_gaps(void) {
  enum { LEFT = SLOTS - 5, GAPS = 3 };
  const int64_t from[GAPS] = {SLOTS - 1, SLOTS - 4, SLOTS - 2}, to[GAPS] = {0, 11, LEFT - 1};
  reap_grid *grid = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  for (int f = 0; f < 2; f++)
    for (int triangle = REAP_LOWER; triangle <= REAP_UPPER; triangle++) {
      reap_symmetric *s = two_in_one(f == 0 ? NULL : grid);
      int64_t slot[LEFT], origin[LEFT];
      double worst = 0;
      for (int64_t i = 0, k = 0; i < LEFT; i++) {
        slot[i] = i;
        origin[i] = k < GAPS && to[k] == i ? from[k++] : i;
      }
      CHECK_OK(reap_symmetric_move(s, (reap_triangle)triangle, LEFT, GAPS, from, to));
      for (int t = REAP_LOWER; t <= REAP_UPPER; t++) {
        CHECK_OK(reap_symmetric_gather(s, (reap_triangle)t, LEFT, LEFT, slot, whole[0]));
        for (int64_t j = 0; j < LEFT * WIDE; j++)
          for (int64_t i = 0; i < LEFT * WIDE; i++) {
            const int64_t gi = t == triangle ? origin[i / WIDE] * WIDE + i % WIDE : i;
            const int64_t gj = t == triangle ? origin[j / WIDE] * WIDE + j % WIDE : j;
            if (i != j || t == REAP_LOWER) /* the upper diagonal is the caller's */
              worst = fmax(worst, fabs(whole[0][i + j * LEFT * WIDE] - spd(gi, gj, ORDER) * (t == REAP_LOWER ? 1 : 2)));
          }
      }
      CU_ASSERT_EQUAL(worst, 0);
      CHECK_OK(reap_symmetric_move(s, REAP_LOWER, LEFT, 0, NULL, NULL));
      reap_symmetric_destroy(&s);
    }
  reap_grid_destroy(&grid);
}

static void columns_become_rows(void) {
  enum { M = 7 };
  const int64_t ranks = reap_comm_size(test_comm()), rank = reap_comm_rank(test_comm());
  reap_grid *grid = NULL;
  reap_symmetric *s = NULL;
  int64_t first[64] = {0}, from, count;
  double columns[ORDER * M], rows[ORDER * M], worst = 0;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  CHECK_OK(reap_symmetric_create(grid, SLOTS, WIDE, &s));
  for (int64_t r = 0; r < ranks; r++) first[r + 1] = r + 1 == ranks ? SLOTS : SLOTS * (r * r) / (ranks * ranks);
  reap_symmetric_share(s, M, &from, &count);
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < ORDER; i++) columns[i + j * ORDER] = (double)(i + 1000 * (from + j));
  CHECK_OK(reap_symmetric_to_rows(s, first, M, columns, rows));
  const int64_t own = (first[rank + 1] - first[rank]) * WIDE;
  for (int64_t j = 0; j < M; j++)
    for (int64_t i = 0; i < own; i++)
      worst = fmax(worst, fabs(rows[i + j * own] - (double)(first[rank] * WIDE + i + 1000 * j)));
  CU_ASSERT_EQUAL(worst, 0);
  reap_symmetric_destroy(&s);
  reap_grid_destroy(&grid);
}

/* b op(l) is what b was, up to the condition of l, for triangles with rows from 1 down to `least`. */
static void check_tall(char trans, int64_t m, int64_t n, double least) {
  const int64_t ldl = n + 3, ldb = m + 1;
  double *l = NULL, *b = NULL, *was = NULL, worst = 0, largest = 0;
  CHECK_OK(reap_alloc(&l, ldl * n, sizeof *l));
  CHECK_OK(reap_alloc(&b, ldb * n, sizeof *b));
  CHECK_OK(reap_alloc(&was, ldb * n, sizeof *was));
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < ldl; i++) {
      const double scale = pow(least, (double)(i < n ? i : 0) / (double)n);
      l[i + j * ldl] = i < j || i >= n
                           ? NAN
                           : scale * (i == j ? 1 : sin((double)(i * n + j)) / sqrt((double)n)); /* not to be read */
    }
  for (int64_t i = 0; i < ldb * n; i++) was[i] = b[i] = cos((double)i);
  CHECK_OK(reap_dtrsm_tall(trans, m, n, l, ldl, b, ldb));
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < m; i++) {
      double sum = 0;
      for (int64_t k = 0; k < n; k++)
        if (trans == 'T' ? k <= j : k >= j) sum += b[i + k * ldb] * (trans == 'T' ? l[j + k * ldl] : l[k + j * ldl]);
      worst = fmax(worst, fabs(sum - was[i + j * ldb]));
      largest = fmax(largest, fabs(was[i + j * ldb]));
    }
  CHECK_NEAR(worst, 0, 10 * (double)n * DBL_EPSILON * largest / least);
  for (int64_t j = 0; j < n; j++) CU_ASSERT_EQUAL(b[m + j * ldb], was[m + j * ldb]);
  reap_free(&l);
  reap_free(&b);
  reap_free(&was);
}

static void tall_triangular_solves_meet_their_residuals(void) {
  const int64_t rows[] = {0, 1, 9, 191, 192, 301}, columns[] = {1, 8, 47, 48, 49, 90, 147};
  const double least[] = {1, 1e-3, 1e-6};
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 7; j++)
      for (int k = 0; k < 3; k++) {
        check_tall('T', rows[i], columns[j], least[k]);
        check_tall('N', rows[i], columns[j], least[k]);
      }
}

/* Inverse, solution and what it explains in one go, against factor, inverse and product; and the row at which a matrix
 * stops being positive definite. */
static void a_sweep_inverts_and_solves(void) {
  reap_grid *grid = NULL;
  CHECK_OK(reap_grid_create(test_comm(), &grid));
  const int64_t shapes[][2] = {{SLOTS, WIDE}, {1, 5}, {3, 1}, {400, 1}, {7, 40}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    for (int f = 0; f < 2; f++) {
      const int64_t slots = shapes[k][0], b = shapes[k][1], n = slots * b, m = 3;
      reap_symmetric *a = NULL, *h = NULL;
      double *c = NULL, *w = NULL, explained = 0, expected = 0, norm[2];
      int64_t info = -1, *slot = NULL;
      double *columns[2] = {NULL, NULL};
      CHECK_OK(reap_symmetric_create(f ? grid : NULL, slots, b, &a));
      CHECK_OK(reap_symmetric_create(NULL, slots, b, &h));
      CHECK_OK(reap_symmetric_set(a, two_matrices, NULL));
      CHECK_OK(reap_symmetric_set(h, two_matrices, NULL));
      CHECK_OK(reap_alloc(&c, n * m, sizeof *c));
      CHECK_OK(reap_alloc(&w, n * m, sizeof *w));
      CHECK_OK(reap_alloc(&slot, slots, sizeof *slot));
      for (int i = 0; i < 2; i++) CHECK_OK(reap_alloc(&columns[i], n * n, sizeof **columns));
      for (int64_t i = 0; i < slots; i++) slot[i] = i;
      for (int64_t i = 0; i < n * m; i++) c[i] = cos((double)i);
      CHECK_OK(reap_symmetric_factor(h, REAP_LOWER, slots, &info));
      CHECK_OK(reap_symmetric_invert(h, slots));
      CHECK_OK(reap_symmetric_multiply(h, slots, m, c, n, w, n));
      for (int64_t i = 0; i < n * m; i++) expected += c[i] * w[i];
      CHECK_OK(reap_symmetric_sweep(a, slots, m, c, n, &explained, &info));
      CU_ASSERT_EQUAL(info, 0);
      CHECK_NEAR(explained, expected, 1e-13 * expected);
      CHECK_NEAR(test_max_difference(c, w, n * m), 0, 1e-14);
      CHECK_OK(reap_symmetric_gather(a, REAP_LOWER, slots, slots, slot, columns[0]));
      CHECK_OK(reap_symmetric_gather(h, REAP_LOWER, slots, slots, slot, columns[1]));
      CHECK_NEAR(test_max_difference(columns[0], columns[1], n * n), 0, 1e-14);
      CHECK_OK(reap_symmetric_set(h, two_matrices, NULL));
      for (int i = 0; i < 2; i++) { /* the other matrix is as it was */
        reap_symmetric *const one[] = {a, h};
        memset(reap_symmetric_upper_diagonal(one[i]), 0, (size_t)n * sizeof(double));
        CHECK_OK(reap_symmetric_norm(one[i], REAP_UPPER, slots, &norm[i]));
      }
      CHECK_NEAR(norm[0], norm[1], 1e-12 * norm[1]);
      if (n > 1) { /* the last diagonal element goes below zero */
        CHECK_OK(reap_symmetric_set(a, two_matrices, NULL));
        memset(c, 0, (size_t)n * sizeof *c);
        c[n - 1] = 2 * sqrt((double)ORDER);
        CHECK_OK(reap_symmetric_update(a, slots, 1, c, n));
        CHECK_OK(reap_symmetric_sweep(a, slots, 0, NULL, 1, &explained, &info));
        CU_ASSERT_EQUAL(info, n);
      }
      reap_symmetric_destroy(&a);
      reap_symmetric_destroy(&h);
      reap_free(&c);
      reap_free(&w);
      reap_free(&slot);
      for (int i = 0; i < 2; i++) reap_free(&columns[i]);
    }
  reap_grid_destroy(&grid);
}

const test_case test_cases[] = {
    {"panels_make_up_the_matrix", panels_make_up_the_matrix},
    {"gemm_matches_the_definition", gemm_matches_the_definition},
    {"syrk_fills_the_lower_triangle", syrk_fills_the_lower_triangle},
    {"cholesky_solves_and_inverts", cholesky_solves_and_inverts},
    {"scalapack_solves_on_the_grid", scalapack_solves_on_the_grid},
    {"scalapack_reports_indefinite_matrices_everywhere", scalapack_reports_indefinite_matrices_everywhere},
    {"pdsyrk_takes_the_lower_triangle", pdsyrk_takes_the_lower_triangle},
    {"both_forms_of_a_symmetric_pair_agree", both_forms_of_a_symmetric_pair_agree},
    {"slots_move_into_gaps", slots_move_into_gaps},
    {"columns_become_rows", columns_become_rows},
    {"tall_triangular_solves_meet_their_residuals", tall_triangular_solves_meet_their_residuals},
    {"a_sweep_inverts_and_solves", a_sweep_inverts_and_solves},
    {NULL, NULL}};
