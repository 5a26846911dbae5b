/* Forward pass over a shard, block by block, with accuracy, loss and distance to another network; see evaluate.h.
 *
 * Ties: a class counts as ahead of the right one if its output is larger, or equal with a lower index, as in most
 * frameworks. Each block's sums have slots of their own, summed in order, so that they do not depend on the ranks.
 */
#include "reap/evaluate.h"

#include <math.h>
#include <string.h>

#include "reap/divergence.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/plan.h"
#include "reap/timer.h"

struct reap_reference {
  int64_t images, first, size; /* images of all ranks, this rank's first block, outputs of an image */
  reap_output_kind kind;
  float *rows;                 /* of this rank's images, one after the other */
};

typedef struct runner {
  const reap_graph *graph;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_evaluate_options *options;
  reap_reference *kept;
  reap_plan *plan;
  float **storage; /* [n_values] */
  float *rows;     /* first output, row-major in ONNX's order */
  int64_t *labels; /* [block] */
  double *losses;  /* [blocks] */
  reap_divergence *divergences; /* [blocks] */
  int64_t hits[2]; /* top-1, top-5 */
  reap_output_kind kind;
  bool classified;
  double forward;
} runner;

void reap_reference_destroy(reap_reference **reference) {
  if (!*reference) return;
  reap_free(&(*reference)->rows);
  reap_free(reference);
}

static const reap_value *output_of(const reap_graph *graph) { return &graph->values[graph->outputs[0]]; }

void reap_evaluate_output_shape(const reap_graph *graph, int *rank, int64_t *dims) {
  const reap_value *y = output_of(graph);
  *rank = y->rank - 1;
  for (int i = 1; i < y->rank; i++) dims[i - 1] = y->dims[i];
}

static void clear(runner *r) {
  reap_plan_destroy(&r->plan);
  for (int v = 0; r->storage && v < r->graph->n_values; v++) reap_free(&r->storage[v]);
  reap_free(&r->storage);
  reap_free(&r->rows);
  reap_free(&r->labels);
  reap_free(&r->losses);
  reap_free(&r->divergences);
  reap_reference_destroy(&r->kept);
}

static int allocate_value(runner *r, int v) {
  return r->storage[v] ? REAP_OK : reap_alloc(&r->storage[v], reap_value_count(&r->graph->values[v]), sizeof(float));
}

/* Outputs of one image. */
static int64_t output_size(const runner *r) { return reap_value_count(output_of(r->graph)) / r->graph->batch; }

/* Images of this rank. */
static int64_t local_images(const reap_shard *shard) {
  const int64_t begin = shard->first * shard->block, end = shard->last * shard->block;
  return (end < shard->images ? end : shard->images) - (begin < shard->images ? begin : shard->images);
}

/* Every block goes to everybody: outputs are small beside images. */
static int redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to, const reap_reference *old, float *buffer,
                  reap_reference *fresh) {
  const int ranks = reap_comm_size(comm);
  for (int root = 0; root < ranks; root++) {
    const reap_shard owner = reap_shard_make(from->images, from->block, root, ranks);
    for (int64_t b = owner.first; b < owner.last; b++) {
      int64_t first, count;
      reap_shard_block(&owner, b, &first, &count);
      const size_t bytes = (size_t)(count * old->size) * sizeof *buffer;
      if (root == reap_comm_rank(comm)) memcpy(buffer, old->rows + (first - from->first * from->block) * old->size, bytes);
      REAP_TRY(reap_comm_broadcast(comm, buffer, bytes, root));
      if (b >= to->first && b < to->last) memcpy(fresh->rows + (first - to->first * to->block) * old->size, buffer, bytes);
    }
  }
  return REAP_OK;
}

int reap_reference_redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to, reap_reference **reference) {
  reap_reference *old = *reference, *fresh = NULL;
  float *buffer = NULL;
  int64_t count = 0;
  int status = reap_calloc(&fresh, 1, sizeof *fresh);
  if (status == REAP_OK) {
    *fresh = (reap_reference){old->images, to->first, old->size, old->kind, NULL};
    status = reap_multiply(local_images(to), old->size, &count);
  }
  if (status == REAP_OK) status = reap_alloc(&fresh->rows, count, sizeof *fresh->rows);
  if (status == REAP_OK) status = reap_alloc(&buffer, from->block * old->size, sizeof *buffer);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = redeal(comm, from, to, old, buffer, fresh);
  reap_free(&buffer);
  reap_reference_destroy(status == REAP_OK ? reference : &fresh);
  if (status == REAP_OK) *reference = fresh;
  return status;
}

static int set_up_reference(runner *r) {
  const reap_reference *against = r->options->against;
  int64_t count = 0;
  if (against && (against->size != output_size(r) || against->images != r->shard->images || against->first != r->shard->first))
    return reap_error(REAP_ERR_INPUT, "outputs cannot be compared: the networks have %lld and %lld for an image",
                      (long long)against->size, (long long)output_size(r));
  if (!r->options->keep) return REAP_OK;
  REAP_TRY(reap_calloc(&r->kept, 1, sizeof *r->kept));
  *r->kept = (reap_reference){r->shard->images, r->shard->first, output_size(r), r->kind, NULL};
  REAP_TRY(reap_multiply(local_images(r->shard), output_size(r), &count));
  return reap_alloc(&r->kept->rows, count, sizeof *r->kept->rows);
}

static int set_up(runner *r, reap_backend backend) {
  const reap_graph *graph = r->graph;
  int *nodes = NULL, status = REAP_OK;
  bool *kept = NULL;
  REAP_TRY(reap_calloc(&r->storage, graph->n_values, sizeof *r->storage));
  REAP_TRY(reap_alloc(&r->rows, reap_value_count(output_of(graph)), sizeof *r->rows));
  REAP_TRY(reap_alloc(&r->labels, r->shard->block, sizeof *r->labels));
  REAP_TRY(reap_calloc(&r->losses, r->shard->blocks, sizeof *r->losses));
  REAP_TRY(reap_calloc(&r->divergences, r->shard->blocks, sizeof *r->divergences));
  REAP_TRY(set_up_reference(r));
  REAP_TRY(allocate_value(r, graph->inputs[0]));
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

static int score(runner *r, int64_t block, int64_t first, int64_t count) {
  const int64_t classes = output_of(r->graph)->dims[1];
  REAP_TRY(reap_dataset_read_labels(r->images, first, count, r->labels));
  for (int64_t i = 0; i < count; i++) {
    const float *z = r->rows + i * classes;
    const int64_t label = r->labels[i];
    if (label < 0 || label >= classes)
      return reap_error(REAP_ERR_INPUT, "%s: image %lld has label %lld; the network has %lld classes",
                        reap_dataset_path(r->images), (long long)(first + i), (long long)label, (long long)classes);
    int64_t ahead = 0;
    for (int64_t k = 0; k < classes; k++) ahead += z[k] > z[label] || (z[k] == z[label] && k < label);
    r->hits[0] += ahead < 1;
    r->hits[1] += ahead < 5;
    r->losses[block] += cross_entropy(r->kind, z, classes, label);
  }
  return REAP_OK;
}

static int check_finite(const runner *r, int64_t first, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count * size; i++)
    if (!isfinite(r->rows[i]))
      return reap_error(REAP_ERR_NUMERIC, "the network's output for image %lld of %s is not finite",
                        (long long)(first + i / size), reap_dataset_path(r->images));
  return REAP_OK;
}

/* Keeps a block's outputs, compares them with those kept of another network. */
static void relate(runner *r, int64_t block, int64_t first, int64_t count) {
  const reap_reference *against = r->options->against;
  const int64_t size = output_size(r), at = (first - r->shard->first * r->shard->block) * size;
  if (r->kept) memcpy(r->kept->rows + at, r->rows, (size_t)(count * size) * sizeof *r->rows);
  if (against)
    reap_divergence_add(against->kind, against->rows + at, r->kind, r->rows, count, size, &r->divergences[block]);
}

static int run_block(runner *r, int64_t block) {
  const reap_value *x = &r->graph->values[r->graph->inputs[0]], *y = output_of(r->graph);
  const int64_t image = reap_value_count(x) / r->graph->batch;
  float *input = r->storage[r->graph->inputs[0]];
  int64_t first, count;
  reap_shard_block(r->shard, block, &first, &count);
  REAP_TRY(reap_dataset_read(r->images, first, count, input));
  for (int64_t i = count; i < r->shard->block; i++)
    memcpy(input + i * image, input + (count - 1) * image, (size_t)image * sizeof *input);
  double start = reap_seconds();
  REAP_TRY(reap_plan_run(r->plan, r->storage));
  r->forward += reap_seconds() - start;
  reap_storage_to_rows(y, r->storage[r->graph->outputs[0]], r->rows);
  REAP_TRY(check_finite(r, first, count, output_size(r)));
  if (r->options->outputs) REAP_TRY(reap_outputs_file_write(r->options->outputs, 0, first, count, r->rows));
  relate(r, block, first, count);
  return r->classified ? score(r, block, first, count) : REAP_OK;
}

static void combine_divergences(const runner *r, reap_evaluation *out) {
  reap_divergence all = {0, 0, 0};
  for (int64_t b = 0; b < r->shard->blocks; b++) {
    all.kl += r->divergences[b].kl;
    all.error += r->divergences[b].error;
    all.energy += r->divergences[b].energy;
  }
  out->compared = true;
  out->kl = all.kl / (double)out->images;
  out->output_error = reap_divergence_relative_error(&all);
}

static int combine(const reap_comm *comm, runner *r, double seconds, reap_evaluation *out) {
  double slowest[2] = {seconds, r->forward};
  REAP_TRY(reap_comm_max(comm, slowest, 2));
  REAP_TRY(reap_comm_sum_int64(comm, r->hits, 2));
  REAP_TRY(reap_comm_sum(comm, r->losses, r->shard->blocks)); /* each slot has one owner: exact */
  REAP_TRY(reap_comm_sum(comm, &r->divergences[0].kl, r->shard->blocks * (int64_t)(sizeof *r->divergences / sizeof(double))));
  *out = (reap_evaluation){.images = r->shard->images, .classified = r->classified, .kl = NAN, .output_error = NAN,
                           .seconds = slowest[0], .seconds_forward = slowest[1]};
  if (r->options->against) combine_divergences(r, out);
  if (!r->classified) return REAP_OK;
  double loss = 0;
  for (int64_t b = 0; b < r->shard->blocks; b++) loss += r->losses[b];
  out->top1 = (double)r->hits[0] / (double)out->images;
  out->top5 = (double)r->hits[1] / (double)out->images;
  out->loss = loss / (double)out->images;
  return REAP_OK;
}

int reap_evaluate_with(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                       const reap_evaluate_options *options, reap_evaluation *out) {
  runner r = {.graph = graph, .images = images, .shard = shard, .options = options};
  double start = reap_seconds();
  r.kind = reap_output_kind_of(graph);
  r.classified = r.kind != REAP_OUTPUT_OTHER && reap_dataset_has_labels(images);
  int status = set_up(&r, options->backend);
  for (int64_t b = shard->first; status == REAP_OK && b < shard->last; b++) {
    status = run_block(&r, b);
    reap_progress_report(options->progress, "evaluate", options->label, (double)(b + 1 - shard->first),
                         (double)(shard->last - shard->first), NULL);
  }
  double seconds = reap_seconds() - start;
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = combine(comm, &r, seconds, out);
  if (status == REAP_OK && options->keep) {
    *options->keep = r.kept;
    r.kept = NULL;
  }
  clear(&r);
  return status;
}
