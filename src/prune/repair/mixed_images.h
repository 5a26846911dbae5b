/* What both networks make of images that neither was trained on; private to src/prune. */
#ifndef REAP_PRUNE_REPAIR_MIXED_IMAGES_H
#define REAP_PRUNE_REPAIR_MIXED_IMAGES_H

#include "prune/run/run.h"

/* Row i (of `rows`, the number of images held out): the i-th image held out, mixed with a share of the next one (the
 * last with the first). Adds this rank's rows of `value`, m numbers for an image, to wanted[rows, m] (original network)
 * and logits[rows, m] (pruned network as it is now), which the caller has zeroed; every row has one owner. Local:
 * REAP_ERR_INPUT if an image cannot be read. */
int mixed_outputs(const run *r, int value, int64_t rows, int64_t m, double *wanted, double *logits);

#endif
