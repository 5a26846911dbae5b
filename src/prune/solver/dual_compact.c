/* Channels that left go from the Gram matrix, for a fresh factorisation of those still there; see elimination.c.
 *
 * What is left has to be the leading part of the layout, so channels of the last original indices take the free ones.
 * Cost: about 3 rows^2 / 8 elements moved when half of the channels are gone.
 */
#include <string.h>

#include "dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Which original indices behind the last one to stay move where: pairs into from[], to[]. slot_at: the slot of each
 * original index, or -1. */
static int64_t plan_moves(const dual_system *d, const int64_t *slot_at, int64_t *from, int64_t *to) {
  int64_t count = 0, last = d->n_original - 1;
  for (int64_t h = 0; h < d->n_alive; h++) {
    if (slot_at[h] >= 0) continue;
    while (slot_at[last] < 0) last--;
    from[count] = last--;
    to[count++] = h;
  }
  return count;
}

/* Channels in the order of their original indices, which are those of the slots from here on. */
static void renumber(dual_system *d, const int64_t *slot_at, int64_t count, const int64_t *from, const int64_t *to,
                     int64_t *channel) {
  double *diagonal = reap_symmetric_upper_diagonal(d->dual);
  for (int64_t h = 0; h < d->n_alive; h++)
    if (slot_at[h] >= 0) channel[h] = d->channel[slot_at[h]];
  for (int64_t i = 0; i < count; i++) {
    channel[to[i]] = d->channel[slot_at[from[i]]];
    memcpy(diagonal + to[i] * d->block, diagonal + from[i] * d->block, (size_t)d->block * sizeof *diagonal);
  }
  d->n_original = d->slots = d->n_alive;
  d->rows = d->slots * d->block;
  for (int64_t h = 0; h < d->slots; h++) {
    d->channel[h] = channel[h];
    d->original[h] = h;
    d->alive[h] = true;
  }
  d->k = d->start = d->q_from = 0;
}

int reap_dual_finish(dual_system *d) {
  reap_symmetric_destroy(&d->product);
  reap_free(&d->weights);
  reap_free(&d->v);
  reap_free(&d->q);
  reap_free(&d->check);
  reap_stage_clear(&d->stage);
  return reap_dual_compact(d);
}

int reap_dual_compact(dual_system *d) {
  const int64_t n = d->n_original;
  int64_t *places = NULL;
  if (d->n_alive == n) return REAP_OK;
  int status = reap_alloc(&places, 4 * n, sizeof *places);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *slot_at = places, *from = places + n, *to = from + n;
    for (int64_t h = 0; h < n; h++) slot_at[h] = -1;
    for (int64_t s = 0; s < d->slots; s++)
      if (d->alive[s]) slot_at[d->original[s]] = s;
    const int64_t count = plan_moves(d, slot_at, from, to);
    status = reap_symmetric_move(d->dual, REAP_UPPER, d->n_alive, count, from, to);
    if (status == REAP_OK) renumber(d, slot_at, count, from, to, to + n);
  }
  reap_free(&places);
  return status;
}
