/* L1 norms of weights, in two readings of "largest L1 norm".
 *
 *   l1         of the weights that read the channel (the consumer's): the "max response" baseline of He, Zhang and Sun,
 *              "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017
 *   l1-filter  of the filter that makes it (the producer's): Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters
 *              for Efficient ConvNets", ICLR 2017; greedy in their terms: inputs of the filter that are gone already
 *              do not count
 *
 * Batch norms behind the layers are folded in, so that networks exported with and without folding give the same choice.
 * Without re-solved weights the first is the stronger of the two on the networks tried, hence the short name. Cost: one
 * pass over the weights.
 */
#include <math.h>

#include "methods.h"
#include "reap/error.h"

/* Sums of |w| over each channel's runs of `run` weights; the channels' runs follow each other in turn. */
static void slice_norms(const reap_tensor *weights, int64_t channels, int64_t run, double *scores) {
  for (int64_t i = 0; i < weights->count; i++) scores[i / run % channels] += fabs((double)weights->f32[i]);
}

static int score_readers(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  const reap_tensor *weights = reap_node_constant(e->graph, e->graph->nodes[e->group->consumers[0]], 1);
  slice_norms(weights, e->group->channels, weights->count / weights->dims[0] / e->group->channels, choice->scores);
  return REAP_OK;
}

static int score_filters(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  const reap_tensor *weights = reap_node_constant(e->graph, e->graph->nodes[e->group->producers[0]], 1);
  slice_norms(weights, e->group->channels, weights->count / weights->dims[0], choice->scores);
  return REAP_OK;
}

const reap_method reap_method_l1 = {
    .name = "l1",
    .summary = "largest L1 norm of the weights that read the channel (He et al., ICCV 2017: max response)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .score = score_readers};

const reap_method reap_method_l1_filter = {
    .name = "l1-filter",
    .summary = "largest L1 norm of the filter that makes the channel (Li et al., ICLR 2017)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .score = score_filters};
