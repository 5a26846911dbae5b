/* What the phases before the steps of a run may take, of operations and nominal speeds: enough to tell how far a run
 * has come. Local. */
#ifndef REAP_PRUNE_ESTIMATE_PHASE_ESTIMATE_H
#define REAP_PRUNE_ESTIMATE_PHASE_ESTIMATE_H

#include "prune/sensitivity/path_work.h"
#include "run_estimate.h"

/* Of the run that the setting describes. */
int reap_estimate_run_seconds(const reap_run_setting *setting, double *seconds);

/* Paths of works (paths.h): moments of the setting's images, and all eliminations; or the eliminations alone. */
int reap_estimate_paths_seconds(const reap_run_setting *setting, const path_works *works, bool moments,
                                double *seconds);

/* The outputs measured at so many sizes of each group, on so many images (sensitivity.h). */
int reap_estimate_sensitivity_seconds(const reap_run_setting *setting, path_works *works, int sizes, int64_t images,
                                      double *seconds);

/* A trial with at most so many images (trial.h). */
int reap_estimate_trial_seconds(const reap_run_setting *setting, int64_t images, double *seconds);

#endif
