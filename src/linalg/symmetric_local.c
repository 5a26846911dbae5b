/* A symmetric pair of matrices whole on one rank: LAPACK and BLAS in place; see reap/symmetric.h.
 *
 * Rows are read across the columns, one cache line each. A leading dimension that is a multiple of 4 kB would send them
 * all to the same few sets of the cache, so it is padded away from that.
 */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_table.h"

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static void local_destroy(reap_symmetric *s) { reap_free(&s->data); }

static int local_set(reap_symmetric *s, reap_symmetric_source source, void *context) {
  const int64_t n = s->slots * s->block;
  return source(context, 0, n, 0, n, s->data, s->ld);
}

static void local_put_panel(reap_symmetric *s, int64_t first, int64_t count, const double *columns, int64_t ld) {
  const int64_t from = first * s->block, to = (first + count) * s->block, n = s->slots * s->block;
  for (int64_t j = from; j < to; j++)
    for (int64_t i = j; i < n; i++)
      s->data[i + j * s->ld] = s->data[j + i * s->ld] = columns[i - from + (j - from) * ld];
}

/* Rows [from, to) of one slot's columns: column c as it stands below (or above) the diagonal and the row that completes
 * it. */
static void read_rows(const reap_symmetric *s, reap_triangle triangle, int64_t slot, int64_t from, int64_t to,
                      double *out, int64_t ld) {
  const int64_t b = s->block, at = slot * b, stride = s->ld;
  const int64_t crossed = triangle == REAP_LOWER ? from : largest(from, at),
                end = triangle == REAP_LOWER ? reap_smaller(to, at + b) : to;
  for (int64_t i = crossed; i < end; i++)
    for (int64_t t = 0; t < b; t++) out[i - from + t * ld] = s->data[at + t + i * stride];
  for (int64_t t = 0; t < b; t++) {
    const int64_t first = triangle == REAP_LOWER ? largest(from, at + t) : from,
                  last = triangle == REAP_LOWER ? to : reap_smaller(to, at + t);
    const double *column = s->data + (at + t) * stride;
    if (first < last) memcpy(out + first - from + t * ld, column + first, (size_t)(last - first) * sizeof *out);
  }
}

static int local_gather(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                        double *out) {
  const int64_t b = s->block, rows = slots * b;
  for (int64_t k = 0; k < count; k++) read_rows(s, triangle, slot[k], 0, rows, out + k * b * rows, rows);
  return REAP_OK;
}

/* Rows of block h in the columns of block `slot` that the triangle holds across, as columns of h: out [b, b]. */
static void read_across(const reap_symmetric *s, int64_t slot, int64_t h, double *out, int64_t ld) {
  const int64_t b = s->block;
  const double *from = s->data + slot * b + h * b * s->ld;
  for (int64_t p = 0; p < b; p++, from += s->ld)
    for (int64_t t = 0; t < b; t++) out[p + t * ld] = from[t];
}

/* Such columns are far from each other, and in no order that the processor prefetches. */
static void prefetch_across(const reap_symmetric *s, int64_t slot, int64_t h) {
  const int64_t b = s->block;
  const double *from = s->data + slot * b + h * b * s->ld;
  for (int64_t p = 0; p < b; p++, from += s->ld) {
    __builtin_prefetch(from);
    __builtin_prefetch(from + b - 1);
  }
}

/* Rows of blocks row[0 .. count) in one slot's columns, out [count * b, b]: first those that are columns of other
 * blocks, then the slot's own columns one after the other. */
static void gather_slot(const reap_symmetric *s, reap_triangle triangle, int64_t slot, int64_t count,
                        const int64_t *row, double *out, int64_t ld) {
  const int64_t b = s->block, ahead = 1 + 15 / b;
  const bool lower = triangle == REAP_LOWER;
  for (int64_t i = 0; i < count; i++) {
    if (i + ahead < count && (lower ? row[i + ahead] < slot : row[i + ahead] > slot))
      prefetch_across(s, slot, row[i + ahead]);
    if (row[i] == slot)
      read_rows(s, triangle, slot, slot * b, slot * b + b, out + i * b, ld);
    else if (lower ? row[i] < slot : row[i] > slot)
      read_across(s, slot, row[i], out + i * b, ld);
  }
  for (int64_t t = 0; t < b; t++) {
    const double *column = s->data + (slot * b + t) * s->ld;
    for (int64_t i = 0; i < count; i++)
      if (lower ? row[i] > slot : row[i] < slot)
        for (int64_t p = 0; p < b; p++) out[i * b + p + t * ld] = column[row[i] * b + p];
  }
}

static int local_gather_rows(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot,
                             const int64_t *first, const int64_t *row, double *out, int64_t ld) {
  for (int64_t k = 0; k < count; k++)
    gather_slot(s, triangle, slot[k], first[1] - first[0], row + first[0], out + k * s->block * ld, ld);
  return REAP_OK;
}

static int local_put(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                     const double *columns) {
  const int64_t b = s->block, rows = slots * b, ld = s->ld;
  for (int64_t k = 0; k < count; k++) {
    const int64_t at = slot[k] * b, from = triangle == REAP_LOWER ? 0 : at, to = triangle == REAP_LOWER ? at : rows;
    for (int64_t i = from; i < to; i++)
      for (int64_t t = 0; t < b; t++)
        if (triangle == REAP_LOWER || i > at + t) s->data[at + t + i * ld] = columns[i + (k * b + t) * rows];
    for (int64_t t = 0; t < b; t++) {
      const int64_t c = at + t;
      const double *column = columns + (k * b + t) * rows;
      if (triangle == REAP_UPPER)
        memcpy(s->data + c * ld, column, (size_t)c * sizeof *column);
      else
        for (int64_t i = at; i < rows; i++) {
          if (i >= c) s->data[i + c * ld] = column[i];
        }
    }
  }
  return REAP_OK;
}

static int local_move(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *from,
                      const int64_t *to) {
  const int64_t b = s->block, rows = slots * b;
  int64_t *origin = NULL;
  double *columns = NULL;
  int status = reap_alloc(&origin, slots, sizeof *origin);
  if (status == REAP_OK) status = reap_alloc(&columns, rows * b, sizeof *columns);
  for (int64_t i = 0, k = 0; status == REAP_OK && i < slots; i++) origin[i] = k < count && to[k] == i ? from[k++] : i;
  for (int64_t k = 0; status == REAP_OK && k < count; k++) {
    gather_slot(s, triangle, from[k], slots, origin, columns, rows);
    status = local_put(s, triangle, slots, 1, &to[k], columns);
  }
  reap_free(&origin);
  reap_free(&columns);
  return status;
}

static int local_blocks(reap_symmetric *s, int64_t slots, double *out) {
  const int64_t b = s->block;
  for (int64_t k = 0; k < slots; k++)
    for (int64_t j = 0; j < b; j++)
      for (int64_t i = j; i < b; i++) {
        const double value = s->data[k * b + i + (k * b + j) * s->ld];
        out[k * b * b + i + j * b] = out[k * b * b + j + i * b] = value;
      }
  return REAP_OK;
}

static int local_update(reap_symmetric *s, int64_t slots, int64_t k, const double *v, int64_t ld) {
  return reap_dsyrk_lower('N', slots * s->block, k, -1, v, ld, 1, s->data, s->ld);
}

static int local_factor(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t *info) {
  const int64_t n = slots * s->block;
  for (int64_t i = 0; triangle == REAP_UPPER && i < n; i++) s->data[i + i * s->ld] = s->upper_diagonal[i];
  return reap_dpotrf(triangle == REAP_LOWER ? 'L' : 'U', n, s->data, s->ld, info);
}

static int local_invert(reap_symmetric *s, int64_t slots) {
  return reap_dpotri_lower(slots * s->block, s->data, s->ld);
}

/* Cholesky factor, both halves of its solve, inverse. */
static int local_sweep(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc, double *explained,
                       int64_t *info) {
  const int64_t n = slots * s->block;
  REAP_TRY(reap_dpotrf_lower(n, s->data, s->ld, info));
  if (*info != 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('L', 'L', 'N', n, columns, s->data, s->ld, c, ldc));
  *explained = reap_sum_of_squares(n, columns, c, ldc);
  REAP_TRY(reap_dtrsm('L', 'L', 'T', n, columns, s->data, s->ld, c, ldc));
  return reap_dpotri_lower(n, s->data, s->ld);
}

static int local_multiply(reap_symmetric *s, int64_t slots, int64_t columns, const double *c, int64_t ldc, double *w,
                          int64_t ldw) {
  return reap_dsymm_lower(slots * s->block, columns, s->data, s->ld, c, ldc, w, ldw);
}

static int local_outer(reap_symmetric *s, int64_t slots, int64_t columns, const double *w, int64_t ldw) {
  return reap_dsyrk_lower('N', slots * s->block, columns, 1, w, ldw, 0, s->data, s->ld);
}

static int local_solve(reap_symmetric *s, int64_t slots, int64_t columns, double *b, int64_t ldb, double *explained) {
  const int64_t n = slots * s->block;
  REAP_TRY(reap_dtrsm('L', 'U', 'T', n, columns, s->data, s->ld, b, ldb));
  *explained = reap_sum_of_squares(n, columns, b, ldb);
  return reap_dtrsm('L', 'U', 'N', n, columns, s->data, s->ld, b, ldb);
}

static int local_column_sums(reap_symmetric *s, reap_triangle triangle, int64_t slots, double *sums) {
  const int64_t n = slots * s->block;
  for (int64_t j = 0; j < n; j++) {
    const double *column = s->data + j * s->ld;
    const int64_t from = triangle == REAP_LOWER ? j + 1 : 0, to = triangle == REAP_LOWER ? n : j;
    double sum = triangle == REAP_LOWER ? fabs(column[j]) : 0;
    for (int64_t i = from; i < to; i++) sums[i] += fabs(column[i]);
    for (int64_t i = from; i < to; i++) sum += fabs(column[i]);
    sums[j] += sum;
  }
  return REAP_OK;
}

static int local_difference(reap_symmetric *s, int64_t slots, const double *x, double *sums) {
  const int64_t n = slots * s->block;
  for (int64_t j = 0; j < n; j++) {
    const double *column = s->data + j * s->ld, weight = x[j];
    double sum = 0;
    for (int64_t i = 0; i < j; i++) sums[i] -= column[i] * weight;
    for (int64_t i = 0; i < j; i++) sum -= column[i] * x[i];
    for (int64_t i = j + 1; i < n; i++) sums[i] += column[i] * weight;
    for (int64_t i = j + 1; i < n; i++) sum += column[i] * x[i];
    sums[j] += sum;
  }
  return REAP_OK;
}

static const symmetric_table local_table = {
    local_destroy,  local_set,    local_put_panel, local_gather,      local_gather_rows, local_put,
    local_move,     local_blocks, local_update,    local_factor,      local_invert,      local_sweep,
    local_multiply, local_outer,  local_solve,     local_column_sums, local_difference};

int reap_symmetric_local_create(reap_symmetric *s) {
  enum { PAGE_DOUBLES = 512, PAD = 8 };
  int64_t size = 0;
  s->table = &local_table;
  s->local_columns = s->slots * s->block;
  s->ld = s->local_columns + (s->local_columns % PAGE_DOUBLES == 0 ? PAD : 0);
  REAP_TRY(reap_multiply(s->ld, s->local_columns, &size));
  return reap_alloc(&s->data, size, sizeof *s->data);
}
