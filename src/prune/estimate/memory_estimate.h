/* Memory that a pruning run will need, from the graph alone, and whether the machine has it. Local unless said
 * otherwise. */
#ifndef REAP_PRUNE_ESTIMATE_MEMORY_ESTIMATE_H
#define REAP_PRUNE_ESTIMATE_MEMORY_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/operators/layer.h"
#include "prune/sensitivity/paths.h"
#include "reap/comm.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "stats/gram.h"

typedef struct reap_memory_estimate {
  int64_t model;         /* bytes of the graph's weights */
  int64_t frontier;      /* bytes of activations held at the widest cut, both networks, for all images */
  int64_t every_rank;    /* bytes of matrices on each rank at the largest layer */
  int64_t deciding_rank; /* bytes of matrices on the rank that solves that layer */
  const char *layer;     /* the largest layer; NULL if no group is chosen. Borrowed from the graph. */
  int64_t columns;       /* its n */
  int64_t weights; /* bytes of weights at several sizes that a rank keeps beside its matrices, at most; see paths.h */
  int64_t all_weights; /* of all ranks */
  int64_t outputs;     /* bytes of the network's outputs that all ranks keep to measure on; see paths.h */
} reap_memory_estimate;

/* What becomes of a layer's moments: they are stored, a path is followed down to few channels, or the layer is pruned.
 */
typedef enum reap_estimate_use { REAP_ESTIMATE_STORE, REAP_ESTIMATE_FOLLOW, REAP_ESTIMATE_PRUNE } reap_estimate_use;

/* How many images there are, and which of their positions count. */
typedef struct reap_estimate_images {
  int64_t count;
  reap_sampling sampling;
} reap_estimate_images;

/* Bytes of matrices of one layer on each of `ranks` ranks, and besides on the one that solves; place: where its moments
 * are to be. */
int reap_estimate_matrices(const reap_layer *layer, const reap_estimate_images *images, reap_estimate_use use,
                           reap_gram_place place, int ranks, int64_t *every_rank, int64_t *deciding_rank);

/* What a layer of a run takes at its peak: bytes while moments are summed, bytes on the rank that solves, and
 * multiply-adds of the moments for an image. The check before a run sets aside more (reap_estimate_matrices). */
typedef struct reap_layer_estimate {
  double moments, solver, multiply_adds;
  double rows; /* where they are few, and the layer is solved from them; else 0 */
} reap_layer_estimate;

int reap_estimate_layer(const reap_layer *layer, const reap_sampling *sampling, const reap_shard *shard,
                        reap_gram_place place, int ranks, reap_layer_estimate *out);

/* Bytes of a graph's weights. */
int64_t reap_estimate_weights(const reap_graph *graph);

/* For pruning the chosen groups on `ranks` ranks; place[groups]: where the moments of inner ones' layers are to be
 * (NULL: there are none). */
int reap_estimate_prune(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                        const reap_estimate_images *images, const reap_gram_place *place, int ranks,
                        reap_memory_estimate *out);

/* For layers[count] of one network that stays as it is; place[count] as above, by layer. */
int reap_estimate_layers(const reap_graph *graph, const reap_layer *layers, int count,
                         const reap_estimate_images *images, reap_estimate_use use, const reap_gram_place *place,
                         int ranks, reap_memory_estimate *out);

/* Collective. What reap_paths_collect() will hold, with a shard of `images` images (0: none); options->from_stats is of
 * no concern. */
int reap_estimate_paths(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, int64_t images,
                        const reap_paths_options *options, reap_memory_estimate *out);

/* REAP_ERR_USAGE if the inputs and outputs of one layer, for one block of images, take more than the limit (0: none);
 * the message names what they take. */
int reap_estimate_check_limit(const reap_graph *graph, int64_t limit);

/* Collective; limit: bytes that activations may take on a rank, 0: none. REAP_ERR_RESOURCE, naming the layer and the
 * advice, if the matrices of the largest layer cannot fit on a node; a warning if activations may not. Nothing where
 * the system does not tell its free memory. */
int reap_estimate_check(const reap_comm *comm, const reap_memory_estimate *estimate, int64_t limit, const char *advice);

#endif
