/* Rows of patches of the images of a block; private to src/stats. */
#ifndef REAP_STATS_ROWS_H
#define REAP_STATS_ROWS_H

#include <stdbool.h>

#include "accumulator.h"
#include "columns.h"

/* Columns are tap-major inside src/stats: column t * channels + c, the order in which patches lie in memory. */
typedef struct reap_rows {
  reap_layer layer;
  reap_sampling sampling;
  uint64_t key;       /* of the layer's name, for sampling */
  int64_t per_image;  /* rows of one image */
  int64_t capacity;   /* rows that x and y hold */
  int64_t *positions; /* [per_image] scratch; unused for all positions */
  double *x;          /* [capacity, n] */
  double *y;          /* [capacity, m] */
  float *scratch;     /* [m] */
} reap_rows;

int reap_rows_create(const reap_layer *layer, const char *name, const reap_sampling *sampling, reap_rows *rows);
void reap_rows_clear(reap_rows *rows);

/* Calls use(context, rows, count) for chunks of rows of those images of a block that are (not) held out, in image
 * order; chunks depend on the layer only. x in storage order. */
int reap_rows_walk(reap_rows *rows, const reap_shard *shard, int64_t block, bool held_out, const float *x,
                   const reap_target *target, int (*use)(void *context, const reap_rows *rows, int64_t count),
                   void *context);

#endif
