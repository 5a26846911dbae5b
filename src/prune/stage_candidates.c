/* Candidates of a stage: the channels that cost least when it starts, and what H, K, V, Q and W hold of them.
 *
 * The order of the costs changes slowly, so that whoever goes within a stage is nearly always among the two to three times as many
 * that are cheapest at its start. With S their columns and all columns of V, Q so far,
 *
 *     H_SS - V_S V_S'        by product K_SS - V_S Q_S' - Q_S V_S',  by weights W_S W_S'
 *
 * is all that the choice among them depends on. Their rows of V, Q and W go to every rank: stage_columns.c wants those of the
 * channels that will be foreseen. The products are shared out by columns of V and W and summed on all ranks, the first one adds H_SS.
 *
 * Cost: s^2 k for s candidates and the k columns of V, three times that by product, s^2 m by weights, over the ranks; s k and s m
 * elements received. Memory: s k, s m, and 2 s^2 for the matrices.
 */
#include <stdlib.h>
#include <string.h>

#include "dual_system.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

typedef struct ranked {
  double growth;
  int64_t slot, channel;
} ranked;

/* Candidates for every channel that a stage may remove: narrow channels change their order more. */
static int64_t candidates_for(int64_t block, int64_t channels) { return (block < 4 ? 3 : 2) * channels + 2; }

int stage_create(int64_t slots, int64_t block, int ranks, int64_t width, int64_t removed, stage *g) {
  memset(g, 0, sizeof *g);
  candidates *c = &g->seen;
  g->block = block;
  g->width = width;
  const int64_t channels = width / block < removed ? width / block : removed;
  g->reach = channels;
  c->most = candidates_for(block, channels) < slots ? candidates_for(block, channels) : slots;
  c->ld = whole_lines(c->most * block);
  const int64_t square = c->ld * c->most * block;
  REAP_TRY(reap_alloc(&g->slot, width / block, sizeof *g->slot));
  REAP_TRY(reap_alloc(&g->triangle, width * width, sizeof *g->triangle));
  REAP_TRY(reap_alloc(&g->squares, width * width, sizeof *g->squares));
  REAP_TRY(reap_alloc(&c->slot, c->most, sizeof *c->slot));
  REAP_TRY(reap_alloc(&c->first, ranks + 1, sizeof *c->first));
  REAP_TRY(reap_alloc(&c->channel, c->most, sizeof *c->channel));
  REAP_TRY(reap_alloc(&c->alive, c->most, sizeof *c->alive));
  REAP_TRY(reap_alloc(&c->growth, c->most, sizeof *c->growth));
  REAP_TRY(reap_alloc(&c->dual, square, sizeof *c->dual));
  REAP_TRY(reap_alloc(&c->product, square, sizeof *c->product));
  REAP_TRY(reap_alloc(&c->v, c->ld * width, sizeof *c->v));
  REAP_TRY(reap_alloc(&c->q, c->ld * width, sizeof *c->q));
  REAP_TRY(reap_alloc(&c->pivot, 2 * block * block + 2 * width * block, sizeof *c->pivot));
  if (block <= STAGE_TILES_WIDEST) REAP_TRY(stage_tiles_create(c->ld, width, &c->tiles));
  return channel_blocks_create(c->most, block, &c->blocks);
}

void stage_clear(stage *g) {
  candidates *c = &g->seen;
  reap_free(&g->slot);
  reap_free(&g->triangle);
  reap_free(&g->squares);
  reap_free(&g->v_rows);
  reap_free(&g->q_rows);
  reap_free(&g->z);
  reap_free(&c->slot);
  reap_free(&c->first);
  reap_free(&c->channel);
  reap_free(&c->alive);
  reap_free(&c->growth);
  reap_free(&c->dual);
  reap_free(&c->product);
  reap_free(&c->v);
  reap_free(&c->q);
  reap_free(&c->pivot);
  stage_tiles_clear(&c->tiles);
  channel_blocks_clear(&c->blocks);
}

/* ------------------------------------------------------------------ the choice */

static int by_growth(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->growth != y->growth) return x->growth < y->growth ? -1 : 1;
  return x->channel < y->channel ? -1 : x->channel > y->channel;
}

static int by_number(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* `pivot` and the cheapest of the others, `wanted` in all, into c->slot. What ties with the pivot costs the same: there the rule
 * takes the lowest channel. */
static void choose(const dual_system *d, int64_t pivot, const double *growth, int64_t wanted, ranked *all, candidates *c) {
  int64_t count = 0;
  const double limit = growth[pivot] + 2 * TIE * d->equations->energy;
  for (int64_t s = 0; s < d->slots; s++)
    if (d->alive[s] && s != pivot)
      all[count++] = (ranked){growth[s] <= limit ? growth[pivot] : growth[s], s, d->channel[s]};
  qsort(all, (size_t)count, sizeof *all, by_growth);
  c->count = 0;
  c->slot[c->count++] = pivot;
  for (int64_t k = 0; k < count && c->count < wanted; k++) c->slot[c->count++] = all[k].slot;
  qsort(c->slot, (size_t)c->count, sizeof *c->slot, by_number);
}

/* ------------------------------------------------------------------ their place: the end of each rank's slots */

/* Which slots change places, pair after pair: of rank r candidates from..end that are not among its last slots and those that are
 * there instead. */
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
    const int64_t x = pair[2 * p], y = pair[2 * p + 1], channel = d->channel[x], home = d->home[x];
    d->channel[x] = d->channel[y];
    d->home[x] = d->home[y];
    d->channel[y] = channel;
    d->home[y] = home;
  }
  if (d->comm && reap_comm_rank(d->comm) != rank) return;
  for (int64_t p = 0; p < 2 * count; p++) pair[p] -= d->own_first;
  if (d->weights) swap_rows(d->block, count, pair, d->m, d->weights, d->ldw);
  swap_rows(d->block, count, pair, d->k, d->v, d->stride);
  if (d->product) swap_rows(d->block, count, pair, d->k, d->q, d->stride);
  for (int64_t p = 0; p < count; p++) channel_blocks_swap(&d->blocks, pair[2 * p], pair[2 * p + 1]);
}

/* Candidates are moved to the end of each rank's slots. */
static void arrange(dual_system *d, int64_t *pair) {
  candidates *c = &d->stage.seen;
  const int ranks = d->comm ? reap_comm_size(d->comm) : 1;
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

/* The choice of the first rank, on all. */
static int choose_together(dual_system *d, int64_t pivot, const double *growth, int64_t wanted) {
  candidates *c = &d->stage.seen;
  ranked *all = NULL;
  int64_t *pair = NULL;
  int status = reap_alloc(&all, d->slots, sizeof *all);
  if (status == REAP_OK) status = reap_alloc(&pair, 2 * c->most, sizeof *pair);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) choose(d, pivot, growth, wanted < c->most ? wanted : c->most, all, c);
  if (status == REAP_OK && d->comm) status = reap_comm_broadcast(d->comm, c->slot, (size_t)c->count * sizeof *c->slot, 0);
  if (status == REAP_OK) arrange(d, pair);
  reap_free(&all);
  reap_free(&pair);
  return status;
}

/* ------------------------------------------------------------------ their rows and matrices */

/* Rows of the candidates of own rows a [own rows, columns], on all ranks. Without ranks they stand where they are. */
static int share_rows(const dual_system *d, const double *a, int64_t ld, int64_t columns, shared_rows *out) {
  const candidates *c = &d->stage.seen;
  const int64_t b = d->block;
  if (!d->comm) {
    *out = (shared_rows){.one = a + d->rows - c->count * b, .ld = ld};
    return REAP_OK;
  }
  const int rank = reap_comm_rank(d->comm);
  const int64_t from = c->first[rank], own = (c->first[rank + 1] - from) * b;
  int status = reap_alloc(&out->pieces, c->count * b * columns, sizeof *out->pieces);
  status = reap_comm_agree(d->comm, status);
  out->columns = columns;
  for (int64_t j = 0; status == REAP_OK && j < columns; j++)
    memcpy(out->pieces + from * b * columns + j * own, a + d->own_slots * b - own + j * ld, (size_t)own * sizeof *a);
  return status == REAP_OK ? reap_symmetric_collect(d->dual, c->first, columns, out->pieces) : status;
}

const double *shared_rows_of(const dual_system *d, const shared_rows *rows, int rank, int64_t *ld) {
  const int64_t *first = d->stage.seen.first, b = d->block;
  *ld = rows->one ? rows->ld : (first[rank + 1] - first[rank]) * b;
  return rows->one ? rows->one : rows->pieces + first[rank] * b * rows->columns;
}

/* The candidates' rows and columns of a matrix as it was factored: on the first rank, zero on the others. */
static int take_square(dual_system *d, reap_symmetric *matrix, double *out) {
  const candidates *c = &d->stage.seen;
  const int ranks = d->comm ? reap_comm_size(d->comm) : 1;
  int64_t *home = NULL;
  int status = reap_alloc(&home, c->count + ranks + 1, sizeof *home);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *first = home + c->count;
    for (int64_t s = 0; s < c->count; s++) home[s] = d->home[c->slot[s]];
    for (int r = 0; r <= ranks; r++) first[r] = r == 0 ? 0 : c->count;
    memset(out, 0, (size_t)(c->ld * c->count * d->block) * sizeof *out);
    status = reap_symmetric_gather_rows(matrix, REAP_LOWER, c->count, home, first, home, out, c->ld);
  }
  reap_free(&home);
  return status;
}

/* Lower triangle of out = alpha (x x', or x y' + y x') + beta out, from `count` columns of the candidates' rows. */
static int add_products(dual_system *d, const shared_rows *x, const shared_rows *y, int64_t column, int64_t count, double alpha,
                        double beta, double *out) {
  const candidates *c = &d->stage.seen;
  const int64_t b = d->block, ld = c->ld;
  const int ranks = d->comm ? reap_comm_size(d->comm) : 1;
  for (int i = 0; i < ranks; i++) {
    const int64_t size = (c->first[i + 1] - c->first[i]) * b;
    int64_t ldx, ldy;
    const double *xi = shared_rows_of(d, x, i, &ldx), *yi = y ? shared_rows_of(d, y, i, &ldy) : NULL;
    double *square = out + c->first[i] * b * (ld + 1);
    if (size == 0) continue;
    REAP_TRY(y ? reap_dsyr2k_lower(size, count, alpha, xi + column * ldx, ldx, yi + column * ldy, ldy, beta, square, ld)
               : reap_dsyrk_lower('N', size, count, alpha, xi + column * ldx, ldx, beta, square, ld));
    for (int j = 0; j < i; j++) {
      const int64_t width = (c->first[j + 1] - c->first[j]) * b;
      int64_t ldxj, ldyj;
      const double *xj = shared_rows_of(d, x, j, &ldxj), *yj = y ? shared_rows_of(d, y, j, &ldyj) : xj;
      double *part = out + c->first[i] * b + c->first[j] * b * ld;
      if (!y) ldyj = ldxj;
      if (width == 0) continue;
      REAP_TRY(reap_dgemm('N', 'T', size, width, count, alpha, xi + column * ldx, ldx, yj + column * ldyj, ldyj, beta, part, ld));
      if (y) REAP_TRY(reap_dgemm('N', 'T', size, width, count, alpha, yi + column * ldy, ldy, xj + column * ldxj, ldxj, 1, part, ld));
    }
  }
  return REAP_OK;
}

/* H_SS -= V_S V_S', and K_SS, lower triangles, this rank's columns of each. */
static int multiply(dual_system *d, const candidate_rows *rows) {
  candidates *c = &d->stage.seen;
  int64_t first, count;
  reap_symmetric_share(d->dual, d->k, &first, &count);
  REAP_TRY(add_products(d, &rows->v, NULL, first, count, -1, 1, c->dual));
  if (d->product) return add_products(d, &rows->v, &rows->other, first, count, -1, 1, c->product);
  reap_symmetric_share(d->dual, d->m, &first, &count);
  return add_products(d, &rows->other, NULL, first, count, 1, 0, c->product);
}

static int share(dual_system *d, candidate_rows *rows) {
  REAP_TRY(share_rows(d, d->v, d->stride, d->k, &rows->v));
  if (d->product) return share_rows(d, d->q, d->stride, d->k, &rows->other);
  return share_rows(d, d->weights, d->ldw, d->m, &rows->other);
}

int stage_gather(dual_system *d, int64_t pivot, const double *growth, candidate_rows *rows) {
  candidates *c = &d->stage.seen;
  REAP_TRY(choose_together(d, pivot, growth, candidates_for(d->block, d->stage.reach)));
  REAP_TRY(share(d, rows));
  REAP_TRY(take_square(d, d->dual, c->dual));
  if (d->product) REAP_TRY(take_square(d, d->product, c->product));
  const double start = reap_seconds();
  int status = multiply(d, rows);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  d->seconds_updates += reap_seconds() - start;
  REAP_TRY(status);
  const int64_t size = c->ld * c->count * d->block;
  REAP_TRY(reap_symmetric_sum(d->dual, c->dual, size));
  REAP_TRY(reap_symmetric_sum(d->dual, c->product, size));
  reap_mirror_lower(c->count * d->block, c->dual, c->ld);
  reap_mirror_lower(c->count * d->block, c->product, c->ld);
  return REAP_OK;
}
