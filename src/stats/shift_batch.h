/* Batches of images as the shift form wants them: widened to float64, interleaved pixel by pixel, a few rows at a time;
 * private to src/stats. See shift_batch.c. Local. */
#ifndef REAP_STATS_SHIFT_BATCH_H
#define REAP_STATS_SHIFT_BATCH_H

#include "columns.h"
#include "samples.h"
#include "shift_plan.h"

typedef struct shift_batch {
  reap_layer layer;
  reap_shard shard;
  reap_split split;
  const shift_plan *plan;
  int64_t capacity;    /* images of a batch */
  int64_t *chosen;     /* [capacity] images of the block that make up the batch */
  int64_t images;      /* of the batch at hand */
  int64_t channels;    /* of the batch at hand */
  const int64_t *kept; /* [channels], or NULL: all */
  const float *source; /* the block's inputs */
  int64_t loaded;      /* rows of the input that have been widened */
  int64_t depth;       /* rows that x holds: row r of the input lies in slot r mod depth */
  double *x;           /* [depth][width, images, channels] */
  double *columns;     /* [width, height, images, channels]; NULL if there are no border cells */
  bool *at_border;     /* [width] columns of the image that border cells need */
  double *y;           /* [out_width, images, m]: one row of targets */
} shift_batch;

/* Batches of `pixels` pixels in a row of the core cell, where a block has that many. The plan is borrowed. */
int reap_shift_batch_create(const reap_samples *samples, const shift_plan *plan, int64_t pixels, shift_batch *batch);
void reap_shift_batch_clear(shift_batch *batch);

/* The next images of the block, from *next on, that are (not) held out, of the channels kept[channels] (NULL: all) of
 * x; false if there are none. */
bool reap_shift_batch_begin(shift_batch *batch, int64_t block, bool held_out, const float *x, int64_t channels,
                            const int64_t *kept, int64_t *next);

/* Rows of the walk: input row `row` and output row `row` + pad, of which either may be outside. */
int64_t reap_shift_batch_first(const shift_batch *batch);
int64_t reap_shift_batch_last(const shift_batch *batch);

/* Widens the input up to the last row that meets row `row` in any correlation; to be called with ascending rows. */
void reap_shift_batch_advance(shift_batch *batch, int64_t row);

/* Pixel (row, x) of all images, of a row widened and not yet overwritten; the next pixels behind it. */
static inline double *shift_batch_pixel(const shift_batch *b, int64_t row, int64_t x) {
  return b->x + (row % b->depth * b->plan->x.size + x) * b->images * b->channels;
}

/* Pixel (y, column) of a border column; (y + 1, column) lies behind it. After the last row. */
static inline const double *shift_batch_column(const shift_batch *b, int64_t y, int64_t column) {
  return b->columns + (column * b->plan->y.size + y) * b->images * b->channels;
}

/* Row `row` of the targets y of the block into batch->y. */
void reap_shift_batch_targets(shift_batch *batch, int64_t row, const float *y);

#endif
