/* L1 norm of the weights that read the channel (the consumer's): the "max response" baseline of He, Zhang and Sun,
 * "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017.
 *
 * Of a coupled group the norms in all layers that read it are added up. Without re-solved weights it is stronger than
 * l1-filter on the networks tried, hence the short name. Cost: one pass over the weights.
 */
#include "methods.h"
#include "unit_weights.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return reap_unit_weights_add(e, REAP_CONSUMES, 1, choice->scores);
}

const reap_method reap_method_l1 = {
    .name = "l1",
    .summary = "largest L1 norm of the weights that read the channel (He et al., ICCV 2017: max response)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
