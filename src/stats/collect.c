/* One pass over the original network: every layer's moments in turn; see collect.h.
 *
 * Cost: one forward pass and the moments (src/stats). Memory per rank: the frontier, and one layer's moments, or a few
 * panels of them where they are large.
 */
#include "collect.h"

#include <string.h>

#include "base/timer.h"
#include "exec/frontier.h"
#include "linalg/placement.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "store_rows.h"

typedef struct pass {
  const reap_comm *comm;
  const reap_graph *graph;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_collect_options *options;
  reap_collect_result *result;
  reap_frontier *front;
} pass;

/* ------------------------------------------------------------------ which layers */

/* Channels of the layer's input if the layer is to be collected, else 0. */
static int64_t wanted_channels(const reap_graph *graph, const reap_groups *groups, int index, bool all) {
  const reap_node *node = graph->nodes[index];
  if (!node->linear) return 0;
  const int group = reap_groups_consumed_by(groups, index);
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  if (reap_node_int(node, "group", 1) != 1) return 0;
  if (group >= 0 && reap_groups_at(groups, group)->prunable) {
    const int64_t channels = reap_groups_at(groups, group)->units;
    if (weights->count / weights->dims[0] % channels == 0) return channels;
  } else if (!all) {
    return 0;
  }
  return reap_layer_channels(graph, node);
}

int reap_collect_layers(const reap_graph *graph, const reap_groups *groups, bool all, int *count, reap_layer **layers) {
  *count = 0;
  REAP_TRY(reap_calloc(layers, graph->n_nodes, sizeof **layers));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++) {
    const int64_t channels = wanted_channels(graph, groups, i, all);
    if (channels > 0) status = reap_layer_view(graph, i, channels, &(*layers)[(*count)++]);
  }
  if (status == REAP_OK && *count == 0)
    status = reap_error(REAP_ERR_INPUT, "the network has no layer whose inputs can be pruned; take all linear layers");
  if (status != REAP_OK) reap_free(layers);
  return status;
}

/* Drops layers that read none of the chosen groups; returns how many are left. */
static int keep_chosen(const reap_groups *groups, const bool *chosen, int count, reap_layer *layers) {
  int left = 0;
  for (int k = 0; k < count; k++) {
    const int group = reap_groups_consumed_by(groups, layers[k].node);
    if (group >= 0 && chosen[group]) layers[left++] = layers[k];
  }
  return left;
}

double reap_collect_stored_bytes(const reap_layer *layers, int count, const reap_sampling *sampling, int64_t images) {
  double bytes = 0;
  for (int i = 0; i < count; i++) {
    const reap_samples samples = {
        .layer = layers[i], .sampling = *sampling, .split = REAP_SPLIT_TENTH, .shard = {.images = images}};
    bytes += reap_store_rows_bytes(&samples);
  }
  return bytes;
}

/* ------------------------------------------------------------------ the pass */

static int load_images(pass *p) {
  REAP_TRY(reap_frontier_create(p->graph, p->shard->last - p->shard->first, p->options->backend, &p->front));
  reap_frontier_limit(p->front, p->options->memory, p->options->scratch);
  return reap_frontier_images(p->front, p->images, p->shard);
}

/* What the frontier has used so far. */
static void note_use(pass *p) {
  const double before = p->result->use.seconds_images;
  if (!p->front) return;
  reap_frontier_get_use(p->front, &p->result->use);
  p->result->seconds_read += p->result->use.seconds_images - before;
}

/* Without a shortcut: nothing has drifted. */
static reap_samples samples_of(const pass *p, const reap_layer *layer, reap_taps *taps) {
  const reap_node *node = p->graph->nodes[layer->node];
  *taps = (reap_taps){
      .inputs = p->front, .outputs = p->front, .input = layer->input, .output = layer->output, .shortcut = -1};
  return (reap_samples){.layer = *layer,
                        .name = node->layer,
                        .node = node->name,
                        .sampling = p->options->sampling,
                        .split = REAP_SPLIT_TENTH,
                        .shard = *p->shard,
                        .read = reap_taps_read,
                        .context = taps};
}

static int advance(pass *p, const reap_layer *layer) {
  const double start = reap_seconds(), read = p->result->use.seconds_images;
  const int values[] = {layer->input, layer->output};
  int status = reap_frontier_advance(p->front, values, 2);
  note_use(p);
  p->result->seconds_forward += reap_seconds() - start - (p->result->use.seconds_images - read);
  return status;
}

static reap_gram_place place_of(const pass *p, const reap_layer *layer) {
  const reap_collect_options *o = p->options;
  if (o->visitor ? !o->visitor->distributed : !o->stats) return REAP_GRAM_WHOLE;
  if (o->panels || reap_solver_distributes(p->comm, o->solver, layer->n, layer->m)) return REAP_GRAM_DISTRIBUTED;
  return o->visitor && layer->n > o->whole_columns ? REAP_GRAM_FREE : REAP_GRAM_WHOLE;
}

static int gather(pass *p, const reap_samples *samples, reap_layer_gram *gram) {
  const double start = reap_seconds();
  const reap_collect_options *o = p->options;
  int status = reap_gram_gather(p->comm, samples, place_of(p, &samples->layer), gram);
  if (status == REAP_OK && o->stats)
    status = reap_stats_writer_add(o->stats, samples->name, samples->node, &gram->view);
  p->result->seconds_moments += reap_seconds() - start;
  return status;
}

static int store(pass *p, const reap_samples *samples, double energy) {
  if (!p->options->activations) return REAP_OK;
  const double start = reap_seconds();
  int status = reap_store_rows(p->comm, samples, energy, p->options->activations);
  p->result->seconds_store += reap_seconds() - start;
  return status;
}

static int collect_layer(pass *p, const reap_layer *layer) {
  const reap_node *node = p->graph->nodes[layer->node];
  const reap_moments_visitor *visitor = p->options->visitor;
  reap_taps taps;
  reap_layer_gram gram = {0};
  const reap_samples samples = samples_of(p, layer, &taps);
  int status = reap_comm_agree(p->comm, advance(p, layer));
  if (status == REAP_OK) status = gather(p, &samples, &gram);
  if (status == REAP_OK) status = store(p, &samples, gram.view.energy);
  if (status == REAP_OK && visitor) status = visitor->visit(visitor->context, layer, &gram);
  reap_gram_clear(&gram);
  return reap_error_prefix(status, "statistics of %s", node->layer);
}

/* Multiply-adds of an image that the layer's turn takes, in those of moments: a forward pass is some four times as
 * fast.
 */
static double turn_work(const pass *p, const reap_layer *layers, int k) {
  const reap_layer *l = &layers[k];
  const int64_t drawn = reap_sampling_drawn(&p->options->sampling, l, p->shard->images);
  const double positions = (double)(drawn > 0 ? drawn : l->positions);
  double work = positions * (double)l->n * ((double)l->n / 2 + (double)l->m);
  for (int i = k > 0 ? layers[k - 1].node + 1 : 0; i <= l->node; i++) work += (double)reap_node_flops(p->graph, i) / 4;
  return work;
}

static int collect_all(pass *p, const reap_layer *layers, int count) {
  double done = 0, total = 0;
  int status = REAP_OK;
  for (int k = 0; k < count; k++) total += turn_work(p, layers, k);
  reap_progress_report(p->options->progress, "statistics", NULL, 0, total, NULL);
  for (int k = 0; status == REAP_OK && k < count; k++) {
    status = collect_layer(p, &layers[k]);
    done += turn_work(p, layers, k);
    reap_progress_report(p->options->progress, "statistics", p->graph->nodes[layers[k].node]->layer, done, total, NULL);
  }
  return status;
}

int reap_collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                 const reap_shard *shard, const reap_collect_options *options, reap_collect_result *result) {
  pass p = {.comm = comm, .graph = graph, .images = images, .shard = shard, .options = options, .result = result};
  const reap_layer *layers = options->layers;
  reap_layer *found = NULL;
  int count = options->n_layers, status = REAP_OK;
  memset(result, 0, sizeof *result);
  if (!layers) status = reap_collect_layers(graph, groups, options->all, &count, &found);
  if (status == REAP_OK && options->chosen && !layers) count = keep_chosen(groups, options->chosen, count, found);
  if (!layers) layers = found;
  if (status == REAP_OK) status = load_images(&p);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = collect_all(&p, layers, count);
  result->n_layers = count;
  note_use(&p);
  reap_frontier_destroy(&p.front);
  reap_free(&found);
  return status;
}
