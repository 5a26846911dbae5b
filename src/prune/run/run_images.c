/* Images of a run on their way through both networks, and the rows of the layer they have come to. */
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"

bool reap_run_frozen(const run *r) { return r->options->from_stats != NULL; }

int64_t reap_run_blocks(const run *r) { return r->shard->last - r->shard->first; }

int reap_run_load_images(run *r) {
  if (reap_run_frozen(r)) return REAP_OK;
  REAP_TRY(reap_frontier_create(r->original, reap_run_blocks(r), r->options->backend, &r->front_original));
  reap_frontier_limit(r->front_original, r->options->memory, r->options->scratch);
  return reap_frontier_images(r->front_original, r->images, r->shard);
}

/* Up to the first layer both networks are one: it is computed once, and what is held there is shared. If coupled groups
 * are cut already, it is the images that they share. */
static int start_pruned(run *r, const int *inputs, int count) {
  if (r->front_pruned) return REAP_OK;
  if (!r->stays) REAP_TRY(reap_frontier_advance(r->front_original, inputs, count));
  return reap_frontier_fork(r->front_original, r->pruned, &r->front_pruned);
}

/* What the step's layer reads. */
static int list_inputs(const step *s, int inputs[2]) {
  inputs[0] = s->layer.input;
  inputs[1] = s->shortcut;
  return s->shortcut >= 0 ? 2 : 1;
}

/* The pruned network up to the producer, where it waits in a fork of its own. */
static int stop_before_producer(run *r, step *s) {
  if (s->producer < 0) return REAP_OK;
  int inputs[PRODUCER_NODES + 1] = {r->pruned->nodes[s->producer]->inputs[0]};
  memcpy(inputs + 1, s->path.beside, (size_t)s->path.n_beside * sizeof *inputs);
  REAP_TRY(start_pruned(r, inputs, 1 + s->path.n_beside));
  REAP_TRY(reap_frontier_advance(r->front_pruned, inputs, 1 + s->path.n_beside));
  return reap_frontier_fork(r->front_pruned, r->pruned, &s->before);
}

static int advance(run *r, step *s) {
  int inputs[2], wanted[3] = {s->layer.output}, n_wanted = 1;
  const int count = list_inputs(s, inputs);
  if (s->shortcut >= 0) wanted[n_wanted++] = s->shortcut;
  if (s->producer >= 0 && s->path.shared) wanted[n_wanted++] = s->layer.input; /* it is to stay near that */
  REAP_TRY(stop_before_producer(r, s));
  REAP_TRY(start_pruned(r, inputs, count));
  REAP_TRY(reap_frontier_advance(r->front_original, wanted, n_wanted));
  return reap_frontier_advance(r->front_pruned, inputs, count);
}

/* Notes the time that passed, less that for reading images. */
static void note_time(run *r, double start, double read) {
  reap_run_note_use(r);
  r->result->seconds_forward += reap_seconds() - start - (r->result->use.seconds_images - read);
}

/* Idle ranks have no blocks and only mark the nodes. Images are read on the way. */
int reap_run_advance(run *r, step *s) {
  if (reap_run_frozen(r)) return REAP_OK;
  const double start = reap_seconds(), read = r->result->use.seconds_images;
  REAP_TRY(advance(r, s));
  note_time(r, start, read);
  return REAP_OK;
}

int reap_run_advance_again(run *r, const step *s) {
  const double start = reap_seconds(), read = r->result->use.seconds_images;
  reap_frontier *fresh = NULL;
  int inputs[2];
  const int count = list_inputs(s, inputs);
  REAP_TRY(reap_frontier_fork(s->before, r->pruned, &fresh));
  const int status = reap_frontier_advance(fresh, inputs, count);
  if (status != REAP_OK) reap_frontier_destroy(&fresh);
  REAP_TRY(status);
  reap_frontier_destroy(&r->front_pruned);
  r->front_pruned = fresh;
  note_time(r, start, read);
  return REAP_OK;
}

/* By the columns that the layer has in the original network: rows before and after a cut, and with the producer solved
 * anew, are of the same positions, so that their errors can be compared. */
static int choose_positions(const run *r, const step *s, reap_sampling *sampling) {
  reap_layer whole;
  *sampling = (reap_sampling){r->options->positions, r->options->seed};
  REAP_TRY(reap_layer_view(r->original, s->node, reap_repair_channels(r->original, s->node), &whole));
  sampling->positions = reap_sampling_drawn(sampling, &whole, r->shard->images);
  return REAP_OK;
}

int reap_step_samples(const run *r, step *s) {
  const reap_node *node = r->pruned->nodes[s->node];
  const int output = s->layer.output;
  reap_sampling sampling;
  REAP_TRY(choose_positions(r, s, &sampling));
  const stay *left = r->stays && r->stays[output].entries ? &r->stays[output] : NULL;
  const int64_t count = s->shortcut < 0 && !left ? 0 : reap_value_count(&r->pruned->values[output]);
  s->taps = (reap_taps){.inputs = r->front_pruned,
                        .outputs = r->front_original,
                        .input = s->layer.input,
                        .output = output,
                        .shortcut = s->shortcut,
                        .whole = &r->original->values[output],
                        .count = count};
  if (left) {
    s->taps.axis = left->axis;
    s->taps.n_kept = left->count;
    s->taps.kept = left->entries;
  }
  s->data = (reap_samples){.layer = s->layer,
                           .name = node->layer,
                           .node = node->name,
                           .sampling = sampling,
                           .split = REAP_SPLIT_TENTH,
                           .shard = *r->shard,
                           .read = reap_taps_read,
                           .context = &s->taps};
  if (left && s->shortcut >= 0) REAP_TRY(reap_alloc(&s->taps.before, count, sizeof *s->taps.before));
  return reap_alloc(&s->taps.target, count, sizeof *s->taps.target);
}

void reap_step_clear_taps(step *s) {
  reap_free(&s->taps.target);
  reap_free(&s->taps.before);
}

void reap_run_note_use(run *r) {
  if (!r->front_original) return;
  const double before = r->result->use.seconds_images;
  reap_frontier_get_use(r->front_original, &r->result->use);
  r->result->seconds_read += r->result->use.seconds_images - before;
}
