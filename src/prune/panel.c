/* One removal: the pivot's columns brought up to date, a block of columns of V and Q, the blocks they change; see
 * elimination.c for the scheme and panel_settle.c for the end of a stage.
 *
 * pivot_columns.c has H_:s and K_:s as of the start of the stage. With the columns V, Q of the channels removed since,
 *
 *     H now = H - V V'      K now = K - V Q' - Q V'
 *
 * and channel s with H_ss = L L' adds V_new = H_:s L^-T and Q_new = P - V_new (Z_s Z_s') / 2, where Z_s = L^-1 W_s,
 * P = K_:s L^-T and Z_s Z_s' = L^-1 K_ss L^-T. Columns are brought up to date for all rows by products with the stage's columns
 * from the left, V [V_s' | Q_s'] and Q V_s'. Channels that left keep their rows until dead rows are dropped.
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

/* [k, b] transposed rows of an own slot in the stage's columns: out[t, p] = panel[slot * b + p, t]. */
static void rows_of(const dual_system *d, const double *panel, int64_t slot, double *out) {
  const int64_t b = d->block, k = d->k - d->start, ld = d->stride, at = (slot - d->own_first) * b;
  for (int64_t t = 0; t < k; t++)
    for (int64_t p = 0; p < b; p++) out[t + p * k] = panel[at + p + t * ld];
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

/* L, Z_s Z_s', V_s' and Q_s' from the rank that keeps the slot to all, one after the other in d->pivot; behind them
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

/* Own rows of H_:s and K_:s now, next to each other in d->work. */
static int form_columns(dual_system *d, int64_t slot, const double *growth, int64_t left) {
  const int64_t b = d->block, rows = d->own_slots * b, ld = d->stride, k = d->k - d->start;
  const double *dual = NULL, *product = NULL, *right = d->pivot + 2 * b * b;
  double *h = d->work, *p = d->work + ld * b;
  REAP_TRY(pivot_columns_get(d, slot, growth, left, &dual, &product));
  memcpy(h, dual, (size_t)(ld * b) * sizeof *dual);
  memcpy(p, product, (size_t)(ld * b) * sizeof *product);
  if (k == 0 || rows == 0) return REAP_OK;
  REAP_TRY(reap_dgemm('N', 'N', rows, 2 * b, k, -1, stage_v(d), ld, right, k, 1, h, ld));
  return reap_dgemm('N', 'N', rows, b, k, -1, dual_q_column(d, d->start), ld, right, k, 1, p, ld);
}

/* Largest entry of H_:s' G_:s - I: how well the recursion still inverts the matrix it came from. */
static int check_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->homes * b, own = d->stride;
  const double *h = d->work, *g = d->check;
  double *sums = d->check + rows * b, worst = 0;
  REAP_TRY(reap_symmetric_gather(d->dual, REAP_UPPER, d->homes, 1, &d->home[slot], d->check));
  memset(sums, 0, (size_t)(b * b) * sizeof *sums);
  for (int64_t p = 0; p < b; p++)
    for (int64_t q = 0; q < b; q++)
      for (int64_t s = 0; s < d->own_slots; s++) {
        const double *column = g + d->home[d->own_first + s] * b + q * rows;
        if (!d->alive[d->own_first + s]) continue;
        for (int64_t i = 0; i < b; i++) sums[p + q * b] += h[s * b + i + p * own] * column[i];
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

/* Own rows of the new columns of V and Q, and the blocks they change. */
static int append(dual_system *d) {
  const int64_t b = d->block, rows = d->own_slots * b, ld = d->stride;
  const double *squares = d->pivot + b * b;
  double *h = d->work, *p = d->work + ld * b, *v = d->v + d->k * ld, *q = dual_q_column(d, d->k);
  if (rows == 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, h, ld));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, p, ld));
  memcpy(v, h, (size_t)(ld * b) * sizeof *v);
  memcpy(q, p, (size_t)(ld * b) * sizeof *q);
  REAP_TRY(reap_dgemm('N', 'N', rows, b, b, -0.5, h, ld, squares, b, 1, q, ld));
  return channel_blocks_update(&d->blocks, v, ld, q, ld);
}

int panel_remove(dual_system *d, int64_t slot, const double *growth, int64_t left, bool *lost) {
  const int64_t b = d->block;
  REAP_TRY(share_pivot(d, slot, lost));
  if (*lost) return REAP_OK;
  const int64_t k = d->k - d->start;
  REAP_TRY(form_columns(d, slot, growth, left));
  if (k == 0 || k + 2 * b > d->width) REAP_TRY(check_pivot(d, slot));
  REAP_TRY(append(d));
  for (int64_t t = 0; t < b; t++) d->error += d->pivot[b * b + t * (b + 1)];
  d->gone[k / b] = slot;
  d->alive[slot] = false;
  d->n_alive--;
  d->k += b;
  return REAP_OK;
}
