/* The run over all groups; see prune.h.
 *
 * Cost: one forward pass of each network, the moments (n^2 + 2 n m flops a row and layer) and the solves on one rank.
 * Memory per rank: both frontiers, and for the layer at hand its moments twice (sum and present block) plus, on rank 0,
 * three matrices n x n in the solver.
 */
#include "reap/prune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decision.h"
#include "reap/accumulator.h"
#include "reap/error.h"
#include "reap/frontier.h"
#include "reap/layer.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/surgery.h"
#include "reap/timer.h"
#include "shortcut.h"
#include "store_rows.h"
#include "stored_moments.h"

typedef struct run {
  const reap_comm *comm;
  const reap_graph *original;
  reap_graph *pruned;
  reap_groups *groups;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_prune_options *options;
  reap_prune_result *result;
  reap_frontier *front_original, *front_pruned;
  bool *resolved, *pending; /* [n_nodes] consumers done, and still to be done */
  int n_steps, *steps;      /* groups in the order of their consumers */
  double work_total, work_done;
} run;

/* One layer at hand. */
typedef struct step {
  int group, node;
  reap_layer layer;
  int shortcut; /* value whose drift the target carries, or -1 */
  reap_accumulator *accumulator;
  float *target; /* [block, positions, m] */
  decision decision;
  reap_held_out_error held_out;
  int64_t samples;
  double moments_flops, moments_seconds;
  double start;
} step;

static int consumer_of(const run *r, int group) { return reap_groups_at(r->groups, group)->consumers[0]; }

static int order_steps(run *r) {
  const int n = reap_groups_count(r->groups);
  REAP_TRY(reap_alloc(&r->steps, n, sizeof *r->steps));
  REAP_TRY(reap_calloc(&r->resolved, r->pruned->n_nodes, sizeof *r->resolved));
  REAP_TRY(reap_calloc(&r->pending, r->pruned->n_nodes, sizeof *r->pending));
  for (int g = 0; g < n; g++) {
    const reap_group *group = reap_groups_at(r->groups, g);
    if (!r->options->chosen[g]) continue;
    if (r->options->counts[g] >= group->channels) continue;
    r->pending[consumer_of(r, g)] = true;
    r->work_total += (double)reap_node_flops(r->pruned, consumer_of(r, g));
    int at = r->n_steps++;
    for (; at > 0 && consumer_of(r, r->steps[at - 1]) > consumer_of(r, g); at--) r->steps[at] = r->steps[at - 1];
    r->steps[at] = g;
  }
  return REAP_OK;
}

/* A block of images as the network's input; the tail is padded with the last image. */
static int read_block(run *r, int64_t block, float *storage) {
  int64_t first, count, images, channels, height, width;
  reap_shard_block(r->shard, block, &first, &count);
  reap_dataset_shape(r->images, &images, &channels, &height, &width);
  REAP_TRY(reap_dataset_read(r->images, first, count, storage));
  const int64_t size = channels * height * width;
  for (int64_t i = count; i < r->shard->block; i++)
    memcpy(storage + i * size, storage + (count - 1) * size, (size_t)size * sizeof *storage);
  return REAP_OK;
}

/* Without images: everything comes from the original network's moments. */
static bool frozen(const run *r) { return r->options->from_stats != NULL; }

static int64_t local_blocks(const run *r) { return r->shard->last - r->shard->first; }

static int load_images(run *r) {
  double start = reap_seconds();
  if (frozen(r)) return REAP_OK;
  REAP_TRY(reap_frontier_create(r->original, local_blocks(r), r->options->backend, &r->front_original));
  for (int64_t b = 0; b < local_blocks(r); b++) {
    float *images = NULL;
    REAP_TRY(reap_frontier_input(r->front_original, 0, b, &images));
    REAP_TRY(read_block(r, r->shard->first + b, images));
  }
  r->result->seconds_read = reap_seconds() - start;
  return REAP_OK;
}

/* Up to the first layer both networks are one: it is computed once, and what is held there is shared. */
static int start_pruned(run *r, const int *inputs, int count) {
  if (r->front_pruned) return REAP_OK;
  REAP_TRY(reap_frontier_advance(r->front_original, inputs, count));
  return reap_frontier_fork(r->front_original, r->pruned, &r->front_pruned);
}

/* Brings both networks to the layer. Local; idle ranks have no blocks and only mark the nodes. */
static int advance(run *r, const step *s) {
  double start = reap_seconds();
  if (frozen(r)) return REAP_OK;
  const int wanted[] = {s->layer.output, s->shortcut}, inputs[] = {s->layer.input, s->shortcut};
  const int count = s->shortcut >= 0 ? 2 : 1;
  REAP_TRY(start_pruned(r, inputs, count));
  REAP_TRY(reap_frontier_advance(r->front_original, wanted, count));
  REAP_TRY(reap_frontier_advance(r->front_pruned, inputs, count));
  r->result->seconds_forward += reap_seconds() - start;
  return REAP_OK;
}

/* What the layer is to produce on a block: the original output, and the shortcut's drift if it carries it. */
static const float *target_of(const run *r, const step *s, int64_t b) {
  const float *y = reap_frontier_value(r->front_original, s->layer.output, b);
  if (s->shortcut < 0) return y;
  const float *before = reap_frontier_value(r->front_original, s->shortcut, b);
  const float *now = reap_frontier_value(r->front_pruned, s->shortcut, b);
  const int64_t count = reap_value_count(&r->pruned->values[s->layer.output]);
  for (int64_t i = 0; i < count; i++) s->target[i] = y[i] + (before[i] - now[i]);
  return s->target;
}

static const float *input_of(const run *r, const step *s, int64_t b) {
  return reap_frontier_value(r->front_pruned, s->layer.input, b);
}

/* The original output, while the accumulator adds the drift by itself. */
static const float *output_of(const run *r, const step *s, int64_t b) {
  if (s->shortcut >= 0)
    reap_accumulator_set_drift(s->accumulator, reap_frontier_value(r->front_original, s->shortcut, b),
                               reap_frontier_value(r->front_pruned, s->shortcut, b));
  return reap_frontier_value(r->front_original, s->layer.output, b);
}

static int gather_moments(run *r, step *s, reap_moments **moments) {
  double start = reap_seconds();
  const reap_sampling sampling = {r->options->positions, r->options->seed};
  int status = reap_alloc(&s->target, reap_value_count(&r->pruned->values[s->layer.output]), sizeof *s->target);
  if (status == REAP_OK)
    status = reap_accumulator_create(&s->layer, r->pruned->nodes[s->node]->layer, &sampling, r->shard, &s->accumulator);
  for (int64_t b = 0; status == REAP_OK && b < local_blocks(r); b++)
    reap_accumulator_scan(s->accumulator, input_of(r, s, b), output_of(r, s, b));
  REAP_TRY(reap_comm_agree(r->comm, status));
  REAP_TRY(reap_accumulator_fix_grid(s->accumulator, r->comm));
  for (int64_t b = 0; status == REAP_OK && b < local_blocks(r); b++)
    status = reap_accumulator_add(s->accumulator, r->shard->first + b, input_of(r, s, b), output_of(r, s, b));
  double middle = reap_seconds();
  REAP_TRY(reap_comm_agree(r->comm, status));
  REAP_TRY(reap_accumulator_reduce(s->accumulator, r->comm, moments));
  s->samples = (*moments)->samples;
  s->moments_flops = reap_accumulator_multiply_adds(s->accumulator, s->samples);
  s->moments_seconds = middle - start;
  r->result->seconds_moments += middle - start;
  r->result->seconds_reduce += reap_seconds() - middle;
  return REAP_OK;
}

static int read_moments(run *r, step *s, reap_moments **moments) {
  double start = reap_seconds();
  int status = stored_moments_read(r->options->from_stats, r->pruned->nodes[s->node]->layer, &s->layer, moments);
  REAP_TRY(reap_comm_agree(r->comm, status));
  s->samples = (*moments)->samples;
  r->result->seconds_read += reap_seconds() - start;
  return REAP_OK;
}

/* The layer's rows, for those who want them one by one. */
typedef struct step_rows {
  const run *run;
  const step *step;
  reap_sampling sampling;
  rows_source source;
} step_rows;

static const float *row_input(void *context, int64_t b) {
  return input_of(((const step_rows *)context)->run, ((const step_rows *)context)->step, b);
}

static const float *row_target(void *context, int64_t b) {
  return target_of(((const step_rows *)context)->run, ((const step_rows *)context)->step, b);
}

static void step_rows_set(const run *r, const step *s, step_rows *rows) {
  const reap_node *node = r->pruned->nodes[s->node];
  rows->run = r;
  rows->step = s;
  rows->sampling = (reap_sampling){r->options->positions, r->options->seed};
  rows->source =
      (rows_source){&s->layer, node->layer, node->name, &rows->sampling, r->shard, row_input, row_target, rows};
}

/* What the layer was pruned from, for those who want to look at it or solve it anew. */
static int keep_data(run *r, step *s, const reap_moments *moments) {
  const reap_node *node = r->pruned->nodes[s->node];
  double start = reap_seconds();
  step_rows rows;
  step_rows_set(r, s, &rows);
  if (r->options->save_stats) REAP_TRY(reap_stats_writer_add(r->options->save_stats, node->layer, node->name, moments));
  if (r->options->activations) REAP_TRY(store_rows(r->comm, &rows.source, moments->energy, r->options->activations));
  r->result->seconds_store += reap_seconds() - start;
  return REAP_OK;
}

/* The ridge that images held out prefer to the standard one, with the channels it keeps if those stand the test too. */
static int improve_ridge(run *r, step *s, const reap_moments *moments, const ridge_choice *standard,
                         const double *weights, const double *bias) {
  const reap_group *group = reap_groups_at(r->groups, s->group);
  decision *d = &s->decision, other = {0};
  ridge_choice best;
  step_rows rows;
  double error = 0, again = 0;
  step_rows_set(r, s, &rows);
  REAP_TRY(ridge_choose(r->comm, &rows.source, moments, weights, d->n_kept, d->kept, standard, &best, &error));
  if (best.ridge == standard->ridge && best.trained == standard->trained) return REAP_OK;
  int status = reap_comm_agree(r->comm, decision_create(d->channels, d->block, d->m, d->n_kept, &other));
  if (status == REAP_OK)
    status = decision_make(r->comm, r->options, r->pruned, group, moments, &best, weights, bias, &other);
  if (status == REAP_OK)
    status = ridge_measure(r->comm, &rows.source, other.n_kept, other.kept, other.weights, other.bias, &again);
  if (status == REAP_OK && again <= error) {
    const decision first = *d;
    *d = other;
    other = first;
  } else if (status == REAP_OK) {
    status = decision_refit(r->comm, group, moments, &best, weights, d);
  }
  decision_clear(&other);
  return status;
}

static int decide_with(run *r, step *s, const reap_moments *moments, const double *weights, const double *bias) {
  const ridge_choice standard = {r->options->ridge, false};
  const reap_group *group = reap_groups_at(r->groups, s->group);
  REAP_TRY(decision_make(r->comm, r->options, r->pruned, group, moments, &standard, weights, bias, &s->decision));
  if (!r->options->ridge_auto || !r->options->refit || frozen(r)) return REAP_OK;
  return improve_ridge(r, s, moments, &standard, weights, bias);
}

static int decide(run *r, step *s, const reap_moments *moments) {
  double start = reap_seconds(), *weights = NULL, *bias = NULL;
  const reap_group *group = reap_groups_at(r->groups, s->group);
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights), agree);
  REAP_TRY_OR(reap_alloc(&bias, s->layer.m, sizeof *bias), agree);
  status = decision_create(group->channels, s->layer.block, s->layer.m, r->options->counts[s->group], &s->decision);
agree:
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, bias);
    status = decide_with(r, s, moments, weights, bias);
  }
  reap_free(&weights);
  reap_free(&bias);
  r->result->seconds_solve += reap_seconds() - start;
  return status;
}

static int measure_held_out(run *r, step *s) {
  double start = reap_seconds();
  const decision *d = &s->decision;
  if (frozen(r)) return REAP_OK;
  int status = reap_accumulator_residual_begin(s->accumulator, d->n_kept, d->kept, d->weights, d->bias);
  for (int64_t b = 0; status == REAP_OK && b < local_blocks(r); b++)
    status = reap_accumulator_residual_add(s->accumulator, r->shard->first + b, input_of(r, s, b), output_of(r, s, b));
  REAP_TRY(reap_comm_agree(r->comm, status));
  REAP_TRY(reap_accumulator_residual_end(s->accumulator, r->comm, &s->held_out));
  r->result->seconds_held_out += reap_seconds() - start;
  return REAP_OK;
}

/* Frontier, graph and groups lose the channels; the layer gets its new weights. Local. */
static int cut(run *r, step *s) {
  const decision *d = &s->decision;
  bool *keep = NULL;
  REAP_TRY(reap_calloc(&keep, d->channels, sizeof *keep));
  for (int64_t k = 0; k < d->n_kept; k++) keep[d->kept[k]] = true;
  int status = frozen(r) ? REAP_OK : reap_frontier_cut(r->front_pruned, r->groups, s->group, keep);
  reap_free(&keep);
  REAP_TRY(status);
  REAP_TRY(reap_surgery_cut(r->pruned, r->groups, s->group, d->n_kept, d->kept));
  if (r->options->refit) REAP_TRY(reap_surgery_set_weights(r->pruned, s->node, d->weights, d->bias));
  return REAP_OK;
}

static int copy_int64(int64_t **out, const int64_t *from, int64_t count) {
  REAP_TRY(reap_alloc(out, count, sizeof **out));
  memcpy(*out, from, (size_t)count * sizeof *from);
  return REAP_OK;
}

/* Few rows for many columns fit the calibration images and nothing else. */
static bool has_few_samples(const step *s) { return s->samples < 5 * s->layer.n; }

static int record(run *r, const step *s) {
  const decision *d = &s->decision;
  reap_layer_result *l = &r->result->layers[r->result->n_layers++];
  l->channels = d->channels;
  l->n_kept = d->n_kept;
  l->n_removed = d->channels - d->n_kept;
  l->samples = s->samples;
  l->moments_flops = s->moments_flops;
  l->moments_seconds = s->moments_seconds;
  l->relative_error = d->facts.relative_error;
  l->held_out_error = s->held_out.samples == 0 ? NAN : s->held_out.energy > 0 ? s->held_out.error / s->held_out.energy : 0;
  l->predicted_relative_error = d->facts.predicted;
  l->ridge = d->facts.ridge;
  l->ridge_trained = d->facts.trained;
  l->rcond = d->facts.rcond;
  l->drift = d->facts.drift;
  l->distributed = d->facts.distributed;
  l->few_samples = has_few_samples(s);
  l->repaired_shortcut = s->shortcut >= 0;
  l->seconds = reap_seconds() - s->start;
  REAP_TRY(reap_strdup(&l->layer, r->pruned->nodes[s->node]->layer));
  REAP_TRY(reap_strdup(&l->group, reap_groups_at(r->groups, s->group)->name));
  REAP_TRY(copy_int64(&l->kept, d->kept, d->n_kept));
  REAP_TRY(copy_int64(&l->removed, d->removed, l->n_removed));
  if (!d->facts.has_path) return REAP_OK;
  REAP_TRY(reap_alloc(&l->path, l->n_removed, sizeof *l->path));
  memcpy(l->path, d->path, (size_t)l->n_removed * sizeof *l->path);
  return REAP_OK;
}

static void announce(run *r, const step *s) {
  char detail[160];
  const reap_layer_result *l = &r->result->layers[r->result->n_layers - 1];
  r->work_done += (double)reap_node_flops(r->original, s->node);
  snprintf(detail, sizeof detail, "%lld -> %lld channels, error %.3g", (long long)l->channels, (long long)l->n_kept,
           l->relative_error);
  reap_progress_report(r->options->progress, "prune", l->layer, r->work_done, r->work_total, detail);
}

static void warn_few_samples(const step *s, const char *layer) {
  if (has_few_samples(s))
    reap_log(REAP_LOG_WARNING, "layer %s: only %.1f rows per column (%lld rows, %lld columns); more images or positions would help",
             layer, (double)s->samples / (double)s->layer.n, (long long)s->samples, (long long)s->layer.n);
}

static int prune_group(run *r, int group) {
  step s = {.group = group, .node = consumer_of(r, group), .start = reap_seconds()};
  reap_moments *moments = NULL;
  const char *layer = r->pruned->nodes[s.node]->layer;
  int status = reap_layer_view(r->pruned, s.node, reap_groups_at(r->groups, group)->channels, &s.layer);
  if (status == REAP_OK && frozen(r)) s.shortcut = -1;
  if (status == REAP_OK && !frozen(r)) status = reap_shortcut_of(r->pruned, s.layer.output, r->resolved, r->pending, &s.shortcut);
  if (status == REAP_OK) status = advance(r, &s);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  REAP_TRY_OR(frozen(r) ? read_moments(r, &s, &moments) : gather_moments(r, &s, &moments), done);
  REAP_TRY_OR(keep_data(r, &s, moments), done);
  warn_few_samples(&s, layer);
  REAP_TRY_OR(decide(r, &s, moments), done);
  REAP_TRY_OR(measure_held_out(r, &s), done);
  status = cut(r, &s);
  if (status == REAP_OK) status = record(r, &s);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  r->resolved[s.node] = true;
  r->pending[s.node] = false;
  announce(r, &s);
done:
  reap_moments_destroy(&moments);
  reap_accumulator_destroy(&s.accumulator);
  reap_free(&s.target);
  decision_clear(&s.decision);
  return reap_error_prefix(status, "pruning the inputs of %s", layer);
}

int reap_prune(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_groups *groups,
               reap_dataset *images, const reap_shard *shard, const reap_prune_options *options,
               reap_prune_result *result) {
  run r = {.comm = comm, .original = original, .pruned = pruned, .groups = groups, .images = images, .shard = shard,
           .options = options, .result = result};
  memset(result, 0, sizeof *result);
  int status = order_steps(&r);
  if (status == REAP_OK) status = reap_calloc(&result->layers, r.n_steps, sizeof *result->layers);
  if (status == REAP_OK) status = load_images(&r);
  status = reap_comm_agree(comm, status);
  for (int k = 0; status == REAP_OK && k < r.n_steps; k++) status = prune_group(&r, r.steps[k]);
  reap_frontier_destroy(&r.front_original);
  reap_frontier_destroy(&r.front_pruned);
  reap_free(&r.steps);
  reap_free(&r.resolved);
  reap_free(&r.pending);
  return status;
}

void reap_prune_result_clear(reap_prune_result *result) {
  for (int i = 0; i < result->n_layers; i++) {
    reap_layer_result *l = &result->layers[i];
    reap_free(&l->layer);
    reap_free(&l->group);
    reap_free(&l->kept);
    reap_free(&l->removed);
    reap_free(&l->path);
  }
  reap_free(&result->layers);
  result->n_layers = 0;
}
