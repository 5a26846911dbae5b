/* Plans: kernels prepared, temporaries laid out in one arena by their lifetimes; see plan.h.
 *
 * Fusion: a node whose kernel can do so takes along the Add that alone reads its output (if the other operand is there
 * by then), and the Relu or Clip that alone reads the result. Functions of each number that follow one another, alone
 * or behind a matrix product, are one step as well (chain.h). What is left is a list of steps.
 *
 * Layout: values that an in-place kernel turns into each other form one interval; intervals are placed largest
 * first at the lowest offset that is free for their whole life. Quadratic in the number of values, which is small.
 */
#include "plan.h"

#include <math.h>

#include "exec/kernels/chain.h"
#include "exec/kernels/kernels.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct interval {
  int first, last; /* positions in the list of steps */
  int64_t count;   /* floats */
  int64_t offset;  /* in the arena; -1 until placed */
} interval;

/* A node with what is computed along with it. */
typedef struct step {
  const reap_node *node;
  const reap_kernel *kernel;
  void *state; /* of the kernel */
  int addend;  /* value, or -1 */
  int output;  /* value: of the last node taken along */
  reap_fusion fusion;
  reap_chain *chain; /* of the fusion; owned */
} step;

struct reap_plan {
  const reap_graph *graph;
  int n_steps;
  step *steps;
  int *interval_of; /* [n_values] or -1: not in the arena */
  int n_intervals;
  interval *intervals;
  int64_t arena_count;
  float *arena;
  float **where; /* [n_values] scratch of reap_plan_run */
};

void reap_plan_destroy(reap_plan **plan) {
  reap_plan *p = *plan;
  if (!p) return;
  for (int i = 0; i < p->n_steps; i++) {
    reap_kernel_release(p->steps[i].kernel, &p->steps[i].state);
    reap_free(&p->steps[i].chain);
  }
  reap_free(&p->steps);
  reap_free(&p->interval_of);
  reap_free(&p->intervals);
  reap_free(&p->arena);
  reap_free(&p->where);
  reap_free(plan);
}

/* ---- steps */

/* The nodes to be planned, while steps are formed. */
typedef struct node_list {
  const reap_graph *graph;
  const int *nodes;
  int count;
  const bool *kept; /* [n_values] */
  bool *taken;      /* [count] computed along with an earlier one */
} node_list;

/* Position of the node that alone reads value v, and once; -1 if v is kept or has other readers. */
static int only_reader(const node_list *l, int v) {
  int found = -1;
  if (l->kept[v]) return -1;
  for (int i = 0; i < l->count; i++) {
    const reap_node *node = l->graph->nodes[l->nodes[i]];
    for (int k = 0; k < node->n_inputs; k++) {
      if (node->inputs[k] != v) continue;
      if (found >= 0) return -1;
      found = i;
    }
  }
  return found;
}

/* True if value v is there when the node at position `at` runs. */
static bool there_before(const node_list *l, int v, int at) {
  for (int i = at; i < l->count; i++)
    if (l->graph->nodes[l->nodes[i]]->outputs[0] == v) return false;
  return true;
}

/* Takes along the Add behind the node at position i. */
static void take_add(const node_list *l, int i, step *s) {
  int at = only_reader(l, s->output);
  const reap_node *add = at >= 0 ? l->graph->nodes[l->nodes[at]] : NULL;
  if (!add || !reap_operator_adds(add->op)) return;
  int other = add->inputs[0] == s->output ? add->inputs[1] : add->inputs[0];
  const reap_value *a = &l->graph->values[s->output], *b = &l->graph->values[other];
  if (b->constant || !reap_same_storage(a, b) || !there_before(l, other, i)) return;
  s->fusion.add = true;
  s->addend = other;
  s->output = add->outputs[0];
  l->taken[at] = true;
}

/* The nodes behind value x, from position `at` on, that make a function of each of its numbers, as far as nothing else
 * reads what passes between them. nodes[REAP_CHAIN_LINKS]: their positions. *output: what comes out. */
static void follow_chain(const node_list *l, int x, int at, reap_chain *chain, int *nodes, int *output) {
  *output = x;
  chain->n = 0;
  while (at >= 0 && !l->taken[at] && reap_chain_append(l->graph, l->graph->nodes[l->nodes[at]], x, *output, chain)) {
    nodes[chain->n - 1] = at;
    *output = l->graph->nodes[l->nodes[at]]->outputs[0];
    at = only_reader(l, *output);
  }
}

static int take_chain(const node_list *l, const reap_chain *chain, const int *nodes, int output, step *s) {
  REAP_TRY(reap_alloc(&s->chain, 1, sizeof *s->chain));
  *s->chain = *chain;
  s->fusion.chain = s->chain;
  s->output = output;
  for (int k = 0; k < chain->n; k++) l->taken[nodes[k]] = true;
  return REAP_OK;
}

/* The one value that a node reads, constants aside; -1 if there are several. */
static int argument_of(const reap_graph *graph, const reap_node *node) {
  int found = -1;
  for (int k = 0; k < node->n_inputs; k++) {
    const int v = node->inputs[k];
    if (v < 0 || graph->values[v].constant) continue;
    if (found >= 0 && found != v) return -1;
    found = v;
  }
  return found;
}

/* Two or more functions after each other, from the node at position i on, are one step. */
static int take_functions(const node_list *l, int i, step *s) {
  reap_chain chain;
  int nodes[REAP_CHAIN_LINKS], output;
  const int x = argument_of(l->graph, s->node);
  if (x < 0 || s->node->n_inputs > 3) return REAP_OK;
  follow_chain(l, x, i, &chain, nodes, &output);
  if (chain.n < 2) return REAP_OK;
  s->kernel = &reap_kernel_chain;
  return take_chain(l, &chain, nodes, output, s);
}

/* Functions behind a matrix product, if all that read its output is among them. */
static int take_functions_behind(const node_list *l, step *s) {
  reap_chain chain;
  int nodes[REAP_CHAIN_LINKS], output, readers = 0, first = -1, own = 0;
  const int x = s->output;
  for (int i = 0; i < l->count; i++)
    for (int k = 0; k < l->graph->nodes[l->nodes[i]]->n_inputs; k++) {
      if (l->graph->nodes[l->nodes[i]]->inputs[k] != x) continue;
      if (first < 0) first = i;
      readers++;
    }
  if (l->kept[x] || first < 0) return REAP_OK;
  follow_chain(l, x, first, &chain, nodes, &output);
  for (int k = 0; k < chain.n; k++) own += (k == 0) + chain.links[k].with_x;
  return chain.n > 0 && own == readers ? take_chain(l, &chain, nodes, output, s) : REAP_OK;
}

/* Takes along the Relu or Clip behind it. */
static void take_clamp(const node_list *l, step *s) {
  int at = only_reader(l, s->output);
  const reap_node *node = at >= 0 ? l->graph->nodes[l->nodes[at]] : NULL;
  if (!node) return;
  if (reap_operator_rectifies(node->op)) {
    s->fusion.low = 0;
    s->fusion.high = INFINITY;
  } else if (node->op->id != REAP_OP_Clip ||
             !reap_kernel_clip_bounds(l->graph, node, &s->fusion.low, &s->fusion.high)) {
    return;
  }
  s->fusion.clamp = true;
  s->output = node->outputs[0];
  l->taken[at] = true;
}

static int form_steps(reap_plan *p, node_list *l) {
  REAP_TRY(reap_calloc(&l->taken, l->count, sizeof *l->taken));
  for (int i = 0; i < l->count; i++) {
    if (l->taken[i]) continue;
    const reap_node *node = l->graph->nodes[l->nodes[i]];
    step *s = &p->steps[p->n_steps++];
    *s = (step){.node = node, .kernel = reap_kernel_of(node->op), .addend = -1, .output = node->outputs[0]};
    REAP_TRY(take_functions(l, i, s));
    if (!s->kernel->prepare_fused || s->chain) continue;
    if (s->kernel->adding) take_add(l, i, s);
    take_clamp(l, s);
    if (!s->fusion.clamp && (s->kernel == &reap_kernel_gemm || s->kernel == &reap_kernel_matmul))
      REAP_TRY(take_functions_behind(l, s));
  }
  return REAP_OK;
}

/* ---- memory */

static bool reads(const step *s, int v) {
  if (s->addend == v) return true;
  for (int k = 0; k < s->node->n_inputs; k++)
    if (s->node->inputs[k] == v) return true;
  return false;
}

/* Position of the last step that reads value v; at least `from`. */
static int last_reader(const reap_plan *p, int v, int from) {
  for (int i = p->n_steps - 1; i > from; i--)
    if (reads(&p->steps[i], v)) return i;
  return from;
}

/* Interval of an operand if step i may overwrite it, else -1. */
static int reusable(const reap_plan *p, int i) {
  const step *s = &p->steps[i];
  const reap_node *node = s->node;
  int operand = s->fusion.add ? s->addend : s->kernel->in_place && node->n_inputs > 0 ? node->inputs[0] : -1;
  if (operand < 0) return -1;
  int in = p->interval_of[operand];
  const reap_value *x = &p->graph->values[operand], *y = &p->graph->values[s->output];
  if (in < 0 || p->intervals[in].last != i || !reap_same_storage(x, y)) return -1;
  for (int k = s->fusion.add ? 0 : 1; k < node->n_inputs; k++) /* x + x, or a convolution of its own addend */
    if (node->inputs[k] >= 0 && p->interval_of[node->inputs[k]] == in) return -1;
  return in;
}

static void find_intervals(reap_plan *p, const bool *kept) {
  for (int v = 0; v < p->graph->n_values; v++) p->interval_of[v] = -1;
  for (int i = 0; i < p->n_steps; i++) {
    int v = p->steps[i].output;
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

static bool overlaps(const interval *a, const interval *b) { return a->first <= b->last && b->first <= a->last; }

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
      if (p->intervals[k].offset < 0 && (!largest || p->intervals[k].count > largest->count))
        largest = &p->intervals[k];
    place(p, largest);
  }
}

static int prepare(const reap_plan *p, step *s, reap_backend backend) {
  if (s->fusion.add || s->fusion.chain || s->fusion.clamp)
    return s->kernel->prepare_fused(p->graph, s->node, backend, &s->fusion, &s->state);
  return s->kernel->prepare ? s->kernel->prepare(p->graph, s->node, backend, &s->state) : REAP_OK;
}

static int build(reap_plan *p, node_list *l, reap_backend backend) {
  const int n_values = p->graph->n_values;
  REAP_TRY(reap_calloc(&p->steps, l->count, sizeof *p->steps));
  REAP_TRY(form_steps(p, l));
  REAP_TRY(reap_alloc(&p->interval_of, n_values, sizeof *p->interval_of));
  REAP_TRY(reap_alloc(&p->intervals, l->count, sizeof *p->intervals));
  REAP_TRY(reap_calloc(&p->where, n_values, sizeof *p->where));
  find_intervals(p, l->kept);
  lay_out(p);
  REAP_TRY(reap_alloc(&p->arena, p->arena_count, sizeof *p->arena));
  for (int i = 0; i < p->n_steps; i++) REAP_TRY(prepare(p, &p->steps[i], backend));
  return REAP_OK;
}

int reap_plan_create(const reap_graph *graph, const int *nodes, int n_nodes, const bool *kept, reap_backend backend,
                     reap_plan **out) {
  node_list list = {.graph = graph, .nodes = nodes, .count = n_nodes, .kept = kept};
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->graph = graph;
  int status = build(*out, &list, backend);
  reap_free(&list.taken);
  if (status != REAP_OK) reap_plan_destroy(out);
  return status;
}

/* More inputs than any operator here has but Concat, whose list may be longer. */
enum { USUAL_INPUTS = 64 };

static int run_step(reap_plan *p, const step *s) {
  const int n = s->node->n_inputs;
  const float *few[USUAL_INPUTS + 1], **inputs = few;
  if (n > USUAL_INPUTS) REAP_TRY(reap_alloc(&inputs, n + 1, sizeof *inputs));
  for (int k = 0; k < n; k++) {
    int v = s->node->inputs[k];
    inputs[k] = v < 0 || p->graph->values[v].constant ? NULL : p->where[v];
  }
  inputs[n] = s->addend >= 0 ? p->where[s->addend] : NULL;
  int status = s->kernel->run(p->graph, s->node, s->state, inputs, p->where[s->output]);
  if (inputs != few) reap_free(&inputs);
  return status;
}

int reap_plan_run(reap_plan *p, float *const *storage) {
  for (int v = 0; v < p->graph->n_values; v++) {
    int k = p->interval_of[v];
    p->where[v] = k >= 0 ? p->arena + p->intervals[k].offset : storage[v];
  }
  for (int i = 0; i < p->n_steps; i++) REAP_TRY(run_step(p, &p->steps[i]));
  return REAP_OK;
}
