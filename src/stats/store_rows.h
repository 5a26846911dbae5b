/* Rows of one layer into an activations file, slab by slab; private to src/prune. */
#ifndef REAP_STATS_STORE_ROWS_H
#define REAP_STATS_STORE_ROWS_H

#include "accumulator.h"
#include "io/activations_file.h"

/* Where the rows come from. input() and output() give local block b (0 .. last - first) in storage order; it stays
 * valid until another block is asked for. */
typedef struct rows_source {
  const reap_layer *layer;
  const char *name, *node;
  const reap_sampling *sampling;
  const reap_shard *shard;
  int (*input)(void *context, int64_t b, const float **x);
  int (*output)(void *context, int64_t b, const float **y);
  void *context;
} rows_source;

/* Collective. Rows of all images that are not held out, in the order of images and positions. energy: sum of Y squared.
 */
int store_rows(const reap_comm *comm, const rows_source *source, double energy, reap_activations_file *file);

/* Bytes that the rows of a layer take before compression. Local; images: those not held out. */
double store_rows_bytes(const reap_layer *layer, const reap_sampling *sampling, int64_t images);

#endif
