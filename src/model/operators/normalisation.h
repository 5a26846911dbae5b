/* Parameters of Layer-, RMS-, Group- and InstanceNormalization, resolved to one form. Local.
 *
 *   y = (x - mean) / sqrt(variance + epsilon) * scale + bias
 *
 * Mean and variance are those of all elements along the merged axes, one pair for each position on the others. RMS:
 * no mean is subtracted. BatchNormalization, whose mean and variance are constants, is not one of them.
 */
#ifndef REAP_MODEL_NORMALISATION_H
#define REAP_MODEL_NORMALISATION_H

#include <stdbool.h>

#include "reap/graph.h"

/* Axes are those of the input, of which axis 1 counts as two, groups and the channels of one, if there are groups. */
typedef struct reap_normalisation {
  int rank;
  int64_t dims[REAP_MAX_RANK];
  int64_t group;                /* channels of a group; 0: axis 1 is one */
  bool merged[REAP_MAX_RANK];   /* axes that a mean is taken over */
  int64_t scale[REAP_MAX_RANK]; /* strides of the scale along the axes, and of the bias */
  int64_t bias[REAP_MAX_RANK];
  bool centred; /* false: RMS */
  float epsilon;
} reap_normalisation;

/* REAP_ERR_INPUT names the node: scale or bias that are not constant or do not fit, an axis outside the input, channels
 * that are no multiple of the groups. Scale is input 1; bias is input 2 and may be absent. */
int reap_normalisation_resolve(const reap_graph *graph, const reap_node *node, reap_normalisation *n);

/* True if it takes one mean over all channels of an image: a GroupNormalization of one group, also as exporters write
 * it for older opsets, an InstanceNormalization of one instance. */
bool reap_normalises_as_one(const reap_graph *graph, const reap_node *node);

/* True if it takes a mean or a norm of the channels along `axis` of its input together, which may be over those that
 * are left: one of the above, a Layer- or RMSNormalization over that axis, a sum, mean or norm along it. */
bool reap_normalises_over(const reap_graph *graph, const reap_node *node, int axis);

#endif
