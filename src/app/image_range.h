/* Warnings about images and figures that are no error and yet hardly what was meant; private to src/app. */
#ifndef REAP_APP_IMAGE_RANGE_H
#define REAP_APP_IMAGE_RANGE_H

#include "exec/evaluate.h"
#include "reap/comm.h"
#include "reap/dataset.h"

/* Collective. Warns of values far beyond those of images, and of images that are all one constant: of the images that
 * were read. Nothing happens without a data set. */
int image_range_warn(const reap_comm *comm, const reap_dataset *data);

/* Local. Warns of an original network that has no more labels right than chance would, and says what values the images
 * have. figures: its own; nothing is said of fewer than a hundred images or without labels. On one rank the values are
 * those that it has read. */
void image_range_warn_original(const reap_evaluation *figures, const reap_dataset *data);

/* Collective. The same before any work, by the first 128 calibration images, which cost little beside a run; nothing
 * happens without a data set or labels. */
int image_range_check_original(const reap_comm *comm, const reap_network *network, reap_dataset *data,
                               reap_backend backend);

/* Local. Warns of a divergence beyond what probabilities in float32 can have. `name` is the data set's. */
void image_range_warn_figures(const reap_evaluation *figures, const char *name);

#endif
