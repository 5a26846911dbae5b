/* Look-ahead: the order in which candidates go, from what is between them alone.
 *
 * The elimination as in elimination.c, on the candidates' own rows: with H_SS and K_SS as of the start of the stage and
 * the columns V, Q of the channels already in the order,
 *
 *     H now = H - V V'      K now = K - V Q' - Q V'
 *
 * and the cheapest channel s, H_ss = L L', adds V_new = H_:s L^-T and Q_new = P - V_new (Z_s Z_s') / 2, where Z_s =
 * L^-1 W_s, P = K_:s L^-T and Z_s Z_s' = L^-1 K_ss L^-T. For blocks wide enough these are BLAS calls for all rows;
 * narrow ones take a sweep over the rows that does everything at once (stage_tiles.c).
 *
 * The rows of V at the channels of the order are the Cholesky factor T of H there, and Z Z' = T^-1 K T^-T of all of
 * them.
 *
 * Cost: 3 rows k^2 for k columns, in the cache; k^3 for Z Z'. A block that is not positive definite ends the order.
 */
#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "linalg/dense.h"
#include "reap/error.h"

/* Rows of candidate `at` in the first k columns: out [b, k]. */
static void rows_of(int64_t b, int64_t k, const double *panel, int64_t ld, int64_t at, double *out) {
  for (int64_t t = 0; t < k; t++) memcpy(out + t * b, panel + at * b + t * ld, (size_t)b * sizeof *out);
}

/* L in place of H_ss, Z_s Z_s' = L^-1 K_ss L^-T in place of K_ss, and V_s, Q_s behind them in seen.pivot. */
static int prepare(stage *g, int64_t at, int64_t k, int64_t *info) {
  const int64_t b = g->block, squares = b * b;
  candidates *c = &g->seen;
  double *lower = c->pivot, *product = lower + squares, *rows = product + squares;
  reap_channel_blocks_get(&c->blocks, at, lower, product);
  REAP_TRY(reap_dpotrf_lower(b, lower, b, info));
  if (*info != 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('L', 'L', 'N', b, b, lower, b, product, b));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', b, b, lower, b, product, b));
  rows_of(b, k, c->v, c->ld, at, rows);
  rows_of(b, k, c->q, c->ld, at, rows + k * b);
  return REAP_OK;
}

/* The new columns of V and Q by BLAS. */
static int append_wide(const candidates *c, const stage_removal *r) {
  const int64_t b = r->block, rows = r->rows, ld = r->ld, k = r->k;
  const double *squares = r->pivot + b * b, *v_s = squares + b * b, *q_s = v_s + k * b;
  memcpy(r->v, r->dual, (size_t)(ld * b) * sizeof *r->v);
  memcpy(r->q, r->product, (size_t)(ld * b) * sizeof *r->q);
  if (k > 0) {
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, c->v, ld, v_s, b, 1, r->v, ld));
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, c->v, ld, q_s, b, 1, r->q, ld));
    REAP_TRY(reap_dgemm('N', 'T', rows, b, k, -1, c->q, ld, v_s, b, 1, r->q, ld));
  }
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, r->pivot, b, r->v, ld));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', rows, b, r->pivot, b, r->q, ld));
  return reap_dgemm('N', 'N', rows, b, b, -0.5, r->v, ld, squares, b, 1, r->q, ld);
}

/* The columns of candidate `at` behind k, the blocks they change, and T's next rows. */
static int append(stage *g, int64_t at, int64_t k) {
  const int64_t b = g->block;
  candidates *c = &g->seen;
  const stage_removal r = {.block = b,
                           .k = k,
                           .rows = c->count * b,
                           .ld = c->ld,
                           .pivot = c->pivot,
                           .dual = c->dual + at * b * c->ld,
                           .product = c->product + at * b * c->ld,
                           .v = c->v + k * c->ld,
                           .q = c->q + k * c->ld};
  if (b <= STAGE_TILES_WIDEST)
    reap_stage_tiles_append(&c->tiles, &r);
  else
    REAP_TRY(append_wide(c, &r));
  double *row = g->triangle + k;
  for (int64_t j = 0; j < k; j++) memcpy(row + j * g->width, c->pivot + 2 * b * b + j * b, (size_t)b * sizeof *row);
  for (int64_t j = 0; j < b; j++) memcpy(row + (k + j) * g->width, c->pivot + j * b, (size_t)b * sizeof *row);
  return reap_channel_blocks_update(&c->blocks, r.v, r.ld, r.q, r.ld);
}

/* Z Z' = T^-1 K T^-T of `count` candidates at[..]. */
static int form_squares(stage *g, int64_t count, const int64_t *at) {
  const int64_t b = g->block, k = count * b;
  const candidates *c = &g->seen;
  for (int64_t t = 0; t < count; t++)
    for (int64_t j = 0; j < b; j++)
      for (int64_t s = 0; s < count; s++)
        memcpy(g->squares + s * b + (t * b + j) * g->width, c->product + at[s] * b + (at[t] * b + j) * c->ld,
               (size_t)b * sizeof *g->squares);
  REAP_TRY(reap_dtrsm('L', 'L', 'N', k, k, g->triangle, g->width, g->squares, g->width));
  return reap_dtrsm('R', 'L', 'T', k, k, g->triangle, g->width, g->squares, g->width);
}

/* Diagonal blocks of the candidates' matrices; c->v is free for them. */
static void load_blocks(int64_t b, candidates *c) {
  double *dual = c->v, *product = c->q;
  for (int64_t s = 0; s < c->count; s++)
    for (int64_t j = 0; j < b; j++) {
      const int64_t from = s * b + (s * b + j) * c->ld, to = s * b * b + j * b;
      memcpy(dual + to, c->dual + from, (size_t)b * sizeof *dual);
      memcpy(product + to, c->product + from, (size_t)b * sizeof *product);
    }
  reap_channel_blocks_load(&c->blocks, c->count, dual, product);
}

int reap_stage_look_ahead(stage *g, int64_t pivot, int64_t most, double tie, int64_t *at) {
  candidates *c = &g->seen;
  load_blocks(g->block, c);
  for (int64_t s = 0; s < c->count; s++) c->alive[s] = true;
  g->count = 0;
  for (int64_t t = 0; t < most; t++) {
    int64_t next = pivot, info = 0;
    if (t > 0) {
      REAP_TRY(reap_channel_blocks_costs(&c->blocks, c->cost));
      next = reap_channel_blocks_cheapest(c->count, c->alive, c->channel, c->cost, tie);
    }
    if (next < 0) break;
    REAP_TRY(prepare(g, next, t * g->block, &info));
    if (info != 0) break;
    REAP_TRY(append(g, next, t * g->block));
    c->alive[next] = false;
    at[g->count++] = next;
  }
  return g->count > 0 ? form_squares(g, g->count, at) : REAP_OK;
}
