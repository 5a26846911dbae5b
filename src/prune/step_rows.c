/* Inputs and targets of the layer at hand, block by block. */
#include "run.h"

/* The sum behind the shortcut comes out right if the branch makes up for what the shortcut has lost. */
const float *step_target(const run *r, const step *s, int64_t b) {
  const float *y = reap_frontier_value(r->front_original, s->layer.output, b);
  if (s->shortcut < 0) return y;
  const float *before = reap_frontier_value(r->front_original, s->shortcut, b);
  const float *now = reap_frontier_value(r->front_pruned, s->shortcut, b);
  const int64_t count = reap_value_count(&r->pruned->values[s->layer.output]);
  for (int64_t i = 0; i < count; i++) s->target[i] = y[i] + (before[i] - now[i]);
  return s->target;
}

const float *step_input(const run *r, const step *s, int64_t b) {
  return reap_frontier_value(r->front_pruned, s->layer.input, b);
}

const float *step_output(const run *r, const step *s, int64_t b) {
  if (s->shortcut >= 0)
    reap_accumulator_set_drift(s->accumulator, reap_frontier_value(r->front_original, s->shortcut, b),
                               reap_frontier_value(r->front_pruned, s->shortcut, b));
  return reap_frontier_value(r->front_original, s->layer.output, b);
}

static const float *row_input(void *context, int64_t b) {
  return step_input(((const step_rows *)context)->run, ((const step_rows *)context)->step, b);
}

static const float *row_target(void *context, int64_t b) {
  return step_target(((const step_rows *)context)->run, ((const step_rows *)context)->step, b);
}

void step_rows_set(const run *r, const step *s, step_rows *rows) {
  const reap_node *node = r->pruned->nodes[s->node];
  rows->run = r;
  rows->step = s;
  rows->sampling = (reap_sampling){r->options->positions, r->options->seed};
  rows->source =
      (rows_source){&s->layer, node->layer, node->name, &rows->sampling, r->shard, row_input, row_target, rows};
}
