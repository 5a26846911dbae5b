/* Diagonal blocks of all channels, updated and compared after every removal.
 *
 * dJ_j = tr(W_j' H_jj^-1 W_j) = tr(H_jj^-1 K_jj) with K = W W'. A removal with the columns V = H_:s L^-T (H_ss = L L'),
 * Z = L^-1 W_s and P = W Z' changes them by
 *
 *     H_jj -= V_j V_j'        K_jj -= Q_j V_j' + V_j Q_j'   with Q = P - V (Z Z') / 2
 *
 * which is what W <- W - V Z means for W W'. Blocks of a few columns (3x3 kernels: 9) are too small for BLAS: eight
 * channels go through each operation side by side, element (p, q) of all eight next to each other, so that the compiler
 * vectorises over channels. From 16 columns on each channel is a BLAS call.
 *
 * Cost per removal and channel: about 5 block^3 for both. Failure mode: K_jj is a difference and loses digits as W W'
 * shrinks; where W is carried, fresh ones are loaded whenever an eighth of the channels has gone (panel.c).
 */
#include "channel_blocks.h"

#include <math.h>
#include <string.h>

#include "base/each_width.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { LANES = 8, SMALL = 15 };

/* The packed lower triangle of a small block: row p, column q <= p. */
INLINED int64_t packed(int64_t p, int64_t q) { return p * (p + 1) / 2 + q; }

static int64_t groups_of(const channel_blocks *c) { return (c->slots + LANES - 1) / LANES; }
static int64_t triangle_of(const channel_blocks *c) { return c->block * (c->block + 1) / 2; }

int reap_channel_blocks_create(int64_t slots, int64_t block, channel_blocks *c) {
  *c = (channel_blocks){.slots = slots, .block = block};
  const int64_t size = block <= SMALL ? groups_of(c) * triangle_of(c) * LANES : slots * block * block;
  REAP_TRY(reap_alloc(&c->dual, size, sizeof *c->dual));
  REAP_TRY(reap_alloc(&c->product, size, sizeof *c->product));
  return reap_alloc(&c->scratch, 2 * block * block * LANES, sizeof *c->scratch);
}

void reap_channel_blocks_clear(channel_blocks *c) {
  reap_free(&c->dual);
  reap_free(&c->product);
  reap_free(&c->scratch);
}

/* Blocks [slots][b * b] into the layout; `missing` on the diagonal of lanes behind the last channel, where it does no
 * harm. */
static void load(const channel_blocks *c, const double *from, double missing, double *to) {
  const int64_t b = c->block, size = triangle_of(c);
  if (b > SMALL) {
    memcpy(to, from, (size_t)(c->slots * b * b) * sizeof *to);
    return;
  }
  for (int64_t s = 0; s < groups_of(c) * LANES; s++)
    for (int64_t p = 0; p < b; p++)
      for (int64_t q = 0; q <= p; q++)
        to[(s / LANES * size + packed(p, q)) * LANES + s % LANES] = s < c->slots ? from[s * b * b + p + q * b]
                                                                    : p == q     ? missing
                                                                                 : 0;
}

void reap_channel_blocks_load(channel_blocks *c, int64_t slots, const double *dual, const double *product) {
  c->slots = slots;
  if (dual) load(c, dual, 1, c->dual);
  if (product) load(c, product, 0, c->product);
}

void reap_channel_blocks_keep(channel_blocks *c, int64_t count, const int64_t *slot) {
  const int64_t square = c->block * c->block, size = triangle_of(c);
  for (int64_t k = 0; k < count; k++) {
    const int64_t from = slot[k];
    if (from == k) continue;
    if (c->block > SMALL) {
      memcpy(c->dual + k * square, c->dual + from * square, (size_t)square * sizeof *c->dual);
      memcpy(c->product + k * square, c->product + from * square, (size_t)square * sizeof *c->product);
      continue;
    }
    for (int64_t i = 0; i < size; i++) {
      const int64_t at = (k / LANES * size + i) * LANES + k % LANES,
                    was = (from / LANES * size + i) * LANES + from % LANES;
      c->dual[at] = c->dual[was];
      c->product[at] = c->product[was];
    }
  }
  c->slots = count;
}

/* Where element `i` of a slot's packed triangle or, from 16 columns on, of its square stands. */
static int64_t place_of(const channel_blocks *c, int64_t slot, int64_t i) {
  if (c->block > SMALL) return slot * c->block * c->block + i;
  return (slot / LANES * triangle_of(c) + i) * LANES + slot % LANES;
}

static void swap(double *x, double *y) {
  const double kept = *x;
  *x = *y;
  *y = kept;
}

void reap_channel_blocks_swap(channel_blocks *c, int64_t slot, int64_t other) {
  const int64_t size = c->block > SMALL ? c->block * c->block : triangle_of(c);
  for (int64_t i = 0; i < size; i++) {
    swap(&c->dual[place_of(c, slot, i)], &c->dual[place_of(c, other, i)]);
    swap(&c->product[place_of(c, slot, i)], &c->product[place_of(c, other, i)]);
  }
}

static void copy_block(const channel_blocks *c, int64_t slot, const double *from, double *out) {
  const int64_t b = c->block;
  for (int64_t p = 0; p < b; p++)
    for (int64_t q = 0; q <= p; q++)
      out[p + q * b] = out[q + p * b] =
          b > SMALL ? from[slot * b * b + p + q * b]
                    : from[(slot / LANES * triangle_of(c) + packed(p, q)) * LANES + slot % LANES];
}

void reap_channel_blocks_get(const channel_blocks *c, int64_t slot, double *dual, double *product) {
  copy_block(c, slot, c->dual, dual);
  copy_block(c, slot, c->product, product);
}

/* Rows of `count` channels, eight but for the last ones, from column-major v, transposed so that the channels are
 * neighbours: out [b, b, LANES]. */
INLINED void take_lanes(int64_t b, int64_t count, const double *v, int64_t ld, double *out) {
  if (count < LANES) memset(out, 0, (size_t)(b * b * LANES) * sizeof *out);
  for (int64_t t = 0; t < b; t++)
    for (int64_t lane = 0; lane < count; lane++)
      for (int64_t p = 0; p < b; p++) out[(p * b + t) * LANES + lane] = v[lane * b + p + t * ld];
}

INLINED void subtract_lanes(int64_t b, const reap_eight *v, const reap_eight *q, reap_eight *dual,
                            reap_eight *product) {
  for (int64_t p = 0; p < b; p++)
    for (int64_t r = 0; r <= p; r++) {
      reap_eight d = dual[packed(p, r)], k = product[packed(p, r)];
      for (int64_t t = 0; t < b; t++) {
        d -= v[p * b + t] * v[r * b + t];
        k -= q[p * b + t] * v[r * b + t];
        k -= v[p * b + t] * q[r * b + t];
      }
      dual[packed(p, r)] = d;
      product[packed(p, r)] = k;
    }
}

/* Blocks of `count` channels by their rows of v and q; scratch [2 b b LANES]. Loops over 3x3 kernels get a version of
 * their own, which the compiler knows the length of. */
FOR_EACH_WIDTH static void update_lanes(int64_t b, int64_t count, const double *v, int64_t ldv, const double *q,
                                        int64_t ldq, double *scratch, double *dual, double *product) {
  double *some_v = scratch, *some_q = scratch + b * b * LANES;
  if (b == 9 && count == LANES) {
    take_lanes(9, LANES, v, ldv, some_v);
    take_lanes(9, LANES, q, ldq, some_q);
    subtract_lanes(9, (reap_eight *)some_v, (reap_eight *)some_q, (reap_eight *)dual, (reap_eight *)product);
  } else {
    take_lanes(b, count, v, ldv, some_v);
    take_lanes(b, count, q, ldq, some_q);
    subtract_lanes(b, (reap_eight *)some_v, (reap_eight *)some_q, (reap_eight *)dual, (reap_eight *)product);
  }
}

int reap_channel_blocks_update(channel_blocks *c, const double *v, int64_t ldv, const double *q, int64_t ldq) {
  const int64_t b = c->block, size = triangle_of(c) * LANES;
  for (int64_t s = 0; b > SMALL && s < c->slots; s++) {
    double *dual = c->dual + s * b * b, *product = c->product + s * b * b;
    REAP_TRY(reap_dsyrk_lower('N', b, b, -1, v + s * b, ldv, 1, dual, b));
    REAP_TRY(reap_dsyr2k_lower(b, b, -1, q + s * b, ldq, v + s * b, ldv, 1, product, b));
  }
  for (int64_t g = 0; b <= SMALL && g < groups_of(c); g++) {
    const int64_t first = g * LANES, count = c->slots - first < LANES ? c->slots - first : LANES;
    update_lanes(b, count, v + first * b, ldv, q + first * b, ldq, c->scratch, c->dual + g * size,
                 c->product + g * size);
  }
  return REAP_OK;
}

/* Cholesky factors of eight blocks; the diagonal holds reciprocals. */
INLINED void factor_lanes(int64_t b, const reap_eight *dual, reap_eight *factor) {
  for (int64_t j = 0; j < b; j++)
    for (int64_t i = j; i < b; i++) {
      reap_eight sum = dual[packed(i, j)];
      for (int64_t k = 0; k < j; k++) sum -= factor[packed(i, k)] * factor[packed(j, k)];
      if (i > j) {
        factor[packed(i, j)] = sum * factor[packed(j, j)];
        continue;
      }
      double root[LANES];
      memcpy(root, &sum, sizeof root);
      for (int l = 0; l < LANES; l++) root[l] = 1 / sqrt(root[l]); /* NaN tells */
      memcpy(&factor[packed(j, j)], root, sizeof root);
    }
}

/* tr(L^-1 K L^-T), row by row of M = L^-1: row t of M is m, its share m K m'. */
INLINED void trace_lanes(int64_t b, const reap_eight *factor, const reap_eight *product, reap_eight *m,
                         reap_eight *cost) {
  reap_eight total = {0};
  for (int64_t t = 0; t < b; t++) {
    m[t] = factor[packed(t, t)]; /* m L = e_t, from the right */
    for (int64_t p = t - 1; p >= 0; p--) {
      reap_eight sum = {0};
      for (int64_t k = p + 1; k <= t; k++) sum -= m[k] * factor[packed(k, p)];
      m[p] = sum * factor[packed(p, p)];
    }
    for (int64_t p = 0; p <= t; p++) {
      reap_eight sum = {0};
      for (int64_t q = 0; q < p; q++) sum += m[q] * product[packed(p, q)];
      total += m[p] * (2 * sum + m[p] * product[packed(p, p)]);
    }
  }
  *cost = total;
}

/* cost[LANES] of eight blocks; scratch [2 b b LANES]. */
FOR_EACH_WIDTH static void cost_lanes(int64_t b, const double *dual, const double *product, double *scratch,
                                      double *cost) {
  reap_eight *factor = (reap_eight *)scratch, *row = factor + b * b, total;
  if (b == 9) {
    factor_lanes(9, (const reap_eight *)dual, factor);
    trace_lanes(9, factor, (const reap_eight *)product, row, &total);
  } else {
    factor_lanes(b, (const reap_eight *)dual, factor);
    trace_lanes(b, factor, (const reap_eight *)product, row, &total);
  }
  memcpy(cost, &total, sizeof total);
}

static int cost_of_large(channel_blocks *c, int64_t slot, double *cost) {
  const int64_t b = c->block;
  double *factor = c->scratch, *inner = c->scratch + b * b;
  int64_t info = 0;
  memcpy(factor, c->dual + slot * b * b, (size_t)(b * b) * sizeof *factor);
  memcpy(inner, c->product + slot * b * b, (size_t)(b * b) * sizeof *inner);
  reap_mirror_lower(b, inner, b);
  REAP_TRY(reap_dpotrf_lower(b, factor, b, &info));
  *cost = NAN;
  if (info != 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('L', 'L', 'N', b, b, factor, b, inner, b));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', b, b, factor, b, inner, b));
  *cost = 0;
  for (int64_t i = 0; i < b; i++) *cost += inner[i + i * b];
  return REAP_OK;
}

int reap_channel_blocks_costs(channel_blocks *c, double *cost) {
  const int64_t size = triangle_of(c) * LANES;
  double some[LANES];
  for (int64_t s = 0; c->block > SMALL && s < c->slots; s++) REAP_TRY(cost_of_large(c, s, &cost[s]));
  for (int64_t g = 0; c->block <= SMALL && g < groups_of(c); g++) {
    cost_lanes(c->block, c->dual + g * size, c->product + g * size, c->scratch, some);
    for (int64_t l = 0; l < LANES && g * LANES + l < c->slots; l++) cost[g * LANES + l] = some[l];
  }
  return REAP_OK;
}

double reap_channel_blocks_squares(const channel_blocks *c, const bool *alive) {
  const int64_t b = c->block;
  double sum = 0;
  for (int64_t s = 0; s < c->slots; s++)
    for (int64_t p = 0; alive[s] && p < b; p++)
      sum += b > SMALL ? c->product[s * b * b + p + p * b]
                       : c->product[(s / LANES * triangle_of(c) + packed(p, p)) * LANES + s % LANES];
  return sum;
}

int64_t reap_channel_blocks_cheapest(int64_t slots, const bool *alive, const int64_t *channel, const double *cost,
                                     double tie) {
  double least = INFINITY;
  int64_t slot = -1;
  for (int64_t s = 0; s < slots; s++) {
    if (!alive[s]) continue;
    if (!isfinite(cost[s])) return -1;
    if (cost[s] < least) least = cost[s];
  }
  const double limit = least + tie;
  for (int64_t s = 0; s < slots; s++)
    if (alive[s] && cost[s] <= limit && (slot < 0 || channel[s] < channel[slot])) slot = s;
  return slot;
}
