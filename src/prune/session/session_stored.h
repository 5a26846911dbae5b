/* Moments and activations that a session reads or leaves behind. */
#ifndef REAP_PRUNE_SESSION_SESSION_STORED_H
#define REAP_PRUNE_SESSION_SESSION_STORED_H

#include "io/activations_file.h"
#include "reap/comm.h"
#include "reap/groups.h"
#include "reap/network.h"
#include "reap/session.h"
#include "reap/stats_file.h"

typedef struct session_stored {
  reap_stats_file *from;              /* from_stats */
  reap_stats_writer *save;            /* save_stats */
  reap_activations_file *activations; /* activations */
} session_stored;

/* Local. Statistics have to be of the network as it was loaded: those of another, or of inputs that were pruned
 * already, would choose the wrong channels. The caller closes them (reap_stats_file_close), also after an error. */
int reap_session_stats_open(const reap_network *network, const char *path, reap_stats_file **out);

/* Collective. Opens what the settings name and is not open yet. chosen[groups]: those pruned; images: of the
 * calibration data, data_hash: of their file. */
int reap_session_stored_open(const reap_comm *comm, const reap_session_settings *settings, const reap_network *network,
                             const reap_groups *groups, const bool *chosen, int64_t images, const char *data_hash,
                             session_stored *out);

/* Collective. What was written appears under its name. */
int reap_session_stored_commit(session_stored *stored);

/* Collective, also after an error. */
void reap_session_stored_close(session_stored *stored);

#endif
