/* Passes over the images for a layer and its producer; see producer_pass.h.
 *
 * A block goes through producer, function and consumer by one plan. Backwards: the residual times the consumer's
 * weights gives rows of patches, which are added up where they overlap (the transpose of im2col). A Relu's derivative
 * is 1 where its output is positive; that of any other function is a difference quotient over 1 / 256, which is near
 * enough for a direction whose length is searched.
 *
 * Cost of a pass for an image: both layers' multiply-adds, the consumer's once more on the way back, and the moments,
 * those of the producer's inputs with each other in the first pass alone. Memory: a block of inputs, outputs and of
 * what goes back; what the first blocks gave (PRODUCER_KEPT_BYTES), where later ones are computed twice; on rank 0 a
 * Gram matrix. Images held out take part in nothing. Sums do not depend on the number of ranks: those of the
 * accumulator, and counts, which are whole numbers.
 */
#include "producer_pass.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "base/timer.h"
#include "exec/primitives/im2col.h"
#include "linalg/dense.h"
#include "model/groups/surgery.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ set up */

static int64_t patch_columns(const producer_pass *p) { return p->consumer.n; }

/* One whose derivative has to be computed. */
static bool has_function(const producer_pass *p) { return p->path.n_between > 0 && !p->relu; }

static bool counts(const producer_pass *p, int64_t b) { return (p->run->shard->first + b) % p->stride == 0; }

/* Room for what blocks give; without it they are computed twice. */
static int allocate_kept(producer_pass *p, int64_t middle) {
  const reap_shard *shard = p->run->shard;
  int64_t blocks = 0;
  for (int64_t b = 0; b < shard->last - shard->first; b++) blocks += counts(p, b);
  p->kept_blocks = reap_smaller(blocks, PRODUCER_KEPT_BYTES / (int64_t)sizeof *p->kept / middle);
  REAP_TRY(reap_calloc(&p->has, p->kept_blocks, sizeof *p->has));
  return reap_alloc(&p->kept, p->kept_blocks * middle, sizeof *p->kept);
}

static int allocate(producer_pass *p) {
  const reap_graph *graph = p->run->pruned;
  const int64_t middle = reap_value_count(&graph->values[p->consumer.input]);
  REAP_TRY(allocate_kept(p, middle));
  REAP_TRY(reap_calloc(&p->storage, graph->n_values, sizeof *p->storage));
  REAP_TRY(reap_alloc(&p->middle, middle, sizeof *p->middle));
  REAP_TRY(reap_alloc(&p->back, middle, sizeof *p->back));
  if (has_function(p)) {
    REAP_TRY(reap_alloc(&p->before, middle, sizeof *p->before));
    REAP_TRY(reap_alloc(&p->slope, middle, sizeof *p->slope));
  }
  REAP_TRY(reap_alloc(&p->output, reap_value_count(&graph->values[p->consumer.output]), sizeof *p->output));
  REAP_TRY(reap_alloc(&p->rows_back, p->consumer.positions * patch_columns(p), sizeof *p->rows_back));
  if (p->path.shared) REAP_TRY(reap_stream_drift_create(p->run, p->consumer.input, &p->stream));
  return reap_alloc(&p->weights, patch_columns(p) * p->consumer.m, sizeof *p->weights);
}

/* A Relu, of the producer's output itself or with values beside added. */
static bool is_relu(const reap_graph *graph, const producer_path *path) {
  const int last = path->n_between - 1;
  bool adds = last >= 0 && reap_operator_rectifies(graph->nodes[path->between[last]]->op);
  for (int k = 0; k < last; k++) adds &= reap_operator_adds(graph->nodes[path->between[k]]->op);
  return adds && last == path->n_beside;
}

int reap_producer_pass_create(const run *r, const step *s, producer_pass *p) {
  const int producer = s->producer, consumer = s->node;
  const reap_step at = {.node = consumer, .group = s->group};
  memset(p, 0, sizeof *p);
  p->run = r;
  p->step = s;
  p->names[0] = r->pruned->nodes[producer]->layer;
  p->names[1] = r->pruned->nodes[consumer]->layer;
  p->stride = producer_stride(r->shard->images);
  p->path = s->path;
  p->relu = is_relu(r->pruned, &s->path);
  REAP_TRY(reap_layer_view(r->pruned, producer, reap_repair_channels(r->pruned, producer), &p->producer));
  REAP_TRY(reap_layer_view(r->pruned, consumer, reap_step_channels(r->pruned, r->groups, &at), &p->consumer));
  return allocate(p);
}

void reap_producer_pass_clear(producer_pass *p) {
  reap_plan_destroy(&p->front);
  reap_plan_destroy(&p->plan);
  reap_plan_destroy(&p->function);
  reap_free(&p->kept);
  reap_free(&p->has);
  reap_free(&p->inputs);
  reap_free(&p->before);
  reap_free(&p->slope);
  reap_free(&p->storage);
  reap_free(&p->middle);
  reap_free(&p->output);
  reap_free(&p->back);
  reap_free(&p->rows_back);
  reap_free(&p->weights);
  reap_stream_drift_clear(&p->stream);
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

static int make_plans(producer_pass *p, bool *kept) {
  const reap_graph *graph = p->run->pruned;
  const reap_backend backend = p->run->options->backend;
  int nodes[PRODUCER_NODES + 2] = {p->producer.node};
  memcpy(nodes + 1, p->path.between, (size_t)p->path.n_between * sizeof *nodes);
  nodes[p->path.n_between + 1] = p->consumer.node;
  kept[p->consumer.input] = kept[p->consumer.output] = true;
  if (has_function(p)) kept[p->producer.output] = true;
  REAP_TRY(reap_plan_create(graph, nodes, p->path.n_between + 1, kept, backend, &p->front));
  REAP_TRY(reap_plan_create(graph, nodes, p->path.n_between + 2, kept, backend, &p->plan));
  return has_function(p) ? reap_plan_create(graph, p->path.between, p->path.n_between, kept, backend, &p->function)
                         : REAP_OK;
}

int reap_producer_pass_renew(producer_pass *p) {
  bool *kept = NULL;
  reap_plan_destroy(&p->front);
  reap_plan_destroy(&p->plan);
  reap_plan_destroy(&p->function);
  REAP_TRY(reap_calloc(&kept, p->run->pruned->n_values, sizeof *kept));
  const int status = make_plans(p, kept);
  reap_free(&kept);
  return status == REAP_OK ? order_weights(p) : status;
}

/* ------------------------------------------------------------------ one block */

/* The producer's inputs, and what becomes of them: by p->front in p->middle, by p->plan in p->output too. */
static int forward(producer_pass *p, int64_t b, reap_plan *plan, const float **x) {
  REAP_TRY(reap_frontier_read(p->step->before, p->producer.input, b, x));
  p->storage[p->producer.input] = (float *)*x; /* read only: nothing that a plan does not compute is written to */
  for (int k = 0; k < p->path.n_beside; k++) {
    const float *beside = NULL;
    REAP_TRY(reap_frontier_read(p->step->before, p->path.beside[k], b, &beside));
    p->storage[p->path.beside[k]] = (float *)beside;
  }
  if (has_function(p)) p->storage[p->producer.output] = p->before;
  p->storage[p->consumer.input] = p->middle;
  p->storage[p->consumer.output] = p->output;
  return reap_plan_run(plan, p->storage);
}

/* p->slope: by how much the function grows where its arguments do. */
static int differentiate(producer_pass *p) {
  const float width = 1.0f / 256;
  const int64_t count = reap_value_count(&p->run->pruned->values[p->consumer.input]);
  if (!has_function(p)) return REAP_OK;
  for (int64_t i = 0; i < count; i++) p->before[i] += width;
  p->storage[p->consumer.input] = p->slope;
  REAP_TRY(reap_plan_run(p->function, p->storage));
  for (int64_t i = 0; i < count; i++) p->slope[i] = (p->slope[i] - p->middle[i]) / width;
  return REAP_OK;
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
static int backward(producer_pass *p, double weight) {
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
      reap_col2im_add(&l->window, 0, l->channels, 0, rows, p->rows_back, p->back + i * image);
    }
  }
  for (int64_t i = 0; weight > 0 && i < count; i++) p->back[i] += (float)weight * (p->stream.wanted[i] - p->middle[i]);
  for (int64_t i = 0; p->relu && i < count; i++)
    if (!(p->middle[i] > 0)) p->back[i] = 0;
  for (int64_t i = 0; p->slope && i < count; i++) p->back[i] *= p->slope[i];
  return REAP_OK;
}

/* Sums over positions of the product of two channels' derivatives: of a Relu, at how many both are let through. Others
 * are rounded to whole numbers of UNIT, so that sums in float32 are exact, in whatever order. */
enum { UNIT = 16 };

typedef struct counting {
  producer_pass *pass;
  double weight; /* of the stream's errors */
  int64_t next;  /* blocks before it are counted */
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
    for (int64_t e = 0; e < image; e++) {
      const int64_t at = i * image + e;
      c->mask[e] = p->slope ? nearbyintf(UNIT * fminf(fmaxf(p->slope[at], -2), 2)) : p->middle[at] > 0;
    }
    REAP_TRY(reap_sgemm('N', 'T', k, k, rows, 1, c->mask, k, c->mask, k, 0, c->product,
                        k)); /* whole numbers below 2^24: exact */
    for (int64_t e = 0; e < k * k; e++) c->both[e] += (double)c->product[e];
    c->positions += (double)rows;
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ passes */

/* Where what block b gives is kept, and whether it is there already; NULL: there is no room. */
static float *kept_block(const producer_pass *p, int64_t b, bool **has) {
  const int64_t first = p->run->shard->first, at = (first + b) / p->stride - (first + p->stride - 1) / p->stride;
  *has = at < p->kept_blocks ? &p->has[at] : NULL;
  return *has ? p->kept + at * reap_value_count(&p->run->pruned->values[p->consumer.input]) : NULL;
}

static void keep_block(const producer_pass *p, const float *values, float *kept, bool *has) {
  if (!kept) return;
  memcpy(kept, values, (size_t)reap_value_count(&p->run->pruned->values[p->consumer.input]) * sizeof *kept);
  *has = true;
}

static int read_consumer(void *context, int64_t b, const float **x, const float **y) {
  producer_pass *p = context;
  const float *before = NULL;
  bool *has = NULL;
  float *kept = kept_block(p, b, &has);
  if (!kept || !*has) {
    REAP_TRY(forward(p, b, p->front, &before));
    if (p->path.shared) {
      REAP_TRY(reap_stream_drift_read(&p->stream, b));
      reap_stream_drift_note(&p->stream, b, false, p->middle);
    }
    keep_block(p, p->middle, kept, has);
  }
  if (x) *x = kept ? kept : p->middle;
  return y ? p->step->data.read(p->step->data.context, b, NULL, y) : REAP_OK;
}

/* What block b sends back, in p->back. */
static int compute_back(counting *c, int64_t b, const float **before) {
  producer_pass *p = c->pass;
  REAP_TRY(forward(p, b, p->plan, before));
  REAP_TRY(differentiate(p));
  REAP_TRY(subtract(p, b));
  if (c->weight > 0) REAP_TRY(reap_stream_drift_read(&p->stream, b));
  REAP_TRY(backward(p, c->weight));
  return count_both(c, b);
}

static int read_producer(void *context, int64_t b, const float **x, const float **y) {
  producer_pass *p = ((counting *)context)->pass;
  const float *before = NULL;
  bool *has = NULL;
  float *kept = kept_block(p, b, &has);
  if (!kept || !*has) {
    REAP_TRY(compute_back(context, b, &before));
    keep_block(p, p->back, kept, has);
  } else {
    REAP_TRY(reap_frontier_read(p->step->before, p->producer.input, b, &before));
  }
  if (x) *x = before;
  if (y) *y = kept ? kept : p->back;
  return REAP_OK;
}

/* Moments of one of the two layers, over the blocks that count. */
static int sum(producer_pass *p, int which, bool cross_only,
               int (*read)(void *, int64_t, const float **, const float **), void *context, reap_moments **moments) {
  reap_samples samples = p->step->data;
  reap_layer_gram gram;
  samples.layer = which == 0 ? p->producer : p->consumer;
  samples.name = p->names[which];
  samples.stride = p->stride;
  samples.cross_only = cross_only;
  samples.sampling.positions = producer_positions(p->run->options->positions, which == 1);
  samples.read = read;
  samples.context = context;
  if (p->kept_blocks > 0) memset(p->has, 0, (size_t)p->kept_blocks * sizeof *p->has);
  const int status = reap_gram_gather(p->run->comm, &samples, REAP_GRAM_WHOLE, &gram);
  *moments = gram.moments;
  gram.moments = NULL;
  reap_gram_clear(&gram);
  return status;
}

int reap_producer_pass_moments(producer_pass *p, reap_moments **moments, double *drift, double *square) {
  *drift = *square = 0;
  REAP_TRY(sum(p, 1, false, read_consumer, p, moments));
  return p->path.shared ? reap_stream_drift_sum(&p->stream, drift, square) : REAP_OK;
}

/* The producer's moments with those of its inputs, which the first pass keeps for later ones. Local. */
static int complete(producer_pass *p, reap_moments *m) {
  const int64_t square = m->n * m->n;
  if (reap_comm_rank(p->run->comm) > 0) return REAP_OK;
  const bool known = p->inputs != NULL;
  if (!known) REAP_TRY(reap_alloc(&p->inputs, square, sizeof *p->inputs));
  memcpy(known ? m->gram : p->inputs, known ? p->inputs : m->gram, (size_t)square * sizeof *m->gram);
  return REAP_OK;
}

int reap_producer_pass_back(producer_pass *p, double weight, reap_moments **moments, double *both) {
  const int64_t k = p->consumer.channels,
                image = reap_value_count(&p->run->pruned->values[p->consumer.input]) / p->run->shard->block;
  const reap_comm *comm = p->run->comm;
  counting c = {.pass = p, .weight = weight, .both = both};
  memset(both, 0, (size_t)(k * k) * sizeof *both);
  int status = reap_alloc(&c.mask, image, sizeof *c.mask);
  if (status == REAP_OK) status = reap_alloc(&c.product, k * k, sizeof *c.product);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = sum(p, 0, p->knows_inputs, read_producer, &c, moments);
  if (status == REAP_OK) status = reap_comm_agree(comm, complete(p, *moments));
  p->knows_inputs = status == REAP_OK;
  if (status == REAP_OK) status = reap_comm_sum(comm, both, k * k);
  if (status == REAP_OK) status = reap_comm_sum(comm, &c.positions, 1);
  const double scale = p->slope ? c.positions * UNIT * UNIT : c.positions;
  for (int64_t e = 0; status == REAP_OK && e < k * k; e++)
    both[e] = p->path.n_between == 0 ? 1 : c.positions > 0 ? both[e] / scale : 0;
  reap_free(&c.mask);
  reap_free(&c.product);
  return status;
}
