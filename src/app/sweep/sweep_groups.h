/* Groups of ranks, each with a setting of its own; private to src/app. */
#ifndef REAP_APP_SWEEP_SWEEP_GROUPS_H
#define REAP_APP_SWEEP_SWEEP_GROUPS_H

#include <stdint.h>

#include "reap/comm.h"

/* Local. The number of groups with which `settings` settings should be done soonest on `ranks` ranks: many small groups
 * waste no time on what one rank does alone (decisions), few large ones waste none at the end; of equals the larger
 * number, which talks less. */
int sweep_groups_choose(int64_t settings, int ranks);

/* Collective. Contiguous ranks form groups whose sizes differ by one at most; *out is this rank's. */
int sweep_groups_split(const reap_comm *comm, int groups, reap_comm **out);

#endif
