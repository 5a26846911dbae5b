/* Sums over the images of the layer at hand: its moments, and what is left of its target on images held out.
 *
 * Moments are distributed for layers that go to the solver on all ranks, or to that of a single rank, which then needs
 * one matrix less. Few rows of large layers stay rows, and are solved from (sample_space.c). The ridge that images held
 * out prefer takes replicated moments (ridge.c), and so do errors of weights that were not re-solved where there are no
 * images.
 */
#include "base/timer.h"
#include "linalg/placement.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"
#include "stats/store_rows.h"

reap_gram_place reap_prune_place(const reap_comm *comm, const reap_prune_options *options, int64_t n, int64_t m) {
  if (options->ridge_rule == REAP_RIDGE_EVERY_LAYER || (options->from_stats && !options->refit)) return REAP_GRAM_WHOLE;
  if (reap_method_holds_moments(options->method)) return REAP_GRAM_WHOLE;
  if (reap_solver_distributes(comm, options->solver, n, m)) return REAP_GRAM_DISTRIBUTED;
  return n <= reap_ridge_columns(options->ridge_rule) ? REAP_GRAM_WHOLE : REAP_GRAM_FREE;
}

static int gather(run *r, step *s, reap_gram_place place) {
  REAP_TRY(reap_comm_agree(r->comm, reap_step_samples(r, s)));
  if (s->layer.groups > 1) return REAP_OK; /* a problem for each group (group_repair.c) */
  REAP_TRY(reap_gram_gather(r->comm, &s->data, place, &s->gram));
  r->result->seconds_moments += s->gram.seconds;
  r->result->seconds_reduce += s->gram.seconds_reduce;
  return REAP_OK;
}

int reap_step_moments(run *r, step *s) {
  const double start = reap_seconds();
  reap_gram_place place =
      s->group < 0 ? REAP_GRAM_WHOLE : reap_prune_place(r->comm, r->options, s->layer.n, s->layer.m);
  if (place == REAP_GRAM_FREE && s->producer >= 0) place = REAP_GRAM_WHOLE; /* which the rounds with it take */
  if (!reap_run_frozen(r)) return gather(r, s, place);
  REAP_TRY(reap_gram_read(r->comm, r->options->from_stats, r->pruned->nodes[s->node]->layer, &s->layer,
                          place == REAP_GRAM_DISTRIBUTED, true, &s->gram));
  r->result->seconds_read += reap_seconds() - start;
  return REAP_OK;
}

/* What the layer was pruned from, for those who want to look at it or solve it anew. */
int reap_step_keep_data(run *r, const step *s) {
  const reap_node *node = r->pruned->nodes[s->node];
  const reap_prune_options *o = r->options;
  double start = reap_seconds();
  if (o->save_stats) REAP_TRY(reap_stats_writer_add(o->save_stats, node->layer, node->name, &s->gram.view));
  if (o->activations) REAP_TRY(reap_store_rows(r->comm, &s->data, s->gram.view.energy, o->activations));
  r->result->seconds_store += reap_seconds() - start;
  return REAP_OK;
}

int reap_step_measure_held_out(run *r, const step *s, const double *weights, const double *bias,
                               reap_held_out_error *out) {
  double start = reap_seconds();
  const decision *d = &s->decision;
  if (reap_run_frozen(r)) return REAP_OK;
  REAP_TRY(reap_gram_residual(&s->gram, true, d->record.n_kept, d->record.kept, weights, bias, out));
  r->result->seconds_held_out += reap_seconds() - start;
  return REAP_OK;
}
