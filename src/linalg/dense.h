/* Dense matrices on one rank: BLAS and LAPACK behind checked sizes.
 *
 * All matrices here are COLUMN-major, as in LAPACK: element (i, j) of A stands
 * at a[i + j * lda]. A row-major [r, c] array is the column-major matrix of its
 * transpose, which is how callers with C arrays use these calls. Sizes are
 * int64_t and are checked against LP64's int before the call; a size that does
 * not fit is REAP_ERR_RESOURCE. All calls are local.
 */
#ifndef REAP_LINALG_DENSE_H
#define REAP_LINALG_DENSE_H

#include <stdint.h>

/* C [m, n] = alpha op(A) op(B) + beta C with op(A) [m, k], op(B) [k, n]; ta, tb: 'N' or 'T'. */
int reap_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
               const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
int reap_dgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
               const double *b, int64_t ldb, double beta, double *c, int64_t ldc);

/* Lower triangle of C [n, n] = alpha A A' + beta C (trans 'N', A [n, k]) or alpha A' A + beta C (trans 'T', A [k, n]).
 */
int reap_dsyrk_lower(char trans, int64_t n, int64_t k, double alpha, const double *a, int64_t lda, double beta,
                     double *c, int64_t ldc);

/* Lower triangle of C [n, n] = alpha (A B' + B A') + beta C with A, B [n, k]. */
int reap_dsyr2k_lower(int64_t n, int64_t k, double alpha, const double *a, int64_t lda, const double *b, int64_t ldb,
                      double beta, double *c, int64_t ldc);

/* C [m, n] = A B with A [m, m] symmetric, only its lower triangle read. */
int reap_dsymm_lower(int64_t m, int64_t n, const double *a, int64_t lda, const double *b, int64_t ldb, double *c,
                     int64_t ldc);

/* B [m, n] = inverse(op(A)) B (side 'L') or B inverse(op(A)) (side 'R') with A triangular, uplo 'L' or 'U', trans 'N'
 * or 'T'. */
int reap_dtrsm(char side, char uplo, char trans, int64_t m, int64_t n, const double *a, int64_t lda, double *b,
               int64_t ldb);

/* B inverse(op(L)) in place of B [m, n] with L lower triangular, trans 'N' or 'T': reap_dtrsm() of side 'R' for m much
 * larger than n, at more of DGEMM's speed. The residual grows with the condition of L's diagonal blocks of 48 columns
 * (tall_solve.c). */
int reap_dtrsm_tall(char trans, int64_t m, int64_t n, const double *l, int64_t ldl, double *b, int64_t ldb);

/* Cholesky factor of one triangle (uplo 'L' or 'U': A = L L' or U'U) of A [n, n], in place; the other one stays. *info
 * is 0, or the order of the first leading minor that is not positive definite (A is then partly overwritten); not an
 * error in itself. */
int reap_dpotrf(char uplo, int64_t n, double *a, int64_t lda, int64_t *info);
int reap_dpotrf_lower(int64_t n, double *a, int64_t lda, int64_t *info);

/* Lower triangle of the inverse from the factor of reap_dpotrf_lower, in place. */
int reap_dpotri_lower(int64_t n, double *a, int64_t lda);

/* Solves A X = B in place of B [n, nrhs] with the factor of reap_dpotrf. */
int reap_dpotrs(char uplo, int64_t n, int64_t nrhs, const double *a, int64_t lda, double *b, int64_t ldb);
int reap_dpotrs_lower(int64_t n, int64_t nrhs, const double *a, int64_t lda, double *b, int64_t ldb);

/* to [columns, rows] = the transpose of from [rows, columns]. */
void reap_transpose(int64_t rows, int64_t columns, const double *from, int64_t from_ld, double *to, int64_t to_ld);

/* Copies the lower triangle onto the upper one. */
void reap_mirror_lower(int64_t n, double *a, int64_t lda);

/* Sets the threads of the BLAS of this process (default: one). To be called before the first product. OpenBLAS maps a
 * buffer for every thread, and retries for ever if that fails; so the buffers are mapped here, after a check that
 * there is room (REAP_ERR_RESOURCE). Local. */
int reap_blas_set_threads(int threads);

/* Which BLAS it is ("unknown" where the library does not say). */
const char *reap_blas_name(void);

/* Major, minor and patch number of the LAPACK in use. */
void reap_lapack_version(int version[3]);

/* Sum of squares of a [rows, columns]. */
double reap_sum_of_squares(int64_t rows, int64_t columns, const double *a, int64_t lda);

#endif
