/* Images held out, seen as a network will meet new ones: flipped, shifted, mixed. Local.
 *
 * A network knows by heart the images that it was trained on, those that are held out of the moments as well as the
 * others, and errs on them less than on new ones. Views are made of them on the fly, and depend on nothing but the
 * image and the seed:
 *
 *     flipped    left to right
 *     shifted    by up to an eighth of height and width, each drawn; the border is continued by its nearest pixel
 *     mixed      four fifths of it and one fifth of the next image held out (of the last: of the first)
 *
 * A view may be several of these: flipped and shifted first, then mixed with the next image, as much flipped and
 * shifted. Flipped and shifted are inputs of rank 4 and 5, whose last two axes are height and width (the two before the
 * last, if that has four entries at most and the one before it more); other inputs stay as they are.
 */
#ifndef REAP_EXEC_VIEWS_H
#define REAP_EXEC_VIEWS_H

#include "exec/kernels/kernel.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "shard.h"

/* Borrows images and indices. */
typedef struct reap_views {
  reap_dataset *images;
  const int64_t *indices; /* [shard.images] images held out */
  reap_shard shard;       /* of them */
  uint64_t seed;
} reap_views;

/* A network that runs over views. */
typedef struct reap_view_runner reap_view_runner;

/* Borrows views and graph, which stays as it is. values[n]: what is wanted of the graph; rows[n]: where it is found
 * after each run, row-major in ONNX's order, owned by the runner. */
int reap_view_runner_create(const reap_views *views, const reap_graph *graph, int n, const int *values,
                            reap_backend backend, reap_view_runner **out, const float **rows);
void reap_view_runner_destroy(reap_view_runner **runner);

/* The images of block `block` of the shard, seen as `view` (REAP_VIEW_* added; 0: as they are): rows of images
 * [*first, *first + *count). REAP_ERR_INPUT if an image cannot be read. */
int reap_view_runner_run(reap_view_runner *runner, unsigned view, int64_t block, int64_t *first, int64_t *count);

#endif
