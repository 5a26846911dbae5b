/* Running the settings of a sweep: dealt out to groups of ranks, each the run of reap prune; private to src/app. */
#ifndef REAP_APP_SWEEP_SWEEP_RUN_H
#define REAP_APP_SWEEP_SWEEP_RUN_H

#include "reap/error.h"
#include "sweep_choices.h"
#include "sweep_folder.h"

/* A sweep after it was made ready. */
typedef struct sweep {
  const command_context *context;
  const sweep_options *options;
  int count; /* settings */
  sweep_setting *settings;
  bool *done; /* [count] on all ranks: its file is there */
  sweep_folder folder;
  run_files files;
  sweep_hashes hashes;
  prune_inputs inputs;
  sweep_choices choices;
} sweep;

/* What became of a setting; only of those that were run. */
typedef struct sweep_outcome {
  int64_t status;
  char message[REAP_ERROR_LENGTH];
} sweep_outcome;

/* Collective. Runs the settings not done, whose files appear as they finish, and updates done[]. outcomes[count], zero
 * before: of those that failed the status and the message, the same on all ranks. A failing setting is no failure of
 * the call. */
int sweep_run(sweep *s, sweep_outcome *outcomes);

#endif
