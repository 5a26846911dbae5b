/* The groups that names in a setting stand for. Names are those that reap inspect shows, or patterns
 * (reap_text_fits()); a comma ends each. Local; REAP_ERR_USAGE for a name that stands for nothing. */
#ifndef REAP_PRUNE_SESSION_GROUP_NAMES_H
#define REAP_PRUNE_SESSION_GROUP_NAMES_H

#include <stdbool.h>

#include "reap/graph.h"
#include "reap/groups.h"

/* Takes groups, and those that a layer makes or reads, out of chosen[groups]. */
int reap_group_names_exclude(const reap_graph *graph, const reap_groups *groups, const char *list, bool *chosen);

/* Whether the list names the layer. */
bool reap_group_names_layer(const char *list, const char *layer);

/* "8,conv1=0.25": least[groups], the fewest units that each group may keep: a number of them or (below 1) a share. The
 * last entry that fits a group counts. One unit is kept in any case. */
int reap_group_names_least(const reap_groups *groups, const char *list, int64_t *least);

#endif
