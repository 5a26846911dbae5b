/* Does the machine have the memory that a run will need. */
#ifndef REAP_PRUNE_SESSION_MEMORY_CHECK_H
#define REAP_PRUNE_SESSION_MEMORY_CHECK_H

#include "prune/estimate/footprint.h"
#include "reap/comm.h"

/* Collective; limit: bytes that activations may take on a rank, 0: none. REAP_ERR_RESOURCE, naming the layer and the
 * advice, if the matrices of the largest layer cannot fit on a node; a warning if activations may not. Nothing where
 * the system does not tell its free memory. */
int reap_footprint_check(const reap_comm *comm, const reap_footprint *footprint, int64_t limit, const char *advice);

#endif
