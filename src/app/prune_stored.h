/* Moments and activations that a pruning run reads or leaves behind; private to src/app. */
#ifndef REAP_APP_PRUNE_STORED_H
#define REAP_APP_PRUNE_STORED_H

#include "io/activations_file.h"
#include "prune_options.h"
#include "reap/groups.h"
#include "reap/network.h"
#include "reap/stats_file.h"

typedef struct prune_stored {
  reap_stats_file *from;              /* --from-stats */
  reap_stats_writer *save;            /* --save-stats */
  reap_activations_file *activations; /* --activations */
} prune_stored;

/* Collective. Opens what the command line names: --from-stats has to be of the original network `network`.
 * chosen[groups]: those pruned; images: of the calibration data, images_hash: of their file. */
int prune_stored_open(const command_context *context, const prune_options *options, const reap_network *network,
                      const reap_groups *groups, const bool *chosen, int64_t images, const char *images_hash,
                      prune_stored *out);

/* Collective. What was written appears under its name. */
int prune_stored_commit(prune_stored *stored);

/* Collective, also after an error. */
void prune_stored_close(prune_stored *stored);

#endif
