/* Memory and operations of a run, followed step by step without computing anything; see forecast.h.
 *
 * The steps are those of prune.c: both networks advance to a layer, its moments are summed and solved, the pruned
 * network loses the channels. What is held is counted for one block of images and multiplied; what passes through (the
 * segment's own values, copies of its weights) is there once.
 */
#include "forecast.h"

#include <math.h>
#include <string.h>

#include "exec/segment.h"
#include "memory_estimate.h"
#include "model/operators/layer.h"
#include "model/operators/layout.h"
#include "prune/repair/producer_pass.h"
#include "prune/run/ridge.h"
#include "prune/run/steps.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "stats/moments_panels.h"

/* Reads and the write of a value that is parked, on its way through scan, sums, held-out error and the next segment. */
enum { TRAFFIC = 5, PANEL = 400 };

/* Shares of the images. */
#define HELD_OUT (1 / (double)REAP_SPLIT_TENTH.every)
#define FITTED (1 - HELD_OUT)

/* One of the two networks. */
typedef struct side {
  const reap_graph *graph;
  bool *done, *held; /* [n_nodes], [n_values] */
  double *share;     /* [n_values] of each value's channels that are left */
  double work;       /* multiply-adds for an image so far */
  double passing;    /* bytes that pass through the segment at hand, for a block */
} side;

typedef struct tracker {
  const reap_forecast_setting *setting;
  side original, pruned;
  bool *segment, *needed, *shared; /* [n_nodes], [n_values] scratch; [n_values] held by both since the fork */
  double limit;
  reap_forecast *out;
} tracker;

static int side_create(const reap_graph *graph, side *s) {
  s->graph = graph;
  REAP_TRY(reap_calloc(&s->done, graph->n_nodes, sizeof *s->done));
  REAP_TRY(reap_calloc(&s->held, graph->n_values, sizeof *s->held));
  REAP_TRY(reap_alloc(&s->share, graph->n_values, sizeof *s->share));
  for (int v = 0; v < graph->n_values; v++) s->share[v] = 1;
  for (int i = 0; i < graph->n_inputs; i++) s->held[graph->inputs[i]] = true;
  return REAP_OK;
}

static void side_clear(side *s) {
  reap_free(&s->done);
  reap_free(&s->held);
  reap_free(&s->share);
}

static double value_bytes(const side *s, int v) {
  return (double)reap_value_count(&s->graph->values[v]) * s->share[v] * sizeof(float);
}

/* Operations of a node, and bytes of its values and weights; what it reads has been cut, what it writes not yet. */
static void count_node(side *s, int i, double *largest) {
  const reap_node *node = s->graph->nodes[i];
  double bytes = value_bytes(s, node->outputs[0]), share = 1;
  for (int k = 0; k < node->n_inputs; k++) {
    const int v = node->inputs[k];
    if (v < 0) continue;
    const reap_value *value = &s->graph->values[v];
    if (value->constant) {
      s->passing += (double)value->constant->count * sizeof(float);
    } else {
      bytes += value_bytes(s, v);
      share = s->share[v];
    }
  }
  s->work += (double)reap_node_flops(s->graph, i) * share;
  if (bytes > *largest) *largest = bytes;
}

static void advance(tracker *t, side *s, const int *values, int n) {
  const reap_graph *graph = s->graph;
  double largest = 0;
  reap_segment_mark(graph, s->done, values, n, t->segment, t->needed);
  s->passing = 0;
  for (int i = 0; i < graph->n_nodes; i++)
    if (t->segment[i]) count_node(s, i, &largest);
  for (int v = 0; v < graph->n_values; v++) {
    const int producer = graph->values[v].producer;
    const bool computed = producer >= 0 && t->segment[producer];
    if (!graph->values[v].constant) s->held[v] = t->needed[v] && (s->held[v] || computed);
  }
  for (int i = 0; i < graph->n_nodes; i++) s->done[i] |= t->segment[i];
  s->passing += largest;
}

/* Bytes held for a block; what both networks share once. */
static double held_bytes(const tracker *t) {
  double bytes = 0;
  for (int v = 0; v < t->original.graph->n_values; v++) {
    if (t->original.held[v]) bytes += value_bytes(&t->original, v);
    const bool both = t->original.held[v] && t->shared[v] && t->pruned.share[v] == 1;
    if (t->pruned.held[v] && !both) bytes += value_bytes(&t->pruned, v);
  }
  return bytes;
}

/* The network's own image is read when it is needed, and not held unless something else will read it. */
static void note_held(tracker *t, double passing) {
  const double blocks = (double)(t->setting->shard.last - t->setting->shard.first), block = held_bytes(t);
  reap_forecast *f = t->out;
  f->frontier = fmax(f->frontier, blocks * block + passing);
  f->least = fmax(f->least, block + passing);
  if (t->limit > 0) f->traffic += TRAFFIC * fmax(blocks * block + passing - t->limit, 0);
}

/* What a layer's moments cost, and the bytes of its solver: moments, G and H in one array, weights; or, where no rank
 * holds the moments, panels and a share of the matrices. */
typedef struct layer_cost {
  double moments, solver, multiply_adds; /* bytes, bytes, of an image */
} layer_cost;

static int cost_whole(const reap_forecast_setting *s, const reap_layer *layer, layer_cost *out) {
  const double n = (double)layer->n, m = (double)layer->m;
  out->solver = 8 * (2 * n * n + 3 * n * m + 2 * PANEL * n);
  const reap_samples samples = {
      .layer = *layer, .name = "", .sampling = s->sampling, .split = REAP_SPLIT_TENTH, .shard = s->shard};
  return reap_accumulator_cost(&samples, &out->moments, &out->multiply_adds);
}

static int cost_spread(const reap_forecast_setting *s, const reap_layer *layer, layer_cost *out) {
  const bool all = s->sampling.positions <= 0 || s->sampling.positions >= layer->positions;
  int64_t solver = 0, deciding = 0;
  REAP_TRY(reap_estimate_matrices(layer, REAP_ESTIMATE_PRUNE, true, s->ranks, &solver, &deciding));
  out->moments = reap_moments_panels_bytes(layer, s->ranks);
  out->solver = (double)solver;
  out->multiply_adds = (double)(all ? layer->positions : s->sampling.positions) * (double)layer->n *
                       (0.5 * (double)layer->n + (double)layer->m);
  return REAP_OK;
}

/* kept: channels; all of them where the layer is only re-solved. */
static void note_layer(tracker *t, const reap_layer *layer, int64_t kept, const layer_cost *cost) {
  reap_forecast *f = t->out;
  const double n = (double)layer->n, m = (double)layer->m, r = (double)(kept * layer->block);
  const double flops = kept < layer->channels
                           ? n * n * n + 2 * n * n * m + (n * n * n - r * r * r) / 3 + (n * n - r * r) * m
                           : RIDGE_MOST_CANDIDATES * (n * n * n / 3 + 2 * n * n * m);
  const double images = (double)(t->setting->shard.last - t->setting->shard.first) * (double)t->setting->shard.block;
  f->matrices = fmax(f->matrices, fmax(cost->moments, cost->solver));
  f->moments = fmax(f->moments, cost->moments);
  f->solver = fmax(f->solver, cost->solver);
  f->moments_work += images * (FITTED * cost->multiply_adds + HELD_OUT * r * m * (double)layer->positions);
  if (t->setting->ranks > 1 && layer->n >= REAP_SOLVER_LARGE && kept < layer->channels)
    f->shared_work += flops;
  else
    f->solver_work += flops;
}

/* The layer as it is with fewer inputs and outputs. */
static reap_layer shrunk(const reap_layer *layer, int64_t channels, int64_t outputs) {
  reap_layer out = *layer;
  out.channels = out.window.channels = channels;
  out.n = channels * layer->block;
  out.m = out.window.outputs = outputs;
  return out;
}

/* A layer solved in turn with its producer (step_producer.c): every round sums the moments of both and runs both,
 * forwards four times and, the layer, backwards twice; before and after them the layer's moments are summed. */
static int note_producer(tracker *t, const reap_layer *layer, int group) {
  const reap_forecast_setting *s = t->setting;
  const int node = s->producer_rounds > 0 ? producer_pass_find(s->graph, s->groups, group, NULL) : -1;
  if (node < 0 || !s->repair || !s->repair[node]) return REAP_OK;
  const double images = (double)(s->shard.last - s->shard.first) * (double)s->shard.block;
  const double some = images / (double)producer_stride(s->shard.images), rounds = s->producer_rounds;
  const double kept = (double)s->counts[group] / (double)reap_groups_at(s->groups, group)->units;
  reap_layer producer;
  layer_cost before = {0, 0, 0}, after = {0, 0, 0};
  REAP_TRY(reap_layer_view(s->graph, node, reap_repair_channels(s->graph, node), &producer));
  const double inputs = t->pruned.share[producer.input] * (double)producer.channels;
  const reap_layer first = shrunk(&producer, inputs < 1 ? 1 : (int64_t)inputs, s->counts[group]);
  const reap_layer second = shrunk(layer, s->counts[group], layer->m);
  REAP_TRY(cost_whole(s, &first, &before));
  REAP_TRY(cost_whole(s, &second, &after));
  const double ours = kept * (double)reap_node_flops(s->graph, layer->node);
  const double theirs = kept * t->pruned.share[producer.input] * (double)reap_node_flops(s->graph, node);
  reap_forecast *f = t->out;
  f->moments_work += FITTED * (some * (rounds * (before.multiply_adds + after.multiply_adds) + after.multiply_adds) +
                               images * after.multiply_adds);
  t->pruned.work += some / images * (rounds * (4 * theirs + 6 * ours) + 2 * ours) + theirs + ours;
  f->matrices = fmax(f->matrices, fmax(before.moments, before.solver));
  f->frontier =
      fmax(f->frontier, images / (double)s->shard.block * (held_bytes(t) + value_bytes(&t->pruned, producer.input)));
  return REAP_OK;
}

/* Both networks up to the layer; the first time they are one. */
static void advance_both(tracker *t, const reap_layer *layer, int shortcut) {
  const int wanted[] = {layer->output, shortcut}, inputs[] = {layer->input, shortcut};
  const int count = shortcut >= 0 ? 2 : 1;
  if (t->out->forward == 0) {
    advance(t, &t->original, inputs, count);
    memcpy(t->pruned.done, t->original.done, (size_t)t->original.graph->n_nodes * sizeof(bool));
    memcpy(t->pruned.held, t->original.held, (size_t)t->original.graph->n_values * sizeof(bool));
    memcpy(t->shared, t->original.held, (size_t)t->original.graph->n_values * sizeof(bool));
    note_held(t, t->original.passing);
  }
  advance(t, &t->original, wanted, count);
  note_held(t, t->original.passing);
  advance(t, &t->pruned, inputs, count);
  note_held(t, t->pruned.passing);
  t->out->forward = t->original.work + t->pruned.work;
}

static int cut(tracker *t, int group) {
  const reap_groups *groups = t->setting->groups;
  const int64_t channels = reap_groups_at(groups, group)->units;
  bool *keep = NULL;
  int64_t *entries = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&keep, channels, sizeof *keep));
  for (int64_t k = 0; k < t->setting->counts[group]; k++) keep[k] = true;
  for (int v = 0; status == REAP_OK && v < t->pruned.graph->n_values; v++) {
    const int64_t channels_there = reap_value_channels(&t->pruned.graph->values[v]);
    if (channels_there == 0) continue;
    status = reap_alloc(&entries, channels_there, sizeof *entries);
    const int64_t left = status == REAP_OK ? reap_groups_entries(groups, v, group, keep, entries) : -1;
    if (left >= 0) t->pruned.share[v] *= (double)left / (double)channels_there;
    reap_free(&entries);
  }
  reap_free(&keep);
  return status;
}

static int take_step(tracker *t, const reap_step *at) {
  const reap_forecast_setting *s = t->setting;
  const int64_t channels = reap_step_channels(s->graph, s->groups, at);
  reap_layer layer;
  layer_cost cost = {0, 0, 0};
  REAP_TRY(reap_layer_view(s->graph, at->node, channels, &layer));
  REAP_TRY(at->group >= 0 && layer.n > REAP_SOLVER_MOST_WHOLE ? cost_spread(s, &layer, &cost)
                                                              : cost_whole(s, &layer, &cost));
  advance_both(t, &layer, at->shortcut);
  note_layer(t, &layer, at->group < 0 ? channels : s->counts[at->group], &cost);
  if (at->group < 0) return REAP_OK;
  REAP_TRY(cut(t, at->group));
  return note_producer(t, &layer, at->group);
}

/* Scaling a classifier takes next to nothing. */
static int take_steps(tracker *t) {
  const reap_forecast_setting *s = t->setting;
  const reap_steps_wishes wishes = {s->chosen, s->counts, s->repair, REAP_SCALE_NONE};
  reap_steps steps;
  int status = reap_steps_make(s->graph, s->groups, &wishes, &steps);
  for (int k = 0; status == REAP_OK && k < steps.n; k++) status = take_step(t, &steps.list[k]);
  reap_steps_clear(&steps);
  return status;
}

static double weights_bytes(const reap_graph *graph) {
  double bytes = 0;
  for (int v = 0; v < graph->n_values; v++)
    if (graph->values[v].constant) bytes += (double)graph->values[v].constant->count * sizeof(float);
  return bytes;
}

int reap_forecast_make(const reap_forecast_setting *setting, int64_t limit, reap_forecast *out) {
  tracker t = {.setting = setting, .limit = (double)limit, .out = out};
  const reap_graph *graph = setting->graph;
  int status = REAP_OK;
  memset(out, 0, sizeof *out);
  out->model = weights_bytes(graph);
  REAP_TRY_OR(side_create(graph, &t.original), done);
  REAP_TRY_OR(side_create(graph, &t.pruned), done);
  REAP_TRY_OR(reap_calloc(&t.segment, graph->n_nodes, sizeof *t.segment), done);
  REAP_TRY_OR(reap_calloc(&t.needed, graph->n_values, sizeof *t.needed), done);
  REAP_TRY_OR(reap_calloc(&t.shared, graph->n_values, sizeof *t.shared), done);
  status = take_steps(&t);
  out->forward *= (double)(setting->shard.last - setting->shard.first) * (double)setting->shard.block;
done:
  side_clear(&t.original);
  side_clear(&t.pruned);
  reap_free(&t.segment);
  reap_free(&t.needed);
  reap_free(&t.shared);
  return status;
}

double reap_forecast_seconds(const reap_forecast *f, const reap_speeds *s, int ranks) {
  static const double SOLVER = 0.5, SHARED = 0.35; /* of DGEMM's rate: what one rank's solves reach, and those of all */
  static const double SCRATCH = 1e9;               /* bytes a second */
  return f->forward / s->forward + f->moments_work / s->moments + f->solver_work / (SOLVER * s->solver) +
         f->shared_work / (SHARED * s->solver * ranks) + f->traffic / SCRATCH;
}
