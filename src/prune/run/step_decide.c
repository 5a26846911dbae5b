/* Channels and weights of the layer at hand: by the method with the standard ridge, then with the ridge that images
 * held out prefer.
 */
#include <string.h>

#include "base/timer.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"

/* The ridge that images held out prefer to the standard one, with the channels it keeps if those stand the test too. */
static int improve_ridge(run *r, step *s, const ridge_choice *standard, const double *weights, const double *bias) {
  const reap_moments *moments = s->gram.moments;
  const decision_setting by = step_setting(r, s);
  decision *d = &s->decision, other = {0};
  ridge_choice best;
  double error = 0, again = 0;
  REAP_TRY(reap_ridge_choose(r->comm, &s->data, moments, weights, d->record.n_kept, d->record.kept, RIDGE_ALL, standard,
                             &best, &error));
  if (best.ridge == standard->ridge && best.trained == standard->trained) return REAP_OK;
  int status =
      reap_comm_agree(r->comm, reap_decision_create(d->record.channels, d->block, d->m, d->record.n_kept, &other));
  other.given = d->given;
  if (status == REAP_OK) status = reap_decision_make(&by, &s->gram, &best, weights, bias, &other);
  if (status == REAP_OK)
    status = reap_ridge_measure(r->comm, &s->data, other.record.n_kept, other.record.kept, other.weights, other.bias,
                                &again);
  if (status == REAP_OK && again <= error) {
    const decision first = *d;
    *d = other;
    other = first;
  } else if (status == REAP_OK) {
    status = reap_decision_refit(r->comm, by.group->name, moments, &best, weights, d);
  }
  reap_decision_clear(&other);
  return status;
}

/* The weights that the layer has now, on the channels kept. */
static int keep_weights(run *r, step *s) {
  decision *d = &s->decision;
  const int64_t rows = d->block * d->m;
  double *weights = NULL;
  int status = reap_comm_agree(r->comm, reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights));
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, d->bias);
    for (int64_t k = 0; k < d->record.n_kept; k++)
      memcpy(d->weights + k * rows, weights + d->record.kept[k] * rows, (size_t)rows * sizeof *weights);
  }
  reap_free(&weights);
  return status;
}

/* What is left on the images in the moments is measured on the images themselves: G is spent. */
static int decide_distributed(run *r, step *s) {
  const decision_setting by = step_setting(r, s);
  decision *d = &s->decision;
  reap_held_out_error error = {0};
  REAP_TRY(reap_decision_make(&by, &s->gram, NULL, NULL, NULL, d));
  if (!r->options->refit) REAP_TRY(keep_weights(r, s));
  if (s->gram.place == REAP_GRAM_FILE) return REAP_OK;
  REAP_TRY(reap_gram_residual(&s->gram, false, d->record.n_kept, d->record.kept, d->weights, d->bias, &error));
  d->record.relative_error = reap_relative_error(error.error, error.energy);
  return REAP_OK;
}

static int decide(run *r, step *s) {
  const ridge_choice standard = {r->options->ridge, false};
  const decision_setting by = step_setting(r, s);
  const bool solved = r->options->refit && !(r->options->method->gives & REAP_GIVES_WEIGHTS);
  double *weights = NULL, *bias = NULL;
  int status = reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, s->layer.m, sizeof *bias);
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, bias);
    status = reap_decision_make(&by, &s->gram, &standard, weights, bias, &s->decision);
  }
  if (status == REAP_OK && r->options->ridge_auto && solved && !reap_run_frozen(r))
    status = improve_ridge(r, s, &standard, weights, bias);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

int reap_step_decide(run *r, step *s) {
  const double start = reap_seconds();
  const reap_prune_options *o = r->options;
  const int64_t units = reap_groups_at(r->groups, s->group)->units;
  int status = reap_decision_create(units, s->layer.block, s->layer.m, o->counts[s->group], &s->decision);
  if (o->given) s->decision.given = o->given[s->group];
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = s->gram.place == REAP_GRAM_REPLICATED ? decide(r, s) : decide_distributed(r, s);
  r->result->seconds_solve += reap_seconds() - start;
  return status;
}
