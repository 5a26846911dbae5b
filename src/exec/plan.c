/* Plans: kernels prepared, temporaries laid out in one arena by their lifetimes; see plan.h.
 *
 * Layout: values that an in-place kernel turns into each other form one interval; intervals are placed largest
 * first at the lowest offset that is free for their whole life. Quadratic in the number of values, which is small.
 */
#include "reap/plan.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

typedef struct interval {
  int first, last; /* positions in the list of nodes */
  int64_t count;   /* floats */
  int64_t offset;  /* in the arena; -1 until placed */
} interval;

struct reap_plan {
  const reap_graph *graph;
  int n_nodes;
  int *nodes;
  void **states;     /* [n_nodes] of the kernels */
  int *interval_of;  /* [n_values] or -1: not in the arena */
  int n_intervals;
  interval *intervals;
  int64_t arena_count;
  float *arena;
  float **where;     /* [n_values] scratch of reap_plan_run */
};

void reap_plan_destroy(reap_plan **plan) {
  reap_plan *p = *plan;
  if (!p) return;
  for (int i = 0; p->states && i < p->n_nodes; i++) {
    const reap_kernel *kernel = reap_kernel_of(p->graph->nodes[p->nodes[i]]->op);
    if (p->states[i] && kernel->destroy) kernel->destroy(&p->states[i]);
  }
  reap_free(&p->nodes);
  reap_free(&p->states);
  reap_free(&p->interval_of);
  reap_free(&p->intervals);
  reap_free(&p->arena);
  reap_free(&p->where);
  reap_free(plan);
}

/* Position of the last node that reads value v; at least `from`. */
static int last_reader(const reap_plan *p, int v, int from) {
  for (int i = p->n_nodes - 1; i > from; i--) {
    const reap_node *node = p->graph->nodes[p->nodes[i]];
    for (int k = 0; k < node->n_inputs; k++)
      if (node->inputs[k] == v) return i;
  }
  return from;
}

/* Input 0's interval if the node at position i may overwrite it, else -1. */
static int reusable(const reap_plan *p, int i) {
  const reap_node *node = p->graph->nodes[p->nodes[i]];
  const reap_kernel *kernel = reap_kernel_of(node->op);
  if (!kernel->in_place || node->n_inputs < 1 || node->inputs[0] < 0) return -1;
  int in = p->interval_of[node->inputs[0]];
  const reap_value *x = &p->graph->values[node->inputs[0]], *y = &p->graph->values[node->outputs[0]];
  if (in < 0 || p->intervals[in].last != i || !reap_same_dims(x->rank, x->dims, y->rank, y->dims)) return -1;
  for (int k = 1; k < node->n_inputs; k++) /* x + x */
    if (node->inputs[k] >= 0 && p->interval_of[node->inputs[k]] == in) return -1;
  return in;
}

static void find_intervals(reap_plan *p, const bool *kept) {
  for (int v = 0; v < p->graph->n_values; v++) p->interval_of[v] = -1;
  for (int i = 0; i < p->n_nodes; i++) {
    int v = p->graph->nodes[p->nodes[i]]->outputs[0];
    if (kept[v]) continue;
    int last = last_reader(p, v, i), reused = reusable(p, i);
    if (reused >= 0) {
      p->interval_of[v] = reused;
      p->intervals[reused].last = last;
    } else {
      p->interval_of[v] = p->n_intervals;
      p->intervals[p->n_intervals++] = (interval){i, last, reap_value_count(&p->graph->values[v]), -1};
    }
  }
}

static bool overlaps(const interval *a, const interval *b) {
  return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset at which `it` meets no placed interval that lives at the same time. */
static void place(reap_plan *p, interval *it) {
  enum { LINE = 16 }; /* floats in a cache line: keeps every value aligned */
  int64_t offset = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int k = 0; k < p->n_intervals; k++) {
      const interval *other = &p->intervals[k];
      if (other->offset < 0 || !overlaps(it, other)) continue;
      if (offset < other->offset + other->count && other->offset < offset + it->count) {
        offset = (other->offset + other->count + LINE - 1) / LINE * LINE;
        moved = true;
      }
    }
  }
  it->offset = offset;
  if (offset + it->count > p->arena_count) p->arena_count = offset + it->count;
}

static void lay_out(reap_plan *p) {
  for (int placed = 0; placed < p->n_intervals; placed++) {
    interval *largest = NULL;
    for (int k = 0; k < p->n_intervals; k++)
      if (p->intervals[k].offset < 0 && (!largest || p->intervals[k].count > largest->count)) largest = &p->intervals[k];
    place(p, largest);
  }
}

static int build(reap_plan *p, const int *nodes, int n_nodes, const bool *kept, reap_backend backend) {
  const int n_values = p->graph->n_values;
  REAP_TRY(reap_alloc(&p->nodes, n_nodes, sizeof *p->nodes));
  memcpy(p->nodes, nodes, (size_t)n_nodes * sizeof *nodes);
  p->n_nodes = n_nodes;
  REAP_TRY(reap_calloc(&p->states, n_nodes, sizeof *p->states));
  REAP_TRY(reap_alloc(&p->interval_of, n_values, sizeof *p->interval_of));
  REAP_TRY(reap_alloc(&p->intervals, n_nodes, sizeof *p->intervals));
  REAP_TRY(reap_calloc(&p->where, n_values, sizeof *p->where));
  find_intervals(p, kept);
  lay_out(p);
  REAP_TRY(reap_alloc(&p->arena, p->arena_count, sizeof *p->arena));
  for (int i = 0; i < n_nodes; i++) {
    const reap_node *node = p->graph->nodes[nodes[i]];
    const reap_kernel *kernel = reap_kernel_of(node->op);
    if (kernel->prepare) REAP_TRY(kernel->prepare(p->graph, node, backend, &p->states[i]));
  }
  return REAP_OK;
}

int reap_plan_create(const reap_graph *graph, const int *nodes, int n_nodes, const bool *kept, reap_backend backend,
                     reap_plan **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->graph = graph;
  int status = build(*out, nodes, n_nodes, kept, backend);
  if (status != REAP_OK) reap_plan_destroy(out);
  return status;
}

/* More inputs than any operator here has but Concat, whose list may be longer. */
enum { USUAL_INPUTS = 64 };

static int run_node(reap_plan *p, int i) {
  const reap_node *node = p->graph->nodes[p->nodes[i]];
  const float *few[USUAL_INPUTS], **inputs = few;
  if (node->n_inputs > USUAL_INPUTS) REAP_TRY(reap_alloc(&inputs, node->n_inputs, sizeof *inputs));
  for (int k = 0; k < node->n_inputs; k++) {
    int v = node->inputs[k];
    inputs[k] = v < 0 || p->graph->values[v].constant ? NULL : p->where[v];
  }
  int status = reap_kernel_of(node->op)->run(p->graph, node, p->states[i], inputs, p->where[node->outputs[0]]);
  if (inputs != few) reap_free(&inputs);
  return status;
}

int reap_plan_run(reap_plan *p, float *const *storage) {
  for (int v = 0; v < p->graph->n_values; v++) {
    int k = p->interval_of[v];
    p->where[v] = k >= 0 ? p->arena + p->intervals[k].offset : storage[v];
  }
  for (int i = 0; i < p->n_nodes; i++) REAP_TRY(run_node(p, i));
  return REAP_OK;
}

int64_t reap_plan_arena(const reap_plan *plan) { return plan->arena_count * (int64_t)sizeof(float); }
