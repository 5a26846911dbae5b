/* Divergence of a classifier's soft-max from another one's, and the temperature that lessens it. Local. */
#ifndef REAP_PRUNE_REPAIR_TEMPERATURE_H
#define REAP_PRUNE_REPAIR_TEMPERATURE_H

#include <stdint.h>

/* Mean over rows of KL(soft-max(wanted) || soft-max(scale * logits)) in nats; both [rows, m] row-major. */
double reap_softmax_divergence(int64_t rows, int64_t m, const double *wanted, const double *logits, double scale);

/* The scale (one over the temperature) between 1/8 and 1 with the least divergence: a convex function of one variable.
 */
double reap_softmax_scale(int64_t rows, int64_t m, const double *wanted, const double *logits);

#endif
