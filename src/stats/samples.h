/* Rows of a linear layer, X and Y: which images, which positions of them, and where they come from. Local.
 *
 * Every row is one position of the layer's output in one image: X [n] what the layer reads there, Y [m] what it is to
 * produce. Rows are read block by block, as often as they are wanted, and never held as a whole.
 */
#ifndef REAP_STATS_SAMPLES_H
#define REAP_STATS_SAMPLES_H

#include "base/split.h"
#include "exec/frontier.h"
#include "exec/shard.h"
#include "model/operators/layer.h"

/* Which positions of an image count: all, or some of them drawn from (seed, layer's name, image). */
typedef struct reap_sampling {
  int64_t positions; /* so many; 0: all; -k: so many that there are k rows for each column of the layer, but all where
                        they cost hardly more */
  uint64_t seed;
} reap_sampling;

/* Positions of each of `images` images that are drawn of this layer; 0: all count. */
int64_t reap_sampling_drawn(const reap_sampling *sampling, const reap_layer *layer, int64_t images);

/* The samples of one layer. The names and the context are borrowed. */
typedef struct reap_samples {
  reap_layer layer;
  const char *name, *node; /* the layer's and its ONNX node's */
  reap_sampling sampling;
  reap_split split; /* into images in the sums and images held out */
  reap_shard shard;
  int64_t stride;  /* of all blocks, every so many count; 0 or 1: all */
  bool cross_only; /* products of inputs with each other are not wanted: the Gram matrix stays zero */
  /* Local block b (0 .. last - first): input and target in storage order, valid until another block is read. x or y
   * NULL: not wanted. */
  int (*read)(void *context, int64_t b, const float **x, const float **y);
  void *context;
} reap_samples;

/* Whether local block b counts. */
bool reap_samples_counts(const reap_samples *samples, int64_t b);

/* Local blocks, those that do not count included. */
static inline int64_t reap_samples_blocks(const reap_samples *s) { return s->shard.last - s->shard.first; }

/* Whether only some positions of an image count; rows of an image; elements of an image's input and target. */
bool reap_samples_some(const reap_samples *samples);
int64_t reap_samples_per_image(const reap_samples *samples);
int64_t reap_samples_input_size(const reap_layer *layer);
int64_t reap_samples_output_size(const reap_layer *layer);

/* Positions of image `image` that count, ascending, into positions[reap_samples_per_image()]. */
void reap_samples_positions(const reap_samples *samples, int64_t image, int64_t *positions);

/* ---- from two networks that stand side by side */

/* The layer's input in one network and its output in another one (or the same), with what the shortcut beside it has
 * lost added: the sum behind the shortcut comes out right if the branch makes up for that. The first network may have
 * fewer channels in the output than the second. */
typedef struct reap_taps {
  const reap_frontier *inputs, *outputs; /* of the networks; both hold the shortcut too */
  int input, output, shortcut;           /* values; -1: no shortcut */
  const reap_value *whole;               /* the output in the second network, */
  int axis;                              /* along which the first has */
  int64_t n_kept;
  const int64_t *kept; /* these entries of it only; NULL: all. Shortcuts lose the same ones */
  int64_t count;       /* elements of a block's output in the first network */
  float *target;       /* [count]; NULL with neither shortcut nor kept. To be freed (reap_free) */
  float *before;       /* [count]; NULL unless there are both. To be freed */
} reap_taps;

/* reap_samples.read with a reap_taps as context. */
int reap_taps_read(void *taps, int64_t b, const float **x, const float **y);

/* ---- a walk over the rows */

/* Rows of one image, in the order of positions. */
typedef struct reap_piece {
  int64_t image, block;     /* of all images; local block */
  const float *x, *y;       /* the image's input and target, NULL: not wanted */
  int64_t count, first;     /* rows; the first one's number in the image */
  const int64_t *positions; /* [count]; NULL: first and those behind it */
} reap_piece;

static inline int64_t reap_piece_position(const reap_piece *p, int64_t row) {
  return p->positions ? p->positions[row] : p->first + row;
}

/* Images walked over. */
typedef enum reap_part { REAP_IN_SUMS, REAP_HELD_OUT, REAP_ALL_IMAGES } reap_part;

typedef struct reap_cursor {
  reap_samples samples;
  reap_part part;
  bool wants_x, wants_y;
  int64_t block, end, read; /* local block at hand, behind the last one, whose values x and y are (-1: none) */
  int64_t image, done;      /* of the block; rows of it already given */
  const float *x, *y;
  int64_t per_image, *positions; /* [per_image] */
} reap_cursor;

int reap_cursor_create(const reap_samples *samples, reap_cursor *cursor);
void reap_cursor_clear(reap_cursor *cursor);

/* From here on: rows of local blocks first .. end. */
void reap_cursor_start(reap_cursor *cursor, reap_part part, int64_t first, int64_t end);

/* The next rows, at most `most`, all of one image; piece->count 0: there are no more. */
int reap_cursor_next(reap_cursor *cursor, int64_t most, reap_piece *piece);

#endif
