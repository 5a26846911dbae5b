/* Outputs on mixtures of images held out; see mixed_images.h.
 *
 * Images held out of the moments are still, as a rule, images that the original was trained on, and of these it is
 * nearly certain. A weighted mean of two of them it has not seen: there it doubts as it does on new images, whatever
 * the images are of, and the pruned network errs as it does on new images.
 *
 * Cost: a forward pass of each network over the images held out. Memory: their frontier, within what the run may hold.
 */
#include "mixed_images.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* Of the other image. */
static const float SHARE = 0.2F;

typedef struct mixtures {
  const run *run;
  reap_shard shard; /* of the mixtures */
  int64_t *indices; /* [rows] images held out */
  float *other;     /* one image */
} mixtures;

/* One mixture, or the image it is made of where there is only one. */
static int mix(const mixtures *x, int64_t row, int64_t size, float *out) {
  const int64_t next = (row + 1) % x->shard.images;
  REAP_TRY(reap_dataset_read(x->run->images, x->indices[row], 1, out));
  REAP_TRY(reap_dataset_read(x->run->images, x->indices[next], 1, x->other));
  for (int64_t i = 0; i < size; i++) out[i] += SHARE * (x->other[i] - out[i]);
  return REAP_OK;
}

static int load(const mixtures *x, const reap_graph *graph, int64_t size, reap_frontier *front) {
  for (int64_t b = x->shard.first; b < x->shard.last; b++) {
    float *storage = NULL;
    int64_t first, count;
    REAP_TRY(reap_frontier_input(front, 0, b - x->shard.first, &storage));
    reap_shard_block(&x->shard, b, &first, &count);
    for (int64_t i = 0; i < graph->batch; i++) /* the tail is padded with the last one */
      if (i < count)
        REAP_TRY(mix(x, first + i, size, storage + i * size));
      else
        memcpy(storage + i * size, storage + (count - 1) * size, (size_t)size * sizeof *storage);
  }
  return REAP_OK;
}

static int read_rows(const mixtures *x, reap_frontier *front, int value, int64_t m, double *out) {
  REAP_TRY(reap_frontier_advance(front, &value, 1));
  for (int64_t b = x->shard.first; b < x->shard.last; b++) {
    const float *y = NULL;
    int64_t first, count;
    REAP_TRY(reap_frontier_read(front, value, b - x->shard.first, &y));
    reap_shard_block(&x->shard, b, &first, &count);
    for (int64_t i = 0; i < count * m; i++) out[first * m + i] += (double)y[i];
  }
  return REAP_OK;
}

static int run_network(const mixtures *x, const reap_graph *graph, int value, int64_t size, int64_t m, double *out) {
  const reap_prune_options *o = x->run->options;
  reap_frontier *front = NULL;
  int status = reap_frontier_create(graph, x->shard.last - x->shard.first, o->backend, &front);
  if (status == REAP_OK) {
    reap_frontier_limit(front, o->memory, o->scratch);
    status = load(x, graph, size, front);
  }
  if (status == REAP_OK) status = read_rows(x, front, value, m, out);
  reap_frontier_destroy(&front);
  return status;
}

int mixed_outputs(const run *r, int value, int64_t rows, int64_t m, double *wanted, double *logits) {
  const reap_graph *graph = r->original;
  const int64_t size = reap_value_count(&graph->values[graph->inputs[0]]) / graph->batch;
  mixtures x = {.run = r,
                .shard = reap_shard_make(rows, graph->batch, reap_comm_rank(r->comm), reap_comm_size(r->comm))};
  int status = reap_alloc(&x.indices, rows, sizeof *x.indices);
  if (status == REAP_OK) status = reap_alloc(&x.other, size, sizeof *x.other);
  if (status == REAP_OK) {
    reap_split_list(REAP_SPLIT_TENTH, r->shard->images, rows, x.indices);
    status = run_network(&x, r->original, value, size, m, wanted);
  }
  if (status == REAP_OK) status = run_network(&x, r->pruned, value, size, m, logits);
  reap_free(&x.indices);
  reap_free(&x.other);
  return status;
}
