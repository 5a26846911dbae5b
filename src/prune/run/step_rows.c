/* Inputs and targets of the layer at hand, block by block. */
#include "reap/error.h"
#include "run.h"

/* What the shortcut was in the original network, and what it is now. */
static int shortcut_block(const run *r, const step *s, int64_t b, const float **before, const float **now) {
  REAP_TRY(reap_frontier_read(r->front_original, s->shortcut, b, before));
  return reap_frontier_read(r->front_pruned, s->shortcut, b, now);
}

static int input_block(const run *r, const step *s, int64_t b, const float **x) {
  return reap_frontier_read(r->front_pruned, s->layer.input, b, x);
}

/* The sum behind the shortcut comes out right if the branch makes up for what the shortcut has lost. */
static int target_block(const run *r, const step *s, int64_t b, const float **target) {
  const float *y = NULL, *before = NULL, *now = NULL;
  REAP_TRY(reap_frontier_read(r->front_original, s->layer.output, b, &y));
  *target = y;
  if (s->shortcut < 0) return REAP_OK;
  REAP_TRY(shortcut_block(r, s, b, &before, &now));
  const int64_t count = reap_value_count(&r->pruned->values[s->layer.output]);
  for (int64_t i = 0; i < count; i++) s->target[i] = y[i] + (before[i] - now[i]);
  *target = s->target;
  return REAP_OK;
}

int step_block(const run *r, const step *s, int64_t b, const float **x, const float **y) {
  const float *before = NULL, *now = NULL;
  REAP_TRY(input_block(r, s, b, x));
  REAP_TRY(reap_frontier_read(r->front_original, s->layer.output, b, y));
  if (s->shortcut < 0) return REAP_OK;
  REAP_TRY(shortcut_block(r, s, b, &before, &now));
  reap_accumulator_set_drift(s->accumulator, before, now);
  return REAP_OK;
}

static int row_input(void *context, int64_t b, const float **x) {
  return input_block(((const step_rows *)context)->run, ((const step_rows *)context)->step, b, x);
}

static int row_target(void *context, int64_t b, const float **y) {
  return target_block(((const step_rows *)context)->run, ((const step_rows *)context)->step, b, y);
}

void step_rows_set(const run *r, const step *s, step_rows *rows) {
  const reap_node *node = r->pruned->nodes[s->node];
  rows->run = r;
  rows->step = s;
  rows->sampling = (reap_sampling){r->options->positions, r->options->seed};
  rows->source =
      (rows_source){&s->layer, node->layer, node->name, &rows->sampling, r->shard, row_input, row_target, rows};
}
