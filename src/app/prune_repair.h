/* Which layers a run may re-solve besides those it prunes; private to src/app. Local. */
#ifndef REAP_APP_PRUNE_REPAIR_H
#define REAP_APP_PRUNE_REPAIR_H

#include "prune/prune.h"
#include "prune_options.h"
#include "reap/dataset.h"
#include "reap/graph.h"

/* Whether the options ask for repair: on unless --repair off, --refit none or --from-stats. */
bool prune_repair_wanted(const prune_options *options);

/* Rounds in which a pruned layer and the one that produces its inputs are solved in turn; 0: never. */
int prune_repair_producers(const prune_options *options);

/* REAP_ERR_USAGE for options that do not go with --repair on, --producers or --classifier scale. */
int prune_repair_check(const prune_options *options);

/* layers[nodes]: every layer but those that --exclude names; NULL if no repair is wanted. The caller frees it
 * (reap_free). */
int prune_repair_layers(const prune_options *options, const reap_graph *graph, bool **layers);

/* Which outputs may be scaled to the original's soft-max: with --classifier scale all; without that option, if repair
 * is wanted, those known to be a classifier's: they end in a soft-max, or the network has a single output and the
 * calibration images have labels (not looked at). */
reap_scaled_outputs prune_repair_classifier(const prune_options *options, const reap_graph *graph,
                                            const reap_dataset *calibration);

#endif
