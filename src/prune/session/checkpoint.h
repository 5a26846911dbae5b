/* A session in a file, and from there: what has been found and done so far, so that a later run can go on from it.
 *
 * The file (io/checkpoint_file.h) holds
 *   run     what the results follow from: program, hashes of network and images, settings, as texts
 *   paths   losses of groups, as far as they are known (`stage`; of some groups before STAGE_PATHS), and pilot runs
 *   trials  results of the trials made since the present stage was reached
 *   plan    sizes, once they are chosen
 *   steps   one group for each step done: its record (run/record.def), the weights of the layers that changed
 */
#ifndef REAP_PRUNE_SESSION_CHECKPOINT_H
#define REAP_PRUNE_SESSION_CHECKPOINT_H

#include "model/groups/group_paths.h"
#include "prune/prune.h"
#include "reap/session.h"

/* What is known of a session. */
typedef enum session_stage {
  STAGE_BEGUN,
  STAGE_PATHS,   /* losses of inner groups, each alone */
  STAGE_LAW,     /* how they combine */
  STAGE_COUPLED, /* losses of coupled groups */
  STAGE_PLAN     /* sizes; then the steps */
} session_stage;

typedef struct session_checkpoint {
  session_stage stage;
  int n, n_read;            /* steps in past; of these those read, which are to be repeated */
  reap_step_past *past;     /* [n] on rank 0; those read on all ranks, until they are repeated */
  reap_trial_ledger trials; /* of the present stage */
  reap_group_paths *known;  /* those read before STAGE_PATHS */
  const reap_group_paths *fresh;
  int n_fresh;          /* the first of these are complete: beside those known */
  double begun;         /* when the session was made */
  double written, cost; /* when it was written last, and the seconds that took */
} session_checkpoint;

/* Local. From now on trials are noted. */
void reap_session_checkpoint_begin(reap_session *session);

/* Local, before work starts: REAP_ERR_USAGE if the settings do not go with a checkpoint, or if a file is there that is
 * not to be resumed. */
int reap_session_checkpoint_check(const reap_session_settings *settings);

/* Collective. The file's contents into the session, if it is to be resumed and there is one: REAP_ERR_INPUT names what
 * it was made with otherwise. */
int reap_session_checkpoint_read(reap_session *session);

/* Collective. So much is known now: written, if there is a file to write. Then, or if there is none, whether the
 * session is to stop (settings.stop): REAP_STOPPED says so, and what there is. A file that cannot be written is warned
 * of. */
int reap_session_checkpoint_stage(reap_session *session, session_stage stage);

/* Collective. The same within STAGE_BEGUN, when the first n of these paths are complete; written now and then. For
 * reap_paths_options. */
int reap_session_checkpoint_paths(void *session, const reap_group_paths *paths, int n);

/* Collective. The same after a step; written if that takes less than a fiftieth of the time since the last time, after
 * the last step, or if the session stops. */
int reap_session_checkpoint_step(reap_session *session);

/* Local; on rank 0 the file goes: all is done. */
void reap_session_checkpoint_remove(const reap_session_settings *settings);

void reap_session_checkpoint_clear(session_checkpoint *checkpoint);

#endif
