/* The weights that make a group's units, or read them; private to src/prune/methods. Local. */
#ifndef REAP_PRUNE_METHODS_UNIT_WEIGHTS_H
#define REAP_PRUNE_METHODS_UNIT_WEIGHTS_H

#include "reap/method.h"

/* Weights of one layer: weight i belongs to unit units[i / run % length], -1: to none of the group. */
typedef struct reap_unit_weights {
  const reap_tensor *weights; /* borrowed */
  int64_t length, run, *units;
} reap_unit_weights;

/* Of a member that is a layer which makes the units, or reads them. */
int reap_unit_weights_find(const reap_evidence *evidence, const reap_member *member, reap_unit_weights *out);
void reap_unit_weights_clear(reap_unit_weights *weights);

/* Adds |w|, or with power 2 its square, to sums[units], over all weights of all layers in that role. */
int reap_unit_weights_add(const reap_evidence *evidence, reap_role role, int power, double *sums);

#endif
