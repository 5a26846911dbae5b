/* Greedy elimination on a dual system; private to src/prune. */
#ifndef REAP_PRUNE_SOLVER_ELIMINATION_H
#define REAP_PRUNE_SOLVER_ELIMINATION_H

#include "dual_system.h"
#include "reap/path.h"

/* Removes path->n_removed channels: order and errors into the path, the channels left into kept. Factors afresh
 * whenever the recursion has drifted, and after every `interval` removals if that is not 0. *singular: a matrix that
 * cannot be factored turned up; the path is not to be used. reap_dual_finish() makes the system ready for the last
 * solve. Collective if d->comm. */
int reap_elimination_run(dual_system *d, int64_t interval, reap_path *path, bool *singular);

#endif
