/* Passes over the images for a layer and its producer; see producer_pass.h.
 *
 * A block goes through producer, Relu and consumer by one plan. Backwards: the residual times the consumer's weights
 * gives rows of patches, which are added up where they overlap (the transpose of im2col); the Relu's derivative is 1
 * where its output is positive.
 *
 * Cost of a pass for an image: both layers' multiply-adds twice (energies are looked at first, accumulator.h), the
 * consumer's once more on the way back, and the moments. Memory: a block of inputs, outputs and of what goes back.
 * Images held out take part in nothing. Sums do not depend on the number of ranks: those of the accumulator, and
 * counts, which are whole numbers.
 */
#include "producer_pass.h"

#include <string.h>

#include "base/timer.h"
#include "exec/kernels/im2col.h"
#include "linalg/dense.h"
#include "model/groups/surgery.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ which layers */

/* Value behind which nothing but node `reader` follows. */
static bool only_for(const reap_graph *graph, int value, int reader) {
  return graph->values[value].n_readers == 1 && graph->values[value].reader == reader;
}

/* From the consumer backwards: the Relu or -1, and whether the producer is reached. */
static bool reaches(const reap_graph *graph, int producer, int consumer, int *activation) {
  const int input = graph->nodes[consumer]->inputs[0], before = graph->values[input].producer;
  *activation = -1;
  if (before < 0 || !only_for(graph, input, consumer)) return false;
  if (before == producer) return true;
  if (!reap_operator_rectifies(graph->nodes[before]->op)) return false;
  *activation = before;
  const int value = graph->nodes[before]->inputs[0];
  return graph->values[value].producer == producer && only_for(graph, value, before);
}

/* The way back takes rows for stored one behind the other. */
static bool rows_have_gaps(const reap_graph *graph, const reap_node *node) {
  const int axis = reap_linear_axis(graph, node);
  const reap_row_layout x = reap_row_layout_of(reap_node_input(graph, node, 0), axis, graph->batch),
                        y = reap_row_layout_of(reap_node_output(graph, node, 0), axis, graph->batch);
  return reap_rows_have_gaps(&x) || reap_rows_have_gaps(&y);
}

int reap_producer_pass_find(const reap_graph *graph, const reap_groups *groups, int group, const reap_frontier *front) {
  int activation;
  if (group < 0) return -1;
  const reap_group *g = reap_groups_at(groups, group);
  const int producer = reap_group_producer(g), consumer = reap_group_consumer(g);
  if (producer < 0 || consumer < 0) return -1;
  if (!reap_repair_possible(graph, producer) || !reap_repair_possible(graph, consumer)) return -1;
  if (!reaches(graph, producer, consumer, &activation)) return -1;
  if (rows_have_gaps(graph, graph->nodes[producer]) || rows_have_gaps(graph, graph->nodes[consumer])) return -1;
  if (reap_is_convolution(graph->nodes[producer]) != reap_is_convolution(graph->nodes[consumer])) return -1;
  return front && reap_frontier_done(front, producer) ? -1 : producer;
}

/* ------------------------------------------------------------------ set up */

static int64_t patch_columns(const producer_pass *p) { return p->consumer.n; }

static int allocate(producer_pass *p) {
  const reap_graph *graph = p->run->pruned;
  const int64_t middle = reap_value_count(&graph->values[p->consumer.input]);
  REAP_TRY(reap_calloc(&p->storage, graph->n_values, sizeof *p->storage));
  REAP_TRY(reap_alloc(&p->middle, middle, sizeof *p->middle));
  REAP_TRY(reap_alloc(&p->back, middle, sizeof *p->back));
  REAP_TRY(reap_alloc(&p->output, reap_value_count(&graph->values[p->consumer.output]), sizeof *p->output));
  REAP_TRY(reap_alloc(&p->rows_back, p->consumer.positions * patch_columns(p), sizeof *p->rows_back));
  return reap_alloc(&p->weights, patch_columns(p) * p->consumer.m, sizeof *p->weights);
}

int reap_producer_pass_create(const run *r, const step *s, producer_pass *p) {
  const reap_group *group = reap_groups_at(r->groups, s->group);
  const int producer = s->producer, consumer = s->node;
  memset(p, 0, sizeof *p);
  p->run = r;
  p->step = s;
  p->names[0] = r->pruned->nodes[producer]->layer;
  p->names[1] = r->pruned->nodes[consumer]->layer;
  p->stride = producer_stride(r->shard->images);
  if (!reaches(r->pruned, producer, consumer, &p->activation))
    return reap_error(REAP_ERR_INTERNAL, "%s does not produce the inputs of %s", p->names[0], p->names[1]);
  REAP_TRY(reap_layer_view(r->pruned, producer, reap_repair_channels(r->pruned, producer), &p->producer));
  REAP_TRY(reap_layer_view(r->pruned, consumer, group->units, &p->consumer));
  return allocate(p);
}

void reap_producer_pass_clear(producer_pass *p) {
  reap_plan_destroy(&p->plan);
  reap_free(&p->storage);
  reap_free(&p->middle);
  reap_free(&p->output);
  reap_free(&p->back);
  reap_free(&p->rows_back);
  reap_free(&p->weights);
}

/* The consumer's weights, taps first, for the way back. */
static int order_weights(producer_pass *p) {
  const reap_layer *l = &p->consumer;
  double *weights = NULL, *bias = NULL;
  int status = reap_alloc(&weights, l->n * l->m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, l->m, sizeof *bias);
  if (status == REAP_OK) {
    reap_surgery_get_weights(p->run->pruned, l->node, weights, bias);
    for (int64_t c = 0; c < l->channels; c++)
      for (int64_t t = 0; t < l->block; t++)
        for (int64_t j = 0; j < l->m; j++)
          p->weights[(t * l->channels + c) * l->m + j] = (float)weights[(c * l->block + t) * l->m + j];
  }
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

int reap_producer_pass_renew(producer_pass *p) {
  const reap_graph *graph = p->run->pruned;
  const int all[] = {p->producer.node, p->activation, p->consumer.node}, two[] = {p->producer.node, p->consumer.node};
  bool *kept = NULL;
  reap_plan_destroy(&p->plan);
  REAP_TRY(reap_calloc(&kept, graph->n_values, sizeof *kept));
  kept[p->consumer.input] = kept[p->consumer.output] = true;
  const int status = reap_plan_create(graph, p->activation >= 0 ? all : two, p->activation >= 0 ? 3 : 2, kept,
                                      p->run->options->backend, &p->plan);
  reap_free(&kept);
  return status == REAP_OK ? order_weights(p) : status;
}

/* ------------------------------------------------------------------ one block */

/* The producer's inputs, and what becomes of them in p->middle and p->output. */
static int forward(producer_pass *p, int64_t b, const float **x) {
  REAP_TRY(reap_frontier_read(p->step->before, p->producer.input, b, x));
  p->storage[p->producer.input] = (float *)*x; /* read only: nothing that a plan does not compute is written to */
  p->storage[p->consumer.input] = p->middle;
  p->storage[p->consumer.output] = p->output;
  return reap_plan_run(p->plan, p->storage);
}

/* p->output becomes what is left of the target. */
static int subtract(producer_pass *p, int64_t b) {
  const int64_t count = reap_value_count(&p->run->pruned->values[p->consumer.output]);
  const float *target = NULL;
  REAP_TRY(p->step->data.read(p->step->data.context, b, NULL, &target));
  for (int64_t i = 0; i < count; i++) p->output[i] = target[i] - p->output[i];
  return REAP_OK;
}

/* p->back from p->output, an image at a time; all of the block, padding too, which counts for nothing later. */
static int backward(producer_pass *p) {
  const reap_layer *l = &p->consumer;
  const int64_t images = p->run->shard->block, columns = patch_columns(p), rows = l->positions;
  const int64_t count = reap_value_count(&p->run->pruned->values[l->input]), image = count / images;
  if (!l->convolution) {
    REAP_TRY(
        reap_sgemm('T', 'N', columns, images * rows, l->m, 1, p->weights, l->m, p->output, l->m, 0, p->back, columns));
  } else {
    memset(p->back, 0, (size_t)count * sizeof *p->back);
    for (int64_t i = 0; i < images; i++) {
      REAP_TRY(reap_sgemm('T', 'N', columns, rows, l->m, 1, p->weights, l->m, p->output + i * rows * l->m, l->m, 0,
                          p->rows_back, columns));
      reap_col2im_add(&l->window, p->rows_back, p->back + i * image);
    }
  }
  for (int64_t i = 0; p->activation >= 0 && i < count; i++)
    if (!(p->middle[i] > 0)) p->back[i] = 0;
  return REAP_OK;
}

/* At how many positions two channels are both let through. */
typedef struct counting {
  producer_pass *pass;
  int64_t next; /* blocks before it are counted */
  float *mask, *product;
  double *both, positions;
} counting;

/* Adds the images of a block that are not held out, once. */
static int count_both(counting *c, int64_t b) {
  const producer_pass *p = c->pass;
  const int64_t k = p->consumer.channels, count = reap_value_count(&p->run->pruned->values[p->consumer.input]);
  const int64_t image = count / p->run->shard->block, rows = image / k;
  int64_t first, images;
  if (b < c->next) return REAP_OK;
  c->next = b + 1;
  reap_shard_block(p->run->shard, p->run->shard->first + b, &first, &images);
  for (int64_t i = 0; i < images; i++) {
    if (reap_split_holds_out(p->step->data.split, first + i)) continue;
    for (int64_t e = 0; e < image; e++) c->mask[e] = p->middle[i * image + e] > 0;
    REAP_TRY(reap_sgemm('N', 'T', k, k, rows, 1, c->mask, k, c->mask, k, 0, c->product,
                        k)); /* whole numbers below 2^24: exact */
    for (int64_t e = 0; e < k * k; e++) c->both[e] += (double)c->product[e];
    c->positions += (double)rows;
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ passes */

static int read_consumer(void *context, int64_t b, const float **x, const float **y) {
  producer_pass *p = context;
  const float *before = NULL;
  REAP_TRY(forward(p, b, &before));
  if (x) *x = p->middle;
  return y ? p->step->data.read(p->step->data.context, b, NULL, y) : REAP_OK;
}

static int read_producer(void *context, int64_t b, const float **x, const float **y) {
  producer_pass *p = ((counting *)context)->pass;
  const float *before = NULL;
  REAP_TRY(forward(p, b, &before));
  REAP_TRY(subtract(p, b));
  REAP_TRY(backward(p));
  if (x) *x = before;
  if (y) *y = p->back;
  return count_both(context, b);
}

/* Moments of one of the two layers, over the blocks that count. */
static int sum(const producer_pass *p, int which, int (*read)(void *, int64_t, const float **, const float **),
               void *context, reap_moments **moments) {
  reap_samples samples = p->step->data;
  reap_layer_gram gram;
  samples.layer = which == 0 ? p->producer : p->consumer;
  samples.name = p->names[which];
  samples.stride = p->stride;
  samples.read = read;
  samples.context = context;
  const int status = reap_gram_gather(p->run->comm, &samples, false, &gram);
  *moments = gram.moments;
  gram.moments = NULL;
  reap_gram_clear(&gram);
  return status;
}

int reap_producer_pass_moments(producer_pass *p, reap_moments **moments) {
  return sum(p, 1, read_consumer, p, moments);
}

int reap_producer_pass_back(producer_pass *p, reap_moments **moments, double *both) {
  const int64_t k = p->consumer.channels,
                image = reap_value_count(&p->run->pruned->values[p->consumer.input]) / p->run->shard->block;
  const reap_comm *comm = p->run->comm;
  counting c = {.pass = p, .both = both};
  memset(both, 0, (size_t)(k * k) * sizeof *both);
  int status = reap_alloc(&c.mask, image, sizeof *c.mask);
  if (status == REAP_OK) status = reap_alloc(&c.product, k * k, sizeof *c.product);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = sum(p, 0, read_producer, &c, moments);
  if (status == REAP_OK) status = reap_comm_sum(comm, both, k * k);
  if (status == REAP_OK) status = reap_comm_sum(comm, &c.positions, 1);
  for (int64_t e = 0; status == REAP_OK && e < k * k; e++)
    both[e] = p->activation < 0 ? 1 : c.positions > 0 ? both[e] / c.positions : 0;
  reap_free(&c.mask);
  reap_free(&c.product);
  return status;
}
