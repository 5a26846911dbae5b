/* Memory of a run, estimated before it starts.
 *
 * Matrices of a layer with n columns and m outputs, in float64: every rank sums G and C over its blocks with one more of
 * each for the block at hand (2 n^2 + 2 n m); for the rank that solves 3 n^2 + 4 n m are set aside, an upper bound of the
 * moments, the array that holds G and H, and the weights. Activations: the values that cross the widest cut, once for each network.
 */
#include "reap/footprint.h"

#include <string.h>

#include "reap/error.h"
#include "reap/layer.h"
#include "reap/memory.h"

/* Position of the last node that reads `value`; the number of nodes for network outputs. */
static int last_reader(const reap_graph *graph, int value) {
  if (graph->values[value].is_output) return graph->n_nodes;
  for (int i = graph->n_nodes - 1; i >= 0; i--)
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++)
      if (graph->nodes[i]->inputs[k] == value) return i;
  return -1;
}

/* Bytes of one image at the widest cut: before each node, what was computed and is still to be read. */
static int widest_cut(const reap_graph *graph, int64_t *bytes) {
  int64_t *change = NULL, held = 0;
  REAP_TRY(reap_calloc(&change, graph->n_nodes + 2, sizeof *change));
  for (int v = 0; v < graph->n_values; v++) {
    const reap_value *value = &graph->values[v];
    if (value->constant || !value->known || !(value->is_input || value->producer >= 0)) continue;
    int from = value->producer < 0 ? 0 : value->producer, to = last_reader(graph, v);
    if (to < from) continue;
    int64_t size = reap_value_count(value) / graph->batch * (int64_t)sizeof(float);
    change[from] += size;
    change[to + 1] -= size;
  }
  *bytes = 0;
  for (int i = 0; i <= graph->n_nodes; i++) {
    held += change[i];
    if (held > *bytes) *bytes = held;
  }
  reap_free(&change);
  return REAP_OK;
}

int reap_footprint_estimate(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int64_t images,
                            reap_footprint *out) {
  memset(out, 0, sizeof *out);
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_layer layer;
    if (!chosen[g]) continue;
    REAP_TRY(reap_layer_view(graph, group->consumers[0], group->channels, &layer));
    int64_t square = 0, cross = 0, both = 0;
    REAP_TRY(reap_multiply(layer.n, layer.n, &square));
    REAP_TRY(reap_multiply(layer.n, layer.m, &cross));
    REAP_TRY(reap_multiply(square + 2 * cross, 4 * (int64_t)sizeof(double), &both)); /* all sums below fit */
    int64_t every = (2 * square + 2 * cross) * (int64_t)sizeof(double);
    if (every <= out->every_rank) continue;
    out->every_rank = every;
    out->deciding_rank = (3 * square + 4 * cross) * (int64_t)sizeof(double);
    out->layer = graph->nodes[layer.node]->layer;
    out->columns = layer.n;
  }
  int64_t cut = 0;
  REAP_TRY(widest_cut(graph, &cut));
  return reap_multiply(2 * images, cut, &out->frontier);
}
