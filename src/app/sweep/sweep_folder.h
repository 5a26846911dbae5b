/* The folder beside a sweep's file, with one file per setting; what is in it already, and merging it; private to
 * src/app. Local: rank 0, and ranks that have a setting to write. */
#ifndef REAP_APP_SWEEP_SWEEP_FOLDER_H
#define REAP_APP_SWEEP_SWEEP_FOLDER_H

#include <stdbool.h>

#include "app/prune/prune_run.h"
#include "io/files/lock_file.h"
#include "io/sweep_file.h"
#include "sweep_settings.h"

typedef struct sweep_folder {
  const sweep_options *options;
  char *path;               /* SWEEP.h5.d */
  reap_sweep_origin origin; /* what all settings have in common */
  reap_provenance_entry *entries;
  int n_others;
  char **others;        /* settings found there that are not requested now */
  reap_lock_file *lock; /* of the sweep that will merge; NULL under --no-merge */
} sweep_folder;

/* Of the images that prune the network, or of the statistics in their place; of the files named by --eval, --from-paths
 * and --latency-table; "": not given. */
typedef struct sweep_hashes {
  char data[REAP_HASH_LENGTH], evaluation[REAP_HASH_LENGTH], paths[REAP_HASH_LENGTH], latency[REAP_HASH_LENGTH];
} sweep_hashes;

/* Names of files; the origin from the options, the network's source and the hashes. */
int sweep_folder_make(const sweep_options *options, const reap_source *source, const sweep_hashes *hashes,
                      sweep_folder *out);
void sweep_folder_clear(sweep_folder *folder);

/* Creates the folder if need be and claims it. Of the sweeps that merge into one file one works at a time:
 * REAP_ERR_INPUT tells which. Tasks with
 * --no-merge claim nothing: each writes whole files, and those of equal settings are equal. */
int sweep_folder_claim(sweep_folder *folder);

/* Local. REAP_ERR_USAGE if a file that the settings will write is one of the run's inputs. */
int sweep_folder_check_outputs(const sweep_folder *folder, int count, const sweep_setting *settings,
                               const run_files *files);

/* done[i] tells whether setting i is there. REAP_ERR_INPUT if a file there is damaged or belongs to
 * another sweep. */
int sweep_folder_scan(sweep_folder *folder, int count, const sweep_setting *settings, bool *done);

/* Name of the pruned model that belongs to a setting, owned by the caller; NULL without --save-models. */
int sweep_folder_model(const sweep_folder *folder, const char *setting, char **out);

/* Writes what a run came to. report: the text of the JSON report. */
int sweep_folder_write(const sweep_folder *folder, const sweep_setting *setting, const prune_run *run,
                       const char *report, double seconds);

/* The settings with done[i], in the order asked for, then the others found there: an array that the caller owns (see
 * sweep_folder_release). */
int sweep_folder_collect(const sweep_folder *folder, int count, const sweep_setting *settings, const bool *done, int *n,
                         reap_sweep_setting **out);
void sweep_folder_release(int n, reap_sweep_setting **settings);

/* Merges them into the sweep's file, with the paths of paths_file (NULL: there is none). */
int sweep_folder_merge(const sweep_folder *folder, int n, const reap_sweep_setting *settings, int n_failures,
                       const reap_sweep_failure *failures, const char *paths_file);

#endif
