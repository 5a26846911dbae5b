/* Columns of a distributed pair of matrices to the ranks and back.
 *
 * Whole columns on all ranks: the owners pack their pieces, one MPI_Allgatherv, and all ranks unpack in the same
 * order. Some columns, each rank its own rows: the same by MPI_Alltoallv. Columns that are written back are on every
 * rank, and each rank takes its own part.
 *
 * Cost on p ranks (alpha a message's latency, all per rank): gather of w columns w n elements and log p alpha, of each
 * rank's rows of them w n / p and p alpha. Memory: what is sent and received once more.
 */
#include <limits.h>
#include <string.h>

#include "comm/waiting.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_segment.h"

static const reap_comm *comm_of(const reap_symmetric *s) { return reap_grid_comm(s->grid); }

int reap_symmetric_cyclic_exchange(const reap_symmetric *s, const int64_t *counts, int64_t *offsets, double *all) {
  const int size = reap_comm_size(comm_of(s));
  int *sizes = NULL, status = REAP_OK;
  int64_t total = 0;
  REAP_TRY(reap_comm_alloc(comm_of(s), &sizes, 2 * size, sizeof *sizes));
  for (int r = 0; r < size; r++) {
    offsets[r] = total;
    total += counts[r];
    if (total > INT_MAX)
      status = reap_error(REAP_ERR_RESOURCE, "columns of %lld elements do not fit one message", (long long)total);
    sizes[r] = (int)counts[r];
    sizes[size + r] = (int)offsets[r];
  }
  if (status == REAP_OK)
    status = REAP_COMM_CALL("values of other ranks", MPI_Allgatherv, MPI_IN_PLACE, 0, MPI_DOUBLE, all, sizes,
                            sizes + size, MPI_DOUBLE, reap_comm_mpi(comm_of(s)));
  reap_free(&sizes);
  return status;
}

int reap_symmetric_cyclic_collect(const reap_symmetric *s, const int64_t *first, int64_t columns, double *pieces) {
  const int size = reap_comm_size(comm_of(s));
  int64_t *counts = NULL;
  REAP_TRY(reap_comm_alloc(comm_of(s), &counts, 2 * size, sizeof *counts));
  for (int r = 0; r < size; r++) counts[r] = (first[r + 1] - first[r]) * s->block * columns;
  const int status = reap_symmetric_cyclic_exchange(s, counts, counts + size, pieces);
  reap_free(&counts);
  return status;
}

/* Packs this rank's segments of the slots' columns, in the order in which unpack() takes them. */
static void pack(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                 double *out) {
  const int rank = reap_comm_rank(comm_of(s));
  symmetric_segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = reap_symmetric_segment_at(s, triangle, slots, i, slot[k]);
      if (g.owner != rank) continue;
      reap_symmetric_segment_read(s, triangle, &g, slot[k], out, g.count * s->block);
      out += g.count * s->block * s->block;
    }
}

/* offsets [ranks]: where each rank's segments start in `all`. */
static void unpack(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                   const double *all, int64_t *offsets, double *out) {
  const int64_t b = s->block, rows = slots * b;
  symmetric_segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = reap_symmetric_segment_at(s, triangle, slots, i, slot[k]);
      for (int64_t t = 0; t < b; t++, offsets[g.owner] += g.count * b)
        memcpy(out + i * b + (k * b + t) * rows, all + offsets[g.owner], (size_t)(g.count * b) * sizeof *out);
    }
}

int reap_symmetric_cyclic_gather(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                                 const int64_t *slot, double *out) {
  const int64_t b = s->block, rows = slots * b, size = reap_comm_size(comm_of(s));
  int64_t *counts = NULL, before = 0;
  double *all = NULL;
  int status = REAP_OK;
  symmetric_segment g;
  REAP_TRY_OR(reap_calloc(&counts, 2 * size, sizeof *counts), agree);
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = reap_symmetric_segment_at(s, triangle, slots, i, slot[k]);
      counts[g.owner] += g.count * b * b;
    }
  status = reap_alloc(&all, rows * b * count, sizeof *all);
agree:
  REAP_TRY_OR(reap_comm_agree(comm_of(s), status), done);
  for (int r = 0; r < reap_comm_rank(comm_of(s)); r++) before += counts[r];
  pack(s, triangle, slots, count, slot, all + before);
  REAP_TRY_OR(reap_symmetric_cyclic_exchange(s, counts, counts + size, all), done);
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
static symmetric_segment wanted_at(const reap_symmetric *s, const wanted_rows *w, int64_t at, int64_t end, int64_t j) {
  symmetric_segment g = reap_symmetric_segment_at(s, w->triangle, s->slots, w->row[at], j);
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

/* Elements that rank `to` needs from every rank, [ranks], added to counts. */
static void count_wanted(const reap_symmetric *s, const wanted_rows *w, int to, int *counts) {
  symmetric_segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = w->first[to]; i < w->first[to + 1]; i += g.count) {
      g = wanted_at(s, w, i, w->first[to + 1], w->slot[k]);
      counts[g.owner] += (int)(g.count * s->block * s->block);
    }
}

/* Blocks some rows ahead, where rows are in no order. */
static void prefetch(const reap_symmetric *s, const wanted_rows *w, int64_t at, int64_t end, int64_t j) {
  const int64_t ahead = 1 + 15 / s->block;
  if (at + ahead < end && w->row[at + ahead] != w->row[at + ahead - 1] + 1)
    reap_symmetric_block_prefetch(s, w->triangle, w->row[at + ahead], j);
}

/* The elements that rank `to` needs from this one, one after the other. */
static void pack_wanted(const reap_symmetric *s, const wanted_rows *w, int to, double *out) {
  const int rank = reap_comm_rank(comm_of(s));
  symmetric_segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = w->first[to]; i < w->first[to + 1]; i += g.count) {
      g = wanted_at(s, w, i, w->first[to + 1], w->slot[k]);
      prefetch(s, w, i, w->first[to + 1], w->slot[k]);
      if (g.owner != rank) continue;
      reap_symmetric_segment_read(s, w->triangle, &g, w->slot[k], out, g.count * s->block);
      out += g.count * s->block * s->block;
    }
}

/* This rank's rows: its own from the matrix, the others from what was received; at [ranks] moves on. */
static void unpack_wanted(const reap_symmetric *s, const wanted_rows *w, const double *received, int *at, double *out,
                          int64_t ld) {
  const int rank = reap_comm_rank(comm_of(s));
  const int64_t b = s->block, from = w->first[rank], end = w->first[rank + 1];
  symmetric_segment g;
  for (int64_t k = 0; k < w->count; k++)
    for (int64_t i = from; i < end; i += g.count) {
      g = wanted_at(s, w, i, end, w->slot[k]);
      prefetch(s, w, i, end, w->slot[k]);
      double *to = out + (i - from) * b + k * b * ld;
      if (g.owner == rank) {
        reap_symmetric_segment_read(s, w->triangle, &g, w->slot[k], to, ld);
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
    return reap_error(REAP_ERR_RESOURCE, "rows of %lld columns do not fit one message",
                      (long long)(w->count * s->block));
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

int reap_symmetric_cyclic_gather_rows(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot,
                                      const int64_t *first, const int64_t *row, double *out, int64_t ld) {
  const wanted_rows w = {triangle, count, slot, first, row};
  const int size = reap_comm_size(comm_of(s)), rank = reap_comm_rank(comm_of(s));
  traffic t = {0};
  int status = reap_comm_agree(comm_of(s), open_traffic(s, &w, &t));
  if (status == REAP_OK) {
    for (int r = 0; r < size; r++)
      if (r != rank) pack_wanted(s, &w, r, t.sent + t.out_at[r]);
    status = REAP_COMM_CALL("values of other ranks", MPI_Alltoallv, t.sent, t.out, t.out_at, MPI_DOUBLE, t.received,
                            t.in, t.in_at, MPI_DOUBLE, reap_comm_mpi(comm_of(s)));
  }
  if (status == REAP_OK) unpack_wanted(s, &w, t.received, t.in_at, out, ld);
  reap_free(&t.out);
  reap_free(&t.sent);
  reap_free(&t.received);
  return status;
}

int reap_symmetric_cyclic_put(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                              const int64_t *slot, const double *columns) {
  const int64_t b = s->block, rows = slots * b;
  const int rank = reap_comm_rank(comm_of(s));
  symmetric_segment g;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < slots; i += g.count) {
      g = reap_symmetric_segment_at(s, triangle, slots, i, slot[k]);
      if (g.owner == rank) reap_symmetric_segment_write(s, triangle, &g, slot[k], columns + i * b + k * b * rows, rows);
    }
  return REAP_OK;
}

void reap_symmetric_cyclic_put_panel(reap_symmetric *s, int64_t first, int64_t count, const double *columns,
                                     int64_t ld) {
  static const reap_triangle both[] = {REAP_LOWER, REAP_UPPER};
  const int64_t b = s->block;
  const int rank = reap_comm_rank(comm_of(s));
  symmetric_segment g;
  for (int t = 0; t < 2; t++)
    for (int64_t k = first; k < first + count; k++)
      for (int64_t i = k; i < s->slots; i += g.count) {
        g = reap_symmetric_segment_at(s, both[t], s->slots, i, k);
        if (g.owner == rank)
          reap_symmetric_segment_write(s, both[t], &g, k, columns + (i - first) * b + (k - first) * b * ld, ld);
      }
}
