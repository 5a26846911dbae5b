/* How many channels each group keeps, so that the summed loss is least within a budget. Local.
 *
 *     minimise  sum_g loss[g][k_g]   subject to   cost(k) <= budget
 *
 * Costs of neighbouring groups are coupled (cost_model.h): what a channel of one group costs depends on how many the
 * other keeps.
 */
#ifndef REAP_PRUNE_SIZES_RATIOS_H
#define REAP_PRUNE_SIZES_RATIOS_H

#include "cost_model.h"

typedef struct reap_ratio_problem {
  const reap_cost_model *cost;
  const double *const
      *loss; /* [groups] loss[g][k] with k channels kept, k = 0 .. channels, finite; NULL for groups not free */
  const int64_t *least;    /* [groups] the fewest channels allowed, 1 .. channels; NULL: one everywhere */
  const int64_t *multiple; /* [groups] sizes are multiples of it, or all channels; NULL: any size */
  double budget;           /* in the model's unit */
} reap_ratio_problem;

typedef struct reap_ratio_outcome {
  double cost, loss;
  double bound; /* no choice within the budget has less loss than this (Lagrangian) */
  int rounds;   /* knapsacks solved until the costs of neighbours converged */
} reap_ratio_outcome;

/* Fills counts[groups]. REAP_ERR_USAGE with the least possible cost if the budget cannot be met. The choice depends on
 * the problem alone. */
int reap_ratios_choose(const reap_ratio_problem *problem, int64_t *counts, reap_ratio_outcome *outcome);

/* (loss - bound) / loss: the share of the loss that a better choice could save at most; 0 for a loss of 0. */
double reap_ratios_gap(const reap_ratio_outcome *outcome);

/* The smallest size allowed for group g. */
int64_t reap_ratios_least(const reap_ratio_problem *problem, int group);

/* The same share of channels in every free group, as large as the budget allows, and the budget that rounding leaves
 * goes to the groups that rounding cut most, one step each; sizes as `least` and `multiple` allow. Losses are ignored
 * (loss may be NULL). Same error. */
int reap_ratios_uniform(const reap_ratio_problem *problem, int64_t *counts);

#endif
