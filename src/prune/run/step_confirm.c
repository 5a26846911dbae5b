/* The pruned layer's new weights, once more: do they do in the network what they were solved for?
 *
 * They are kept unless the layer run forward (forward_error.h) says otherwise and its trained weights for the
 * channels that stay are better.
 */
#include <string.h>

#include "base/timer.h"
#include "forward_error.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Which of the original's outputs the layer has left; NULL: all. */
static const int64_t *outputs_left(const run *r, const step *s) {
  return r->stays ? r->stays[s->layer.output].entries : NULL;
}

/* Whether the original's weights are those of the layer before the step, but for outputs that went before it. */
static bool is_comparable(const run *r, const step *s, int64_t *outputs) {
  const decision *d = &s->decision;
  const reap_tensor *w = reap_node_constant(r->original, r->original->nodes[s->node], 1);
  *outputs = w->dims[0];
  return w->count == *outputs * d->record.channels * d->block && (*outputs == d->m || outputs_left(r, s));
}

/* The layer's weights in the original network, of the channels and outputs kept; m: outputs there. Local. */
static int trained_weights(const run *r, const step *s, int64_t m, double *weights, double *bias) {
  const decision *d = &s->decision;
  const int64_t *left = outputs_left(r, s);
  double *all = NULL, *all_bias = NULL;
  int status = reap_alloc(&all, d->record.channels * d->block * m, sizeof *all);
  if (status == REAP_OK) status = reap_alloc(&all_bias, m, sizeof *all_bias);
  if (status == REAP_OK) reap_surgery_get_weights(r->original, s->node, all, all_bias);
  for (int64_t k = 0; status == REAP_OK && k < d->record.n_kept; k++)
    for (int64_t t = 0; t < d->block; t++)
      for (int64_t j = 0; j < d->m; j++)
        weights[(k * d->block + t) * d->m + j] = all[(d->record.kept[k] * d->block + t) * m + (left ? left[j] : j)];
  for (int64_t j = 0; status == REAP_OK && j < d->m; j++) bias[j] = all_bias[left ? left[j] : j];
  reap_free(&all);
  reap_free(&all_bias);
  return status;
}

/* Whichever weights leave less. What is said of the images in the moments is then worth as little as the rows: the
 * error on images held out stands for it. Collective. */
static int choose(run *r, step *s, const forward_error *after, double *weights, double *bias) {
  decision *d = &s->decision;
  forward_error before;
  REAP_TRY(reap_forward_error_measure(r, s, weights, bias, &before));
  reap_forward_error_warn(r, s, &s->held_out, after->error, before.error, "the trained ones");
  const bool stays = after->error < before.error;
  s->held_out.error = stays ? after->error : before.error;
  d->record.relative_error = reap_step_held_out_error(&s->held_out);
  if (stays) return REAP_OK;
  memcpy(d->weights, weights, (size_t)(d->record.n_kept * d->block * d->m) * sizeof *weights);
  memcpy(d->bias, bias, (size_t)d->m * sizeof *bias);
  const int status = outputs_left(r, s)
                         ? reap_surgery_set_weights(r->pruned, s->node, weights, bias)
                         : reap_surgery_copy_weights(r->pruned, s->node, r->original, s->node, d->record.channels,
                                                     d->record.n_kept, d->record.kept);
  return reap_comm_agree(r->comm, status);
}

static int doubt(run *r, step *s, const forward_error *after) {
  const decision *d = &s->decision;
  double *weights = NULL, *bias = NULL;
  int64_t m;
  if (!is_comparable(r, s, &m)) return REAP_OK;
  int status = reap_alloc(&weights, d->record.n_kept * d->block * d->m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, d->m, sizeof *bias);
  if (status == REAP_OK) status = trained_weights(r, s, m, weights, bias);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = choose(r, s, after, weights, bias);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

int reap_step_confirm(run *r, step *s) {
  const double start = reap_seconds();
  forward_error after;
  if (s->group < 0 || !r->options->refit || !reap_forward_error_wanted(r, &s->held_out)) return REAP_OK;
  REAP_TRY(reap_forward_error_measure(r, s, NULL, NULL, &after));
  if (!reap_forward_error_agrees(&after, &s->held_out)) REAP_TRY(doubt(r, s, &after));
  r->result->seconds_held_out += reap_seconds() - start;
  return REAP_OK;
}
