#include "samples.h"

#include <math.h>

#include "base/random.h"
#include "reap/error.h"
#include "reap/memory.h"

bool reap_samples_counts(const reap_samples *s, int64_t b) {
  return s->stride < 2 || (s->shard.first + b) % s->stride == 0;
}

/* All positions of a convolution cost less than as many drawn ones: see shift_gram.c. */
enum { ALL_BY_SHIFTS = 3 };

int64_t reap_sampling_drawn(const reap_sampling *sampling, const reap_layer *layer, int64_t images) {
  const int64_t some = sampling->positions;
  if (some >= 0 || images < 1) return some > 0 && some < layer->positions ? some : 0;
  const double wanted = ceil(-(double)some * (double)layer->n / (double)images);
  const bool all = wanted * (layer->block > 1 ? ALL_BY_SHIFTS : 1) >= (double)layer->positions;
  return all ? 0 : (int64_t)wanted;
}

static int64_t drawn(const reap_samples *s) {
  return reap_sampling_drawn(&s->sampling, &s->layer, s->shard.images / (s->stride > 1 ? s->stride : 1));
}

bool reap_samples_some(const reap_samples *s) { return drawn(s) > 0; }

int64_t reap_samples_per_image(const reap_samples *s) {
  const int64_t some = drawn(s);
  return some > 0 ? some : s->layer.positions;
}

int64_t reap_samples_input_size(const reap_layer *layer) {
  return layer->convolution ? reap_window_pixels(&layer->window) * layer->window.channels : layer->positions * layer->n;
}

int64_t reap_samples_output_size(const reap_layer *layer) { return layer->positions * layer->m; }

void reap_samples_positions(const reap_samples *s, int64_t image, int64_t *positions) {
  if (!reap_samples_some(s)) {
    for (int64_t p = 0; p < s->layer.positions; p++) positions[p] = p;
    return;
  }
  reap_random random = reap_random_init(s->sampling.seed, reap_random_key(s->name), (uint64_t)image);
  reap_random_sample(&random, s->layer.positions, drawn(s), positions);
}

/* A value of the second network with the first one's channels; `room` is for those. */
static int read_kept(const reap_taps *t, int value, int64_t b, float *room, const float **out) {
  REAP_TRY(reap_frontier_read(t->outputs, value, b, out));
  if (!t->kept) return REAP_OK;
  reap_storage_pick(t->whole, t->axis, t->n_kept, t->kept, *out, room);
  *out = room;
  return REAP_OK;
}

int reap_taps_read(void *context, int64_t b, const float **x, const float **y) {
  const reap_taps *t = context;
  const float *before = NULL, *now = NULL;
  if (x) REAP_TRY(reap_frontier_read(t->inputs, t->input, b, x));
  if (y) REAP_TRY(read_kept(t, t->output, b, t->target, y));
  if (!y || t->shortcut < 0) return REAP_OK;
  REAP_TRY(read_kept(t, t->shortcut, b, t->before, &before));
  REAP_TRY(reap_frontier_read(t->inputs, t->shortcut, b, &now));
  for (int64_t i = 0; i < t->count; i++) t->target[i] = (*y)[i] + (before[i] - now[i]);
  *y = t->target;
  return REAP_OK;
}

/* ------------------------------------------------------------------ the walk */

int reap_cursor_create(const reap_samples *samples, reap_cursor *c) {
  *c = (reap_cursor){.samples = *samples, .wants_x = true, .wants_y = true};
  c->per_image = reap_samples_per_image(samples);
  return reap_alloc(&c->positions, c->per_image, sizeof *c->positions);
}

void reap_cursor_clear(reap_cursor *c) { reap_free(&c->positions); }

void reap_cursor_start(reap_cursor *c, reap_part part, int64_t first, int64_t end) {
  c->part = part;
  c->block = first;
  c->end = end;
  c->read = -1;
  c->image = c->done = 0;
}

/* The image at hand or the next one that counts, of all images; -1: there is none. */
static int64_t find_image(reap_cursor *c) {
  const reap_samples *s = &c->samples;
  for (; c->block < c->end; c->block++, c->image = 0) {
    int64_t first, images;
    reap_shard_block(&s->shard, s->shard.first + c->block, &first, &images);
    for (; c->image < images && reap_samples_counts(s, c->block); c->image++)
      if (c->part == REAP_ALL_IMAGES || reap_split_holds_out(s->split, first + c->image) == (c->part == REAP_HELD_OUT))
        return first + c->image;
  }
  return -1;
}

/* A block is read when the first of its images counts. */
static int read_block(reap_cursor *c) {
  if (c->read == c->block) return REAP_OK;
  c->read = c->block;
  c->x = c->y = NULL;
  return c->samples.read(c->samples.context, c->block, c->wants_x ? &c->x : NULL, c->wants_y ? &c->y : NULL);
}

int reap_cursor_next(reap_cursor *c, int64_t most, reap_piece *p) {
  const reap_layer *layer = &c->samples.layer;
  *p = (reap_piece){0};
  if (c->done == c->per_image) {
    c->image++;
    c->done = 0;
  }
  const int64_t image = find_image(c);
  if (image < 0) return REAP_OK;
  REAP_TRY(read_block(c));
  const bool some = reap_samples_some(&c->samples);
  if (some && c->done == 0) reap_samples_positions(&c->samples, image, c->positions);
  p->image = image;
  p->block = c->block;
  p->x = c->x ? c->x + c->image * reap_samples_input_size(layer) : NULL;
  p->y = c->y ? c->y + c->image * reap_samples_output_size(layer) : NULL;
  p->first = c->done;
  p->count = c->per_image - c->done < most ? c->per_image - c->done : most;
  p->positions = some ? c->positions + c->done : NULL;
  c->done += p->count;
  return REAP_OK;
}
