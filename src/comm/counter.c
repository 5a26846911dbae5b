/* One integer in a window of one-sided communication: no rank has to serve it while computing. */
#include "counter.h"

#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "waiting.h"

static const char SHARED[] = "a counter of all ranks";

struct reap_counter {
  MPI_Win window;
  int64_t *value; /* rank 0's is the number */
};

int reap_counter_create(const reap_comm *comm, reap_counter **out) {
  const MPI_Aint bytes = reap_comm_rank(comm) == 0 ? (MPI_Aint)sizeof(int64_t) : 0;
  reap_counter *counter = NULL;
  int status = reap_calloc(&counter, 1, sizeof *counter);
  status = reap_comm_agree(comm, status);
  if (status != REAP_OK) {
    reap_free(&counter);
    return status;
  }
  status = REAP_COMM_CALL(SHARED, MPI_Win_allocate, bytes, sizeof(int64_t), MPI_INFO_NULL, reap_comm_mpi(comm),
                          &counter->value, &counter->window);
  if (status != REAP_OK) {
    reap_free(&counter);
    return status;
  }
  *out = counter;
  MPI_Win_set_errhandler(counter->window, MPI_ERRORS_RETURN);
  if (bytes > 0) *counter->value = 0;
  status = REAP_COMM_CALL(SHARED, MPI_Win_lock_all, 0, counter->window);
  if (status == REAP_OK) status = REAP_COMM_CALL(SHARED, MPI_Win_sync, counter->window);
  if (status == REAP_OK) status = reap_comm_barrier(comm);
  if (status != REAP_OK) reap_counter_destroy(out);
  return status;
}

void reap_counter_destroy(reap_counter **counter) {
  if (!*counter) return;
  (void)REAP_COMM_CALL(SHARED, MPI_Win_unlock_all, (*counter)->window);
  (void)REAP_COMM_CALL(SHARED, MPI_Win_free, &(*counter)->window);
  reap_free(counter);
}

int64_t reap_counter_add(reap_counter *counter, int64_t step) {
  int64_t before = 0;
  if (REAP_COMM_CALL(SHARED, MPI_Fetch_and_op, &step, &before, MPI_INT64_T, 0, 0, MPI_SUM, counter->window) == REAP_OK)
    (void)REAP_COMM_CALL(SHARED, MPI_Win_flush, 0, counter->window);
  return before;
}
