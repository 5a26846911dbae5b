/* Memory of a run, estimated before it starts.
 *
 * Matrices of a layer with n columns and m outputs, in float64: every rank sums G and C over its blocks with one more
 * of each for the block at hand (2 n^2 + 2 n m); for the rank that solves 3 n^2 + 4 n m are set aside, an upper bound
 * of the moments, the array that holds G and H, and the weights. Where the layer is distributed and moments go by
 * panels, each has its share of all that, and panels. Few rows stand on every rank, with what sample space makes of
 * them (sample_elimination.c). Activations: the values that cross the widest cut, once for each
 * network. Paths: besides the largest layer's matrices, the weights at several sizes that wait to be measured, and the
 * network's outputs that they are measured by.
 */
#include "memory_estimate.h"

#include <math.h>
#include <string.h>

#include "exec/output_set.h"
#include "linalg/placement.h"
#include "model/operators/layer.h"
#include "prune/run/coupled_choice.h"
#include "prune/run/ridge.h"
#include "prune/run/steps.h"
#include "prune/sensitivity/path_work.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "stats/group_moments.h"
#include "stats/moments_panels.h"

int64_t reap_estimate_weights(const reap_graph *graph) {
  int64_t bytes = 0;
  for (int v = 0; v < graph->n_values; v++)
    if (graph->values[v].constant) bytes += graph->values[v].constant->count * (int64_t)sizeof(float);
  return bytes;
}

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

/* Bytes of whole matrices on every rank, and besides on the one that solves. That is room for every method's own, too,
 * beside the moments or the solver: exchange takes most, 3 n^2 + n m (with a copy while its tableau is filled). */
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
 * twice where W W' is carried, elimination.c), shares of C, W and right-hand sides, columns that every rank has for a
 * while. */
static double shared_solver(const reap_layer *layer, int ranks) {
  enum {
    COLUMNS = 4 * 540 /* the solver's panel, and those that move or are multiplied with: see symmetric_cyclic.c */
  };
  const double n = (double)layer->n, m = (double)layer->m, squares = 2 * m > n ? 2.5 : 1.25;
  return 8 * (squares * n * n / ranks + 2 * n * m / ranks + n * COLUMNS);
}

/* Rows and a copy of them, matrices of that order, and the blocks of a share of the channels. */
static double few_rows(const reap_layer *layer, double rows, int ranks) {
  const double n = (double)layer->n;
  return 8 * (rows * (3 * n + 2 * (double)layer->m + 5 * rows) + 4 * n * (double)layer->block / ranks);
}

int reap_estimate_matrices(const reap_layer *layer, const reap_estimate_images *images, reap_estimate_use use,
                           reap_gram_place place, int ranks, int64_t *every_rank, int64_t *deciding_rank) {
  const reap_samples samples = {.layer = *layer,
                                .sampling = images->sampling,
                                .split = REAP_SPLIT_TENTH,
                                .shard = reap_shard_make(images->count, 1, 0, 1)};
  const int64_t rows = reap_samples_rows(&samples);
  const bool few = place != REAP_GRAM_WHOLE && reap_rows_are_few(rows, layer->n);
  REAP_TRY(whole(layer, every_rank, deciding_rank)); /* that everything fits its type, too */
  if (use == REAP_ESTIMATE_STORE) *deciding_rank = 0;
  if (!few && place != REAP_GRAM_DISTRIBUTED) return REAP_OK;
  double bytes = few ? few_rows(layer, (double)rows, ranks) : reap_moments_panels_bytes(layer, ranks);
  if (use != REAP_ESTIMATE_STORE && !few) bytes += shared_solver(layer, ranks);
  if (use == REAP_ESTIMATE_PRUNE) bytes += 8 * (double)layer->n * (double)layer->m; /* the new weights */
  *every_rank = (int64_t)bytes;
  *deciding_rank = 0;
  return REAP_OK;
}

/* Moments, G and H in one array, and weights; the solver's panels. */
static int layer_whole(const reap_samples *samples, reap_layer_estimate *out) {
  enum { PANEL = 400 };
  const double n = (double)samples->layer.n, m = (double)samples->layer.m;
  out->solver = 8 * (2 * n * n + 3 * n * m + 2 * PANEL * n);
  return reap_accumulator_cost(samples, &out->moments, &out->multiply_adds);
}

/* Panels and a share of the matrices, or few rows. */
static int layer_distributed(const reap_samples *samples, bool few, int ranks, reap_layer_estimate *out) {
  const reap_layer *layer = &samples->layer;
  const reap_estimate_images images = {samples->shard.images, samples->sampling};
  int64_t solver = 0, deciding = 0;
  REAP_TRY(
      reap_estimate_matrices(layer, &images, REAP_ESTIMATE_PRUNE, REAP_GRAM_DISTRIBUTED, ranks, &solver, &deciding));
  out->solver = (double)solver;
  out->moments = few ? out->solver : reap_moments_panels_bytes(layer, ranks);
  out->multiply_adds = 0;
  if (few) return REAP_OK;
  out->multiply_adds =
      (double)reap_samples_per_image(samples) * (double)layer->n * (0.5 * (double)layer->n + (double)layer->m);
  return REAP_OK;
}

/* Of a grouped convolution, whose groups' moments are summed many at a time. */
static int layer_groups(const reap_samples *samples, reap_layer_estimate *out) {
  int64_t batch = 0;
  REAP_TRY(reap_group_moments_batch(samples, &batch, &out->multiply_adds, &out->moments));
  out->multiply_adds *= (double)samples->layer.groups;
  out->solver = 0;
  return REAP_OK;
}

int reap_estimate_layer(const reap_layer *layer, const reap_sampling *sampling, const reap_shard *shard,
                        reap_gram_place place, int ranks, reap_layer_estimate *out) {
  const reap_samples samples = {
      .layer = *layer, .name = "", .sampling = *sampling, .split = REAP_SPLIT_TENTH, .shard = *shard};
  const int64_t rows = reap_samples_rows(&samples);
  const bool few = place != REAP_GRAM_WHOLE && reap_rows_are_few(rows, layer->n);
  out->rows = few ? (double)rows : 0;
  if (layer->groups > 1) return layer_groups(&samples, out);
  return few || place == REAP_GRAM_DISTRIBUTED ? layer_distributed(&samples, few, ranks, out)
                                               : layer_whole(&samples, out);
}

/* The layer that takes most. */
static int note_layer(const reap_graph *graph, const reap_layer *layer, const reap_estimate_images *images,
                      reap_estimate_use use, reap_gram_place place, int ranks, reap_memory_estimate *out) {
  int64_t every = 0, deciding = 0;
  REAP_TRY(reap_estimate_matrices(layer, images, use, place, ranks, &every, &deciding));
  if (every <= out->every_rank) return REAP_OK;
  out->every_rank = every;
  out->deciding_rank = deciding;
  out->layer = graph->nodes[layer->node]->layer;
  out->columns = layer->n;
  return REAP_OK;
}

/* Weights, and the activations of so many networks at the widest cut. */
static int note_network(const reap_graph *graph, int64_t networks, int64_t images, reap_memory_estimate *out) {
  int64_t cut = 0;
  out->model = reap_estimate_weights(graph);
  REAP_TRY(widest_cut(graph, &cut));
  return reap_multiply(networks * images, cut, &out->frontier);
}

int reap_estimate_layers(const reap_graph *graph, const reap_layer *layers, int count,
                         const reap_estimate_images *images, reap_estimate_use use, const reap_gram_place *place,
                         int ranks, reap_memory_estimate *out) {
  memset(out, 0, sizeof *out);
  for (int i = 0; i < count; i++) REAP_TRY(note_layer(graph, &layers[i], images, use, place[i], ranks, out));
  return note_network(graph, 1, images->count, out);
}

/* Layers that read a coupled group are repaired one by one, from whole moments. Before that the systems of all of them
 * stand side by side, each with its moments on one rank (joint_elimination.c), while every rank sums the next. */
static int note_readers(const reap_graph *graph, const reap_group *group, const reap_estimate_images *images, int ranks,
                        reap_memory_estimate *out) {
  double all = 0, largest = 0;
  reap_layer widest = {.n = 0};
  for (int k = 0; k < group->n_members; k++) {
    const int node = group->members[k].node;
    reap_layer layer;
    int64_t system = 0, deciding = 0;
    if (!reap_coupled_votes(graph, &group->members[k])) continue;
    REAP_TRY(reap_layer_view(graph, node, reap_repair_channels(graph, node), &layer));
    REAP_TRY(whole(&layer, &system, &deciding));
    all += (double)system;
    if ((double)system > largest) widest = layer;
    largest = fmax(largest, (double)system);
    if (reap_repair_possible(graph, node))
      REAP_TRY(note_layer(graph, &layer, images, REAP_ESTIMATE_PRUNE, REAP_GRAM_WHOLE, ranks, out));
  }
  const int64_t together = (int64_t)(largest + fmax(largest, all / ranks));
  if (widest.n == 0 || together <= out->every_rank + out->deciding_rank) return REAP_OK;
  out->every_rank = together;
  out->deciding_rank = 0;
  out->layer = graph->nodes[widest.node]->layer;
  out->columns = widest.n;
  return REAP_OK;
}

int reap_estimate_prune(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                        const reap_estimate_images *images, const reap_gram_place *place, int ranks,
                        reap_memory_estimate *out) {
  memset(out, 0, sizeof *out);
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_layer layer;
    if (!chosen[g]) continue;
    if (!group->prunable) {
      REAP_TRY(note_readers(graph, group, images, ranks, out));
      continue;
    }
    REAP_TRY(reap_layer_view(graph, reap_group_consumer(group), group->units, &layer));
    REAP_TRY(note_layer(graph, &layer, images, REAP_ESTIMATE_PRUNE, place[g], ranks, out));
  }
  return note_network(graph, 2, images->count, out);
}

/* ------------------------------------------------------------------ paths of all groups */

/* Bytes of the weights at the measured sizes: evenly distributed, they are half a layer for each. */
static double team_weights(const path_works *works, int team, int sizes) {
  double bytes = 0;
  for (int k = 0; k < works->n; k++) {
    const reap_layer *l = &works->list[k].layer;
    if (works->list[k].team == team) bytes += 0.5 * sizes * (double)l->n * (double)l->m * (double)sizeof(double);
  }
  return bytes;
}

/* Every rank has those of its team. */
static void note_weights(const path_works *works, int sizes, int ranks, reap_memory_estimate *out) {
  double most = 0, all = 0;
  for (int t = 0; t < works->teams; t++) {
    const double bytes = team_weights(works, t, sizes);
    most = fmax(most, bytes);
    all += bytes * (ranks / works->teams + (t < ranks % works->teams));
  }
  out->weights = (int64_t)most;
  out->all_weights = (int64_t)all;
}

/* Every team keeps the outputs of all its images twice: the original's, and those that the frontier holds by then. */
static int note_outputs(const reap_graph *graph, int teams, int64_t images, reap_memory_estimate *out) {
  reap_output_set outputs;
  REAP_TRY(reap_output_set_create(graph, &outputs));
  const int status = reap_multiply(2 * (int64_t)sizeof(float) * teams * images, outputs.size, &out->outputs);
  reap_output_set_clear(&outputs);
  return status;
}

static int allocate_layers(const path_works *works, reap_layer **layers, reap_gram_place **place) {
  REAP_TRY(reap_alloc(layers, works->n, sizeof **layers));
  REAP_TRY(reap_alloc(place, works->n, sizeof **place));
  for (int k = 0; k < works->n; k++) (*layers)[k] = works->list[k].layer;
  return REAP_OK;
}

int reap_estimate_paths(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, int64_t images,
                        const reap_paths_options *options, reap_memory_estimate *out) {
  const int ranks = reap_comm_size(comm);
  path_works works = {0};
  reap_layer *layers = NULL;
  reap_gram_place *place = NULL;
  const reap_estimate_images all = {images, options->sampling};
  int64_t count = 0;
  int status = reap_path_works_plan(graph, groups, options, images, ranks, &count, &works);
  if (status == REAP_OK) status = allocate_layers(&works, &layers, &place);
  REAP_TRY_OR(reap_comm_agree(comm, status), done);
  for (int k = 0; k < works.n; k++)
    place[k] = reap_solver_distributes(comm, options->solver, layers[k].n, layers[k].m) ? REAP_GRAM_DISTRIBUTED
               : layers[k].n <= reap_ridge_columns(options->ridge_rule)                 ? REAP_GRAM_WHOLE
                                                                                        : REAP_GRAM_FREE;
  status = reap_estimate_layers(graph, layers, works.n, &all, REAP_ESTIMATE_FOLLOW, place, ranks, out);
  if (status == REAP_OK && count > 0) {
    note_weights(&works, options->sizes, ranks, out);
    status = note_outputs(graph, works.teams, count, out);
  }
  status = reap_comm_agree(comm, status);
done:
  reap_path_works_clear(&works);
  reap_free(&layers);
  reap_free(&place);
  return status;
}

/* ------------------------------------------------------------------ what the machine has */

static double gigabytes(double bytes) { return bytes / 1e9; }

int reap_estimate_check_limit(const reap_graph *graph, int64_t limit) {
  const double unit = 1 << 20;
  double most = 0;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (!node->linear) continue;
    const int64_t count =
        reap_value_count(reap_node_input(graph, node, 0)) + reap_value_count(reap_node_output(graph, node, 0));
    most = fmax(most, (double)count * sizeof(float));
  }
  if (limit == 0 || (double)limit >= most) return REAP_OK;
  return reap_error(
      REAP_ERR_USAGE,
      "a memory limit of %lld bytes cannot be kept to: one layer, for one block of %lld images, takes %.1fM",
      (long long)limit, (long long)graph->batch, ceil(10 * most / unit) / 10);
}

int reap_estimate_check(const reap_comm *comm, const reap_memory_estimate *estimate, int64_t limit,
                        const char *advice) {
  int ranks = 1;
  REAP_TRY(reap_comm_node_size(comm, &ranks));
  const double available = (double)reap_memory_available();
  const double most = (double)estimate->weights * ranks, all = (double)estimate->all_weights;
  const double weights = most < all ? most : all; /* of the ranks on the node */
  const double matrices = (double)estimate->every_rank * ranks + (double)estimate->deciding_rank + weights;
  const double share = (double)estimate->frontier / reap_comm_size(comm); /* of a rank */
  const double outputs = (double)estimate->outputs / reap_comm_size(comm);
  const double activations = ranks * (outputs + (limit > 0 && (double)limit < share ? (double)limit : share));
  int status = REAP_OK;
  if (available > 0 && estimate->layer && matrices > available)
    status = reap_error(
        REAP_ERR_RESOURCE,
        "layer %s has %lld columns: its matrices%s take %.1f GB on a node with %d ranks, where %.1f GB are free; %s",
        estimate->layer, (long long)estimate->columns, weights > 0 ? " and weights at several sizes" : "",
        gigabytes(matrices), ranks, gigabytes(available), advice);
  REAP_TRY(reap_comm_agree(comm, status));
  if (available > 0 && matrices + activations > available)
    reap_log(REAP_LOG_WARNING,
             "activations may take %.1f GB and matrices %.1f GB on this node, where %.1f GB are free; beyond a memory "
             "limit they would go to the scratch folder",
             gigabytes(activations), gigabytes(matrices), gigabytes(available));
  return REAP_OK;
}
