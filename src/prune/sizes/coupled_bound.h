/* The Lagrangian of a choice of sizes with coupled costs; private to src/prune. Local. */
#ifndef REAP_PRUNE_SIZES_COUPLED_BOUND_H
#define REAP_PRUNE_SIZES_COUPLED_BOUND_H

#include "sizes.h"

/* Maximises over l >= 0
 *     L(l) = min_k sum_g loss_g(k_g) + l (cost(k) - budget),
 * which no choice within the budget can beat. *bound gets the maximum; best[groups], if one of the minimisers met on
 * the way fits, the one of least loss, and *found tells so. */
int reap_coupled_bound(const reap_ratio_problem *problem, const group_sizes *sizes, double *bound, int64_t *best,
                       bool *found);

#endif
