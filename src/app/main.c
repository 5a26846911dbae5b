#include <mpi.h>
#include <stdio.h>

#include "reap/version.h"

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  printf("reap %s\n", REAP_VERSION);
  MPI_Finalize();
  return 0;
}
