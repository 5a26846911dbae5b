/* L1 norm of the filter that makes the channel (the producer's): Li, Kadav, Durdanovic, Samet and Graf, "Pruning
 * Filters for Efficient ConvNets", ICLR 2017; greedy in their terms: inputs of the filter that are gone already do not
 * count.
 *
 * Of a coupled group the norms in all layers that make it are added up. Batch norms behind the layers are folded in, so
 * that networks exported with and without folding give the same choice. Cost: one pass over the weights.
 */
#include "methods.h"
#include "unit_weights.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return reap_unit_weights_add(e, REAP_PRODUCES, 1, choice->scores);
}

const reap_method reap_method_l1_filter = {
    .name = "l1-filter",
    .summary = "largest L1 norm of the filter that makes the channel (Li et al., ICLR 2017)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
