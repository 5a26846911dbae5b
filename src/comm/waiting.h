/* Calls that wait for other ranks, or for a file: which one the process is in, to be read by another of its threads,
 * and the first that failed; private. Local.
 *
 * MPI's errors are returned on all communicators of reap. The ranks of a failed call are no longer in step, so the
 * first failure stays: from then on every collective call of reap returns it at once, without communicating.
 */
#ifndef REAP_COMM_WAITING_H
#define REAP_COMM_WAITING_H

#include <mpi.h>
#include <stdbool.h>

#include "reap/comm.h"

/* Around a call; its name and what it waits for, in words that last: "MPI_Allreduce", "a sum over ranks". */
void reap_comm_enter(const char *call, const char *what);

/* code: what MPI returned; MPI_SUCCESS for a file. The result is that of reap_comm_failure(). */
int reap_comm_leave(int code);

/* REAP_COMM_CALL("a sum over ranks", MPI_Allreduce, ...): the call between the two, and its status. Nothing is called
 * once a call has failed. */
#define REAP_COMM_CALL(what, call, ...)                 \
  (reap_comm_failure() != REAP_OK ? reap_comm_failure() \
                                  : (reap_comm_enter(#call, what), reap_comm_leave(call(__VA_ARGS__))))

/* The rank that messages name; the first one stays. */
void reap_comm_set_rank(int rank);

/* Lets MPI's errors on `mpi`, and on what is made of it, return. */
int reap_comm_return_errors(MPI_Comm mpi);

/* A routine, in words that last, of a library that calls MPI by itself begins, or ends (NULL). In between an error of
 * MPI ends all ranks, as MPI does by default, with the status and the message of a failure: the library would go on. */
void reap_comm_within(const char *routine);

/* A call within such a routine, before reap_comm_leave(); false: it lies within one that has said what it waits for,
 * and there is nothing to leave. */
bool reap_comm_enter_within(const char *call);

/* What the process waits for, by which call, and for how many seconds; NULL: it does not. */
const char *reap_comm_waiting(const char **call, double *seconds);

#endif
