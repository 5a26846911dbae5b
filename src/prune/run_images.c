/* Images of a run on their way through both networks. */
#include <string.h>

#include "reap/error.h"
#include "reap/timer.h"
#include "run.h"

bool run_frozen(const run *r) { return r->options->from_stats != NULL; }

int64_t run_blocks(const run *r) { return r->shard->last - r->shard->first; }

/* A block of images as the network's input; the tail is padded with the last image. */
static int read_block(run *r, int64_t block, float *storage) {
  int64_t first, count, images, channels, height, width;
  reap_shard_block(r->shard, block, &first, &count);
  reap_dataset_shape(r->images, &images, &channels, &height, &width);
  REAP_TRY(reap_dataset_read(r->images, first, count, storage));
  const int64_t size = channels * height * width;
  for (int64_t i = count; i < r->shard->block; i++)
    memcpy(storage + i * size, storage + (count - 1) * size, (size_t)size * sizeof *storage);
  return REAP_OK;
}

int run_load_images(run *r) {
  double start = reap_seconds();
  if (run_frozen(r)) return REAP_OK;
  REAP_TRY(reap_frontier_create(r->original, run_blocks(r), r->options->backend, &r->front_original));
  for (int64_t b = 0; b < run_blocks(r); b++) {
    float *images = NULL;
    REAP_TRY(reap_frontier_input(r->front_original, 0, b, &images));
    REAP_TRY(read_block(r, r->shard->first + b, images));
  }
  r->result->seconds_read = reap_seconds() - start;
  return REAP_OK;
}

/* Up to the first layer both networks are one: it is computed once, and what is held there is shared. */
static int start_pruned(run *r, const int *inputs, int count) {
  if (r->front_pruned) return REAP_OK;
  REAP_TRY(reap_frontier_advance(r->front_original, inputs, count));
  return reap_frontier_fork(r->front_original, r->pruned, &r->front_pruned);
}

/* Idle ranks have no blocks and only mark the nodes. */
int run_advance(run *r, const step *s) {
  double start = reap_seconds();
  if (run_frozen(r)) return REAP_OK;
  const int wanted[] = {s->layer.output, s->shortcut}, inputs[] = {s->layer.input, s->shortcut};
  const int count = s->shortcut >= 0 ? 2 : 1;
  REAP_TRY(start_pruned(r, inputs, count));
  REAP_TRY(reap_frontier_advance(r->front_original, wanted, count));
  REAP_TRY(reap_frontier_advance(r->front_pruned, inputs, count));
  r->result->seconds_forward += reap_seconds() - start;
  return REAP_OK;
}
