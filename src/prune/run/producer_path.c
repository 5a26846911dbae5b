#include "producer_path.h"

#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/rules.h"
#include "steps.h"

/* Computes each number of its output from the numbers at the same place. */
static bool is_elementwise(const reap_node *node) {
  return node->op->channels == REAP_CHANNELS_JOIN ||
         (node->op->channels == REAP_CHANNELS_PASS && reap_rules_of(node->op)->shape == reap_shape_same);
}

/* What is looked for, and where. */
typedef struct search {
  const reap_graph *graph;
  int producer, consumer;
  bool stream;
  uint64_t behind; /* bit i: node producer + i depends on the producer */
} search;

static bool depends(const search *s, int node) {
  return node == s->producer || (node > s->producer && s->behind >> (node - s->producer) & 1);
}

/* False if there are too many nodes for the bits. */
static bool mark_behind(search *s) {
  s->behind = 0;
  if (s->consumer - s->producer >= 64) return false;
  for (int i = s->producer + 1; i < s->consumer; i++) {
    const reap_node *node = s->graph->nodes[i];
    for (int k = 0; k < node->n_inputs; k++)
      if (node->inputs[k] >= 0 && depends(s, s->graph->values[node->inputs[k]].producer))
        s->behind |= (uint64_t)1 << (i - s->producer);
  }
  return true;
}

static bool add_beside(int value, producer_path *p) {
  for (int k = 0; k < p->n_beside; k++)
    if (p->beside[k] == value) return true;
  if (p->n_beside == PRODUCER_NODES) return false;
  p->beside[p->n_beside++] = value;
  return true;
}

static bool has(const producer_path *p, int node) {
  for (int k = 0; k < p->n_between; k++)
    if (p->between[k] == node) return true;
  return false;
}

/* Adds the node that computes `value`, unless it is the producer; false if it is none that may stand between. */
static bool add_maker(const search *s, int value, producer_path *p) {
  const int node = s->graph->values[value].producer;
  if (node == s->producer || (node >= 0 && has(p, node))) return true;
  if (s->stream && !depends(s, node)) return add_beside(value, p);
  if (node < s->producer || p->n_between == PRODUCER_NODES || !is_elementwise(s->graph->nodes[node])) return false;
  int at = p->n_between++;
  for (; at > 0 && p->between[at - 1] > node; at--) p->between[at] = p->between[at - 1];
  p->between[at] = node;
  return true;
}

/* Readers of a value among the nodes between and the consumer; each counts once, as in n_readers. */
static int known_readers(const reap_graph *graph, const producer_path *p, int consumer, int value) {
  int n = graph->nodes[consumer]->inputs[0] == value;
  for (int k = 0; k < p->n_between; k++) {
    const reap_node *node = graph->nodes[p->between[k]];
    bool reads = false;
    for (int i = 0; i < node->n_inputs; i++) reads |= node->inputs[i] == value;
    n += reads;
  }
  return n;
}

static bool read_elsewhere(const reap_graph *graph, const producer_path *p, int consumer, int value) {
  return graph->values[value].n_readers != known_readers(graph, p, consumer, value);
}

/* One shape from the producer on: nothing is repeated along an axis. */
static bool same_shapes(const search *s, const producer_path *p) {
  const reap_value *first = reap_node_output(s->graph, s->graph->nodes[s->producer], 0);
  bool same = true;
  for (int k = 0; k < p->n_between; k++) {
    const reap_value *v = reap_node_output(s->graph, s->graph->nodes[p->between[k]], 0);
    same &= reap_same_dims(first->rank, first->dims, v->rank, v->dims);
  }
  return same;
}

/* The nodes between producer and consumer; false if others take part, or read what passes there. */
static bool find_between(const search *s, producer_path *p) {
  const reap_graph *graph = s->graph;
  const int producer = s->producer, consumer = s->consumer, input = graph->nodes[consumer]->inputs[0];
  p->n_between = p->n_beside = 0;
  if (!add_maker(s, input, p)) return false;
  for (int seen = -1; seen != p->n_between;) { /* until no node is added */
    seen = p->n_between;
    for (int k = 0; k < p->n_between; k++) {
      const reap_node *node = graph->nodes[p->between[k]];
      for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] >= 0 && !graph->values[node->inputs[i]].constant && !add_maker(s, node->inputs[i], p))
          return false;
    }
  }
  p->shared = read_elsewhere(graph, p, consumer, input);
  if (p->shared && (!s->stream || graph->values[input].is_output)) return false;
  bool elsewhere = false;
  for (int k = -1; k < p->n_between; k++) {
    const int value = graph->nodes[k < 0 ? producer : p->between[k]]->outputs[0];
    elsewhere |= value != input && read_elsewhere(graph, p, consumer, value);
  }
  return !elsewhere && (!s->stream || same_shapes(s, p));
}

/* The way back takes rows for stored one behind the other. */
static bool rows_have_gaps(const reap_graph *graph, const reap_node *node) {
  const int axis = reap_linear_axis(graph, node);
  const reap_row_layout x = reap_row_layout_of(reap_node_input(graph, node, 0), axis, graph->batch),
                        y = reap_row_layout_of(reap_node_output(graph, node, 0), axis, graph->batch);
  return reap_rows_have_gaps(&x) || reap_rows_have_gaps(&y);
}

/* Of the inputs that are no constants the first one, or the one computed last; -1: there is none. */
static int way_back(const reap_graph *graph, const reap_node *node, bool last) {
  int found = -1;
  for (int k = 0; k < node->n_inputs; k++) {
    const int value = node->inputs[k];
    if (value < 0 || graph->values[value].constant) continue;
    if (found < 0 || (last && graph->values[value].producer > graph->values[found].producer)) found = value;
  }
  return found;
}

/* The first layer on the way back from the consumer's inputs; or -1. */
static int nearest_layer(const reap_graph *graph, int consumer, bool stream) {
  int value = graph->nodes[consumer]->inputs[0];
  for (;;) {
    const int maker = graph->values[value].producer;
    if (maker < 0 || graph->nodes[maker]->linear) return maker;
    const reap_node *node = graph->nodes[maker];
    if (!is_elementwise(node)) return -1;
    value = way_back(graph, node, stream);
    if (value < 0) return -1;
  }
}

static bool has_groups(const reap_node *node) { return reap_node_int(node, "group", 1) != 1; }

bool reap_producer_path_find(const reap_graph *graph, int consumer, bool stream, producer_path *path) {
  const int producer = path->producer = nearest_layer(graph, consumer, stream);
  search s = {graph, producer, consumer, stream, 0};
  if (producer < 0) return false;
  if (!reap_repair_possible(graph, producer) || !reap_repair_possible(graph, consumer)) return false;
  if (has_groups(graph->nodes[producer]) || has_groups(graph->nodes[consumer])) return false;
  s.stream = stream && mark_behind(&s);
  if (!find_between(&s, path)) return false;
  if (rows_have_gaps(graph, graph->nodes[producer]) || rows_have_gaps(graph, graph->nodes[consumer])) return false;
  return reap_is_convolution(graph->nodes[producer]) == reap_is_convolution(graph->nodes[consumer]);
}
