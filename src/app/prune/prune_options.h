/* What one pruning run is asked to do: the command line of reap prune, or one setting of reap sweep; or, in part, what
 * reap paths is asked to do. Private to src/app. */
#ifndef REAP_APP_PRUNE_OPTIONS_H
#define REAP_APP_PRUNE_OPTIONS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/command.h"
#include "app/options/memory_options.h"
#include "app/run_files.h"
#include "reap/session.h"

typedef struct prune_options {
  const char *title; /* "reap prune": whose options messages speak of */
  const char *model, *calibration, *evaluation;
  const char *output, *onnx, *report; /* output: HDF5; either it or onnx may be NULL */
  const char *plan, *save_plan, *latency_table;
  /* As typed, for reports; NULL: not given. prune_options_read() puts into the settings what they stand for. */
  const char *method, *refit, *scope, *solver, *repair, *classifier, *measure, *output_kind, *ratios, *views;
  char methods[256]; /* what --method may be: "reap|l1|..." */
  const char *latency_text, *ridge_text, *positions_text;
  int64_t producers, seed;    /* producers -1: not given */
  double keep, flops, params; /* NaN: not given */
  double max_kl, max_drop;    /* the same */
  bool dry_run;               /* the sizes alone */
  memory_options memory;
  common_options common;
  reap_session_settings settings;
} prune_options;

#define PRUNE_DEFAULTS(t)                                                                                     \
  {                                                                                                           \
    .title = (t), .keep = NAN, .flops = NAN, .params = NAN, .max_kl = NAN, .max_drop = NAN, .method = "reap", \
    .refit = "ls", .scope = "auto", .solver = "auto", .producers = -1, .measure = "largest",                  \
    .common = COMMON_DEFAULTS, .settings = reap_session_defaults()                                            \
  }

#define MEASURE_HELP                                                                                                \
  "with several outputs, the divergence to minimise: the largest one, or\nthe sum, each relative to its variation " \
  "over the\nimages (default largest)"

enum { PRUNE_OPTIONS_MOST = 64 };

/* Fills table[PRUNE_OPTIONS_MOST] with the options of reap prune, bound to *o, and the entry that ends it. reap sweep
 * takes over all of them but those that it lists or writes itself. */
void prune_options_table(prune_options *o, option *table);

/* After parsing: fills in the settings. */
int prune_options_read(prune_options *o);

/* Those of them that reap paths has as well: solver, measure, positions, seed, kernels, memory. */
int prune_options_read_common(prune_options *o);

/* With --dry-run: the files of what does not take place are no longer asked for, and the log says so. */
void prune_options_drop_outputs(prune_options *o);

/* REAP_ERR_USAGE if options are missing, out of range or do not go together. */
int prune_options_check(const prune_options *o);

/* Whether results depend on an option of that name. Files do not count: their hashes tell what was in them. */
bool prune_option_decides(const char *name);

/* Collective. Checks all files that the options name (run_files.h). An -o that ends in .onnx becomes `onnx` after that.
 */
int prune_options_check_files(const reap_comm *comm, prune_options *o, run_files *files);

/* True with --latency. */
static inline bool prune_options_latency(const prune_options *o) { return o->latency_text != NULL; }

/* The budget is to be found. */
static inline bool prune_options_bounded(const prune_options *o) { return !isnan(o->max_kl) || !isnan(o->max_drop); }

/* What the run knows of images: the data set, or the moments of one. */
static inline const char *prune_options_images(const prune_options *o) {
  return o->settings.from_stats ? o->settings.from_stats : o->calibration;
}

#endif
