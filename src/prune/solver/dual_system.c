/* Setting up and factoring the dual system; see elimination.c for the method and panel.c for a removal.
 *
 * K = W W' is formed as H (C C') H instead of (H C)(H C)' where that takes fewer operations, m > 2 n: n^2 m + 4 n^3
 * against 3 n^2 m. W itself is then never formed.
 */
#include "dual_system.h"

#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Below this reciprocal condition number J has fewer than nine digits of E, the tie rule's, in the worst cases seen. */
static const double LEAST_RCOND = 1e-13, EXCESS = 1e-9;

/* Counted cost of both routes for removing the share f of the channels. */
static dual_route cheaper(int64_t n, int64_t m, int64_t removed) {
  const double dn = (double)n, dm = (double)m, f = (double)removed / dn;
  const double weights = 2 * (2 * f - f * f) * dn * dn * dm;
  const double product = dn * dn * dm + 2 * (f * f - 2 * f * f * f / 3) * dn * dn * dn;
  return product < weights ? DUAL_ROUTE_PRODUCT : DUAL_ROUTE_WEIGHTS;
}

/* Columns of a stage: wide enough for level 3, narrow enough that what they do to each other stays cheap and that the
 * look-ahead is mostly right about the order in which their channels go. */
static int64_t stage_width(int64_t n, int64_t block) {
  int64_t width = n / 16;
  if (width < 64) width = 64;
  if (width > 144) width = 144;
  if (n / 40 > width) width = n / 40;
  if (width > 240) width = 240;
  if (width > n) width = n;
  return (width + block - 1) / block * block;
}

/* Elements of V at most: rows get fewer as columns get more. Dead rows are dropped late, see panel.c. */
static int64_t largest_factor(int64_t own, int64_t n, int64_t removed, int64_t width) {
  double most = 0;
  for (int64_t k = 0; k < removed; k += width) {
    const double rows = fmin((double)own, 1.15 * (double)(n - k) + (double)width);
    most = fmax(most, (rows + 16) * (double)(k + width));
  }
  return (int64_t)most;
}

void reap_dual_share_slots(dual_system *d) {
  const int ranks = dual_ranks(d);
  d->share[0] = 0;
  for (int r = 0; r < ranks; r++) {
    int64_t first;
    reap_comm_share(d->slots, r, ranks, &first, &d->share[r + 1]);
  }
  reap_dual_note_share(d);
  d->tight_slots = d->slots;
}

void reap_dual_note_share(dual_system *d) {
  const int rank = dual_rank(d);
  d->own_first = d->share[rank];
  d->own_slots = d->share[rank + 1] - d->share[rank];
  d->stride = whole_lines(d->own_slots * d->block);
}

/* Everything that is as long as there are slots, and each rank's part of it. */
static int allocate(dual_system *d, int64_t removed) {
  const int64_t b = d->block, slots = d->n_original;
  int64_t most = 0;
  REAP_TRY(reap_alloc(&d->share, (dual_ranks(d)) + 1, sizeof *d->share));
  d->slots = slots;
  reap_dual_share_slots(d);
  most = d->own_slots + 1; /* shares are made anew when the system is refreshed with fewer slots */
  REAP_TRY(reap_alloc(&d->channel, slots, sizeof *d->channel));
  REAP_TRY(reap_alloc(&d->original, slots, sizeof *d->original));
  REAP_TRY(reap_alloc(&d->alive, slots, sizeof *d->alive));
  const int64_t factor = largest_factor(most * b, d->n0, removed * b, d->width);
  REAP_TRY(reap_alloc(&d->v, factor, sizeof *d->v));
  REAP_TRY(reap_alloc(&d->q, d->product ? factor : whole_lines(most * b) * d->width, sizeof *d->q));
  REAP_TRY(reap_alloc(&d->check, (most + 2) * b * b, sizeof *d->check));
  REAP_TRY(reap_channel_blocks_create(most, b, &d->blocks));
  return reap_stage_create(slots, b, dual_ranks(d), d->width, removed, &d->stage);
}

int reap_dual_create(reap_normal_equations *e, const reap_grid *grid, int64_t removed, dual_route route,
                     dual_system *d) {
  const int64_t b = e->gram.block, m = e->gram.m, n = e->n;
  memset(d, 0, sizeof *d);
  d->equations = e;
  d->comm = reap_grid_comm(grid);
  d->block = b;
  d->n_original = e->slots;
  d->n0 = n;
  d->m = m;
  d->width = stage_width(n, b);
  const bool by_product = (route == DUAL_ROUTE_AUTO ? cheaper(n, m, removed * b) : route) == DUAL_ROUTE_PRODUCT;
  REAP_TRY(reap_symmetric_create(grid, e->slots, b, &d->dual));
  if (by_product) REAP_TRY(reap_symmetric_create(grid, e->slots, b, &d->product));
  reap_symmetric_share(d->dual, m, &d->m_first, &d->m_count);
  const int status = allocate(d, removed);
  return reap_comm_agree(d->comm, status);
}

void reap_dual_clear(dual_system *d) {
  reap_normal_destroy(&d->equations);
  reap_symmetric_destroy(&d->dual);
  reap_symmetric_destroy(&d->product);
  reap_free(&d->channel);
  reap_free(&d->original);
  reap_free(&d->alive);
  reap_free(&d->share);
  reap_free(&d->weights);
  reap_free(&d->v);
  reap_free(&d->q);
  reap_free(&d->check);
  reap_stage_clear(&d->stage);
  reap_channel_blocks_clear(&d->blocks);
}

/* The lower triangle of H (S H) in place of `half` = S H: only that much of the symmetric result, by column panels. */
static int lower_product(int64_t n, const double *whole, double *half) {
  enum { WIDTH = 256 };
  double *panel = NULL;
  int status = reap_alloc(&panel, n * WIDTH, sizeof *panel);
  for (int64_t j = 0; status == REAP_OK && j < n; j += WIDTH) {
    const int64_t width = n - j < WIDTH ? n - j : WIDTH, rows = n - j;
    status = reap_dgemm('N', 'N', rows, width, n, 1, whole + j, n, half + j * n, n, 0, panel, rows);
    for (int64_t t = 0; t < width; t++) memcpy(half + j + (j + t) * n, panel + t * rows, (size_t)rows * sizeof *panel);
  }
  reap_free(&panel);
  if (status == REAP_OK) reap_mirror_lower(n, half, n);
  return status;
}

/* K = H S H with S = C C' in the lower matrix of `product`, and tr(W'C) = tr(S H). Local only: whole matrices pass
 * through. */
static int product_of_cross(dual_system *d, double *explained) {
  const int64_t n = d->rows;
  int64_t *slot = NULL, size = 0;
  double *whole = NULL, *half = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_multiply(n, n, &size), done);
  REAP_TRY_OR(reap_alloc(&slot, d->slots, sizeof *slot), done);
  REAP_TRY_OR(reap_alloc(&whole, size, sizeof *whole), done);
  REAP_TRY_OR(reap_alloc(&half, size, sizeof *half), done);
  for (int64_t k = 0; k < d->slots; k++) slot[k] = k;
  REAP_TRY_OR(reap_symmetric_gather(d->dual, REAP_LOWER, d->slots, d->slots, slot, whole), done);
  REAP_TRY_OR(reap_symmetric_multiply(d->product, d->slots, n, whole, n, half, n), done);
  *explained = 0;
  for (int64_t i = 0; i < n; i++) *explained += half[i + i * n];
  REAP_TRY_OR(lower_product(n, whole, half), done);
  status = reap_symmetric_put(d->product, REAP_LOWER, d->slots, d->slots, slot, half);
done:
  reap_free(&slot);
  reap_free(&whole);
  reap_free(&half);
  return status;
}

/* C into the place of W, or S = C C' into that of K. */
static int load_cross(dual_system *d, bool by_cross) {
  int64_t size = 0;
  int status = reap_multiply(d->n0, d->m_count, &size);
  d->ldw = d->rows;
  if (d->comm) reap_free(&d->weights); /* by rows, of another factorisation */
  if (status == REAP_OK && !d->weights) status = reap_alloc(&d->weights, size, sizeof *d->weights);
  if (status == REAP_OK)
    status = reap_normal_cross(d->equations, d->slots, d->channel, d->m_first, d->m_count, d->weights);
  status = reap_comm_agree(d->comm, status);
  if (status != REAP_OK || !by_cross) return status;
  status = reap_symmetric_outer(d->product, d->slots, d->m_count, d->weights, d->ldw);
  reap_free(&d->weights);
  return status;
}

int reap_dual_product_blocks(int64_t slots, int64_t block, int64_t m, const double *weights, int64_t ld, double *out) {
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

int reap_dual_load_blocks(dual_system *d, bool dual) {
  const int64_t square = d->block * d->block, own = d->own_first * square;
  double *blocks = NULL;
  int status = reap_alloc(&blocks, d->slots * square, sizeof *blocks);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK && dual) status = reap_symmetric_blocks(d->dual, d->n_original, blocks);
  if (status == REAP_OK && dual) reap_channel_blocks_load(&d->blocks, d->own_slots, blocks + own, NULL);
  if (status == REAP_OK)
    status = d->product ? reap_symmetric_blocks(d->product, d->n_original, blocks)
                        : reap_dual_product_blocks(d->own_slots, d->block, d->m, d->weights, d->ldw, blocks + own);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) reap_channel_blocks_load(&d->blocks, d->own_slots, NULL, blocks + own);
  reap_free(&blocks);
  return status;
}

/* W, solved for by outputs, from now on by rows: what is done with it then is within each rank. */
static int weights_by_rows(dual_system *d) {
  double *own = NULL;
  int64_t size = 0;
  if (!d->comm) return REAP_OK;
  int status = reap_multiply(d->own_slots * d->block, d->m, &size);
  if (status == REAP_OK) status = reap_alloc(&own, size, sizeof *own);
  status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = reap_symmetric_to_rows(d->dual, d->share, d->m, d->weights, own);
  reap_free(&d->weights);
  d->weights = own;
  d->ldw = d->own_slots * d->block;
  return status;
}

/* H, and W (and K) from C, and J. */
static int invert(dual_system *d, bool by_cross, int64_t *info) {
  double explained = 0;
  REAP_TRY(reap_symmetric_sweep(d->dual, d->slots, d->weights ? d->m_count : 0, d->weights, d->ldw, &explained, info));
  if (*info != 0) return REAP_OK;
  if (by_cross) {
    REAP_TRY(product_of_cross(d, &explained));
  } else {
    if (d->product) REAP_TRY(reap_symmetric_outer(d->product, d->slots, d->m_count, d->weights, d->ldw));
    REAP_TRY(reap_symmetric_sum(d->dual, &explained, 1));
  }
  if (d->product) reap_free(&d->weights);
  d->error = d->equations->energy - explained;
  return REAP_OK;
}

/* From D G D + R below (and its norm) to H, W, J and the blocks. */
static int factor(dual_system *d, bool *singular) {
  double norm = 0, inverse_norm = 0;
  int64_t info = 0;
  const bool by_cross = d->product && !d->comm && d->m_count > 2 * d->rows;
  d->residual = d->residual_fresh = 0;
  d->k = d->start = d->q_from = 0;
  reap_dual_share_slots(d);
  reap_stage_forget(&d->stage);
  REAP_TRY(reap_symmetric_norm(d->dual, REAP_UPPER, d->slots, &norm));
  REAP_TRY(load_cross(d, by_cross));
  REAP_TRY(invert(d, by_cross, &info));
  *singular = info != 0;
  if (*singular) return REAP_OK;
  REAP_TRY(reap_symmetric_norm(d->dual, REAP_LOWER, d->slots, &inverse_norm));
  const double rcond = 1 / (norm * inverse_norm);
  if (d->slots == d->equations->slots) d->rcond = rcond;
  /* A factorisation that went through by luck of rounding is not one, nor one that explains more than there is. */
  *singular = !(rcond > LEAST_RCOND) || !(d->error >= -EXCESS * d->equations->energy);
  if (*singular) return REAP_OK;
  if (d->weights) REAP_TRY(weights_by_rows(d));
  return reap_dual_load_blocks(d, true);
}

int reap_dual_start(dual_system *d, bool *singular) {
  d->n_original = d->slots = d->n_alive = d->equations->slots;
  d->rows = d->equations->n;
  for (int64_t k = 0; k < d->slots; k++) {
    d->channel[k] = d->equations->channel[k];
    d->original[k] = k;
    d->alive[k] = true;
  }
  REAP_TRY(reap_normal_set(d->equations, d->dual));
  return factor(d, singular);
}

int reap_dual_refresh(dual_system *d, bool *singular) {
  REAP_TRY(reap_symmetric_restore(d->dual, d->slots));
  return factor(d, singular);
}

int reap_dual_costs(dual_system *d, double *cost, double *squares) {
  memset(cost, 0, (size_t)(d->slots + 1) * sizeof *cost);
  REAP_TRY(reap_channel_blocks_costs(&d->blocks, cost + d->own_first));
  cost[d->slots] = reap_channel_blocks_squares(&d->blocks, d->alive + d->own_first);
  for (int64_t s = 0; s < d->slots; s++)
    if (!d->alive[s]) cost[s] = 0;
  REAP_TRY(reap_symmetric_sum(d->dual, cost, d->slots + 1));
  *squares = cost[d->slots];
  for (int64_t s = 0; s < d->slots; s++)
    if (!d->alive[s]) cost[s] = NAN;
  return REAP_OK;
}
