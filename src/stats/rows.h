/* Rows of a layer's samples as float64, chunk by chunk: X and Y for products. Local. */
#ifndef REAP_STATS_ROWS_H
#define REAP_STATS_ROWS_H

#include "samples.h"

/* What a walk goes over. */
typedef struct reap_walk {
  reap_part part;
  int64_t begin, end;       /* local blocks */
  int64_t first;            /* slot from which columns of X are wanted; those before may be anything */
  int64_t y_first, y_count; /* columns of Y wanted */
} reap_walk;

typedef struct reap_rows {
  reap_cursor cursor;
  reap_walk walk;
  int64_t slots, *channel; /* [slots] whose columns X has in the files' order, slot * block + t; 0: all channels tap by
                              tap, column t * channels + c, as patches lie in memory */
  int64_t columns;         /* of X */
  int64_t capacity, outputs;
  double *x, *y;            /* [capacity, columns], [capacity, walk.y_count], both row-major without gaps */
  float *patch;             /* [n] scratch */
  int64_t chunks, last;     /* of this walk; rows of the last one */
  bool gathers;             /* this walk gathers X */
  int64_t held, held_first; /* rows of all images in the sums, from that slot on, lie in x; -1: no */
} reap_rows;

/* Rows that take `bytes` with so many columns of X and Y together, at least `least`. */
int64_t reap_rows_capacity(int64_t bytes, int64_t columns, int64_t least);

/* Chunks of up to `capacity` rows with the columns of `slots` channels, ascending, which are copied (channel NULL: the
 * first ones; slots 0: all, tap by tap), and of up to `outputs` columns of Y. To be cleared also after an error. */
int reap_rows_create(const reap_samples *samples, int64_t slots, const int64_t *channel, int64_t outputs,
                     int64_t capacity, reap_rows *rows);
void reap_rows_clear(reap_rows *rows);

/* The same with chunks of REAP_ROWS_BYTES at most, and no more rows than the rank has, held out or not. */
enum { REAP_ROWS_BYTES = 64 << 20 };
int reap_rows_open(const reap_samples *samples, int64_t slots, const int64_t *channel, int64_t outputs,
                   reap_rows *rows);

void reap_rows_start(reap_rows *rows, const reap_walk *walk);

/* The next chunk into x and y, in the order of images and positions; *count 0: there are no more. A chunk may end
 * within an image. If one chunk holds all rows in the sums, X is gathered once for all walks over them. */
int reap_rows_next(reap_rows *rows, int64_t *count);

#endif
