/* The options of reap sweep, and the settings that its lists span; private to src/app. Local.
 *
 * The table is that of reap prune: budgets, methods and seeds become lists, what names a single run's output goes, the
 * rest holds for all settings alike. An option that reap prune gains is an option of reap sweep, too.
 */
#ifndef REAP_APP_SWEEP_SWEEP_SETTINGS_H
#define REAP_APP_SWEEP_SWEEP_SETTINGS_H

#include "app/options/options.h"
#include "app/prune/prune_options.h"

/* An option of reap prune that takes several values here. */
typedef struct sweep_list {
  option single;    /* as reap prune has it; bound to sweep_options.prune */
  const char *text; /* as typed: "0.9,0.8", or NULL */
  bool budget;      /* one of those that tell how much; the others span the grid */
  int count;
  char **values; /* [count]; settings point into them */
} sweep_list;

enum { SWEEP_LISTS_MOST = 8 };
_Static_assert(PRUNE_OPTIONS_MOST + 8 <= OPTIONS_MOST, "OPTIONS_MOST is too small");

typedef struct sweep_options {
  prune_options prune;                                    /* what all settings have in common */
  option table[OPTIONS_MOST], common[PRUNE_OPTIONS_MOST]; /* common: those of reap prune that results depend on */
  sweep_list lists[SWEEP_LISTS_MOST];
  int n_lists, n_common;
  const char *save_models; /* "h5", "onnx" or NULL */
  int64_t groups;          /* 0: to be chosen */
  bool no_merge;
} sweep_options;

typedef struct sweep_setting {
  char *name; /* "reap-output-flops-0.5-seed0": the same for the same values in any sweep */
  prune_options options;
  const char *ratios; /* as given, or what they are by default */
  const char *budget; /* "flops": the option without its dashes */
  double value;
  const char *unit; /* of the value: "ms", or "" */
} sweep_setting;

/* Fills the table, bound to *o, which stays where it is from now on. */
void sweep_options_table(sweep_options *o);

/* After parsing: the settings, all methods (and ratios and seeds) with all budgets, in the order typed. REAP_ERR_USAGE
 * for lists and options that do not fit, also if two settings are the same. */
int sweep_settings_make(sweep_options *o, int *count, sweep_setting **out);
void sweep_settings_clear(int count, sweep_setting **settings);
void sweep_options_clear(sweep_options *o);

#endif
