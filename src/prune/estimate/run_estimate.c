/* Memory and operations of a run, followed step by step without computing anything, and speeds of this machine.
 *
 * The steps are those of the run (steps.h): both networks advance to a layer, its moments are summed and solved, the
 * pruned network loses the channels. What is held is counted for one block of images and multiplied; what passes
 * through (the segment's own values, copies of its weights) is there once.
 *
 * Speeds are measured the way a run works. A block or a few of random images go through the network from layer to
 * layer, with values held in fresh memory and kernels prepared for every stretch. Moments are timed on the layers met
 * on the way until they have had their share of time; layers whose matrices would take long to set up are left out
 * unless there are no others.
 */
#include "run_estimate.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/timer.h"
#include "exec/frontier.h"
#include "exec/segment.h"
#include "linalg/dense.h"
#include "linalg/placement.h"
#include "memory_estimate.h"
#include "model/operators/layer.h"
#include "model/operators/layout.h"
#include "prune/repair/producer_pass.h"
#include "prune/run/ridge.h"
#include "prune/run/steps.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

/* Reads and the write of a value in the scratch file, on its way through scan, sums, held-out error and the next
 * segment. */
enum { TRAFFIC = 5 };

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
  const reap_run_setting *setting;
  side original, pruned;
  bool *segment, *needed, *shared; /* [n_nodes], [n_values] scratch; [n_values] held by both since the fork */
  double limit;
  reap_run_estimate *out;
  double elements; /* of rows that sums are formed of, on the rank with most images */
  double *reached; /* with speeds: seconds at each step's end; NULL */
  const reap_speeds *speeds;
  int steps;
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
  reap_run_estimate *f = t->out;
  f->frontier = fmax(f->frontier, blocks * block + passing);
  f->least = fmax(f->least, block + passing);
  if (t->limit > 0) f->traffic += TRAFFIC * fmax(blocks * block + passing - t->limit, 0);
}

/* kept: channels; all of them where the layer is only re-solved. */
static void note_layer(tracker *t, const reap_layer *layer, int64_t kept, const reap_layer_estimate *cost) {
  reap_run_estimate *f = t->out;
  const double n = (double)layer->n, m = (double)layer->m, r = (double)(kept * layer->block);
  const double flops = kept == layer->channels ? RIDGE_MOST_CANDIDATES * (n * n * n / 3 + 2 * n * n * m)
                       : cost->rows > 0        ? (n * n - r * r) / 2 * (4 * cost->rows + 11 * (double)layer->block) +
                                              25 * cost->rows * cost->rows * n + 2 * cost->rows * r * m
                                        : n * n * n + 2 * n * n * m + (n * n * n - r * r * r) / 3 + (n * n - r * r) * m;
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

/* Of the rank with most. */
static double images_of(const reap_run_setting *s) {
  return (double)(s->shard.last - s->shard.first) * (double)s->shard.block;
}

/* Of the rows of an image. */
static double row_elements(const reap_run_setting *s, const reap_layer *layer) {
  const int64_t drawn = reap_sampling_drawn(&s->sampling, layer, s->shard.images);
  return (double)(drawn > 0 ? drawn : layer->positions) * (double)(layer->n * layer->groups);
}

/* The layer as it is with fewer inputs and outputs. */
static reap_layer shrunk(const reap_layer *layer, int64_t channels, int64_t outputs) {
  reap_layer out = *layer;
  out.channels = out.window.channels = channels;
  out.n = channels * layer->block;
  out.m = out.window.outputs = outputs;
  return out;
}

/* A layer solved in turn with its producer (step_producer.c): every round sums the moments of both, products of the
 * producer's inputs with each other in the first one alone, and runs both, forwards twice and, the layer, backwards
 * once; before and after them the layer's moments are summed. */
static int note_producer(tracker *t, const reap_layer *layer, bool stream) {
  const reap_run_setting *s = t->setting;
  producer_path path;
  if (s->producer_rounds <= 0 || !s->repair || !reap_producer_path_find(s->graph, layer->node, stream, &path))
    return REAP_OK;
  const int node = path.producer;
  if (!s->repair[node]) return REAP_OK;
  const double images = (double)(s->shard.last - s->shard.first) * (double)s->shard.block;
  const double some = images / (double)producer_stride(s->shard.images), rounds = s->producer_rounds;
  const double kept = t->pruned.share[layer->input];
  const int64_t between = (int64_t)fmax(1, round(kept * (double)layer->channels));
  reap_layer producer;
  reap_layer_estimate before = {0}, after = {0};
  REAP_TRY(reap_layer_view(s->graph, node, reap_repair_channels(s->graph, node), &producer));
  const double inputs = t->pruned.share[producer.input] * (double)producer.channels;
  const reap_layer first = shrunk(&producer, inputs < 1 ? 1 : (int64_t)inputs, between);
  const reap_layer second = shrunk(layer, between, layer->m);
  REAP_TRY(reap_estimate_layer(&first, &s->sampling, &s->shard, REAP_GRAM_WHOLE, s->ranks, &before));
  REAP_TRY(reap_estimate_layer(&second, &s->sampling, &s->shard, REAP_GRAM_WHOLE, s->ranks, &after));
  const double ours = kept * (double)reap_node_flops(s->graph, layer->node);
  const double theirs = kept * t->pruned.share[producer.input] * (double)reap_node_flops(s->graph, node);
  const double rows = row_elements(s, &second);
  t->elements += some * (rounds * (row_elements(s, &first) + rows) + rows) + images * rows;
  reap_run_estimate *f = t->out;
  const double cross = row_elements(s, &first) * (double)first.m;
  f->moments_work +=
      FITTED * (some * (before.multiply_adds + (rounds - 1) * cross + (rounds + 1) * after.multiply_adds) +
                images * after.multiply_adds);
  t->pruned.work += some / images * (rounds * (2 * theirs + 3 * ours) + ours) + theirs + ours;
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
    const int axis = reap_groups_axis(groups, v);
    if (axis < 0) continue;
    const int64_t channels_there = t->pruned.graph->values[v].dims[axis];
    status = reap_alloc(&entries, channels_there, sizeof *entries);
    const int64_t left = status == REAP_OK ? reap_groups_entries(groups, v, group, keep, entries) : -1;
    if (left >= 0) t->pruned.share[v] *= (double)left / (double)channels_there;
    reap_free(&entries);
  }
  reap_free(&keep);
  return status;
}

static int take_step(tracker *t, const reap_step *at) {
  const reap_run_setting *s = t->setting;
  if (at->kind == REAP_STEP_CUT) return cut(t, at->group);
  const int64_t channels = reap_step_channels(s->graph, s->groups, at);
  reap_layer layer;
  reap_layer_estimate cost = {0};
  REAP_TRY(reap_layer_view(s->graph, at->node, channels, &layer));
  const bool looks = layer.n <= reap_ridge_columns(REAP_RIDGE_FEW_ROWS); /* the default */
  const reap_gram_place place = at->group < 0 || looks             ? REAP_GRAM_WHOLE
                                : layer.n > REAP_SOLVER_MOST_WHOLE ? REAP_GRAM_DISTRIBUTED
                                                                   : REAP_GRAM_FREE;
  REAP_TRY(reap_estimate_layer(&layer, &s->sampling, &s->shard, place, s->ranks, &cost));
  advance_both(t, &layer, at->shortcut);
  t->elements += images_of(s) * row_elements(s, &layer);
  note_layer(t, &layer, at->group < 0 ? channels : s->counts[at->group], &cost);
  if (at->group >= 0) REAP_TRY(cut(t, at->group));
  return note_producer(t, &layer, at->group < 0 && t->pruned.share[layer.input] < 1);
}

/* Layers of few channels take more time to put their rows together than multiply-adds tell. */
static void note_step(tracker *t) {
  static const double ELEMENT = 2e-9; /* seconds */
  if (!t->reached) return;
  reap_run_estimate so_far = *t->out;
  so_far.forward = (t->original.work + t->pruned.work) * images_of(t->setting);
  t->reached[t->steps++] = reap_estimate_seconds(&so_far, t->speeds, t->setting->ranks) + ELEMENT * t->elements;
}

/* Scaling a classifier takes next to nothing. */
static int take_steps(tracker *t) {
  const reap_run_setting *s = t->setting;
  const reap_steps_wishes wishes = {false, s->chosen, s->counts, s->repair, REAP_SCALE_NONE};
  reap_steps steps;
  int status = reap_steps_make(s->graph, s->groups, &wishes, &steps);
  for (int k = 0; status == REAP_OK && k < steps.n; k++) {
    status = take_step(t, &steps.list[k]);
    note_step(t);
  }
  reap_steps_clear(&steps);
  return status;
}

static int follow(tracker *t) {
  const reap_graph *graph = t->setting->graph;
  reap_run_estimate *out = t->out;
  int status = REAP_OK;
  memset(out, 0, sizeof *out);
  out->model = (double)reap_estimate_weights(graph);
  REAP_TRY_OR(side_create(graph, &t->original), done);
  REAP_TRY_OR(side_create(graph, &t->pruned), done);
  REAP_TRY_OR(reap_calloc(&t->segment, graph->n_nodes, sizeof *t->segment), done);
  REAP_TRY_OR(reap_calloc(&t->needed, graph->n_values, sizeof *t->needed), done);
  REAP_TRY_OR(reap_calloc(&t->shared, graph->n_values, sizeof *t->shared), done);
  status = take_steps(t);
  out->forward *= images_of(t->setting);
done:
  side_clear(&t->original);
  side_clear(&t->pruned);
  reap_free(&t->segment);
  reap_free(&t->needed);
  reap_free(&t->shared);
  return status;
}

int reap_estimate_run(const reap_run_setting *setting, int64_t limit, reap_run_estimate *out) {
  tracker t = {.setting = setting, .limit = (double)limit, .out = out};
  return follow(&t);
}

int reap_estimate_steps(const reap_run_setting *setting, int64_t limit, const reap_speeds *speeds, double *seconds,
                        int *n) {
  reap_run_estimate whole;
  tracker t = {.setting = setting, .limit = (double)limit, .out = &whole, .reached = seconds, .speeds = speeds};
  REAP_TRY(follow(&t));
  *n = t.steps;
  for (int k = t.steps - 1; k > 0; k--) seconds[k] -= seconds[k - 1];
  return REAP_OK;
}

/* ------------------------------------------------------------------ speeds */

static const double ENOUGH_WORK = 2e10;   /* multiply-adds of the images sent through */
static const double ENOUGH_SECONDS = 0.5; /* for moments */
enum { MOST_BLOCKS = 4, MOST_COLUMNS = 2400, PRODUCT = 1024 };

typedef struct measurement {
  const reap_comm *comm;
  const reap_run_setting *setting;
  reap_shard shard; /* of the images made up */
  reap_frontier *front;
  double forward_seconds, moments_seconds, moments_work;
} measurement;

static int make_images(measurement *m, reap_backend backend) {
  const reap_graph *graph = m->setting->graph;
  const int64_t blocks = m->shard.last - m->shard.first;
  reap_random random = reap_random_init(1, (uint64_t)m->shard.first, 0);
  REAP_TRY(reap_frontier_create(graph, blocks, backend, &m->front));
  for (int64_t b = 0; b < blocks; b++)
    for (int k = 0; k < graph->n_inputs; k++) {
      const int64_t count = reap_value_count(&graph->values[graph->inputs[k]]);
      float *x = NULL;
      REAP_TRY(reap_frontier_input(m->front, k, b, &x));
      for (int64_t i = 0; i < count; i++) x[i] = (float)reap_random_normal(&random);
    }
  return REAP_OK;
}

/* Sums of the first block, twice: the first time touches the memory. */
static int time_moments(measurement *m, const reap_samples *samples, reap_accumulator *a) {
  const reap_shard *shard = &samples->shard;
  double start = reap_seconds();
  int status = reap_accumulator_scan(a, 0);
  double seconds = reap_seconds() - start;
  REAP_TRY(reap_comm_agree(m->comm, status));
  REAP_TRY(reap_accumulator_fix_grid(a, m->comm));
  for (int twice = 0; twice < 2 && status == REAP_OK; twice++) {
    start = reap_seconds();
    status = reap_accumulator_add(a, 0);
  }
  m->moments_seconds += seconds + reap_seconds() - start;
  const int64_t first = shard->first * shard->block, end = first + shard->block;
  const int64_t held_out = reap_split_count(samples->split, end) - reap_split_count(samples->split, first);
  m->moments_work += reap_accumulator_multiply_adds(a, (shard->block - held_out) * samples->layer.positions);
  return reap_comm_agree(m->comm, status);
}

static int measure_layer(measurement *m, int node, int64_t channels) {
  const reap_run_setting *s = m->setting;
  reap_layer layer;
  reap_accumulator *a = NULL;
  int status = reap_layer_view(s->graph, node, channels, &layer);
  const int wanted[] = {layer.input, layer.output};
  const double start = reap_seconds();
  if (status == REAP_OK) status = reap_frontier_advance(m->front, wanted, 2);
  m->forward_seconds += reap_seconds() - start;
  REAP_TRY(reap_comm_agree(m->comm, status));
  double spent = m->moments_seconds;
  REAP_TRY(reap_comm_max(m->comm, &spent, 1));
  if (spent > ENOUGH_SECONDS || (layer.n > MOST_COLUMNS && m->moments_work > 0)) return REAP_OK;
  reap_taps taps = {
      .inputs = m->front, .outputs = m->front, .input = layer.input, .output = layer.output, .shortcut = -1};
  const reap_samples samples = {.layer = layer,
                                .name = s->graph->nodes[node]->layer,
                                .split = REAP_SPLIT_TENTH,
                                .shard = m->shard,
                                .read = reap_taps_read,
                                .context = &taps};
  status = reap_comm_agree(m->comm, reap_accumulator_create(&samples, &a));
  if (status == REAP_OK) status = time_moments(m, &samples, a);
  reap_accumulator_destroy(&a);
  return status;
}

static bool is_inner(const reap_run_setting *s, int group) {
  return group >= 0 && s->chosen[group] && reap_groups_at(s->groups, group)->prunable;
}

static bool is_measured(const reap_graph *graph, int node) {
  return reap_repair_possible(graph, node) && reap_node_int(graph->nodes[node], "group", 1) == 1;
}

/* Those that read inner groups, in their order; without any, those that are re-solved behind coupled ones. */
static int measure_layers(measurement *m) {
  const reap_run_setting *s = m->setting;
  bool some = false;
  for (int g = 0; g < reap_groups_count(s->groups); g++) some |= is_inner(s, g);
  for (int i = 0; i < s->graph->n_nodes; i++) {
    const int group = reap_groups_consumed_by(s->groups, i);
    const int64_t channels = is_inner(s, group)                  ? reap_groups_at(s->groups, group)->units
                             : !some && is_measured(s->graph, i) ? reap_repair_channels(s->graph, i)
                                                                 : 0;
    if (channels > 0) REAP_TRY(measure_layer(m, i, channels));
  }
  return REAP_OK;
}

static double forward_work(const measurement *m) {
  double work = 0;
  for (int i = 0; i < m->setting->graph->n_nodes; i++)
    if (reap_frontier_done(m->front, i)) work += (double)reap_node_flops(m->setting->graph, i);
  return work * (double)m->shard.block * (double)(m->shard.last - m->shard.first);
}

int reap_dgemm_rate(const reap_comm *comm, int64_t n, double *rate) {
  double *a = NULL;
  int status = reap_comm_alloc(comm, &a, 3 * n * n, sizeof *a);
  for (int64_t i = 0; status == REAP_OK && i < 3 * n * n; i++) a[i] = (double)(i % 17) - 8;
  *rate = 0;
  for (int k = 0; status == REAP_OK && k < 3; k++) {
    REAP_TRY_OR(reap_comm_barrier(comm), done);
    const double start = reap_seconds();
    status = reap_dgemm('N', 'N', n, n, n, 1, a, n, a + n * n, n, 0, a + 2 * n * n, n);
    double seconds = reap_seconds() - start;
    REAP_TRY_OR(reap_comm_agree(comm, status), done);
    REAP_TRY_OR(reap_comm_max(comm, &seconds, 1), done);
    *rate = fmax(*rate, 2.0 * (double)(n * n * n) / seconds);
  }
done:
  reap_free(&a);
  return status;
}

int reap_estimate_speeds(const reap_comm *comm, const reap_run_setting *s, reap_backend backend, reap_speeds *out) {
  const int ranks = reap_comm_size(comm);
  const double block = (double)reap_graph_flops(s->graph) * (double)s->graph->batch;
  const int64_t blocks = (int64_t)fmax(1, fmin(MOST_BLOCKS, ENOUGH_WORK / block));
  measurement m = {.comm = comm, .setting = s};
  m.shard = reap_shard_make(blocks * ranks * s->graph->batch, s->graph->batch, reap_comm_rank(comm), ranks);
  *out = (reap_speeds){0};
  int status = reap_comm_agree(comm, make_images(&m, backend));
  if (status == REAP_OK) status = measure_layers(&m);
  if (status == REAP_OK) {
    out->forward = forward_work(&m) / m.forward_seconds;
    out->moments = m.moments_work > 0 ? m.moments_work / m.moments_seconds : out->forward;
    status = reap_dgemm_rate(comm, PRODUCT, &out->solver);
  }
  reap_frontier_destroy(&m.front);
  return status;
}

const reap_speeds reap_nominal_speeds = {30e9, 10e9, 25e9};

double reap_estimate_seconds(const reap_run_estimate *f, const reap_speeds *s, int ranks) {
  static const double SOLVER = 0.5, SHARED = 0.35; /* of DGEMM's rate: what one rank's solves reach, and those of all */
  static const double SCRATCH = 1e9;               /* bytes a second */
  return f->forward / s->forward + f->moments_work / s->moments + f->solver_work / (SOLVER * s->solver) +
         f->shared_work / (SHARED * s->solver * ranks) + f->traffic / SCRATCH;
}
