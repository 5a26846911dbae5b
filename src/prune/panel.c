/* The panel of removed channels: pivot columns formed when needed, one rank-k update at the end; see elimination.c.
 *
 * H and K (or W) stand as of the last flush. With the panel V, Q of the k columns removed since,
 *
 *     H now = H - V V'      K now = K - V Q' - Q V'
 *
 * and channel s with H_ss = L L' adds V_new = H_:s L^-T and Q_new = P - V_new (Z_s Z_s') / 2, where Z_s = L^-1 W_s,
 * P = K_:s L^-T and Z_s Z_s' = L^-1 K_ss L^-T. Columns are brought up to date for all rows by products with the panel
 * from the left, V [V_s' | Q_s'] and Q V_s'; those as of the last flush come from pivot_columns.c. Channels that left
 * keep their rows until the flush, where the last slots move into the holes.
 *
 * On several ranks each keeps its share of the slots: their rows of V and Q and their blocks. A removal then takes one
 * sum (the costs) and one message from the rank that keeps the pivot, L, Z_s Z_s', V_s and Q_s; V goes to all ranks at
 * the flush.
 *
 * W itself is only touched at the flush: W now = W - V Z, and the rows of V at the removed channels, in their order, are
 * the lower triangular Cholesky factor of H there, V_s. = [V_s,before L], so that Z = V_gone^-1 W_gone by one triangular
 * solve.
 *
 * Cost of a removal: 6 rows k block over the ranks; of a flush rows^2 k, by product three times that, by weights (2 rows + k) m k.
 */
#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "pivot_columns.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

bool panel_full(const dual_system *d) { return d->k + d->block > d->width; }

/* [k, b] transposed rows of the slot in a panel: out[t, p] = panel[slot * b + p, t]. */
static void rows_of(const dual_system *d, const double *panel, int64_t slot, double *out) {
  for (int64_t t = 0; t < d->k; t++)
    for (int64_t p = 0; p < d->block; p++) out[t + p * d->k] = panel[slot * d->block + p + t * d->n0];
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
  const int64_t b = d->block, k = d->k, squares = 2 * b * b, size = squares + 2 * k * b;
  int64_t info = 0;
  if (owns(d, slot)) {
    channel_blocks_get(&d->blocks, slot - d->own_first, d->pivot, d->pivot + b * b);
    rows_of(d, d->v, slot, d->pivot + squares);
    rows_of(d, d->q, slot, d->pivot + squares + k * b);
    REAP_TRY(factor_pivot(d, &info));
    d->pivot[size] = info != 0;
  }
  int root = 0;
  for (int64_t first = 0, last = 0; d->comm && root < reap_comm_size(d->comm); root++) {
    reap_comm_share(d->slots, root, reap_comm_size(d->comm), &first, &last);
    if (slot < last) break;
  }
  if (d->comm) REAP_TRY(reap_comm_broadcast(d->comm, d->pivot, (size_t)(size + 1) * sizeof *d->pivot, root));
  *lost = d->pivot[size] != 0;
  return REAP_OK;
}

/* Own rows of H_:s and K_:s now, next to each other in d->work. */
static int form_columns(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->own_slots * b, k = d->k, at = d->own_first * b;
  const double *dual = NULL, *product = NULL, *right = d->pivot + 2 * b * b;
  double *h = d->work, *p = d->work + rows * b;
  REAP_TRY(pivot_columns_get(d, slot, &dual, &product));
  memcpy(h, dual, (size_t)(rows * b) * sizeof *dual);
  memcpy(p, product, (size_t)(rows * b) * sizeof *product);
  REAP_TRY(reap_dgemm('N', 'N', rows, 2 * b, k, -1, d->v + at, d->n0, right, k, 1, h, rows));
  return reap_dgemm('N', 'N', rows, b, k, -1, d->q + at, d->n0, right, k, 1, p, rows);
}

/* Largest entry of H_:s' G_:s - I: how well the recursion still inverts the matrix it came from. */
static int check_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->rows, own = d->own_slots * b;
  const double *h = d->work, *g = d->check;
  double *sums = d->check + rows * b, worst = 0;
  REAP_TRY(reap_symmetric_gather(d->dual, REAP_UPPER, d->slots, 1, &slot, d->check));
  memset(sums, 0, (size_t)(b * b) * sizeof *sums);
  for (int64_t p = 0; p < b; p++)
    for (int64_t q = 0; q < b; q++)
      for (int64_t i = 0; i < own; i++) {
        const int64_t row = d->own_first * b + i;
        if (d->alive[row / b]) sums[p + q * b] += h[i + p * own] * g[row + q * rows];
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
  const int64_t b = d->block, rows = d->own_slots * b, at = d->own_first * b + d->k * d->n0;
  const double *squares = d->pivot + b * b;
  double *h = d->work, *p = d->work + rows * b, *v = d->v + at, *q = d->q + at;
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, h, rows));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, p, rows));
  for (int64_t t = 0; t < b; t++) {
    memcpy(v + t * d->n0, h + t * rows, (size_t)rows * sizeof *v);
    memcpy(q + t * d->n0, p + t * rows, (size_t)rows * sizeof *q);
  }
  REAP_TRY(reap_dgemm('N', 'N', rows, b, b, -0.5, h, rows, squares, b, 1, q, d->n0));
  return channel_blocks_update(&d->blocks, v, d->n0, q, d->n0);
}

int panel_remove(dual_system *d, int64_t slot, const double *growth, int64_t left, bool *lost) {
  const int64_t b = d->block;
  REAP_TRY(share_pivot(d, slot, lost));
  if (*lost) return REAP_OK;
  if (d->k == 0) REAP_TRY(pivot_columns_prepare(d, growth, left));
  REAP_TRY(form_columns(d, slot));
  if (d->k == 0 || d->k + 2 * b > d->width) REAP_TRY(check_pivot(d, slot));
  REAP_TRY(append(d));
  for (int64_t t = 0; t < b; t++) d->error += d->pivot[b * b + t * (b + 1)];
  d->gone[d->k / b] = slot;
  d->alive[slot] = false;
  d->n_alive--;
  d->k += b;
  return REAP_OK;
}

/* Z = V_gone^-1 W_gone: z [k, m_count], triangle [k, k] scratch. */
static int form_z(const dual_system *d, double *triangle, double *z) {
  const int64_t b = d->block, k = d->k;
  for (int64_t s = 0; s < k / b; s++) {
    for (int64_t j = 0; j < k; j++)
      memcpy(triangle + s * b + j * k, d->v + d->gone[s] * b + j * d->n0, (size_t)b * sizeof *z);
    for (int64_t j = 0; j < d->m_count; j++)
      memcpy(z + s * b + j * k, d->weights + d->gone[s] * b + j * d->ldw, (size_t)b * sizeof *z);
  }
  return reap_dtrsm('L', 'L', 'N', k, d->m_count, triangle, k, z, k);
}

/* Which slots behind the last one to stay move where: pairs into from[], to[]. */
static int64_t plan_moves(const dual_system *d, int64_t *from, int64_t *to) {
  int64_t count = 0, last = d->slots - 1;
  for (int64_t s = 0; s < d->n_alive; s++) {
    if (d->alive[s]) continue;
    while (!d->alive[last]) last--;
    from[count] = last--;
    to[count++] = s;
  }
  return count;
}

/* Moves rows of column-major a [.., columns]. */
static void move_rows(const dual_system *d, int64_t count, const int64_t *from, const int64_t *to, int64_t columns,
                      double *a, int64_t ld) {
  const int64_t b = d->block;
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < count; i++) memcpy(a + to[i] * b + j * ld, a + from[i] * b + j * ld, (size_t)b * sizeof *a);
}

/* Moves whole slots of a symmetric matrix; `columns` [rows, count * b] is scratch. */
static int move_slots(const dual_system *d, reap_symmetric *matrix, reap_triangle triangle, int64_t count,
                      const int64_t *from, const int64_t *to, double *columns) {
  const int64_t rows = d->rows, kept = d->n_alive * d->block;
  REAP_TRY(reap_symmetric_gather(matrix, triangle, d->slots, count, from, columns));
  move_rows(d, count, from, to, count * d->block, columns, rows);
  for (int64_t j = 1; j < count * d->block; j++)
    memmove(columns + j * kept, columns + j * rows, (size_t)kept * sizeof *columns);
  return reap_symmetric_put(matrix, triangle, d->n_alive, count, to, columns);
}

static int compact(dual_system *d, bool last, int64_t *from, int64_t *to, double *columns) {
  const int64_t b = d->block, count = plan_moves(d, from, to);
  double *diagonal = reap_symmetric_upper_diagonal(d->dual);
  if (count > 0) {
    REAP_TRY(move_slots(d, d->dual, REAP_UPPER, count, from, to, columns));
    if (!last) REAP_TRY(move_slots(d, d->dual, REAP_LOWER, count, from, to, columns));
    if (!last && d->product) REAP_TRY(move_slots(d, d->product, REAP_LOWER, count, from, to, columns));
    if (!last) move_rows(d, count, from, to, d->k, d->v, d->n0);
    if (!last && d->product) move_rows(d, count, from, to, d->k, d->q, d->n0);
    if (!last && d->weights) move_rows(d, count, from, to, d->m_count, d->weights, d->ldw);
    move_rows(d, count, from, to, 1, diagonal, d->rows);
  }
  for (int64_t i = 0; i < count; i++) d->channel[to[i]] = d->channel[from[i]];
  d->slots = d->n_alive;
  d->rows = d->slots * b;
  for (int64_t s = 0; s < d->slots; s++) d->alive[s] = true;
  return REAP_OK;
}

/* The panel into H and K or W. */
static int apply(dual_system *d, int64_t k, const double *z) {
  REAP_TRY(reap_symmetric_update(d->dual, d->slots, k, d->v, NULL, d->n0));
  if (d->product) return reap_symmetric_update(d->product, d->slots, k, d->v, d->q, d->n0);
  return reap_dgemm('N', 'N', d->rows, d->m_count, k, -1, d->v, d->n0, z, k, 1, d->weights, d->ldw);
}

/* What a flush needs beside the system: slots that move, their columns, Z and the triangle it comes from. */
typedef struct flush_work {
  int64_t *from, *to;
  double *columns, *z, *triangle;
} flush_work;

static int flush_open(const dual_system *d, bool last, flush_work *w) {
  const int64_t gone = d->slots - d->n_alive;
  int status = reap_alloc(&w->from, gone, sizeof *w->from);
  if (status == REAP_OK) status = reap_alloc(&w->to, gone, sizeof *w->to);
  if (status == REAP_OK) status = reap_alloc(&w->columns, d->rows * gone * d->block, sizeof *w->columns);
  if (status == REAP_OK && d->weights && !last) status = reap_alloc(&w->z, d->k * d->m_count, sizeof *w->z);
  if (status == REAP_OK && d->weights && !last) status = reap_alloc(&w->triangle, d->k * d->k, sizeof *w->triangle);
  if (status == REAP_OK && w->z) status = form_z(d, w->triangle, w->z);
  return d->comm ? reap_comm_agree(d->comm, status) : status;
}

static void flush_close(flush_work *w) {
  reap_free(&w->from);
  reap_free(&w->to);
  reap_free(&w->columns);
  reap_free(&w->z);
  reap_free(&w->triangle);
}

int panel_flush(dual_system *d, bool last) {
  const int64_t k = d->k;
  flush_work w = {0};
  if (d->slots == d->n_alive) return REAP_OK;
  if (!last) REAP_TRY(reap_symmetric_collect(d->dual, d->slots, k, d->v, d->n0));
  if (!last && d->product) REAP_TRY(reap_symmetric_collect(d->dual, d->slots, k, d->q, d->n0));
  int status = flush_open(d, last, &w);
  if (status == REAP_OK) status = compact(d, last, w.from, w.to, w.columns);
  d->k = 0;
  const double start = reap_seconds();
  if (status == REAP_OK && !last) status = apply(d, k, w.z);
  d->seconds_updates += reap_seconds() - start;
  flush_close(&w);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  return status == REAP_OK && !last ? dual_load_blocks(d) : status;
}
