/* Redistribution from columns to rows: each rank sends its outputs to the ranks that own the rows.
 *
 * One MPI_Alltoallv. On the side that sends, the rows of each rank are packed; those that arrive stand in their
 * columns at once, as outputs are shared out in order. Cost: each rank sends and receives its share of the matrix.
 * Memory: a copy of its share.
 */
#include <limits.h>
#include <mpi.h>
#include <string.h>

#include "comm/waiting.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_table.h"

/* Elements to and from each rank, and where they start: [4][ranks]. */
static int count_elements(const reap_symmetric *s, const int64_t *first, int64_t m, int *counts) {
  const reap_comm *comm = reap_grid_comm(s->grid);
  const int size = reap_comm_size(comm), rank = reap_comm_rank(comm);
  int64_t from, end, sent = 0, received = 0;
  reap_comm_share(m, rank, size, &from, &end);
  for (int r = 0; r < size; r++) {
    int64_t begin, last;
    reap_comm_share(m, r, size, &begin, &last);
    const int64_t out = (first[r + 1] - first[r]) * s->block * (end - from);
    const int64_t in = (first[rank + 1] - first[rank]) * s->block * (last - begin);
    if (sent + out > INT_MAX || received + in > INT_MAX)
      return reap_error(REAP_ERR_RESOURCE, "a share of %lld outputs does not fit one message; take more ranks",
                        (long long)m);
    counts[r] = (int)out;
    counts[size + r] = (int)sent;
    counts[2 * size + r] = (int)in;
    counts[3 * size + r] = (int)received;
    sent += out;
    received += in;
  }
  return REAP_OK;
}

int reap_symmetric_to_rows(const reap_symmetric *s, const int64_t *first, int64_t m, const double *columns,
                           double *out) {
  const reap_comm *comm = reap_grid_comm(s->grid);
  const int size = reap_comm_size(comm);
  const int64_t rows = first[size] * s->block;
  int64_t from, end;
  int *counts = NULL;
  double *packed = NULL;
  reap_comm_share(m, reap_comm_rank(comm), size, &from, &end);
  int status = reap_alloc(&counts, 4 * size, sizeof *counts);
  if (status == REAP_OK) status = count_elements(s, first, m, counts);
  if (status == REAP_OK) status = reap_alloc(&packed, rows * (end - from), sizeof *packed);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) {
    double *to = packed;
    for (int r = 0; r < size; r++)
      for (int64_t j = 0; j < end - from; j++) {
        const int64_t count = (first[r + 1] - first[r]) * s->block;
        memcpy(to, columns + first[r] * s->block + j * rows, (size_t)count * sizeof *to);
        to += count;
      }
    status = REAP_COMM_CALL("values of other ranks", MPI_Alltoallv, packed, counts, counts + size, MPI_DOUBLE, out,
                            counts + 2 * size, counts + 3 * size, MPI_DOUBLE, reap_comm_mpi(comm));
  }
  reap_free(&packed);
  reap_free(&counts);
  return status;
}
