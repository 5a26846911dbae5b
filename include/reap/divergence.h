/* How far a network's output is from the original's. Local. */
#ifndef REAP_DIVERGENCE_H
#define REAP_DIVERGENCE_H

#include <stdint.h>

#include "reap/graph.h"

/* What the rows of a network's first output are. */
typedef enum reap_output_kind {
  REAP_OUTPUT_OTHER,           /* not [N, classes] with two classes or more */
  REAP_OUTPUT_LOGITS,          /* [N, classes] before the soft-max */
  REAP_OUTPUT_PROBABILITIES,   /* behind a Softmax */
  REAP_OUTPUT_LOG_PROBABILITIES
} reap_output_kind;

reap_output_kind reap_output_kind_of(const reap_graph *graph);

/* Sums over images. */
typedef struct reap_divergence {
  double kl;     /* sum of KL(p || q) in nats, p the original's class probabilities, q the other network's; NaN if either
                    is not a classifier */
  double error;  /* sum of (other - original)^2 over all outputs */
  double energy; /* sum of original^2 */
} reap_divergence;

/* Adds `images` rows of `size` outputs each to the sums; original and other: row-major, and what their rows are. */
void reap_divergence_add(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                         const float *other, int64_t images, int64_t size, reap_divergence *sums);

/* The same with the divergence of soft-maxes at a temperature: of the logarithms of the probabilities divided by it, p ~ exp(z / T),
 * times T^2, which keeps small divergences of one size whatever T is. */
void reap_divergence_add_soft(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                              const float *other, int64_t images, int64_t size, double temperature, reap_divergence *sums);

/* error / energy; 0 where both are 0. */
double reap_divergence_relative_error(const reap_divergence *sums);

#endif
