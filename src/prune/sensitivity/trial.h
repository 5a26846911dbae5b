/* A pruning run in small: what a choice of sizes comes to when layers are pruned one after the other and later ones
 * repair what earlier ones did. */
#ifndef REAP_PRUNE_SENSITIVITY_TRIAL_H
#define REAP_PRUNE_SENSITIVITY_TRIAL_H

#include "prune/prune.h"

/* Defaults: calibration images of a trial, rows of a layer for each of its columns (negative, as stats/samples.h has
 * them), images held out that it is measured on, and judged on in several views of each. */
enum {
  REAP_TRIAL_IMAGES = 1000,
  REAP_TRIAL_FEW_IMAGES = 500,
  REAP_TRIAL_POSITIONS = -128,
  REAP_TRIAL_MEASURED = 500,
  REAP_TRIAL_VIEWED = 200
};

/* Collective. Prunes a clone of `original` as `options` say (its stores, ridge_rule, classifier, method and
 * seed aside: it is the method reap with weights re-solved, outputs not scaled) with the first `few` of the shard's
 * images, and measures on held-out images of the whole shard how far the output moves, as group_paths.h does. *moved:
 * NaN if there are no images held out. The same on all ranks and for any number of them. What options->trials knows is
 * taken from there. */
int reap_trial(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
               const reap_prune_options *options, int64_t few, double *moved);

/* Collective. The same, with outputs scaled as the options say, judged as the pruned network will be: *apart is the KL
 * divergence on views (options->views; 0: the images as they are) of the shard's images held out, in nats. Without
 * outputs of scores, or with fewer than REAP_HELD_OUT_LEAST images held out, as reap_trial(). */
int reap_trial_on_views(const reap_comm *comm, const reap_graph *original, reap_dataset *images,
                        const reap_shard *shard, const reap_prune_options *options, int64_t few, double *apart);

#endif
