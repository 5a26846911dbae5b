/* A layer's error on images held out, from the layer run forward; see forward_error.h.
 *
 * Method. The layer is taken out of the pruned network, with the weights as a file would hold them, and run by the
 * kernels that evaluation uses on what it reads there. Target and output lie in memory alike, so that at all
 * positions nothing has to be known of rows; of sampled positions, only where an output lies. The images held out are
 * brought together from all blocks first: no image is run that does not count.
 *
 * Cost: the layer's multiply-adds for a tenth of the images, in float32. Memory: three times what the layer reads or
 * writes for at most a block of images. Every block of images has a slot of its own in the sums; how images come
 * together in a call of the kernels depends on the ranks, and with it, with some kernels, the last digit of an error.
 */
#include "forward_error.h"

#include <math.h>
#include <string.h>

#include "exec/plan.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

typedef struct runner {
  const run *run;
  const step *step;
  reap_samples data; /* of the layer as it is in the pruned network */
  reap_graph *layer; /* on its own, for `images` images */
  reap_plan *plan;
  int64_t images, filled;
  int64_t size_x, size_y; /* of an image */
  int64_t *image;         /* [images] at hand */
  int64_t per_image, *positions;
  float *x, *y, *target;    /* [images, size_x], [images, size_y] twice */
  double *errors, *squares; /* [blocks] */
  int64_t samples;
} runner;

static void clear(runner *f) {
  reap_plan_destroy(&f->plan);
  reap_graph_destroy(&f->layer);
  reap_free(&f->image);
  reap_free(&f->positions);
  reap_free(&f->x);
  reap_free(&f->y);
  reap_free(&f->target);
  reap_free(&f->errors);
  reap_free(&f->squares);
}

/* Images held out of this rank's blocks. */
static int64_t count_images(const reap_samples *s) {
  const int64_t first = s->shard.first * s->shard.block, end = s->shard.last * s->shard.block;
  const int64_t last = end < s->shard.images ? end : s->shard.images;
  return last > first ? reap_split_count(s->split, last) - reap_split_count(s->split, first) : 0;
}

static int prepare_layer(runner *f, const double *weights, const double *bias) {
  const bool kept[] = {true, false, false, true}; /* input, weights, bias, output */
  const int node = 0;
  REAP_TRY(reap_graph_extract(f->run->pruned, f->step->node, f->images, &f->layer));
  if (weights) REAP_TRY(reap_surgery_set_weights(f->layer, node, weights, bias));
  return reap_plan_create(f->layer, &node, 1, kept, f->run->options->backend, &f->plan);
}

static int prepare(runner *f, const double *weights, const double *bias) {
  const run *r = f->run;
  const int64_t count = count_images(&f->data), batch = r->pruned->batch, calls = (count + batch - 1) / batch;
  REAP_TRY(reap_calloc(&f->errors, r->shard->blocks, sizeof *f->errors));
  REAP_TRY(reap_calloc(&f->squares, r->shard->blocks, sizeof *f->squares));
  if (count == 0) return REAP_OK;
  f->images = (count + calls - 1) / calls;
  REAP_TRY(prepare_layer(f, weights, bias));
  f->size_x = reap_value_count(&f->layer->values[f->layer->inputs[0]]) / f->images;
  f->size_y = reap_value_count(&f->layer->values[f->layer->outputs[0]]) / f->images;
  f->per_image = reap_samples_per_image(&f->data);
  REAP_TRY(reap_alloc(&f->positions, f->per_image, sizeof *f->positions));
  REAP_TRY(reap_alloc(&f->image, f->images, sizeof *f->image));
  REAP_TRY(reap_calloc(&f->x, f->images * f->size_x, sizeof *f->x)); /* the last call may have fewer images */
  REAP_TRY(reap_alloc(&f->y, f->images * f->size_y, sizeof *f->y));
  return reap_alloc(&f->target, f->images * f->size_y, sizeof *f->target);
}

static void add(const float *y, const float *target, int64_t count, int64_t pace, double *error, double *square) {
  for (int64_t i = 0; i < count; i++) {
    const double t = (double)target[i * pace], d = t - (double)y[i * pace];
    *error += d * d;
    *square += t * t;
  }
}

/* Errors of image `k` of those at hand into the slots of its block. */
static void compare(runner *f, int64_t k) {
  const reap_layer *layer = &f->step->layer;
  const float *y = f->y + k * f->size_y, *target = f->target + k * f->size_y;
  const int64_t block = f->image[k] / f->run->shard->block;
  double *error = &f->errors[block], *square = &f->squares[block];
  f->samples += f->per_image;
  if (f->per_image == layer->positions) {
    add(y, target, f->size_y, 1, error, square);
    return;
  }
  reap_samples_positions(&f->data, f->image[k], f->positions);
  for (int64_t p = 0; p < f->per_image; p++) {
    const int64_t start = reap_row_start(&layer->rows_y, layer->m, f->positions[p]);
    add(y + start, target + start, layer->m, reap_row_step(&layer->rows_y), error, square);
  }
}

static int flush(runner *f) {
  float *storage[4] = {NULL};
  if (f->filled == 0) return REAP_OK;
  storage[f->layer->inputs[0]] = f->x;
  storage[f->layer->outputs[0]] = f->y;
  REAP_TRY(reap_plan_run(f->plan, storage));
  for (int64_t k = 0; k < f->filled; k++) compare(f, k);
  f->filled = 0;
  return REAP_OK;
}

static int take_image(runner *f, const reap_piece *p) {
  memcpy(f->x + f->filled * f->size_x, p->x, (size_t)f->size_x * sizeof *p->x);
  memcpy(f->target + f->filled * f->size_y, p->y, (size_t)f->size_y * sizeof *p->y);
  f->image[f->filled++] = p->image;
  return f->filled == f->images ? flush(f) : REAP_OK;
}

static int run_images_forward(runner *f) {
  reap_cursor cursor;
  reap_piece p = {0};
  int status = reap_cursor_create(&f->data, &cursor);
  reap_cursor_start(&cursor, REAP_HELD_OUT, 0, reap_samples_blocks(&f->data));
  do {
    if (status == REAP_OK) status = reap_cursor_next(&cursor, INT64_MAX, &p);
    if (status == REAP_OK && p.count > 0) status = take_image(f, &p);
  } while (status == REAP_OK && p.count > 0);
  reap_cursor_clear(&cursor);
  return status == REAP_OK ? flush(f) : status;
}

static int add_ranks(runner *f, forward_error *out) {
  const reap_comm *comm = f->run->comm;
  const int64_t blocks = f->run->shard->blocks;
  REAP_TRY(reap_comm_sum(comm, f->errors, blocks)); /* each slot has one owner: the same on all ranks */
  REAP_TRY(reap_comm_sum(comm, f->squares, blocks));
  REAP_TRY(reap_comm_sum_int64(comm, &f->samples, 1));
  *out = (forward_error){.samples = f->samples};
  for (int64_t b = 0; b < blocks; b++) {
    out->error += f->errors[b];
    out->square += f->squares[b];
  }
  return REAP_OK;
}

int reap_forward_error_measure(const run *r, const step *s, const double *weights, const double *bias,
                               forward_error *out) {
  runner f = {.run = r, .step = s, .data = s->data};
  int status = reap_layer_view(r->pruned, s->node, s->decision.record.n_kept, &f.data.layer);
  if (status == REAP_OK) status = prepare(&f, weights, bias);
  if (status == REAP_OK) status = run_images_forward(&f);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = add_ranks(&f, out);
  clear(&f);
  return status;
}

bool reap_forward_error_wanted(const run *r, const reap_held_out_error *rows) {
  return !reap_run_frozen(r) && !r->options->quiet && rows->samples > 0;
}

bool reap_forward_error_agrees(const forward_error *forward, const reap_held_out_error *rows) {
  static const double OF_ERROR = 0.05, OF_TARGET = 0.01, OF_SIZE = 1e-4;
  const double most = OF_ERROR * sqrt(rows->error) + OF_TARGET * sqrt(rows->energy) + OF_SIZE * sqrt(forward->square);
  return forward->samples == rows->samples && fabs(sqrt(forward->error) - sqrt(rows->error)) <= most; /* a NaN is not */
}

void reap_forward_error_warn(const run *r, const step *s, const reap_held_out_error *rows, double after, double before,
                             const char *old) {
  reap_log(REAP_LOG_WARNING,
           "layer %s: on images held out its new weights leave an error of %.3g where %.3g was computed when they were "
           "solved; %s leave %.3g, so the %s ones are used",
           r->pruned->nodes[s->node]->layer, reap_relative_error(after, rows->energy),
           reap_relative_error(rows->error, rows->energy), old, reap_relative_error(before, rows->energy),
           after < before ? "new" : "old");
}
