/* Which channel each entry along an axis of each value is, and each parameter of a node; private to src/model. See
 * groups.h for the idea.
 *
 * A channel is an atom. A layer makes new ones, other nodes pass them on (channel_rules.c). Atoms that can only leave
 * together are of one class. The entries along the one axis of a value that holds channels are runs, one behind the
 * other, each of as many entries, which all are one channel's. */
#ifndef REAP_MODEL_CHANNEL_MAP_H
#define REAP_MODEL_CHANNEL_MAP_H

#include "reap/graph.h"

typedef struct reap_channel_list {
  int64_t count;  /* runs; 0 if no axis of this value is followed */
  int64_t repeat; /* entries of a run: height * width behind a Flatten */
  int axis;       /* of the value; it has count * repeat entries */
  int64_t *atoms; /* [count] */
} reap_channel_list;

typedef struct reap_channel_map {
  int n_values;
  reap_channel_list *values;
  int64_t n_atoms, capacity;
  int64_t entries; /* of all lists made and walked */
  int64_t *parent; /* [n_atoms] union-find: the class of an atom is its root */
  const char *
      *pins; /* [n_atoms] at roots: why the class cannot be pruned, one of `reasons`; NULL if nothing holds it */
  int n_reasons, reason_capacity;
  char **reasons; /* owned */
} reap_channel_map;

void reap_channel_map_clear(reap_channel_map *map);

/* Root of an atom's class; two classes become one. */
int64_t reap_channel_map_find(reap_channel_map *map, int64_t atom);
void reap_channel_map_unite(reap_channel_map *map, int64_t a, int64_t b);

/* Counts entries of lists before they are made or walked: they are limited for the graph as a whole. */
int reap_channel_map_count(reap_channel_map *map, int64_t entries);

/* A list for `value`, whose atoms the caller fills in; the same with new atoms; `count` new atoms from *first on. */
int reap_channel_list_set(reap_channel_map *map, int value, int axis, int64_t count, int64_t repeat);
int reap_channel_list_fresh(reap_channel_map *map, int value, int axis, int64_t count);
int reap_channel_map_atoms(reap_channel_map *map, int64_t count, int64_t *first);

/* The same channels along `axis` of another value. */
int reap_channel_list_pass(reap_channel_map *map, int from, int to, int axis);

/* Splits runs into shorter ones; `repeat` divides their length. */
int reap_channel_list_refine(reap_channel_map *map, int value, int64_t repeat);

/* Holds all channels of a value; of all inputs of a node, for the reason that the node `why`. The first reason that a
 * class is given is kept. */
int reap_channel_map_pin(reap_channel_map *map, int value, const char *reason);
int reap_channel_map_pin_inputs(const reap_graph *graph, const reap_node *node, reap_channel_map *map, const char *why);

#endif
