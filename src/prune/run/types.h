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
#include "reap/method.h"
#include "reap/placement.h"
#include "reap/progress.h"
#include "reap/stats_file.h"

typedef enum reap_scaled_outputs {
  REAP_SCALE_NONE,
  REAP_SCALE_ALL,    /* all [N, classes] */
  REAP_SCALE_SOFTMAX /* those behind a soft-max */
} reap_scaled_outputs;

typedef struct reap_prune_options {
  const reap_method *method;
  bool refit;            /* re-solve the weights by least squares */
  const bool *chosen;    /* [groups] groups to prune; prunable ones only */
  const int64_t *counts; /* [groups] channels to keep */
  int64_t *const *given; /* [groups] which ones, ascending, counts[group] of them; an entry of NULL, or NULL: the method
                            chooses */
  const bool
      *repair; /* [nodes] layers that may be re-solved though none of their inputs go; NULL: none. Needs images */
  int producer_rounds; /* times that a pruned layer and the one that produces its inputs are solved in turn; 0: never.
                          Needs images and refit */
  reap_scaled_outputs
      classifier;     /* outputs that are a classifier's may be scaled, if their last layer may be repaired */
  int64_t positions;  /* sampled per image; 0: all */
  reap_solver solver; /* where layers are solved, for methods that solve */
  double ridge;
  bool ridge_auto; /* each layer takes the ridge, and its target, that its held-out images prefer */
  uint64_t seed;
  reap_backend backend;
  int64_t memory;       /* bytes for both networks' values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;  /* folder for what exceeds them */
  reap_measure measure; /* of several outputs, by which trials judge a network (trial.h) */
  const reap_progress *progress;
  bool quiet;                         /* no warnings: a trial */
  reap_stats_writer *save_stats;      /* takes up the moments as used; NULL: they are not kept */
  reap_activations_file *activations; /* takes up inputs and targets as used; NULL: they are not kept */
  reap_stats_file *from_stats; /* moments of the original network in place of images (which are NULL then, as is the
                                  shard): inputs are frozen, no drift is repaired, no error measured on images */
} reap_prune_options;

/* The layer that produces a pruned layer's inputs, solved in turn with it. Errors are the pruned layer's, relative. */
typedef struct reap_producer_result {
  char *layer;            /* NULL: there is none to be solved, all else is zero */
  int rounds;             /* made, those included that brought nothing */
  double error_before;    /* of the pruned layer solved alone, on the images in the moments */
  double held_out_before; /* the same on the images held out; NaN if there are none */
  bool changed;           /* false: that was the better one on images held out, and stayed */
  double seconds;
} reap_producer_result;

typedef struct reap_layer_result {
  char *layer, *group;
  int64_t channels, n_kept, n_removed;
  int64_t *kept;                   /* [n_kept] ascending */
  int64_t *removed;                /* [n_removed] in order of removal (ascending where a method has no order) */
  double *path;                    /* [n_removed] relative error after each removal; NULL where a method has none */
  int64_t samples;                 /* rows in the moments */
  double relative_error;           /* of the weights used, on the images in the moments; NaN if they were not formed */
  double held_out_error;           /* on the images held out; NaN if there are none */
  double predicted_relative_error; /* by the elimination; NaN where a method predicts nothing */
  double ridge, rcond, drift;
  bool distributed;       /* solved on all ranks together */
  bool spread;            /* from moments that no rank held */
  bool ridge_trained;     /* the ridge pulled towards the trained weights, not towards zero */
  bool few_samples;       /* fewer than 5 rows per column */
  bool repaired_shortcut; /* the target carried the shortcut's drift */
  reap_producer_result producer;
  double seconds;
  double moments_flops;   /* multiply-adds of the moments over all ranks, at best */
  double moments_seconds; /* this rank's time for them */
} reap_layer_result;

/* A layer that lost no inputs but reads tensors that pruning has changed: re-solved against the original outputs. */
typedef struct reap_repair_result {
  char *layer;
  int64_t samples;        /* rows in the moments */
  double error_before;    /* relative, of the old weights, on the images in the moments */
  double relative_error;  /* of the weights used */
  double held_out_before; /* the same on the images held out; NaN if there are none */
  double held_out_error;
  double ridge;
  bool ridge_trained;     /* the ridge pulled towards the trained weights, not towards zero */
  bool changed;           /* false: the old weights were better on images held out, and stayed */
  bool few_samples;       /* fewer than 5 rows per column */
  bool repaired_shortcut; /* the target carried the shortcut's drift */
  int64_t channels;       /* of its input */
  double moments_flops;   /* multiply-adds of the moments over all ranks, at best */
  double moments_seconds; /* this rank's time for them */
  double seconds;
} reap_repair_result;

/* The outputs of a classifier, made less sure after all else was done: its last layer times one factor. KL is in nats,
 * of the original's soft-max to the pruned network's. */
typedef struct reap_classifier_result {
  char *layer;
  int64_t images;                      /* held out */
  double held_out_before, held_out_kl; /* on them, before and after */
  double mixed_before,
      mixed_kl;  /* on mixtures: four fifths of each of them and one fifth of the next one, cyclically */
  double factor; /* at most 1; least mixed_kl */
  bool changed;  /* false: the sum of both hardly falls, so the weights stayed and the factor is 1 */
  double seconds;
} reap_classifier_result;

typedef struct reap_prune_result {
  int n_layers, n_repaired;
  reap_layer_result *layers; /* in the order in which they were pruned */
  reap_repair_result *repaired;
  int n_classifiers;
  reap_classifier_result
      *classifiers;      /* of each output that is a classifier's and may be scaled, in the network's order */
  reap_frontier_use use; /* of this rank */
  double seconds_forward, seconds_moments, seconds_reduce, seconds_solve, seconds_producers, seconds_held_out,
      seconds_read, seconds_store;
} reap_prune_result;

/* Whether the moments of a layer with n columns and m outputs go to all ranks together, so that no rank holds them
 * (then its matrices take a share of every rank's memory only). The same on all ranks. Collective. */
bool reap_prune_spreads(const reap_comm *comm, const reap_prune_options *options, int64_t n, int64_t m);

void reap_prune_result_clear(reap_prune_result *result);

#endif
