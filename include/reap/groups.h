/* Channel groups: sets of channels that can only leave the network together.
 *
 * Every channel of every value (layout.h says along which axis) is an atom. Linear layers create
 * atoms at their outputs and end them at their inputs; element-wise operators,
 * normalisations, activations, pooling and Flatten pass them on; additions make
 * the atoms of both sides one class; concatenations and slices rearrange them. A
 * class is thus one channel with all its producers and consumers, and a group
 * is the set of classes connected through common producers.
 *
 * A group is inner if one linear layer alone produces it and one alone
 * consumes it, each channel once: the plain case of the method. All calls are local.
 */
#ifndef REAP_GROUPS_H
#define REAP_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"

typedef struct reap_group {
  char *name;       /* layer name of the first producer */
  int64_t channels; /* present number */
  int n_producers, n_consumers;
  int *producers, *consumers; /* nodes, ascending */
  bool inner;
  bool prunable; /* inner, and nothing holds its channels */
  char *reason;  /* why not; NULL if prunable */
} reap_group;

typedef struct reap_groups reap_groups;

/* Analysis of a prepared graph; the caller owns the result. */
int reap_groups_find(const reap_graph *graph, reap_groups **out);
void reap_groups_destroy(reap_groups **groups);

int reap_groups_count(const reap_groups *groups);
const reap_group *reap_groups_at(const reap_groups *groups, int index);

/* Group whose channels node `node` consumes or produces: the first of them, or -1. */
int reap_groups_consumed_by(const reap_groups *groups, int node);
int reap_groups_produced_by(const reap_groups *groups, int node);

/* Which entries along the channel axis of `value` stay if of group `group` only the channels with keep[channel] true
 * stay: fills entries[] (capacity: reap_value_channels) and returns their number, or -1 if the value does not carry the
 * group's channels. */
int64_t reap_groups_entries(const reap_groups *groups, int value, int group, const bool *keep, int64_t *entries);

/* Forgets the channels of `group` that are not kept, after the graph was cut accordingly (see surgery.h). The others
 * are numbered anew, in their old order. */
int reap_groups_shrink(reap_groups *groups, int group, const bool *keep);

#endif
