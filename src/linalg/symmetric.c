/* What the local and the distributed form of reap/symmetric.h share, and the way to one of them. */
#include "symmetric.h"

#include <math.h>

#include "base/numbers.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_table.h"

int reap_symmetric_create(const reap_grid *grid, int64_t slots, int64_t block, reap_symmetric **out) {
  reap_symmetric *s = NULL;
  int64_t n = 0;
  int status = reap_calloc(&s, 1, sizeof *s);
  if (status == REAP_OK) {
    s->grid = grid;
    s->slots = slots;
    s->block = block;
    status = reap_multiply(slots, block, &n);
  }
  if (status == REAP_OK) status = reap_calloc(&s->upper_diagonal, n, sizeof *s->upper_diagonal);
  status = reap_comm_agree(reap_grid_comm(grid), status);
  if (status == REAP_OK) status = grid ? reap_symmetric_cyclic_create(s) : reap_symmetric_local_create(s);
  if (status != REAP_OK) reap_symmetric_destroy(&s);
  *out = s;
  return status;
}

void reap_symmetric_destroy(reap_symmetric **matrix) {
  reap_symmetric *s = *matrix;
  if (!s) return;
  if (s->table) s->table->destroy(s);
  reap_free(&s->upper_diagonal);
  reap_free(matrix);
}

bool reap_symmetric_distributed(const reap_symmetric *s) { return s->grid != NULL; }

const reap_comm *reap_symmetric_comm(const reap_symmetric *s) { return reap_grid_comm(s->grid); }

double *reap_symmetric_upper_diagonal(reap_symmetric *s) { return s->upper_diagonal; }

int reap_symmetric_set(reap_symmetric *s, reap_symmetric_source source, void *context) {
  return s->table->set(s, source, context);
}

int reap_symmetric_put_panel(reap_symmetric *s, int64_t first, int64_t count, const double *columns, int64_t ld) {
  if (first < 0 || count < 1 || first + count > s->slots || ld < (s->slots - first) * s->block)
    return reap_error(REAP_ERR_INTERNAL, "a panel does not fit its matrix");
  s->table->put_panel(s, first, count, columns, ld);
  return REAP_OK;
}

int reap_symmetric_gather(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                          double *out) {
  const int64_t b = s->block, rows = slots * b;
  REAP_TRY(s->table->gather(s, triangle, slots, count, slot, out));
  for (int64_t k = 0; triangle == REAP_UPPER && k < count; k++)
    for (int64_t t = 0; t < b; t++) {
      const int64_t at = slot[k] * b + t;
      if (at < rows) out[at + (k * b + t) * rows] = s->upper_diagonal[at];
    }
  return REAP_OK;
}

int reap_symmetric_gather_rows(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot,
                               const int64_t *first, const int64_t *row, double *out, int64_t ld) {
  const int64_t b = s->block, rank = s->grid ? reap_comm_rank(reap_grid_comm(s->grid)) : 0;
  REAP_TRY(s->table->gather_rows(s, triangle, count, slot, first, row, out, ld));
  for (int64_t k = 0; triangle == REAP_UPPER && k < count; k++)
    for (int64_t i = first[rank]; i < first[rank + 1]; i++)
      for (int64_t t = 0; t < b && row[i] == slot[k]; t++)
        out[(i - first[rank]) * b + t + (k * b + t) * ld] = s->upper_diagonal[slot[k] * b + t];
  return REAP_OK;
}

int reap_symmetric_put(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                       const double *columns) {
  return s->table->put(s, triangle, slots, count, slot, columns);
}

int reap_symmetric_move(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *from,
                        const int64_t *to) {
  return count > 0 ? s->table->move(s, triangle, slots, count, from, to) : REAP_OK;
}

int reap_symmetric_blocks(reap_symmetric *s, int64_t slots, double *out) { return s->table->blocks(s, slots, out); }

int reap_symmetric_update(reap_symmetric *s, int64_t slots, int64_t k, const double *v, int64_t ld) {
  return k > 0 ? s->table->update(s, slots, k, v, ld) : REAP_OK;
}

int reap_symmetric_restore(reap_symmetric *s, int64_t slots) {
  const int64_t rows = slots * s->block, width = 1 + 128 / s->block;
  int64_t *slot = NULL;
  double *columns = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&slot, width, sizeof *slot), done);
  REAP_TRY_OR(reap_alloc(&columns, rows * width * s->block, sizeof *columns), done);
  for (int64_t first = 0; first < slots; first += width) {
    const int64_t count = reap_smaller(width, slots - first);
    for (int64_t k = 0; k < count; k++) slot[k] = first + k;
    REAP_TRY_OR(reap_symmetric_gather(s, REAP_UPPER, slots, count, slot, columns), done);
    REAP_TRY_OR(reap_symmetric_put(s, REAP_LOWER, slots, count, slot, columns), done);
  }
done:
  reap_free(&slot);
  reap_free(&columns);
  return status;
}

int reap_symmetric_factor(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t *info) {
  return s->table->factor(s, triangle, slots, info);
}

int reap_symmetric_invert(reap_symmetric *s, int64_t slots) { return s->table->invert(s, slots); }

int reap_symmetric_sweep(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc, double *explained,
                         int64_t *info) {
  *explained = 0;
  *info = 0;
  return s->table->sweep(s, slots, columns, c, ldc, explained, info);
}

int reap_symmetric_multiply(reap_symmetric *s, int64_t slots, int64_t columns, const double *c, int64_t ldc, double *w,
                            int64_t ldw) {
  return s->table->multiply(s, slots, columns, c, ldc, w, ldw);
}

int reap_symmetric_outer(reap_symmetric *s, int64_t slots, int64_t columns, const double *w, int64_t ldw) {
  return s->table->outer(s, slots, columns, w, ldw);
}

int reap_symmetric_solve(reap_symmetric *s, int64_t slots, int64_t columns, double *b, int64_t ldb, double *explained) {
  *explained = 0;
  return s->table->solve(s, slots, columns, b, ldb, explained);
}

int reap_symmetric_norm(reap_symmetric *s, reap_triangle triangle, int64_t slots, double *norm) {
  double *sums = NULL;
  int status = reap_calloc(&sums, slots * s->block, sizeof *sums);
  status = reap_comm_agree(reap_grid_comm(s->grid), status);
  if (status == REAP_OK) status = s->table->column_sums(s, triangle, slots, sums);
  *norm = 0;
  for (int64_t i = 0; status == REAP_OK && i < slots * s->block; i++) {
    const double sum = sums[i] + (triangle == REAP_UPPER ? s->upper_diagonal[i] : 0);
    if (!(sum <= *norm)) *norm = sum;
  }
  reap_free(&sums);
  return status;
}

int reap_symmetric_gap(reap_symmetric *s, int64_t slots, const double *x, double *gap) {
  double *sums = NULL;
  int status = reap_calloc(&sums, slots * s->block, sizeof *sums);
  status = reap_comm_agree(reap_grid_comm(s->grid), status);
  if (status == REAP_OK) status = s->table->difference(s, slots, x, sums);
  *gap = 0;
  for (int64_t i = 0; status == REAP_OK && i < slots * s->block; i++) {
    const double one = fabs(sums[i] * x[i]);
    if (!(one <= *gap)) *gap = one;
    if (isnan(one)) break;
  }
  reap_free(&sums);
  return status;
}

void reap_symmetric_share(const reap_symmetric *s, int64_t m, int64_t *first, int64_t *count) {
  int64_t last = m;
  *first = 0;
  if (s->grid) {
    const reap_comm *comm = reap_grid_comm(s->grid);
    reap_comm_share(m, reap_comm_rank(comm), reap_comm_size(comm), first, &last);
  }
  *count = last - *first;
}

int reap_symmetric_collect(const reap_symmetric *s, const int64_t *first, int64_t columns, double *pieces) {
  return s->grid ? reap_symmetric_cyclic_collect(s, first, columns, pieces) : REAP_OK;
}

int reap_symmetric_sum(const reap_symmetric *s, double *values, int64_t count) {
  return s->grid ? reap_comm_sum(reap_grid_comm(s->grid), values, count) : REAP_OK;
}
