/* Which channel each entry along the channel axis of each value is, and each parameter of a normalisation; private to
 * src/model. See groups.h for the idea. */
#ifndef REAP_MODEL_CHANNEL_MAP_H
#define REAP_MODEL_CHANNEL_MAP_H

#include "reap/graph.h"

typedef struct reap_channel_list {
  int64_t count;  /* channels; 0 if this value is not followed */
  int64_t repeat; /* entries per channel: height * width behind a Flatten */
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

int reap_channel_map_build(const reap_graph *graph, reap_channel_map *map);
void reap_channel_map_clear(reap_channel_map *map);

/* Root of an atom's class. */
int64_t reap_channel_map_find(reap_channel_map *map, int64_t atom);

#endif
