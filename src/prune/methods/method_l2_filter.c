/* L2 norm of the filter that makes the channel (the producer's), the criterion of He, Kang, Dong, Fu and Yang, "Soft
 * Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI 2018, without their training.
 *
 * Of a coupled group, of the filters in all layers that make it together. Batch norms behind the layers are folded in.
 * Cost: one pass over the weights.
 */
#include "methods.h"
#include "unit_weights.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return reap_unit_weights_add(e, REAP_PRODUCES, 2, choice->scores); /* the root changes no order */
}

const reap_method reap_method_l2_filter = {
    .name = "l2-filter",
    .summary = "largest L2 norm of the filter that makes the channel (He et al., IJCAI 2018)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
