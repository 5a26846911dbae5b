/* Blocks of a block-cyclic pair of matrices by slots; see symmetric_segment.h. */
#include "symmetric_segment.h"
#include "base/numbers.h"

#include <string.h>

int reap_symmetric_owner_of(const reap_symmetric *s, reap_triangle triangle, int64_t i, int64_t j, bool *mirrored) {
  const int columns = s->grid_columns;
  *mirrored = triangle == REAP_LOWER ? i < j : i > j;
  return *mirrored ? s->row_owner[j] * columns + s->column_owner[i] : s->row_owner[i] * columns + s->column_owner[j];
}

double *reap_symmetric_block_at(const reap_symmetric *s, int64_t i, int64_t j, bool mirrored) {
  return mirrored ? s->data + s->local_row[j] + s->local_column[i] * s->ld
                  : s->data + s->local_row[i] + s->local_column[j] * s->ld;
}

symmetric_segment reap_symmetric_segment_at(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t i,
                                            int64_t j) {
  const int64_t per = s->piece / s->block, end = reap_smaller((i / per + 1) * per, slots);
  symmetric_segment g = {.row = i, .count = 1};
  if (i / per != j / per)
    g.count = end - i;
  else if (i < j)
    g.count = j - i;
  else if (i > j)
    g.count = end - i;
  g.owner = reap_symmetric_owner_of(s, triangle, i, j, &g.mirrored);
  return g;
}

void reap_symmetric_segment_read(const reap_symmetric *s, reap_triangle triangle, const symmetric_segment *g, int64_t j,
                                 double *out, int64_t to) {
  const int64_t b = s->block, rows = g->count * b, ld = s->ld;
  const double *from = reap_symmetric_block_at(s, g->row, j, g->mirrored);
  if (g->row == j) {
    for (int64_t t = 0; t < b; t++)
      for (int64_t p = 0; p < b; p++)
        out[p + t * to] = (triangle == REAP_LOWER ? p < t : p > t) ? from[t + p * ld] : from[p + t * ld];
  } else if (g->mirrored) {
    for (int64_t p = 0; p < rows; p++)
      for (int64_t t = 0; t < b; t++) out[p + t * to] = from[t + p * ld];
  } else {
    for (int64_t t = 0; t < b; t++) memcpy(out + t * to, from + t * ld, (size_t)rows * sizeof *out);
  }
}

void reap_symmetric_block_prefetch(const reap_symmetric *s, reap_triangle triangle, int64_t i, int64_t j) {
  bool mirrored;
  if (reap_symmetric_owner_of(s, triangle, i, j, &mirrored) != reap_comm_rank(reap_grid_comm(s->grid))) return;
  const double *from = reap_symmetric_block_at(s, i, j, mirrored);
  for (int64_t t = 0; t < s->block; t++, from += s->ld) {
    __builtin_prefetch(from);
    __builtin_prefetch(from + s->block - 1);
  }
}

void reap_symmetric_segment_write(reap_symmetric *s, reap_triangle triangle, const symmetric_segment *g, int64_t j,
                                  const double *columns, int64_t ld) {
  const int64_t b = s->block, rows = g->count * b;
  double *to = reap_symmetric_block_at(s, g->row, j, g->mirrored);
  if (g->row == j) {
    for (int64_t t = 0; t < b; t++)
      for (int64_t p = 0; p < b; p++)
        if (triangle == REAP_LOWER ? p >= t : p < t) to[p + t * s->ld] = columns[p + t * ld];
  } else if (g->mirrored) {
    for (int64_t p = 0; p < rows; p++)
      for (int64_t t = 0; t < b; t++) to[t + p * s->ld] = columns[p + t * ld];
  } else {
    for (int64_t t = 0; t < b; t++) memcpy(to + t * s->ld, columns + t * ld, (size_t)rows * sizeof *to);
  }
}

/* The stretch from local row i of local column j; count is 0 behind the last of n rows. */
static symmetric_stretch stretch_at(const reap_symmetric *s, int64_t n, int64_t rows, int64_t i, int64_t j) {
  symmetric_stretch g = {.column = reap_block_cyclic_column(s->cyclic, j),
                         .row = reap_block_cyclic_row(s->cyclic, i),
                         .values = s->data + i + j * s->ld};
  if (g.row >= n) return g;
  g.count = reap_smaller(reap_smaller(s->piece, n - g.row), rows - i);
  g.above = g.column < g.row ? 0 : reap_smaller(g.column - g.row, g.count);
  g.below = g.above + (g.above < g.count && g.row + g.above == g.column);
  return g;
}

void reap_symmetric_cyclic_walk(const reap_symmetric *s, int64_t slots, symmetric_visitor visit, void *context) {
  const int64_t n = slots * s->block;
  int64_t rows, columns, ld;
  reap_block_cyclic_local(s->cyclic, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns && reap_block_cyclic_column(s->cyclic, j) < n; j++)
    for (int64_t i = 0; i < rows; i += s->piece) {
      const symmetric_stretch g = stretch_at(s, n, rows, i, j);
      visit(context, &g);
    }
}
