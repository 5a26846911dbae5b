/* Images of a run on their way through both networks. */
#include "reap/error.h"
#include "reap/timer.h"
#include "run.h"

bool run_frozen(const run *r) { return r->options->from_stats != NULL; }

int64_t run_blocks(const run *r) { return r->shard->last - r->shard->first; }

int run_load_images(run *r) {
  if (run_frozen(r)) return REAP_OK;
  REAP_TRY(reap_frontier_create(r->original, run_blocks(r), r->options->backend, &r->front_original));
  reap_frontier_limit(r->front_original, r->options->memory, r->options->scratch);
  return reap_frontier_images(r->front_original, r->images, r->shard);
}

/* Up to the first layer both networks are one: it is computed once, and what is held there is shared. */
static int start_pruned(run *r, const int *inputs, int count) {
  if (r->front_pruned) return REAP_OK;
  REAP_TRY(reap_frontier_advance(r->front_original, inputs, count));
  return reap_frontier_fork(r->front_original, r->pruned, &r->front_pruned);
}

/* Idle ranks have no blocks and only mark the nodes. Images are read on the way. */
int run_advance(run *r, const step *s) {
  if (run_frozen(r)) return REAP_OK;
  const double start = reap_seconds(), read = r->result->use.seconds_images;
  const int wanted[] = {s->layer.output, s->shortcut}, inputs[] = {s->layer.input, s->shortcut};
  const int count = s->shortcut >= 0 ? 2 : 1;
  REAP_TRY(start_pruned(r, inputs, count));
  REAP_TRY(reap_frontier_advance(r->front_original, wanted, count));
  REAP_TRY(reap_frontier_advance(r->front_pruned, inputs, count));
  run_note_use(r);
  r->result->seconds_forward += reap_seconds() - start - (r->result->use.seconds_images - read);
  return REAP_OK;
}

void run_note_use(run *r) {
  if (!r->front_original) return;
  const double before = r->result->use.seconds_images;
  reap_frontier_get_use(r->front_original, &r->result->use);
  r->result->seconds_read += r->result->use.seconds_images - before;
}
