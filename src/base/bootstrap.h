/* Intervals of means over items that were drawn by chance, by the bootstrap. Local.
 *
 * The items (images) are drawn anew, with replacement, as many as there are, 2000 times; the interval reaches from the
 * 2.5th to the 97.5th percentile of the means. What belongs to one item (all views of an image) is one value: its mean.
 * It is the same for the same values, on any machine and number of ranks. Means of few items that are large now and
 * then (divergences) come out too narrow rather than too wide. Cost: 2000 draws for each item.
 */
#ifndef REAP_BASE_BOOTSTRAP_H
#define REAP_BASE_BOOTSTRAP_H

#include <stdint.h>

/* Of 95 %. */
typedef struct reap_interval {
  double mean, low, high;
} reap_interval;

/* Of values[n], n at least 1. */
int reap_bootstrap(int64_t n, const double *values, reap_interval *out);

/* Of shares: values of -1 to 1. Where all are the same, an interval without width would claim too much: it then reaches
 * as far as the rarest other value that n items could hide, reap_hidden_share(), within `least` and 1. */
int reap_bootstrap_share(int64_t n, const double *values, double least, reap_interval *out);

/* The largest share of all items that n drawn ones miss with a probability of 2.5 %. */
double reap_hidden_share(int64_t n);

#endif
