/* Panels of a distributed lower matrix; see symmetric_panel.h.
 *
 * Rows below the panel's own are columns as they stand, those above are the rows of other columns of blocks: a whole
 * block either way, and on one rank. So a rank's part of a panel is a list of blocks of the layout, packed into one
 * matrix.
 *
 * Cost: one broadcast of a block, one MPI_Allgatherv of rows x columns. Memory: the panel once more.
 */
#include "symmetric_panel.h"

#include <string.h>

#include "base/numbers.h"
#include "dense.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"

static const reap_comm *comm_of(const symmetric_panel *p) { return reap_grid_comm(p->s->grid); }

int reap_symmetric_panel_open(reap_symmetric *s, int64_t slots, symmetric_panel *p) {
  *p = (symmetric_panel){.s = s, .rows = slots * s->block, .most = s->piece};
  const int ranks = reap_comm_size(comm_of(p));
  int64_t size = 0;
  int status = reap_multiply(p->rows, p->most, &size);
  if (status == REAP_OK) status = reap_alloc(&p->count, 3 * ranks, sizeof *p->count);
  if (status == REAP_OK) status = reap_alloc(&p->pieces, size, sizeof *p->pieces);
  if (status == REAP_OK) status = reap_alloc(&p->square, p->most * p->most, sizeof *p->square);
  if (status == REAP_OK) p->elements = p->count + ranks;
  if (status == REAP_OK) p->offset = p->elements + ranks;
  return reap_comm_agree(comm_of(p), status);
}

void reap_symmetric_panel_close(symmetric_panel *p) {
  reap_free(&p->count);
  reap_free(&p->pieces);
  reap_free(&p->square);
}

/* The block of rows from `row` in the panel's columns. */
typedef struct piece {
  int64_t row, rows;
  int owner;
  bool mirrored; /* kept as columns, being above the diagonal */
  double *data;  /* on its owner */
} piece;

static piece piece_at(const symmetric_panel *p, int64_t row) {
  const reap_symmetric *s = p->s;
  const int64_t i = row / s->block, j = p->at / s->block, high = row < p->at ? j : i, low = row < p->at ? i : j;
  piece q = {.row = row, .rows = reap_smaller(s->piece, p->rows - row), .mirrored = row < p->at};
  q.owner = s->row_owner[high] * s->grid_columns + s->column_owner[low];
  q.data = s->data + s->local_row[high] + s->local_column[low] * s->ld;
  return q;
}

static void copy(int64_t rows, int64_t columns, const double *from, int64_t from_ld, double *to, int64_t to_ld) {
  for (int64_t j = 0; j < columns; j++) memcpy(to + j * to_ld, from + j * from_ld, (size_t)rows * sizeof *to);
}

static void read_own(symmetric_panel *p) {
  const int rank = reap_comm_rank(comm_of(p));
  double *to = p->own;
  for (int64_t row = 0; row < p->rows; row += p->s->piece) {
    const piece q = piece_at(p, row);
    if (row == p->at || q.owner != rank) continue;
    if (q.mirrored)
      reap_transpose(p->size, q.rows, q.data, p->s->ld, to, p->own_count);
    else
      copy(q.rows, p->size, q.data, p->s->ld, to, p->own_count);
    to += q.rows;
  }
}

int reap_symmetric_panel_read(symmetric_panel *p, int64_t at) {
  const int ranks = reap_comm_size(comm_of(p)), rank = reap_comm_rank(comm_of(p));
  p->at = at;
  p->size = reap_smaller(p->most, p->rows - at);
  for (int r = 0; r < ranks; r++) p->count[r] = 0;
  for (int64_t row = 0; row < p->rows; row += p->s->piece) {
    const piece q = piece_at(p, row);
    if (row != at) p->count[q.owner] += q.rows;
  }
  for (int r = 0; r < ranks; r++) {
    p->elements[r] = p->count[r] * p->size;
    p->offset[r] = r == 0 ? 0 : p->offset[r - 1] + p->elements[r - 1];
  }
  p->own_count = p->count[rank];
  p->own = p->pieces + p->offset[rank];
  const piece square = piece_at(p, at);
  if (square.owner == rank) copy(p->size, p->size, square.data, p->s->ld, p->square, p->size);
  read_own(p);
  return reap_comm_broadcast(comm_of(p), p->square, (size_t)(p->size * p->size) * sizeof *p->square, square.owner);
}

int reap_symmetric_panel_share(symmetric_panel *p, double *out) {
  const int ranks = reap_comm_size(comm_of(p));
  REAP_TRY(reap_symmetric_cyclic_exchange(p->s, p->elements, p->offset, p->pieces));
  for (int r = 0; r < ranks; r++) {
    const double *from = p->pieces + p->offset[r];
    for (int64_t row = 0; row < p->rows; row += p->s->piece) {
      const piece q = piece_at(p, row);
      if (row == p->at || q.owner != r) continue;
      copy(q.rows, p->size, from, p->count[r], out + row, p->rows);
      from += q.rows;
    }
  }
  for (int64_t j = 0; j < p->size; j++) memset(out + p->at + j * p->rows, 0, (size_t)p->size * sizeof *out);
  return REAP_OK;
}

void reap_symmetric_panel_write(const symmetric_panel *p) {
  const int rank = reap_comm_rank(comm_of(p));
  const double *from = p->own;
  for (int64_t row = 0; row < p->rows; row += p->s->piece) {
    const piece q = piece_at(p, row);
    if (q.owner != rank) continue;
    if (row == p->at) {
      for (int64_t j = 0; j < p->size; j++)
        memcpy(q.data + j + j * p->s->ld, p->square + j + j * p->size, (size_t)(p->size - j) * sizeof *from);
      continue;
    }
    if (q.mirrored)
      reap_transpose(q.rows, p->size, from, p->own_count, q.data, p->s->ld);
    else
      copy(q.rows, p->size, from, p->own_count, q.data, p->s->ld);
    from += q.rows;
  }
}
