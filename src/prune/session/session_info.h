/* What the program knows and does of a session besides reap/session.h. */
#ifndef REAP_PRUNE_SESSION_SESSION_INFO_H
#define REAP_PRUNE_SESSION_SESSION_INFO_H

#include "base/hash.h"
#include "exec/view_judge.h"
#include "io/onnx/source.h"
#include "prune/estimate/memory_estimate.h"
#include "prune/run/types.h"
#include "prune/sensitivity/paths.h"
#include "reap/session.h"
#include "size_plan.h"

/* How images held out were seen, and how far the pruned network is from the original on them. */
typedef struct reap_session_views {
  unsigned used;                     /* REAP_VIEW_* added */
  double agreement[REAP_VIEW_KINDS]; /* of the original with itself (exec/view_judge.h) */
  reap_view_figures figures;         /* after reap_session_finish() */
} reap_session_views;

/* Where this rank's time went before the steps, and after them. */
typedef struct reap_session_times {
  double latency;     /* timing layers, and the pruned network */
  double paths;       /* paths of all groups, or reading them */
  double sensitivity; /* outputs compared with groups pruned alone */
  double sizes;       /* choosing sizes, with trials */
  double views;       /* judging by views */
} reap_session_times;

/* What a session has found so far. */
typedef struct reap_session_info {
  char data_hash[REAP_HASH_LENGTH]; /* of the images' file, or of the statistics'; "" until it is asked for */
  reap_size_plan plan;
  const reap_group_paths *paths; /* that the plan goes by; NULL: it needs none, or they are not there yet */
  const reap_latency *latency;   /* the same */
  reap_paths_times paths_times;
  reap_session_times times;
  double seconds_before; /* of runs that were resumed from, until their checkpoints */
  reap_session_views views;
  reap_memory_estimate memory_estimate; /* memory that the steps were expected to take */
  reap_prune_result result;             /* of the steps done */
  double measured_ms; /* of one image in the pruned network, after reap_session_finish(), if that is the budget */
} reap_session_info;

/* Local; borrowed. */
const reap_session_info *reap_session_get_info(const reap_session *session);

/* Collective. Fills in info->data_hash. */
int reap_session_hash_data(reap_session *session);

/* Local. Losses and times that were found before, borrowed until the session is destroyed; NULL: the session is to find
 * them. */
void reap_session_lend(reap_session *session, const reap_group_paths *paths, const reap_latency *latency);

/* Collective. Losses and times that the settings want and that were not lent (REAP_BUDGET_LATENCY, REAP_RATIOS_PATH,
 * REAP_RATIOS_OUTPUT, save_paths), which reap_session_plan() does as well. reap_session_take_*() gives them to the
 * caller (NULL if there are none); they are then lent to the session. */
int reap_session_measure(reap_session *session);
reap_group_paths *reap_session_take_paths(reap_session *session);
reap_latency *reap_session_take_latency(reap_session *session);

/* Local, before the first step. Judges on views of the images held out of the data set's first `images`, which may be
 * more than the session's own. */
void reap_session_judge_on(reap_session *session, int64_t images);

/* Local. What was changed, into a source of the original network: see reap_source_apply(). */
int reap_session_apply(const reap_session *session, reap_source *source);

#endif
