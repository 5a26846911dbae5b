/* A stage's removals one by one, and its end; see elimination.c for the scheme, stage_columns.c for the columns of V
 * and Q.
 *
 * A removal: the blocks of all channels take what it means for them. Channels that left keep their rows until the end
 * of the stage. On several ranks each keeps its share of the slots, their rows of V, Q and W and their blocks: a
 * removal takes one sum, of the costs.
 *
 * The end: W takes the delayed update, W now = W - V Z with Z = T^-1 W_gone from stage_columns.c. Rows of channels that
 * left in the stage are dropped from V, Q, W and the blocks, in place: the last ones fill their places. Once an eighth
 * of all has gone the columns move together, which gives V's memory back to the columns to come; that moves all of V
 * and is too dear to do every time.
 *
 * Cost of a removal: 6 rows block^2; of the end, 2 rows k m for the k columns of a stage on the route by weights; over
 * the ranks.
 */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "dual_system.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

bool reap_panel_full(const dual_system *d) { return d->k > d->start && d->stage.next == d->stage.count; }

bool reap_panel_takes(const dual_system *d, int64_t slot) {
  return d->k == d->start || d->stage.slot[d->stage.next] == slot;
}

/* Own rows of G_:s in the order of the slots, zero where the channel left before. */
static int own_gram(dual_system *d, int64_t slot, double *out) {
  const int64_t b = d->block, rows = d->own_slots * b;
  REAP_TRY(reap_symmetric_gather_rows(d->dual, REAP_UPPER, 1, &d->original[slot], d->share, d->original, out, rows));
  for (int64_t q = 0; q < b; q++)
    for (int64_t s = 0; s < d->own_slots; s++)
      if (!d->alive[d->own_first + s]) memset(out + s * b + q * rows, 0, (size_t)b * sizeof *out);
  return REAP_OK;
}

/* Largest entry of H_:s' G_:s - I, with H_:s = V_new L': how well the recursion still inverts the matrix it came from.
 */
static int check_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->own_slots * b, ld = d->stage.width;
  const double *lower = d->stage.triangle + (d->k - d->start) * (ld + 1);
  double *gram = d->check, *inner = gram + rows * b, *sums = inner + b * b, worst = 0;
  REAP_TRY(own_gram(d, slot, gram));
  REAP_TRY(reap_dgemm('T', 'N', b, b, rows, 1, d->v + d->k * d->stride, d->stride, gram, rows, 0, inner, b));
  for (int64_t q = 0; q < b; q++)
    for (int64_t p = 0; p < b; p++) {
      sums[p + q * b] = 0;
      for (int64_t j = 0; j <= p; j++) sums[p + q * b] += lower[p + j * ld] * inner[j + q * b];
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

int reap_panel_remove(dual_system *d, int64_t slot, const double *cost, int64_t left, bool *lost) {
  stage *g = &d->stage;
  d->error += cost[slot];
  if (d->k == d->start) REAP_TRY(reap_stage_begin(d, slot, cost, left));
  *lost = g->count == 0;
  if (*lost) return REAP_OK;
  slot = g->slot[g->next]; /* candidates have moved */
  REAP_TRY(
      reap_channel_blocks_update(&d->blocks, d->v + d->k * d->stride, d->stride, dual_q_column(d, d->k), d->stride));
  if (g->next == 0 || g->next == g->count - 1) REAP_TRY(check_pivot(d, slot));
  d->alive[slot] = false;
  d->n_alive--;
  d->k += d->block;
  g->next++;
  return REAP_OK;
}

/* ------------------------------------------------------------------ the end of a stage */

/* W -= V Z, own rows, with the part of Z whose channels have gone. */
static int update_weights(dual_system *d) {
  const int64_t k = d->k - d->start, rows = d->own_slots * d->block;
  if (rows == 0) return REAP_OK;
  return reap_dgemm('N', 'T', rows, d->m, k, -1, d->v + d->start * d->stride, d->stride, d->stage.z, d->m, 1,
                    d->weights, d->ldw);
}

/* Rows of slot[k], at least k, go to the place of slot k of column-major a [.., columns], in place, k ascending; to_ld
 * at most from_ld. A slot that is taken from further behind is not wanted where it stood. */
static void move_rows(int64_t b, int64_t count, const int64_t *slot, int64_t columns, double *a, int64_t from_ld,
                      int64_t to_ld) {
  for (int64_t j = 0; j < columns; j++)
    for (int64_t k = 0, end; k < count; k = end) {
      double *to = a + k * b + j * to_ld, *from = a + slot[k] * b + j * from_ld;
      for (end = k + 1; end < count && slot[end] == slot[end - 1] + 1;) end++;
      if (to != from) memmove(to, from, (size_t)((end - k) * b) * sizeof *a);
    }
}

/* Own rows of V, of W or Q, and the blocks, from the stride before to that of now: `slot` counts from the first own
 * one. */
static void drop_own_rows(dual_system *d, int64_t count, const int64_t *slot, int64_t before) {
  const int64_t b = d->block, stride = d->stride;
  move_rows(b, count, slot, d->k, d->v, before, stride);
  if (d->weights) move_rows(b, count, slot, d->m, d->weights, d->ldw, d->ldw); /* the stage's Q is done with */
  if (d->product) move_rows(b, count, slot, d->k, d->q, before, stride);
  reap_channel_blocks_keep(&d->blocks, count, slot);
}

/* The slots still there in their new order, and behind them those of this rank, counted from its first; *share is of
 * then. Every rank's last ones fill its gaps, so that little moves. */
static int plan_order(const dual_system *d, int64_t **slot, int64_t *share) {
  const int ranks = dual_ranks(d);
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
  const int ranks = dual_ranks(d);
  int64_t *slot = NULL, *share = NULL;
  int status = reap_alloc(&share, ranks + 1, sizeof *share);
  if (status == REAP_OK) status = plan_order(d, &slot, share);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    for (int r = 0; r <= ranks; r++) d->share[r] = share[r];
    reap_dual_note_share(d);
    if (!tight) d->stride = before;
    drop_own_rows(d, d->own_slots, slot + count, before);
    for (int64_t k = 0; k < count; k++) {
      d->channel[k] = d->channel[slot[k]];
      d->original[k] = d->original[slot[k]];
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

/* A shorter look-ahead after an order that came otherwise. */
static void adapt_limit(stage *g) {
  const int64_t longest = g->width / g->block, twice = 2 * (g->next > g->limit / 2 ? g->next : g->limit / 2);
  if (g->next == g->count)
    g->limit = twice < longest ? twice : longest;
  else if (g->limit > g->next + 1)
    g->limit = g->next + 1;
}

int reap_panel_apply_delayed(dual_system *d) {
  enum { DEAD_PART = 8 };
  if (d->k == d->start) return REAP_OK;
  const bool tight = (d->tight_slots - d->n_alive) * DEAD_PART >= d->tight_slots;
  const double start = reap_seconds();
  REAP_TRY(drop_dead_rows(d, tight));
  int status = d->weights ? update_weights(d) : REAP_OK;
  status = reap_comm_agree(d->comm, status);
  d->seconds_updates += reap_seconds() - start;
  REAP_TRY(status);
  adapt_limit(&d->stage);
  reap_stage_forget(&d->stage);
  d->start = d->k;
  if (d->weights) d->q_from = d->k;
  return d->weights && tight ? reap_dual_load_blocks(d, false)
                             : REAP_OK; /* K_jj is a difference and loses digits as W W' shrinks */
}
