/* Forward pass over a shard, block by block, with accuracy and loss; see evaluate.h.
 *
 * Ties: a class counts as ahead of the right one if its output is larger, or equal with a lower index, as in most
 * frameworks. Each block's loss has a slot of its own, summed in order, so that the sum does not depend on the ranks.
 */
#include "reap/evaluate.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "reap/operators.h"
#include "reap/plan.h"
#include "reap/timer.h"

typedef enum output_kind { OUTPUT_LOGITS, OUTPUT_PROBABILITIES, OUTPUT_LOG_PROBABILITIES } output_kind;

typedef struct runner {
  const reap_graph *graph;
  reap_dataset *images;
  const reap_shard *shard;
  reap_outputs_file *outputs;
  reap_plan *plan;
  float **storage; /* [n_values] */
  float *rows;     /* first output, row-major in ONNX's order */
  int64_t *labels; /* [block] */
  double *losses;  /* [blocks] */
  int64_t hits[2]; /* top-1, top-5 */
  output_kind kind;
  bool classified;
  double forward;
} runner;

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
}

static int allocate_value(runner *r, int v) {
  return r->storage[v] ? REAP_OK : reap_alloc(&r->storage[v], reap_value_count(&r->graph->values[v]), sizeof(float));
}

static int set_up(runner *r, reap_backend backend) {
  const reap_graph *graph = r->graph;
  int *nodes = NULL, status = REAP_OK;
  bool *kept = NULL;
  REAP_TRY(reap_calloc(&r->storage, graph->n_values, sizeof *r->storage));
  REAP_TRY(reap_alloc(&r->rows, reap_value_count(output_of(graph)), sizeof *r->rows));
  REAP_TRY(reap_alloc(&r->labels, r->shard->block, sizeof *r->labels));
  REAP_TRY(reap_calloc(&r->losses, r->shard->blocks, sizeof *r->losses));
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

static void describe_output(runner *r) {
  const reap_value *y = output_of(r->graph);
  const char *op = y->producer >= 0 ? r->graph->nodes[y->producer]->op->name : "";
  r->kind = strcmp(op, "Softmax") == 0      ? OUTPUT_PROBABILITIES
            : strcmp(op, "LogSoftmax") == 0 ? OUTPUT_LOG_PROBABILITIES
                                            : OUTPUT_LOGITS;
  r->classified = y->rank == 2 && y->dims[1] > 1 && reap_dataset_has_labels(r->images);
}

/* -log of the probability of class `label`. */
static double cross_entropy(output_kind kind, const float *z, int64_t classes, int64_t label) {
  if (kind == OUTPUT_LOG_PROBABILITIES) return -(double)z[label];
  if (kind == OUTPUT_PROBABILITIES) return -log(z[label] > 0 ? (double)z[label] : 1e-38);
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

static int run_block(runner *r, int64_t block) {
  const reap_value *x = &r->graph->values[r->graph->inputs[0]], *y = output_of(r->graph);
  const int64_t image = reap_value_count(x) / r->graph->batch, size = reap_value_count(y) / r->graph->batch;
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
  REAP_TRY(check_finite(r, first, count, size));
  if (r->outputs) REAP_TRY(reap_outputs_file_write(r->outputs, first, count, r->rows));
  return r->classified ? score(r, block, first, count) : REAP_OK;
}

static int combine(const reap_comm *comm, runner *r, double seconds, reap_evaluation *out) {
  double slowest[2] = {seconds, r->forward};
  REAP_TRY(reap_comm_max(comm, slowest, 2));
  REAP_TRY(reap_comm_sum_int64(comm, r->hits, 2));
  REAP_TRY(reap_comm_sum(comm, r->losses, r->shard->blocks)); /* each slot has one owner: exact */
  *out = (reap_evaluation){.images = r->shard->images, .classified = r->classified, .seconds = slowest[0],
                           .seconds_forward = slowest[1]};
  if (!r->classified) return REAP_OK;
  double loss = 0;
  for (int64_t b = 0; b < r->shard->blocks; b++) loss += r->losses[b];
  out->top1 = (double)r->hits[0] / (double)out->images;
  out->top5 = (double)r->hits[1] / (double)out->images;
  out->loss = loss / (double)out->images;
  return REAP_OK;
}

int reap_evaluate(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                  reap_backend backend, reap_outputs_file *outputs, const reap_progress *progress, const char *label,
                  reap_evaluation *out) {
  runner r = {.graph = graph, .images = images, .shard = shard, .outputs = outputs};
  double start = reap_seconds();
  describe_output(&r);
  int status = set_up(&r, backend);
  for (int64_t b = shard->first; status == REAP_OK && b < shard->last; b++) {
    status = run_block(&r, b);
    reap_progress_report(progress, "evaluate", label, (double)(b + 1 - shard->first), (double)(shard->last - shard->first), NULL);
  }
  double seconds = reap_seconds() - start;
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = combine(comm, &r, seconds, out);
  clear(&r);
  return status;
}
