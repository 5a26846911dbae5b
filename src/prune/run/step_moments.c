/* Sums over the images of the layer at hand: its moments, and what is left of its target on images held out. */
#include "base/timer.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"
#include "stats/store_rows.h"
#include "stats/stored_moments.h"

static int gather_moments(run *r, step *s, reap_moments **moments) {
  const double start = reap_seconds();
  int status = step_samples(r, s);
  if (status == REAP_OK) status = reap_accumulator_create(&s->data, &s->accumulator);
  REAP_TRY(reap_comm_agree(r->comm, status));
  REAP_TRY(reap_accumulator_sum(s->accumulator, r->comm));
  const double middle = reap_seconds();
  REAP_TRY(reap_accumulator_reduce(s->accumulator, r->comm, moments));
  s->samples = (*moments)->samples;
  s->moments_flops = reap_accumulator_multiply_adds(s->accumulator, s->samples);
  s->moments_seconds = middle - start;
  r->result->seconds_moments += middle - start;
  r->result->seconds_reduce += reap_seconds() - middle;
  return REAP_OK;
}

static int read_moments(run *r, step *s, reap_moments **moments) {
  double start = reap_seconds();
  int status = stored_moments_read(r->options->from_stats, r->pruned->nodes[s->node]->layer, &s->layer, moments);
  REAP_TRY(reap_comm_agree(r->comm, status));
  s->samples = (*moments)->samples;
  r->result->seconds_read += reap_seconds() - start;
  return REAP_OK;
}

int step_moments(run *r, step *s, reap_moments **moments) {
  *moments = NULL;
  if (step_spreads(r, s)) return step_spread_moments(r, s);
  return run_frozen(r) ? read_moments(r, s, moments) : gather_moments(r, s, moments);
}

/* What the layer was pruned from, for those who want to look at it or solve it anew. */
int step_keep_data(run *r, const step *s, const reap_moments *moments) {
  const reap_node *node = r->pruned->nodes[s->node];
  double start = reap_seconds();
  reap_stats_writer *stats = r->options->save_stats;
  if (stats)
    REAP_TRY(moments ? reap_stats_writer_add(stats, node->layer, node->name, moments)
                     : reap_stats_writer_add_panels(stats, node->layer, node->name, s->source));
  const double energy = moments ? moments->energy : s->source->energy;
  if (r->options->activations) REAP_TRY(store_rows(r->comm, &s->data, energy, r->options->activations));
  r->result->seconds_store += reap_seconds() - start;
  return REAP_OK;
}

int step_measure_held_out(run *r, const step *s, const double *weights, const double *bias, reap_held_out_error *out) {
  double start = reap_seconds();
  const decision *d = &s->decision;
  if (run_frozen(r)) return REAP_OK;
  REAP_TRY(
      s->panels
          ? reap_moments_panels_residual(s->panels, true, d->record.n_kept, d->record.kept, weights, bias, out)
          : reap_accumulator_residual(s->accumulator, r->comm, d->record.n_kept, d->record.kept, weights, bias, out));
  r->result->seconds_held_out += reap_seconds() - start;
  return REAP_OK;
}
