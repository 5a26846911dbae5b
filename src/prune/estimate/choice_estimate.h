/* What it takes to choose the sizes of a budget by the divergence of the outputs, before anything is pruned. Local. */
#ifndef REAP_PRUNE_ESTIMATE_CHOICE_ESTIMATE_H
#define REAP_PRUNE_ESTIMATE_CHOICE_ESTIMATE_H

#include "run_estimate.h"

typedef struct reap_choice_estimate {
  reap_run_estimate paths, trial; /* the pass that follows all paths; one pilot run */
  double trials;                  /* pilot runs */
  /* Multiply-adds of a rank for outputs on images held out: of all networks with one group pruned; of both networks
   * after each pilot run. */
  double sensitivity, comparison;
} reap_choice_estimate;

/* setting: the run's, with sizes that are like those to be chosen. limit: bytes, 0: none. */
int reap_estimate_choice(const reap_run_setting *setting, int64_t limit, reap_choice_estimate *out);

/* Seconds of a pilot run; of it all. */
double reap_estimate_trial_seconds(const reap_choice_estimate *estimate, const reap_speeds *speeds, int ranks);
double reap_estimate_choice_seconds(const reap_choice_estimate *estimate, const reap_speeds *speeds, int ranks);

#endif
