/* Images loaded block by block, the network run on them up to its outputs, divergences kept for each block; see
 * study.h.
 *
 * Blocks are padded with their last image. Sums of a block have a slot of their own and are added in order: they do not
 * depend on the ranks.
 */
#include "study.h"

#include <string.h>

#include "exec/output_mean.h"
#include "reap/error.h"
#include "reap/memory.h"

static int load_block(study *s, int input, int64_t b) {
  const int64_t size = reap_images_size(s->graph, input);
  float *storage = NULL;
  int64_t first, count;
  REAP_TRY(reap_frontier_input(s->base, input, b, &storage));
  reap_shard_block(&s->shard, s->shard.first + b, &first, &count);
  for (int64_t i = 0; i < s->shard.block; i++) /* the tail is padded with the last image */
    if (i < count)
      REAP_TRY(
          reap_images_read(s->graph, input, s->setting->images, s->setting->indices[first + i], 1, storage + i * size));
    else
      memcpy(storage + i * size, storage + (count - 1) * size, (size_t)size * sizeof *storage);
  return REAP_OK;
}

static int load_images(study *s) {
  REAP_TRY(reap_frontier_create(s->graph, reap_study_blocks(s), s->setting->backend, &s->base));
  reap_frontier_limit(s->base, s->setting->memory, s->setting->scratch);
  reap_frontier_keep(s->base, s->outputs.values, s->outputs.n);
  for (int64_t b = 0; b < reap_study_blocks(s); b++)
    for (int k = 0; k < s->graph->n_inputs; k++) REAP_TRY(load_block(s, k, b));
  return REAP_OK;
}

/* Outputs of local block b into s->rows. */
static int read_outputs(study *s, const reap_frontier *front, const reap_graph *graph, int64_t b) {
  for (int k = 0; k < s->outputs.n; k++) {
    const reap_output *o = &s->outputs.list[k];
    const float *storage = NULL;
    REAP_TRY(reap_frontier_read(front, o->value, b, &storage));
    reap_storage_to_rows(&graph->values[o->value], storage, s->rows + s->shard.block * o->first);
  }
  return REAP_OK;
}

int reap_study_run(study *s, const reap_frontier *from, const reap_graph *graph,
                   void (*use)(study *, int64_t b, void *context), void *context) {
  reap_frontier *front = NULL;
  REAP_TRY(reap_frontier_fork(from, graph, &front));
  int status = reap_frontier_advance(front, s->outputs.values, s->outputs.n);
  for (int64_t b = 0; status == REAP_OK && b < reap_study_blocks(s); b++) {
    status = read_outputs(s, front, graph, b);
    if (status == REAP_OK) use(s, b, context);
  }
  reap_frontier_destroy(&front);
  return status;
}

/* Where output k of local block b is kept; its rows in s->rows, and how many images there are. */
static float *kept_rows(const study *s, int64_t b, int k, const float **rows, int64_t *count) {
  int64_t first;
  reap_shard_block(&s->shard, s->shard.first + b, &first, count);
  *rows = s->rows + s->shard.block * s->outputs.list[k].first;
  return s->reference + b * s->shard.block * s->outputs.size + *count * s->outputs.list[k].first;
}

void reap_study_keep(study *s, int64_t b, void *context) {
  (void)context;
  for (int k = 0; k < s->outputs.n; k++) {
    const float *rows = NULL;
    int64_t count;
    float *place = kept_rows(s, b, k, &rows, &count);
    memcpy(place, rows, (size_t)(count * s->outputs.list[k].size) * sizeof *rows);
  }
}

/* Each image for as many as it stands for. */
static void compare_weighted(const study *s, int64_t b, const reap_output *o, const float *original, const float *rows,
                             reap_divergence *slot) {
  int64_t first, count;
  reap_shard_block(&s->shard, s->shard.first + b, &first, &count);
  for (int64_t i = 0; i < count; i++) {
    reap_divergence one = {0};
    reap_divergence_add_soft(o->kind, original + i * o->size, o->kind, rows + i * o->size, 1, o->size,
                             REAP_PATHS_TEMPERATURE, &one);
    reap_divergence_add_weighted(&one, s->setting->weights[first + i], slot);
  }
}

void reap_study_compare(study *s, int64_t b, void *context) {
  reap_divergence *slots = (reap_divergence *)context + (s->shard.first + b) * s->outputs.n;
  for (int k = 0; k < s->outputs.n; k++) {
    const reap_output *o = &s->outputs.list[k];
    const float *rows = NULL;
    int64_t count;
    const float *original = kept_rows(s, b, k, &rows, &count);
    if (s->setting->weights)
      compare_weighted(s, b, o, original, rows, &slots[k]);
    else
      reap_divergence_add_soft(o->kind, original, o->kind, rows, count, o->size, REAP_PATHS_TEMPERATURE, &slots[k]);
  }
}

int reap_study_set_up(study *s) {
  const int64_t block = s->shard.block * s->outputs.size;
  int64_t count;
  REAP_TRY(reap_multiply(block, reap_study_blocks(s), &count));
  REAP_TRY(reap_alloc(&s->rows, block, sizeof *s->rows));
  REAP_TRY(reap_alloc(&s->reference, count, sizeof *s->reference));
  return load_images(s);
}

void reap_study_clear(study *s) {
  reap_frontier_destroy(&s->base);
  reap_free(&s->reference);
  reap_free(&s->rows);
  reap_free(&s->of_means);
  reap_output_set_clear(&s->outputs);
}

int reap_study_start(study *s) {
  REAP_TRY(reap_output_set_create(s->graph, &s->outputs));
  return reap_calloc(&s->of_means, s->outputs.n, sizeof *s->of_means);
}

int reap_study_means(const reap_comm *comm, const study *s) {
  const int n = s->outputs.n;
  reap_output_kind *kinds = NULL;
  int64_t *sizes = NULL;
  if (n == 1) return REAP_OK;
  int status = reap_alloc(&kinds, n, sizeof *kinds);
  if (status == REAP_OK) status = reap_alloc(&sizes, n, sizeof *sizes);
  status = reap_comm_agree(comm, status);
  for (int k = 0; status == REAP_OK && k < n; k++) {
    kinds[k] = s->outputs.list[k].kind;
    sizes[k] = s->outputs.list[k].size;
  }
  const reap_output_rows rows = {n, kinds, sizes, s->reference};
  if (status == REAP_OK) status = reap_output_means(comm, &s->shard, &rows, REAP_PATHS_TEMPERATURE, s->of_means);
  reap_free(&kinds);
  reap_free(&sizes);
  return status;
}

int reap_study_slots(const study *s, int64_t sizes, int64_t *count, reap_divergence **slots) {
  REAP_TRY(reap_multiply(sizes, s->shard.blocks * s->outputs.n, count));
  return reap_calloc(slots, *count, sizeof **slots);
}

int reap_study_add_up(const reap_comm *comm, int64_t count, reap_divergence *slots) {
  return reap_comm_sum(comm, &slots->kl, count * (int64_t)(sizeof *slots / sizeof(double)));
}

double reap_study_moved(const study *s, reap_divergence *slots) {
  const int n = s->outputs.n;
  for (int64_t b = 1; b < s->shard.blocks; b++)
    for (int k = 0; k < n; k++) reap_divergence_add_sums(&slots[b * n + k], &slots[k]);
  return reap_measure_moved(s->setting->measure, n, slots, s->of_means,
                            s->setting->weights ? s->setting->all : s->shard.images);
}
