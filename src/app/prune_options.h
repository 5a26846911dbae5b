/* What one pruning run is asked to do: the command line of reap prune, or one setting of reap sweep; private to
 * src/app. */
#ifndef REAP_APP_PRUNE_OPTIONS_H
#define REAP_APP_PRUNE_OPTIONS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "command.h"
#include "exec/divergence.h"
#include "memory_options.h"
#include "reap/solver.h"
#include "run_files.h"

typedef struct prune_options {
  const char *title; /* "reap prune": whose options messages speak of */
  const char *model, *calibration, *evaluation;
  const char *output, *onnx, *report; /* output: HDF5; either it or onnx may be NULL */
  const char *method, *refit, *scope, *exclude, *solver;
  char methods[256];                                 /* what --method may be: "reap|l1|..." */
  const char *repair, *classifier;                   /* "on" or "off", "scale" or "keep"; or NULL: see prune_repair.h */
  const char *save_stats, *from_stats, *activations; /* see prune_stored.h */
  int64_t producers;                                 /* rounds; -1: not given, see prune_repair.h */
  double keep, flops, params;                        /* shares; NaN: not given */
  double latency_share, latency_ms;                  /* of one image; NaN: not given */
  const char *latency_text, *latency_table;
  const char *measure; /* of several outputs: "largest" or "sum" */
  const char *ratios;  /* NULL: not given; see prune_plan.h */
  double min_keep;     /* of every group: a share below 1, else a number; 0: not given */
  const char *plan, *save_plan, *from_paths, *save_paths;
  double ridge;
  bool ridge_auto;
  int64_t images, positions, seed;
  const char *ridge_text, *positions_text; /* as typed, or NULL; prune_options_read() fills in the numbers */
  memory_options memory;
  common_options common;
} prune_options;

/* clang-format off: a table */
#define PRUNE_DEFAULTS(t)                                                                                              \
  {                                                                                                                    \
    .title = (t), .keep = NAN, .flops = NAN, .params = NAN, .latency_share = NAN, .latency_ms = NAN, .method = "reap", \
    .refit = "ls", .scope = "inner", .producers = -1, .measure = "largest", .ridge = REAP_DEFAULT_RIDGE,               \
    .common = COMMON_DEFAULTS                                                                                          \
  }
/* clang-format on */

#define MEASURE_HELP                                                                                               \
  "of several outputs, sizes are chosen by the one that moves most, or by\nthe sum of them, each relative to how " \
  "much it varies over the images\n(default largest: no output pays for another)"

enum { PRUNE_OPTIONS_MOST = 64 };

/* Fills table[PRUNE_OPTIONS_MOST] with the options of reap prune, bound to *o, and the entry that ends it. reap sweep
 * takes over all of them but those that it lists or writes itself. */
void prune_options_table(prune_options *o, option *table);

/* After parsing: turns texts into numbers. */
int prune_options_read(prune_options *o);

/* REAP_ERR_USAGE if options are missing, out of range or do not go together. */
int prune_options_check(const prune_options *o);

/* Collective. Checks all files that the options name (run_files.h). An -o that ends in .onnx becomes `onnx` after that.
 */
int prune_options_check_files(const reap_comm *comm, prune_options *o, run_files *files);

/* True with --latency. */
static inline bool prune_options_latency(const prune_options *o) { return o->latency_text != NULL; }

static inline reap_measure prune_options_measure(const prune_options *o) { return reap_measure_named(o->measure); }

/* What the run knows of images: the data set, or the moments of one. */
static inline const char *prune_options_images(const prune_options *o) {
  return o->from_stats ? o->from_stats : o->calibration;
}

#endif
