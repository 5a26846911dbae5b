/* Rows of some channels of a layer, in the file's order of columns, chunk by chunk; private to src/stats. */
#ifndef REAP_STATS_ROW_CHUNKS_H
#define REAP_STATS_ROW_CHUNKS_H

#include "moments_panels.h"

typedef struct row_chunks row_chunks;

/* What a walk goes over. */
typedef struct row_walk {
  bool held_out;            /* images that are held out, else those that are not */
  bool by_block;            /* no chunk reaches over two blocks of images */
  int64_t first;            /* slot from which columns of X are wanted (those before may be anything) */
  int64_t y_first, y_count; /* columns of Y wanted */
} row_walk;

/* Chunks of X [rows, slots * b] with the columns of `slots` channels, ascending (NULL: all, in order), and of up to
 * `outputs` columns of Y. The channels are copied. Local. */
int row_chunks_create(const reap_layer_rows *rows, int64_t slots, const int64_t *channel, int64_t outputs,
                      row_chunks **out);
void row_chunks_destroy(row_chunks **chunks);

/* Calls use(context, block, rows, x, y) for this rank's rows in the order of images and positions: x [rows, slots * b],
 * y [rows, y_count], both row-major without gaps; block: the last row's. If one chunk holds all rows, X is gathered
 * once for all walks over the same images. Local. */
int row_chunks_walk(row_chunks *chunks, const row_walk *walk,
                    int (*use)(void *context, int64_t block, int64_t rows, const double *x, const double *y),
                    void *context);

#endif
