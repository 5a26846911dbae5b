/* New weights of a grouped convolution that reads tensors which pruning has changed; private to src/prune. */
#ifndef REAP_PRUNE_REPAIR_GROUP_REPAIR_H
#define REAP_PRUNE_REPAIR_GROUP_REPAIR_H

#include "prune/run/run.h"

/* Collective. weights [n, m], bias [m]: what the layer has now. New ones into s->decision (n_kept: channels of a
 * group), with errors, ridge and whether any group's changed in its record; those on images held out into s->held_out
 * and *before. Sums into s->gram, which has no moments. */
int reap_repair_groups(run *r, step *s, const double *weights, const double *bias, reap_held_out_error *before);

#endif
