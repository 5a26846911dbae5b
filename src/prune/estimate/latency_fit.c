/* Times of a layer that several groups share; see latency_fit.h.
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
#include "latency_fit.h"

#include "model/operators/layer.h"

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
