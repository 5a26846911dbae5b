/* Greedy elimination of units that several layers read: each has a least-squares problem of its own, and a unit leaves
 * all of them at once; private to src/prune. Equations and cost: joint_elimination.c. */
#ifndef REAP_PRUNE_SOLVER_JOINT_ELIMINATION_H
#define REAP_PRUNE_SOLVER_JOINT_ELIMINATION_H

#include <stdint.h>

#include "reap/comm.h"
#include "reap/moments.h"

enum { REAP_JOINT_SHARED = -1 };

/* One layer. Arrays are borrowed, and the same on all ranks, as is all else but the moments. */
typedef struct reap_joint_system {
  const char *name;        /* of the layer, for messages */
  int64_t n, m;            /* columns and outputs */
  const int64_t *unit;     /* [n] whose column it is; -1: of none, it stays and is re-solved */
  const int64_t *produced; /* [m] unit that leaves as the layer's output; -1: none. NULL: none at all */
  double weight;           /* of the layer's relative error in the sum; 0: no vote */
  int owner;               /* rank that has the moments; REAP_JOINT_SHARED: all have them, and solve together */
  const reap_gram *gram;   /* there; ignored elsewhere */
} reap_joint_system;

/* Collective. Removes units - n_kept of `units` units: order[units - n_kept], and error[units - n_kept], after each
 * removal the weighted sum of the layers' errors at the start and of what removals so far have added to the error of
 * outputs that were still there, relative to the energy of all outputs. kept[n_kept] ascending. The same on all ranks
 * and for any owners, but for rounding where processors differ or a system is shared. ridge: relative to each column's
 * own scale; raised where a system is singular. REAP_ERR_NUMERIC names the layer. */
int reap_joint_eliminate(const reap_comm *comm, int n_systems, const reap_joint_system *systems, int64_t units,
                         int64_t n_kept, double ridge, int64_t *order, double *error, int64_t *kept);

#endif
