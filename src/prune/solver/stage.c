/* A stage from candidates to columns; see stage.h, and for each step stage_candidates.c, stage_gather.c,
 * stage_lookahead.c and stage_columns.c.
 *
 * The first rank looks ahead and broadcasts the order, T, Z Z' and the candidates' rows of the stage's columns.
 */
#include <string.h>

#include "dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_stage_create(int64_t slots, int64_t block, int ranks, int64_t width, int64_t removed, stage *g) {
  memset(g, 0, sizeof *g);
  candidates *c = &g->seen;
  g->block = block;
  g->width = width;
  const int64_t channels = width / block < removed ? width / block : removed;
  g->limit = channels;
  c->most = reap_stage_candidates_for(block, channels) < slots ? reap_stage_candidates_for(block, channels) : slots;
  c->ld = whole_lines(c->most * block);
  const int64_t square = c->ld * c->most * block;
  REAP_TRY(reap_alloc(&g->slot, width / block, sizeof *g->slot));
  REAP_TRY(reap_alloc(&g->triangle, width * width, sizeof *g->triangle));
  REAP_TRY(reap_alloc(&g->squares, width * width, sizeof *g->squares));
  REAP_TRY(reap_alloc(&c->slot, c->most, sizeof *c->slot));
  REAP_TRY(reap_alloc(&c->first, ranks + 1, sizeof *c->first));
  REAP_TRY(reap_alloc(&c->channel, c->most, sizeof *c->channel));
  REAP_TRY(reap_alloc(&c->alive, c->most, sizeof *c->alive));
  REAP_TRY(reap_alloc(&c->cost, c->most, sizeof *c->cost));
  REAP_TRY(reap_alloc(&c->dual, square, sizeof *c->dual));
  REAP_TRY(reap_alloc(&c->product, square, sizeof *c->product));
  REAP_TRY(reap_alloc(&c->v, c->ld * width, sizeof *c->v));
  REAP_TRY(reap_alloc(&c->q, c->ld * width, sizeof *c->q));
  REAP_TRY(reap_alloc(&c->pivot, 2 * block * block + 2 * width * block, sizeof *c->pivot));
  if (block <= STAGE_TILES_WIDEST) REAP_TRY(reap_stage_tiles_create(c->ld, width, &c->tiles));
  return reap_channel_blocks_create(c->most, block, &c->blocks);
}

void reap_stage_clear(stage *g) {
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
  reap_free(&c->cost);
  reap_free(&c->dual);
  reap_free(&c->product);
  reap_free(&c->v);
  reap_free(&c->q);
  reap_free(&c->pivot);
  reap_stage_tiles_clear(&c->tiles);
  reap_channel_blocks_clear(&c->blocks);
}

void reap_stage_forget(stage *g) {
  g->count = g->next = 0;
  reap_free(&g->v_rows);
  reap_free(&g->q_rows);
  reap_free(&g->z);
}

/* The first rank's look-ahead to all. */
static int broadcast(dual_system *d, int64_t *at) {
  stage *g = &d->stage;
  if (!d->comm) return REAP_OK;
  REAP_TRY(reap_comm_broadcast(d->comm, &g->count, sizeof g->count, 0));
  const int64_t columns = g->count * g->block;
  const size_t square = (size_t)(columns * g->width) * sizeof(double),
               rows = (size_t)(columns * g->seen.ld) * sizeof(double);
  REAP_TRY(reap_comm_broadcast(d->comm, at, (size_t)g->count * sizeof *at, 0));
  REAP_TRY(reap_comm_broadcast(d->comm, g->triangle, square, 0));
  REAP_TRY(reap_comm_broadcast(d->comm, g->squares, square, 0));
  REAP_TRY(reap_comm_broadcast(d->comm, g->seen.v, rows, 0));
  return reap_comm_broadcast(d->comm, g->seen.q, rows, 0);
}

/* channel: the first to go. */
static int look_ahead(dual_system *d, int64_t channel, int64_t left, int64_t *at) {
  stage *g = &d->stage;
  const candidates *c = &g->seen;
  int64_t first = 0, most = g->limit < left ? g->limit : left;
  int status = REAP_OK;
  if (most > c->count) most = c->count;
  while (c->channel[first] != channel) first++;
  if (!d->comm || reap_comm_rank(d->comm) == 0)
    status = reap_stage_look_ahead(g, first, most, DUAL_TIE * d->equations->energy, at);
  return reap_comm_agree(d->comm, status);
}

int reap_stage_begin(dual_system *d, int64_t pivot, const double *cost, int64_t left) {
  stage *g = &d->stage;
  const int64_t channel = d->channel[pivot];
  candidate_rows rows = {0};
  int64_t *at = NULL;
  reap_stage_forget(g);
  int status = reap_alloc(&at, g->seen.most, sizeof *at);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = reap_stage_choose(d, pivot, cost);
  if (status == REAP_OK) status = reap_stage_gather(d, &rows);
  if (status == REAP_OK) status = look_ahead(d, channel, left, at);
  if (status == REAP_OK) status = broadcast(d, at);
  if (status == REAP_OK) {
    for (int64_t s = 0; s < g->count; s++) g->slot[s] = g->seen.slot[at[s]];
    status = reap_stage_keep_rows(d, at, &rows);
    status = reap_comm_agree(d->comm, status);
  }
  reap_free(&at);
  reap_free(&rows.v.pieces);
  reap_free(&rows.other.pieces);
  return status == REAP_OK && g->count > 0 ? reap_stage_columns(d) : status;
}
