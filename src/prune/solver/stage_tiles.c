/* One removal's columns of V and Q in one sweep over the rows, for blocks too narrow for BLAS; equations in
 * stage_lookahead.c.
 *
 * By BLAS a removal is six calls with a matrix as narrow as the block. Here eight rows at a time go all the way: their
 * entries of H_:s and K_:s stay in registers while those of V and Q pass by, once for all three products. For that V
 * and Q are kept a second time in the order in which they pass by.
 *
 * Cost: 6 rows k block, and 5 rows block^2 for the triangles; memory 2 rows width.
 */
#include "stage_tiles.h"

#include <string.h>

#include "base/each_width.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { EIGHT = 8, WIDEST = STAGE_TILES_WIDEST };

int reap_stage_tiles_create(int64_t rows, int64_t width, stage_tiles *s) {
  int64_t size = 0;
  *s = (stage_tiles){.width = width};
  REAP_TRY(reap_multiply((rows + EIGHT - 1) / EIGHT, 2 * EIGHT * width, &size));
  return reap_alloc(&s->tile, size, sizeof *s->tile);
}

void reap_stage_tiles_clear(stage_tiles *s) { reap_free(&s->tile); }

/* `count` columns of H now and K now: h -= v v_s', p -= v q_s' + q v_s' with v_s, q_s [block, k]. */
INLINED void subtract(int64_t count, int64_t b, int64_t k, const reap_eight *tile, const double *v_s, const double *q_s,
                      reap_eight *h, reap_eight *p) {
  reap_eight dual[WIDEST], product[WIDEST];
  for (int64_t j = 0; j < count; j++) dual[j] = h[j];
  for (int64_t j = 0; j < count; j++) product[j] = p[j];
  for (int64_t t = 0; t < k; t++, tile += 2, v_s += b, q_s += b) {
    for (int64_t j = 0; j < count; j++) {
      dual[j] -= tile[0] * v_s[j];
      product[j] -= tile[0] * q_s[j];
      product[j] -= tile[1] * v_s[j];
    }
  }
  for (int64_t j = 0; j < count; j++) h[j] = dual[j];
  for (int64_t j = 0; j < count; j++) p[j] = product[j];
}

/* What is the same for all rows: reciprocals of L's diagonal, half of Z_s Z_s'. */
typedef struct coefficients {
  double over[WIDEST], half[WIDEST * WIDEST];
} coefficients;

/* Columns v L^-T and q L^-T - v L^-T (Z_s Z_s') / 2 in place of v and q. */
INLINED void finish(int64_t b, const double *lower, const coefficients *c, reap_eight *v, reap_eight *q) {
  for (int64_t j = 0; j < b; j++) {
    v[j] *= c->over[j];
    q[j] *= c->over[j];
    for (int64_t i = j + 1; i < b; i++) {
      v[i] -= v[j] * lower[i + j * b];
      q[i] -= q[j] * lower[i + j * b];
    }
  }
  for (int64_t i = 0; i < b; i++)
    for (int64_t j = 0; j < b; j++) q[j] -= v[i] * c->half[j + i * b];
}

/* One tile from H_:s and K_:s to the new columns. */
INLINED void append_tile(int64_t b, const stage_removal *r, const coefficients *c, int64_t row, reap_eight *tile) {
  const double *lower = r->pivot, *v_s = lower + 2 * b * b, *q_s = v_s + r->k * b;
  reap_eight v[WIDEST], q[WIDEST], *end = tile + 2 * r->k;
  for (int64_t j = 0; j < b; j++) v[j] = *(const reap_eight *)(r->dual + row + j * r->ld);
  for (int64_t j = 0; j < b; j++) q[j] = *(const reap_eight *)(r->product + row + j * r->ld);
  int64_t j = 0;
  for (; j + 9 <= b; j += 9) subtract(9, b, r->k, tile, v_s + j, q_s + j, v + j, q + j);
  for (; j + 4 <= b; j += 4) subtract(4, b, r->k, tile, v_s + j, q_s + j, v + j, q + j);
  for (; j < b; j++) subtract(1, b, r->k, tile, v_s + j, q_s + j, v + j, q + j);
  finish(b, lower, c, v, q);
  for (j = 0; j < b; j++) {
    *(reap_eight *)(r->v + row + j * r->ld) = end[2 * j] = v[j];
    *(reap_eight *)(r->q + row + j * r->ld) = end[2 * j + 1] = q[j];
  }
}

/* 3x3 kernels get a version of their own, whose loops the compiler knows the length of. */
FOR_EACH_WIDTH static void append(const stage_removal *r, const coefficients *c, int64_t pitch, reap_eight *tile) {
  if (r->block == 9)
    for (int64_t row = 0; row < r->rows; row += EIGHT, tile += pitch) append_tile(9, r, c, row, tile);
  else
    for (int64_t row = 0; row < r->rows; row += EIGHT, tile += pitch) append_tile(r->block, r, c, row, tile);
}

void reap_stage_tiles_append(stage_tiles *s, const stage_removal *r) {
  const int64_t b = r->block;
  coefficients c;
  for (int64_t j = 0; j < b; j++) c.over[j] = 1 / r->pivot[j + j * b];
  for (int64_t j = 0; j < b * b; j++) c.half[j] = r->pivot[b * b + j] / 2;
  append(r, &c, 2 * s->width, (reap_eight *)s->tile);
}
