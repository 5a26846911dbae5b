/* What settings choose their sizes by, made once for all settings that would make the same, and kept in the sweep's
 * folder; private to src/app. */
#ifndef REAP_APP_SWEEP_SWEEP_CHOICES_H
#define REAP_APP_SWEEP_SWEEP_CHOICES_H

#include "sweep_folder.h"

/* Paths of all groups under one way to make them. */
typedef struct sweep_choice {
  char *key;               /* "paths-output-reap-<hash of what the sweep's settings have in common>" */
  char *file;              /* in the folder; --from-paths: that file */
  reap_group_paths *paths; /* NULL where all settings that need them are done */
} sweep_choice;

typedef struct sweep_choices {
  int n;
  sweep_choice *items;
  int *of; /* [settings] its item, or -1: it needs none */
} sweep_choices;

/* Collective, by all ranks together. Paths and times (inputs->latency) for the settings not done; paths that the folder
 * has are read. data_hash: of the images. To be cleared also after an error. */
int sweep_choices_make(const command_context *context, const sweep_folder *folder, prune_inputs *inputs,
                       const char *data_hash, int count, const sweep_setting *settings, const bool *done,
                       sweep_choices *out);
void sweep_choices_clear(sweep_choices *choices);

/* Local. The paths that setting `index` chooses by; NULL: it needs none. */
const reap_group_paths *sweep_choices_paths(const sweep_choices *choices, int index);

/* Local, rank 0. The first file of paths that is there, or NULL. */
const char *sweep_choices_file(const sweep_choices *choices);

#endif
