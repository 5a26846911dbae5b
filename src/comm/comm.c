#include "reap/comm.h"

#include <limits.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "waiting.h"

struct reap_comm {
  MPI_Comm mpi;
  int rank, size;
};

static int live;

static const char SUM[] = "a sum over ranks";

/* MPI counts elements with int; larger arrays go in slabs of this many. */
static const int64_t SLAB = (int64_t)1 << 27;

/* Collective over `mpi`: see reap_comm_agree(). */
static int agree(MPI_Comm mpi, int rank, int size, int status) {
  int first = status == REAP_OK ? size : rank;
  REAP_TRY(REAP_COMM_CALL("all ranks to come this far", MPI_Allreduce, MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, mpi));
  if (first == size) return REAP_OK;
  struct {
    int status;
    char text[REAP_ERROR_LENGTH];
  } report = {status, ""};
  strncpy(report.text, reap_error_message(), sizeof report.text - 1);
  REAP_TRY(REAP_COMM_CALL("an error of another rank", MPI_Bcast, &report, (int)sizeof report, MPI_BYTE, first, mpi));
  return reap_error(report.status, "%s", report.text);
}

/* Collective over `parent`: a handle for a communicator that is yet to be made from it. A rank without memory for its
 * handle says so on the parent, while that is the only communicator there is. */
static int allocate(MPI_Comm parent, reap_comm **out) {
  int rank, size;
  reap_comm *comm = NULL;
  MPI_Comm_rank(parent, &rank);
  MPI_Comm_size(parent, &size);
  reap_comm_set_rank(rank);
  const int status = agree(parent, rank, size, reap_alloc(&comm, 1, sizeof *comm));
  if (status != REAP_OK) reap_free(&comm);
  *out = comm;
  return status;
}

/* Collective: fills in the rest once comm->mpi is there, which `status` is of. */
static int complete(int status, reap_comm **comm) {
  if (status == REAP_OK) status = reap_comm_return_errors((*comm)->mpi);
  if (status != REAP_OK) {
    reap_free(comm);
    return status;
  }
  MPI_Comm_rank((*comm)->mpi, &(*comm)->rank);
  MPI_Comm_size((*comm)->mpi, &(*comm)->size);
  live++;
  return REAP_OK;
}

int reap_comm_create(MPI_Comm parent, reap_comm **out) {
  REAP_TRY(allocate(parent, out));
  return complete(REAP_COMM_CALL("a communicator", MPI_Comm_dup, parent, &(*out)->mpi), out);
}

int reap_comm_split(const reap_comm *comm, int colour, reap_comm **out) {
  REAP_TRY(allocate(comm->mpi, out));
  return complete(REAP_COMM_CALL("a communicator", MPI_Comm_split, comm->mpi, colour, comm->rank, &(*out)->mpi), out);
}

void reap_comm_destroy(reap_comm **comm) {
  if (!*comm) return;
  (void)REAP_COMM_CALL("all ranks to come this far", MPI_Comm_free, &(*comm)->mpi);
  live--;
  reap_free(comm);
}

int reap_comm_live(void) { return live; }
int reap_comm_rank(const reap_comm *comm) { return comm->rank; }
int reap_comm_size(const reap_comm *comm) { return comm->size; }
MPI_Comm reap_comm_mpi(const reap_comm *comm) { return comm->mpi; }

int reap_comm_agree(const reap_comm *comm, int status) {
  return comm ? agree(comm->mpi, comm->rank, comm->size, status) : status;
}

int reap_comm_alloc(const reap_comm *comm, void *out, int64_t count, size_t size) {
  void *none = NULL;
  memcpy(out, &none, sizeof none);
  const int status = reap_comm_agree(comm, reap_alloc(out, count, size));
  if (status != REAP_OK) reap_free(out);
  return status;
}

static int reduce(const reap_comm *comm, void *values, int64_t count, size_t size, MPI_Datatype type, MPI_Op op) {
  for (int64_t at = 0; at < count; at += SLAB) {
    int n = (int)(count - at < SLAB ? count - at : SLAB);
    char *slab = (char *)values + (size_t)at * size;
    REAP_TRY(REAP_COMM_CALL(SUM, MPI_Allreduce, MPI_IN_PLACE, slab, n, type, op, comm->mpi));
  }
  return REAP_OK;
}

int reap_comm_sum(const reap_comm *comm, double *values, int64_t count) {
  return reduce(comm, values, count, sizeof *values, MPI_DOUBLE, MPI_SUM);
}

int reap_comm_sum_int64(const reap_comm *comm, int64_t *values, int64_t count) {
  return reduce(comm, values, count, sizeof *values, MPI_INT64_T, MPI_SUM);
}

/* Slabs of a sum under way are smaller, so that what MPI copies and adds in one go does not hold up the work. */
enum { PENDING_SLAB = 1 << 20 };

struct reap_comm_pending {
  int count;
  MPI_Request requests[];
};

int reap_comm_sum_begin(const reap_comm *comm, double *values, int64_t count, int root, reap_comm_pending **out) {
  reap_comm_pending *pending = NULL;
  const int64_t slabs = (count + PENDING_SLAB - 1) / PENDING_SLAB;
  *out = NULL;
  int status = slabs > INT_MAX ? reap_error(REAP_ERR_RESOURCE, "a sum of %lld numbers is too long", (long long)count)
                               : reap_alloc(&pending, 1, sizeof *pending + (size_t)slabs * sizeof(MPI_Request));
  status = reap_comm_agree(comm, status);
  if (status != REAP_OK) {
    reap_free(&pending);
    return status;
  }
  pending->count = (int)slabs;
  for (int s = 0; s < pending->count; s++) {
    double *at = values + (int64_t)s * PENDING_SLAB;
    const int64_t left = count - (int64_t)s * PENDING_SLAB;
    const int n = (int)(left < PENDING_SLAB ? left : PENDING_SLAB);
    MPI_Request *request = &pending->requests[s];
    if (root < 0)
      status = REAP_COMM_CALL(SUM, MPI_Iallreduce, MPI_IN_PLACE, at, n, MPI_DOUBLE, MPI_SUM, comm->mpi, request);
    else
      status = REAP_COMM_CALL(SUM, MPI_Ireduce, root == comm->rank ? MPI_IN_PLACE : at, root == comm->rank ? at : NULL,
                              n, MPI_DOUBLE, MPI_SUM, root, comm->mpi, request);
    if (status != REAP_OK) {
      reap_free(&pending);
      return status;
    }
  }
  *out = pending;
  return REAP_OK;
}

void reap_comm_sum_advance(reap_comm_pending *pending) {
  int done;
  if (pending) (void)REAP_COMM_CALL(SUM, MPI_Testall, pending->count, pending->requests, &done, MPI_STATUSES_IGNORE);
}

void reap_comm_sum_finish(reap_comm_pending **pending) {
  if (!*pending) return;
  (void)REAP_COMM_CALL(SUM, MPI_Waitall, (*pending)->count, (*pending)->requests, MPI_STATUSES_IGNORE);
  reap_free(pending);
}

int reap_comm_max(const reap_comm *comm, double *values, int64_t count) {
  return reduce(comm, values, count, sizeof *values, MPI_DOUBLE, MPI_MAX);
}

int reap_comm_max_int64(const reap_comm *comm, int64_t *values, int64_t count) {
  return reduce(comm, values, count, sizeof *values, MPI_INT64_T, MPI_MAX);
}

int reap_comm_broadcast(const reap_comm *comm, void *data, size_t bytes, int root) {
  for (size_t at = 0; at < bytes; at += (size_t)SLAB) {
    size_t left = bytes - at;
    const int n = (int)(left < (size_t)SLAB ? left : (size_t)SLAB);
    REAP_TRY(REAP_COMM_CALL("what another rank sends", MPI_Bcast, (char *)data + at, n, MPI_BYTE, root, comm->mpi));
  }
  return REAP_OK;
}

int reap_comm_barrier(const reap_comm *comm) {
  return REAP_COMM_CALL("all ranks to come this far", MPI_Barrier, comm->mpi);
}

int reap_comm_node_size(const reap_comm *comm, int *ranks) {
  MPI_Comm node;
  REAP_TRY(REAP_COMM_CALL("the ranks of a node", MPI_Comm_split_type, comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank,
                          MPI_INFO_NULL, &node));
  MPI_Comm_size(node, ranks);
  return REAP_COMM_CALL("the ranks of a node", MPI_Comm_free, &node);
}

int reap_comm_same(const reap_comm *comm, const void *data, size_t bytes, const char *what) {
  char *reference = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_comm_alloc(comm, &reference, (int64_t)bytes, 1), done);
  memcpy(reference, data, bytes);
  REAP_TRY_OR(reap_comm_broadcast(comm, reference, bytes, 0), done);
  status = REAP_OK;
  if (memcmp(reference, data, bytes) != 0)
    status = reap_error(REAP_ERR_INPUT, "%s differs between rank 0 and rank %d; give every rank the same file", what,
                        comm->rank);
  status = reap_comm_agree(comm, status);
done:
  reap_free(&reference);
  return status;
}

void reap_comm_share(int64_t count, int rank, int size, int64_t *first, int64_t *last) {
  int64_t base = count / size, extra = count % size;
  *first = base * rank + (rank < extra ? rank : extra);
  *last = *first + base + (rank < extra ? 1 : 0);
}

void reap_comm_grid(int size, int *rows, int *columns) {
  *rows = 1;
  for (int r = 1; (int64_t)r * r <= size; r++)
    if (size % r == 0) *rows = r;
  *columns = size / *rows;
}
