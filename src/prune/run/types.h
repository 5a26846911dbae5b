/* Options and results of a pruning run; see prune.h. */
#ifndef REAP_PRUNE_RUN_TYPES_H
#define REAP_PRUNE_RUN_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/divergence.h"
#include "exec/frontier.h"
#include "exec/kernels/kernel.h"
#include "exec/shard.h"
#include "io/activations_file.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/method.h"
#include "reap/path.h"
#include "reap/solver.h"
#include "reap/stats_file.h"
#include "record.h"
#include "stats/gram.h"

typedef enum reap_scaled_outputs {
  REAP_SCALE_NONE,
  REAP_SCALE_ALL,    /* all [N, classes] */
  REAP_SCALE_SOFTMAX /* those behind a soft-max */
} reap_scaled_outputs;

/* Results of trials (sensitivity/trial.h) in the order in which they are asked for: those known are not made again. The
 * same on all ranks. */
typedef struct reap_trial_ledger {
  int64_t n, next;            /* known; asked for so far */
  double *moved;              /* [n] */
  int (*made)(void *context); /* collective, after one was made and added; its status is the trial's */
  void *context;
} reap_trial_ledger;

typedef struct reap_prune_options {
  const reap_method *method;
  reap_refit_kind refit;
  bool cut_only;         /* groups of any kind are cut by what the method makes of the weights: nothing is re-solved, no
                            images are read */
  const bool *chosen;    /* [groups] groups to prune; prunable ones only, with cut_only cuttable ones */
  const int64_t *counts; /* [groups] channels to keep */
  int64_t *const *given; /* [groups] which ones, ascending, counts[group] of them; an entry of NULL, or NULL: the method
                            chooses */
  const bool
      *repair; /* [nodes] layers that may be re-solved though none of their inputs go; NULL: none. Needs images */
  int producer_rounds; /* times that a pruned layer and the one that produces its inputs are solved in turn; 0: never.
                          Needs images and refit, not by the method's own weights */
  reap_scaled_outputs
      classifier;     /* outputs that are a classifier's may be scaled, if their last layer may be repaired */
  unsigned views;     /* that a classifier's factor is chosen by: REAP_VIEW_* added; 0: images held out as they are */
  int64_t positions;  /* of an image: stats/samples.h */
  reap_solver solver; /* where layers are solved, for methods that solve */
  double ridge;
  reap_ridge_rule ridge_rule; /* which layers take the ridge, and its target, that their held-out images prefer */
  uint64_t seed;
  reap_backend backend;
  int64_t memory;       /* bytes for both networks' values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;  /* folder for what exceeds them */
  reap_measure measure; /* of several outputs, by which trials judge a network (trial.h) */
  const reap_progress *progress;
  const double *work; /* [n_work] for progress: what each step takes of all, but those that scale, in any unit. NULL, or
                         as many as there are not: the layers' multiply-adds */
  int n_work;
  bool quiet;                         /* no warnings: a trial */
  reap_trial_ledger *trials;          /* of the trials that these options are asked of; NULL: they are not kept */
  reap_stats_writer *save_stats;      /* takes up the moments as used; NULL: they are not kept */
  reap_activations_file *activations; /* takes up inputs and targets as used; NULL: they are not kept */
  reap_stats_file *from_stats; /* moments of the original network in place of images (which are NULL then, as is the
                                  shard): inputs are frozen, no drift is repaired, no error measured on images */
} reap_prune_options;

/* Whether layers take weights that the method gives beside its choice. */
static inline bool reap_prune_own_weights(const reap_prune_options *o) {
  return o->refit == REAP_REFIT_METHOD && o->method->gives & REAP_GIVES_WEIGHTS;
}

/* What a run has done. */
typedef struct reap_prune_result {
  int n;                   /* steps taken */
  reap_step_record *steps; /* [n] in the order in which they were taken */
  reap_frontier_use use;   /* of this rank */
  double seconds_forward, seconds_moments, seconds_reduce, seconds_solve, seconds_producers, seconds_held_out,
      seconds_read, seconds_store;
} reap_prune_result;

/* Where the moments of a pruned layer with n columns and m outputs are to be. The same on all ranks. Collective. */
reap_gram_place reap_prune_place(const reap_comm *comm, const reap_prune_options *options, int64_t n, int64_t m);

/* Steps of a kind, and one of them. */
int reap_prune_count(const reap_prune_result *result, reap_step_kind kind);
const reap_step_record *reap_prune_record(const reap_prune_result *result, reap_step_kind kind, int index);

void reap_prune_result_clear(reap_prune_result *result);

#endif
