/* What one pruning run is asked to do: the command line of reap prune, or one setting of reap sweep; private to src/app. */
#ifndef REAP_APP_PRUNE_OPTIONS_H
#define REAP_APP_PRUNE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

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

/* What the run knows of images: the data set, or the moments of one. */
static inline const char *prune_options_images(const prune_options *o) { return o->from_stats ? o->from_stats : o->calibration; }

#endif
