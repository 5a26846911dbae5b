/* The frontier: blocks of the values that cross the present cut; see frontier.h.
 *
 * Memory: one allocation per held value and block, given back as soon as the block has passed the last reader in every
 * frontier that shares it: a fork takes references, and nothing that is held is ever written to again. Values beyond
 * the limit are written to a scratch file (block_store.h), or dropped and computed again (segment.h), whichever is
 * cheaper by count: bytes to the file and back against multiply-adds at MULTIPLY_ADDS_PER_BYTE, and what else has to
 * be held for it. Input images that come from a data set are read again instead.
 *
 * Cost of an advance: one plan for the segment, run on every block.
 */
#include "frontier.h"

#include <string.h>

#include "block_store.h"
#include "image_blocks.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "segment.h"

/* A core does some 40 to 80 thousand million multiply-adds a second; a file in a local scratch folder moves about one
 * thousand million bytes. Most values are read that often before they are dropped: scanned, added up, measured, passed
 * on. */
enum { MULTIPLY_ADDS_PER_BYTE = 40, READS = 4 };

struct reap_frontier {
  const reap_graph *graph;
  reap_backend backend;
  int64_t n_blocks;
  int n_values;
  bool *done;            /* [n_nodes] */
  bool *lasting;         /* [n_values] held from when they are computed on */
  value_block ***blocks; /* [n_values][n_blocks], NULL where a value is not held */
  block_store *store;    /* shared by forks */
};

static int create(const reap_graph *graph, int64_t n_blocks, reap_backend backend, block_store *store,
                  reap_frontier **out) {
  reap_frontier *f = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&f, 1, sizeof *f));
  f->graph = graph;
  f->backend = backend;
  f->n_blocks = n_blocks;
  f->n_values = graph->n_values;
  REAP_TRY_OR(reap_calloc(&f->done, graph->n_nodes, sizeof *f->done), failed);
  REAP_TRY_OR(reap_calloc(&f->lasting, graph->n_values, sizeof *f->lasting), failed);
  REAP_TRY_OR(reap_calloc(&f->blocks, graph->n_values, sizeof *f->blocks), failed);
  if (store)
    f->store = reap_block_store_share(store);
  else
    REAP_TRY_OR(reap_block_store_create(n_blocks, &f->store), failed);
  *out = f;
  return REAP_OK;
failed:
  reap_frontier_destroy(&f);
  return status;
}

int reap_frontier_create(const reap_graph *graph, int64_t n_blocks, reap_backend backend, reap_frontier **out) {
  return create(graph, n_blocks, backend, NULL, out);
}

void reap_frontier_limit(reap_frontier *f, int64_t bytes, const char *scratch) {
  reap_block_store_limit(f->store, bytes, scratch);
}

void reap_frontier_get_use(const reap_frontier *f, reap_frontier_use *out) {
  const block_store_facts *facts = reap_block_store_get_facts(f->store);
  *out = (reap_frontier_use){.peak = facts->peak,
                             .spilled = facts->written,
                             .read_back = facts->read,
                             .images_read = facts->images_read,
                             .recomputed = facts->recomputed,
                             .recomputed_multiply_adds = facts->recomputed_multiply_adds,
                             .seconds_scratch = facts->seconds,
                             .seconds_images = facts->seconds_images};
}

static void drop_value(reap_frontier *f, int v) {
  if (!f->blocks[v]) return;
  for (int64_t b = 0; b < f->n_blocks; b++) reap_block_drop(f->store, &f->blocks[v][b]);
  reap_free(&f->blocks[v]);
}

void reap_frontier_destroy(reap_frontier **frontier) {
  reap_frontier *f = *frontier;
  if (!f) return;
  for (int v = 0; f->blocks && v < f->n_values; v++) drop_value(f, v);
  reap_block_store_release(&f->store);
  reap_free(&f->blocks);
  reap_free(&f->done);
  reap_free(&f->lasting);
  reap_free(frontier);
}

void reap_frontier_keep(reap_frontier *f, const int *values, int n) {
  for (int k = 0; k < n; k++) f->lasting[values[k]] = true;
}

static int hold_value(reap_frontier *f, int v) {
  if (f->blocks[v]) return REAP_OK;
  return reap_calloc(&f->blocks[v], f->n_blocks, sizeof *f->blocks[v]);
}

static int hold_block(reap_frontier *f, int v, int64_t block) {
  if (f->blocks[v][block]) return REAP_OK;
  return reap_block_create(block, reap_value_count(&f->graph->values[v]), &f->blocks[v][block]);
}

int reap_frontier_input(reap_frontier *f, int input, int64_t block, float **storage) {
  int v = f->graph->inputs[input];
  reap_block_store_visit(f->store, block, false);
  REAP_TRY(hold_value(f, v));
  REAP_TRY(hold_block(f, v, block));
  REAP_TRY(reap_block_allocate(f->store, f->blocks[v][block]));
  *storage = f->blocks[v][block]->data;
  return REAP_OK;
}

int reap_frontier_images(reap_frontier *f, reap_dataset *images, const reap_shard *shard) {
  for (int k = 0; k < f->graph->n_inputs; k++) {
    const int v = f->graph->inputs[k];
    REAP_TRY(hold_value(f, v));
    for (int64_t b = 0; b < f->n_blocks; b++) REAP_TRY(hold_block(f, v, b));
    REAP_TRY(reap_image_blocks_attach(f->graph, k, images, shard, f->store, f->n_blocks, f->blocks[v]));
  }
  return REAP_OK;
}

static int share_value(const reap_frontier *from, int v, reap_frontier *to) {
  if (!from->blocks[v]) return REAP_OK;
  REAP_TRY(hold_value(to, v));
  for (int64_t b = 0; b < from->n_blocks; b++) {
    to->blocks[v][b] = from->blocks[v][b];
    if (to->blocks[v][b]) to->blocks[v][b]->references++;
  }
  return REAP_OK;
}

int reap_frontier_fork(const reap_frontier *f, const reap_graph *graph, reap_frontier **out) {
  REAP_TRY(create(graph, f->n_blocks, f->backend, f->store, out));
  int status = REAP_OK;
  memcpy((*out)->done, f->done, (size_t)graph->n_nodes * sizeof *f->done);
  memcpy((*out)->lasting, f->lasting, (size_t)graph->n_values * sizeof *f->lasting);
  for (int v = 0; status == REAP_OK && v < f->n_values; v++) status = share_value(f, v, *out);
  if (status != REAP_OK) reap_frontier_destroy(out);
  return status;
}

/* ---- advancing */

/* Values of the current segment, block by block. */
typedef struct advance {
  segment *segment;
  bool recompute;                   /* cheaper than storing its results */
  int64_t result;                   /* bytes of a block's results */
  value_block **sources, **results; /* [n_reads], [n_kept] of the current block */
} advance;

static int64_t bytes_of(const reap_frontier *f, int v) {
  return reap_value_count(&f->graph->values[v]) * (int64_t)sizeof(float);
}

/* By count: what the results would move to and from the scratch file, against computing them again from sources that
 * would have to be held for longer. */
static bool recomputing_pays(const reap_frontier *f, const segment *s) {
  double sources = 0, results = 0;
  for (int k = 0; k < s->n_reads; k++) {
    const int v = s->reads[k];
    const bool lasts = s->needed[v] || !f->blocks[v] || reap_image_blocks_make(f->blocks[v][0]);
    if (!lasts) sources += (double)bytes_of(f, v);
  }
  for (int k = 0; k < s->n_kept; k++) results += (double)bytes_of(f, s->kept[k]);
  return (1 + READS) * sources + READS * s->work / MULTIPLY_ADDS_PER_BYTE < (1 + READS) * results;
}

static int begin_advance(reap_frontier *f, const int *values, int n, advance *a) {
  REAP_TRY(reap_segment_create(f->graph, f->done, f->lasting, values, n, f->backend, f->store, &a->segment));
  const segment *s = a->segment;
  REAP_TRY(reap_calloc(&a->sources, s->n_reads, sizeof(value_block *)));
  REAP_TRY(reap_calloc(&a->results, s->n_kept, sizeof(value_block *)));
  for (int k = 0; k < s->n_kept; k++) {
    REAP_TRY(hold_value(f, s->kept[k]));
    a->result += bytes_of(f, s->kept[k]);
  }
  a->recompute = f->n_blocks > 0 && recomputing_pays(f, s);
  return REAP_OK;
}

static int run_block(reap_frontier *f, advance *a, int64_t block) {
  segment *s = a->segment;
  reap_block_store_visit(f->store, block, true);
  for (int k = 0; k < s->n_reads; k++) {
    const int v = s->reads[k];
    a->sources[k] = f->blocks[v] ? f->blocks[v][block] : NULL;
    if (!a->sources[k]) return reap_error(REAP_ERR_INTERNAL, "%s is not held", f->graph->values[v].name);
    REAP_TRY(reap_block_fetch(f->store, a->sources[k], &s->storage[v]));
  }
  for (int k = 0; k < s->n_kept; k++) {
    const int v = s->kept[k];
    REAP_TRY(hold_block(f, v, block));
    a->results[k] = f->blocks[v][block];
    REAP_TRY(reap_block_allocate(f->store, a->results[k]));
    s->storage[v] = a->results[k]->data;
  }
  REAP_TRY(reap_plan_run(s->plan, s->storage));
  if (a->recompute && !reap_block_store_fits(f->store, a->result))
    REAP_TRY(reap_segment_remember(s, a->sources, a->results));
  for (int v = 0; v < f->n_values; v++)
    if (f->blocks[v] && !s->needed[v]) reap_block_drop(f->store, &f->blocks[v][block]);
  return REAP_OK;
}

int reap_frontier_advance(reap_frontier *f, const int *values, int n) {
  advance a = {0};
  int status = begin_advance(f, values, n, &a);
  for (int64_t b = 0; status == REAP_OK && b < f->n_blocks; b++) status = run_block(f, &a, b);
  for (int v = 0; status == REAP_OK && v < f->n_values; v++)
    if (!a.segment->needed[v]) drop_value(f, v);
  for (int i = 0; status == REAP_OK && i < f->graph->n_nodes; i++) f->done[i] |= a.segment->computed[i];
  reap_segment_release(&a.segment);
  reap_free(&a.sources);
  reap_free(&a.results);
  reap_block_store_trim(f->store);
  return status;
}

/* ---- reading */

int reap_frontier_read(const reap_frontier *f, int value, int64_t block, const float **out) {
  float *data = NULL;
  *out = NULL;
  if (!f->blocks[value] || !f->blocks[value][block])
    return reap_error(REAP_ERR_INTERNAL, "%s is not held", f->graph->values[value].name);
  REAP_TRY(reap_block_fetch(f->store, f->blocks[value][block], &data));
  *out = data;
  return REAP_OK;
}

const float *reap_frontier_value(const reap_frontier *f, int value, int64_t block) {
  const float *data = NULL;
  if (!f->blocks[value] || !f->blocks[value][block]) return NULL;
  return reap_frontier_read(f, value, block, &data) == REAP_OK ? data : NULL;
}

bool reap_frontier_done(const reap_frontier *f, int node) { return f->done[node]; }

int64_t reap_frontier_bytes(const reap_frontier *f) {
  int64_t bytes = 0;
  for (int v = 0; v < f->n_values; v++)
    for (int64_t b = 0; f->blocks[v] && b < f->n_blocks; b++) {
      const value_block *held = f->blocks[v][b];
      if (held && held->data) bytes += held->count * (int64_t)sizeof(float) / held->references;
    }
  return bytes;
}

/* ---- cutting */

/* What stays of every value held. */
typedef struct stay {
  int axis;
  int64_t count, *entries; /* along the axis; count -1: all */
} stay;

/* Keeps the entries of one block, in new memory of the smaller size. */
static int cut_block(reap_frontier *f, int v, int64_t block, const stay *stays) {
  const reap_value *value = &f->graph->values[v];
  value_block *fresh = NULL;
  float *old = NULL;
  const int64_t width = value->dims[stays->axis];
  REAP_TRY(reap_block_fetch(f->store, f->blocks[v][block], &old));
  REAP_TRY(reap_block_create(block, reap_value_count(value) / width * stays->count, &fresh));
  int status = reap_block_allocate(f->store, fresh);
  if (status != REAP_OK) reap_block_drop(f->store, &fresh);
  REAP_TRY(status);
  reap_storage_pick(value, stays->axis, stays->count, stays->entries, old, fresh->data);
  reap_block_drop(f->store, &f->blocks[v][block]);
  f->blocks[v][block] = fresh;
  return REAP_OK;
}

/* Nodes that could compute blocks again are about to change: from now on these blocks are held. */
static int keep_blocks(reap_frontier *f, int64_t block) {
  for (int v = 0; v < f->n_values; v++) {
    value_block *b = f->blocks[v] ? f->blocks[v][block] : NULL;
    if (b && reap_segment_makes(b, f->graph)) REAP_TRY(reap_block_keep(f->store, b));
  }
  return REAP_OK;
}

static int find_entries(reap_frontier *f, const reap_groups *groups, int group, const bool *keep, stay *stays) {
  for (int v = 0; v < f->n_values; v++) {
    stays[v].count = -1;
    stays[v].axis = reap_groups_axis(groups, v);
    if (!f->blocks[v] || stays[v].axis < 0) continue;
    REAP_TRY(reap_alloc(&stays[v].entries, f->graph->values[v].dims[stays[v].axis], sizeof *stays[v].entries));
    stays[v].count = reap_groups_entries(groups, v, group, keep, stays[v].entries);
  }
  return REAP_OK;
}

int reap_frontier_cut(reap_frontier *f, const reap_groups *groups, int group, const bool *keep) {
  stay *stays = NULL;
  REAP_TRY(reap_calloc(&stays, f->n_values, sizeof *stays));
  int status = find_entries(f, groups, group, keep, stays);
  for (int64_t b = 0; status == REAP_OK && b < f->n_blocks; b++) {
    reap_block_store_visit(f->store, b, true);
    status = keep_blocks(f, b);
    for (int v = 0; status == REAP_OK && v < f->n_values; v++)
      if (stays[v].count >= 0 && f->blocks[v][b]) status = cut_block(f, v, b, &stays[v]);
  }
  for (int v = 0; v < f->n_values; v++) reap_free(&stays[v].entries);
  reap_free(&stays);
  reap_block_store_trim(f->store);
  return status;
}
