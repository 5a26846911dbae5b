/* Sizes that count images: see batch_sizes.h. Cost: a comparison of these constants. */
#include "batch_sizes.h"

#include "model/operators.h"

/* As many entries as batch_entries has bits for. */
enum { MOST_ENTRIES = 32 };

static bool is_measured(const reap_graph *graph, const reap_node *node, int slot) {
  const reap_value *v = reap_node_input(graph, node, slot);
  return v && v->constant && v->measured;
}

bool reap_graph_measures(const reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++)
    for (int slot = 0; slot < graph->nodes[i]->n_inputs; slot++)
      if (is_measured(graph, graph->nodes[i], slot)) return true;
  return false;
}

static void compare(reap_value *v, const reap_tensor *b) {
  const reap_tensor *a = v->constant;
  v->batch_known = b && b->dtype == a->dtype && b->count == a->count && a->count <= MOST_ENTRIES;
  v->batch_entries = 0;
  for (int i = 0; v->batch_known && i < a->count; i++)
    if (a->dtype == REAP_F32 ? a->f32[i] != b->f32[i] : a->i64[i] != b->i64[i]) v->batch_entries |= 1u << i;
}

void reap_graph_note_batch(reap_graph *graph, const reap_graph *other) {
  int at = 0; /* both have the file's order */
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    while (at < other->n_nodes && (other->nodes[at]->source != node->source || other->nodes[at]->part != node->part))
      at++;
    if (at == other->n_nodes) return;
    for (int slot = 0; slot < node->n_inputs && slot < other->nodes[at]->n_inputs; slot++)
      if (is_measured(graph, node, slot))
        compare(reap_node_input(graph, node, slot), reap_node_constant(other, other->nodes[at], slot));
  }
}

bool reap_is_computed_size(const reap_graph *graph, const reap_node *node, int slot) {
  if (!is_measured(graph, node, slot)) return false;
  const reap_value *v = reap_node_input(graph, node, slot);
  return v->dtype == REAP_F32 ? v->constant->count == 1 : node->op->id == REAP_OP_Reshape;
}

bool reap_batch_is_free(const reap_graph *graph, const reap_node *node, int slot) {
  const reap_value *v = reap_node_input(graph, node, slot);
  const bool shape = node->op->id == REAP_OP_Reshape && slot == 1;
  return v->batch_known && (v->batch_entries == 0 || (shape && (v->batch_entries & (v->batch_entries - 1)) == 0));
}
