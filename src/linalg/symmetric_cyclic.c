/* A symmetric pair of matrices spread over a grid in ScaLAPACK's block-cyclic layout; see reap/symmetric.h.
 *
 * Blocks of the layout are whole slots, so every block x block piece of the matrix lies on one rank. What the
 * elimination needs besides factor and inverse are whole columns on all ranks: owners pack their pieces, one
 * MPI_Allgatherv, everybody unpacks in the same order; or of some columns each rank its own rows, the same by
 * MPI_Alltoallv. An update is level 3 on each rank's own rows and columns without further messages. When slots leave
 * (dual_drop.c) the last ones move into the holes, so what is left is always the leading part of the layout: balanced, and
 * good for ScaLAPACK as it stands.
 *
 * Cost on p ranks (alpha a message's latency, all per rank): gather of w columns w n elements and log p alpha, of each
 * rank's rows of them w n / p and p alpha; update n^2 k / p; product and solve with m columns 2 n^2 m / p and n^2 elements
 * received. Failure mode: on hundreds of ranks the n^2 elements received per product exceed the work; m columns per rank
 * should stay above some tens.
 */
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "reap/comm_mpi.h"
#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_table.h"

enum {
  PIECE = 128,   /* rows of a block of the layout, about */
  PANEL = 512,   /* columns gathered at a time, about */
  TOGETHER = 512 /* columns of one product of an update, about */
};

static void cyclic_destroy(reap_symmetric *s) {
  reap_block_cyclic_destroy(&s->cyclic);
  reap_free(&s->row_owner);
  reap_free(&s->column_owner);
  reap_free(&s->local_row);
  reap_free(&s->local_column);
}

static const reap_comm *comm_of(const reap_symmetric *s) { return reap_grid_comm(s->grid); }

/* Where block (i, j) of the triangle is kept: the rank, and (if it is here) the address. *mirrored: as its transpose.
 */
static int owner_of(const reap_symmetric *s, reap_triangle triangle, int64_t i, int64_t j, bool *mirrored) {
  const int columns = s->grid_columns;
  *mirrored = triangle == REAP_LOWER ? i < j : i > j;
  return *mirrored ? s->row_owner[j] * columns + s->column_owner[i] : s->row_owner[i] * columns + s->column_owner[j];
}

static double *block_at(const reap_symmetric *s, int64_t i, int64_t j, bool mirrored) {
  return mirrored ? s->data + s->local_row[j] + s->local_column[i] * s->ld
                  : s->data + s->local_row[i] + s->local_column[j] * s->ld;
}

/* What of one slot's columns lies in one block of the layout: `count` slots of rows from slot `row`, all on one rank. */
typedef struct segment {
  int64_t row, count;
  int owner;
  bool mirrored; /* kept as rows, being on the other side of the diagonal */
} segment;

/* The segment of slot j's columns that starts at slot i; within the slot's own block of the layout single slots. */
static segment segment_at(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t i, int64_t j) {
  const int64_t per = s->piece / s->block, end = symmetric_least((i / per + 1) * per, slots);
  segment g = {.row = i, .count = 1};
  if (i / per != j / per)
    g.count = end - i;
  else if (i < j)
    g.count = j - i;
  else if (i > j)
    g.count = end - i;
  g.owner = owner_of(s, triangle, i, j, &g.mirrored);
  return g;
}

/* The segment as columns, out [count * b, b] with leading dimension `to`; of the diagonal block one triangle gives both. */
static void read_segment(const reap_symmetric *s, reap_triangle triangle, const segment *g, int64_t j, double *out, int64_t to) {
  const int64_t b = s->block, rows = g->count * b, ld = s->ld;
  const double *from = block_at(s, g->row, j, g->mirrored);
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

/* Writes it back from columns with leading dimension ld; the other triangle and its diagonal stay. */
static void write_segment(reap_symmetric *s, reap_triangle triangle, const segment *g, int64_t j, const double *columns,
                          int64_t ld) {
  const int64_t b = s->block, rows = g->count * b;
  double *to = block_at(s, g->row, j, g->mirrored);
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

/* Everybody's packed blocks to everybody. counts in doubles; this rank's are in their place. */
static int exchange(const reap_symmetric *s, const int64_t *counts, int64_t *offsets, double *all) {
  const int size = reap_comm_size(comm_of(s));
  int *sizes = NULL, status = REAP_OK;
  int64_t total = 0;
  REAP_TRY(reap_alloc(&sizes, 2 * size, sizeof *sizes));
  for (int r = 0; r < size; r++) {
    offsets[r] = total;
    total += counts[r];
    if (total > INT_MAX)
      status = reap_error(REAP_ERR_RESOURCE, "columns of %lld elements do not fit one message", (long long)total);
    sizes[r] = (int)counts[r];
    sizes[size + r] = (int)offsets[r];
  }
  if (status == REAP_OK)
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DOUBLE, all, sizes, sizes + size, MPI_DOUBLE, reap_comm_mpi(comm_of(s)));
  reap_free(&sizes);
  return status;
}

int symmetric_cyclic_collect(const reap_symmetric *s, const int64_t *first, int64_t columns, double *pieces) {
  const int size = reap_comm_size(comm_of(s));
  int64_t *counts = NULL;
  REAP_TRY(reap_comm_agree(comm_of(s), reap_alloc(&counts, 2 * size, sizeof *counts)));
  for (int r = 0; r < size; r++) counts[r] = (first[r + 1] - first[r]) * s->block * columns;
  const int status = exchange(s, counts, counts + size, pieces);
  reap_free(&counts);
  return status;
}

/* Packs this rank's segments of the slots' columns, in the order in which unpack() takes them. */
static void pack(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                 double *out) {
  const int rank = reap_comm_rank(comm_of(s));
  segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = segment_at(s, triangle, slots, i, slot[k]);
      if (g.owner != rank) continue;
      read_segment(s, triangle, &g, slot[k], out, g.count * s->block);
      out += g.count * s->block * s->block;
    }
}

/* offsets [ranks]: where each rank's segments start in `all`. */
static void unpack(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                   const double *all, int64_t *offsets, double *out) {
  const int64_t b = s->block, rows = slots * b;
  segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = segment_at(s, triangle, slots, i, slot[k]);
      for (int64_t t = 0; t < b; t++, offsets[g.owner] += g.count * b)
        memcpy(out + i * b + (k * b + t) * rows, all + offsets[g.owner], (size_t)(g.count * b) * sizeof *out);
    }
}

static int cyclic_gather(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                         double *out) {
  const int64_t b = s->block, rows = slots * b, size = reap_comm_size(comm_of(s));
  int64_t *counts = NULL, before = 0;
  double *all = NULL;
  int status = REAP_OK;
  segment g;
  REAP_TRY_OR(reap_calloc(&counts, 2 * size, sizeof *counts), agree);
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = segment_at(s, triangle, slots, i, slot[k]);
      counts[g.owner] += g.count * b * b;
    }
  status = reap_alloc(&all, rows * b * count, sizeof *all);
agree:
  REAP_TRY_OR(reap_comm_agree(comm_of(s), status), done);
  for (int r = 0; r < reap_comm_rank(comm_of(s)); r++) before += counts[r];
  pack(s, triangle, slots, count, slot, all + before);
  REAP_TRY_OR(exchange(s, counts, counts + size, all), done);
  unpack(s, triangle, slots, count, slot, all, counts + size, out);
done:
  reap_free(&counts);
  reap_free(&all);
  return status;
}

/* Rows of some slots' columns, rank r's in row[first[r]] .. row[first[r + 1]]. */
typedef struct wanted_rows {
  reap_triangle triangle;
  int64_t count;
  const int64_t *slot, *first, *row;
} wanted_rows;

/* What of slot j's columns from row[at] on, before row[end], is one segment. */
static segment wanted_at(const reap_symmetric *s, const wanted_rows *w, int64_t at, int64_t end, int64_t j) {
  segment g = segment_at(s, w->triangle, s->slots, w->row[at], j);
  int64_t count = 1;
  while (count < g.count && at + count < end && w->row[at + count] == g.row + count) count++;
  g.count = count;
  return g;
}

/* Elements for each rank and from each, where they start [ranks] each, for MPI_Alltoallv. */
typedef struct traffic {
  int *out, *out_at, *in, *in_at;
  double *sent, *received;
} traffic;

/* Elements that rank `to` wants of every rank, [ranks], added to counts. */
static void count_wanted(const reap_symmetric *s, const wanted_rows *w, int to, int *counts) {
  segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = w->first[to]; i < w->first[to + 1]; i += g.count) {
      g = wanted_at(s, w, i, w->first[to + 1], w->slot[k]);
      counts[g.owner] += (int)(g.count * s->block * s->block);
    }
}

/* What rank `to` wants of this one, one after the other. */
static void pack_wanted(const reap_symmetric *s, const wanted_rows *w, int to, double *out) {
  const int rank = reap_comm_rank(comm_of(s));
  segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = w->first[to]; i < w->first[to + 1]; i += g.count) {
      g = wanted_at(s, w, i, w->first[to + 1], w->slot[k]);
      if (g.owner != rank) continue;
      read_segment(s, w->triangle, &g, w->slot[k], out, g.count * s->block);
      out += g.count * s->block * s->block;
    }
}

/* This rank's rows: its own from the matrix, the others from what was received; at [ranks] moves on. */
static void unpack_wanted(const reap_symmetric *s, const wanted_rows *w, const double *received, int *at, double *out, int64_t ld) {
  const int rank = reap_comm_rank(comm_of(s));
  const int64_t b = s->block, from = w->first[rank], end = w->first[rank + 1];
  segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = from; i < end; i += g.count) {
      g = wanted_at(s, w, i, end, w->slot[k]);
      double *to = out + (i - from) * b + k * b * ld;
      if (g.owner == rank) {
        read_segment(s, w->triangle, &g, w->slot[k], to, ld);
        continue;
      }
      for (int64_t j = 0; j < b; j++, at[g.owner] += (int)(g.count * b))
        memcpy(to + j * ld, received + at[g.owner], (size_t)(g.count * b) * sizeof *to);
    }
}

/* A rank keeps what it has itself. */
static int open_traffic(const reap_symmetric *s, const wanted_rows *w, traffic *t) {
  const int size = reap_comm_size(comm_of(s)), rank = reap_comm_rank(comm_of(s));
  int *counts = NULL, out = 0, in = 0;
  REAP_TRY(reap_calloc(&t->out, 5 * size, sizeof *t->out));
  t->out_at = t->out + size;
  t->in = t->out_at + size;
  t->in_at = t->in + size;
  counts = t->in_at + size;
  if (w->first[size] * w->count > INT_MAX / (s->block * s->block))
    return reap_error(REAP_ERR_RESOURCE, "rows of %lld columns do not fit one message", (long long)(w->count * s->block));
  for (int r = 0; r < size; r++) {
    memset(counts, 0, (size_t)size * sizeof *counts);
    count_wanted(s, w, r, counts);
    t->out[r] = r == rank ? 0 : counts[rank];
    t->out_at[r] = out;
    out += t->out[r];
    for (int from = 0; r == rank && from < size; from++) {
      t->in[from] = from == rank ? 0 : counts[from];
      t->in_at[from] = in;
      in += t->in[from];
    }
  }
  REAP_TRY(reap_alloc(&t->sent, out, sizeof *t->sent));
  return reap_alloc(&t->received, in, sizeof *t->received);
}

static int cyclic_gather_rows(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot, const int64_t *first,
                              const int64_t *row, double *out, int64_t ld) {
  const wanted_rows w = {triangle, count, slot, first, row};
  const int size = reap_comm_size(comm_of(s)), rank = reap_comm_rank(comm_of(s));
  traffic t = {0};
  const int status = reap_comm_agree(comm_of(s), open_traffic(s, &w, &t));
  if (status == REAP_OK) {
    for (int r = 0; r < size; r++)
      if (r != rank) pack_wanted(s, &w, r, t.sent + t.out_at[r]);
    MPI_Alltoallv(t.sent, t.out, t.out_at, MPI_DOUBLE, t.received, t.in, t.in_at, MPI_DOUBLE, reap_comm_mpi(comm_of(s)));
    unpack_wanted(s, &w, t.received, t.in_at, out, ld);
  }
  reap_free(&t.out);
  reap_free(&t.sent);
  reap_free(&t.received);
  return status;
}

static int cyclic_put(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                      const double *columns) {
  const int64_t b = s->block, rows = slots * b;
  const int rank = reap_comm_rank(comm_of(s));
  segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = segment_at(s, triangle, slots, i, slot[k]);
      if (g.owner == rank) write_segment(s, triangle, &g, slot[k], columns + i * b + k * b * rows, rows);
    }
  return REAP_OK;
}

static void cyclic_put_panel(reap_symmetric *s, int64_t first, int64_t count, const double *columns, int64_t ld) {
  static const reap_triangle both[] = {REAP_LOWER, REAP_UPPER};
  const int64_t b = s->block;
  const int rank = reap_comm_rank(comm_of(s));
  segment g;
  for (int t = 0; t < 2; t++)
    for (int64_t k = first; k < first + count; k++)
      for (int64_t i = k; i < s->slots; i += g.count) {
        g = segment_at(s, both[t], s->slots, i, k);
        if (g.owner == rank) write_segment(s, both[t], &g, k, columns + (i - first) * b + (k - first) * b * ld, ld);
      }
}

static int cyclic_blocks(reap_symmetric *s, int64_t slots, double *out) {
  const int64_t b = s->block;
  const int rank = reap_comm_rank(comm_of(s));
  memset(out, 0, (size_t)(slots * b * b) * sizeof *out);
  for (int64_t k = 0; k < slots; k++) {
    const segment g = segment_at(s, REAP_LOWER, slots, k, k);
    if (g.owner == rank) read_segment(s, REAP_LOWER, &g, k, out + k * b * b, b);
  }
  return reap_comm_sum(comm_of(s), out, slots * b * b);
}

/* Own columns of the source, a block of the layout at a time; rows of other ranks are dropped. */
static int cyclic_set(reap_symmetric *s, reap_symmetric_source source, void *context) {
  const int64_t n = s->slots * s->block;
  double *columns = NULL;
  int64_t rows, width, ld;
  int status = reap_alloc(&columns, n * s->piece, sizeof *columns);
  reap_block_cyclic_local(s->cyclic, &rows, &width, &ld);
  for (int64_t j = 0; status == REAP_OK && j < width; j += s->piece) {
    const int64_t count = symmetric_least(s->piece, width - j);
    status = source(context, 0, n, reap_block_cyclic_column(s->cyclic, j), count, columns, n);
    for (int64_t i = 0; status == REAP_OK && i < rows; i += s->piece) {
      const double *from = columns + reap_block_cyclic_row(s->cyclic, i);
      for (int64_t t = 0; t < count; t++)
        memcpy(s->data + i + (j + t) * ld, from + t * n, (size_t)symmetric_least(s->piece, rows - i) * sizeof *from);
    }
  }
  reap_free(&columns);
  return reap_comm_agree(comm_of(s), status);
}

/* How many of the leading rows stand on this rank, by rows or by columns of the grid, and every how many of them one piece. */
static int64_t count_rows(const reap_symmetric *s, bool by_rows, int64_t slots, int64_t *first, int64_t *step) {
  const int64_t n = slots * s->block, nb = s->piece;
  int rows, columns, row, column;
  reap_grid_shape(s->grid, &rows, &columns, &row, &column);
  *step = nb * (by_rows ? rows : columns);
  *first = nb * (by_rows ? row : column);
  int64_t count = 0;
  for (int64_t i = *first; i < n; i += *step) count += symmetric_least(nb, n - i);
  return count;
}

/* Rows of replicated v [slots * b, k] that stand on this rank, count in all: as they are (*own NULL) if those are all, else a copy
 * [count, k] in *own. */
static int take_rows(const reap_symmetric *s, bool by_rows, int64_t slots, int64_t k, const double *v, int64_t ld, double **own,
                     int64_t *count) {
  const int64_t n = slots * s->block, nb = s->piece;
  int64_t first, step;
  *count = count_rows(s, by_rows, slots, &first, &step);
  if (*count == n) return REAP_OK;
  REAP_TRY(reap_alloc(own, *count * k, sizeof **own));
  for (int64_t j = 0; j < k; j++)
    for (int64_t i = first, at = 0; i < n; i += step, at += nb)
      memcpy(*own + at + j * *count, v + i + j * ld, (size_t)symmetric_least(nb, n - i) * sizeof *v);
  return REAP_OK;
}

/* This rank's rows of the panel for an update, by rows of the grid in v and by its columns in q. */
typedef struct own_update {
  int64_t rows, columns, k, ldv, ldq;
  const double *v, *q;
  double *square; /* [piece, piece] */
} own_update;

/* Rows i .. end of one block of columns of the layout -= v q', down from the diagonal. */
static int update_block_column(reap_symmetric *s, const own_update *u, int64_t i, int64_t end, int64_t j,
                               int64_t width) {
  const int64_t nb = s->piece;
  double *c = s->data + i + j * s->ld;
  if (i < end && reap_block_cyclic_row(s->cyclic, i) == reap_block_cyclic_column(s->cyclic, j)) {
    const int64_t height = symmetric_least(nb, u->rows - i); /* what stands above belongs to the upper matrix */
    REAP_TRY(reap_dgemm('N', 'T', height, width, u->k, 1, u->v + i, u->ldv, u->q + j, u->ldq, 0, u->square, nb));
    for (int64_t t = 0; t < width; t++)
      for (int64_t p = t; p < height; p++) c[p + t * s->ld] -= u->square[p + t * nb];
    i += height;
    c += height;
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

/* Lower part of this rank's -= v q'. Some blocks of columns go together: the stairs along the diagonal one by one, what
 * lies below all of them in one wide product. */
static int update_own(reap_symmetric *s, const own_update *u) {
  const int64_t nb = s->piece, wide = TOGETHER / nb > 1 ? TOGETHER / nb * nb : nb;
  for (int64_t first = 0; first < u->columns; first += wide) {
    const int64_t width = symmetric_least(wide, u->columns - first), last = first + (width - 1) / nb * nb;
    const int64_t below = symmetric_least(first_row(s, u->rows, last) + nb, u->rows);
    for (int64_t j = first; j < first + width; j += nb)
      REAP_TRY(update_block_column(s, u, first_row(s, u->rows, j), below, j, symmetric_least(nb, u->columns - j)));
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
    for (int64_t t = 0; t < s->block && owner_of(s, triangle, k, k, &mirrored) == rank; t++)
      block_at(s, k, k, false)[t + t * s->ld] = s->upper_diagonal[k * s->block + t];
  return reap_block_cyclic_potrf(s->cyclic, triangle == REAP_LOWER ? 'L' : 'U', slots * s->block, info);
}

static int cyclic_invert(reap_symmetric *s, int64_t slots) {
  return reap_block_cyclic_potri(s->cyclic, 'L', slots * s->block);
}

void symmetric_cyclic_negate(reap_symmetric *s, int64_t slots) {
  const int64_t n = slots * s->block;
  int64_t rows, columns, ld;
  reap_block_cyclic_local(s->cyclic, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++) {
    const int64_t column = reap_block_cyclic_column(s->cyclic, j);
    if (column >= n) break;
    for (int64_t i = 0; i < rows; i += s->piece) {
      const int64_t row = reap_block_cyclic_row(s->cyclic, i), from = column > row ? column - row : 0,
                    to = symmetric_least(s->piece, n - row);
      for (int64_t p = from; p < to && i + p < rows; p++) s->data[i + p + j * ld] = -s->data[i + p + j * ld];
    }
  }
}

int64_t symmetric_cyclic_run(const reap_symmetric *s, int64_t slots, int64_t first, int64_t column, bool *mine) {
  const int64_t per = s->piece / s->block;
  const int rank = reap_comm_rank(comm_of(s));
  bool mirrored;
  int64_t end = first;
  *mine = owner_of(s, REAP_LOWER, first, column, &mirrored) == rank;
  do end = symmetric_least((end / per + 1) * per, slots);
  while (end < slots && (owner_of(s, REAP_LOWER, end, column, &mirrored) == rank) == *mine);
  return end;
}

/* Panels of columns, in order or in reverse: the walk that product and solve share. */
typedef struct walk {
  reap_symmetric *s;
  int64_t slots, width, *slot;
  double *columns; /* [slots * block, width * block] */
} walk;

static int walk_open(reap_symmetric *s, int64_t slots, walk *w) {
  *w = (walk){.s = s, .slots = slots, .width = symmetric_least(slots, 1 + (PANEL - 1) / s->block)};
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
  *count = symmetric_least(w->width, w->slots - first);
  for (int64_t k = 0; k < *count; k++) w->slot[k] = first + k;
  return cyclic_gather(w->s, triangle, slots, *count, w->slot, w->columns);
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
    const int64_t count = symmetric_least(panel.width, slots - first);
    for (int64_t k = 0; k < count; k++) panel.slot[k] = first + k;
    status = reap_dgemm('N', 'T', rows, count * b, columns, 1, w, ldw, w + first * b, ldw, 0, panel.columns, rows);
    status = reap_comm_agree(comm_of(s), status);
    if (status == REAP_OK) status = reap_comm_sum(comm_of(s), panel.columns, rows * count * b);
    if (status == REAP_OK) status = cyclic_put(s, REAP_LOWER, slots, count, panel.slot, panel.columns);
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
    const int64_t reach = symmetric_least(first + panel.width, slots), rows = reach * s->block, at = first * s->block;
    status = walk_gather(&panel, REAP_UPPER, first, reach, &count);
    if (status == REAP_OK && at > 0)
      status = reap_dgemm('T', 'N', rows - at, columns, at, -1, panel.columns, rows, b, ldb, 1, b + at, ldb);
    if (status == REAP_OK)
      status = reap_dtrsm('L', 'U', 'T', rows - at, columns, panel.columns + at, rows, b + at, ldb);
  }
  *explained = symmetric_squares(slots * s->block, columns, b, ldb);
  for (int64_t first = (slots - 1) / panel.width * panel.width; status == REAP_OK && first >= 0; first -= panel.width) {
    const int64_t reach = symmetric_least(first + panel.width, slots), rows = reach * s->block, at = first * s->block;
    status = walk_gather(&panel, REAP_UPPER, first, reach, &count);
    if (status == REAP_OK)
      status = reap_dtrsm('L', 'U', 'N', rows - at, columns, panel.columns + at, rows, b + at, ldb);
    if (status == REAP_OK && at > 0)
      status = reap_dgemm('N', 'N', at, columns, rows - at, -1, panel.columns, rows, b + at, ldb, 1, b, ldb);
  }
  walk_close(&panel);
  return status;
}

static int cyclic_column_sums(reap_symmetric *s, reap_triangle triangle, int64_t slots, double *sums) {
  const int64_t n = slots * s->block;
  int64_t rows, columns, ld;
  reap_block_cyclic_local(s->cyclic, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++) {
    const int64_t gj = reap_block_cyclic_column(s->cyclic, j);
    if (gj >= n) break;
    for (int64_t i = 0; i < rows; i++) {
      const int64_t gi = reap_block_cyclic_row(s->cyclic, i);
      if (gi >= n) break;
      if (triangle == REAP_LOWER ? gi < gj : gi >= gj) continue;
      const double value = fabs(s->data[i + j * ld]);
      sums[gj] += value;
      if (gi != gj) sums[gi] += value;
    }
  }
  return reap_comm_sum(comm_of(s), sums, n);
}

static int cyclic_difference(reap_symmetric *s, int64_t slots, const double *x, double *sums) {
  const int64_t n = slots * s->block;
  int64_t rows, columns, ld;
  reap_block_cyclic_local(s->cyclic, &rows, &columns, &ld);
  for (int64_t j = 0; j < columns; j++) {
    const int64_t gj = reap_block_cyclic_column(s->cyclic, j);
    if (gj >= n) break;
    for (int64_t i = 0; i < rows; i++) {
      const int64_t gi = reap_block_cyclic_row(s->cyclic, i);
      if (gi >= n) break;
      const double value = gi == gj ? 0 : gi > gj ? s->data[i + j * ld] : -s->data[i + j * ld];
      sums[gj] += value * x[gi];
      sums[gi] += value * x[gj];
    }
  }
  return reap_comm_sum(comm_of(s), sums, n);
}

static const symmetric_table cyclic_table = {
    cyclic_destroy, cyclic_set,    cyclic_put_panel, cyclic_gather,   cyclic_gather_rows, cyclic_put,   cyclic_blocks, cyclic_update,
    cyclic_factor,  cyclic_invert, symmetric_sweep,  cyclic_multiply, cyclic_outer,       cyclic_solve, cyclic_column_sums,
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

int symmetric_cyclic_create(reap_symmetric *s) {
  int grid_rows, grid_columns, row, column, status = REAP_OK;
  int64_t rows = 0;
  reap_grid_shape(s->grid, &grid_rows, &grid_columns, &row, &column);
  s->table = &cyclic_table;
  s->grid_columns = grid_columns;
  /* Small matrices get small blocks, so that every rank has some. */
  int64_t per_piece = symmetric_least(PIECE / s->block, s->slots / (2 * (int64_t)grid_columns));
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
