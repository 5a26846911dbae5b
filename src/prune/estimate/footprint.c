/* Memory of a run, estimated before it starts.
 *
 * Matrices of a layer with n columns and m outputs, in float64: every rank sums G and C over its blocks with one more
 * of each for the block at hand (2 n^2 + 2 n m); for the rank that solves 3 n^2 + 4 n m are set aside, an upper bound
 * of the moments, the array that holds G and H, and the weights. Where all ranks solve together and moments go by
 * panels, each has its share of all that, and panels. Activations: the values that cross the widest cut, once for each
 * network.
 */
#include "footprint.h"

#include <string.h>

#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "stats/moments_panels.h"

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

/* Bytes of whole matrices on every rank, and besides on the one that solves. */
static int whole(const reap_layer *layer, int64_t *every, int64_t *deciding) {
  int64_t square = 0, cross = 0, both = 0;
  REAP_TRY(reap_multiply(layer->n, layer->n, &square));
  REAP_TRY(reap_multiply(layer->n, layer->m, &cross));
  REAP_TRY(reap_multiply(square + 2 * cross, 4 * (int64_t)sizeof(double), &both)); /* all sums below fit */
  *every = (2 * square + 2 * cross) * (int64_t)sizeof(double);
  *deciding = (3 * square + 4 * cross) * (int64_t)sizeof(double);
  return REAP_OK;
}

/* The same for matrices that lie on all ranks: G and H in one array and the factor of the channels that left (both
 * twice where W W' is carried, elimination.c), shares of C, W and right-hand sides, columns that everybody has for a
 * while. */
static double shared_solver(const reap_layer *layer, int ranks) {
  enum {
    COLUMNS = 4 * 540 /* the solver's panel, and those that move or are multiplied with: see symmetric_cyclic.c */
  };
  const double n = (double)layer->n, m = (double)layer->m, squares = 2 * m > n ? 2.5 : 1.25;
  return 8 * (squares * n * n / ranks + 2 * n * m / ranks + n * COLUMNS);
}

int reap_footprint_of_layer(const reap_layer *layer, reap_footprint_use use, bool spread, int ranks,
                            int64_t *every_rank, int64_t *deciding_rank) {
  REAP_TRY(whole(layer, every_rank, deciding_rank)); /* that everything fits its type, too */
  if (use == REAP_FOOTPRINT_STORE) *deciding_rank = 0;
  if (!spread) return REAP_OK;
  double bytes = reap_moments_panels_bytes(layer, ranks);
  if (use != REAP_FOOTPRINT_STORE) bytes += shared_solver(layer, ranks);
  if (use == REAP_FOOTPRINT_PRUNE) bytes += 8 * (double)layer->n * (double)layer->m; /* the new weights */
  *every_rank = (int64_t)bytes;
  *deciding_rank = 0;
  return REAP_OK;
}

/* The layer that takes most. */
static int note_layer(const reap_graph *graph, const reap_layer *layer, reap_footprint_use use, bool spread, int ranks,
                      reap_footprint *out) {
  int64_t every = 0, deciding = 0;
  REAP_TRY(reap_footprint_of_layer(layer, use, spread, ranks, &every, &deciding));
  if (every <= out->every_rank) return REAP_OK;
  out->every_rank = every;
  out->deciding_rank = deciding;
  out->layer = graph->nodes[layer->node]->layer;
  out->columns = layer->n;
  return REAP_OK;
}

/* Weights, and the activations of so many networks at the widest cut. */
static int note_network(const reap_graph *graph, int64_t networks, int64_t images, reap_footprint *out) {
  int64_t cut = 0;
  for (int v = 0; v < graph->n_values; v++)
    if (graph->values[v].constant) out->model += graph->values[v].constant->count * (int64_t)sizeof(float);
  REAP_TRY(widest_cut(graph, &cut));
  return reap_multiply(networks * images, cut, &out->frontier);
}

int reap_footprint_of_layers(const reap_graph *graph, const reap_layer *layers, int count, int64_t images,
                             reap_footprint_use use, const bool *spread, int ranks, reap_footprint *out) {
  memset(out, 0, sizeof *out);
  for (int i = 0; i < count; i++) REAP_TRY(note_layer(graph, &layers[i], use, spread && spread[i], ranks, out));
  return note_network(graph, 1, images, out);
}

int reap_footprint_estimate(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int64_t images,
                            const bool *spread, int ranks, reap_footprint *out) {
  memset(out, 0, sizeof *out);
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_layer layer;
    if (!chosen[g]) continue;
    REAP_TRY(reap_layer_view(graph, reap_group_consumer(group), group->units, &layer));
    REAP_TRY(note_layer(graph, &layer, REAP_FOOTPRINT_PRUNE, spread && spread[g], ranks, out));
  }
  return note_network(graph, 2, images, out);
}
