/* A session from within: what its files share. */
#ifndef REAP_PRUNE_SESSION_SESSION_STATE_H
#define REAP_PRUNE_SESSION_SESSION_STATE_H

#include "checkpoint.h"
#include "exec/shard.h"
#include "prune/prune.h"
#include "reap/session.h"
#include "session_info.h"
#include "session_stored.h"

/* Measured sizes of a coupled group: each takes a trial. */
enum { REAP_COUPLED_SIZES = 3 };

struct reap_session {
  const reap_comm *comm;
  const reap_network *network;
  reap_dataset *images; /* NULL: there are statistics in their place */
  reap_session_settings settings;
  reap_shard shard; /* of the images; zero without */
  reap_graph *pruned;
  reap_groups *groups; /* of the pruned network */
  reap_session_info info;
  reap_group_paths *own_paths; /* what info.paths and info.latency point to, unless they are lent */
  reap_latency *own_latency;
  bool scope_open;            /* coupled groups take part if the sizes want it */
  bool *repair;               /* [nodes] layers that may be repaired; NULL: none */
  reap_prune_options options; /* of the steps */
  double *step_seconds;       /* what they may take: options.work */
  session_stored stored;
  int64_t judged;    /* images whose tenth is held out and judged by; 0: the session's */
  int64_t *held_out; /* the images held out, from the first step on; NULL: too few to judge by */
  reap_run *run;     /* from the first step on */
  int done;          /* steps */
  session_checkpoint checkpoint;
};

/* session_paths.c: info.paths from a file or from a pass over the images; writes save_paths. Collective. */
int reap_session_paths_get(reap_session *session);

/* session_views.c: before the steps, which views are used; after them, the figures of the pruned network. Nothing with
 * fewer than REAP_HELD_OUT_LEAST images held out. Collective. */
int reap_session_views_choose(reap_session *session);
int reap_session_views_judge(reap_session *session);

/* What the steps, and trials in small, are asked to do, files aside; it borrows the session. Local. */
reap_prune_options reap_session_prune_options(reap_session *session);

#endif
