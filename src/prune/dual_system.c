/* Setting up and factoring the dual system; see elimination.c for the method and panel.c for its update.
 *
 * K = W W' is formed as H (C C') H instead of (H C)(H C)' where that takes fewer operations, m > 2 n: n^2 m + 4 n^3
 * against 3 n^2 m. W itself is then never formed.
 */
#include "dual_system.h"

#include <math.h>
#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Below this reciprocal condition number J has fewer than nine digits of E, the tie rule's, in the worst cases seen. */
static const double LEAST_RCOND = 1e-13, EXCESS = 1e-9;

/* Ratio of the speed of level 3 to that of a product with a few columns (one channel's), by which operations of the
 * two routes are weighed. A rule of thumb: with OpenBLAS a product with nine columns was seen at 20 GF/s where a
 * rank-288 update ran at 51 to 60, and a single column is bound by memory. */
static double slowness(int64_t block) { return 1 + 12.0 / (double)block; }

/* Counted cost of both routes for removing half of the channels. */
static dual_route cheaper(int64_t n, int64_t m, int64_t block) {
  const double dn = (double)n, dm = (double)m, half = dn / 2;
  const double weights = (dn * dn - half * half) * dm * slowness(block);
  const double product = dn * dn * dm + 2.0 / 3 * (dn * dn * dn - half * half * half);
  return product < weights ? DUAL_ROUTE_PRODUCT : DUAL_ROUTE_WEIGHTS;
}

/* Columns of the panel: wide enough for level 3, narrow enough that forming a pivot's columns from it stays cheap. */
static int64_t panel_width(int64_t n, int64_t block) {
  int64_t width = n / 16;
  if (width < 64) width = 64;
  if (width > 384) width = 384;
  if (block == 1 && width > 96) width = 96;
  if (width > n) width = n;
  return (width + block - 1) / block * block;
}

int dual_create(reap_normal_equations *e, const reap_grid *grid, dual_route route, dual_system *d) {
  const int64_t b = e->source.block, m = e->source.m, n = e->n;
  memset(d, 0, sizeof *d);
  d->equations = e;
  d->comm = grid ? reap_grid_comm(grid) : NULL;
  d->block = b;
  d->n0 = n;
  d->width = panel_width(n, b);
  const bool by_product = (route == DUAL_ROUTE_AUTO ? cheaper(n, m, b) : route) == DUAL_ROUTE_PRODUCT;
  REAP_TRY(reap_symmetric_create(grid, e->slots, b, &d->dual));
  if (by_product) REAP_TRY(reap_symmetric_create(grid, e->slots, b, &d->product));
  reap_symmetric_share(d->dual, m, &d->m_first, &d->m_count);
  int status = reap_alloc(&d->channel, e->slots, sizeof *d->channel);
  if (status == REAP_OK) status = reap_alloc(&d->alive, e->slots, sizeof *d->alive);
  if (status == REAP_OK) status = reap_alloc(&d->v, n * d->width, sizeof *d->v);
  if (status == REAP_OK && by_product) status = reap_alloc(&d->q, n * d->width, sizeof *d->q);
  if (status == REAP_OK && !by_product) status = reap_alloc(&d->z, (d->m_count + 1) * d->width, sizeof *d->z);
  if (status == REAP_OK) status = reap_alloc(&d->work, 2 * n * b + 2 * d->width * b + b * b, sizeof *d->work);
  if (status == REAP_OK) status = reap_alloc(&d->own_q, n * b, sizeof *d->own_q);
  if (status == REAP_OK) status = reap_alloc(&d->pivot, 2 * b * b, sizeof *d->pivot);
  if (status == REAP_OK) status = reap_alloc(&d->right, 2 * d->width * b, sizeof *d->right);
  if (status == REAP_OK) status = channel_blocks_create(e->slots, b, &d->blocks);
  return d->comm ? reap_comm_agree(d->comm, status) : status;
}

void dual_clear(dual_system *d) {
  reap_normal_destroy(&d->equations);
  reap_symmetric_destroy(&d->dual);
  reap_symmetric_destroy(&d->product);
  reap_free(&d->channel);
  reap_free(&d->alive);
  reap_free(&d->weights);
  reap_free(&d->v);
  reap_free(&d->q);
  reap_free(&d->z);
  reap_free(&d->work);
  reap_free(&d->own_q);
  reap_free(&d->pivot);
  reap_free(&d->right);
  channel_blocks_clear(&d->blocks);
}

static double dot(const double *a, const double *b, int64_t count) {
  double sum[4] = {0};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (int l = 0; l < 4; l++) sum[l] += a[i + l] * b[i + l];
  for (; i < count; i++) sum[0] += a[i] * b[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* K = H S H with S = C C', and tr(W'C) = tr(S H). Local only: whole matrices pass through. */
static int product_of_cross(dual_system *d, const double *cross, double *explained) {
  const int64_t n = d->rows;
  int64_t *slot = NULL, size = 0;
  double *whole = NULL, *half = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_multiply(n, n, &size), done);
  REAP_TRY_OR(reap_alloc(&slot, d->slots, sizeof *slot), done);
  REAP_TRY_OR(reap_alloc(&whole, size, sizeof *whole), done);
  REAP_TRY_OR(reap_alloc(&half, size, sizeof *half), done);
  for (int64_t k = 0; k < d->slots; k++) slot[k] = k;
  REAP_TRY_OR(reap_symmetric_outer(d->product, d->slots, d->m_count, cross, n), done);
  REAP_TRY_OR(reap_symmetric_gather(d->dual, REAP_LOWER, d->slots, d->slots, slot, whole), done);
  REAP_TRY_OR(reap_symmetric_multiply(d->product, d->slots, n, whole, n, half, n), done);
  *explained = 0;
  for (int64_t i = 0; i < n; i++) *explained += half[i + i * n];
  REAP_TRY_OR(reap_symmetric_multiply(d->dual, d->slots, n, half, n, whole, n), done);
  status = reap_symmetric_put(d->product, REAP_LOWER, d->slots, d->slots, slot, whole);
done:
  reap_free(&slot);
  reap_free(&whole);
  reap_free(&half);
  return status;
}

/* W = H C (and K = W W') from fresh H, and J. */
static int solve_outputs(dual_system *d) {
  const int64_t n = d->rows, count = d->m_count;
  double *cross = NULL, explained = 0;
  int64_t size = 0, full = 0;
  int status = reap_multiply(n, count, &size);
  if (status == REAP_OK) status = reap_multiply(d->n0, count, &full);
  if (status == REAP_OK) status = reap_alloc(&cross, size, sizeof *cross);
  if (status == REAP_OK) status = reap_normal_cross(d->equations, d->slots, d->channel, d->m_first, count, cross);
  const bool whole = d->product && !d->comm && count > 2 * n;
  if (status == REAP_OK && !d->weights && !whole) status = reap_alloc(&d->weights, full, sizeof *d->weights);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK && whole) {
    status = product_of_cross(d, cross, &explained);
  } else if (status == REAP_OK) {
    status = reap_symmetric_multiply(d->dual, d->slots, count, cross, n, d->weights, d->n0);
    for (int64_t j = 0; j < count; j++) explained += dot(d->weights + j * d->n0, cross + j * n, n);
    if (status == REAP_OK && d->product) status = reap_symmetric_outer(d->product, d->slots, count, d->weights, d->n0);
    if (status == REAP_OK) status = reap_symmetric_sum(d->dual, &explained, 1);
  }
  reap_free(&cross);
  if (d->product) reap_free(&d->weights);
  d->error = d->equations->energy - explained;
  return status;
}

int dual_product_blocks(int64_t slots, int64_t block, int64_t m, const double *weights, int64_t ld, double *out) {
  const int64_t b = block;
  memset(out, 0, (size_t)(slots * b * b) * sizeof *out);
  for (int64_t j = 0; b < 4 && j < m; j++) /* a sweep over W in the order in which it lies */
    for (int64_t s = 0; s < slots; s++) {
      const double *row = weights + s * b + j * ld;
      for (int64_t q = 0; q < b; q++)
        for (int64_t p = 0; p < b; p++) out[s * b * b + p + q * b] += row[p] * row[q];
    }
  for (int64_t s = 0; b >= 4 && s < slots; s++)
    REAP_TRY(reap_dgemm('N', 'T', b, b, m, 1, weights + s * b, ld, weights + s * b, ld, 0, out + s * b * b, b));
  return REAP_OK;
}

static int product_blocks(dual_system *d, double *out) {
  REAP_TRY(dual_product_blocks(d->slots, d->block, d->m_count, d->weights, d->n0, out));
  return reap_symmetric_sum(d->dual, out, d->slots * d->block * d->block);
}

int dual_load_blocks(dual_system *d) {
  const int64_t size = d->slots * d->block * d->block;
  double *dual = NULL;
  int status = reap_alloc(&dual, 2 * size, sizeof *dual);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = reap_symmetric_blocks(d->dual, d->slots, dual);
  if (status == REAP_OK)
    status = d->product ? reap_symmetric_blocks(d->product, d->slots, dual + size) : product_blocks(d, dual + size);
  if (status == REAP_OK) channel_blocks_load(&d->blocks, d->slots, dual, dual + size);
  reap_free(&dual);
  return status;
}

/* From D G D + R below (and its norm) to H, W, J and the blocks. */
static int factor(dual_system *d, bool *singular) {
  double norm = 0, inverse_norm = 0;
  int64_t info = 0;
  d->residual = d->residual_fresh = 0;
  REAP_TRY(reap_symmetric_norm(d->dual, REAP_UPPER, d->slots, &norm));
  REAP_TRY(reap_symmetric_factor(d->dual, REAP_LOWER, d->slots, &info));
  *singular = info != 0;
  if (*singular) return REAP_OK;
  REAP_TRY(reap_symmetric_invert(d->dual, d->slots));
  REAP_TRY(reap_symmetric_norm(d->dual, REAP_LOWER, d->slots, &inverse_norm));
  const double rcond = 1 / (norm * inverse_norm);
  if (d->slots == d->equations->slots) d->rcond = rcond;
  /* A factorisation that went through by luck of rounding is not one, nor one that explains more than there is. */
  *singular = !(rcond > LEAST_RCOND);
  if (*singular) return REAP_OK;
  REAP_TRY(solve_outputs(d));
  *singular = !(d->error >= -EXCESS * d->equations->energy);
  if (*singular) return REAP_OK;
  return dual_load_blocks(d);
}

int dual_start(dual_system *d, bool *singular) {
  d->slots = d->n_alive = d->equations->slots;
  d->rows = d->equations->n;
  d->k = 0;
  for (int64_t k = 0; k < d->slots; k++) {
    d->channel[k] = d->equations->channel[k];
    d->alive[k] = true;
  }
  REAP_TRY(reap_normal_set(d->equations, d->dual));
  return factor(d, singular);
}

int dual_refresh(dual_system *d, bool *singular) {
  REAP_TRY(reap_symmetric_restore(d->dual, d->slots));
  return factor(d, singular);
}

int dual_growth(dual_system *d, double *growth) {
  REAP_TRY(channel_blocks_growth(&d->blocks, growth));
  for (int64_t s = 0; s < d->slots; s++)
    if (!d->alive[s]) growth[s] = NAN;
  return REAP_OK;
}

double dual_squares(const dual_system *d) { return channel_blocks_squares(&d->blocks, d->alive); }
