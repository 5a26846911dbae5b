/* How sure a classifier is, against another one; private to src/prune. Local. */
#ifndef REAP_PRUNE_REPAIR_SOFTMAX_SCALE_H
#define REAP_PRUNE_REPAIR_SOFTMAX_SCALE_H

#include <stdint.h>

/* Mean over rows of KL(soft-max(wanted) || soft-max(scale * logits)) in nats; both [rows, m] row-major. */
double softmax_divergence(int64_t rows, int64_t m, const double *wanted, const double *logits, double scale);

/* The scale between 1/8 and 1 with the least divergence: a convex function of one variable. */
double softmax_scale(int64_t rows, int64_t m, const double *wanted, const double *logits);

#endif
