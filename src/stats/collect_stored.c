/* Moments from stored rows; see collect.h.
 *
 * The rows are those of a matrix product, one to an "image", none of them held out. They go through the accumulator in
 * fixed blocks, so that the moments do not depend on the number of ranks.
 *
 * Cost: each rank reads its rows twice (energies first, then sums). Memory: one block of rows and the layer's moments.
 */
#include <string.h>

#include "base/timer.h"
#include "collect.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Rows of a block: some megabytes of X, so that the product costs more than adding it up. */
enum { BLOCK_ROWS = 9 * 128 };

typedef struct stored {
  reap_activations_reader *reader;
  int index;
  const reap_activations_layer *about;
  const reap_samples *samples;
  float *x, *y; /* [BLOCK_ROWS, n], [BLOCK_ROWS, m]; zero behind the last row */
} stored;

static int read_block(void *context, int64_t b, const float **x, const float **y) {
  const stored *s = context;
  const reap_layer *layer = &s->samples->layer;
  int64_t first, count;
  reap_shard_block(&s->samples->shard, s->samples->shard.first + b, &first, &count);
  REAP_TRY(reap_activations_read(s->reader, s->index, first, count, s->x, s->y));
  memset(s->x + count * layer->n, 0, (size_t)((BLOCK_ROWS - count) * layer->n) * sizeof *s->x);
  memset(s->y + count * layer->m, 0, (size_t)((BLOCK_ROWS - count) * layer->m) * sizeof *s->y);
  if (x) *x = s->x;
  if (y) *y = s->y;
  return REAP_OK;
}

static int gather(const reap_comm *comm, const reap_samples *samples, stored *s, reap_layer_gram *gram) {
  int status = reap_alloc(&s->x, BLOCK_ROWS * samples->layer.n, sizeof *s->x);
  if (status == REAP_OK) status = reap_alloc(&s->y, BLOCK_ROWS * samples->layer.m, sizeof *s->y);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_gram_gather(comm, samples, REAP_GRAM_WHOLE, gram);
  reap_free(&s->x);
  reap_free(&s->y);
  return status;
}

static int collect_layer(const reap_comm *comm, reap_activations_reader *reader, int index, reap_stats_writer *stats) {
  stored s = {.reader = reader, .index = index, .about = reap_activations_layer_at(reader, index)};
  const int64_t channels = s.about->channels, block = s.about->block;
  const reap_samples samples = {
      .layer = {.channels = channels, .block = block, .n = channels * block, .m = s.about->m, .positions = 1},
      .name = s.about->name,
      .node = s.about->node,
      .shard = reap_shard_make(s.about->rows, BLOCK_ROWS, reap_comm_rank(comm), reap_comm_size(comm)),
      .read = read_block,
      .context = &s};
  reap_layer_gram gram = {0};
  s.samples = &samples;
  int status = gather(comm, &samples, &s, &gram);
  if (status == REAP_OK) status = reap_stats_writer_add(stats, s.about->name, s.about->node, &gram.view);
  reap_gram_clear(&gram);
  return reap_error_prefix(status, "statistics of %s", s.about->name);
}

int reap_collect_stored(const reap_comm *comm, reap_activations_reader *activations, reap_stats_writer *stats,
                        const reap_progress *progress, reap_collect_result *result) {
  const double start = reap_seconds();
  memset(result, 0, sizeof *result);
  int status = REAP_OK;
  reap_progress_report(progress, "statistics", NULL, 0, reap_activations_layers(activations), NULL);
  for (int i = 0; status == REAP_OK && i < reap_activations_layers(activations); i++) {
    status = collect_layer(comm, activations, i, stats);
    reap_progress_report(progress, "statistics", reap_activations_layer_at(activations, i)->name, i + 1,
                         reap_activations_layers(activations), NULL);
    result->n_layers++;
  }
  result->seconds_moments = reap_seconds() - start;
  return status;
}
