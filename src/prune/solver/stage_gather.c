/* What H, K, V, Q and W hold of a stage's candidates.
 *
 * With S their columns and all columns of V, Q so far,
 *
 *     H_SS - V_S V_S'        by product K_SS - V_S Q_S' - Q_S V_S',  by weights W_S W_S'
 *
 * is all that the choice among them depends on. Their rows of V, Q and W go to every rank: stage_columns.c wants those
 * of the channels that the look-ahead picks. The products are shared out by columns of V and W and summed on all ranks,
 * the first one adds H_SS.
 *
 * Cost: s^2 k for s candidates and the k columns of V, three times that by product, s^2 m by weights, over the ranks; s
 * k and s m elements received. Memory: s k, s m, and 2 s^2 for the matrices.
 */
#include <string.h>

#include "base/timer.h"
#include "dual_system.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

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

const double *reap_stage_rows_of(const dual_system *d, const shared_rows *rows, int rank, int64_t *ld) {
  const int64_t *first = d->stage.seen.first, b = d->block;
  *ld = rows->one ? rows->ld : (first[rank + 1] - first[rank]) * b;
  return rows->one ? rows->one : rows->pieces + first[rank] * b * rows->columns;
}

/* The candidates' rows and columns of a matrix as it was factored: on the first rank, zero on the others. */
static int take_square(dual_system *d, reap_symmetric *matrix, double *out) {
  const candidates *c = &d->stage.seen;
  const int ranks = dual_ranks(d);
  int64_t *original = NULL;
  int status = reap_alloc(&original, c->count + ranks + 1, sizeof *original);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) {
    int64_t *first = original + c->count;
    for (int64_t s = 0; s < c->count; s++) original[s] = d->original[c->slot[s]];
    for (int r = 0; r <= ranks; r++) first[r] = r == 0 ? 0 : c->count;
    memset(out, 0, (size_t)(c->ld * c->count * d->block) * sizeof *out);
    status = reap_symmetric_gather_rows(matrix, REAP_LOWER, c->count, original, first, original, out, c->ld);
  }
  reap_free(&original);
  return status;
}

/* Lower triangle of out = alpha (x x', or x y' + y x') + beta out, from `count` columns of the candidates' rows. */
static int add_products(dual_system *d, const shared_rows *x, const shared_rows *y, int64_t column, int64_t count,
                        double alpha, double beta, double *out) {
  const candidates *c = &d->stage.seen;
  const int64_t b = d->block, ld = c->ld;
  const int ranks = dual_ranks(d);
  for (int i = 0; i < ranks; i++) {
    const int64_t size = (c->first[i + 1] - c->first[i]) * b;
    int64_t ldx, ldy;
    const double *xi = reap_stage_rows_of(d, x, i, &ldx), *yi = y ? reap_stage_rows_of(d, y, i, &ldy) : NULL;
    double *square = out + c->first[i] * b * (ld + 1);
    if (size == 0) continue;
    REAP_TRY(y ? reap_dsyr2k_lower(size, count, alpha, xi + column * ldx, ldx, yi + column * ldy, ldy, beta, square, ld)
               : reap_dsyrk_lower('N', size, count, alpha, xi + column * ldx, ldx, beta, square, ld));
    for (int j = 0; j < i; j++) {
      const int64_t width = (c->first[j + 1] - c->first[j]) * b;
      int64_t ldxj, ldyj;
      const double *xj = reap_stage_rows_of(d, x, j, &ldxj), *yj = y ? reap_stage_rows_of(d, y, j, &ldyj) : xj;
      double *part = out + c->first[i] * b + c->first[j] * b * ld;
      if (!y) ldyj = ldxj;
      if (width == 0) continue;
      REAP_TRY(reap_dgemm('N', 'T', size, width, count, alpha, xi + column * ldx, ldx, yj + column * ldyj, ldyj, beta,
                          part, ld));
      if (y)
        REAP_TRY(reap_dgemm('N', 'T', size, width, count, alpha, yi + column * ldy, ldy, xj + column * ldxj, ldxj, 1,
                            part, ld));
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

int reap_stage_gather(dual_system *d, candidate_rows *rows) {
  candidates *c = &d->stage.seen;
  REAP_TRY(share(d, rows));
  REAP_TRY(take_square(d, d->dual, c->dual));
  if (d->product) REAP_TRY(take_square(d, d->product, c->product));
  const double start = reap_seconds();
  int status = multiply(d, rows);
  status = reap_comm_agree(d->comm, status);
  d->seconds_updates += reap_seconds() - start;
  REAP_TRY(status);
  const int64_t size = c->ld * c->count * d->block;
  REAP_TRY(reap_symmetric_sum(d->dual, c->dual, size));
  REAP_TRY(reap_symmetric_sum(d->dual, c->product, size));
  reap_mirror_lower(c->count * d->block, c->dual, c->ld);
  reap_mirror_lower(c->count * d->block, c->product, c->ld);
  return REAP_OK;
}
