/* Speeds of this machine, measured the way a run works; see forecast.h.
 *
 * A block or a few of random images go through the network from layer to layer, as in a run, with values held in fresh
 * memory and kernels prepared for every stretch. Moments are timed on the layers met on the way until they have had
 * their share of time; layers whose matrices would take long to set up are left out unless there are no others.
 */
#include <math.h>

#include "base/random.h"
#include "base/timer.h"
#include "exec/frontier.h"
#include "forecast.h"
#include "linalg/dense.h"
#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double ENOUGH_WORK = 2e10;   /* multiply-adds of the images sent through */
static const double ENOUGH_SECONDS = 0.5; /* for moments */
enum { MOST_BLOCKS = 4, MOST_COLUMNS = 2400, PRODUCT = 1024 };

typedef struct measurement {
  const reap_comm *comm;
  const reap_forecast_setting *setting;
  reap_shard shard; /* of the images made up */
  reap_frontier *front;
  double forward_seconds, moments_seconds, moments_work;
} measurement;

static int make_images(measurement *m, reap_backend backend) {
  const reap_graph *graph = m->setting->graph;
  const int64_t blocks = m->shard.last - m->shard.first, count = reap_value_count(&graph->values[graph->inputs[0]]);
  reap_random random = reap_random_init(1, (uint64_t)m->shard.first, 0);
  REAP_TRY(reap_frontier_create(graph, blocks, backend, &m->front));
  for (int64_t b = 0; b < blocks; b++) {
    float *x = NULL;
    REAP_TRY(reap_frontier_input(m->front, 0, b, &x));
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

static int measure_layer(measurement *m, int group) {
  const reap_forecast_setting *s = m->setting;
  const int node = reap_group_consumer(reap_groups_at(s->groups, group));
  reap_layer layer;
  reap_accumulator *a = NULL;
  int status = reap_layer_view(s->graph, node, reap_groups_at(s->groups, group)->units, &layer);
  const int wanted[] = {layer.input, layer.output};
  const double start = reap_seconds();
  if (status == REAP_OK) status = reap_frontier_advance(m->front, wanted, 2);
  m->forward_seconds += reap_seconds() - start;
  REAP_TRY(reap_comm_agree(m->comm, status));
  double spent = m->moments_seconds;
  REAP_TRY(reap_comm_max(m->comm, &spent, 1));
  if (spent > ENOUGH_SECONDS || (layer.n > MOST_COLUMNS && m->moments_work > 0)) return REAP_OK;
  reap_taps taps = {m->front, m->front, layer.input, layer.output, -1, 0, NULL};
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

/* Groups in the order of their layers. */
static int measure_layers(measurement *m) {
  const reap_forecast_setting *s = m->setting;
  for (int i = 0; i < s->graph->n_nodes; i++) {
    const int group = reap_groups_consumed_by(s->groups, i);
    if (group >= 0 && s->chosen[group]) REAP_TRY(measure_layer(m, group));
  }
  return REAP_OK;
}

static double forward_work(const measurement *m) {
  double work = 0;
  for (int i = 0; i < m->setting->graph->n_nodes; i++)
    if (reap_frontier_done(m->front, i)) work += (double)reap_node_flops(m->setting->graph, i);
  return work * (double)m->shard.block * (double)(m->shard.last - m->shard.first);
}

/* Flops a second of a product of square matrices: the best of three. */
static int measure_product(double *rate) {
  const int64_t n = PRODUCT;
  double *a = NULL, *b = NULL;
  int status = reap_calloc(&a, n * n, sizeof *a);
  if (status == REAP_OK) status = reap_calloc(&b, n * n, sizeof *b);
  for (int64_t i = 0; status == REAP_OK && i < n * n; i++) a[i] = 1.0 + (double)(i % 7);
  for (int k = 0; status == REAP_OK && k < 3; k++) {
    const double start = reap_seconds();
    status = reap_dgemm('N', 'T', n, n, n, 1, a, n, a, n, 0, b, n);
    *rate = fmax(*rate, 2.0 * (double)n * (double)n * (double)n / (reap_seconds() - start));
  }
  reap_free(&a);
  reap_free(&b);
  return status;
}

int reap_forecast_measure(const reap_comm *comm, const reap_forecast_setting *s, reap_backend backend,
                          reap_speeds *out) {
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
    out->moments = m.moments_work / m.moments_seconds;
    status = reap_comm_agree(comm, measure_product(&out->solver));
  }
  reap_frontier_destroy(&m.front);
  return status;
}
