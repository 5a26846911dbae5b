/* Sums for many groups at once; see group_moments.h.
 *
 * Channels lie last in memory, so a group's are taken out of a block of images once and then serve both of its
 * accumulators: one for the images in the sums, one for those held out. The images held out thus give the error of any
 * weights without another walk.
 *
 * Cost: the moments, and one more copy of inputs and targets for each of both passes. Memory: BATCH_BYTES at most,
 * unless one group takes more. Failure modes: those of the accumulator.
 */
#include "group_moments.h"

#include <string.h>

#include "accumulator.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double BATCH_BYTES = 256 << 20;

/* The groups' parts of the block at hand. */
typedef struct slices {
  const reap_samples *whole;
  int64_t first, count, block;    /* groups; local block, -1: none */
  int64_t size_x, size_y;         /* of a block, for a group */
  float *x, *y;                   /* [count, size_x], [count, size_y] */
  reap_accumulator **accumulator; /* [2 * count]: for the sums, for what is held out */
  struct part *parts;             /* [count] */
} slices;

typedef struct part {
  slices *of;
  int64_t index;
} part;

/* [rows, groups * width], of which groups first .. first + count, to [count, rows, width]. */
static void split(const float *from, int64_t rows, int64_t groups, int64_t width, int64_t first, int64_t count,
                  float *to) {
  for (int64_t r = 0; r < rows; r++, from += groups * width)
    for (int64_t g = 0; g < count; g++)
      memcpy(to + (g * rows + r) * width, from + (first + g) * width, (size_t)width * sizeof *to);
}

static int read_part(void *context, int64_t b, const float **x, const float **y) {
  const part *p = context;
  slices *s = p->of;
  const reap_layer *layer = &s->whole->layer;
  const float *whole_x = NULL, *whole_y = NULL;
  if (s->block != b) {
    REAP_TRY(s->whole->read(s->whole->context, b, &whole_x, &whole_y));
    split(whole_x, s->size_x / layer->channels, layer->groups, layer->channels, s->first, s->count, s->x);
    const int64_t outputs = layer->m / layer->groups;
    split(whole_y, s->size_y / outputs, layer->groups, outputs, s->first, s->count, s->y);
    s->block = b;
  }
  if (x) *x = s->x + p->index * s->size_x;
  if (y) *y = s->y + p->index * s->size_y;
  return REAP_OK;
}

/* Of one group; what it reads is missing. */
static reap_samples samples_of(const reap_samples *whole) {
  reap_samples out = *whole;
  out.layer = reap_layer_group(&whole->layer);
  return out;
}

static int open_slices(slices *s, int64_t first, int64_t count, const reap_samples *whole) {
  reap_samples part_samples = samples_of(whole);
  *s = (slices){.whole = whole, .first = first, .count = count, .block = -1};
  s->size_x = whole->shard.block * reap_samples_input_size(&part_samples.layer);
  s->size_y = whole->shard.block * reap_samples_output_size(&part_samples.layer);
  REAP_TRY(reap_calloc(&s->accumulator, 2 * count, sizeof(void *)));
  REAP_TRY(reap_alloc(&s->parts, count, sizeof *s->parts));
  REAP_TRY(reap_alloc(&s->x, count * s->size_x, sizeof *s->x));
  REAP_TRY(reap_alloc(&s->y, count * s->size_y, sizeof *s->y));
  part_samples.read = read_part;
  for (int64_t k = 0; k < 2 * count; k++) {
    s->parts[k / 2] = (part){s, k / 2};
    part_samples.context = &s->parts[k / 2];
    part_samples.split = k % 2 ? reap_split_exchanged(whole->split) : whole->split;
    REAP_TRY(reap_accumulator_create(&part_samples, &s->accumulator[k]));
  }
  return REAP_OK;
}

static void close_slices(slices *s) {
  for (int64_t k = 0; s->accumulator && k < 2 * s->count; k++) reap_accumulator_destroy(&s->accumulator[k]);
  reap_free(&s->accumulator);
  reap_free(&s->parts);
  reap_free(&s->x);
  reap_free(&s->y);
}

/* All accumulators together, block by block. Local. */
static int walk(const slices *s, int (*take)(reap_accumulator *, int64_t)) {
  for (int64_t b = 0; b < reap_samples_blocks(s->whole); b++)
    for (int64_t k = 0; k < 2 * s->count && reap_samples_counts(s->whole, b); k++) REAP_TRY(take(s->accumulator[k], b));
  return REAP_OK;
}

static int sum(const reap_comm *comm, const slices *s, reap_group_moments *out) {
  REAP_TRY(reap_comm_agree(comm, walk(s, reap_accumulator_scan)));
  for (int64_t k = 0; k < 2 * s->count; k++) REAP_TRY(reap_accumulator_fix_grid(s->accumulator[k], comm));
  REAP_TRY(reap_comm_agree(comm, walk(s, reap_accumulator_add)));
  for (int64_t k = 0; k < 2 * s->count; k++) {
    reap_moments **to = k % 2 ? &out->held_out[k / 2] : &out->in_sums[k / 2];
    REAP_TRY(reap_accumulator_reduce(s->accumulator[k], comm, to));
    if (k % 2 == 0) out->multiply_adds += reap_accumulator_multiply_adds(s->accumulator[k], (*to)->samples);
  }
  return REAP_OK;
}

int reap_group_moments_batch(const reap_samples *samples, int64_t *batch, double *multiply_adds, double *bytes) {
  const reap_samples one = samples_of(samples);
  double each = 0;
  REAP_TRY(reap_accumulator_cost(&one, &each, multiply_adds));
  each = 2 * each + (double)sizeof(float) * (double)samples->shard.block *
                        (double)(reap_samples_input_size(&one.layer) + reap_samples_output_size(&one.layer));
  const double fit = BATCH_BYTES / each;
  *batch = fit < 1 ? 1 : fit > (double)samples->layer.groups ? samples->layer.groups : (int64_t)fit;
  *bytes = (double)*batch * each;
  return REAP_OK;
}

int reap_group_moments_gather(const reap_comm *comm, const reap_samples *samples, int64_t first, int64_t count,
                              reap_group_moments *out) {
  slices s = {0};
  *out = (reap_group_moments){.first = first, .count = count};
  int status = reap_calloc(&out->in_sums, count, sizeof(void *));
  if (status == REAP_OK) status = reap_calloc(&out->held_out, count, sizeof(void *));
  if (status == REAP_OK) status = open_slices(&s, first, count, samples);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = sum(comm, &s, out);
  close_slices(&s);
  return status;
}

void reap_group_moments_clear(reap_group_moments *m) {
  for (int64_t k = 0; m->in_sums && k < m->count; k++) reap_moments_destroy(&m->in_sums[k]);
  for (int64_t k = 0; m->held_out && k < m->count; k++) reap_moments_destroy(&m->held_out[k]);
  reap_free(&m->in_sums);
  reap_free(&m->held_out);
}
