#include "reap/comm.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "waiting.h"

struct reap_comm {
  MPI_Comm mpi;
  int rank, size;
};

static int live;

/* Both are read by another thread: the time is written first, and the name is what counts. */
static _Atomic(double) entered;
static _Atomic(const char *) present;

void reap_comm_enter(const char *what) {
  atomic_store(&entered, reap_seconds());
  atomic_store(&present, what);
}

void reap_comm_leave(void) { atomic_store(&present, NULL); }

const char *reap_comm_waiting(double *seconds) {
  const char *what = atomic_load(&present);
  *seconds = what ? reap_seconds() - atomic_load(&entered) : 0;
  return what;
}

/* MPI counts elements with int; larger arrays go in slabs of this many. */
static const int64_t SLAB = (int64_t)1 << 27;

/* Collective over `mpi`: see reap_comm_agree(). */
static int agree(MPI_Comm mpi, int rank, int size, int status) {
  int first = status == REAP_OK ? size : rank;
  reap_comm_enter("all ranks to come this far");
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, mpi);
  reap_comm_leave();
  if (first == size) return REAP_OK;
  struct {
    int status;
    char text[REAP_ERROR_LENGTH];
  } report = {status, ""};
  strncpy(report.text, reap_error_message(), sizeof report.text - 1);
  MPI_Bcast(&report, (int)sizeof report, MPI_BYTE, first, mpi);
  return reap_error(report.status, "%s", report.text);
}

/* Collective over `parent`: a handle for a communicator that is yet to be made from it. A rank without memory for its
 * handle says so on the parent, while that is the only communicator there is. */
static int allocate(MPI_Comm parent, reap_comm **out) {
  int rank, size;
  reap_comm *comm = NULL;
  MPI_Comm_rank(parent, &rank);
  MPI_Comm_size(parent, &size);
  const int status = agree(parent, rank, size, reap_alloc(&comm, 1, sizeof *comm));
  if (status != REAP_OK) reap_free(&comm);
  *out = comm;
  return status;
}

/* Fills in the rest once comm->mpi is there. */
static void complete(reap_comm *comm) {
  MPI_Comm_rank(comm->mpi, &comm->rank);
  MPI_Comm_size(comm->mpi, &comm->size);
  live++;
}

int reap_comm_create(MPI_Comm parent, reap_comm **out) {
  REAP_TRY(allocate(parent, out));
  reap_comm_enter("a communicator");
  MPI_Comm_dup(parent, &(*out)->mpi);
  reap_comm_leave();
  complete(*out);
  return REAP_OK;
}

int reap_comm_split(const reap_comm *comm, int colour, reap_comm **out) {
  REAP_TRY(allocate(comm->mpi, out));
  reap_comm_enter("a communicator");
  MPI_Comm_split(comm->mpi, colour, comm->rank, &(*out)->mpi);
  reap_comm_leave();
  complete(*out);
  return REAP_OK;
}

void reap_comm_destroy(reap_comm **comm) {
  if (!*comm) return;
  reap_comm_enter("all ranks to come this far");
  MPI_Comm_free(&(*comm)->mpi);
  reap_comm_leave();
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
    reap_comm_enter("a sum over ranks");
    MPI_Allreduce(MPI_IN_PLACE, (char *)values + (size_t)at * size, n, type, op, comm->mpi);
    reap_comm_leave();
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
    if (root < 0)
      MPI_Iallreduce(MPI_IN_PLACE, at, n, MPI_DOUBLE, MPI_SUM, comm->mpi, &pending->requests[s]);
    else
      MPI_Ireduce(root == comm->rank ? MPI_IN_PLACE : at, root == comm->rank ? at : NULL, n, MPI_DOUBLE, MPI_SUM, root,
                  comm->mpi, &pending->requests[s]);
  }
  *out = pending;
  return REAP_OK;
}

void reap_comm_sum_advance(reap_comm_pending *pending) {
  int done;
  if (pending) MPI_Testall(pending->count, pending->requests, &done, MPI_STATUSES_IGNORE);
}

void reap_comm_sum_finish(reap_comm_pending **pending) {
  if (!*pending) return;
  reap_comm_enter("a sum over ranks");
  MPI_Waitall((*pending)->count, (*pending)->requests, MPI_STATUSES_IGNORE);
  reap_comm_leave();
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
    reap_comm_enter("what another rank sends");
    MPI_Bcast((char *)data + at, (int)(left < (size_t)SLAB ? left : (size_t)SLAB), MPI_BYTE, root, comm->mpi);
    reap_comm_leave();
  }
  return REAP_OK;
}

int reap_comm_barrier(const reap_comm *comm) {
  reap_comm_enter("all ranks to come this far");
  MPI_Barrier(comm->mpi);
  reap_comm_leave();
  return REAP_OK;
}

int reap_comm_node_size(const reap_comm *comm, int *ranks) {
  MPI_Comm node;
  reap_comm_enter("all ranks to come this far");
  MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node);
  reap_comm_leave();
  MPI_Comm_size(node, ranks);
  MPI_Comm_free(&node);
  return REAP_OK;
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
