/* The program: starts MPI, runs what the command line asks for on all ranks, reports an error once and ends with its
 * status. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands/probe_inputs.h"
#include "app/commands/program.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "stop_request.h"

/* OpenBLAS starts a thread for every core as it is loaded, and each of them tries for ever to map a buffer where that
 * is refused; even the end of the process waits for them. So it is loaded anew with one, and gets more when there is
 * known to be room: reap_blas_set_threads(). */
static void load_with_one_thread(char **argv) {
  static const char name[] = "OPENBLAS_NUM_THREADS";
  const char *now = getenv(name);
  char program[PATH_MAX];
  if (now && strcmp(now, "1") == 0) return;
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0 || setenv(name, "1", 1) != 0) return;
  program[length] = '\0';
  execv(program, argv);
}

int main(int argc, char **argv) {
  int provided, rank;
  load_with_one_thread(argv);
  int printed;
  if (program_print(argc, argv, &printed)) return printed;
  const int probed = probe_inputs(argc, argv);
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  reap_comm *comm = NULL;
  int status = reap_comm_create(MPI_COMM_WORLD, &comm);
  if (status == REAP_OK) status = reap_comm_agree(comm, probed);
  if (status == REAP_OK) status = program_run(comm, argc, argv);
  fflush(stdout);
  stop_request_outputs(); /* whatever still ends the process: what there is to say of the run is said */
  const int failure = reap_comm_failure(); /* which the other ranks may not know of */
  if (failure != REAP_OK) status = failure;
  if (rank == 0 || failure != REAP_OK) program_end(argc, argv, status);
  if (failure != REAP_OK) MPI_Abort(MPI_COMM_WORLD, failure);
  reap_comm_destroy(&comm);
  MPI_Finalize();
  return status;
}
