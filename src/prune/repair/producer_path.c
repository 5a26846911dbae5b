#include "producer_path.h"

#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/rules.h"
#include "prune/run/steps.h"

/* Computes each number of its output from the numbers at the same place. */
static bool is_elementwise(const reap_node *node) {
  return node->op->channels == REAP_CHANNELS_JOIN ||
         (node->op->channels == REAP_CHANNELS_PASS && reap_rules_of(node->op)->shape == reap_shape_same);
}

static bool has(const producer_path *p, int node) {
  for (int k = 0; k < p->n_between; k++)
    if (p->between[k] == node) return true;
  return false;
}

/* Adds the node that computes `value`, unless it is the producer; false if it is none that may stand between. */
static bool add_maker(const reap_graph *graph, int producer, int value, producer_path *p) {
  const int node = graph->values[value].producer;
  if (node == producer || (node >= 0 && has(p, node))) return true;
  if (node < producer || p->n_between == PRODUCER_NODES || !is_elementwise(graph->nodes[node])) return false;
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

/* The nodes between producer and consumer; false if others take part, or read what passes there. */
static bool find_between(const reap_graph *graph, int producer, int consumer, producer_path *p) {
  p->n_between = 0;
  if (!add_maker(graph, producer, graph->nodes[consumer]->inputs[0], p)) return false;
  for (int seen = -1; seen != p->n_between;) { /* until no node is added */
    seen = p->n_between;
    for (int k = 0; k < p->n_between; k++) {
      const reap_node *node = graph->nodes[p->between[k]];
      for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] >= 0 && !graph->values[node->inputs[i]].constant &&
            !add_maker(graph, producer, node->inputs[i], p))
          return false;
    }
  }
  bool elsewhere = read_elsewhere(graph, p, consumer, graph->nodes[producer]->outputs[0]);
  for (int k = 0; k < p->n_between; k++)
    elsewhere |= read_elsewhere(graph, p, consumer, graph->nodes[p->between[k]]->outputs[0]);
  return !elsewhere;
}

/* The way back takes rows for stored one behind the other. */
static bool rows_have_gaps(const reap_graph *graph, const reap_node *node) {
  const int axis = reap_linear_axis(graph, node);
  const reap_row_layout x = reap_row_layout_of(reap_node_input(graph, node, 0), axis, graph->batch),
                        y = reap_row_layout_of(reap_node_output(graph, node, 0), axis, graph->batch);
  return reap_rows_have_gaps(&x) || reap_rows_have_gaps(&y);
}

/* The first layer on the way back from the consumer's inputs, along the first inputs that are no constants; or -1. */
static int nearest_layer(const reap_graph *graph, int consumer) {
  int value = graph->nodes[consumer]->inputs[0];
  for (;;) {
    const int maker = graph->values[value].producer;
    if (maker < 0 || graph->nodes[maker]->linear) return maker;
    const reap_node *node = graph->nodes[maker];
    if (!is_elementwise(node)) return -1;
    int k = 0;
    while (k < node->n_inputs && (node->inputs[k] < 0 || graph->values[node->inputs[k]].constant)) k++;
    if (k == node->n_inputs) return -1;
    value = node->inputs[k];
  }
}

static bool has_groups(const reap_node *node) { return reap_node_int(node, "group", 1) != 1; }

bool reap_producer_path_find(const reap_graph *graph, int consumer, producer_path *path) {
  const int producer = path->producer = nearest_layer(graph, consumer);
  if (producer < 0) return false;
  if (!reap_repair_possible(graph, producer) || !reap_repair_possible(graph, consumer)) return false;
  if (has_groups(graph->nodes[producer]) || has_groups(graph->nodes[consumer])) return false;
  if (!find_between(graph, producer, consumer, path)) return false;
  if (rows_have_gaps(graph, graph->nodes[producer]) || rows_have_gaps(graph, graph->nodes[consumer])) return false;
  return reap_is_convolution(graph->nodes[producer]) == reap_is_convolution(graph->nodes[consumer]);
}
