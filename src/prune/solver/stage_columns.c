/* Columns of V and Q of the channels that a stage looks ahead to, all at once.
 *
 * With S those channels' columns in the order in which they go, T their Cholesky factor and Z Z' from
 * stage_lookahead.c, and V, Q of what went before the stage,
 *
 *     V_new = (H_:S - V V_S') T^-T
 *     C = W Z', Z = T^-1 W_S                              by weights
 *     C = (K_:S - V Q_S' - Q V_S') T^-T                   by product
 *     Q_new = C - V_new U                                 U + U' = Z Z', U zero below its diagonal blocks
 *
 * for the rows of channels still there but candidates, whose rows stage_lookahead.c has already. The first columns of
 * V_new and Q_new do not depend on the later ones, hence the removals at the beginning of the stage stand where the
 * rest comes in another order: W now = W - V Z, K now = K - V Q' - Q V' hold for as many whole channels as have
 * gone.
 *
 * Cost: with k columns of s channels 2 rows k s, by product three times that, by weights 2 rows m s more; 2 rows s^2;
 * over the ranks. Rows of H_:S and K_:S received.
 */
#include <string.h>

#include "base/timer.h"
#include "dual_system.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Rows of the channels looked ahead to, candidates at[..], from those of all: *out [their columns, columns]. */
static int pick(const dual_system *d, const int64_t *at, int64_t columns, const shared_rows *rows, double **out) {
  const stage *g = &d->stage;
  const int64_t b = g->block, count = g->count, size = count * b, *first = g->seen.first;
  const int ranks = dual_ranks(d);
  REAP_TRY(reap_alloc(out, size * columns, sizeof **out));
  for (int rank = 0; rank < ranks; rank++) {
    int64_t ld;
    const double *from = reap_stage_rows_of(d, rows, rank, &ld);
    for (int64_t j = 0; first[rank] < first[rank + 1] && j < columns; j++) /* candidates are neighbours in a column */
      for (int64_t s = 0; s < count; s++)
        if (at[s] >= first[rank] && at[s] < first[rank + 1])
          memcpy(*out + s * b + j * size, from + (at[s] - first[rank]) * b + j * ld, (size_t)b * sizeof **out);
  }
  return REAP_OK;
}

int reap_stage_keep_rows(dual_system *d, const int64_t *at, const candidate_rows *rows) {
  stage *g = &d->stage;
  REAP_TRY(pick(d, at, d->k, &rows->v, &g->v_rows));
  if (d->product) return pick(d, at, d->k, &rows->other, &g->q_rows);
  const int64_t size = g->count * d->block;
  double *w = NULL;
  int status = pick(d, at, d->m, &rows->other, &w);
  if (status == REAP_OK) status = reap_alloc(&g->z, d->m * size, sizeof *g->z);
  if (status == REAP_OK) {
    reap_transpose(size, d->m, w, size, g->z, d->m);
    status = reap_dtrsm_tall('T', d->m, size, g->triangle, g->width, g->z, d->m);
  }
  reap_free(&w);
  return status;
}

/* Own slots that are no candidates: all but the last ones. */
static int64_t others(const dual_system *d, int rank) {
  const int64_t *first = d->stage.seen.first;
  return d->share[rank + 1] - d->share[rank] - (first[rank + 1] - first[rank]);
}

static int64_t other_rows(const dual_system *d) { return others(d, dual_rank(d)) * d->block; }

/* Rows of other slots in the stage's columns of a matrix as it was factored. */
static int take_columns(dual_system *d, reap_symmetric *matrix, double *out) {
  const stage *g = &d->stage;
  const int ranks = dual_ranks(d);
  int64_t *original = NULL;
  int status = reap_alloc(&original, g->count + d->slots + ranks + 1, sizeof *original);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *row = original + g->count, *first = row + d->slots, count = 0;
    for (int64_t k = 0; k < g->count; k++) original[k] = d->original[g->slot[k]];
    first[0] = 0;
    for (int r = 0; r < ranks; r++) {
      for (int64_t s = 0; s < others(d, r); s++) row[count++] = d->original[d->share[r] + s];
      first[r + 1] = count;
    }
    status = reap_symmetric_gather_rows(matrix, REAP_LOWER, g->count, original, first, row, out, d->stride);
  }
  reap_free(&original);
  return status;
}

/* out [rows of others, columns of the stage] -= a r' with a [own rows, k], r [columns of the stage, k]. */
static int subtract(const dual_system *d, const double *a, const double *r, double *out) {
  const int64_t size = d->stage.count * d->block, rows = other_rows(d);
  if (rows == 0 || d->k == 0) return REAP_OK;
  return reap_dgemm('N', 'T', rows, size, d->k, -1, a, d->stride, r, size, 1, out, d->stride);
}

static int form_dual(dual_system *d, double *v) {
  const stage *g = &d->stage;
  const int64_t rows = other_rows(d);
  REAP_TRY(subtract(d, d->v, g->v_rows, v));
  return rows == 0 ? REAP_OK : reap_dtrsm_tall('T', rows, g->count * d->block, g->triangle, g->width, v, d->stride);
}

/* C in the place of Q. */
static int form_product(dual_system *d, double *q) {
  const stage *g = &d->stage;
  const int64_t rows = other_rows(d), size = g->count * d->block;
  if (rows == 0) return REAP_OK;
  if (!d->product) return reap_dgemm('N', 'N', rows, size, d->m, 1, d->weights, d->ldw, g->z, d->m, 0, q, d->stride);
  REAP_TRY(subtract(d, d->v, g->q_rows, q));
  REAP_TRY(subtract(d, d->q, g->v_rows, q));
  return reap_dtrsm_tall('T', rows, size, g->triangle, g->width, q, d->stride);
}

/* Q = C - V U; U, whose blocks below those of the diagonal are zero, takes the place of Z Z'. A few columns at a time.
 */
static int finish_product(dual_system *d, const double *v, double *q) {
  enum { SOME = 48 };
  stage *g = &d->stage;
  const int64_t b = d->block, rows = other_rows(d), size = g->count * b, ld = g->width, some = (SOME + b - 1) / b * b;
  if (rows == 0) return REAP_OK;
  for (int64_t j = 0; j < size; j++) {
    const int64_t from = j / b * b;
    for (int64_t i = from; i < from + b; i++) g->squares[i + j * ld] /= 2;
    for (int64_t i = from + b; i < size; i++) g->squares[i + j * ld] = 0;
  }
  for (int64_t j = 0; j < size; j += some) {
    const int64_t count = size - j < some ? size - j : some;
    REAP_TRY(reap_dgemm('N', 'N', rows, count, j + count, -1, v, d->stride, g->squares + j * ld, ld, 1,
                        q + j * d->stride, d->stride));
  }
  return REAP_OK;
}

/* Candidates' own rows of the stage's columns are those of the look-ahead. */
static void copy_candidates(const dual_system *d, const double *from, double *out) {
  const candidates *c = &d->stage.seen;
  const int64_t b = d->block, first = c->first[dual_rank(d)], rows = other_rows(d);
  const int64_t count = d->own_slots * b - rows;
  for (int64_t j = 0; j < d->stage.count * b; j++)
    memcpy(out + rows + j * d->stride, from + first * b + j * c->ld, (size_t)count * sizeof *out);
}

int reap_stage_columns(dual_system *d) {
  double *v = d->v + d->k * d->stride, *q = dual_q_column(d, d->k);
  REAP_TRY(take_columns(d, d->dual, v));
  if (d->product) REAP_TRY(take_columns(d, d->product, q));
  const double start = reap_seconds();
  int status = form_dual(d, v);
  if (status == REAP_OK) status = form_product(d, q);
  if (status == REAP_OK) status = finish_product(d, v, q);
  copy_candidates(d, d->stage.seen.v, v);
  copy_candidates(d, d->stage.seen.q, q);
  d->seconds_updates += reap_seconds() - start;
  return reap_comm_agree(d->comm, status);
}
