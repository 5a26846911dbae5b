/* BatchNormalization of a constant: weights that are standardised in the network itself, most often by a norm in
 * training mode, which takes mean and variance of each channel from what it normalises. Sums are in double precision.
 */
#include <math.h>
#include <stddef.h>

#include "layout.h"
#include "reap/error.h"
#include "rules.h"

bool reap_norm_trains(const reap_graph *graph, const reap_node *node) {
  /* Before opset 14 it is the statistics among the outputs that tell. */
  return graph->opset < 14 ? node->n_outputs > 1 : reap_node_int(node, "training_mode", 0) != 0;
}

/* One channel of x [outer, channels, inner]: its mean and variance. */
static void measure(const float *x, int64_t outer, int64_t inner, int64_t pitch, double *mean, double *variance) {
  double sum = 0, square = 0;
  const double count = (double)(outer * inner);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) sum += (double)x[o * pitch + i];
  *mean = sum / count;
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      const double d = (double)x[o * pitch + i] - *mean;
      square += d * d;
    }
  *variance = square / count;
}

int reap_fold_norm(reap_graph *graph, reap_node *node) {
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  const reap_tensor *scale = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2),
                    *means = reap_node_constant(graph, node, 3), *variances = reap_node_constant(graph, node, 4);
  const double epsilon = (double)reap_node_float(node, "epsilon", 1e-5f);
  const int64_t channels = t->dims[REAP_NORM_AXIS], outer = t->dims[0];
  if (t->dtype != REAP_F32) return reap_node_error(node, "normalises integers");
  if (t->count == 0) return REAP_OK;
  const int64_t inner = t->count / outer / channels, pitch = channels * inner;
  for (int64_t c = 0; c < channels; c++) {
    float *x = t->f32 + c * inner;
    double mean = (double)means->f32[c], variance = (double)variances->f32[c];
    if (reap_norm_trains(graph, node)) measure(x, outer, inner, pitch, &mean, &variance);
    const double factor = (double)scale->f32[c] / sqrt(variance + epsilon);
    for (int64_t o = 0; o < outer; o++)
      for (int64_t i = 0; i < inner; i++)
        x[o * pitch + i] = (float)(((double)x[o * pitch + i] - mean) * factor + (double)bias->f32[c]);
  }
  return REAP_OK;
}
