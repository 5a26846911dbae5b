/* Error after the activation. Our reading of Kamma and Wada, "POEM: Pruning with Output Error Minimization for
 * Compressing Deep Neural Networks", IEICE Trans. Inf. & Syst. E108-D(7), 2025, of which we know the abstract, and that
 * of an earlier submission (openreview.net/forum?id=YlMvAomKXO): channels are chosen and weights are solved by the
 * error behind the activation, by weighted least squares. Which weights it takes is not said there; what follows is
 * ours.
 *
 * Let a Relu follow the layer that reads the group. An error e of an output y comes to Relu(y + e) - Relu(y), which is
 * e where y > 0 and 0 elsewhere, but for errors that change the sign. If e does not depend on y, its expected square is
 * P(y > 0) E(e^2). So the channels go by reap's elimination of
 *
 *     sum over outputs k of p_k | Y_k - X_S W_k |^2,    p_k = P(y_k > 0)
 *
 * With the present weights W and bias b, y_k has the mean x'W_k + b_k (x: mean of X) and the variance W_k' G W_k / N (G
 * centred), which the moments give exactly; p_k is that of a normal variable with these. Weights that are the same for
 * all rows change no least-squares solution, so --refit is common. Without a Relu directly behind the layer all p_k are
 * 1, and the choice is reap's: so it is in residual blocks whose sum is rectified, as the moments do not know the other
 * summand.
 *
 * Inner groups alone. Cost: that of the elimination, and n^2 m for the variances. Memory: two matrices [n, m] before
 * the elimination, one beside it. Failure mode: outputs far from normal, or errors as large as the outputs.
 */
#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "methods.h"
#include "model/operators.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

static bool rectified(const reap_evidence *e) {
  const reap_value *v = &e->graph->values[e->graph->nodes[e->readers->node]->outputs[0]];
  return v->n_readers == 1 && !v->is_output && reap_operator_rectifies(e->graph->nodes[v->reader]->op);
}

/* share[m] of the rows in which each output is positive; product [m, n]: scratch. */
static int find_shares(const reap_moments *s, const double *weights, const double *bias, double *product,
                       double *share) {
  const double samples = (double)s->samples;
  REAP_TRY(reap_dgemm('N', 'N', s->m, s->n, s->n, 1, weights, s->m, s->gram, s->n, 0, product, s->m));
  for (int64_t k = 0; k < s->m; k++) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < s->n; i++) {
      mean += s->sum_x[i] * weights[k + i * s->m] / samples;
      square += product[k + i * s->m] * weights[k + i * s->m] / samples;
    }
    const double variance = square - mean * mean, at = mean + bias[k];
    share[k] = variance > 1e-12 * square ? erfc(-at / sqrt(2 * variance)) / 2 : at > 0;
  }
  return REAP_OK;
}

/* Outputs times the roots of their shares. The energy of each alone is not known; that of all, which is no less, moves
 * every error by the same. */
static void weigh(const reap_moments *s, const double *share, double *cross, double *sum_y) {
  for (int64_t k = 0; k < s->m; k++) sum_y[k] = sqrt(share[k]) * s->sum_y[k];
  for (int64_t i = 0; i < s->n * s->m; i++) cross[i] = sqrt(share[i % s->m]) * s->cross[i];
}

static int eliminate(const reap_evidence *e, const reap_moments *moments, int64_t *order) {
  const reap_gram gram = reap_gram_of(moments);
  const reap_solve_options options = {.solver = REAP_SOLVER_LOCAL, .ridge = e->ridge};
  reap_path *path = NULL;
  const int status = reap_solve(&gram, e->n_kept, &options, e->group->name, &path);
  if (status == REAP_OK) memcpy(order, path->order, (size_t)path->n_removed * sizeof *order);
  reap_path_destroy(&path);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  const reap_moments *s = e->gram->moments;
  if (!rectified(e)) return eliminate(e, s, choice->order);
  reap_moments weighed = *s;
  double *weights = NULL, *bias = NULL, *share = NULL, *cross = NULL, *sum_y = NULL;
  int status = reap_reader_weights(e, e->readers, &weights, &bias);
  if (status == REAP_OK) status = reap_alloc(&share, s->m, sizeof *share);
  if (status == REAP_OK) status = reap_alloc(&sum_y, s->m, sizeof *sum_y);
  if (status == REAP_OK) status = reap_alloc(&cross, s->n * s->m, sizeof *cross);
  if (status == REAP_OK) status = find_shares(s, weights, bias, cross, share);
  if (status == REAP_OK) {
    weigh(s, share, cross, sum_y);
    weighed.cross = cross;
    weighed.sum_y = sum_y;
    reap_free(&weights); /* room for the elimination */
    status = eliminate(e, &weighed, choice->order);
  }
  reap_free(&weights);
  reap_free(&bias);
  reap_free(&share);
  reap_free(&cross);
  reap_free(&sum_y);
  return status;
}

const reap_method reap_method_reap_post = {
    .name = "reap-post",
    .summary = "reap by the error after the activation; our reading of Kamma and Wada, POEM, 2025",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_ORDER,
    .can = 0,
    .score = score};
