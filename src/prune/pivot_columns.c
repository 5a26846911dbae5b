/* Columns of H and K of the channels likely to go next; see pivot_columns.h.
 *
 * A pivot's columns are wanted one channel at a time, which would stream all of V, or on the route by weights all of W, through
 * memory for a product with a few columns, and on many ranks sends a message each. But the order of the costs changes slowly:
 * whoever is among the cheapest now is likely to go soon. So when a column is wanted that is not at hand, those of the cheapest
 * channels are formed with it, at level 3 and in one message. With S the slots chosen and all columns of V, Q before this stage,
 *
 *     H_:S - V V_S'        by product K_:S - V Q_S' - Q V_S',  by weights W W_S'
 *
 * for the rows of channels still there: of the trailing matrix only what will be looked at is ever formed, about half of it when
 * half of the channels go. At the end of a stage the columns at hand are brought up to date by its V and Q; those of channels that
 * have fallen far behind in the meantime are dropped when others are formed.
 *
 * Cost, with s columns formed and k before the stage: 2 rows k s over the ranks, by product three times that, by weights 2 rows m s
 * more; at the end of a stage of w columns 6 rows w u for u columns at hand; s k elements of V_S received and the rows of H_:S;
 * memory 2 rows (s + u).
 */
#include "pivot_columns.h"

#include <stdlib.h>
#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"

typedef struct ranked {
  double growth;
  int64_t slot;
} ranked;

/* Channels whose columns are formed together: some 144 columns, at which level 3 is at its speed. */
static int64_t batch_of(int64_t block) { return 1 + 143 / block; }

int pivot_columns_create(int64_t rows, int64_t slots, int64_t block, int64_t m, pivot_columns *p) {
  memset(p, 0, sizeof *p);
  p->block = block;
  p->batch = batch_of(block) < slots ? batch_of(block) : slots;
  p->most = 2 * p->batch < slots ? 2 * p->batch : slots;
  int64_t size = 0;
  REAP_TRY(reap_multiply(rows, p->most * block, &size));
  REAP_TRY(reap_alloc(&p->place, slots, sizeof *p->place));
  REAP_TRY(reap_alloc(&p->slot, p->most, sizeof *p->slot));
  REAP_TRY(reap_alloc(&p->dual, size, sizeof *p->dual));
  REAP_TRY(reap_alloc(&p->product, size, sizeof *p->product));
  return m > 0 ? reap_alloc(&p->strip, p->batch * block * m, sizeof *p->strip) : REAP_OK;
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

/* The cheapest channels, in their order, chosen by one rank: slot[*chosen], at most p->most. */
static int choose(const dual_system *d, const double *growth, int64_t *chosen, int64_t *slot) {
  const pivot_columns *p = &d->columns;
  ranked *all = NULL;
  int64_t count = 0;
  int status = reap_alloc(&all, d->slots, sizeof *all);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  REAP_TRY(status);
  for (int64_t s = 0; s < d->slots; s++)
    if (d->alive[s]) all[count++] = (ranked){growth[s], s};
  qsort(all, (size_t)count, sizeof *all, by_growth);
  *chosen = count < p->most ? count : p->most;
  for (int64_t k = 0; k < *chosen; k++) slot[k] = all[k].slot;
  reap_free(&all);
  return d->comm ? reap_comm_broadcast(d->comm, slot, (size_t)*chosen * sizeof *slot, 0) : REAP_OK;
}

/* K_:s of `count` slots from W: [rows, count * block], summed over the ranks. */
static int form_product(dual_system *d, int64_t count, const int64_t *slot, double *product, int64_t ld) {
  const int64_t b = d->block, rows = d->rows, m = d->m_count, width = count * b;
  double *strip = d->columns.strip;
  for (int64_t j = 0; j < m; j++)
    for (int64_t k = 0; k < count; k++)
      memcpy(strip + k * b + j * width, d->weights + slot[k] * b + j * d->ldw, (size_t)b * sizeof *strip);
  int status = reap_dgemm('N', 'T', rows, width, m, 1, d->weights, d->ldw, strip, width, 0, product, ld);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  return status == REAP_OK ? reap_symmetric_sum(d->dual, product, rows * width) : status;
}

/* Own rows of the columns of `count` slots of a matrix as it was factored. */
static int take_columns(dual_system *d, reap_symmetric *matrix, int64_t count, const int64_t *slot, double *out) {
  int64_t *home = NULL;
  int status = reap_alloc(&home, count, sizeof *home);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  for (int64_t k = 0; status == REAP_OK && k < count; k++) home[k] = d->home[slot[k]];
  if (status == REAP_OK)
    status = reap_symmetric_gather_rows(matrix, REAP_LOWER, count, home, d->share, d->home, out, d->stride);
  reap_free(&home);
  return status;
}

/* Own rows of W W_S': whole columns are summed over the ranks, some at a time. */
static int take_products(dual_system *d, int64_t count, const int64_t *slot, double *out) {
  enum { AT_ONCE = 512 /* columns */ };
  const int64_t b = d->block, rows = d->rows, own = d->own_slots * b, most = 1 + AT_ONCE / b;
  double *whole = NULL;
  if (!d->comm) return form_product(d, count, slot, out, d->stride);
  int status = reap_comm_agree(d->comm, reap_alloc(&whole, rows * b * (count < most ? count : most), sizeof *whole));
  for (int64_t k = 0; status == REAP_OK && k < count; k += most) {
    const int64_t some = count - k < most ? count - k : most;
    status = form_product(d, some, slot + k, whole, rows);
    double *to = out + k * b * d->stride;
    for (int64_t j = 0; status == REAP_OK && j < some * b; j++)
      memcpy(to + j * d->stride, whole + d->own_first * b + j * rows, (size_t)own * sizeof *to);
  }
  reap_free(&whole);
  return status;
}

/* Some columns of V and Q, own rows; q NULL: H alone. */
typedef struct factor_part {
  int64_t columns;
  const double *v, *q;
} factor_part;

/* Rows of `count` slots of own rows a [own rows, columns], on all ranks: out [count * b, columns]. */
static int share_rows(const dual_system *d, const double *a, int64_t columns, int64_t count, const int64_t *slot, double *out) {
  const int64_t b = d->block, ld = d->stride, size = count * b;
  if (d->comm) memset(out, 0, (size_t)(size * columns) * sizeof *out);
  for (int64_t k = 0; k < count; k++) {
    const int64_t own = slot[k] - d->own_first;
    if (own < 0 || own >= d->own_slots) continue;
    for (int64_t j = 0; j < columns; j++)
      memcpy(out + k * b + j * size, a + own * b + j * ld, (size_t)b * sizeof *out);
  }
  return reap_symmetric_sum(d->dual, out, size * columns); /* one owner each: exact */
}

/* out [own rows, size] -= a r' with a [own rows, columns], r [size, columns]. */
static int subtract(const dual_system *d, const double *a, int64_t columns, int64_t size, const double *r, double *out) {
  const int64_t rows = d->own_slots * d->block;
  if (rows == 0) return REAP_OK;
  return reap_dgemm('N', 'T', rows, size, columns, -1, a, d->stride, r, size, 1, out, d->stride);
}

/* Own rows of H_:S -= V V_S' and K_:S -= V Q_S' + Q V_S'. */
static int bring_up(dual_system *d, const factor_part *f, int64_t count, const int64_t *slot, double *dual, double *product) {
  const int64_t size = count * d->block;
  double *rows = NULL;
  if (f->columns == 0 || count == 0) return REAP_OK;
  const double start = reap_seconds();
  int status = reap_alloc(&rows, size * f->columns, sizeof *rows);
  if (d->comm) status = reap_comm_agree(d->comm, status);
  if (status == REAP_OK) status = share_rows(d, f->v, f->columns, count, slot, rows);
  if (status == REAP_OK) status = subtract(d, f->v, f->columns, size, rows, dual);
  if (status == REAP_OK && f->q) status = subtract(d, f->q, f->columns, size, rows, product);
  if (status == REAP_OK && f->q) status = share_rows(d, f->q, f->columns, count, slot, rows);
  if (status == REAP_OK && f->q) status = subtract(d, f->v, f->columns, size, rows, product);
  reap_free(&rows);
  d->seconds_updates += reap_seconds() - start;
  return status;
}

/* This rank's rows of H_:s and K_:s of `count` slots at the start of this stage. */
static int form(dual_system *d, int64_t count, const int64_t *slot, double *dual, double *product) {
  const factor_part before = {d->start, d->v, d->product ? d->q : NULL};
  if (count == 0) return REAP_OK;
  REAP_TRY(take_columns(d, d->dual, count, slot, dual));
  REAP_TRY(d->product ? take_columns(d, d->product, count, slot, product) : take_products(d, count, slot, product));
  return bring_up(d, &before, count, slot, dual, product);
}

/* ------------------------------------------------------------------ what is at hand */

static double *column_of(const dual_system *d, double *columns, int64_t at) {
  return columns + at * d->stride * d->block;
}

/* Keeps what is at hand of slots where wanted[slot]. */
static void keep_wanted(dual_system *d, const bool *wanted) {
  pivot_columns *p = &d->columns;
  const size_t bytes = (size_t)(d->stride * d->block) * sizeof *p->dual;
  int64_t count = 0;
  for (int64_t k = 0; k < p->count; k++) {
    p->place[p->slot[k]] = -1;
    if (!wanted[p->slot[k]]) continue;
    memmove(column_of(d, p->dual, count), column_of(d, p->dual, k), bytes);
    memmove(column_of(d, p->product, count), column_of(d, p->product, k), bytes);
    p->slot[count++] = p->slot[k];
  }
  for (int64_t k = 0; k < count; k++) p->place[p->slot[k]] = k;
  p->count = count;
}

void pivot_columns_forget(dual_system *d) {
  d->columns.count = 0;
  for (int64_t s = 0; s < d->slots; s++) d->columns.place[s] = -1;
}

/* Columns of `pivot` and of what else is among the cheapest of those that may go; what has fallen behind makes room. By the rule for
 * ties the pivot need not be among the cheapest itself. */
static int fetch(dual_system *d, int64_t pivot, const int64_t *cheapest, int64_t count, int64_t left, bool *wanted) {
  pivot_columns *p = &d->columns;
  const int64_t enough = left + left / 4 < p->batch ? left + left / 4 : p->batch;
  for (int64_t k = 0; k < count && k < p->most - 1; k++) wanted[cheapest[k]] = true;
  keep_wanted(d, wanted);
  const int64_t first = p->count;
  p->place[pivot] = p->count;
  p->slot[p->count++] = pivot;
  for (int64_t k = 0; k < count && k < enough; k++) {
    if (p->place[cheapest[k]] >= 0 || p->count == p->most || p->count - first == p->batch) continue;
    p->place[cheapest[k]] = p->count;
    p->slot[p->count++] = cheapest[k];
  }
  return form(d, p->count - first, p->slot + first, column_of(d, p->dual, first), column_of(d, p->product, first));
}

int pivot_columns_get(dual_system *d, int64_t pivot, const double *growth, int64_t left, const double **dual,
                      const double **product) {
  pivot_columns *p = &d->columns;
  if (p->place[pivot] < 0) {
    int64_t *cheapest = NULL, count = 0;
    bool *wanted = NULL;
    int status = reap_alloc(&cheapest, p->most, sizeof *cheapest);
    if (status == REAP_OK) status = reap_calloc(&wanted, d->slots, sizeof *wanted);
    if (d->comm) status = reap_comm_agree(d->comm, status);
    if (status == REAP_OK) status = choose(d, growth, &count, cheapest);
    if (status == REAP_OK) status = fetch(d, pivot, cheapest, count, left, wanted);
    reap_free(&cheapest);
    reap_free(&wanted);
    REAP_TRY(status);
  }
  *dual = column_of(d, p->dual, p->place[pivot]);
  *product = column_of(d, p->product, p->place[pivot]);
  return REAP_OK;
}

int pivot_columns_advance(dual_system *d) {
  pivot_columns *p = &d->columns;
  const factor_part stage = {d->k - d->start, d->v + d->start * d->stride, dual_q_column(d, d->start)};
  return bring_up(d, &stage, p->count, p->slot, p->dual, p->product);
}

void pivot_columns_renumber(dual_system *d, int64_t count, const int64_t *old) {
  pivot_columns *p = &d->columns;
  keep_wanted(d, d->alive);
  for (int64_t s = 0; s < count; s++) {
    p->place[s] = p->place[old[s]]; /* old[s] >= s */
    if (p->place[s] >= 0) p->slot[p->place[s]] = s;
  }
}
