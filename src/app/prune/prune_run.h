/* One pruning run of the program: a session with what the program adds to it. What reap prune does once and reap sweep
 * once per setting; private to src/app. */
#ifndef REAP_APP_PRUNE_RUN_H
#define REAP_APP_PRUNE_RUN_H

#include "app/command.h"
#include "app/memory_figures.h"
#include "app/progress/progress_model.h"
#include "app/run_files.h"
#include "exec/evaluate.h"
#include "prune/session/session_info.h"
#include "prune_options.h"
#include "reap/dataset.h"
#include "reap/network.h"

/* What runs read and leave as it is: loaded once, used by as many runs as there are. */
typedef struct prune_inputs {
  reap_network network;
  reap_dataset *calibration; /* NULL with --from-stats */
  reap_dataset *evaluation;  /* NULL without --eval */
  reap_latency *latency;     /* of --latency-table, or taken from a session; NULL: not known */
} prune_inputs;

/* Collective. Opens the images that `options` name, checks that the network takes those for evaluation (a session
 * checks the others), and reads --latency-table. The network is there; inputs are to be closed also after an error. */
int prune_inputs_open(const reap_comm *comm, const prune_options *options, prune_inputs *inputs);
void prune_inputs_close(prune_inputs *inputs);

/* What a network may lose at most, on views of images held out; NaN: anything. */
typedef struct prune_bounds {
  double kl, drop; /* nats; share of the images */
} prune_bounds;

/* A budget that was tried. */
typedef struct prune_tried {
  double amount; /* share of the multiply-adds */
  bool whole;    /* with all images and producers; false: in small */
  bool within;   /* the bounds */
  double excess; /* log of the largest figure over its bound; infinite: the budget was out of reach */
  reap_view_figures figures;
  int64_t flops;
  double seconds;
} prune_tried;

enum { PRUNE_TRIED_MOST = 12 };

typedef struct prune_search {
  prune_bounds bounds;
  int64_t images;       /* held out */
  double provable_drop; /* the smallest that they can prove */
  int n;
  prune_tried tried[PRUNE_TRIED_MOST];
  reap_session_times measuring; /* the losses, before the first */
  double seconds_others;        /* networks tried, but for the one that was taken */
} prune_search;

/* One run. The first part is set by the caller and borrowed; the rest is what the run yields, and zero before. */
typedef struct prune_run {
  const command_context *context; /* its communicator does the work; its command line goes to reports */
  const prune_options *options;
  const prune_inputs *inputs;
  const reap_progress *progress;
  double start;                    /* reap_seconds() when the run began */
  progress_model *phases;          /* told what is to come; NULL: progress is shown directly, so the view is */
  const char *data_hash;           /* see reap_session_settings */
  const run_files *files;          /* for the report */
  const reap_evaluation *baseline; /* of the original network, if known already; NULL: evaluated in this run */
  const reap_reference
      *reference; /* with baseline: this rank's outputs of the original network; NULL: KL stays unknown */

  reap_session *session;
  const reap_session_info *info;         /* the session's */
  reap_evaluation before, after;         /* set with --eval */
  const prune_search *search;            /* NULL: the budget was given */
  reap_group_paths *paths;               /* of a search, which its session borrows */
  double seconds_load, seconds_evaluate; /* before prune_run_do(); of the evaluations */
  memory_figures memory;                 /* what was used */
} prune_run;

/* Collective. The session, with the sizes of --plan and inputs->latency; finds wishes that cannot be
 * met. To be cleared also after an error. */
int prune_run_open(prune_run *run);

/* Collective. Plans, prunes and evaluates; writes the files of the settings, and nothing else. The second: what comes
 * after pruning alone. */
int prune_run_do(prune_run *run);
int prune_run_judge(prune_run *run);
void prune_run_clear(prune_run *run);

#endif
