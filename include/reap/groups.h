/* Groups: units of a network that may leave it, and all the places where they stand.
 *
 * A unit is what leaves together: a channel, the same channel of all layers of a residual stream, a group of a grouped
 * convolution with its inputs and outputs, or one channel of each such group where they are wide, all with their
 * entries in each tensor that carries them. Layers produce units at their outputs and consume them at their inputs;
 * element-wise operators, normalisations, pooling and what moves data pass them on; additions make the units of both
 * sides one; concatenations and slices rearrange them. Units that have as many entries in every tensor form a group.
 *
 * A member is one such place: an axis of a tensor that a node reads, or that a layer (or a Pad) makes. A unit has any
 * number of entries along it, not necessarily adjacent ones: one in an image, height * width behind a Flatten, several
 * where a tensor is joined with itself, none where a part was cut out.
 *
 * A group is inner if one layer alone produces it and one alone consumes it, each unit once: the plain case of the
 * method. Others are coupled. All calls are local.
 */
#ifndef REAP_GROUPS_H
#define REAP_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"
#include "reap/graph.h"

REAP_API_BEGIN

typedef enum reap_role {
  REAP_PRODUCES, /* a layer makes them: rows of its weights */
  REAP_CONSUMES, /* a layer sums over them: columns of its weights */
  REAP_PASSES,   /* carried on, or put behind others; a parameter of the node has one entry for each */
  REAP_ADDS      /* made one with those of another tensor, entry by entry: Add, Mul, a Concat along another axis */
} reap_role;

typedef struct reap_member {
  int node, input; /* slot among the node's inputs; -1: its output, of a layer or a Pad */
  int value, axis; /* the tensor there, and its axis along which the units have their entries */
  reap_role role;
} reap_member;

typedef struct reap_groups reap_groups;

typedef struct reap_group {
  char *name;    /* layer name of the first producer; with ":2" and so on behind it where that has several groups */
  int64_t units; /* present number */
  int n_members;
  reap_member *members; /* in the order of the nodes */
  bool inner;
  bool prunable;             /* inner, and nothing holds its units */
  bool cuttable;             /* nothing holds its units, though it may be coupled */
  char *reason;              /* why it is not prunable; NULL if it is */
  int index;                 /* among the network's groups, */
  const reap_groups *groups; /* of which it is one */
} reap_group;

/* Analysis of a prepared graph; the caller owns the result. */
int reap_groups_find(const reap_graph *graph, reap_groups **out);
void reap_groups_destroy(reap_groups **groups);

int reap_groups_count(const reap_groups *groups);
const reap_group *reap_groups_at(const reap_groups *groups, int index);

/* Group whose units layer `node` reads, or makes; -1 for those of none, or of several. */
int reap_groups_consumed_by(const reap_groups *groups, int node);
int reap_groups_produced_by(const reap_groups *groups, int node);

/* Layer that consumes, or produces, an inner group; of others -1 unless there is one such member alone. */
int reap_group_consumer(const reap_group *group);
int reap_group_producer(const reap_group *group);

/* Unit that stands at each entry along the axis of a member, -1 for those that are none of the group's: fills units[]
 * (capacity: the length of the axis) and returns the number of entries. */
int64_t reap_member_units(const reap_group *group, const reap_member *member, int64_t *units);

/* True if each of `parts` parts of units[count] has the same units in the same order. The groups of a grouped
 * convolution lose as many channels each then, otherwise whole ones of them leave. */
bool reap_units_repeat(const int64_t *units, int64_t count, int64_t parts);

/* Axis of `value` along which units of any group stand, or -1. */
int reap_groups_axis(const reap_groups *groups, int value);

/* Which entries along that axis of `value` stay if of group `group` only the units with keep[unit] true stay:
 * fills entries[] (capacity: the length of that axis) and returns their number, or -1 if the value does not carry the
 * group's units. */
int64_t reap_groups_entries(const reap_groups *groups, int value, int group, const bool *keep, int64_t *entries);

/* Forgets the units of `group` that are not kept, after the graph was cut accordingly (see surgery.h). The others are
 * numbered anew, in their old order. Cost: the entries of the group's members. */
int reap_groups_shrink(reap_groups *groups, int group, const bool *keep);

REAP_API_END

#endif
