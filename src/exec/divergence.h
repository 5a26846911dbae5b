/* How far a network's outputs are from the original's. Local.
 *
 * One output: the KL divergence of a classifier's scores, in nats, or the relative squared error of anything else.
 * Several outputs have no common unit: nats depend on how large the logits are, squared errors on how far an output's
 * mean is from zero. So each one's divergence is divided by that of an output which is the same for all images, the
 * original's mean over them:
 *
 *     values: sum |z - y|^2 / sum |y - mean y|^2        scores: sum KL(p || q) / sum KL(p || mean p)
 *
 * This share is 0 for an output that is as it was, and 1 for one that is as far off as one that tells nothing of its
 * image. Of the shares the largest counts, or their sum.
 */
#ifndef REAP_EXEC_DIVERGENCE_H
#define REAP_EXEC_DIVERGENCE_H

#include <stdint.h>

#include "reap/network.h"

/* What the rows of an output are. */
typedef enum reap_output_kind {
  REAP_OUTPUT_OTHER,         /* values: all that are no scores */
  REAP_OUTPUT_LOGITS,        /* [N, classes] before the soft-max */
  REAP_OUTPUT_PROBABILITIES, /* behind a Softmax */
  REAP_OUTPUT_LOG_PROBABILITIES
} reap_output_kind;

/* Sums over images. */
typedef struct reap_divergence {
  double kl;    /* sum of KL(p || q) in nats, p the original's class probabilities, q the other network's; NaN if either
                   is not a classifier */
  double error; /* sum of (other - original)^2 over all outputs */
  double energy;   /* sum of original^2 */
  double kl_zeros; /* sum of KL(p || uniform), the energy of scores; NaN where kl is */
} reap_divergence;

/* Adds `images` rows of `size` outputs each to the sums; original and other: row-major, and what their rows are. */
void reap_divergence_add(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                         const float *other, int64_t images, int64_t size, reap_divergence *sums);

/* The same with the divergence of soft-maxes at a temperature: of the logarithms of the probabilities divided by it, p
 * ~ exp(z / T), times T^2, which keeps small divergences of one size whatever T is. */
void reap_divergence_add_soft(reap_output_kind original_kind, const float *original, reap_output_kind other_kind,
                              const float *other, int64_t images, int64_t size, double temperature,
                              reap_divergence *sums);

/* Adds sums of other images. */
void reap_divergence_add_sums(const reap_divergence *more, reap_divergence *sums);

/* Adds sums of an image that stands for so many. */
void reap_divergence_add_weighted(const reap_divergence *more, double weight, reap_divergence *sums);

/* error / energy; 0 where both are 0. */
double reap_divergence_relative_error(const reap_divergence *sums);

/* How much a row of scores is in doubt: sum of p (1 - p) over its class probabilities at a temperature. */
double reap_divergence_doubt(reap_output_kind kind, const float *row, int64_t classes, double temperature);

/* Class probabilities [classes] of a row at a temperature. */
void reap_divergence_probabilities(reap_output_kind kind, const float *row, int64_t classes, double temperature,
                                   double *out);

/* The share described above. of_mean: what the original's mean has of `energy`, or of `kl_zeros`, over as many images
 * (output_mean.h); an output that is the same for all images is compared with zeros instead. */
double reap_divergence_share(const reap_divergence *sums, double of_mean);

/* `values[n]` (at least 1) by that measure. */
double reap_measure_combine(reap_measure measure, int n, const double *values);

/* How far `n` outputs have moved, from the sums over `images` images: one output's mean KL, or its relative error;
 * several outputs' shares combined. of_means[n]; ignored for one output. */
double reap_measure_moved(reap_measure measure, int n, const reap_divergence *sums, const double *of_means,
                          int64_t images);

#endif
