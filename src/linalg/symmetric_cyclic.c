/* A symmetric pair of matrices distributed over a grid in ScaLAPACK's block-cyclic layout; see symmetric.h.
 *
 * Blocks of the layout are whole slots, so every block x block piece of the matrix lies on one rank. Columns come and
 * go by symmetric_gather.c. An update is level 3 on each rank's own rows and columns without further messages. When
 * slots are removed (dual_compact.c), the last ones move into their places (symmetric_move.c). The rest is always the
 * leading part of the layout: balanced, and valid for ScaLAPACK.
 *
 * Cost on p ranks: update n^2 k / p; product and solve with m columns 2 n^2 m / p and n^2 elements received. Failure
 * mode: on hundreds of ranks the n^2 elements received per product exceed the work; m columns per rank should stay
 * above some tens.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/numbers.h"
#include "dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_segment.h"

enum {
  PIECE = 96,           /* rows of a block of the layout, about */
  PANEL = 512,          /* columns gathered at a time, about */
  COLUMNS_AT_ONCE = 512 /* columns of one product of an update, about */
};

static void cyclic_destroy(reap_symmetric *s) {
  reap_block_cyclic_destroy(&s->cyclic);
  reap_free(&s->row_owner);
  reap_free(&s->column_owner);
  reap_free(&s->local_row);
  reap_free(&s->local_column);
}

static const reap_comm *comm_of(const reap_symmetric *s) { return reap_grid_comm(s->grid); }

static int cyclic_blocks(reap_symmetric *s, int64_t slots, double *out) {
  const int64_t b = s->block;
  const int rank = reap_comm_rank(comm_of(s));
  memset(out, 0, (size_t)(slots * b * b) * sizeof *out);
  for (int64_t k = 0; k < slots; k++) {
    const symmetric_segment g = reap_symmetric_segment_at(s, REAP_LOWER, slots, k, k);
    if (g.owner == rank) reap_symmetric_segment_read(s, REAP_LOWER, &g, k, out + k * b * b, b);
  }
  return reap_comm_sum(comm_of(s), out, slots * b * b);
}

/* Own columns of the source, a block of the layout at a time; rows of other ranks are dropped. */
static int cyclic_set(reap_symmetric *s, reap_symmetric_source source, void *context) {
  const int64_t n = s->slots * s->block;
  double *columns = NULL;
  int64_t rows, width, ld;
  reap_block_cyclic_local(s->cyclic, &rows, &width, &ld);
  const bool whole = rows == n;
  int status = whole ? REAP_OK : reap_alloc(&columns, n * s->piece, sizeof *columns);
  for (int64_t j = 0; status == REAP_OK && j < width; j += s->piece) {
    const int64_t count = reap_smaller(s->piece, width - j);
    status = source(context, 0, n, reap_block_cyclic_column(s->cyclic, j), count, whole ? s->data + j * ld : columns,
                    whole ? ld : n);
    for (int64_t i = 0; status == REAP_OK && !whole && i < rows; i += s->piece) {
      const double *from = columns + reap_block_cyclic_row(s->cyclic, i);
      for (int64_t t = 0; t < count; t++)
        memcpy(s->data + i + (j + t) * ld, from + t * n, (size_t)reap_smaller(s->piece, rows - i) * sizeof *from);
    }
  }
  reap_free(&columns);
  return reap_comm_agree(comm_of(s), status);
}

/* How many of the leading rows stand on this rank, by rows or by columns of the grid, and every how many of them one
 * piece. */
static int64_t count_rows(const reap_symmetric *s, bool by_rows, int64_t slots, int64_t *first, int64_t *step) {
  const int64_t n = slots * s->block, nb = s->piece;
  int rows, columns, row, column;
  reap_grid_shape(s->grid, &rows, &columns, &row, &column);
  *step = nb * (by_rows ? rows : columns);
  *first = nb * (by_rows ? row : column);
  int64_t count = 0;
  for (int64_t i = *first; i < n; i += *step) count += reap_smaller(nb, n - i);
  return count;
}

/* Rows of replicated v [slots * b, k] that stand on this rank, count in all: as they are (*own NULL) if those are all,
 * else a copy [count, k] in *own. */
static int take_rows(const reap_symmetric *s, bool by_rows, int64_t slots, int64_t k, const double *v, int64_t ld,
                     double **own, int64_t *count) {
  const int64_t n = slots * s->block, nb = s->piece;
  int64_t first, step;
  *count = count_rows(s, by_rows, slots, &first, &step);
  if (*count == n) return REAP_OK;
  REAP_TRY(reap_alloc(own, *count * k, sizeof **own));
  for (int64_t j = 0; j < k; j++)
    for (int64_t i = first, at = 0; i < n; i += step, at += nb)
      memcpy(*own + at + j * *count, v + i + j * ld, (size_t)reap_smaller(nb, n - i) * sizeof *v);
  return REAP_OK;
}

/* This rank's rows of the panel for an update, by rows of the grid in v and by its columns in q. */
typedef struct own_update {
  int64_t rows, columns, k, ldv, ldq;
  const double *v, *q;
  double *square; /* [piece, piece] */
} own_update;

enum {
  LEAST_SQUARE = 48 /* rows of a square that is computed whole; larger ones are halves and what is below the first */
};

/* Lower triangle of the square c [size, size] on the diagonal -= v q': what stands above belongs to the upper matrix.
 */
static int update_square(const reap_symmetric *s, const own_update *u, int64_t i, int64_t j, int64_t size, double *c) {
  const int64_t nb = s->piece, half = size / 16 * 8;
  if (size > LEAST_SQUARE) {
    REAP_TRY(update_square(s, u, i, j, half, c));
    REAP_TRY(reap_dgemm('N', 'T', size - half, half, u->k, -1, u->v + i + half, u->ldv, u->q + j, u->ldq, 1, c + half,
                        s->ld));
    return update_square(s, u, i + half, j + half, size - half, c + half * (s->ld + 1));
  }
  REAP_TRY(reap_dgemm('N', 'T', size, size, u->k, 1, u->v + i, u->ldv, u->q + j, u->ldq, 0, u->square, nb));
  for (int64_t t = 0; t < size; t++)
    for (int64_t p = t; p < size; p++) c[p + t * s->ld] -= u->square[p + t * nb];
  return REAP_OK;
}

/* Rows i .. end of one block of columns of the layout -= v q', down from the diagonal. */
static int update_block_column(reap_symmetric *s, const own_update *u, int64_t i, int64_t end, int64_t j,
                               int64_t width) {
  double *c = s->data + i + j * s->ld;
  if (i < end && reap_block_cyclic_row(s->cyclic, i) == reap_block_cyclic_column(s->cyclic, j)) {
    REAP_TRY(update_square(s, u, i, j, width, c)); /* as high as it is wide: both end where the matrix does */
    i += width;
    c += width;
  }
  if (i >= end) return REAP_OK;
  return reap_dgemm('N', 'T', end - i, width, u->k, -1, u->v + i, u->ldv, u->q + j, u->ldq, 1, c, s->ld);
}

/* First own row at or below the diagonal of own column j. */
static int64_t first_row(const reap_symmetric *s, int64_t rows, int64_t j) {
  const int64_t at = reap_block_cyclic_column(s->cyclic, j);
  int64_t i = 0;
  while (i < rows && reap_block_cyclic_row(s->cyclic, i) < at) i += s->piece;
  return i;
}

/* Lower part of this rank's -= v q'. Some blocks of columns are combined: the squares along the diagonal one by one,
 * the part below all of them in one wide product. */
static int update_own(reap_symmetric *s, const own_update *u) {
  const int64_t nb = s->piece, wide = COLUMNS_AT_ONCE / nb > 1 ? COLUMNS_AT_ONCE / nb * nb : nb;
  for (int64_t first = 0; first < u->columns; first += wide) {
    const int64_t width = reap_smaller(wide, u->columns - first), last = first + (width - 1) / nb * nb;
    const int64_t below = reap_smaller(first_row(s, u->rows, last) + nb, u->rows);
    for (int64_t j = first; j < first + width; j += nb)
      REAP_TRY(update_block_column(s, u, first_row(s, u->rows, j), below, j, reap_smaller(nb, u->columns - j)));
    if (below < u->rows)
      REAP_TRY(reap_dgemm('N', 'T', u->rows - below, width, u->k, -1, u->v + below, u->ldv, u->q + first, u->ldq, 1,
                          s->data + below + first * s->ld, s->ld));
  }
  return REAP_OK;
}

static int cyclic_update(reap_symmetric *s, int64_t slots, int64_t k, const double *v, int64_t ld) {
  double *by_rows = NULL, *by_columns = NULL, *square = NULL;
  own_update u = {.k = k};
  int status = take_rows(s, true, slots, k, v, ld, &by_rows, &u.rows);
  if (status == REAP_OK) status = take_rows(s, false, slots, k, v, ld, &by_columns, &u.columns);
  if (status == REAP_OK) status = reap_alloc(&square, s->piece * s->piece, sizeof *square);
  u.v = by_rows ? by_rows : v;
  u.q = by_columns ? by_columns : v;
  u.ldv = by_rows ? u.rows : ld;
  u.ldq = by_columns ? u.columns : ld;
  u.square = square;
  if (status == REAP_OK) status = update_own(s, &u);
  reap_free(&by_rows);
  reap_free(&by_columns);
  reap_free(&square);
  return reap_comm_agree(comm_of(s), status);
}

static int cyclic_factor(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t *info) {
  const int rank = reap_comm_rank(comm_of(s));
  bool mirrored;
  for (int64_t k = 0; triangle == REAP_UPPER && k < slots; k++)
    for (int64_t t = 0; t < s->block && reap_symmetric_owner_of(s, triangle, k, k, &mirrored) == rank; t++)
      reap_symmetric_block_at(s, k, k, false)[t + t * s->ld] = s->upper_diagonal[k * s->block + t];
  return reap_block_cyclic_potrf(s->cyclic, triangle == REAP_LOWER ? 'L' : 'U', slots * s->block, info);
}

static int cyclic_invert(reap_symmetric *s, int64_t slots) {
  return reap_block_cyclic_potri(s->cyclic, 'L', slots * s->block);
}

/* Panels of columns, in order or in reverse: the walk that product and solve share. */
typedef struct walk {
  reap_symmetric *s;
  int64_t slots, width, *slot;
  double *columns; /* [slots * block, width * block] */
} walk;

static int walk_open(reap_symmetric *s, int64_t slots, walk *w) {
  *w = (walk){.s = s, .slots = slots, .width = reap_smaller(slots, 1 + (PANEL - 1) / s->block)};
  int status = reap_alloc(&w->slot, w->width, sizeof *w->slot);
  if (status == REAP_OK) status = reap_alloc(&w->columns, slots * s->block * w->width * s->block, sizeof *w->columns);
  return reap_comm_agree(comm_of(s), status);
}

static void walk_close(walk *w) {
  reap_free(&w->slot);
  reap_free(&w->columns);
}

/* Gathers the panel from `first`; *count slots. The factor's own diagonal comes with the upper triangle here. */
static int walk_gather(walk *w, reap_triangle triangle, int64_t first, int64_t slots, int64_t *count) {
  *count = reap_smaller(w->width, w->slots - first);
  for (int64_t k = 0; k < *count; k++) w->slot[k] = first + k;
  return reap_symmetric_cyclic_gather(w->s, triangle, slots, *count, w->slot, w->columns);
}

static int cyclic_multiply(reap_symmetric *s, int64_t slots, int64_t columns, const double *c, int64_t ldc, double *w,
                           int64_t ldw) {
  const int64_t b = s->block, rows = slots * b;
  walk panel;
  int64_t count;
  int status = walk_open(s, slots, &panel);
  for (int64_t first = 0; status == REAP_OK && first < slots; first += count) {
    status = walk_gather(&panel, REAP_LOWER, first, slots, &count);
    if (status == REAP_OK)
      status = reap_dgemm('T', 'N', count * b, columns, rows, 1, panel.columns, rows, c, ldc, 0, w + first * b, ldw);
  }
  walk_close(&panel);
  return status;
}

static int cyclic_outer(reap_symmetric *s, int64_t slots, int64_t columns, const double *w, int64_t ldw) {
  const int64_t b = s->block, rows = slots * b;
  walk panel;
  int status = walk_open(s, slots, &panel);
  for (int64_t first = 0; status == REAP_OK && first < slots; first += panel.width) {
    const int64_t count = reap_smaller(panel.width, slots - first);
    for (int64_t k = 0; k < count; k++) panel.slot[k] = first + k;
    status = reap_dgemm('N', 'T', rows, count * b, columns, 1, w, ldw, w + first * b, ldw, 0, panel.columns, rows);
    status = reap_comm_agree(comm_of(s), status);
    if (status == REAP_OK) status = reap_comm_sum(comm_of(s), panel.columns, rows * count * b);
    if (status == REAP_OK) status = reap_symmetric_cyclic_put(s, REAP_LOWER, slots, count, panel.slot, panel.columns);
  }
  walk_close(&panel);
  return status;
}

/* U'U X = B: forward with U' top down, then back with U bottom up; each panel of U is gathered down to its last row. */
static int cyclic_solve(reap_symmetric *s, int64_t slots, int64_t columns, double *b, int64_t ldb, double *explained) {
  walk panel;
  int64_t count;
  int status = walk_open(s, slots, &panel);
  for (int64_t first = 0; status == REAP_OK && first < slots; first += count) {
    const int64_t reach = reap_smaller(first + panel.width, slots), rows = reach * s->block, at = first * s->block;
    status = walk_gather(&panel, REAP_UPPER, first, reach, &count);
    if (status == REAP_OK && at > 0)
      status = reap_dgemm('T', 'N', rows - at, columns, at, -1, panel.columns, rows, b, ldb, 1, b + at, ldb);
    if (status == REAP_OK)
      status = reap_dtrsm('L', 'U', 'T', rows - at, columns, panel.columns + at, rows, b + at, ldb);
  }
  *explained = reap_sum_of_squares(slots * s->block, columns, b, ldb);
  for (int64_t first = (slots - 1) / panel.width * panel.width; status == REAP_OK && first >= 0; first -= panel.width) {
    const int64_t reach = reap_smaller(first + panel.width, slots), rows = reach * s->block, at = first * s->block;
    if (reach < slots) status = walk_gather(&panel, REAP_UPPER, first, reach, &count); /* the last one is still there */
    if (status == REAP_OK)
      status = reap_dtrsm('L', 'U', 'N', rows - at, columns, panel.columns + at, rows, b + at, ldb);
    if (status == REAP_OK && at > 0)
      status = reap_dgemm('N', 'N', at, columns, rows - at, -1, panel.columns, rows, b + at, ldb, 1, b, ldb);
  }
  walk_close(&panel);
  return status;
}

/* sums[i] += |a_i| for some rows; returns the sum of |a_i|. */
static double add_absolute(int64_t count, const double *a, double *sums) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sums[i] += fabs(a[i]);
  for (int64_t i = 0; i < count; i++) sum += fabs(a[i]);
  return sum;
}

static void add_upper(void *context, const symmetric_stretch *g) {
  double *sums = context;
  sums[g->column] += add_absolute(g->above, g->values, sums + g->row);
}

static void add_lower(void *context, const symmetric_stretch *g) {
  double *sums = context;
  if (g->below > g->above) sums[g->column] += fabs(g->values[g->above]);
  sums[g->column] += add_absolute(g->count - g->below, g->values + g->below, sums + g->row + g->below);
}

static int cyclic_column_sums(reap_symmetric *s, reap_triangle triangle, int64_t slots, double *sums) {
  reap_symmetric_cyclic_walk(s, slots, triangle == REAP_UPPER ? add_upper : add_lower, sums);
  return reap_comm_sum(comm_of(s), sums, slots * s->block);
}

/* sums[i] += a_i weight for some rows; returns the sum of a_i x_i. */
static double add_product(int64_t count, const double *a, double weight, const double *x, double *sums) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sums[i] += a[i] * weight;
  for (int64_t i = 0; i < count; i++) sum += a[i] * x[i];
  return sum;
}

typedef struct difference {
  const double *x;
  double *sums;
} difference;

static void add_difference(void *context, const symmetric_stretch *g) {
  const difference *d = context;
  const double *x = d->x;
  const int64_t below = g->row + g->below;
  d->sums[g->column] -= add_product(g->above, g->values, -x[g->column], x + g->row, d->sums + g->row);
  d->sums[g->column] +=
      add_product(g->count - g->below, g->values + g->below, x[g->column], x + below, d->sums + below);
}

static int cyclic_difference(reap_symmetric *s, int64_t slots, const double *x, double *sums) {
  difference d = {x, sums};
  reap_symmetric_cyclic_walk(s, slots, add_difference, &d);
  return reap_comm_sum(comm_of(s), sums, slots * s->block);
}

static const symmetric_table cyclic_table = {cyclic_destroy,
                                             cyclic_set,
                                             reap_symmetric_cyclic_put_panel,
                                             reap_symmetric_cyclic_gather,
                                             reap_symmetric_cyclic_gather_rows,
                                             reap_symmetric_cyclic_put,
                                             reap_symmetric_cyclic_move,
                                             cyclic_blocks,
                                             cyclic_update,
                                             cyclic_factor,
                                             cyclic_invert,
                                             reap_symmetric_cyclic_sweep,
                                             cyclic_multiply,
                                             cyclic_outer,
                                             cyclic_solve,
                                             cyclic_column_sums,
                                             cyclic_difference};

static void place_slots(reap_symmetric *s, int grid_rows, int grid_columns) {
  for (int64_t k = 0; k < s->slots; k++) {
    const int64_t at = k * s->block, piece = at / s->piece, inside = at % s->piece;
    s->row_owner[k] = (int)(piece % grid_rows);
    s->column_owner[k] = (int)(piece % grid_columns);
    s->local_row[k] = piece / grid_rows * s->piece + inside;
    s->local_column[k] = piece / grid_columns * s->piece + inside;
  }
}

int reap_symmetric_cyclic_create(reap_symmetric *s) {
  int grid_rows, grid_columns, row, column, status = REAP_OK;
  int64_t rows = 0;
  reap_grid_shape(s->grid, &grid_rows, &grid_columns, &row, &column);
  s->table = &cyclic_table;
  s->grid_columns = grid_columns;
  /* Small matrices get small blocks, so that every rank has some. */
  int64_t per_piece = reap_smaller((PIECE + s->block / 2) / s->block, s->slots / (2 * (int64_t)grid_columns));
  s->piece = s->block * (per_piece > 1 ? per_piece : 1);
  REAP_TRY_OR(reap_alloc(&s->row_owner, s->slots, sizeof *s->row_owner), agree);
  REAP_TRY_OR(reap_alloc(&s->column_owner, s->slots, sizeof *s->column_owner), agree);
  REAP_TRY_OR(reap_alloc(&s->local_row, s->slots, sizeof *s->local_row), agree);
  status = reap_alloc(&s->local_column, s->slots, sizeof *s->local_column);
agree:
  REAP_TRY(reap_comm_agree(comm_of(s), status));
  const int64_t n = s->slots * s->block;
  REAP_TRY(reap_block_cyclic_create(s->grid, n, n, s->piece, s->piece, &s->cyclic));
  s->data = reap_block_cyclic_local(s->cyclic, &rows, &s->local_columns, &s->ld);
  place_slots(s, grid_rows, grid_columns);
  return REAP_OK;
}
