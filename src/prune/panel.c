/* The panel of removed channels: pivot columns formed when needed, one rank-k update at the end; see elimination.c.
 *
 * H and K (or W) stand as of the last flush. With the panel V, Q (or Z) of the k columns removed since,
 *
 *     H now = H - V V'      K now = K - V Q' - Q V'      W now = W - V Z
 *
 * and channel s with H_ss = L L' adds V_new = H_:s L^-T, Z_new = L^-1 W_s, Q_new = P - V_new (Z_new Z_new') / 2, where
 * P = W Z_new' = K_:s L^-T. Columns are formed for all rows by products with the panel from the left, V [V_s' | Z
 * Z_new'] or V [V_s' | Q_s'] and Q V_s'. Channels that left keep their rows until the flush, where the last slots move
 * into the holes.
 *
 * Cost of a removal: 4 rows k block (by product 6), and by weights 2 rows m block; of a flush rows^2 k, by product
 * three times that, by weights 2 rows m k more.
 */
#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

bool panel_full(const dual_system *d) { return d->k + d->block > d->width; }

/* [k, b] transposed rows of the slot in a panel: out[t, p] = panel[slot * b + p, t]. */
static void rows_of(const dual_system *d, const double *panel, int64_t slot, double *out) {
  for (int64_t p = 0; p < d->block; p++)
    for (int64_t t = 0; t < d->k; t++) out[t + p * d->k] = panel[slot * d->block + p + t * d->n0];
}

/* work: [rows, b] column of H, [rows, b] of K or W Z', then what goes into one sum with the latter: [k, b] and [b, b].
 */
typedef struct pivot_work {
  double *h, *p, *t, *s;
} pivot_work;

static pivot_work work_of(const dual_system *d) {
  const int64_t size = d->rows * d->block;
  return (pivot_work){d->work, d->work + size, d->work + 2 * size, d->work + 2 * size + d->k * d->block};
}

/* This rank's part of W Z_new', Z Z_new' and Z_new Z_new', with Z_new' [m_count, b] appended to z. */
static int project_weights(dual_system *d, int64_t slot, const pivot_work *w) {
  const int64_t b = d->block, m = d->m_count, ldz = m + 1, k = d->k;
  double *fresh = d->z + k * ldz;
  for (int64_t j = 0; j < m; j++)
    for (int64_t p = 0; p < b; p++) fresh[j + p * ldz] = d->weights[slot * b + p + j * d->n0];
  REAP_TRY(reap_dgemm('N', 'T', m, b, k, -1, d->z, ldz, d->v + slot * b, d->n0, 1, fresh, ldz));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', m, b, d->pivot, b, fresh, ldz));
  REAP_TRY(reap_dgemm('N', 'N', d->rows, b, m, 1, d->weights, d->n0, fresh, ldz, 0, w->p, d->rows));
  REAP_TRY(reap_dgemm('T', 'N', k, b, m, 1, d->z, ldz, fresh, ldz, 0, w->t, k));
  return reap_dgemm('T', 'N', b, b, m, 1, fresh, ldz, fresh, ldz, 0, w->s, b);
}

/* P and Z_new Z_new' on the route by weights. */
static int form_by_weights(dual_system *d, int64_t slot, const pivot_work *w) {
  const int64_t b = d->block, rows = d->rows, k = d->k;
  int status = project_weights(d, slot, w);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  REAP_TRY(status);
  REAP_TRY(reap_symmetric_sum(d->dual, w->p, rows * b + k * b + b * b));
  rows_of(d, d->v, slot, d->right);
  memcpy(d->right + k * b, w->t, (size_t)(k * b) * sizeof *w->t);
  return reap_dgemm('N', 'N', rows, 2 * b, k, -1, d->v, d->n0, d->right, k, 1, w->h, rows);
}

/* The same by product: K_:s now, then times L^-T; Z_new Z_new' = L^-1 K_ss L^-T. */
static int form_by_product(dual_system *d, int64_t slot, const pivot_work *w) {
  const int64_t b = d->block, rows = d->rows, k = d->k;
  REAP_TRY(reap_symmetric_gather(d->product, REAP_LOWER, d->slots, 1, &slot, w->p));
  rows_of(d, d->v, slot, d->right);
  rows_of(d, d->q, slot, d->right + k * b);
  REAP_TRY(reap_dgemm('N', 'N', rows, 2 * b, k, -1, d->v, d->n0, d->right, k, 1, w->h, rows));
  REAP_TRY(reap_dgemm('N', 'N', rows, b, k, -1, d->q, d->n0, d->right, k, 1, w->p, rows));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, w->p, rows));
  for (int64_t t = 0; t < b; t++) memcpy(w->s + t * b, w->p + slot * b + t * rows, (size_t)b * sizeof *w->s);
  return reap_dtrsm('L', 'L', 'N', b, b, d->pivot, b, w->s, b);
}

/* Largest entry of H_:s' G_:s - I: how well the recursion still inverts the matrix it came from. */
static int check_pivot(dual_system *d, int64_t slot, const double *column) {
  const int64_t b = d->block, rows = d->rows;
  double worst = 0;
  REAP_TRY(reap_symmetric_gather(d->dual, REAP_UPPER, d->slots, 1, &slot, d->own_q));
  for (int64_t p = 0; p < b; p++)
    for (int64_t q = 0; q < b; q++) {
      double sum = p == q ? -1 : 0;
      for (int64_t s = 0; s < d->slots; s++)
        for (int64_t i = s * b; d->alive[s] && i < (s + 1) * b; i++)
          sum += column[i + p * rows] * d->own_q[i + q * rows];
      if (!(fabs(sum) <= worst)) worst = isnan(sum) ? INFINITY : fabs(sum);
    }
  if (d->residual_fresh == 0) d->residual_fresh = worst;
  d->residual = worst;
  return REAP_OK;
}

static int factor_pivot(dual_system *d, int64_t slot, bool *lost) {
  int64_t info = 0;
  channel_blocks_dual(&d->blocks, slot, d->pivot);
  REAP_TRY(reap_dpotrf_lower(d->block, d->pivot, d->block, &info));
  *lost = info != 0;
  return REAP_OK;
}

int panel_remove(dual_system *d, int64_t slot, bool *lost) {
  const int64_t b = d->block, rows = d->rows;
  const pivot_work w = work_of(d);
  REAP_TRY(factor_pivot(d, slot, lost));
  if (*lost) return REAP_OK;
  REAP_TRY(reap_symmetric_gather(d->dual, REAP_LOWER, d->slots, 1, &slot, w.h));
  REAP_TRY(d->product ? form_by_product(d, slot, &w) : form_by_weights(d, slot, &w));
  if (d->k == 0 || d->k + 2 * b > d->width) REAP_TRY(check_pivot(d, slot, w.h));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, d->pivot, b, w.h, rows));
  double *v = d->v + d->k * d->n0, *q = d->product ? d->q + d->k * d->n0 : d->own_q;
  const int64_t ldq = d->product ? d->n0 : rows;
  for (int64_t t = 0; t < b; t++) {
    memcpy(v + t * d->n0, w.h + t * rows, (size_t)rows * sizeof *v);
    memcpy(q + t * ldq, w.p + t * rows, (size_t)rows * sizeof *q);
    d->error += w.s[t + t * b];
  }
  REAP_TRY(reap_dgemm('N', 'N', rows, b, b, -0.5, w.h, rows, w.s, b, 1, q, ldq));
  REAP_TRY(channel_blocks_update(&d->blocks, v, d->n0, q, ldq));
  d->alive[slot] = false;
  d->n_alive--;
  d->k += b;
  return REAP_OK;
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
    if (!last && d->q) move_rows(d, count, from, to, d->k, d->q, d->n0);
    if (!last && d->weights) move_rows(d, count, from, to, d->m_count, d->weights, d->n0);
    move_rows(d, count, from, to, 1, diagonal, d->rows);
  }
  for (int64_t i = 0; i < count; i++) d->channel[to[i]] = d->channel[from[i]];
  d->slots = d->n_alive;
  d->rows = d->slots * b;
  for (int64_t s = 0; s < d->slots; s++) d->alive[s] = true;
  return REAP_OK;
}

int panel_flush(dual_system *d, bool last) {
  const int64_t gone = d->slots - d->n_alive;
  int64_t *from = NULL, *to = NULL;
  double *columns = NULL;
  int status = REAP_OK;
  if (gone == 0) return REAP_OK;
  REAP_TRY_OR(reap_alloc(&from, gone, sizeof *from), agree);
  REAP_TRY_OR(reap_alloc(&to, gone, sizeof *to), agree);
  status = reap_alloc(&columns, d->rows * gone * d->block, sizeof *columns);
agree:
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = compact(d, last, from, to, columns);
  reap_free(&from);
  reap_free(&to);
  reap_free(&columns);
  const int64_t k = d->k;
  d->k = 0;
  if (status != REAP_OK || last) return status;
  const double start = reap_seconds();
  REAP_TRY(reap_symmetric_update(d->dual, d->slots, k, d->v, NULL, d->n0));
  if (d->product) REAP_TRY(reap_symmetric_update(d->product, d->slots, k, d->v, d->q, d->n0));
  if (d->weights)
    REAP_TRY(reap_dgemm('N', 'T', d->rows, d->m_count, k, -1, d->v, d->n0, d->z, d->m_count + 1, 1, d->weights, d->n0));
  d->seconds_updates += reap_seconds() - start;
  return dual_load_blocks(d);
}
