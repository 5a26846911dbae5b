/* Inverse of a distributed lower matrix and W = H C in one pass of block sweeps; see reap/symmetric.h.
 *
 * Method. Sweeping the rows K of a symmetric matrix A (Beaton 1964; the symmetric form of Gauss-Jordan elimination) with
 * A_KK = L L' and V = A_:K L^-T, zero in the rows K, is
 *
 *     A    <-  A - V V'           rows and columns outside K, swept or not
 *     A_:K <-  V L^-1,   A_KK <- -(L L')^-1
 *     C    <-  C - V L^-1 C_K,    C_K <- (L L')^-1 C_K
 *
 * after all of which A holds -A^-1 and C holds A^-1 C. The L are those of A's block Cholesky factor, so a matrix that is
 * not positive definite shows at the same row, and the sum of |L^-1 C_K|^2 is tr(C'A^-1 C) without a copy of C.
 *
 * Why not DPOTRF + DPOTRI and a product: the operations are the same, n^3 + 2 n^2 m, but all of them are one kind of
 * step, a panel on all ranks and a symmetric update of its rank on each rank's own rows and columns. PDPOTRI's two
 * triangular stages reach half of DGEMM's speed at best, and the product would gather the whole inverse once more.
 *
 * Cost: n^3 + 2 n^2 m over the ranks, n^2 w for the panels of width w on every rank and as much over the ranks; every rank
 * receives n^2 elements.
 * Failure mode: as in every method that goes by the inverse, the residual H A - 1 grows with the condition number
 * (elimination.c watches it); for positive definite matrices no pivoting is needed.
 */
#include <stdbool.h>
#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_table.h"

typedef struct sweep {
  reap_symmetric *s;
  int64_t slots, rows, columns, ldc;
  double *c;             /* [rows, columns], the caller's */
  int64_t *slot;         /* slots of the panel */
  double *panel, *pivot; /* [rows, w], [w, w] */
  double *part;          /* [w, columns] L^-1 C_K */
  double explained;
} sweep;

/* Panels are the blocks of the layout, so that whole columns of blocks are gathered. */
static int64_t panel_slots(const reap_symmetric *s) { return s->piece / s->block; }

static const reap_comm *comm_of(const sweep *w) { return reap_grid_comm(w->s->grid); }

static int sweep_open(sweep *w) {
  const int64_t most = panel_slots(w->s), size = most * w->s->block;
  int status = reap_alloc(&w->slot, most, sizeof *w->slot);
  if (status == REAP_OK) status = reap_alloc(&w->panel, w->rows * size, sizeof *w->panel);
  if (status == REAP_OK) status = reap_alloc(&w->pivot, size * size, sizeof *w->pivot);
  if (status == REAP_OK) status = reap_alloc(&w->part, size * w->columns, sizeof *w->part);
  return reap_comm_agree(comm_of(w), status);
}

static void sweep_close(sweep *w) {
  reap_free(&w->slot);
  reap_free(&w->panel);
  reap_free(&w->pivot);
  reap_free(&w->part);
}

/* L of the panel's own rows; the ranks follow the first one, as a pivot at the edge may pass on one processor only. */
static int factor_pivot(sweep *w, int64_t at, int64_t size, int64_t *info) {
  for (int64_t j = 0; j < size; j++)
    memcpy(w->pivot + j * size, w->panel + at + j * w->rows, (size_t)size * sizeof *w->pivot);
  REAP_TRY(reap_dpotrf_lower(size, w->pivot, size, info));
  return reap_comm_broadcast(comm_of(w), info, sizeof *info, 0);
}

enum { LEAST_SOLVE = 48 /* columns of a triangle that DTRSM gets; wider ones are halves joined by a product, at DGEMM's speed */ };

static int64_t half_of(int64_t size) { return size / 16 * 8; }

/* a L^-T in place of a [rows, size]. */
static int solve_transposed(int64_t rows, int64_t size, const double *l, int64_t ldl, double *a, int64_t lda) {
  const int64_t half = half_of(size), rest = size - half;
  if (size <= LEAST_SOLVE) return reap_dtrsm('R', 'L', 'T', rows, size, l, ldl, a, lda);
  REAP_TRY(solve_transposed(rows, half, l, ldl, a, lda));
  REAP_TRY(reap_dgemm('N', 'T', rows, rest, half, -1, a, lda, l + half, ldl, 1, a + half * lda, lda));
  return solve_transposed(rows, rest, l + half + half * ldl, ldl, a + half * lda, lda);
}

/* a L^-1 in place of a [rows, size]. */
static int solve_plain(int64_t rows, int64_t size, const double *l, int64_t ldl, double *a, int64_t lda) {
  const int64_t half = half_of(size), rest = size - half;
  if (size <= LEAST_SOLVE) return reap_dtrsm('R', 'L', 'N', rows, size, l, ldl, a, lda);
  REAP_TRY(solve_plain(rows, rest, l + half + half * ldl, ldl, a + half * lda, lda));
  REAP_TRY(reap_dgemm('N', 'N', rows, half, rest, -1, a + half * lda, lda, l + half, ldl, 1, a, lda));
  return solve_plain(rows, half, l, ldl, a, lda);
}

/* V = A_:K L^-T, all rows but the panel's own. */
static int form_v(sweep *w, int64_t at, int64_t size) {
  const int64_t behind = at + size;
  if (at > 0) REAP_TRY(solve_transposed(at, size, w->pivot, size, w->panel, w->rows));
  if (behind == w->rows) return REAP_OK;
  return solve_transposed(w->rows - behind, size, w->pivot, size, w->panel + behind, w->rows);
}

/* V L^-1, in rows that this rank keeps: it puts no others back. */
static int finish_panel(sweep *w, int64_t first, int64_t size) {
  const int64_t b = w->s->block;
  bool mine;
  for (int64_t slot = 0, end; slot < w->slots; slot = end) {
    end = symmetric_cyclic_run(w->s, w->slots, slot, first, &mine);
    if (mine) REAP_TRY(solve_plain((end - slot) * b, size, w->pivot, size, w->panel + slot * b, w->rows));
  }
  return REAP_OK;
}

static int sweep_outputs(sweep *w, int64_t at, int64_t size) {
  const int64_t m = w->columns;
  if (m == 0) return REAP_OK;
  for (int64_t j = 0; j < m; j++) memcpy(w->part + j * size, w->c + at + j * w->ldc, (size_t)size * sizeof *w->part);
  REAP_TRY(reap_dtrsm('L', 'L', 'N', size, m, w->pivot, size, w->part, size));
  w->explained += symmetric_squares(size, m, w->part, size);
  REAP_TRY(reap_dgemm('N', 'N', w->rows, m, size, -1, w->panel, w->rows, w->part, size, 1, w->c, w->ldc));
  REAP_TRY(reap_dtrsm('L', 'L', 'T', size, m, w->pivot, size, w->part, size));
  for (int64_t j = 0; j < m; j++) memcpy(w->c + at + j * w->ldc, w->part + j * size, (size_t)size * sizeof *w->part);
  return REAP_OK;
}

/* -(L L')^-1 into the panel's own rows. */
static int invert_pivot(sweep *w, int64_t at, int64_t size) {
  REAP_TRY(reap_dpotri_lower(size, w->pivot, size));
  reap_mirror_lower(size, w->pivot, size);
  for (int64_t j = 0; j < size; j++)
    for (int64_t i = 0; i < size; i++) w->panel[at + i + j * w->rows] = -w->pivot[i + j * size];
  return REAP_OK;
}

static int sweep_panel(sweep *w, int64_t first, int64_t count, int64_t *info) {
  const int64_t b = w->s->block, at = first * b, size = count * b;
  for (int64_t k = 0; k < count; k++) w->slot[k] = first + k;
  REAP_TRY(reap_symmetric_gather(w->s, REAP_LOWER, w->slots, count, w->slot, w->panel));
  REAP_TRY(factor_pivot(w, at, size, info));
  if (*info != 0) {
    *info += at;
    return REAP_OK;
  }
  for (int64_t j = 0; j < size; j++) memset(w->panel + at + j * w->rows, 0, (size_t)size * sizeof *w->panel);
  int status = form_v(w, at, size);
  if (status == REAP_OK) status = sweep_outputs(w, at, size);
  REAP_TRY(reap_comm_agree(comm_of(w), status));
  REAP_TRY(reap_symmetric_update(w->s, w->slots, size, w->panel, w->rows));
  REAP_TRY(finish_panel(w, first, size));
  REAP_TRY(invert_pivot(w, at, size));
  return reap_symmetric_put(w->s, REAP_LOWER, w->slots, count, w->slot, w->panel);
}

int symmetric_sweep(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc, double *explained,
                    int64_t *info) {
  sweep w = {.s = s, .slots = slots, .rows = slots * s->block, .columns = columns, .c = c, .ldc = ldc};
  const int64_t most = panel_slots(s);
  int status = sweep_open(&w);
  *info = 0;
  for (int64_t first = 0; status == REAP_OK && *info == 0 && first < slots; first += most)
    status = sweep_panel(&w, first, symmetric_least(most, slots - first), info);
  sweep_close(&w);
  if (status == REAP_OK && *info == 0) symmetric_cyclic_negate(s, slots);
  *explained = w.explained;
  return status;
}
