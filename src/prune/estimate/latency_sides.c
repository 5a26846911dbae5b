/* Sizes of layers that several groups share; see latency_sides.h.
 *
 * A table tells the time of a layer at numbers of inputs and outputs. Where these are of several groups, or of one that
 * has other layers too, a choice of sizes needs the time as a sum over groups, so it is taken to be
 *
 *     t = c0 + c1 in + c2 out + c3 in out,
 *
 * of which each pair of groups has its part. As the sizes form a grid, least squares go one axis after the other: a
 * line through each row, then lines through the rows' two coefficients. What kernels lose at odd sizes is left out.
 *
 * Cost: nothing beside the measurements. Failure modes: none.
 */
#include "latency_sides.h"

#include "model/operators/layer.h"
#include "reap/error.h"
#include "reap/memory.h"

/* A coupled group's entries on one side of a layer; *repeat: the same in each group of the convolution. */
static int has_entries(const reap_graph *graph, const reap_groups *groups, int node, reap_role role, bool *some,
                       bool *repeat) {
  const int64_t parts = reap_node_int(graph->nodes[node], "group", 1);
  *some = false;
  *repeat = true;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    for (int k = 0; group->cuttable && !group->prunable && k < group->n_members; k++) {
      const reap_member *member = &group->members[k];
      int64_t *units = NULL;
      if (member->node != node || member->role != role) continue;
      REAP_TRY(reap_alloc(&units, graph->values[member->value].dims[member->axis], sizeof *units));
      const int64_t count = reap_member_units(group, member, units);
      *some = true;
      *repeat &= reap_units_repeat(units, count, parts);
      reap_free(&units);
    }
  }
  return REAP_OK;
}

/* Channels of the inner group on one side of a layer; 0 if there is none. */
static int64_t inner(const reap_groups *groups, int group) {
  return group >= 0 && reap_groups_at(groups, group)->prunable ? reap_groups_at(groups, group)->units : 0;
}

int reap_latency_sides(const reap_graph *graph, const reap_groups *groups, int node, bool coupled, latency_sides *out) {
  const reap_tensor *weights = reap_node_constant(graph, graph->nodes[node], 1);
  const int64_t parts = reap_node_int(graph->nodes[node], "group", 1);
  bool in = false, made = false, in_repeats = true, out_repeats = true;
  *out = (latency_sides){inner(groups, reap_groups_consumed_by(groups, node)),
                         inner(groups, reap_groups_produced_by(groups, node)), false};
  if (!coupled) return REAP_OK;
  REAP_TRY(has_entries(graph, groups, node, REAP_CONSUMES, &in, &in_repeats));
  REAP_TRY(has_entries(graph, groups, node, REAP_PRODUCES, &made, &out_repeats));
  out->groups_leave = parts > 1 && (in || made) && !(in_repeats && out_repeats);
  if (out->groups_leave) {
    out->in = 0;
    out->out = parts;
    return REAP_OK;
  }
  if (in) out->in = reap_weights_inputs(weights);
  if (made) out->out = weights->dims[0] / parts;
  return REAP_OK;
}

bool reap_latency_coupled(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int node) {
  if (!graph->nodes[node]->linear) return false;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    for (int k = 0; chosen[g] && !group->prunable && k < group->n_members; k++)
      if (group->members[k].node == node && group->members[k].role != REAP_PASSES) return true;
  }
  return false;
}

/* y = line[0] + line[1] x through n points, `step` apart; the mean for one. */
static void fit_line(int n, const int64_t *x, double scale, const double *y, int step, double *line) {
  double mean_x = 0, mean_y = 0, square = 0, product = 0;
  for (int i = 0; i < n; i++) {
    mean_x += scale * (double)x[i] / n;
    mean_y += y[i * step] / n;
  }
  for (int i = 0; i < n; i++) {
    const double apart = scale * (double)x[i] - mean_x;
    square += apart * apart;
    product += apart * (y[i * step] - mean_y);
  }
  line[1] = square > 0 ? product / square : 0;
  line[0] = mean_y - line[1] * mean_x;
}

void reap_latency_fit(const reap_graph *graph, int node, const reap_time_table *t, reap_cost_fit *out) {
  enum { MOST_ROWS = 64 };
  const reap_tensor *weights = reap_node_constant(graph, graph->nodes[node], 1);
  const double in_scale = (double)reap_weights_inputs(weights) / (double)t->in[t->n_in - 1],
               out_scale = (double)weights->dims[0] / (double)t->out[t->n_out - 1];
  const int rows = t->n_in < MOST_ROWS ? t->n_in : MOST_ROWS, first = t->n_in - rows;
  double lines[2 * MOST_ROWS], constant[2], slope[2];
  for (int i = 0; i < rows; i++)
    fit_line(t->n_out, t->out, out_scale, t->ms + (first + i) * t->n_out, 1, lines + 2 * i);
  fit_line(rows, t->in + first, in_scale, lines, 2, constant);
  fit_line(rows, t->in + first, in_scale, lines + 1, 2, slope);
  *out = (reap_cost_fit){true, {constant[0], constant[1], slope[0], slope[1]}};
}
