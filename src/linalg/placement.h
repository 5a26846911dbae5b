/* Where the matrices of a layer are stored and solved: on one rank, or on all ranks by ScaLAPACK. */
#ifndef REAP_LINALG_PLACEMENT_H
#define REAP_LINALG_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/comm.h"
#include "reap/path.h"

/* Columns of the smallest layer that all ranks solve if the choice is left to reap: below it one rank takes a few
 * seconds. */
enum { REAP_SOLVER_LARGE = 4096 };

/* Chooses for REAP_SOLVER_AUTO: local on one rank, for layers smaller than that, and where one rank has the memory;
 * ScaLAPACK otherwise. The same on all ranks. Collective. */
reap_solver reap_solver_choose(const reap_comm *comm, reap_solver solver, int64_t n, int64_t m);

/* Columns of the largest layer whose moments a rank holds whole if the choice is left to reap. */
enum { REAP_SOLVER_MOST_WHOLE = 8192 };

/* Whether a layer's moments go by panels straight to the solver (moments_panels.h), so that no rank holds them. True
 * under REAP_SOLVER_SCALAPACK. Under REAP_SOLVER_AUTO true for more columns than that, or if the moments of all ranks
 * of a node take more than half of its memory. The same on all ranks. Collective. */
bool reap_solver_distributes(const reap_comm *comm, reap_solver solver, int64_t n, int64_t m);

#endif
