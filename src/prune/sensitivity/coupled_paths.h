/* Paths of coupled groups: their units in the order in which joint elimination removes them, and how far the network's
 * outputs move at a few sizes; private to src/prune. */
#ifndef REAP_PRUNE_SENSITIVITY_COUPLED_PATHS_H
#define REAP_PRUNE_SENSITIVITY_COUPLED_PATHS_H

#include "model/groups/group_paths.h"
#include "prune/prune.h"

/* Collective. Adds the paths of the coupled groups among those that `options` choose, each where its first layer stands
 * among the others' consumers. options: of the run to come; its counts and given are not looked at. sizes: measured
 * ones of a group, at most; 0: the output is not measured. *paths: as from reap_paths_collect(). */
int reap_coupled_paths_add(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups,
                           reap_dataset *images, const reap_shard *shard, const reap_prune_options *options, int sizes,
                           reap_group_paths *paths);

/* Local. The units that coupled groups keep at the sizes counts[groups], by their paths: given[group][counts[group]],
 * ascending, of those that lose any and have a path. given[groups] is owned by the caller, and what was there freed. */
int reap_coupled_paths_give(const reap_groups *groups, const reap_group_paths *paths, const int64_t *counts,
                            int64_t **given);

#endif
