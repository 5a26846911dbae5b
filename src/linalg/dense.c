/* BLAS and LAPACK behind checked sizes; see dense.h. */
#include "dense.h"

#include <limits.h>

#include "fortran.h"
#include "reap/error.h"
#include "reap/memory.h"

/* OpenBLAS only: weak, so that any other BLAS links as well. */
extern void openblas_set_num_threads(int) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

/* BLAS's integers for sizes[dims + lds], of which the last `lds` are leading dimensions: at least 1, also for empty
 * matrices. */
static int to_ints(int dims, int lds, const int64_t *sizes, int *out) {
  for (int i = 0; i < dims + lds; i++) {
    if (sizes[i] < 0 || sizes[i] > INT_MAX)
      return reap_error(REAP_ERR_RESOURCE, "a matrix dimension of %lld does not fit the integers of BLAS",
                        (long long)sizes[i]);
    out[i] = i >= dims && sizes[i] == 0 ? 1 : (int)sizes[i];
  }
  return REAP_OK;
}

int reap_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
               const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  int s[6];
  REAP_TRY(to_ints(3, 3, (const int64_t[]){m, n, k, lda, ldb, ldc}, s));
  sgemm_(&ta, &tb, &s[0], &s[1], &s[2], &alpha, a, &s[3], b, &s[4], &beta, c, &s[5]);
  return REAP_OK;
}

int reap_dgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
               const double *b, int64_t ldb, double beta, double *c, int64_t ldc) {
  int s[6];
  REAP_TRY(to_ints(3, 3, (const int64_t[]){m, n, k, lda, ldb, ldc}, s));
  dgemm_(&ta, &tb, &s[0], &s[1], &s[2], &alpha, a, &s[3], b, &s[4], &beta, c, &s[5]);
  return REAP_OK;
}

int reap_dsyrk_lower(char trans, int64_t n, int64_t k, double alpha, const double *a, int64_t lda, double beta,
                     double *c, int64_t ldc) {
  int s[4];
  REAP_TRY(to_ints(2, 2, (const int64_t[]){n, k, lda, ldc}, s));
  dsyrk_("L", &trans, &s[0], &s[1], &alpha, a, &s[2], &beta, c, &s[3]);
  return REAP_OK;
}

int reap_dsyr2k_lower(int64_t n, int64_t k, double alpha, const double *a, int64_t lda, const double *b, int64_t ldb,
                      double beta, double *c, int64_t ldc) {
  int s[5];
  REAP_TRY(to_ints(2, 3, (const int64_t[]){n, k, lda, ldb, ldc}, s));
  dsyr2k_("L", "N", &s[0], &s[1], &alpha, a, &s[2], b, &s[3], &beta, c, &s[4]);
  return REAP_OK;
}

int reap_dsymm_lower(int64_t m, int64_t n, const double *a, int64_t lda, const double *b, int64_t ldb, double *c,
                     int64_t ldc) {
  const double one = 1, zero = 0;
  int s[5];
  REAP_TRY(to_ints(2, 3, (const int64_t[]){m, n, lda, ldb, ldc}, s));
  dsymm_("L", "L", &s[0], &s[1], &one, a, &s[2], b, &s[3], &zero, c, &s[4]);
  return REAP_OK;
}

int reap_dtrsm(char side, char uplo, char trans, int64_t m, int64_t n, const double *a, int64_t lda, double *b,
               int64_t ldb) {
  const double one = 1;
  int s[4];
  REAP_TRY(to_ints(2, 2, (const int64_t[]){m, n, lda, ldb}, s));
  dtrsm_(&side, &uplo, &trans, "N", &s[0], &s[1], &one, a, &s[2], b, &s[3]);
  return REAP_OK;
}

/* A negative INFO is a wrong argument, hence a bug here. */
static int bad_argument(const char *routine, int info) {
  return reap_error(REAP_ERR_INTERNAL, "%s: argument %d is wrong", routine, -info);
}

int reap_dpotrf_lower(int64_t n, double *a, int64_t lda, int64_t *info) { return reap_dpotrf('L', n, a, lda, info); }

int reap_dpotrf(char uplo, int64_t n, double *a, int64_t lda, int64_t *info) {
  int s[2], code = 0;
  REAP_TRY(to_ints(1, 1, (const int64_t[]){n, lda}, s));
  dpotrf_(&uplo, &s[0], a, &s[1], &code);
  if (code < 0) return bad_argument("DPOTRF", code);
  *info = code;
  return REAP_OK;
}

int reap_dpotri_lower(int64_t n, double *a, int64_t lda) {
  int s[2], code = 0;
  REAP_TRY(to_ints(1, 1, (const int64_t[]){n, lda}, s));
  dpotri_("L", &s[0], a, &s[1], &code);
  if (code < 0) return bad_argument("DPOTRI", code);
  if (code > 0) return reap_error(REAP_ERR_NUMERIC, "DPOTRI: the factor is singular at row %d", code);
  return REAP_OK;
}

int reap_dpotrs_lower(int64_t n, int64_t nrhs, const double *a, int64_t lda, double *b, int64_t ldb) {
  return reap_dpotrs('L', n, nrhs, a, lda, b, ldb);
}

int reap_dpotrs(char uplo, int64_t n, int64_t nrhs, const double *a, int64_t lda, double *b, int64_t ldb) {
  int s[4], code = 0;
  REAP_TRY(to_ints(2, 2, (const int64_t[]){n, nrhs, lda, ldb}, s));
  dpotrs_(&uplo, &s[0], &s[1], a, &s[2], b, &s[3], &code);
  return code < 0 ? bad_argument("DPOTRS", code) : REAP_OK;
}

void reap_transpose(int64_t rows, int64_t columns, const double *from, int64_t from_ld, double *to, int64_t to_ld) {
  enum { TILE = 8 }; /* a cache line of either */
  for (int64_t jj = 0; jj < columns; jj += TILE)
    for (int64_t ii = 0; ii < rows; ii += TILE)
      for (int64_t i = ii; i < ii + TILE && i < rows; i++)
        for (int64_t j = jj; j < jj + TILE && j < columns; j++) to[j + i * to_ld] = from[i + j * from_ld];
}

void reap_mirror_lower(int64_t n, double *a, int64_t lda) {
  enum { TILE = 32 }; /* both triangles are walked in tiles that stay in the first-level cache */
  for (int64_t jj = 0; jj < n; jj += TILE)
    for (int64_t ii = jj; ii < n; ii += TILE)
      for (int64_t j = jj; j < jj + TILE && j < n; j++)
        for (int64_t i = ii > j ? ii : j + 1; i < ii + TILE && i < n; i++) a[j + i * lda] = a[i + j * lda];
}

/* Of OpenBLAS on the processors that have the largest, and of a thread's stack. */
static const int64_t BUFFER_BYTES = (int64_t)128 << 20, STACK_BYTES = (int64_t)8 << 20;

/* A product that no thread is left out of, and that is too large for the kernels that do without a buffer. */
static int take_buffers(int threads) {
  const int64_t n = threads > 1 ? 512 : 128;
  double *a = NULL;
  REAP_TRY(reap_calloc(&a, 2 * n * n, sizeof *a));
  const int status = reap_dgemm('N', 'N', n, n, n, 1, a, n, a, n, 0, a + n * n, n);
  reap_free(&a);
  return status;
}

int reap_blas_set_threads(int threads) {
  static int ready; /* threads that have their buffers */
  if (!openblas_set_num_threads) return REAP_OK;
  if (threads > ready) {
    REAP_TRY(reap_memory_check("OpenBLAS", (threads - ready) * (BUFFER_BYTES + STACK_BYTES)));
    openblas_set_num_threads(threads);
    REAP_TRY(take_buffers(threads));
    ready = threads;
  }
  openblas_set_num_threads(threads);
  return REAP_OK;
}

void reap_lapack_version(int version[3]) { ilaver_(&version[0], &version[1], &version[2]); }

const char *reap_blas_name(void) { return openblas_get_config ? openblas_get_config() : "unknown"; }

double reap_sum_of_squares(int64_t rows, int64_t columns, const double *a, int64_t lda) {
  enum { LANES = 8 };
  double total = 0;
  for (int64_t j = 0; j < columns; j++) {
    const double *column = a + j * lda;
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= rows; i += LANES)
      for (int l = 0; l < LANES; l++) sum[l] += column[i + l] * column[i + l];
    for (; i < rows; i++) sum[0] += column[i] * column[i];
    for (int l = 0; l < LANES; l++) total += sum[l];
  }
  return total;
}
