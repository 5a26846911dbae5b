/* The frontier: blocks of the values that cross the present cut; see frontier.h.
 *
 * Memory: one allocation per held value and block, given back as soon as the block has passed the last reader in every
 * frontier that shares it: a fork takes references, and nothing that is held is ever written to again. Cost of an
 * advance: one plan for the segment, run on every block. While it runs, blocks given back wait in a short list for the
 * next ones of their size: fresh memory would cost as much in page faults as a layer's computation.
 */
#include "reap/frontier.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/plan.h"

/* One block of a value, shared by `references` frontiers. */
typedef struct shared_block {
  int64_t references, count; /* count: of floats */
  float *data;
} shared_block;

enum { SPARES = 8 };

struct reap_frontier {
  const reap_graph *graph;
  reap_backend backend;
  int64_t n_blocks;
  int n_values;
  bool *done;      /* [n_nodes] */
  shared_block ***blocks; /* [n_values][n_blocks], NULL where a value is not held */
  shared_block *spares[SPARES]; /* empty between calls */
};

int reap_frontier_create(const reap_graph *graph, int64_t n_blocks, reap_backend backend, reap_frontier **out) {
  reap_frontier *f = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&f, 1, sizeof *f));
  f->graph = graph;
  f->backend = backend;
  f->n_blocks = n_blocks;
  f->n_values = graph->n_values;
  REAP_TRY_OR(reap_calloc(&f->done, graph->n_nodes, sizeof *f->done), failed);
  REAP_TRY_OR(reap_calloc(&f->blocks, graph->n_values, sizeof *f->blocks), failed);
  *out = f;
  return REAP_OK;
failed:
  reap_frontier_destroy(&f);
  return status;
}

static void free_block(shared_block *b) {
  reap_free(&b->data);
  reap_free(&b);
}

static void drop_block(reap_frontier *f, int v, int64_t block) {
  shared_block *b = f->blocks[v][block];
  f->blocks[v][block] = NULL;
  if (!b || --b->references > 0) return;
  for (int i = 0; i < SPARES; i++)
    if (!f->spares[i]) {
      f->spares[i] = b;
      return;
    }
  free_block(b);
}

static void free_spares(reap_frontier *f) {
  for (int i = 0; i < SPARES; i++) {
    if (f->spares[i]) free_block(f->spares[i]);
    f->spares[i] = NULL;
  }
}

static void drop_value(reap_frontier *f, int v) {
  if (!f->blocks[v]) return;
  for (int64_t b = 0; b < f->n_blocks; b++) drop_block(f, v, b);
  reap_free(&f->blocks[v]);
}

void reap_frontier_destroy(reap_frontier **frontier) {
  reap_frontier *f = *frontier;
  if (!f) return;
  for (int v = 0; f->blocks && v < f->n_values; v++) drop_value(f, v);
  free_spares(f);
  reap_free(&f->blocks);
  reap_free(&f->done);
  reap_free(frontier);
}

static int hold_value(reap_frontier *f, int v) {
  if (f->blocks[v]) return REAP_OK;
  return reap_calloc(&f->blocks[v], f->n_blocks, sizeof *f->blocks[v]);
}

static int make_block(reap_frontier *f, int64_t count, shared_block **out) {
  for (int i = 0; i < SPARES; i++)
    if (f->spares[i] && f->spares[i]->count == count) {
      *out = f->spares[i];
      (*out)->references = 1;
      f->spares[i] = NULL;
      return REAP_OK;
    }
  shared_block *b = NULL;
  REAP_TRY(reap_calloc(&b, 1, sizeof *b));
  *b = (shared_block){.references = 1, .count = count};
  int status = reap_alloc(&b->data, count, sizeof *b->data);
  if (status != REAP_OK) reap_free(&b);
  *out = b;
  return status;
}

static int hold_block(reap_frontier *f, int v, int64_t block) {
  return f->blocks[v][block] ? REAP_OK : make_block(f, reap_value_count(&f->graph->values[v]), &f->blocks[v][block]);
}

int reap_frontier_input(reap_frontier *f, int input, int64_t block, float **storage) {
  int v = f->graph->inputs[input];
  REAP_TRY(hold_value(f, v));
  REAP_TRY(hold_block(f, v, block));
  *storage = f->blocks[v][block]->data;
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
  REAP_TRY(reap_frontier_create(graph, f->n_blocks, f->backend, out));
  int status = REAP_OK;
  memcpy((*out)->done, f->done, (size_t)graph->n_nodes * sizeof *f->done);
  for (int v = 0; status == REAP_OK && v < f->n_values; v++) status = share_value(f, v, *out);
  if (status != REAP_OK) reap_frontier_destroy(out);
  return status;
}

/* Marks the nodes not yet computed that `value` needs. */
static void mark(const reap_frontier *f, int value, bool *segment) {
  int i = f->graph->values[value].producer;
  if (i < 0 || f->done[i] || segment[i]) return;
  segment[i] = true;
  const reap_node *node = f->graph->nodes[i];
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) mark(f, node->inputs[k], segment);
}

/* True if a node that is still to be computed after this segment reads `value`. */
static bool read_later(const reap_frontier *f, int value, const bool *segment) {
  for (int i = 0; i < f->graph->n_nodes; i++) {
    if (f->done[i] || segment[i]) continue;
    const reap_node *node = f->graph->nodes[i];
    for (int k = 0; k < node->n_inputs; k++)
      if (node->inputs[k] == value) return true;
  }
  return false;
}

typedef struct segment_plan {
  bool *segment; /* [n_nodes] nodes to be computed */
  bool *kept;    /* [n_values] computed here and held on */
  bool *needed;  /* [n_values] asked for, or read by a node computed later */
  int *nodes;
  float **storage; /* [n_values] of the block at hand */
  reap_plan *plan;
} segment_plan;

static void clear_segment(segment_plan *s) {
  reap_plan_destroy(&s->plan);
  reap_free(&s->segment);
  reap_free(&s->kept);
  reap_free(&s->needed);
  reap_free(&s->nodes);
  reap_free(&s->storage);
}

static int plan_segment(reap_frontier *f, const int *values, int n, segment_plan *s) {
  const reap_graph *graph = f->graph;
  REAP_TRY(reap_calloc(&s->segment, graph->n_nodes, sizeof *s->segment));
  REAP_TRY(reap_calloc(&s->kept, graph->n_values, sizeof *s->kept));
  REAP_TRY(reap_calloc(&s->needed, graph->n_values, sizeof *s->needed));
  REAP_TRY(reap_alloc(&s->nodes, graph->n_nodes, sizeof *s->nodes));
  REAP_TRY(reap_calloc(&s->storage, graph->n_values, sizeof *s->storage));
  for (int k = 0; k < n; k++) mark(f, values[k], s->segment);
  for (int k = 0; k < n; k++) s->needed[values[k]] = true;
  int count = 0;
  for (int i = 0; i < graph->n_nodes; i++)
    if (s->segment[i]) s->nodes[count++] = i;
  for (int v = 0; v < graph->n_values; v++) {
    int producer = graph->values[v].producer;
    bool computed = producer >= 0 && s->segment[producer];
    if (!s->needed[v] && (computed || f->blocks[v])) s->needed[v] = read_later(f, v, s->segment);
    s->kept[v] = computed && s->needed[v];
    if (s->kept[v]) REAP_TRY(hold_value(f, v));
  }
  return reap_plan_create(graph, s->nodes, count, s->kept, f->backend, &s->plan);
}

static int run_block(reap_frontier *f, segment_plan *s, int64_t block) {
  for (int v = 0; v < f->n_values; v++) {
    if (s->kept[v]) REAP_TRY(hold_block(f, v, block));
    s->storage[v] = f->blocks[v] && f->blocks[v][block] ? f->blocks[v][block]->data : NULL;
  }
  REAP_TRY(reap_plan_run(s->plan, s->storage));
  for (int v = 0; v < f->n_values; v++)
    if (f->blocks[v] && !s->needed[v]) drop_block(f, v, block);
  return REAP_OK;
}

int reap_frontier_advance(reap_frontier *f, const int *values, int n) {
  segment_plan s = {0};
  int status = plan_segment(f, values, n, &s);
  for (int64_t b = 0; status == REAP_OK && b < f->n_blocks; b++) status = run_block(f, &s, b);
  for (int v = 0; status == REAP_OK && v < f->n_values; v++)
    if (!s.needed[v]) drop_value(f, v);
  for (int i = 0; status == REAP_OK && i < f->graph->n_nodes; i++) f->done[i] |= s.segment[i];
  clear_segment(&s);
  free_spares(f);
  return status;
}

const float *reap_frontier_value(const reap_frontier *f, int value, int64_t block) {
  return f->blocks[value] && f->blocks[value][block] ? f->blocks[value][block]->data : NULL;
}

bool reap_frontier_done(const reap_frontier *f, int node) { return f->done[node]; }

int64_t reap_frontier_bytes(const reap_frontier *f) {
  int64_t bytes = 0;
  for (int v = 0; v < f->n_values; v++)
    for (int64_t b = 0; f->blocks[v] && b < f->n_blocks; b++)
      if (f->blocks[v][b]) bytes += f->blocks[v][b]->count * (int64_t)sizeof(float) / f->blocks[v][b]->references;
  return bytes;
}

static void pick(float *restrict to, const float *restrict from, int64_t rows, int64_t width, int64_t count,
                 const int64_t *restrict entries) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < count; k++) to[r * count + k] = from[r * width + entries[k]];
}

/* Keeps entries[count] along axis 1 of one block, in new memory of the smaller size. */
static int cut_block(reap_frontier *f, int v, int64_t block, int64_t count, const int64_t *entries) {
  const reap_value *value = &f->graph->values[v];
  shared_block *old = f->blocks[v][block], *fresh = NULL;
  if (!old) return REAP_OK;
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides(value, strides);
  const int64_t inner = strides[1], width = value->dims[1], outer = reap_value_count(value) / (inner * width);
  REAP_TRY(make_block(f, outer * count * inner, &fresh));
  if (inner == 1) pick(fresh->data, old->data, outer, width, count, entries);
  for (int64_t o = 0; o < outer && inner > 1; o++)
    for (int64_t k = 0; k < count; k++)
      memcpy(fresh->data + (o * count + k) * inner, old->data + (o * width + entries[k]) * inner,
             (size_t)inner * sizeof(float));
  drop_block(f, v, block);
  f->blocks[v][block] = fresh;
  return REAP_OK;
}

int reap_frontier_cut(reap_frontier *f, const reap_groups *groups, int group, const bool *keep) {
  int status = REAP_OK;
  int64_t *entries = NULL;
  for (int v = 0; v < f->n_values; v++) {
    if (!f->blocks[v] || f->graph->values[v].rank < 2) continue;
    REAP_TRY_OR(reap_alloc(&entries, f->graph->values[v].dims[1], sizeof *entries), done);
    int64_t count = reap_groups_entries(groups, v, group, keep, entries);
    for (int64_t b = 0; count >= 0 && b < f->n_blocks; b++) REAP_TRY_OR(cut_block(f, v, b, count, entries), done);
    reap_free(&entries);
  }
done:
  reap_free(&entries);
  free_spares(f);
  return status;
}
