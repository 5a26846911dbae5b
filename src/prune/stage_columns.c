/* Columns of V and Q of the channels foreseen in a stage, all at once.
 *
 * With S those channels' columns in the order in which they go, T their Cholesky factor and Z Z' from stage_foresee.c, and V, Q
 * of what went before the stage,
 *
 *     V_new = (H_:S - V V_S') T^-T
 *     C = W Z', Z = T^-1 W_S                              by weights
 *     C = (K_:S - V Q_S' - Q V_S') T^-T                   by product
 *     Q_new = C - V_new U                                 U + U' = Z Z', U upper triangular
 *
 * for the rows of channels still there. The first columns of V_new and Q_new do not depend on the later ones, hence the removals at
 * the beginning of the stage stand where the rest comes otherwise than foreseen: W now = W - V Z, K now = K - V Q' - Q V' hold for
 * as many whole channels as have gone.
 *
 * Cost: with k columns of s channels 2 rows k s, by product three times that, by weights 2 rows m s more; 2 rows s^2; over the
 * ranks. Rows of H_:S and K_:S received.
 */
#include <string.h>

#include "dual_system.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

void stage_forget(stage *g) {
  g->count = g->next = 0;
  reap_free(&g->v_rows);
  reap_free(&g->q_rows);
  reap_free(&g->z);
}

/* Rows of `count` candidates at[..] from those of all: *out [count * b, columns]. */
static int pick(const stage *g, int64_t count, const int64_t *at, int64_t columns, const double *from, double **out) {
  const int64_t b = g->block, ld = g->seen.count * b, size = count * b;
  REAP_TRY(reap_alloc(out, size * columns, sizeof **out));
  for (int64_t j = 0; j < columns; j++)
    for (int64_t s = 0; s < count; s++) memcpy(*out + s * b + j * size, from + at[s] * b + j * ld, (size_t)b * sizeof **out);
  return REAP_OK;
}

/* The rows that stage_columns() wants, of the candidates that were foreseen. */
static int keep_rows(dual_system *d, const int64_t *at, const candidate_rows *rows) {
  stage *g = &d->stage;
  REAP_TRY(pick(g, g->count, at, d->k, rows->v, &g->v_rows));
  if (d->product) return pick(g, g->count, at, d->k, rows->q, &g->q_rows);
  REAP_TRY(pick(g, g->count, at, d->m, rows->w, &g->z));
  return reap_dtrsm('L', 'L', 'N', g->count * d->block, d->m, g->triangle, g->width, g->z, g->count * d->block);
}

/* What the first rank foresaw to all. */
static int broadcast(const dual_system *d, int64_t *at) {
  stage *g = (stage *)&d->stage;
  if (!d->comm) return REAP_OK;
  REAP_TRY(reap_comm_broadcast(d->comm, &g->count, sizeof g->count, 0));
  const size_t square = (size_t)(g->count * g->block * g->width) * sizeof(double);
  REAP_TRY(reap_comm_broadcast(d->comm, at, (size_t)g->count * sizeof *at, 0));
  REAP_TRY(reap_comm_broadcast(d->comm, g->triangle, square, 0));
  return reap_comm_broadcast(d->comm, g->squares, square, 0);
}

static int foresee(dual_system *d, int64_t pivot, int64_t left, int64_t *at) {
  stage *g = &d->stage;
  const candidates *c = &g->seen;
  int64_t first = 0, most = g->reach < left ? g->reach : left;
  int status = REAP_OK;
  if (most > c->count) most = c->count;
  while (c->slot[first] != pivot) first++;
  if (!d->comm || reap_comm_rank(d->comm) == 0) status = stage_foresee(g, first, most, TIE * d->equations->energy, at);
  return d->comm ? reap_comm_agree(d->comm, status) : status;
}

int stage_begin(dual_system *d, int64_t pivot, const double *growth, int64_t left) {
  stage *g = &d->stage;
  candidate_rows rows = {0};
  int64_t *at = NULL;
  stage_forget(g);
  int status = reap_alloc(&at, g->seen.most, sizeof *at);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = stage_gather(d, pivot, growth, &rows);
  if (status == REAP_OK) status = foresee(d, pivot, left, at);
  if (status == REAP_OK) status = broadcast(d, at);
  if (status == REAP_OK) {
    for (int64_t s = 0; s < g->count; s++) g->slot[s] = g->seen.slot[at[s]];
    status = keep_rows(d, at, &rows);
    if (d->comm) status = reap_comm_agree(d->comm, status);
  }
  reap_free(&at);
  reap_free(&rows.v);
  reap_free(&rows.q);
  reap_free(&rows.w);
  return status == REAP_OK && g->count > 0 ? stage_columns(d) : status;
}

/* Own rows of the foreseen channels' columns of a matrix as it was factored. */
static int take_columns(dual_system *d, reap_symmetric *matrix, double *out) {
  const stage *g = &d->stage;
  int64_t *home = NULL;
  int status = reap_alloc(&home, g->count, sizeof *home);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  for (int64_t k = 0; status == REAP_OK && k < g->count; k++) home[k] = d->home[g->slot[k]];
  if (status == REAP_OK)
    status = reap_symmetric_gather_rows(matrix, REAP_LOWER, g->count, home, d->share, d->home, out, d->stride);
  reap_free(&home);
  return status;
}

/* out [own rows, columns of the stage] -= a r' with a [own rows, k], r [columns of the stage, k]. */
static int subtract(const dual_system *d, const double *a, const double *r, double *out) {
  const int64_t size = d->stage.count * d->block, rows = d->own_slots * d->block;
  if (rows == 0 || d->k == 0) return REAP_OK;
  return reap_dgemm('N', 'T', rows, size, d->k, -1, a, d->stride, r, size, 1, out, d->stride);
}

static int form_dual(dual_system *d, double *v) {
  const stage *g = &d->stage;
  const int64_t rows = d->own_slots * d->block;
  REAP_TRY(subtract(d, d->v, g->v_rows, v));
  return rows == 0 ? REAP_OK : reap_dtrsm('R', 'L', 'T', rows, g->count * d->block, g->triangle, g->width, v, d->stride);
}

/* C in the place of Q. */
static int form_product(dual_system *d, double *q) {
  const stage *g = &d->stage;
  const int64_t rows = d->own_slots * d->block, size = g->count * d->block;
  if (rows == 0) return REAP_OK;
  if (!d->product)
    return reap_dgemm('N', 'T', rows, size, d->m, 1, d->weights, d->ldw, g->z, size, 0, q, d->stride);
  REAP_TRY(subtract(d, d->v, g->q_rows, q));
  REAP_TRY(subtract(d, d->q, g->v_rows, q));
  return reap_dtrsm('R', 'L', 'T', rows, size, g->triangle, g->width, q, d->stride);
}

/* Q = C - V U: U's columns are nonzero down to the diagonal only, so a few of them at a time. */
static int finish_product(dual_system *d, const double *v, double *q) {
  enum { SOME = 48 };
  stage *g = &d->stage;
  const int64_t rows = d->own_slots * d->block, size = g->count * d->block, ld = g->width;
  if (rows == 0) return REAP_OK;
  for (int64_t j = 0; j < size; j++) {
    g->squares[j + j * ld] /= 2;
    for (int64_t i = j + 1; i < size; i++) g->squares[i + j * ld] = 0;
  }
  for (int64_t j = 0; j < size; j += SOME) {
    const int64_t count = size - j < SOME ? size - j : SOME;
    REAP_TRY(reap_dgemm('N', 'N', rows, count, j + count, -1, v, d->stride, g->squares + j * ld, ld, 1, q + j * d->stride, d->stride));
  }
  return REAP_OK;
}

int stage_columns(dual_system *d) {
  double *v = d->v + d->k * d->stride, *q = dual_q_column(d, d->k);
  REAP_TRY(take_columns(d, d->dual, v));
  if (d->product) REAP_TRY(take_columns(d, d->product, q));
  const double start = reap_seconds();
  int status = form_dual(d, v);
  if (status == REAP_OK) status = form_product(d, q);
  if (status == REAP_OK) status = finish_product(d, v, q);
  d->seconds_updates += reap_seconds() - start;
  return d->comm ? reap_comm_agree(d->comm, status) : status;
}
