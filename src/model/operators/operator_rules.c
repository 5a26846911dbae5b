/* Binds the lines of operators.def to their shape, folding and layout rules. */
#include <stddef.h>

#include "layout.h"
#include "layout_rules.h"
#include "rules.h"

#define REAP_OPERATOR(name, min, max, shape, fold, kernel, layout, channels) \
  {reap_shape_##shape, reap_fold_##fold, reap_layout_##layout},

static const reap_operator_rules table[] = {
#include "model/operators.def"
};

#undef REAP_OPERATOR

const reap_operator_rules *reap_rules_of(const reap_operator *op) { return &table[op->id]; }

void reap_layout_infer(reap_graph *graph, const reap_node *node) {
  reap_value *y = reap_node_output(graph, node, 0);
  if (y) y->channel_axis = y->constant ? -1 : reap_rules_of(node->op)->channel_axis(graph, node);
}

int reap_linear_axis(const reap_graph *graph, const reap_node *node) {
  return reap_rules_of(node->op)->channel_axis(graph, node);
}
