#include "placement.h"

#include <unistd.h>

#include "reap/error.h"

static double memory_of_node(void) { return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE); }

reap_solver reap_solver_choose(const reap_comm *comm, reap_solver solver, int64_t n, int64_t m) {
  if (solver != REAP_SOLVER_AUTO) return solver;
  if (reap_comm_size(comm) == 1) return REAP_SOLVER_LOCAL;
  /* Moments, dual system and the factor of the removed channels may take half of the memory; the process holds other
   * data already. */
  const double bytes = 8.0 * (2.3 * (double)n * (double)n + 3.0 * (double)n * (double)m);
  int64_t large = n >= REAP_SOLVER_LARGE || bytes > memory_of_node() / 2;
  if (reap_comm_max_int64(comm, &large, 1) != REAP_OK) return REAP_SOLVER_LOCAL;
  return large ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL;
}

bool reap_solver_distributes(const reap_comm *comm, reap_solver solver, int64_t n, int64_t m) {
  int node = 1;
  if (solver != REAP_SOLVER_AUTO) return solver == REAP_SOLVER_SCALAPACK;
  if (reap_comm_node_size(comm, &node) != REAP_OK) return false;
  const double bytes = 8.0 * 2 * (double)n * (double)(n + m) * node; /* sums and those of the current block */
  int64_t large = n > REAP_SOLVER_MOST_WHOLE || bytes > memory_of_node() / 2;
  return reap_comm_max_int64(comm, &large, 1) == REAP_OK && large != 0;
}
