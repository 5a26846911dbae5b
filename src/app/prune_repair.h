/* Which layers a run may re-solve besides those it prunes; private to src/app. Local. */
#ifndef REAP_APP_PRUNE_REPAIR_H
#define REAP_APP_PRUNE_REPAIR_H

#include "prune_options.h"
#include "reap/graph.h"

/* Whether the options ask for repair: on unless --repair off, --refit none or --from-stats. */
bool prune_repair_wanted(const prune_options *options);

/* REAP_ERR_USAGE for options that do not go with --repair on. */
int prune_repair_check(const prune_options *options);

/* layers[nodes]: every layer but those that --exclude names; NULL if no repair is wanted. The caller frees it (reap_free). */
int prune_repair_layers(const prune_options *options, const reap_graph *graph, bool **layers);

#endif
