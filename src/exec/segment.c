/* Segments of the graph: which nodes, which values in and out, and running them a second time; see segment.h.
 *
 * A block computed again has the same bits as before: it is the same plan, with the same fusions, on the same inputs.
 */
#include "segment.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* ---- choosing nodes and values */

/* The nodes not yet computed that `value` needs. */
static void mark(const reap_graph *graph, const bool *done, int value, bool *computed) {
  int i = graph->values[value].producer;
  if (i < 0 || done[i] || computed[i]) return;
  computed[i] = true;
  const reap_node *node = graph->nodes[i];
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) mark(graph, done, node->inputs[k], computed);
}

static void mark_inputs(const reap_node *node, bool *values) {
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) values[node->inputs[k]] = true;
}

void reap_segment_mark(const reap_graph *graph, const bool *done, const int *values, int n, bool *computed,
                       bool *needed) {
  memset(computed, 0, (size_t)graph->n_nodes * sizeof *computed);
  memset(needed, 0, (size_t)graph->n_values * sizeof *needed);
  for (int k = 0; k < n; k++) mark(graph, done, values[k], computed);
  for (int k = 0; k < n; k++) needed[values[k]] = true;
  for (int i = 0; i < graph->n_nodes; i++)
    if (!done[i] && !computed[i]) mark_inputs(graph->nodes[i], needed);
}

/* Every number written counts like as many multiply-adds as take as long as writing and reading it. */
static void count_work(segment *s, int i) {
  enum { WORK_OF_FLOAT = 32 };
  const double multiply_adds = (double)reap_node_flops(s->graph, i) * (double)s->graph->batch;
  s->multiply_adds += multiply_adds;
  s->work +=
      multiply_adds + WORK_OF_FLOAT * (double)reap_value_count(reap_node_output(s->graph, s->graph->nodes[i], 0));
}

static int list_values(segment *s, const bool *read) {
  const reap_graph *graph = s->graph;
  REAP_TRY(reap_alloc(&s->reads, graph->n_values, sizeof *s->reads));
  REAP_TRY(reap_alloc(&s->kept, graph->n_values, sizeof *s->kept));
  for (int v = 0; v < graph->n_values; v++) {
    const int producer = graph->values[v].producer;
    const bool inside = producer >= 0 && s->computed[producer];
    if (inside && s->needed[v]) s->kept[s->n_kept++] = v;
    if (!inside && read[v] && !graph->values[v].constant) s->reads[s->n_reads++] = v;
  }
  return REAP_OK;
}

static int make_plan(segment *s, reap_backend backend, int *nodes, bool *kept) {
  int count = 0;
  for (int i = 0; i < s->graph->n_nodes; i++) {
    if (!s->computed[i]) continue;
    nodes[count++] = i;
    count_work(s, i);
  }
  for (int k = 0; k < s->n_kept; k++) kept[s->kept[k]] = true;
  const int64_t before = reap_memory_live_bytes();
  REAP_TRY(reap_plan_create(s->graph, nodes, count, kept, backend, &s->plan));
  const int64_t bytes = reap_memory_live_bytes() - before;
  REAP_TRY(reap_block_store_charge(s->store, bytes));
  s->bytes = bytes;
  return REAP_OK;
}

static int build(segment *s, const bool *done, const bool *lasting, const int *values, int n, reap_backend backend) {
  const reap_graph *graph = s->graph;
  bool *read = NULL, *kept = NULL;
  int *nodes = NULL, status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&s->computed, graph->n_nodes, sizeof *s->computed), done);
  REAP_TRY_OR(reap_alloc(&s->needed, graph->n_values, sizeof *s->needed), done);
  REAP_TRY_OR(reap_calloc(&s->storage, graph->n_values, sizeof *s->storage), done);
  REAP_TRY_OR(reap_calloc(&read, graph->n_values, sizeof *read), done);
  REAP_TRY_OR(reap_calloc(&kept, graph->n_values, sizeof *kept), done);
  REAP_TRY_OR(reap_alloc(&nodes, graph->n_nodes, sizeof *nodes), done);
  reap_segment_mark(graph, done, values, n, s->computed, s->needed);
  for (int v = 0; v < graph->n_values; v++) s->needed[v] |= lasting[v];
  for (int i = 0; i < graph->n_nodes; i++)
    if (s->computed[i]) mark_inputs(graph->nodes[i], read);
  REAP_TRY_OR(list_values(s, read), done);
  status = make_plan(s, backend, nodes, kept);
done:
  reap_free(&read);
  reap_free(&kept);
  reap_free(&nodes);
  return status;
}

int reap_segment_create(const reap_graph *graph, const bool *done, const bool *lasting, const int *values, int n,
                        reap_backend backend, block_store *store, segment **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->references = 1;
  (*out)->store = store;
  (*out)->graph = graph;
  int status = build(*out, done, lasting, values, n, backend);
  if (status != REAP_OK) reap_segment_release(out);
  return status;
}

void reap_segment_release(segment **released) {
  segment *s = *released;
  *released = NULL;
  if (!s || --s->references > 0) return;
  reap_plan_destroy(&s->plan);
  reap_block_store_charge(s->store, -s->bytes);
  reap_free(&s->computed);
  reap_free(&s->needed);
  reap_free(&s->reads);
  reap_free(&s->kept);
  reap_free(&s->storage);
  reap_free(&s);
}

/* ---- running again */

/* What one block of images takes to be computed again. */
typedef struct recipe {
  block_maker maker; /* first: a maker is its recipe */
  segment *segment;
  int64_t live;                     /* results not yet forgotten */
  value_block **sources, **results; /* [n_reads], [n_kept]; results: NULL when forgotten */
} recipe;

/* The results still wanted in their own memory, others in some that goes at once. */
static int place_results(const recipe *r, int64_t index, value_block **passing) {
  segment *s = r->segment;
  for (int k = 0; k < s->n_kept; k++) {
    value_block *b = r->results[k];
    if (!b) {
      REAP_TRY(reap_block_create(index, reap_value_count(&s->graph->values[s->kept[k]]), &passing[k]));
      b = passing[k];
    }
    REAP_TRY(reap_block_allocate(s->store, b));
    s->storage[s->kept[k]] = b->data;
    if (r->results[k]) reap_block_store_get_facts(s->store)->recomputed += b->count * (int64_t)sizeof(float);
  }
  return REAP_OK;
}

static int make(block_maker *maker, value_block *block) {
  recipe *r = (recipe *)maker;
  segment *s = r->segment;
  value_block **passing = NULL;
  int status = REAP_OK;
  for (int k = 0; k < s->n_reads; k++) REAP_TRY(reap_block_fetch(s->store, r->sources[k], &s->storage[s->reads[k]]));
  REAP_TRY(reap_calloc(&passing, s->n_kept, sizeof(value_block *)));
  status = place_results(r, block->index, passing);
  if (status == REAP_OK) status = reap_plan_run(s->plan, s->storage);
  reap_block_store_get_facts(s->store)->recomputed_multiply_adds += s->multiply_adds;
  for (int k = 0; k < s->n_kept; k++) reap_block_drop(s->store, &passing[k]);
  reap_free(&passing);
  return status;
}

static void free_recipe(recipe *r) {
  segment *s = r->segment;
  for (int k = 0; k < s->n_reads; k++) reap_block_drop(s->store, &r->sources[k]);
  reap_segment_release(&r->segment);
  reap_free(&r->sources);
  reap_free(&r->results);
  reap_free(&r);
}

static void forget(block_maker *maker, const value_block *block) {
  recipe *r = (recipe *)maker;
  for (int k = 0; k < r->segment->n_kept; k++)
    if (r->results[k] == block) r->results[k] = NULL;
  if (--r->live == 0) free_recipe(r);
}

int reap_segment_remember(segment *s, value_block *const *sources, value_block *const *results) {
  recipe *r = NULL;
  int status = REAP_OK;
  if (s->n_kept == 0) return REAP_OK;
  REAP_TRY(reap_calloc(&r, 1, sizeof *r));
  REAP_TRY_OR(reap_calloc(&r->sources, s->n_reads, sizeof(value_block *)), failed);
  REAP_TRY_OR(reap_calloc(&r->results, s->n_kept, sizeof(value_block *)), failed);
  r->maker = (block_maker){make, forget};
  r->segment = s;
  s->references++;
  r->live = s->n_kept;
  for (int k = 0; k < s->n_reads; k++) {
    r->sources[k] = sources[k];
    sources[k]->references++;
  }
  for (int k = 0; k < s->n_kept; k++) {
    r->results[k] = results[k];
    results[k]->maker = &r->maker;
  }
  return REAP_OK;
failed:
  reap_free(&r->sources);
  reap_free(&r->results);
  reap_free(&r);
  return status;
}

bool reap_segment_makes(const value_block *block, const reap_graph *graph) {
  return block->maker && block->maker->make == make && ((const recipe *)block->maker)->segment->graph == graph;
}
