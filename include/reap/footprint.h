/* Memory that a pruning run will need, from the graph alone. Local. */
#ifndef REAP_FOOTPRINT_H
#define REAP_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/layer.h"

typedef struct reap_footprint {
  int64_t model;        /* bytes of the graph's weights */
  int64_t frontier;     /* bytes of activations held at the widest cut, both networks, for all images together */
  int64_t every_rank;   /* bytes of matrices on each rank at the largest layer */
  int64_t deciding_rank; /* bytes of matrices on the rank that solves that layer */
  const char *layer;    /* the largest layer; NULL if no group is chosen. Borrowed from the graph. */
  int64_t columns;      /* its n */
} reap_footprint;

/* For pruning the chosen groups with `images` images. Matrices of groups with spread[group] lie on `ranks` ranks together
 * (see moments_panels.h); spread NULL: none do. */
int reap_footprint_estimate(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int64_t images,
                            const bool *spread, int ranks, reap_footprint *out);

/* For the moments of layers[count] of one network. */
int reap_footprint_of_layers(const reap_graph *graph, const reap_layer *layers, int count, int64_t images, reap_footprint *out);

#endif
