/* One removal: the pivot's columns brought up to date, a block of columns of V and Q, the blocks they change; see
 * elimination.c for the scheme and panel_settle.c for the end of a stage.
 *
 * pivot_columns.c has H_:s and K_:s as of the start of the stage. With the columns V, Q of the channels removed since,
 *
 *     H now = H - V V'      K now = K - V Q' - Q V'
 *
 * and channel s with H_ss = L L' adds V_new = H_:s L^-T and Q_new = P - V_new (Z_s Z_s') / 2, where Z_s = L^-1 W_s,
 * P = K_:s L^-T and Z_s Z_s' = L^-1 K_ss L^-T. For blocks wide enough these are BLAS calls for all rows; narrow ones take a sweep
 * over the rows that does everything at once (stage_tiles.c). Channels that left keep their rows until the end of the stage.
 *
 * On several ranks each keeps its share of the slots: their rows of V and Q and their blocks. A removal then takes one
 * sum (the costs) and one message from the rank that keeps the pivot, L, Z_s Z_s', V_s and Q_s.
 *
 * Cost of a removal: 6 rows k block over the ranks with k columns since the start of the stage.
 */
#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "pivot_columns.h"
#include "reap/dense.h"
#include "reap/error.h"

bool panel_full(const dual_system *d) { return d->k - d->start + d->block > d->width; }

double *dual_q_column(const dual_system *d, int64_t j) { return d->q + (j - d->q_from) * d->stride; }

/* The first of this stage's columns of V; own rows. */
static double *stage_v(const dual_system *d) { return d->v + d->start * d->stride; }

/* Rows of an own slot in the stage's columns: out [b, k]. */
static void rows_of(const dual_system *d, const double *panel, int64_t slot, double *out) {
  const int64_t b = d->block, k = d->k - d->start, at = (slot - d->own_first) * b;
  for (int64_t t = 0; t < k; t++) memcpy(out + t * b, panel + at + t * d->stride, (size_t)b * sizeof *out);
}

static bool owns(const dual_system *d, int64_t slot) {
  return slot >= d->own_first && slot < d->own_first + d->own_slots;
}

/* L in place of H_ss and Z_s Z_s' = L^-1 K_ss L^-T in place of K_ss. */
static int factor_pivot(dual_system *d, int64_t *info) {
  const int64_t b = d->block;
  double *product = d->pivot + b * b;
  REAP_TRY(reap_dpotrf_lower(b, d->pivot, b, info));
  if (*info != 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('L', 'L', 'N', b, b, d->pivot, b, product, b));
  return reap_dtrsm('R', 'L', 'T', b, b, d->pivot, b, product, b);
}

/* L, Z_s Z_s', V_s and Q_s from the rank that keeps the slot to all, one after the other in d->pivot; behind them
 * whether the block has lost its definiteness. */
static int share_pivot(dual_system *d, int64_t slot, bool *lost) {
  const int64_t b = d->block, k = d->k - d->start, squares = 2 * b * b, size = squares + 2 * k * b;
  int64_t info = 0;
  if (owns(d, slot)) {
    channel_blocks_get(&d->blocks, slot - d->own_first, d->pivot, d->pivot + b * b);
    rows_of(d, stage_v(d), slot, d->pivot + squares);
    rows_of(d, dual_q_column(d, d->start), slot, d->pivot + squares + k * b);
    REAP_TRY(factor_pivot(d, &info));
    d->pivot[size] = info != 0;
  }
  int root = 0;
  while (d->share[root + 1] <= slot) root++;
  if (d->comm) REAP_TRY(reap_comm_broadcast(d->comm, d->pivot, (size_t)(size + 1) * sizeof *d->pivot, root));
  *lost = d->pivot[size] != 0;
  return REAP_OK;
}

/* Own rows of the new columns of V and Q from those of H_:s and K_:s at the start of the stage, by BLAS. */
static int append_wide(const dual_system *d, const stage_removal *r) {
  const int64_t b = r->block, rows = r->rows, ld = r->ld, k = r->k;
  const double *squares = r->pivot + b * b, *v_s = squares + b * b, *q_s = v_s + k * b;
  const double *stage_q = dual_q_column(d, d->start);
  memcpy(r->v, r->dual, (size_t)(ld * b) * sizeof *r->v);
  memcpy(r->q, r->product, (size_t)(ld * b) * sizeof *r->q);
  if (k > 0) {
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, stage_v(d), ld, v_s, b, 1, r->v, ld));
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, stage_v(d), ld, q_s, b, 1, r->q, ld));
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, stage_q, ld, v_s, b, 1, r->q, ld));
  }
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, r->pivot, b, r->v, ld));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, r->pivot, b, r->q, ld));
  return reap_dgemm('N', 'N', rows, b, b, -0.5, r->v, ld, squares, b, 1, r->q, ld);
}

/* Own rows of the new columns, and the blocks they change. */
static int append(dual_system *d, int64_t slot, const double *growth, int64_t left) {
  stage_removal r = {.block = d->block, .k = d->k - d->start, .rows = d->own_slots * d->block, .ld = d->stride, .pivot = d->pivot};
  REAP_TRY(pivot_columns_get(d, slot, growth, left, &r.dual, &r.product));
  if (r.rows == 0) return REAP_OK;
  r.v = d->v + d->k * d->stride;
  r.q = dual_q_column(d, d->k);
  if (d->block <= STAGE_TILES_WIDEST)
    stage_tiles_append(&d->tiles, &r);
  else
    REAP_TRY(append_wide(d, &r));
  return channel_blocks_update(&d->blocks, r.v, r.ld, r.q, r.ld);
}

/* Own rows of G_:s in the order of the slots, zero where the channel left before. */
static int own_gram(dual_system *d, int64_t slot, double *out) {
  const int64_t b = d->block, rows = d->own_slots * b;
  REAP_TRY(reap_symmetric_gather_rows(d->dual, REAP_UPPER, 1, &d->home[slot], d->share, d->home, out, rows));
  for (int64_t q = 0; q < b; q++)
    for (int64_t s = 0; s < d->own_slots; s++)
      if (!d->alive[d->own_first + s]) memset(out + s * b + q * rows, 0, (size_t)b * sizeof *out);
  return REAP_OK;
}

/* Largest entry of H_:s' G_:s - I, with H_:s = V_new L': how well the recursion still inverts the matrix it came from. */
static int check_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->own_slots * b;
  double *gram = d->check, *inner = gram + rows * b, *sums = inner + b * b, worst = 0;
  REAP_TRY(own_gram(d, slot, gram));
  REAP_TRY(reap_dgemm('T', 'N', b, b, rows, 1, d->v + d->k * d->stride, d->stride, gram, rows, 0, inner, b));
  for (int64_t q = 0; q < b; q++)
    for (int64_t p = 0; p < b; p++) {
      sums[p + q * b] = 0;
      for (int64_t j = 0; j <= p; j++) sums[p + q * b] += d->pivot[p + j * b] * inner[j + q * b];
    }
  REAP_TRY(reap_symmetric_sum(d->dual, sums, b * b));
  for (int64_t i = 0; i < b * b; i++) {
    const double gap = fabs(sums[i] - (i % (b + 1) == 0 ? 1 : 0));
    if (!(gap <= worst)) worst = isnan(gap) ? INFINITY : gap;
  }
  if (d->residual_fresh == 0) d->residual_fresh = worst;
  d->residual = worst;
  return REAP_OK;
}

/* The slot that leaves, and its rows of the stage's columns of V with those it adds: V_s and L, below the rows of those before. */
static void note_gone(dual_system *d, int64_t slot) {
  const int64_t b = d->block, k = d->k - d->start;
  const double *v_s = d->pivot + 2 * b * b;
  double *row = d->triangle + k;
  d->gone[k / b] = slot;
  for (int64_t j = 0; j < k; j++) memcpy(row + j * d->width, v_s + j * b, (size_t)b * sizeof *row);
  for (int64_t j = 0; j < b; j++) memcpy(row + (k + j) * d->width, d->pivot + j * b, (size_t)b * sizeof *row);
}

int panel_remove(dual_system *d, int64_t slot, const double *growth, int64_t left, bool *lost) {
  const int64_t b = d->block;
  REAP_TRY(share_pivot(d, slot, lost));
  if (*lost) return REAP_OK;
  const int64_t k = d->k - d->start;
  REAP_TRY(append(d, slot, growth, left));
  if (k == 0 || k + 2 * b > d->width) REAP_TRY(check_pivot(d, slot));
  for (int64_t t = 0; t < b; t++) d->error += d->pivot[b * b + t * (b + 1)];
  note_gone(d, slot);
  d->alive[slot] = false;
  d->n_alive--;
  d->k += b;
  return REAP_OK;
}
