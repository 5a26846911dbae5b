/* Candidates of a stage: the channels that cost least when it starts, and where they stand.
 *
 * The order of the costs changes slowly, so that a channel that goes within a stage is nearly always among the two to
 * three times as many that are cheapest at its start. They change places with the last of each rank's slots: what is
 * kept by slots (V, Q, W, blocks) then has their rows together, at the end.
 *
 * Cost: swaps of s rows of k + m columns for s candidates and the k columns of V.
 */
#include <stdlib.h>
#include <string.h>

#include "dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct ranked {
  double cost;
  int64_t slot, channel;
} ranked;

static int by_cost(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
  return x->channel < y->channel ? -1 : x->channel > y->channel;
}

static int by_number(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Narrow channels change their order more. */
int64_t reap_stage_candidates_for(int64_t block, int64_t channels) { return (block < 4 ? 3 : 2) * channels + 2; }

/* `pivot` and the cheapest of the others, `wanted` in all, into c->slot. Ties with the pivot are broken by the lowest
 * channel index. */
static void choose(const dual_system *d, int64_t pivot, const double *cost, int64_t wanted, ranked *all,
                   candidates *c) {
  int64_t count = 0;
  const double limit = cost[pivot] + 2 * DUAL_TIE * d->equations->energy;
  for (int64_t s = 0; s < d->slots; s++)
    if (d->alive[s] && s != pivot) all[count++] = (ranked){cost[s] <= limit ? cost[pivot] : cost[s], s, d->channel[s]};
  qsort(all, (size_t)count, sizeof *all, by_cost);
  c->count = 0;
  c->slot[c->count++] = pivot;
  for (int64_t k = 0; k < count && c->count < wanted; k++) c->slot[c->count++] = all[k].slot;
  qsort(c->slot, (size_t)c->count, sizeof *c->slot, by_number);
}

/* ------------------------------------------------------------------ their place: the end of each rank's slots */

/* Which slots change places, pair after pair: of rank r candidates from..end that are not among its last slots and
 * those that are there instead. */
static int64_t plan_swaps(const dual_system *d, int rank, int64_t *pair) {
  const candidates *c = &d->stage.seen;
  const int64_t from = c->first[rank], end = c->first[rank + 1], zone = d->share[rank + 1] - (end - from);
  int64_t count = 0, last = end; /* candidates in the zone are last .. end */
  while (last > from && c->slot[last - 1] >= zone) last--;
  for (int64_t k = from, at = zone, seen = last; k < last; k++, at++) {
    for (; seen < end && c->slot[seen] == at; seen++) at++;
    pair[2 * count] = c->slot[k];
    pair[2 * count++ + 1] = at;
  }
  return count;
}

static void swap_rows(int64_t b, int64_t count, const int64_t *pair, int64_t columns, double *a, int64_t ld) {
  for (int64_t j = 0; j < columns; j++, a += ld)
    for (int64_t p = 0; p < count; p++) {
      double *x = a + pair[2 * p] * b, *y = a + pair[2 * p + 1] * b;
      for (int64_t i = 0; i < b; i++) {
        const double kept = x[i];
        x[i] = y[i];
        y[i] = kept;
      }
    }
}

/* What this rank keeps by slots, and what all keep. */
static void swap_slots(dual_system *d, int rank, int64_t count, int64_t *pair) {
  for (int64_t p = 0; p < count; p++) {
    const int64_t x = pair[2 * p], y = pair[2 * p + 1], channel = d->channel[x], original = d->original[x];
    d->channel[x] = d->channel[y];
    d->original[x] = d->original[y];
    d->channel[y] = channel;
    d->original[y] = original;
  }
  if (d->comm && reap_comm_rank(d->comm) != rank) return;
  for (int64_t p = 0; p < 2 * count; p++) pair[p] -= d->own_first;
  if (d->weights) swap_rows(d->block, count, pair, d->m, d->weights, d->ldw);
  swap_rows(d->block, count, pair, d->k, d->v, d->stride);
  if (d->product) swap_rows(d->block, count, pair, d->k, d->q, d->stride);
  for (int64_t p = 0; p < count; p++) reap_channel_blocks_swap(&d->blocks, pair[2 * p], pair[2 * p + 1]);
}

/* Candidates are moved to the end of each rank's slots. */
static void arrange(dual_system *d, int64_t *pair) {
  candidates *c = &d->stage.seen;
  const int ranks = dual_ranks(d);
  for (int r = 0, at = 0; r <= ranks; r++) {
    while (at < c->count && c->slot[at] < d->share[r]) at++;
    c->first[r] = at;
  }
  for (int r = 0; r < ranks; r++) {
    swap_slots(d, r, plan_swaps(d, r, pair), pair);
    for (int64_t k = c->first[r]; k < c->first[r + 1]; k++) c->slot[k] = d->share[r + 1] - c->first[r + 1] + k;
  }
  for (int64_t s = 0; s < c->count; s++) c->channel[s] = d->channel[c->slot[s]];
}

int reap_stage_choose(dual_system *d, int64_t pivot, const double *cost) {
  candidates *c = &d->stage.seen;
  const int64_t wanted = reap_stage_candidates_for(d->block, d->stage.limit);
  ranked *all = NULL;
  int64_t *pair = NULL;
  int status = reap_alloc(&all, d->slots, sizeof *all);
  if (status == REAP_OK) status = reap_alloc(&pair, 2 * c->most, sizeof *pair);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) choose(d, pivot, cost, wanted < c->most ? wanted : c->most, all, c);
  if (status == REAP_OK && d->comm)
    status = reap_comm_broadcast(d->comm, c->slot, (size_t)c->count * sizeof *c->slot, 0);
  if (status == REAP_OK) arrange(d, pair);
  reap_free(&all);
  reap_free(&pair);
  return status;
}
