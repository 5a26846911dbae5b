/* Moments from stored rows; see collect.h.
 *
 * The rows are those of a matrix product, one to an "image". As no stored row is held out and samples leave every tenth
 * image out, rows take the places 0..8, 10..18, ... and the tenth ones stay empty. Rows go through the accumulator in
 * fixed blocks, so that the moments do not depend on the number of ranks.
 *
 * Cost: each rank reads its rows twice (energies first, then sums). Memory: one block of rows and the layer's moments.
 */
#include <string.h>

#include "accumulator.h"
#include "base/timer.h"
#include "collect.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Rows of a block: some megabytes of X, so that its product pays for adding it up. */
enum { BLOCK_ROWS = 9 * 128, BLOCK_PLACES = 10 * 128 };

typedef struct stored {
  reap_activations_reader *reader;
  int index;
  const reap_activations_layer *about;
  const reap_samples *samples;
  float *x, *y; /* [BLOCK_PLACES, n], [BLOCK_PLACES, m]; empty places are zero */
} stored;

/* Rows of a block come nine to a run of ten places. */
static int read_block(void *context, int64_t b, const float **x, const float **y) {
  const stored *s = context;
  const int64_t n = s->samples->layer.n, m = s->about->m, first = (s->samples->shard.first + b) * BLOCK_ROWS;
  const int64_t count = s->about->rows - first < BLOCK_ROWS ? s->about->rows - first : BLOCK_ROWS;
  REAP_TRY(reap_activations_read(s->reader, s->index, first, count, s->x, s->y));
  memset(s->x + count * n, 0, (size_t)((BLOCK_PLACES - count) * n) * sizeof *s->x);
  memset(s->y + count * m, 0, (size_t)((BLOCK_PLACES - count) * m) * sizeof *s->y);
  for (int64_t run = (count - 1) / 9; run >= 0; run--) { /* from the last on, so that nothing is overwritten */
    memmove(s->x + run * 10 * n, s->x + run * 9 * n, (size_t)(9 * n) * sizeof *s->x);
    memmove(s->y + run * 10 * m, s->y + run * 9 * m, (size_t)(9 * m) * sizeof *s->y);
    memset(s->x + (run * 10 + 9) * n, 0, (size_t)n * sizeof *s->x);
    memset(s->y + (run * 10 + 9) * m, 0, (size_t)m * sizeof *s->y);
  }
  if (x) *x = s->x;
  if (y) *y = s->y;
  return REAP_OK;
}

static int gather(const reap_comm *comm, const reap_samples *samples, stored *s, reap_moments **moments) {
  reap_accumulator *a = NULL;
  int status = reap_alloc(&s->x, BLOCK_PLACES * samples->layer.n, sizeof *s->x);
  if (status == REAP_OK) status = reap_alloc(&s->y, BLOCK_PLACES * samples->layer.m, sizeof *s->y);
  if (status == REAP_OK) status = reap_accumulator_create(samples, &a);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_accumulator_sum(a, comm);
  if (status == REAP_OK) status = reap_accumulator_reduce(a, comm, moments);
  reap_accumulator_destroy(&a);
  reap_free(&s->x);
  reap_free(&s->y);
  return status;
}

static int collect_layer(const reap_comm *comm, reap_activations_reader *reader, int index, reap_stats_writer *stats) {
  stored s = {.reader = reader, .index = index, .about = reap_activations_layer_at(reader, index)};
  const int64_t channels = s.about->channels, block = s.about->block;
  const int64_t places = s.about->rows + (s.about->rows - 1) / 9;
  const reap_samples samples = {
      .layer = {.channels = channels, .block = block, .n = channels * block, .m = s.about->m, .positions = 1},
      .name = s.about->name,
      .node = s.about->node,
      .split = REAP_SPLIT_TENTH,
      .shard = reap_shard_make(places, BLOCK_PLACES, reap_comm_rank(comm), reap_comm_size(comm)),
      .read = read_block,
      .context = &s};
  reap_moments *moments = NULL;
  s.samples = &samples;
  int status = gather(comm, &samples, &s, &moments);
  if (status == REAP_OK) status = reap_stats_writer_add(stats, s.about->name, s.about->node, moments);
  reap_moments_destroy(&moments);
  return reap_error_prefix(status, "statistics of %s", s.about->name);
}

int reap_collect_stored(const reap_comm *comm, reap_activations_reader *activations, reap_stats_writer *stats,
                        const reap_progress *progress, reap_collect_result *result) {
  const double start = reap_seconds();
  memset(result, 0, sizeof *result);
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < reap_activations_layers(activations); i++) {
    status = collect_layer(comm, activations, i, stats);
    reap_progress_report(progress, "statistics", reap_activations_layer_at(activations, i)->name, i + 1,
                         reap_activations_layers(activations), NULL);
    result->n_layers++;
  }
  result->seconds_moments = reap_seconds() - start;
  return status;
}
