/* Channels and weights of the layer at hand: by the method with the standard ridge, then with the ridge that images
 * held out prefer.
 */
#include "base/timer.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"

/* The ridge that images held out prefer to the standard one, with the channels it keeps if those stand the test too. */
static int improve_ridge(run *r, step *s, const reap_moments *moments, const ridge_choice *standard,
                         const double *weights, const double *bias) {
  const decision_setting by = step_setting(r, s);
  decision *d = &s->decision, other = {0};
  ridge_choice best;
  double error = 0, again = 0;
  REAP_TRY(ridge_choose(r->comm, &s->data, moments, weights, d->record.n_kept, d->record.kept, RIDGE_ALL, standard,
                        &best, &error));
  if (best.ridge == standard->ridge && best.trained == standard->trained) return REAP_OK;
  int status = reap_comm_agree(r->comm, decision_create(d->record.channels, d->block, d->m, d->record.n_kept, &other));
  other.given = d->given;
  if (status == REAP_OK) status = decision_make(&by, moments, &best, weights, bias, &other);
  if (status == REAP_OK)
    status =
        ridge_measure(r->comm, &s->data, other.record.n_kept, other.record.kept, other.weights, other.bias, &again);
  if (status == REAP_OK && again <= error) {
    const decision first = *d;
    *d = other;
    other = first;
  } else if (status == REAP_OK) {
    status = decision_refit(r->comm, by.group->name, moments, &best, weights, d);
  }
  decision_clear(&other);
  return status;
}

static int decide_with(run *r, step *s, const reap_moments *moments, const double *weights, const double *bias) {
  const ridge_choice standard = {r->options->ridge, false};
  const decision_setting by = step_setting(r, s);
  const bool solved = r->options->refit && !(r->options->method->gives & REAP_GIVES_WEIGHTS);
  REAP_TRY(decision_make(&by, moments, &standard, weights, bias, &s->decision));
  if (!r->options->ridge_auto || !solved || run_frozen(r)) return REAP_OK;
  return improve_ridge(r, s, moments, &standard, weights, bias);
}

int step_decide(run *r, step *s, const reap_moments *moments) {
  if (s->source) return step_spread_decide(r, s);
  double start = reap_seconds(), *weights = NULL, *bias = NULL;
  const reap_group *group = reap_groups_at(r->groups, s->group);
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&weights, s->layer.n * s->layer.m, sizeof *weights), agree);
  REAP_TRY_OR(reap_alloc(&bias, s->layer.m, sizeof *bias), agree);
  status = decision_create(group->units, s->layer.block, s->layer.m, r->options->counts[s->group], &s->decision);
  if (r->options->given) s->decision.given = r->options->given[s->group];
agree:
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, s->node, weights, bias);
    status = decide_with(r, s, moments, weights, bias);
  }
  reap_free(&weights);
  reap_free(&bias);
  r->result->seconds_solve += reap_seconds() - start;
  return status;
}
