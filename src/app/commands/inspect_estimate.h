/* What reap inspect --estimate tells; private to src/app. */
#ifndef REAP_APP_COMMANDS_INSPECT_ESTIMATE_H
#define REAP_APP_COMMANDS_INSPECT_ESTIMATE_H

#include <math.h>

#include "app/json/json.h"
#include "app/options/memory_options.h"
#include "prune/estimate/run_estimate.h"
#include "reap/comm.h"
#include "reap/network.h"

typedef struct estimate_options {
  int64_t ranks, images;      /* ranks 0: no estimate is asked for */
  double keep, flops, params; /* one of them, or none: NaN */
  const char *exclude;
  memory_options memory;
} estimate_options;

#define ESTIMATE_DEFAULTS \
  { .images = 4000, .keep = NAN, .flops = NAN, .params = NAN }

/* clang-format off */
#define ESTIMATE_OPTIONS(e)                                                                                        \
  {"--estimate", NULL, OPTION_INT, "P",                                                                            \
   "memory and time that reap prune would take on P ranks like this one;\nspeeds are measured, in a second or so", \
   &(e).ranks, 1},                                                                                                 \
  {"--images", NULL, OPTION_INT, "N", "of that run: calibration images (default 4000)", &(e).images, 1},           \
  {"--keep", NULL, OPTION_SHARE, "F", "of that run: share of channels kept (default 0.5)", &(e).keep, 0},          \
  {"--flops", NULL, OPTION_SHARE, "F", "of that run: share of the multiply-adds, in place of --keep", &(e).flops, 0}, \
  {"--params", NULL, OPTION_SHARE, "F", "of that run: share of the parameters, in place of --keep", &(e).params, 0}, \
  {"--exclude", NULL, OPTION_LIST, "NAME,...", "of that run: groups or layers left alone", &(e).exclude, 0},       \
  {"--memory", NULL, OPTION_TEXT, "BYTES", "of that run: limit for values and buffers on a rank",                  \
   &(e).memory.text, 0}
/* clang-format on */

/* Bytes of a rank, and seconds. */
typedef struct estimate_figures {
  double base;             /* program, libraries, the model as it is now */
  double model;            /* one copy of the weights: the network that is pruned */
  double frontier;         /* values and buffers, within the limit */
  double matrices;         /* moments and solver */
  double memory;           /* all of them */
  double unlimited, least; /* frontier without a limit, and the least that a limit can be kept to */
  double seconds;
  double choosing; /* of them: to choose the sizes */
  reap_run_estimate run;
  reap_speeds speeds;
} estimate_figures;

/* REAP_ERR_USAGE with one line. Local. */
int estimate_options_check(estimate_options *options);

/* Collective. load: seconds that reading the model took. */
int estimate_make(const reap_comm *comm, const estimate_options *options, const reap_network *network, double load,
                  estimate_figures *out);

void estimate_print(const estimate_options *options, const estimate_figures *figures);
void estimate_report(const estimate_options *options, const estimate_figures *figures, cJSON *report);

#endif
