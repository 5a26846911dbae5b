/* What a sweep leaves behind: one file per setting as it finishes, and all of them merged into one file. Local calls.
 *
 * Setting, HDF5, format "reap-sweep-setting", version 1: root attributes method, ratios, budget (name of the option),
 * value, seed, flops, params, top1, top5, loss, kl, output_error, seconds (NaN: not known); `report`, a string: the
 * JSON report of reap prune; group `made_with` whose attributes tell the inputs and options that all settings of a
 * sweep have in common.
 *
 * Sweep, HDF5, format "reap-sweep", version 1: settings/<name>/ as above, without made_with, which stands at the root;
 * table/<column> [settings]: name and the attributes as columns; `baseline` with the attributes flops, params, top1,
 * top5, loss of the original network; failed/<name> with the attribute error; groups/<group>/ of the paths, if they
 * were computed.
 */
#ifndef REAP_IO_SWEEP_FILE_H
#define REAP_IO_SWEEP_FILE_H

#include <stdint.h>

#include "model_file.h"

/* One setting and what came of it. Owns its strings. */
typedef struct reap_sweep_setting {
  char *name;
  char *method, *ratios, *budget, *report;
  double value;
  int64_t seed, flops, params;
  double top1, top5, loss, kl, output_error, seconds; /* NaN: not known */
} reap_sweep_setting;

void reap_sweep_setting_clear(reap_sweep_setting *setting);

/* What the settings of a sweep have in common: `count` keys and values. Borrowed. */
typedef struct reap_sweep_origin {
  int count;
  const reap_provenance_entry *entries;
} reap_sweep_origin;

/* Writes the file beside its name and renames it when complete. */
int reap_sweep_setting_write(const char *path, const reap_sweep_setting *setting, const reap_sweep_origin *origin);

/* Reads a setting; its name is not in the file and stays NULL. REAP_ERR_INPUT if it is damaged or has another origin:
 * the message names the first entry that differs. */
int reap_sweep_setting_read(const char *path, const reap_sweep_origin *origin, reap_sweep_setting *out);

typedef struct reap_sweep_failure {
  const char *name, *error;
} reap_sweep_failure;

typedef struct reap_sweep_contents {
  int n_settings, n_failures;
  const reap_sweep_setting *settings;
  const reap_sweep_failure *failures;
  const reap_sweep_setting *baseline; /* only flops, params, top1, top5 and loss */
  const char *paths_file;             /* its groups are copied; NULL: there is none */
  reap_sweep_origin origin;
} reap_sweep_contents;

/* The merged file, whole or not at all. */
int reap_sweep_file_write(const char *path, const reap_sweep_contents *contents);

#endif
