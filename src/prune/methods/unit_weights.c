#include "unit_weights.h"

#include <math.h>

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

int reap_unit_weights_find(const reap_evidence *e, const reap_member *member, reap_unit_weights *out) {
  const reap_tensor *weights = reap_node_constant(e->graph, e->graph->nodes[member->node], 1);
  const int64_t rows = weights->dims[0], entries = e->graph->values[member->value].dims[member->axis];
  bool first;
  *out = (reap_unit_weights){.weights = weights};
  REAP_TRY(reap_alloc(&out->units, entries > rows ? entries : rows, sizeof *out->units));
  find_units(e, member, &first, out->units);
  out->length = first ? rows : reap_weights_inputs(weights);
  out->run = weights->count / (first ? out->length : rows * out->length);
  return REAP_OK;
}

void reap_unit_weights_clear(reap_unit_weights *w) { reap_free(&w->units); }

static int add(const reap_evidence *e, const reap_member *member, int power, double *sums) {
  reap_unit_weights w;
  REAP_TRY(reap_unit_weights_find(e, member, &w));
  for (int64_t i = 0; i < w.weights->count; i++) {
    const int64_t unit = w.units[i / w.run % w.length];
    const double size = fabs((double)w.weights->f32[i]);
    if (unit >= 0) sums[unit] += power == 2 ? size * size : size;
  }
  reap_unit_weights_clear(&w);
  return REAP_OK;
}

int reap_unit_weights_add(const reap_evidence *e, reap_role role, int power, double *sums) {
  for (int k = 0; k < e->group->n_members; k++)
    if (e->group->members[k].role == role) REAP_TRY(add(e, &e->group->members[k], power, sums));
  return REAP_OK;
}
