/* Columns of H and K of the channels likely to go next; see pivot_columns.h.
 *
 * A pivot's columns are wanted one channel at a time, which on the route by weights, K_:s = W W_s', would stream all of
 * W through memory for a product with a few columns, and on many ranks sends a message each. But the order of the costs
 * changes slowly: nearly all of a panel's channels are among the cheapest at its start, one and a half times as many as
 * it has room for. Theirs are formed together, at level 3 and in one message; a channel that comes from further behind
 * is formed by itself.
 *
 * Cost per panel: 2 rows m columns by weights, and reading the columns; memory 2 rows columns.
 */
#include "pivot_columns.h"

#include <stdlib.h>
#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct ranked {
  double growth;
  int64_t slot;
} ranked;

int pivot_columns_create(int64_t rows, int64_t slots, int64_t block, int64_t room, int64_t m, pivot_columns *p) {
  memset(p, 0, sizeof *p);
  p->block = block;
  p->most = room + room / 2 + 1 < slots ? room + room / 2 + 1 : slots;
  int64_t size = 0;
  REAP_TRY(reap_multiply(rows, (p->most + 1) * block, &size));
  REAP_TRY(reap_alloc(&p->place, slots, sizeof *p->place));
  REAP_TRY(reap_alloc(&p->slot, p->most, sizeof *p->slot));
  REAP_TRY(reap_alloc(&p->dual, size, sizeof *p->dual));
  REAP_TRY(reap_alloc(&p->product, size, sizeof *p->product));
  return m > 0 ? reap_alloc(&p->strip, p->most * block * m, sizeof *p->strip) : REAP_OK;
}

void pivot_columns_clear(pivot_columns *p) {
  reap_free(&p->place);
  reap_free(&p->slot);
  reap_free(&p->dual);
  reap_free(&p->product);
  reap_free(&p->strip);
}

static int by_growth(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->growth != y->growth) return x->growth < y->growth ? -1 : 1;
  return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* The cheapest channels of this panel, chosen by one rank. */
static int choose(dual_system *d, const double *growth, int64_t left) {
  pivot_columns *p = &d->columns;
  ranked *all = NULL;
  int64_t count = 0, room = d->width / d->block;
  int status = reap_alloc(&all, d->slots, sizeof *all);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  REAP_TRY(status);
  for (int64_t s = 0; s < d->slots; s++)
    if (d->alive[s]) all[count++] = (ranked){growth[s], s};
  qsort(all, (size_t)count, sizeof *all, by_growth);
  if (left < room) room = left;
  p->count = room + room / 2 + 1;
  if (p->count > p->most) p->count = p->most;
  if (p->count > count) p->count = count;
  for (int64_t k = 0; k < p->count; k++) p->slot[k] = all[k].slot;
  reap_free(&all);
  return d->comm ? reap_comm_broadcast(d->comm, p->slot, (size_t)p->count * sizeof *p->slot, 0) : REAP_OK;
}

/* K_:s of `count` slots from W: [rows, count * block], summed over the ranks. */
static int form_product(dual_system *d, int64_t count, const int64_t *slot, double *product) {
  const int64_t b = d->block, rows = d->rows, m = d->m_count, width = count * b;
  double *strip = d->columns.strip;
  for (int64_t j = 0; j < m; j++)
    for (int64_t k = 0; k < count; k++)
      memcpy(strip + k * b + j * width, d->weights + slot[k] * b + j * d->ldw, (size_t)b * sizeof *strip);
  int status = reap_dgemm('N', 'T', rows, width, m, 1, d->weights, d->ldw, strip, width, 0, product, rows);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  return status == REAP_OK ? reap_symmetric_sum(d->dual, product, rows * width) : status;
}

static int form_whole(dual_system *d, bool dual, int64_t count, const int64_t *slot, double *out) {
  if (!dual && !d->product) return form_product(d, count, slot, out);
  return reap_symmetric_gather(dual ? d->dual : d->product, REAP_LOWER, d->slots, count, slot, out);
}

/* This rank's rows of H_:s and K_:s of `count` slots, by way of whole columns of a few slots at a time. */
static int form(dual_system *d, int64_t count, const int64_t *slot, double *dual, double *product) {
  enum { AT_ONCE = 512 /* columns */ };
  const int64_t b = d->block, rows = d->rows, own = d->own_slots * b, most = 1 + AT_ONCE / b;
  double *whole = NULL;
  if (!d->comm) {
    REAP_TRY(form_whole(d, true, count, slot, dual));
    return form_whole(d, false, count, slot, product);
  }
  int status = reap_comm_agree(d->comm, reap_alloc(&whole, rows * b * (count < most ? count : most), sizeof *whole));
  for (int64_t k = 0; status == REAP_OK && k < count; k += most) {
    const int64_t some = count - k < most ? count - k : most;
    for (int pass = 0; status == REAP_OK && pass < 2; pass++) {
      status = form_whole(d, pass == 0, some, slot + k, whole);
      double *to = (pass == 0 ? dual : product) + k * b * own;
      for (int64_t j = 0; status == REAP_OK && j < some * b; j++)
        memcpy(to + j * own, whole + d->own_first * b + j * rows, (size_t)own * sizeof *to);
    }
  }
  reap_free(&whole);
  return status;
}

int pivot_columns_prepare(dual_system *d, const double *growth, int64_t left) {
  pivot_columns *p = &d->columns;
  REAP_TRY(choose(d, growth, left));
  for (int64_t s = 0; s < d->slots; s++) p->place[s] = -1;
  for (int64_t k = 0; k < p->count; k++) p->place[p->slot[k]] = k;
  return form(d, p->count, p->slot, p->dual, p->product);
}

int pivot_columns_get(dual_system *d, int64_t slot, const double **dual, const double **product) {
  pivot_columns *p = &d->columns;
  int64_t at = p->place[slot];
  const int64_t size = d->own_slots * d->block * d->block;
  if (at < 0) { /* behind the others, where there is room for one more */
    at = p->count;
    REAP_TRY(form(d, 1, &slot, p->dual + at * size, p->product + at * size));
  }
  *dual = p->dual + at * size;
  *product = p->product + at * size;
  return REAP_OK;
}
