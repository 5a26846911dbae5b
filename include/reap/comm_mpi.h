/* The door between reap_comm and MPI, for the few modules that name MPI types. */
#ifndef REAP_COMM_MPI_H
#define REAP_COMM_MPI_H

#include <mpi.h>

#include "reap/api.h"
#include "reap/comm.h"

REAP_API_BEGIN

/* Collective over `parent`, which is duplicated; the caller owns the new handle. All ranks fail, with *out NULL, if one
 * of them has no memory for it. */
int reap_comm_create(MPI_Comm parent, reap_comm **out);

/* The communicator inside, still owned by the handle. */
MPI_Comm reap_comm_mpi(const reap_comm *comm);

REAP_API_END

#endif
