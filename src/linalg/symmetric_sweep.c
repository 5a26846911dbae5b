/* Inverse of a distributed lower matrix and W = H C in one pass of block sweeps; see reap/symmetric.h.
 *
 * Method. Sweeping the rows K of a symmetric matrix A (Beaton 1964; the symmetric form of Gauss-Jordan elimination)
 * with A_KK = L L' and V = A_:K L^-T, zero in the rows K, is
 *
 *     A    <-  A - V V'           rows and columns outside K, swept or not
 *     A_:K <-  V L^-1,   A_KK <- -(L L')^-1
 *     C    <-  C - V L^-1 C_K,    C_K <- (L L')^-1 C_K
 *
 * after all of which A holds -A^-1 and C holds A^-1 C. The L are those of A's block Cholesky factor, so a matrix that
 * is not positive definite shows at the same row, and the sum of |L^-1 C_K|^2 is tr(C'A^-1 C) without a copy of C.
 *
 * Why not DPOTRF + DPOTRI and a product: the operations are the same, n^3 + 2 n^2 m, but all of them are one kind of
 * step, a panel on all ranks and a symmetric update of its rank on each rank's own rows and columns. PDPOTRI's two
 * triangular stages reach half of DGEMM's speed at best, and the product would gather the whole inverse once more.
 *
 * Cost: n^3 + 2 n^2 m and, for panels of width w, 2 n^2 w over the ranks, each of which solves for the rows of a panel
 * that it keeps; every rank receives n^2 elements. Failure mode: as in every method that goes by the inverse, the
 * residual H A - 1 grows with the condition number (elimination.c watches it); for positive definite matrices no
 * pivoting is needed.
 */
#include <string.h>

#include "dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_panel.h"
#include "symmetric_segment.h"

typedef struct sweep {
  reap_symmetric *s;
  int64_t slots, rows, columns, ldc;
  double *c; /* [rows, columns], the caller's */
  symmetric_panel panel;
  double *v;    /* [rows, w] */
  double *part; /* [w, columns] L^-1 C_K */
  double explained;
} sweep;

static const reap_comm *comm_of(const sweep *w) { return reap_grid_comm(w->s->grid); }

/* Panels are the blocks of the layout, so that whole columns of blocks are read. */
static int sweep_open(sweep *w) {
  const int64_t size = w->s->piece;
  REAP_TRY(reap_symmetric_panel_open(w->s, w->slots, &w->panel));
  int status = reap_alloc(&w->v, w->rows * size, sizeof *w->v);
  if (status == REAP_OK) status = reap_alloc(&w->part, size * w->columns, sizeof *w->part);
  return reap_comm_agree(comm_of(w), status);
}

static void sweep_close(sweep *w) {
  reap_symmetric_panel_close(&w->panel);
  reap_free(&w->v);
  reap_free(&w->part);
}

/* L in place of the panel's own rows; the ranks follow the first one, as a pivot at the edge may pass on one processor
 * only. */
static int factor_pivot(sweep *w, int64_t *info) {
  REAP_TRY(reap_dpotrf_lower(w->panel.size, w->panel.square, w->panel.size, info));
  return reap_comm_broadcast(comm_of(w), info, sizeof *info, 0);
}

static int sweep_outputs(sweep *w) {
  const int64_t m = w->columns, at = w->panel.at, size = w->panel.size;
  if (m == 0) return REAP_OK;
  for (int64_t j = 0; j < m; j++) memcpy(w->part + j * size, w->c + at + j * w->ldc, (size_t)size * sizeof *w->part);
  REAP_TRY(reap_dtrsm('L', 'L', 'N', size, m, w->panel.square, size, w->part, size));
  w->explained += reap_sum_of_squares(size, m, w->part, size);
  REAP_TRY(reap_dgemm('N', 'N', w->rows, m, size, -1, w->v, w->rows, w->part, size, 1, w->c, w->ldc));
  REAP_TRY(reap_dtrsm('L', 'L', 'T', size, m, w->panel.square, size, w->part, size));
  for (int64_t j = 0; j < m; j++) memcpy(w->c + at + j * w->ldc, w->part + j * size, (size_t)size * sizeof *w->part);
  return REAP_OK;
}

/* -(L L')^-1 in place of L. */
static int invert_pivot(symmetric_panel *p) {
  REAP_TRY(reap_dpotri_lower(p->size, p->square, p->size));
  for (int64_t j = 0; j < p->size; j++)
    for (int64_t i = j; i < p->size; i++) p->square[i + j * p->size] = -p->square[i + j * p->size];
  return REAP_OK;
}

static int sweep_panel(sweep *w, int64_t at, int64_t *info) {
  symmetric_panel *p = &w->panel;
  REAP_TRY(reap_symmetric_panel_read(p, at));
  REAP_TRY(factor_pivot(w, info));
  if (*info != 0) {
    *info += at;
    return REAP_OK;
  }
  int status = reap_dtrsm_tall('T', p->own_count, p->size, p->square, p->size, p->own, p->own_count);
  REAP_TRY(reap_comm_agree(comm_of(w), status));
  REAP_TRY(reap_symmetric_panel_share(p, w->v));
  status = sweep_outputs(w);
  if (status == REAP_OK) status = reap_dtrsm_tall('N', p->own_count, p->size, p->square, p->size, p->own, p->own_count);
  if (status == REAP_OK) status = invert_pivot(p);
  REAP_TRY(reap_comm_agree(comm_of(w), status));
  reap_symmetric_panel_write(p);
  return p->size > 0 ? w->s->table->update(w->s, w->slots, p->size, w->v, w->rows) : REAP_OK;
}

/* The lower matrix changes its sign. */
static void negate(void *context, const symmetric_stretch *g) {
  (void)context;
  for (int64_t i = g->above; i < g->count; i++) g->values[i] = -g->values[i];
}

int reap_symmetric_cyclic_sweep(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc,
                                double *explained, int64_t *info) {
  sweep w = {.s = s, .slots = slots, .rows = slots * s->block, .columns = columns, .c = c, .ldc = ldc};
  int status = sweep_open(&w);
  *info = 0;
  for (int64_t at = 0; status == REAP_OK && *info == 0 && at < w.rows; at += s->piece)
    status = sweep_panel(&w, at, info);
  sweep_close(&w);
  if (status == REAP_OK && *info == 0) reap_symmetric_cyclic_walk(s, slots, negate, NULL);
  *explained = w.explained;
  return status;
}
