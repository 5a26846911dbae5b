/* The steps of a run; see steps.h.
 *
 * Repair: what a layer reads has drifted once any layer before it was re-solved. Where such a layer loses no inputs of
 * its own (the first convolution of a residual block, the classifier, a group that keeps all its channels), it is
 * re-solved all the same, against the original network's outputs, if it may be; layers before the first change stay as
 * they are.
 *
 * Shortcut drift: in a residual network the re-solved branch is added to a shortcut that earlier steps have changed;
 * its target then is its own original output plus (original shortcut - present shortcut), so that the sum comes out
 * right. Of several branches of one Add that are re-solved, the last in topological order carries the drift, when the
 * others are final.
 *
 * Cost: two passes over the nodes for each step.
 */
#include "steps.h"

#include <string.h>

#include "exec/output_set.h"
#include "model/operators.h"
#include "model/operators/layer.h"
#include "model/operators/normalisation.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_REPAIRED_COLUMNS = 4608 }; /* 512 channels of 3 x 3: the moments of wider layers would be the largest */

int64_t reap_repair_channels(const reap_graph *graph, int node) {
  return reap_weights_inputs(reap_node_constant(graph, graph->nodes[node], 1));
}

int64_t reap_step_channels(const reap_graph *graph, const reap_groups *groups, const reap_step *step) {
  return step->group < 0 ? reap_repair_channels(graph, step->node) : reap_groups_at(groups, step->group)->units;
}

bool reap_repair_possible(const reap_graph *graph, int index) {
  const reap_node *node = graph->nodes[index];
  if (!node->linear) return false;
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  return weights->count / weights->dims[0] <= MOST_REPAIRED_COLUMNS;
}

/* ------------------------------------------------------------------ layers that are re-solved */

static bool reads_marked(const reap_graph *graph, int node, const bool *marked) {
  const reap_node *reader = graph->nodes[node];
  for (int k = 0; k < reader->n_inputs; k++) {
    const int from = reader->inputs[k] < 0 ? -1 : graph->values[reader->inputs[k]].producer;
    if (from >= 0 && marked[from]) return true;
  }
  return false;
}

enum { NO_STEP = -2, NO_GROUP = -1 };

static bool loses_units(const reap_groups *groups, const reap_steps_wishes *wishes, int g) {
  return wishes->chosen[g] && wishes->counts[g] < reap_groups_at(groups, g)->units;
}

/* Layers that read units of a coupled group which is cut have their inputs already; norms over all of it change what
 * they pass on. */
static void mark_readers(const reap_graph *graph, const reap_group *group, int *group_of, bool *drifted) {
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    const int node = member->node;
    const bool reads = member->role == REAP_CONSUMES;
    if (reads && reap_repair_possible(graph, node) && group_of[node] == NO_STEP) group_of[node] = NO_GROUP;
    drifted[node] |= reads || (member->role == REAP_PASSES && member->input == 0 &&
                               reap_normalises_over(graph, graph->nodes[node], member->axis));
  }
}

/* group_of[n_nodes]: the group pruned at a layer, NO_GROUP if it is repaired. */
static void find_layers(const reap_graph *graph, const reap_groups *groups, const reap_steps_wishes *wishes,
                        int *group_of, bool *drifted) {
  for (int i = 0; i < graph->n_nodes; i++) group_of[i] = NO_STEP;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (loses_units(groups, wishes, g) && group->prunable) group_of[reap_group_consumer(group)] = g;
  }
  for (int g = 0; g < reap_groups_count(groups); g++)
    if (loses_units(groups, wishes, g) && !reap_groups_at(groups, g)->prunable)
      mark_readers(graph, reap_groups_at(groups, g), group_of, drifted);
  for (int i = 0; wishes->repair && i < graph->n_nodes; i++) {
    drifted[i] |= reads_marked(graph, i, drifted);
    if (drifted[i] && group_of[i] == NO_STEP && wishes->repair[i] && reap_repair_possible(graph, i))
      group_of[i] = NO_GROUP;
    drifted[i] |= group_of[i] != NO_STEP;
  }
}

static void add(const reap_graph *graph, reap_step_kind kind, int node, int group, reap_steps *steps) {
  const double work = (double)reap_node_flops(graph, node);
  steps->list[steps->n++] = (reap_step){kind, node, group, -1, work};
  if (kind == REAP_STEP_SCALE)
    steps->n_scaled++;
  else
    steps->work += work;
}

/* ------------------------------------------------------------------ shortcuts */

/* The other operand of the Add that alone reads `output`, or -1. */
static int find_shortcut(const reap_graph *graph, int output) {
  const reap_value *a = &graph->values[output];
  if (a->is_output || a->n_readers != 1) return -1;
  const reap_node *add = graph->nodes[a->reader];
  if (!reap_operator_adds(add->op)) return -1;
  const int other = add->inputs[0] == output ? add->inputs[1] : add->inputs[0];
  const reap_value *b = &graph->values[other];
  return other == output || b->constant || !reap_same_dims(a->rank, a->dims, b->rank, b->dims) ? -1 : other;
}

/* Whether `value` depends on one of the steps first .. end-1, step_of[n_nodes] being those of the nodes or -1. */
static bool depends_on(const reap_graph *graph, int value, const int *step_of, int first, int end, bool *marked) {
  const int producer = graph->values[value].producer;
  for (int i = 0; i <= producer; i++) {
    const bool step = step_of[i] >= first && step_of[i] < end;
    marked[i] = step || reads_marked(graph, i, marked);
  }
  return producer >= 0 && marked[producer];
}

/* A step carries the shortcut's drift if steps before it changed the shortcut and none to come will. */
static void find_shortcuts(const reap_graph *graph, int *step_of, bool *marked, reap_steps *steps) {
  for (int i = 0; i < graph->n_nodes; i++) step_of[i] = -1;
  for (int k = 0; k < steps->n; k++)
    if (steps->list[k].node >= 0) step_of[steps->list[k].node] = k;
  for (int k = 0; k < steps->n; k++) {
    if (steps->list[k].node < 0) continue;
    const int other = find_shortcut(graph, graph->nodes[steps->list[k].node]->outputs[0]);
    if (other >= 0 && depends_on(graph, other, step_of, 0, k, marked) &&
        !depends_on(graph, other, step_of, k, steps->n, marked))
      steps->list[k].shortcut = other;
  }
}

/* ------------------------------------------------------------------ classifiers */

/* The layer whose outputs are this output's logits and nothing else, or -1. */
static int find_classifier(const reap_graph *graph, reap_scaled_outputs which, int value) {
  const reap_output_kind kind = reap_output_kind_of(graph, value);
  const bool logits = kind == REAP_OUTPUT_LOGITS;
  if (kind == REAP_OUTPUT_OTHER || (logits && which == REAP_SCALE_SOFTMAX)) return -1;
  if (!logits) value = graph->nodes[graph->values[value].producer]->inputs[0];
  const int producer = graph->values[value].producer;
  if (graph->values[value].n_readers != !logits || producer < 0 || graph->values[value].rank != 2) return -1;
  return graph->nodes[producer]->linear ? producer : -1;
}

static int add_classifiers(const reap_graph *graph, const reap_steps_wishes *wishes, reap_steps *steps) {
  reap_output_set outputs;
  if (wishes->classifier == REAP_SCALE_NONE || !wishes->repair || steps->n == 0) return REAP_OK;
  REAP_TRY(reap_output_set_create(graph, &outputs));
  for (int k = 0; k < outputs.n; k++) {
    const int node = find_classifier(graph, wishes->classifier, outputs.values[k]);
    if (node >= 0 && wishes->repair[node]) add(graph, REAP_STEP_SCALE, node, -1, steps);
  }
  reap_output_set_clear(&outputs);
  return REAP_OK;
}

/* A step for each group, in their order; where layers are re-solved for each coupled one. */
static void list_cuts(const reap_groups *groups, const reap_steps_wishes *wishes, reap_steps *out) {
  for (int g = 0; g < reap_groups_count(groups); g++)
    if (loses_units(groups, wishes, g) && (wishes->cut_only || !reap_groups_at(groups, g)->prunable))
      out->list[out->n++] = (reap_step){REAP_STEP_CUT, -1, g, -1, 1};
  out->work = out->n;
}

int reap_steps_make(const reap_graph *graph, const reap_groups *groups, const reap_steps_wishes *wishes,
                    reap_steps *out) {
  int *of_node = NULL, status = REAP_OK;
  bool *marked = NULL;
  memset(out, 0, sizeof *out);
  REAP_TRY(reap_alloc(&out->list, reap_groups_count(groups) + graph->n_nodes + graph->n_outputs, sizeof *out->list));
  list_cuts(groups, wishes, out);
  if (wishes->cut_only) return REAP_OK;
  REAP_TRY(reap_alloc(&of_node, graph->n_nodes, sizeof *of_node));
  REAP_TRY_OR(reap_calloc(&marked, graph->n_nodes, sizeof *marked), done);
  find_layers(graph, groups, wishes, of_node, marked);
  for (int i = 0; i < graph->n_nodes; i++)
    if (of_node[i] != NO_STEP) add(graph, of_node[i] < 0 ? REAP_STEP_REPAIR : REAP_STEP_PRUNE, i, of_node[i], out);
  find_shortcuts(graph, of_node, marked, out);
  status = add_classifiers(graph, wishes, out);
done:
  reap_free(&of_node);
  reap_free(&marked);
  return status;
}

void reap_steps_clear(reap_steps *steps) {
  reap_free(&steps->list);
  steps->n = steps->n_scaled = 0;
}
