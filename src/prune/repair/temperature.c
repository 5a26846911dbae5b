/* Divergence of two soft-maxes and the factor that lessens it, by golden sections. Cost: SECTIONS passes over the rows.
 */
#include "temperature.h"

#include <math.h>

enum { SECTIONS = 40 };
static const double LEAST = 0.125;

/* Log of the sum of exponentials. */
static double normaliser(const double *z, int64_t m, double scale) {
  double largest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < m; j++) largest = fmax(largest, scale * z[j]);
  for (int64_t j = 0; j < m; j++) sum += exp(scale * z[j] - largest);
  return log(sum) + largest;
}

double reap_softmax_divergence(int64_t rows, int64_t m, const double *wanted, const double *logits, double scale) {
  double sum = 0;
  for (int64_t i = 0; i < rows; i++) {
    const double *y = wanted + i * m, *z = logits + i * m;
    const double all_y = normaliser(y, m, 1), all_z = normaliser(z, m, scale);
    for (int64_t j = 0; j < m; j++) sum += exp(y[j] - all_y) * ((y[j] - all_y) - (scale * z[j] - all_z));
  }
  return sum / (double)rows;
}

double reap_softmax_scale(int64_t rows, int64_t m, const double *wanted, const double *logits) {
  const double golden = 0.5 * (sqrt(5) - 1);
  double low = LEAST, high = 1, left = high - golden * (high - low), right = low + golden * (high - low);
  double at_left = reap_softmax_divergence(rows, m, wanted, logits, left);
  double at_right = reap_softmax_divergence(rows, m, wanted, logits, right);
  for (int k = 0; k < SECTIONS; k++) {
    if (at_left < at_right) {
      high = right, right = left, at_right = at_left;
      left = high - golden * (high - low);
      at_left = reap_softmax_divergence(rows, m, wanted, logits, left);
    } else {
      low = left, left = right, at_left = at_right;
      right = low + golden * (high - low);
      at_right = reap_softmax_divergence(rows, m, wanted, logits, right);
    }
  }
  return 0.5 * (low + high);
}
