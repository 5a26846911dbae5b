/* Multiple-choice knapsack: one item of every class, the least loss within a budget. Local.
 *
 *     minimise  sum_g loss[g][x_g]   subject to   sum_g cost[g][x_g] <= budget
 */
#ifndef REAP_PRUNE_SIZES_KNAPSACK_H
#define REAP_PRUNE_SIZES_KNAPSACK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct reap_knapsack_class {
  int64_t n;          /* items, at least one */
  const double *cost; /* [n] any sign, finite */
  const double *loss; /* [n] finite */
} reap_knapsack_class;

/* Fills chosen[n] with an item of every class and *feasible with whether any choice fits; if none does, chosen has the
 * cheapest item of every class. The choice is the best one if the costs above each class's cheapest are multiples of
 * one unit of which the budget holds at most 2^15 (or fewer with many classes); otherwise costs are rounded up to such
 * a unit, and the choice fits but may miss the best by what the rounding leaves free. Of items with the same loss the
 * cheaper one is taken. REAP_ERR_RESOURCE without memory. */
int reap_knapsack_solve(int n, const reap_knapsack_class *classes, double budget, int64_t *chosen, bool *feasible);

/* A bound that no choice within the budget can beat: the largest value over l >= 0 of the Lagrangian
 *     sum_g min_x (loss[g][x] + l cost[g][x]) - l budget,
 * which is the linear relaxation's. *multiplier (may be NULL) gets the best l: loss per cost at the margin. */
double reap_knapsack_bound(int n, const reap_knapsack_class *classes, double budget, double *multiplier);

#endif
