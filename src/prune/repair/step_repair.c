/* Repair of a layer that loses no inputs but reads tensors that pruning has changed.
 *
 * Its weights are solved anew against the original network's outputs, the shortcut's drift included where it carries
 * that, as those of a pruned layer are (where rows are few, ridge.c tells how the ridge is picked and when it pulls
 * towards the trained weights). The old weights stay if the new ones have the larger held-out error, by the
 * rows and run forward (forward_error.h). Those of a grouped convolution are solved by group_repair.c.
 *
 * Cost: the layer's moments, and what ridge.c takes.
 */
#include <math.h>

#include "base/timer.h"
#include "group_repair.h"
#include "model/groups/surgery.h"
#include "prune/run/forward_error.h"
#include "prune/run/run.h"
#include "reap/error.h"
#include "reap/memory.h"

/* With so many rows a column no ridge but the standard one was ever picked; looking costs more than the solve. */
enum { MANY_ROWS = 100 };

/* Errors of the old weights. Collective. */
static int measure_before(run *r, step *s, const reap_moments *moments, const double *weights, const double *bias,
                          reap_held_out_error *held_out) {
  const decision *d = &s->decision;
  double error = 0, energy = reap_moments_centred_energy(moments);
  int status = reap_moments_error(moments, d->record.n_kept, d->record.kept, weights, bias, &error);
  REAP_TRY(reap_comm_agree(r->comm, status));
  s->decision.record.error_before = reap_relative_error(error, energy);
  REAP_TRY(reap_step_measure_held_out(r, s, weights, bias, held_out));
  s->decision.record.held_out_before = reap_step_held_out_error(held_out);
  return REAP_OK;
}

/* The guard above all relies on the rows, as the solve does. So both weights have to do in the network what the rows
 * say; if either does not, the network alone decides. Collective. */
static int confirm(run *r, step *s, const reap_held_out_error *rows_before) {
  const double start = reap_seconds();
  forward_error before, after;
  REAP_TRY(reap_forward_error_measure(r, s, NULL, NULL, &before));
  REAP_TRY(reap_forward_error_measure(r, s, s->decision.weights, s->decision.bias, &after));
  r->result->seconds_held_out += reap_seconds() - start;
  if (reap_forward_error_agrees(&before, rows_before) && reap_forward_error_agrees(&after, &s->held_out))
    return REAP_OK;
  reap_forward_error_warn(r, s, &s->held_out, after.error, before.error, "the old ones");
  s->decision.record.changed = after.error < before.error;
  s->held_out.error = after.error;
  s->decision.record.held_out_error = reap_step_held_out_error(&s->held_out);
  s->decision.record.held_out_before = reap_relative_error(before.error, s->held_out.energy);
  return REAP_OK;
}

/* Either weights, with their errors. Collective. */
static int conclude(run *r, step *s, const reap_held_out_error *before) {
  decision *d = &s->decision;
  if (d->record.changed && reap_forward_error_wanted(r, &s->held_out)) REAP_TRY(confirm(r, s, before));
  if (d->record.changed) return REAP_OK;
  d->record.relative_error = d->record.error_before;
  d->record.held_out_error = d->record.held_out_before;
  s->held_out.error = d->record.held_out_before * before->energy; /* of the weights that stay */
  return REAP_OK;
}

/* New weights, and whether they are the better ones. Collective. */
static int solve(run *r, step *s, const reap_moments *moments, const double *weights) {
  const char *layer = r->pruned->nodes[s->node]->layer;
  const ridge_choice standard = {r->options->ridge, false};
  decision *d = &s->decision;
  ridge_choice best;
  double error = 0;
  if (s->gram.view.samples >= MANY_ROWS * s->layer.n)
    best = standard;
  else
    REAP_TRY(reap_ridge_choose(r->comm, &s->data, moments, weights, d->record.n_kept, d->record.kept, RIDGE_PULLS,
                               &standard, &best, &error));
  REAP_TRY(reap_decision_refit(r->comm, layer, moments, &best, weights, d));
  REAP_TRY(reap_step_measure_held_out(r, s, d->weights, d->bias, &s->held_out));
  d->record.held_out_error = reap_step_held_out_error(&s->held_out);
  d->record.changed =
      s->held_out.samples > 0 ? d->record.held_out_error < d->record.held_out_before : !reap_step_has_few_samples(s);
  return REAP_OK;
}

/* Collective. */
static int repair(run *r, step *s, const double *weights, const double *bias) {
  reap_held_out_error before = {0};
  if (s->layer.groups > 1) {
    REAP_TRY(reap_repair_groups(r, s, weights, bias, &before));
  } else {
    REAP_TRY(measure_before(r, s, s->gram.moments, weights, bias, &before));
    REAP_TRY(solve(r, s, s->gram.moments, weights));
  }
  REAP_TRY(conclude(r, s, &before));
  s->decision.record.channels *= s->layer.groups;
  return REAP_OK;
}

int reap_step_repair(run *r, step *s) {
  const double start = reap_seconds(), measured = r->result->seconds_held_out;
  double *weights = NULL, *bias = NULL;
  const reap_layer *layer = &s->layer;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&weights, layer->n * layer->m, sizeof *weights), agree);
  REAP_TRY_OR(reap_alloc(&bias, layer->m, sizeof *bias), agree);
  status = reap_decision_create(layer->channels, layer->block, layer->m, layer->channels, &s->decision);
  for (int64_t k = 0; status == REAP_OK && k < layer->channels; k++) s->decision.record.kept[k] = k;
agree:
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, bias);
    status = repair(r, s, weights, bias);
  }
  reap_free(&weights);
  reap_free(&bias);
  r->result->seconds_solve += reap_seconds() - start - (r->result->seconds_held_out - measured);
  return status;
}
