/* The losses that sizes under a budget are chosen by: paths of all groups, from a file or from a pass over the images;
 * private to src/app. */
#ifndef REAP_APP_PRUNE_PATHS_H
#define REAP_APP_PRUNE_PATHS_H

#include "prune_run.h"

/* Collective. Fills run->inputs->paths if the options ask for a choice by losses (or for --save-paths) and they are not
 * there yet: once for all runs of a launch. After prune_run_plan(). Writes --save-paths. */
int prune_paths_get(prune_run *run);

/* Adds `joint`: power, tilt and the trials that chose them, if sizes were chosen by the output's movement. */
void prune_paths_report(const prune_run *run, cJSON *report);

#endif
