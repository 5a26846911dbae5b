#include "waiting.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"

/* All are read by another thread: `present_what` is written last, and counts. */
static _Atomic(double) entered;
static _Atomic(const char *) present_call, present_what;

static const char *within;
static int failure = REAP_OK, own_rank = -1;
static char failure_text[REAP_ERROR_LENGTH];

void reap_comm_enter(const char *call, const char *what) {
  atomic_store(&entered, reap_seconds());
  atomic_store(&present_call, call);
  atomic_store(&present_what, what);
}

const char *reap_comm_waiting(const char **call, double *seconds) {
  const char *what = atomic_load(&present_what);
  *call = atomic_load(&present_call);
  *seconds = what ? reap_seconds() - atomic_load(&entered) : 0;
  return what;
}

static int status_of(int code) {
  static const int wrong[] = {MPI_ERR_BUFFER, MPI_ERR_COUNT, MPI_ERR_TYPE, MPI_ERR_TAG,      MPI_ERR_COMM,
                              MPI_ERR_RANK,   MPI_ERR_ROOT,  MPI_ERR_OP,   MPI_ERR_TRUNCATE, MPI_ERR_ARG};
  int class = MPI_ERR_UNKNOWN;
  MPI_Error_class(code, &class);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    if (class == wrong[i]) return REAP_ERR_INTERNAL;
  return class == MPI_ERR_NO_MEM ? REAP_ERR_RESOURCE : REAP_ERR_STALLED;
}

/* The first failure is the cause of those that follow. */
static void keep(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (failure != REAP_OK || code == MPI_SUCCESS) return;
  const char *call = atomic_load(&present_call), *what = atomic_load(&present_what);
  MPI_Error_string(code, text, &length);
  failure = status_of(code);
  snprintf(failure_text, sizeof failure_text, "%s (for %s) failed on rank %d: %s%s", what ? call : "MPI",
           what     ? what
           : within ? within
                    : "other ranks",
           own_rank, text, failure == REAP_ERR_STALLED ? "; another rank or a link may be gone" : "");
}

int reap_comm_leave(int code) {
  keep(code);
  atomic_store(&present_what, NULL);
  return reap_comm_failure();
}

/* What callers have put in front of the message stays. */
int reap_comm_failure(void) {
  if (failure == REAP_OK || strstr(reap_error_message(), failure_text)) return failure;
  return reap_error(failure, "%s", failure_text);
}

void reap_comm_within(const char *routine) { within = routine; }

bool reap_comm_enter_within(const char *call) {
  if (atomic_load(&present_what)) return false;
  reap_comm_enter(call, within ? within : "other ranks");
  return true;
}

void reap_comm_set_rank(int rank) {
  if (own_rank < 0) own_rank = rank;
}

static void keep_of(MPI_Comm *comm, int *code, ...) {
  keep(*code);
  if (!within) return;
  fprintf(stderr, "reap: %s\n", failure_text);
  MPI_Abort(*comm, failure);
}

int reap_comm_return_errors(MPI_Comm mpi) {
  MPI_Errhandler handler;
  REAP_TRY(REAP_COMM_CALL("a handler of errors", MPI_Comm_create_errhandler, keep_of, &handler));
  REAP_TRY(REAP_COMM_CALL("a handler of errors", MPI_Comm_set_errhandler, mpi, handler));
  return REAP_COMM_CALL("a handler of errors", MPI_Errhandler_free, &handler);
}
