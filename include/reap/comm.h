/* Communicators owned here, agreement on errors, and sums over ranks.
 *
 * A reap_comm is a duplicate of the caller's communicator, so that messages of
 * reap never meet those of the program around it. Every call marked collective
 * has to be made by all ranks of the communicator in the same order.
 *
 * Errors of MPI are returned: REAP_ERR_STALLED where a rank or a link may be
 * gone, REAP_ERR_RESOURCE, or REAP_ERR_INTERNAL; the message names the call, what
 * it was for, and the rank. There is nothing to go on with: see
 * reap_comm_failure(). On the communicator that a first one is made of, the
 * caller's handler of errors counts. An error within ScaLAPACK, which does not
 * return it, ends all ranks.
 */
#ifndef REAP_COMM_H
#define REAP_COMM_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

typedef struct reap_comm reap_comm;

/* Collective over `parent`, which is duplicated; the caller owns the new handle. All ranks fail, with *out NULL, if one
 * of them has no memory for it. */
int reap_comm_create(MPI_Comm parent, reap_comm **out);

/* The communicator inside, still owned by the handle. */
MPI_Comm reap_comm_mpi(const reap_comm *comm);

/* Local. */
int reap_comm_rank(const reap_comm *comm);
int reap_comm_size(const reap_comm *comm);

/* Collective. Ranks with the same colour, ordered by rank, form a new communicator that the caller owns.
 * All ranks fail, with *out NULL, if one of them has no memory for its handle. */
int reap_comm_split(const reap_comm *comm, int colour, reap_comm **out);

/* Collective, NULL is fine. Takes the handle's address and sets it to NULL. */
void reap_comm_destroy(reap_comm **comm);

/* Local. REAP_OK, or the status and the message of the first call of MPI that failed in this process. Other ranks do
 * not know, and may wait for this one for ever: from then on all calls of reap fail at once without communicating,
 * nothing is freed that takes all ranks, and the caller has to end them (MPI_Abort). */
int reap_comm_failure(void);

/* Communicators created and not destroyed yet, in this process. */
int reap_comm_live(void);

/* Collective. Every rank passes its own status; all get REAP_OK if all were fine, otherwise the status AND the
 * message of the lowest rank that failed. To be called before the next collective after anything that may fail
 * on one rank alone. comm NULL: local, the caller's own status. */
int reap_comm_agree(const reap_comm *comm, int status);

/* Collective: reap_alloc() on all ranks, or, where one of them has no memory, on none: all fail then, and what `out` is
 * the address of is NULL. */
int reap_comm_alloc(const reap_comm *comm, void *out, int64_t count, size_t size);

/* Collective: sums in place over ranks (MPI_Allreduce, in slabs that fit MPI's int counts). */
int reap_comm_sum(const reap_comm *comm, double *values, int64_t count);
int reap_comm_sum_int64(const reap_comm *comm, int64_t *values, int64_t count);

/* A sum over ranks that proceeds while its callers compute. */
typedef struct reap_comm_pending reap_comm_pending;

/* Collective: begins to sum `values` in place, for rank `root` alone (the others' values stay) or, with root -1, for
 * all ranks (MPI_Ireduce, MPI_Iallreduce). The values must not be read or written until the sum is finished. */
int reap_comm_sum_begin(const reap_comm *comm, double *values, int64_t count, int root, reap_comm_pending **out);

/* Local: lets MPI make progress; without it no data move between begin and finish. NULL is fine. */
void reap_comm_sum_advance(reap_comm_pending *pending);

/* Local: waits for the sum and frees the handle; NULL is fine. */
void reap_comm_sum_finish(reap_comm_pending **pending);

/* Collective: largest value over ranks, in place. */
int reap_comm_max(const reap_comm *comm, double *values, int64_t count);
int reap_comm_max_int64(const reap_comm *comm, int64_t *values, int64_t count);

/* Collective: sends `bytes` bytes of rank `root` to all ranks, in slabs. */
int reap_comm_broadcast(const reap_comm *comm, void *data, size_t bytes, int root);

/* Collective. */
int reap_comm_barrier(const reap_comm *comm);

/* Collective: how many ranks share this rank's memory (its node). */
int reap_comm_node_size(const reap_comm *comm, int *ranks);

/* Collective: REAP_OK if all ranks passed the same bytes, else REAP_ERR_INPUT saying that `what` differs. */
int reap_comm_same(const reap_comm *comm, const void *data, size_t bytes, const char *what);

/* The share [*first, *last) of `count` items that belongs to `rank`: contiguous, sizes differ by at most one. Local. */
void reap_comm_share(int64_t count, int rank, int size, int64_t *first, int64_t *last);

/* The most nearly square process grid, rows <= columns, rows * columns == size. Local. */
void reap_comm_grid(int size, int *rows, int *columns);

REAP_API_END

#endif
