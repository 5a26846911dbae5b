/* Scale of the batch normalisation: the criterion of Liu, Li, Shen, Huang, Yan and Zhang, "Learning Efficient
 * Convolutional Networks through Network Slimming", ICCV 2017, without their training for sparse scales.
 *
 * The channels with the largest |gamma| stay, gamma being the file's own: that of the norm behind the layer which makes
 * the channel, folded in or not. Of a coupled group all norms that its units pass count, |gamma| added up. A group that
 * passes none, as in a network that was exported with its norms folded, is refused.
 */
#include <math.h>

#include "methods.h"
#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The scales of the norm at a member, one for each entry; NULL: there is none. */
static const float *scales_of(const reap_evidence *e, const reap_member *member) {
  const reap_node *node = e->graph->nodes[member->node];
  if (reap_is_batch_norm(node) && member->input == 0)
    return reap_node_constant(e->graph, node, 1) ? reap_node_constant(e->graph, node, 1)->f32 : NULL;
  return member->role == REAP_PRODUCES && node->linear && node->linear->norm ? node->linear->norm->scale : NULL;
}

static int check(const reap_graph *graph, const reap_group *group) {
  const reap_evidence e = {.graph = graph, .group = group};
  for (int k = 0; k < group->n_members; k++)
    if (scales_of(&e, &group->members[k])) return REAP_OK;
  return reap_error(REAP_ERR_USAGE,
                    "group %s: method bn-scale goes by scales of batch norms, and the file has none here: exclude the "
                    "group, or export the network with its norms",
                    group->name);
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  for (int k = 0; k < e->group->n_members; k++) {
    const reap_member *member = &e->group->members[k];
    const float *scales = scales_of(e, member);
    int64_t *units = NULL;
    if (!scales) continue;
    REAP_TRY(reap_alloc(&units, e->graph->values[member->value].dims[member->axis], sizeof *units));
    const int64_t count = reap_member_units(e->group, member, units);
    for (int64_t i = 0; i < count; i++)
      if (units[i] >= 0) choice->scores[units[i]] += fabs((double)scales[i]);
    reap_free(&units);
  }
  return REAP_OK;
}

const reap_method reap_method_bn_scale = {
    .name = "bn-scale",
    .summary = "largest scale of the batch norm behind the channel (Liu et al., ICCV 2017: network slimming)",
    .needs = REAP_NEEDS_NORM_SCALES,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score,
    .check = check};
