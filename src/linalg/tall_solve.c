/* Triangular solves for many rows, at nearly DGEMM's speed; see reap/dense.h.
 *
 * BLAS solves B L^T = A for tall A at a third of DGEMM's speed or less: each column waits for those before it. Here L
 * is halved until it is some 48 columns wide, with products in between, and these small triangles are inverted, once
 * for all rows, and multiplied by (DTRMM), which depends on nothing.
 *
 * Error: that of multiplying by the inverse of a small triangle, condition(L_ii) eps relative to B and not to A alone;
 * the triangles are diagonal blocks of Cholesky factors, whose condition is at most the square root of the matrix's.
 * Cost: m n^2, and n / 48 inversions of small triangles.
 */
#include <string.h>

#include "dense.h"
#include "fortran.h"
#include "reap/error.h"

enum {
  WIDEST = 48 /* columns of a triangle that is inverted */,
  FEW = 4 * WIDEST /* rows for which that does not pay */
};

/* b op(L)^-1 in place, L at most WIDEST wide. */
static int solve_small(char trans, int64_t m, int64_t n, const double *l, int64_t ldl, double *b, int64_t ldb) {
  const double one = 1;
  const int rows = (int)m, columns = (int)n, ld = (int)ldb; /* checked by the products around it, and below */
  double inverse[WIDEST * WIDEST];
  int info = 0;
  for (int64_t j = 0; j < n; j++) memcpy(inverse + j + j * n, l + j + j * ldl, (size_t)(n - j) * sizeof *inverse);
  dtrtri_("L", "N", &columns, inverse, &columns, &info);
  if (info != 0) return reap_error(REAP_ERR_INTERNAL, "DTRTRI: %d", info);
  dtrmm_("R", "L", &trans, "N", &rows, &columns, &one, inverse, &columns, b, &ld);
  return REAP_OK;
}

/* A number of columns for the first half, whole vectors. */
static int64_t half_of(int64_t n) { return (n / 2 + 7) / 8 * 8; }

static int solve(char trans, int64_t m, int64_t n, const double *l, int64_t ldl, double *b, int64_t ldb) {
  const int64_t half = half_of(n), rest = n - half;
  const double *below = l + half, *last = l + half * (ldl + 1);
  double *second = b + half * ldb;
  if (n <= WIDEST) return solve_small(trans, m, n, l, ldl, b, ldb);
  if (trans == 'T') {
    REAP_TRY(solve(trans, m, half, l, ldl, b, ldb));
    REAP_TRY(reap_dgemm('N', 'T', m, rest, half, -1, b, ldb, below, ldl, 1, second, ldb));
    return solve(trans, m, rest, last, ldl, second, ldb);
  }
  REAP_TRY(solve(trans, m, rest, last, ldl, second, ldb));
  REAP_TRY(reap_dgemm('N', 'N', m, half, rest, -1, second, ldb, below, ldl, 1, b, ldb));
  return solve(trans, m, half, l, ldl, b, ldb);
}

int reap_dtrsm_tall(char trans, int64_t m, int64_t n, const double *l, int64_t ldl, double *b, int64_t ldb) {
  if (m == 0 || n == 0) return REAP_OK;
  if (m < FEW || ldb > INT32_MAX || m > INT32_MAX) return reap_dtrsm('R', 'L', trans, m, n, l, ldl, b, ldb);
  return solve(trans, m, n, l, ldl, b, ldb);
}
