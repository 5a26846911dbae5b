/* L1 norms of weights, in two readings of "largest L1 norm".
 *
 *   l1         of the weights that read the channel (the consumer's): the "max response" baseline of He, Zhang and Sun,
 *              "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017
 *   l1-filter  of the filter that makes it (the producer's): Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters
 *              for Efficient ConvNets", ICLR 2017; greedy in their terms: inputs of the filter that are gone already
 *              do not count
 *
 * Of a coupled group the norms in all its layers are added up. Batch norms behind the layers are folded in, so that
 * networks exported with and without folding give the same choice. Without re-solved weights the first is the stronger
 * of the two on the networks tried, hence the short name. Cost: one pass over the weights.
 */
#include <math.h>

#include "methods.h"
#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The unit at each entry along axis 0 or 1 (*first or not) of a layer's weights. What a grouped convolution reads and
 * makes are the same units, which stand along axis 0, where whole groups leave. */
static void find_units(const reap_evidence *e, const reap_member *member, bool *first, int64_t *units) {
  const reap_node *node = e->graph->nodes[member->node];
  const bool outputs_first = node->linear != NULL;
  const int64_t groups = reap_node_int(node, "group", 1), count = reap_member_units(e->group, member, units);
  reap_member side = *member;
  *first = (member->role == REAP_PRODUCES) == outputs_first;
  if (*first || groups < 2 || reap_units_repeat(units, count, groups)) return;
  *first = true;
  side.value = outputs_first ? node->outputs[0] : node->inputs[0];
  reap_member_units(e->group, &side, units);
}

/* Adds |w| of a layer's weights to the units that stand along one of its axes. */
static int add_norms(const reap_evidence *e, const reap_member *member, double *scores) {
  const reap_node *node = e->graph->nodes[member->node];
  const reap_tensor *weights = reap_node_constant(e->graph, node, 1);
  const int64_t rows = weights->dims[0], entries = e->graph->values[member->value].dims[member->axis];
  int64_t *units = NULL;
  bool first;
  REAP_TRY(reap_alloc(&units, entries > rows ? entries : rows, sizeof *units));
  find_units(e, member, &first, units);
  const int64_t length = first ? rows : reap_weights_inputs(weights),
                run = weights->count / (first ? length : rows * length);
  for (int64_t i = 0; i < weights->count; i++) { /* of each entry `run` in turn */
    const int64_t unit = units[i / run % length];
    if (unit >= 0) scores[unit] += fabs((double)weights->f32[i]);
  }
  reap_free(&units);
  return REAP_OK;
}

static int score_members(const reap_evidence *e, reap_role role, reap_choice *choice) {
  for (int k = 0; k < e->group->n_members; k++)
    if (e->group->members[k].role == role) REAP_TRY(add_norms(e, &e->group->members[k], choice->scores));
  return REAP_OK;
}

static int score_readers(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return score_members(e, REAP_CONSUMES, choice);
}

static int score_filters(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  return score_members(e, REAP_PRODUCES, choice);
}

const reap_method reap_method_l1 = {
    .name = "l1",
    .summary = "largest L1 norm of the weights that read the channel (He et al., ICCV 2017: max response)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score_readers};

const reap_method reap_method_l1_filter = {
    .name = "l1-filter",
    .summary = "largest L1 norm of the filter that makes the channel (Li et al., ICLR 2017)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score_filters};
