/* Forward pass over a shard, block by block, with accuracy, loss and distance to another network; see evaluate.h.
 *
 * A block's outputs lie one after the other, each [images, size] (output_set.h), in memory as in what is kept of them.
 *
 * Ties: a class counts as ahead of the right one if its output is larger, or equal with a lower index, as in most
 * frameworks. Each block's sums have slots of their own, summed in order, so that they do not depend on the ranks.
 */
#include "evaluate.h"

#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "divergence.h"
#include "image_blocks.h"
#include "output_mean.h"
#include "output_set.h"
#include "plan.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reference.h"

typedef struct runner {
  const reap_graph *graph;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_evaluate_options *options;
  reap_reference *kept;
  reap_plan *plan;
  float **storage; /* [n_values] */
  reap_output_set outputs;
  float *rows;                  /* outputs of a block, row-major in ONNX's order */
  float *listed;                /* with a file: one output of a block */
  int64_t *labels;              /* [block] */
  double *losses;               /* [blocks] */
  reap_divergence *divergences; /* [blocks][outputs] */
  int64_t hits[4];              /* top-1, top-5; of images: lost and gained against another network */
  int judged;                   /* output that the labels belong to; -1: none */
  double forward;
} runner;

void reap_evaluation_clear(reap_evaluation *e) {
  reap_free(&e->outputs);
  e->n_outputs = 0;
}

int reap_evaluate_create_file(const reap_comm *comm, const reap_graph *graph, const char *path, int64_t images,
                              reap_outputs_file **out) {
  reap_outputs_shape *shapes = NULL;
  int status = reap_comm_agree(comm, reap_alloc(&shapes, graph->n_outputs, sizeof *shapes));
  for (int k = 0; status == REAP_OK && k < graph->n_outputs; k++) {
    const reap_value *y = &graph->values[graph->outputs[k]];
    shapes[k] = (reap_outputs_shape){graph->n_outputs > 1 ? y->name : NULL, y->rank - 1, y->dims + 1};
  }
  if (status == REAP_OK) status = reap_outputs_file_create(comm, path, images, graph->n_outputs, shapes, out);
  reap_free(&shapes);
  return status;
}

static void clear(runner *r) {
  reap_plan_destroy(&r->plan);
  for (int v = 0; r->storage && v < r->graph->n_values; v++) reap_free(&r->storage[v]);
  reap_free(&r->storage);
  reap_output_set_clear(&r->outputs);
  reap_free(&r->rows);
  reap_free(&r->listed);
  reap_free(&r->labels);
  reap_free(&r->losses);
  reap_free(&r->divergences);
  reap_reference_destroy(&r->kept);
}

static int allocate_value(runner *r, int v) {
  return r->storage[v] ? REAP_OK : reap_alloc(&r->storage[v], reap_value_count(&r->graph->values[v]), sizeof(float));
}

static int set_up_reference(runner *r) {
  if (r->options->against) REAP_TRY(reap_reference_check(r->options->against, &r->outputs, r->shard));
  if (!r->options->keep) return REAP_OK;
  REAP_TRY(reap_reference_create(r->shard, r->outputs.n, r->outputs.size, &r->kept));
  reap_reference_describe(&r->outputs, r->kept);
  return REAP_OK;
}

/* Room for one output at a time, whichever the network lists. */
static int allocate_listed(runner *r) {
  int64_t most = 0;
  for (int i = 0; r->options->outputs && i < r->graph->n_outputs; i++) {
    const int64_t count = reap_value_count(&r->graph->values[r->graph->outputs[i]]);
    if (most < count) most = count;
  }
  return reap_alloc(&r->listed, most, sizeof *r->listed);
}

static int set_up(runner *r, reap_backend backend) {
  const reap_graph *graph = r->graph;
  int *nodes = NULL, status = REAP_OK;
  bool *kept = NULL;
  REAP_TRY(reap_calloc(&r->storage, graph->n_values, sizeof *r->storage));
  REAP_TRY(reap_alloc(&r->rows, graph->batch * r->outputs.size, sizeof *r->rows));
  REAP_TRY(allocate_listed(r));
  REAP_TRY(reap_calloc(&r->losses, r->shard->blocks, sizeof *r->losses));
  REAP_TRY(reap_calloc(&r->divergences, r->shard->blocks * r->outputs.n, sizeof *r->divergences));
  REAP_TRY(set_up_reference(r));
  for (int i = 0; i < graph->n_inputs; i++) REAP_TRY(allocate_value(r, graph->inputs[i]));
  for (int i = 0; i < graph->n_outputs; i++) REAP_TRY(allocate_value(r, graph->outputs[i]));
  REAP_TRY_OR(reap_alloc(&nodes, graph->n_nodes, sizeof *nodes), done);
  REAP_TRY_OR(reap_calloc(&kept, graph->n_values, sizeof *kept), done);
  for (int i = 0; i < graph->n_nodes; i++) nodes[i] = i;
  for (int i = 0; i < graph->n_outputs; i++) kept[graph->outputs[i]] = true;
  status = reap_plan_create(graph, nodes, graph->n_nodes, kept, backend, &r->plan);
done:
  reap_free(&nodes);
  reap_free(&kept);
  return status;
}

/* -log of the probability of class `label`. */
static double cross_entropy(reap_output_kind kind, const float *z, int64_t classes, int64_t label) {
  if (kind == REAP_OUTPUT_LOG_PROBABILITIES) return -(double)z[label];
  if (kind == REAP_OUTPUT_PROBABILITIES) return -log(z[label] > 0 ? (double)z[label] : 1e-38);
  double largest = -INFINITY, sum = 0;
  for (int64_t k = 0; k < classes; k++)
    if ((double)z[k] > largest) largest = (double)z[k];
  for (int64_t k = 0; k < classes; k++) sum += exp((double)z[k] - largest);
  return log(sum) + largest - (double)z[label];
}

/* Classes ahead of the right one. */
static int64_t ahead(const float *z, int64_t classes, int64_t label) {
  int64_t count = 0;
  for (int64_t k = 0; k < classes; k++) count += z[k] > z[label] || (z[k] == z[label] && k < label);
  return count;
}

static int score(runner *r, int64_t block, int64_t first, int64_t count) {
  const reap_output *o = &r->outputs.list[r->judged];
  const int64_t classes = o->size;
  const float *rows = r->rows + r->graph->batch * o->first;
  const reap_reference *against = r->options->against;
  const float *others = against ? against->rows + (first - r->shard->first * r->shard->block) * r->outputs.size : NULL;
  REAP_TRY(reap_dataset_read_labels(r->images, first, count, r->labels));
  for (int64_t i = 0; i < count; i++) {
    const float *z = rows + i * classes;
    const int64_t label = r->labels[i];
    if (label < 0 || label >= classes)
      return reap_error(REAP_ERR_INPUT, "%s: image %lld has label %lld; the network has %lld classes",
                        reap_dataset_path(r->images), (long long)(first + i), (long long)label, (long long)classes);
    const int64_t place = ahead(z, classes, label);
    const bool right = place < 1, was = others && ahead(others + count * o->first + i * classes, classes, label) < 1;
    r->hits[0] += right;
    r->hits[1] += place < 5;
    r->hits[2] += was && !right;
    r->hits[3] += others && right && !was;
    r->losses[block] += cross_entropy(o->kind, z, classes, label);
  }
  return REAP_OK;
}

/* Names the output where there are several. */
static int check_finite(const runner *r, const reap_output *o, int64_t first, int64_t count, const float *rows) {
  for (int64_t i = 0; i < count * o->size; i++) {
    if (isfinite(rows[i])) continue;
    const int64_t image = first + i / o->size;
    if (r->outputs.n == 1)
      return reap_error(REAP_ERR_NUMERIC, "the network's output for image %lld of %s is not finite", (long long)image,
                        reap_dataset_path(r->images));
    return reap_error(REAP_ERR_NUMERIC, "the network's output \"%s\" for image %lld of %s is not finite", o->name,
                      (long long)image, reap_dataset_path(r->images));
  }
  return REAP_OK;
}

/* Keeps a block's outputs, compares them with those kept of another network. */
static void relate(runner *r, int64_t block, int64_t first, int64_t count) {
  const reap_reference *against = r->options->against;
  const int64_t at = (first - r->shard->first * r->shard->block) * r->outputs.size;
  for (int k = 0; k < r->outputs.n; k++) {
    const reap_output *o = &r->outputs.list[k];
    const float *rows = r->rows + r->graph->batch * o->first;
    const int64_t place = at + count * o->first;
    if (r->kept) memcpy(r->kept->rows + place, rows, (size_t)(count * o->size) * sizeof *rows);
    if (against)
      reap_divergence_add(against->kinds[k], against->rows + place, o->kind, rows, count, o->size,
                          &r->divergences[block * r->outputs.n + k]);
  }
}

/* All that the network lists, an output that is its own input included. */
static int store(runner *r, int64_t first, int64_t count) {
  for (int i = 0; r->options->outputs && i < r->graph->n_outputs; i++) {
    const int v = r->graph->outputs[i];
    reap_storage_to_rows(&r->graph->values[v], r->storage[v], r->listed);
    REAP_TRY(reap_outputs_file_write(r->options->outputs, i, first, count, r->listed));
  }
  return REAP_OK;
}

static int read_images(runner *r, int64_t first, int64_t count) {
  for (int k = 0; k < r->graph->n_inputs; k++) {
    const int64_t image = reap_images_size(r->graph, k);
    float *input = r->storage[r->graph->inputs[k]];
    REAP_TRY(reap_images_read(r->graph, k, r->images, first, count, input));
    for (int64_t i = count; i < r->shard->block; i++)
      memcpy(input + i * image, input + (count - 1) * image, (size_t)image * sizeof *input);
  }
  return REAP_OK;
}

static int run_block(runner *r, int64_t block) {
  int64_t first, count;
  reap_shard_block(r->shard, block, &first, &count);
  REAP_TRY(read_images(r, first, count));
  double start = reap_seconds();
  REAP_TRY(reap_plan_run(r->plan, r->storage));
  r->forward += reap_seconds() - start;
  for (int k = 0; k < r->outputs.n; k++) {
    const reap_output *o = &r->outputs.list[k];
    float *rows = r->rows + r->graph->batch * o->first;
    reap_storage_to_rows(&r->graph->values[o->value], r->storage[o->value], rows);
    REAP_TRY(check_finite(r, o, first, count, rows));
  }
  REAP_TRY(store(r, first, count));
  relate(r, block, first, count);
  return r->judged >= 0 ? score(r, block, first, count) : REAP_OK;
}

/* ------------------------------------------------------------------ which output the labels belong to */

/* This rank's largest label; -1 without images. */
static int largest_label(runner *r, double *largest) {
  *largest = -1;
  for (int64_t b = r->shard->first; b < r->shard->last; b++) {
    int64_t first, count;
    reap_shard_block(r->shard, b, &first, &count);
    REAP_TRY(reap_dataset_read_labels(r->images, first, count, r->labels));
    for (int64_t i = 0; i < count; i++) *largest = fmax(*largest, (double)r->labels[i]);
  }
  return REAP_OK;
}

/* The first scores with just as many classes, or else the first with more of them, or -1. */
static int fitting(const reap_output_set *outputs, double classes) {
  int found = -1;
  for (int k = outputs->n - 1; k >= 0; k--)
    if (outputs->list[k].kind != REAP_OUTPUT_OTHER && (double)outputs->list[k].size > classes) found = k;
  for (int k = outputs->n - 1; k >= 0; k--)
    if (outputs->list[k].kind != REAP_OUTPUT_OTHER && (double)outputs->list[k].size == classes) found = k;
  return found;
}

/* A single output's labels have to fit; of several outputs one is looked for that they fit. Collective. */
static int find_judged(const reap_comm *comm, runner *r) {
  double largest = -1;
  r->judged = -1;
  if (!reap_dataset_has_labels(r->images)) return REAP_OK;
  if (r->outputs.n == 1) {
    r->judged = r->outputs.list[0].kind == REAP_OUTPUT_OTHER ? -1 : 0;
    return REAP_OK;
  }
  REAP_TRY(reap_comm_agree(comm, largest_label(r, &largest)));
  REAP_TRY(reap_comm_max(comm, &largest, 1));
  r->judged = fitting(&r->outputs, largest + 1);
  return REAP_OK;
}

/* ------------------------------------------------------------------ figures */

/* `values[n]` that are not NaN, by the measure; NaN if all are. */
static double combine_known(reap_measure measure, int n, const double *values) {
  double all = NAN;
  for (int k = 0; k < n; k++) {
    const double both[] = {all, values[k]};
    if (!isnan(values[k])) all = isnan(all) ? values[k] : reap_measure_combine(measure, 2, both);
  }
  return all;
}

/* Of the outputs kept, for comparisons of several. Collective. */
static int find_means(const reap_comm *comm, const runner *r) {
  if (!r->kept || r->outputs.n == 1) return REAP_OK;
  const reap_output_rows rows = {r->outputs.n, r->kept->kinds, r->kept->sizes, r->kept->rows};
  return reap_output_means(comm, r->shard, &rows, 1, r->kept->of_means);
}

/* Sums of all blocks, into those of the first one, and what they come to. */
static int combine_divergences(const runner *r, reap_evaluation *out) {
  const int n = r->outputs.n;
  const reap_measure measure = r->options->measure;
  const double images = (double)out->images;
  double *values = NULL;
  REAP_TRY(reap_calloc(&out->outputs, n, sizeof *out->outputs));
  REAP_TRY(reap_alloc(&values, 2 * n, sizeof *values));
  for (int64_t b = 1; b < r->shard->blocks; b++)
    for (int k = 0; k < n; k++) reap_divergence_add_sums(&r->divergences[b * n + k], &r->divergences[k]);
  for (int k = 0; k < n; k++) {
    const reap_divergence *d = &r->divergences[k];
    const reap_output *o = &r->outputs.list[k];
    out->outputs[k] = (reap_output_figure){o->name, isnan(d->kl) ? REAP_OUTPUT_OTHER : o->kind, d->kl / images,
                                           reap_divergence_relative_error(d),
                                           reap_divergence_share(d, r->options->against->of_means[k])};
    values[k] = out->outputs[k].kl;
    values[n + k] = out->outputs[k].output_error;
  }
  out->n_outputs = n;
  out->compared = true;
  out->kl = combine_known(measure, n, values);
  out->output_error = combine_known(measure, n, values + n);
  out->moved = reap_measure_moved(measure, n, r->divergences, r->options->against->of_means, out->images);
  reap_free(&values);
  return REAP_OK;
}

static int combine(const reap_comm *comm, runner *r, double seconds, reap_evaluation *out) {
  double slowest[2] = {seconds, r->forward};
  REAP_TRY(reap_comm_max(comm, slowest, 2));
  REAP_TRY(reap_comm_sum_int64(comm, r->hits, 4));
  REAP_TRY(reap_comm_sum(comm, r->losses, r->shard->blocks)); /* each slot has one owner: exact */
  REAP_TRY(reap_comm_sum(comm, &r->divergences[0].kl,
                         r->shard->blocks * r->outputs.n * (int64_t)(sizeof *r->divergences / sizeof(double))));
  out->images = r->shard->images;
  out->seconds = slowest[0];
  out->seconds_forward = slowest[1];
  if (r->options->against) REAP_TRY(reap_comm_agree(comm, combine_divergences(r, out)));
  out->classified = r->judged >= 0;
  if (!out->classified) return REAP_OK;
  out->classes = r->outputs.list[r->judged].size;
  if (r->outputs.n > 1) out->judged = r->outputs.list[r->judged].name;
  double loss = 0;
  for (int64_t b = 0; b < r->shard->blocks; b++) loss += r->losses[b];
  out->top1 = (double)r->hits[0] / (double)out->images;
  out->top5 = (double)r->hits[1] / (double)out->images;
  out->lost = r->hits[2];
  out->gained = r->hits[3];
  out->loss = loss / (double)out->images;
  return REAP_OK;
}

/* Local. What is needed before the labels can be compared. */
static int begin(runner *r) {
  REAP_TRY(reap_output_set_create(r->graph, &r->outputs));
  return reap_alloc(&r->labels, r->shard->block, sizeof *r->labels);
}

int reap_evaluate_with(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                       const reap_evaluate_options *options, reap_evaluation *out) {
  runner r = {.graph = graph, .images = images, .shard = shard, .options = options};
  double start = reap_seconds();
  *out = (reap_evaluation){.kl = NAN, .output_error = NAN, .moved = NAN};
  int status = reap_comm_agree(comm, begin(&r));
  if (status == REAP_OK) status = find_judged(comm, &r);
  if (status == REAP_OK) {
    reap_progress_report(options->progress, "evaluate", options->label, 0, (double)(shard->last - shard->first), NULL);
    status = set_up(&r, options->backend);
    for (int64_t b = shard->first; status == REAP_OK && b < shard->last; b++) {
      status = run_block(&r, b);
      reap_progress_report(options->progress, "evaluate", options->label, (double)(b + 1 - shard->first),
                           (double)(shard->last - shard->first), NULL);
    }
    double seconds = reap_seconds() - start;
    status = reap_comm_agree(comm, status);
    if (status == REAP_OK) status = combine(comm, &r, seconds, out);
    if (status == REAP_OK) status = find_means(comm, &r);
  }
  if (status == REAP_OK && options->keep) {
    *options->keep = r.kept;
    r.kept = NULL;
  }
  if (status != REAP_OK) reap_evaluation_clear(out);
  clear(&r);
  return status;
}
