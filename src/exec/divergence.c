/* Networks' outputs compared, row by row; see divergence.h.
 *
 * KL(p || q) = sum_k p_k (log p_k - log q_k). As p and q both add up to one, q_k - p_k may be added to every term,
 * which makes it p_k (e^-d - 1 + d) with d = log p_k - log q_k: never negative, so that networks that hardly differ
 * have a small divergence and not the rounding of large terms. Rows are normalised in double precision, whatever they
 * are. Probabilities that are 0 in float32 count as 1e-38.
 */
#include "divergence.h"

#include <math.h>
#include <string.h>

/* Logarithm of probability k, up to a constant of its row; a row of NULL is all zeros. */
static double logarithm(reap_output_kind kind, const float *row, int64_t k) {
  const float z = row ? row[k] : 0;
  return kind == REAP_OUTPUT_PROBABILITIES ? log(z > 0 ? fmax((double)z, 1e-38) : 1e-38) : (double)z;
}

/* That constant: log of the sum of exponentials. sharp: one over the temperature. */
static double normaliser(reap_output_kind kind, const float *z, int64_t classes, double sharp) {
  double largest = -INFINITY, sum = 0;
  for (int64_t k = 0; k < classes; k++) largest = fmax(largest, sharp * logarithm(kind, z, k));
  for (int64_t k = 0; k < classes; k++) sum += exp(sharp * logarithm(kind, z, k) - largest);
  return log(sum) + largest;
}

static double divergence(reap_output_kind p_kind, const float *p, reap_output_kind q_kind, const float *q,
                         int64_t classes, double sharp) {
  const double p_all = normaliser(p_kind, p, classes, sharp), q_all = normaliser(q_kind, q, classes, sharp);
  double sum = 0;
  for (int64_t k = 0; k < classes; k++) {
    const double a = sharp * logarithm(p_kind, p, k) - p_all, b = sharp * logarithm(q_kind, q, k) - q_all;
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
                              const float *other, int64_t images, int64_t size, double temperature,
                              reap_divergence *sums) {
  if (original_kind == REAP_OUTPUT_OTHER || other_kind == REAP_OUTPUT_OTHER) sums->kl = sums->kl_zeros = NAN;
  for (int64_t i = 0; i < images; i++) {
    const float *x = original + i * size, *y = other + i * size;
    for (int64_t k = 0; k < size; k++) {
      const double difference = (double)y[k] - (double)x[k];
      sums->error += difference * difference;
      sums->energy += (double)x[k] * (double)x[k];
    }
    if (isnan(sums->kl)) continue;
    const double scale = temperature * temperature;
    sums->kl += scale * divergence(original_kind, x, other_kind, y, size, 1 / temperature);
    sums->kl_zeros += scale * divergence(original_kind, x, REAP_OUTPUT_LOGITS, NULL, size, 1 / temperature);
  }
}

void reap_divergence_add_sums(const reap_divergence *more, reap_divergence *sums) {
  reap_divergence_add_weighted(more, 1, sums);
}

void reap_divergence_add_weighted(const reap_divergence *more, double weight, reap_divergence *sums) {
  sums->kl += weight * more->kl;
  sums->error += weight * more->error;
  sums->energy += weight * more->energy;
  sums->kl_zeros += weight * more->kl_zeros;
}

double reap_divergence_doubt(reap_output_kind kind, const float *row, int64_t classes, double temperature) {
  const double sharp = 1 / temperature, all = normaliser(kind, row, classes, sharp);
  double doubt = 0;
  for (int64_t k = 0; k < classes; k++) {
    const double p = exp(sharp * logarithm(kind, row, k) - all);
    doubt += p * (1 - p);
  }
  return doubt;
}

double reap_divergence_relative_error(const reap_divergence *sums) {
  return sums->error == 0 ? 0 : sums->error / sums->energy;
}

void reap_divergence_probabilities(reap_output_kind kind, const float *row, int64_t classes, double temperature,
                                   double *out) {
  const double sharp = 1 / temperature, all = normaliser(kind, row, classes, sharp);
  for (int64_t k = 0; k < classes; k++) out[k] = exp(sharp * logarithm(kind, row, k) - all);
}

/* What moved over what varies. Float32's rounding is no variation. */
static double share(double moved, double whole, double of_mean) {
  static const double ROUNDING = 1e-12;
  const double varies = whole - of_mean > ROUNDING * whole ? whole - of_mean : whole;
  return moved == 0 ? 0 : varies > 0 ? moved / varies : 1;
}

double reap_divergence_share(const reap_divergence *sums, double of_mean) {
  return isnan(sums->kl) ? share(sums->error, sums->energy, of_mean) : share(sums->kl, sums->kl_zeros, of_mean);
}

double reap_measure_combine(reap_measure measure, int n, const double *values) {
  double all = values[0];
  for (int k = 1; k < n; k++)
    all = measure == REAP_MEASURE_SUM ? all + values[k] : isnan(values[k]) || values[k] > all ? values[k] : all;
  return all;
}

double reap_measure_moved(reap_measure measure, int n, const reap_divergence *sums, const double *of_means,
                          int64_t images) {
  if (n == 1) return isnan(sums->kl) ? reap_divergence_relative_error(sums) : sums->kl / (double)images;
  double all = reap_divergence_share(&sums[0], of_means[0]);
  for (int k = 1; k < n; k++) {
    const double both[] = {all, reap_divergence_share(&sums[k], of_means[k])};
    all = reap_measure_combine(measure, 2, both);
  }
  return all;
}
