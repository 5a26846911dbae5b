/* Channels that left go from the Gram matrix, for a fresh factorisation of those still there; see elimination.c.
 *
 * What is left has to be the leading part of the layout, so the last homes move into the holes, some hundred columns at a
 * time. Cost: about rows^2 / 2 elements moved when half of the channels are gone; on a grid every rank receives as many.
 */
#include <string.h>

#include "dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { AT_ONCE = 512 /* columns */ };

/* Which homes behind the last one to stay move where: pairs into from[], to[]. home_slot: the slot of each home, or -1. */
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

/* Moves a few homes' rows and columns of the upper matrix; `columns` [homes * b, count * b] is scratch. */
static int move_homes(dual_system *d, int64_t count, const int64_t *from, const int64_t *to, double *columns) {
  const int64_t b = d->block, rows = d->homes * b;
  REAP_TRY(reap_symmetric_gather(d->dual, REAP_UPPER, d->homes, count, from, columns));
  for (int64_t j = 0; j < count * b; j++)
    for (int64_t i = 0; i < count; i++)
      memcpy(columns + to[i] * b + j * rows, columns + from[i] * b + j * rows, (size_t)b * sizeof *columns);
  return reap_symmetric_put(d->dual, REAP_UPPER, d->homes, count, to, columns);
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
  const int64_t b = d->block, homes = d->homes, most = 1 + (AT_ONCE - 1) / b;
  int64_t *places = NULL, count = 0;
  double *columns = NULL;
  if (d->n_alive == homes) return REAP_OK;
  int status = reap_alloc(&places, 4 * homes, sizeof *places);
  if (status == REAP_OK) status = reap_alloc(&columns, homes * b * (most < homes ? most : homes) * b, sizeof *columns);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *home_slot = places, *from = places + homes, *to = from + homes;
    for (int64_t h = 0; h < homes; h++) home_slot[h] = -1;
    for (int64_t s = 0; s < d->slots; s++)
      if (d->alive[s]) home_slot[d->home[s]] = s;
    count = plan_moves(d, home_slot, from, to);
    for (int64_t i = 0; status == REAP_OK && i < count; i += most)
      status = move_homes(d, count - i < most ? count - i : most, from + i, to + i, columns);
    renumber(d, home_slot, count, from, to, to + homes);
  }
  reap_free(&places);
  reap_free(&columns);
  return status;
}
