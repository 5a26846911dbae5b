/* Where moments and stored activations come from: the model, the images, the sampling. Local.
 *
 * Kept in the root attributes of statistics and activations files, so that only moments of the same kind are added up.
 */
#ifndef REAP_IO_ORIGIN_H
#define REAP_IO_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

/* Images [first, first + count) of the data file with this hash; those held out are among them but in no
 * moment. */
typedef struct reap_origin_images {
  int64_t first, count;
  char data[REAP_HASH_LENGTH];
} reap_origin_images;

typedef struct reap_origin {
  char model[REAP_HASH_LENGTH]; /* hash of the original network's file */
  bool pruned;                  /* inputs are those of the network as pruned so far, not the original's */
  int64_t positions;            /* sampled per image; 0: all; -k: k rows for each column */
  int64_t seed;                 /* of the sampling */
  int n_images;                 /* stretches of images */
  reap_origin_images *images;   /* [n_images] owned */
} reap_origin;

/* One stretch of images. `model` and `data` are hashes. */
int reap_origin_make(const char *model, bool pruned, int64_t positions, int64_t seed, const char *data, int64_t first,
                     int64_t count, reap_origin *out);
int reap_origin_copy(const reap_origin *origin, reap_origin *out);
void reap_origin_clear(reap_origin *origin);

/* Number of images in all. */
int64_t reap_origin_count(const reap_origin *origin);

/* The origin of both together. REAP_ERR_INPUT, naming a_path and b_path, unless both are of the same original network,
 * with the same sampling, of different images, with inputs of the original network. */
int reap_origin_merge(const reap_origin *a, const char *a_path, const reap_origin *b, const char *b_path,
                      reap_origin *out);

#endif
