/* Shortcut drift. In a residual network the re-solved branch is added to a shortcut that earlier pruning has changed;
 * its target then is its own original output plus (original shortcut - present shortcut), so that the sum comes out
 * right. Of several branches of one Add that are re-solved, the last in topological order carries the drift, when the
 * others are final.
 */
#include "shortcut.h"

#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Whether `value` depends on a node with flag[node] set; one pass over the nodes in topological order. */
static int depends_on(const reap_graph *graph, int value, const bool *flag, bool *out) {
  bool *reached = NULL;
  int producer = graph->values[value].producer;
  REAP_TRY(reap_calloc(&reached, graph->n_nodes + 1, sizeof *reached));
  for (int i = 0; i <= producer; i++) {
    const reap_node *node = graph->nodes[i];
    reached[i] = flag[i];
    for (int k = 0; !reached[i] && k < node->n_inputs; k++) {
      int from = node->inputs[k] < 0 ? -1 : graph->values[node->inputs[k]].producer;
      reached[i] = from >= 0 && reached[from];
    }
  }
  *out = producer >= 0 && reached[producer];
  reap_free(&reached);
  return REAP_OK;
}

int reap_shortcut_of(const reap_graph *graph, int output, const bool *resolved, const bool *pending, int *shortcut) {
  int reader = -1;
  bool drifted = false, unfinished = false;
  *shortcut = -1;
  if (graph->values[output].is_output || reap_value_readers(graph, output, 1, &reader) != 1) return REAP_OK;
  const reap_node *add = graph->nodes[reader];
  if (!reap_operator_adds(add->op)) return REAP_OK;
  int other = add->inputs[0] == output ? add->inputs[1] : add->inputs[0];
  const reap_value *a = &graph->values[output], *b = &graph->values[other];
  if (other == output || b->constant || !reap_same_dims(a->rank, a->dims, b->rank, b->dims)) return REAP_OK;
  REAP_TRY(depends_on(graph, other, resolved, &drifted));
  REAP_TRY(depends_on(graph, other, pending, &unfinished));
  if (drifted && !unfinished) *shortcut = other;
  return REAP_OK;
}
