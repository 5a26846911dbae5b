/* L2 norm of the weights that read the channel (the consumer's); of a coupled group, of those in all layers that read
 * it together. Cost: one pass over the weights. */
#include "methods.h"
#include "unit_weights.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return reap_unit_weights_add(e, REAP_CONSUMES, 2, choice->scores); /* the root changes no order */
}

const reap_method reap_method_l2 = {.name = "l2",
                                    .summary = "largest L2 norm of the weights that read the channel",
                                    .needs = REAP_NEEDS_WEIGHTS,
                                    .gives = REAP_GIVES_SCORES,
                                    .can = REAP_CAN_COUPLED,
                                    .score = score};
