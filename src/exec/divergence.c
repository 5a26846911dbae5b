/* Two networks' outputs compared, row by row; see divergence.h.
 *
 * KL(p || q) = sum_k p_k (log p_k - log q_k). As p and q both add up to one, q_k - p_k may be added to every term, which
 * makes it p_k (e^-d - 1 + d) with d = log p_k - log q_k: never negative, so that networks that hardly differ have a
 * small divergence and not the rounding of large terms. Rows are normalised in double precision, whatever they are.
 * Probabilities that are 0 in float32 count as 1e-38.
 */
#include "reap/divergence.h"

#include <math.h>
#include <string.h>

#include "reap/operators.h"

reap_output_kind reap_output_kind_of(const reap_graph *graph) {
  const reap_value *y = &graph->values[graph->outputs[0]];
  const char *op = y->producer >= 0 ? graph->nodes[y->producer]->op->name : "";
  if (y->rank != 2 || y->dims[1] < 2) return REAP_OUTPUT_OTHER;
  return strcmp(op, "Softmax") == 0      ? REAP_OUTPUT_PROBABILITIES
         : strcmp(op, "LogSoftmax") == 0 ? REAP_OUTPUT_LOG_PROBABILITIES
                                         : REAP_OUTPUT_LOGITS;
}

/* Logarithm of a probability, up to a constant of its row. */
static double logarithm(reap_output_kind kind, float z) {
  return kind == REAP_OUTPUT_PROBABILITIES ? log(z > 0 ? fmax((double)z, 1e-38) : 1e-38) : (double)z;
}

/* That constant: log of the sum of exponentials. sharp: one over the temperature. */
static double normaliser(reap_output_kind kind, const float *z, int64_t classes, double sharp) {
  double largest = -INFINITY, sum = 0;
  for (int64_t k = 0; k < classes; k++) largest = fmax(largest, sharp * logarithm(kind, z[k]));
  for (int64_t k = 0; k < classes; k++) sum += exp(sharp * logarithm(kind, z[k]) - largest);
  return log(sum) + largest;
}

static double divergence(reap_output_kind p_kind, const float *p, reap_output_kind q_kind, const float *q, int64_t classes,
                         double sharp) {
  const double p_all = normaliser(p_kind, p, classes, sharp), q_all = normaliser(q_kind, q, classes, sharp);
  double sum = 0;
  for (int64_t k = 0; k < classes; k++) {
    const double a = sharp * logarithm(p_kind, p[k]) - p_all, b = sharp * logarithm(q_kind, q[k]) - q_all;
    /* The first form loses the small ones, the second overflows where q is much the larger. */
    sum += fabs(a - b) < 1 ? exp(a) * (expm1(b - a) + (a - b)) : exp(b) - exp(a) + exp(a) * (a - b);
  }
  return sum;
}

void reap_divergence_add(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                         const float *other, int64_t images, int64_t size, reap_divergence *sums) {
  reap_divergence_add_soft(original_kind, original, other_kind, other, images, size, 1, sums);
}

void reap_divergence_add_soft(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                              const float *other, int64_t images, int64_t size, double temperature, reap_divergence *sums) {
  if (original_kind == REAP_OUTPUT_OTHER || other_kind == REAP_OUTPUT_OTHER) sums->kl = NAN;
  for (int64_t i = 0; i < images; i++) {
    const float *x = original + i * size, *y = other + i * size;
    for (int64_t k = 0; k < size; k++) {
      const double difference = (double)y[k] - (double)x[k];
      sums->error += difference * difference;
      sums->energy += (double)x[k] * (double)x[k];
    }
    if (!isnan(sums->kl)) sums->kl += temperature * temperature * divergence(original_kind, x, other_kind, y, size, 1 / temperature);
  }
}

double reap_divergence_relative_error(const reap_divergence *sums) {
  return sums->error == 0 ? 0 : sums->error / sums->energy;
}
