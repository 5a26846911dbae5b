/* What a pruning run leaves behind: the model in HDF5 and ONNX, the report, the table; private to src/app. Local: rank 0 writes. */
#ifndef REAP_APP_PRUNE_OUTPUT_H
#define REAP_APP_PRUNE_OUTPUT_H

#include <stdint.h>

#include "command.h"
#include "reap/network.h"
#include "reap/prune.h"
#include "report.h"

/* The command line of reap prune. */
typedef struct prune_options {
  const char *model, *calibration, *evaluation, *output, *onnx, *report;
  const char *method, *refit, *scope, *exclude, *solver;
  const char *save_stats, *from_stats, *activations; /* see prune_stored.h */
  double keep, flops; /* NaN: not given */
  double ridge;
  bool ridge_auto;
  int64_t images, positions, seed;
  common_options common;
} prune_options;

typedef struct prune_output {
  const command_context *context;
  const prune_options *options;
  const reap_network *network; /* its source takes up the edits */
  const reap_graph *pruned;
  const reap_prune_result *result;
  report_network original_figures, pruned_figures;
} prune_output;

/* Writes all files asked for, each whole or not at all, and prints the table. start: reap_seconds() when the run began. */
int prune_output_write(const prune_output *output, double start);

#endif
