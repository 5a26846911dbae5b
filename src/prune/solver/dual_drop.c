/* Channels that left go from the Gram matrix, for a fresh factorisation of those still there; see elimination.c.
 *
 * What is left has to be the leading part of the layout, so the last homes move into the holes. Cost: about 3 rows^2 /
 * 8 elements moved when half of the channels are gone.
 */
#include <string.h>

#include "dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Which homes behind the last one to stay move where: pairs into from[], to[]. home_slot: the slot of each home, or -1.
 */
static int64_t plan_moves(const dual_system *d, const int64_t *home_slot, int64_t *from, int64_t *to) {
  int64_t count = 0, last = d->homes - 1;
  for (int64_t h = 0; h < d->n_alive; h++) {
    if (home_slot[h] >= 0) continue;
    while (home_slot[last] < 0) last--;
    from[count] = last--;
    to[count++] = h;
  }
  return count;
}

/* Channels in the order of their homes; homes and slots are one from here on. */
static void renumber(dual_system *d, const int64_t *home_slot, int64_t count, const int64_t *from, const int64_t *to,
                     int64_t *channel) {
  double *diagonal = reap_symmetric_upper_diagonal(d->dual);
  for (int64_t h = 0; h < d->n_alive; h++)
    if (home_slot[h] >= 0) channel[h] = d->channel[home_slot[h]];
  for (int64_t i = 0; i < count; i++) {
    channel[to[i]] = d->channel[home_slot[from[i]]];
    memcpy(diagonal + to[i] * d->block, diagonal + from[i] * d->block, (size_t)d->block * sizeof *diagonal);
  }
  d->homes = d->slots = d->n_alive;
  d->rows = d->slots * d->block;
  for (int64_t h = 0; h < d->slots; h++) {
    d->channel[h] = channel[h];
    d->home[h] = h;
    d->alive[h] = true;
  }
  d->k = d->start = d->q_from = 0;
}

int dual_finish(dual_system *d) {
  reap_symmetric_destroy(&d->product);
  reap_free(&d->weights);
  reap_free(&d->v);
  reap_free(&d->q);
  reap_free(&d->check);
  stage_clear(&d->stage);
  return dual_drop(d);
}

int dual_drop(dual_system *d) {
  const int64_t homes = d->homes;
  int64_t *places = NULL;
  if (d->n_alive == homes) return REAP_OK;
  int status = reap_alloc(&places, 4 * homes, sizeof *places);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *home_slot = places, *from = places + homes, *to = from + homes;
    for (int64_t h = 0; h < homes; h++) home_slot[h] = -1;
    for (int64_t s = 0; s < d->slots; s++)
      if (d->alive[s]) home_slot[d->home[s]] = s;
    const int64_t count = plan_moves(d, home_slot, from, to);
    status = reap_symmetric_move(d->dual, REAP_UPPER, d->n_alive, count, from, to);
    if (status == REAP_OK) renumber(d, home_slot, count, from, to, to + homes);
  }
  reap_free(&places);
  return status;
}
