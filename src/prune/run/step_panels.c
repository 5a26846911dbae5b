/* The layer at hand where no rank is to hold its moments: by panels from the images, or piece by piece from a file.
 *
 * Panels are for layers that go to the solver on all ranks, or to that of a single rank, which then needs one matrix
 * less. The ridge that images held out prefer takes whole moments (ridge.c), and so do errors of weights that were not
 * re-solved where there are no images.
 */
#include <string.h>

#include "base/timer.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"
#include "stats/stored_moments.h"

bool reap_prune_spreads(const reap_comm *comm, const reap_prune_options *options, int64_t n, int64_t m) {
  if (options->ridge_auto || (options->from_stats && !options->refit)) return false;
  if (reap_method_holds_moments(options->method)) return false;
  return reap_solver_spreads(comm, options->solver, n, m);
}

bool step_spreads(const run *r, const step *s) {
  return s->group >= 0 && reap_prune_spreads(r->comm, r->options, s->layer.n, s->layer.m);
}

int step_spread_moments(run *r, step *s) {
  const double start = reap_seconds();
  const char *name = r->pruned->nodes[s->node]->layer;
  if (run_frozen(r)) {
    REAP_TRY(reap_comm_agree(r->comm, stored_moments_open(r->options->from_stats, name, &s->layer, &s->stored)));
    s->source = reap_stats_source_moments(s->stored);
    s->samples = s->source->samples;
    r->result->seconds_read += reap_seconds() - start;
    return REAP_OK;
  }
  REAP_TRY(reap_comm_agree(r->comm, step_samples(r, s)));
  REAP_TRY(reap_moments_panels_create(r->comm, &s->data, 0, &s->panels));
  s->source = reap_moments_panels_source(s->panels);
  s->samples = s->source->samples;
  s->moments_flops = reap_moments_panels_multiply_adds(s->panels);
  s->moments_seconds = reap_seconds() - start;
  r->result->seconds_moments += s->moments_seconds;
  return REAP_OK;
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

/* What is left on the images in the moments, from the images themselves: G is spent. */
static int measure_error(step *s) {
  decision *d = &s->decision;
  reap_held_out_error error = {0};
  REAP_TRY(
      reap_moments_panels_residual(s->panels, false, d->record.n_kept, d->record.kept, d->weights, d->bias, &error));
  d->record.relative_error = reap_relative_error(error.error, error.energy);
  return REAP_OK;
}

int step_spread_decide(run *r, step *s) {
  const double start = reap_seconds();
  const decision_setting by = step_setting(r, s);
  int status = decision_create(by.group->units, s->layer.block, s->layer.m, r->options->counts[s->group], &s->decision);
  if (r->options->given) s->decision.given = r->options->given[s->group];
  status = reap_comm_agree(r->comm, status);
  if (status == REAP_OK) status = decision_make_together(&by, s->source, &s->decision);
  if (status == REAP_OK && !r->options->refit) status = keep_weights(r, s);
  if (status == REAP_OK && s->panels) status = measure_error(s);
  r->result->seconds_solve += reap_seconds() - start;
  return status;
}
