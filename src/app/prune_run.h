/* One pruning run, without its command line: what reap prune does once and reap sweep once per setting; private to
 * src/app. */
#ifndef REAP_APP_PRUNE_RUN_H
#define REAP_APP_PRUNE_RUN_H

#include <stdint.h>
#include "json.h"

#include "command.h"
#include "exec/evaluate.h"
#include "memory_figures.h"
#include "model/groups/group_paths.h"
#include "prune/prune.h"
#include "prune/sensitivity/joint.h"
#include "prune_options.h"
#include "prune_plan.h"
#include "reap/dataset.h"
#include "reap/groups.h"
#include "reap/hash.h"
#include "reap/network.h"
#include "run_files.h"

/* What runs read and leave as it is: loaded once, used by as many runs as there are. */
typedef struct prune_inputs {
  reap_network network;
  reap_dataset *calibration; /* NULL with --from-stats */
  reap_dataset *evaluation;  /* NULL without --eval */
  reap_group_paths *paths;   /* losses of all groups; NULL: not needed, or not there yet (prune_paths.h) */
  reap_joint_trial
      trials[REAP_JOINT_TRIALS];      /* how their losses were found to go together; moved NaN, or all 0: not tried */
  reap_latency *latency;              /* times of all layers; the same (prune_latency.h) */
  char images_hash[REAP_HASH_LENGTH]; /* of the calibration images, or of the statistics in their place, at the start of
                                         the run */
} prune_inputs;

/* Collective. The network that `options` name into zeroed `inputs`, which are to be closed also after an error. */
int prune_inputs_load(const reap_comm *comm, const prune_options *options, prune_inputs *inputs);

/* Collective. Hashes and opens the images that `options` name, and checks that the network takes them. */
int prune_inputs_open_images(const reap_comm *comm, const prune_options *options, prune_inputs *inputs);
void prune_inputs_close(prune_inputs *inputs);

/* One run. The first part is set by the caller and borrowed; the rest is what the run yields, and zero before. */
typedef struct prune_run {
  const command_context *context; /* its communicator does the work; its command line is told in reports */
  const prune_options *options;
  prune_inputs *inputs;
  const reap_progress *progress;
  const run_files *files;          /* for the report */
  const reap_evaluation *baseline; /* of the original network, if known already; NULL: evaluated in this run */
  const reap_reference
      *reference; /* with baseline: this rank's outputs of the original network; NULL: KL stays unknown */

  reap_graph *pruned;
  reap_groups *groups; /* of the pruned graph */
  prune_plan plan;
  bool *repair; /* see prune_repair.h */
  reap_prune_result result;
  double measured_ms;            /* of one image in the pruned network, under --latency */
  reap_evaluation before, after; /* set with --eval */
  reap_footprint footprint;      /* what was expected */
  memory_figures memory;         /* what was used */
} prune_run;

/* Collective. Groups, pruned graph, not cut yet, and the plan as far as it can be made without losses: finds wishes
 * that cannot be met before images are opened. */
int prune_run_plan(prune_run *run);

/* Local. What the run asks of reap_prune(), stores aside; the calibration images that are this rank's. */
reap_prune_options prune_run_options(const prune_run *run);
reap_shard prune_run_shard(const prune_run *run);

/* Collective. Completes the plan by inputs->paths if need be, prunes as planned and evaluates; writes --save-stats and
 * --activations, and nothing else. To be cleared also after an error. */
int prune_run_do(prune_run *run);
void prune_run_clear(prune_run *run);

#endif
