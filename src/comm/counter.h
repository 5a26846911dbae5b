/* A counter that all ranks share, so that idle ranks can draw the next piece of work. */
#ifndef REAP_COMM_COUNTER_H
#define REAP_COMM_COUNTER_H

#include <stdint.h>

#include "reap/comm.h"

typedef struct reap_counter reap_counter;

/* Collective. The counter starts at 0 and is stored on rank 0. */
int reap_counter_create(const reap_comm *comm, reap_counter **out);

/* Collective, NULL is fine. */
void reap_counter_destroy(reap_counter **counter);

/* Local, by any rank at any time: adds `step` (0: only looks) and returns the number as it was before. No rank gets the
 * same number twice with steps of 1. Where memory is not shared the answer may wait until rank 0 calls MPI for
 * anything. Where MPI fails, the number is of no use: reap_comm_failure(). */
int64_t reap_counter_add(reap_counter *counter, int64_t step);

#endif
