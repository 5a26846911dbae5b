/* The end of a stage: dead rows are dropped, and W and the pivot columns at hand take what the stage's V and Q mean for them; see
 * elimination.c.
 *
 * W now = W - V Z, and the rows of V at the removed channels, in their order, are the lower triangular Cholesky factor of H
 * there, V_s. = [V_s,before L], so that Z = V_gone^-1 W_gone by one triangular solve, before those rows go. W is spread over the
 * ranks by outputs: the stage's columns of V go to all of them. Rows of channels that left in the stage are dropped from V, Q, W
 * and the blocks, in place: the last ones fill their places. Once an eighth of all has gone the columns move together, which gives
 * V's memory back to the columns to come; that moves all of V and is too dear to do every time.
 *
 * Cost: (2 rows + k) k m over the ranks for the k columns of a stage, on the route by weights; rows k elements received.
 */
#include <string.h>

#include "dual_system.h"
#include "pivot_columns.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

/* Z = V_gone^-1 W_gone [k, m_count]. */
static int form_z(const dual_system *d, int64_t k, double *z) {
  const int64_t b = d->block;
  for (int64_t j = 0; j < d->m_count; j++)
    for (int64_t s = 0; s < k / b; s++)
      memcpy(z + s * b + j * k, d->weights + d->gone[s] * b + j * d->ldw, (size_t)b * sizeof *z);
  return reap_dtrsm('L', 'L', 'N', k, d->m_count, d->triangle, d->width, z, k);
}

/* W -= V Z in one rank's rows. */
static int subtract(const dual_system *d, int rank, const double *v, int64_t ld, int64_t k, const double *z) {
  const int64_t b = d->block, rows = (d->share[rank + 1] - d->share[rank]) * b;
  if (rows == 0 || d->m_count == 0) return REAP_OK;
  return reap_dgemm('N', 'N', rows, d->m_count, k, -1, v, ld, z, k, 1, d->weights + d->share[rank] * b, d->ldw);
}

/* The same in all of them, of which each rank has its own: multiplied as they are received. */
static int subtract_all(const dual_system *d, int64_t k, const double *z, double *pieces) {
  const int64_t own = d->own_slots * d->block;
  double *mine = pieces + d->own_first * d->block * k;
  for (int64_t j = 0; j < k; j++)
    memcpy(mine + j * own, d->v + (d->k - k + j) * d->stride, (size_t)own * sizeof *mine);
  REAP_TRY(reap_symmetric_collect(d->dual, d->share, k, pieces));
  int status = REAP_OK;
  for (int r = 0; status == REAP_OK && r < reap_comm_size(d->comm); r++)
    status = subtract(d, r, pieces + d->share[r] * d->block * k, (d->share[r + 1] - d->share[r]) * d->block, k, z);
  return reap_comm_agree(d->comm, status);
}

static int update_weights(dual_system *d, int64_t k, const double *z) {
  const double start = reap_seconds();
  double *pieces = NULL;
  int status = REAP_OK;
  if (d->comm) {
    status = reap_comm_agree(d->comm, reap_alloc(&pieces, d->rows * k, sizeof *pieces));
    if (status == REAP_OK) status = subtract_all(d, k, z, pieces);
    reap_free(&pieces);
  } else {
    status = subtract(d, 0, d->v + (d->k - k) * d->stride, d->stride, k, z);
  }
  d->seconds_updates += reap_seconds() - start;
  return status;
}

/* Rows of slot[k], at least k, go to the place of slot k of column-major a [.., columns], in place, k ascending; to_ld at most
 * from_ld. A slot that is taken from further behind is not wanted where it stood. */
static void move_rows(int64_t b, int64_t count, const int64_t *slot, int64_t columns, double *a, int64_t from_ld, int64_t to_ld) {
  for (int64_t j = 0; j < columns; j++)
    for (int64_t k = 0, end; k < count; k = end) {
      double *to = a + k * b + j * to_ld, *from = a + slot[k] * b + j * from_ld;
      for (end = k + 1; end < count && slot[end] == slot[end - 1] + 1;) end++;
      if (to != from) memmove(to, from, (size_t)((end - k) * b) * sizeof *a);
    }
}

/* Own rows of V, Q, pivot columns and the blocks, from the stride before to that of now: `slot` counts from the first own one. */
static void drop_own_rows(dual_system *d, int64_t count, const int64_t *slot, int64_t before) {
  const int64_t b = d->block, stride = d->stride;
  move_rows(b, count, slot, d->columns.count * b, d->columns.dual, before, stride);
  move_rows(b, count, slot, d->columns.count * b, d->columns.product, before, stride);
  move_rows(b, count, slot, d->k, d->v, before, stride);
  move_rows(b, count, slot, d->k - d->q_from, d->q, before, stride);
  channel_blocks_keep(&d->blocks, count, slot);
}

/* The slots still there in their new order, and behind them those of this rank, counted from its first; *share is of then. Every
 * rank's last ones fill its gaps, so that little moves. */
static int plan_order(const dual_system *d, int64_t **slot, int64_t *share) {
  const int ranks = d->comm ? reap_comm_size(d->comm) : 1;
  int64_t count = 0, own = 0;
  REAP_TRY(reap_alloc(slot, 2 * d->n_alive, sizeof **slot));
  share[0] = 0;
  for (int r = 0; r < ranks; r++) {
    for (int64_t s = d->share[r], last = d->share[r + 1] - 1; s <= last; s++) {
      while (last > s && !d->alive[s] && !d->alive[last]) last--;
      const int64_t from = d->alive[s] ? s : last--;
      if (!d->alive[from]) break;
      if (d->share[r] == d->own_first) (*slot)[d->n_alive + own++] = from - d->own_first;
      (*slot)[count++] = from;
    }
    share[r + 1] = count;
  }
  return REAP_OK;
}

/* Channels that left go from everything that is kept by slots; `tight`: what is left of the rows moves together. */
static int drop_dead_rows(dual_system *d, bool tight) {
  const int64_t count = d->n_alive, before = d->stride;
  const int ranks = d->comm ? reap_comm_size(d->comm) : 1;
  int64_t *slot = NULL, *share = NULL;
  int status = reap_alloc(&share, ranks + 1, sizeof *share);
  if (status == REAP_OK) status = plan_order(d, &slot, share);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    if (d->weights) move_rows(d->block, count, slot, d->m_count, d->weights, d->ldw, d->ldw);
    pivot_columns_renumber(d, count, slot);
    for (int r = 0; r <= ranks; r++) d->share[r] = share[r];
    dual_note_share(d);
    if (!tight) d->stride = before;
    drop_own_rows(d, d->own_slots, slot + count, before);
    for (int64_t k = 0; k < count; k++) {
      d->channel[k] = d->channel[slot[k]];
      d->home[k] = d->home[slot[k]];
      d->alive[k] = true;
    }
    d->slots = count;
    d->rows = count * d->block;
    if (tight) d->tight_slots = count;
  }
  reap_free(&slot);
  reap_free(&share);
  return status;
}

/* Everything but K's blocks; z [k, m_count] is scratch. */
static int settle(dual_system *d, bool tight, double *z) {
  const int64_t k = d->k - d->start;
  int status = d->weights ? form_z(d, k, z) : REAP_OK;
  if (d->comm) status = reap_comm_agree(d->comm, status);
  REAP_TRY(status);
  REAP_TRY(drop_dead_rows(d, tight));
  REAP_TRY(pivot_columns_advance(d));
  return d->weights ? update_weights(d, k, z) : REAP_OK;
}

int panel_settle(dual_system *d) {
  enum { DEAD_PART = 8 };
  double *z = NULL;
  if (d->k == d->start) return REAP_OK;
  const bool tight = (d->tight_slots - d->n_alive) * DEAD_PART >= d->tight_slots;
  int status = d->weights ? reap_alloc(&z, (d->k - d->start) * d->m_count, sizeof *z) : REAP_OK;
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = settle(d, tight, z);
  reap_free(&z);
  REAP_TRY(status);
  d->start = d->k;
  if (d->weights) d->q_from = d->k;
  return d->weights && tight ? dual_load_blocks(d, false) : REAP_OK; /* K_jj is a difference and loses digits as W W' shrinks */
}
