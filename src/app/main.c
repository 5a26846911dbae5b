/* The program: starts MPI, runs what the command line asks for on all ranks, reports an error once and ends with its status. */
#include <mpi.h>
#include <stdio.h>

#include "probe_inputs.h"
#include "program.h"
#include "reap/comm_mpi.h"
#include "reap/error.h"

int main(int argc, char **argv) {
  int provided, rank;
  const int probed = probe_inputs(argc, argv);
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  reap_comm *comm = NULL;
  int status = reap_comm_create(MPI_COMM_WORLD, &comm);
  if (status == REAP_OK) status = reap_comm_agree(comm, probed);
  if (status == REAP_OK) status = program_run(comm, argc, argv);
  fflush(stdout);
  if (status != REAP_OK && rank == 0) program_complain(argc, argv, status);
  reap_comm_destroy(&comm);
  MPI_Finalize();
  return status;
}
