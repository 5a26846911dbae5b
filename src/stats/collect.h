/* Statistics of the layers of one network, unpruned, in one pass over the images.
 *
 * The network advances layer by layer; the moments of each are summed over ranks and handed on, so that no more than
 * one layer's are held. The result does not depend on the number of ranks.
 */
#ifndef REAP_STATS_COLLECT_H
#define REAP_STATS_COLLECT_H

#include <stdbool.h>

#include "exec/frontier.h"
#include "exec/kernels/kernel.h"
#include "exec/shard.h"
#include "gram.h"
#include "io/activations_file.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/path.h"
#include "reap/stats_file.h"

/* Callback that receives each layer's moments, in topological order of the layers. Collective; valid until it returns.
 * It may keep gram->moments by setting the pointer to NULL. */
typedef struct reap_moments_visitor {
  int (*visit)(void *context, const reap_layer *layer, reap_layer_gram *gram);
  bool distributed; /* takes moments that no rank holds whole, too; else all are replicated */
  void *context;
} reap_moments_visitor;

typedef struct reap_collect_options {
  bool all;                 /* every linear layer but grouped convolutions, not only consumers of prunable groups */
  const bool *chosen;       /* [groups] only consumers of these; NULL: of all */
  const reap_layer *layers; /* [n_layers] these layers and no others, in topological order; NULL: by the groups */
  int n_layers;
  reap_sampling sampling;
  reap_backend backend;
  reap_stats_writer *stats; /* takes up the moments; NULL: they are not stored */
  reap_solver solver;    /* the visitor's: where it says so (reap_solver_distributes), moments go by panels, so that no
                            rank holds them, to the file and to the visitor */
  bool panels;           /* they do so in every layer */
  int64_t whole_columns; /* a visitor gets whole moments of layers of so many columns, however few the rows are */
  const reap_moments_visitor *visitor; /* gets the moments; may be NULL */
  reap_activations_file *activations;  /* takes up the rows; NULL: they are not stored */
  int64_t memory;                      /* bytes for values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;                 /* folder for what exceeds them */
  const reap_progress *progress;
} reap_collect_options;

typedef struct reap_collect_result {
  int n_layers;
  reap_frontier_use use;                                                /* of this rank */
  double seconds_read, seconds_forward, seconds_moments, seconds_store; /* of this rank */
} reap_collect_result;

/* Local. Layers of the graph that would be collected, in topological order: an array that the caller owns.
 * REAP_ERR_INPUT if there are none. */
int reap_collect_layers(const reap_graph *graph, const reap_groups *groups, bool all, int *count, reap_layer **layers);

/* Collective. */
int reap_collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                 const reap_shard *shard, const reap_collect_options *options, reap_collect_result *result);

/* Local. Bytes that the rows of these layers, of `images` images, take in an activations file before they are packed.
 */
double reap_collect_stored_bytes(const reap_layer *layers, int count, const reap_sampling *sampling, int64_t images);

/* Collective. Moments from stored activations: layer by layer, the rows dealt out to ranks. */
int reap_collect_stored(const reap_comm *comm, reap_activations_reader *activations, reap_stats_writer *stats,
                        const reap_progress *progress, reap_collect_result *result);

#endif
