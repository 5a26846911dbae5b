/* What given weights leave of a layer's outputs, block by block; see row_residual.h.
 *
 * Cost: 2 a m multiply-adds for each row, a columns kept; a chunk of rows, and TILE_ROWS of products. Every block has a
 * place of its own in the sums: the result does not depend on the number of ranks.
 */
#include "row_residual.h"

#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct residual {
  int64_t columns, m; /* of X, of Y */
  const double *weights, *bias;
  double *product; /* [TILE_ROWS, m] */
  reap_held_out_sums sums;
} residual;

enum { TILE_ROWS = 256 };

static int use_residual(residual *r, int64_t block, int64_t samples, const double *x, const double *y) {
  const int64_t m = r->m;
  for (int64_t from = 0; from < samples; from += TILE_ROWS) {
    const int64_t count = samples - from < TILE_ROWS ? samples - from : TILE_ROWS;
    REAP_TRY(reap_dgemm('N', 'N', m, count, r->columns, 1, r->weights, m, x + from * r->columns, r->columns, 0,
                        r->product, m));
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < m; j++) {
        const double value = y[(from + i) * m + j], rest = value - r->product[i * m + j] - r->bias[j];
        r->sums.errors[block] += rest * rest;
        r->sums.squares[block] += value * value;
        r->sums.y[j] += value;
      }
  }
  r->sums.samples += samples;
  return REAP_OK;
}

static int residual_blocks(const reap_samples *s, bool held_out, reap_rows *rows, residual *r) {
  for (int64_t b = 0, count = 0; b < reap_samples_blocks(s); b++) {
    const reap_walk walk = {.part = held_out ? REAP_HELD_OUT : REAP_IN_SUMS, .begin = b, .end = b + 1, .y_count = r->m};
    reap_rows_start(rows, &walk);
    do {
      REAP_TRY(reap_rows_next(rows, &count));
      REAP_TRY(use_residual(r, s->shard.first + b, count, rows->x, rows->y));
    } while (count > 0);
  }
  return REAP_OK;
}

int reap_row_residual(const reap_comm *comm, const reap_samples *samples, bool held_out, int64_t n_kept,
                      const int64_t *kept, const double *weights, const double *bias, reap_held_out_error *out) {
  const int64_t m = samples->layer.m;
  residual r = {.columns = n_kept * samples->layer.block, .m = m, .weights = weights, .bias = bias};
  reap_rows rows = {0};
  int status = reap_rows_open(samples, n_kept, kept, m, &rows);
  if (status == REAP_OK) status = reap_alloc(&r.product, TILE_ROWS * m, sizeof *r.product);
  if (status == REAP_OK) status = reap_held_out_begin(samples->shard.blocks, m, &r.sums);
  if (status == REAP_OK) status = residual_blocks(samples, held_out, &rows, &r);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_held_out_finish(comm, &r.sums, out);
  reap_rows_clear(&rows);
  reap_free(&r.product);
  reap_held_out_clear(&r.sums);
  return status;
}
