/* Paths of all groups from one pass over the original network, and what they mean for the network's own outputs.
 *
 * Every prunable group's consumer is looked at with the inputs it has in the original network (frozen inputs): one
 * elimination down to the least size gives order and errors, hence every size at once. Then, at a few sizes, the
 * network runs with that group alone pruned on images held out (base/split.h), and its outputs are compared with the
 * original's. No labels are used. Nothing depends on the number of ranks, but last digits where moments go by panels
 * (moments_panels.h).
 */
#ifndef REAP_PRUNE_SENSITIVITY_PATHS_H
#define REAP_PRUNE_SENSITIVITY_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/divergence.h"
#include "exec/kernels/kernel.h"
#include "exec/shard.h"
#include "model/groups/group_paths.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/solver.h"
#include "reap/stats_file.h"
#include "stats/accumulator.h"

/* Defaults: sizes at which a group's effect on the output is measured, and images it is measured on. */
enum { REAP_PATHS_SIZES = 5, REAP_PATHS_IMAGES = 500 };

/* Positions of an image in the moments that paths come from, in a run with so many (stats/samples.h): an order and the
 * scale of errors take fewer rows than weights. */
static inline int64_t reap_paths_positions(int64_t positions) { return positions < 0 ? -256 : positions; }

/* Temperature of the soft-max whose movement is measured; see src/prune/sensitivity/sensitivity.c. */
enum { REAP_PATHS_TEMPERATURE = 4 };

typedef struct reap_paths_options {
  const bool *chosen;      /* [groups] prunable ones to look at; NULL: all */
  int64_t min_keep;        /* paths end at so many channels (0 counts as 1) */
  int sizes;               /* measured sizes of a group, at most; 0: the output is not measured */
  int64_t measured_images; /* held-out images to measure on, at most */
  reap_measure measure;    /* of several outputs */
  reap_sampling sampling;  /* of the moments; its seed is also recorded */
  double ridge;
  reap_ridge_rule ridge_rule;
  reap_solver solver;
  reap_backend backend;
  int64_t memory;                /* bytes for values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;           /* folder for what exceeds them */
  reap_stats_file *from_stats;   /* moments of the original network in place of a pass; NULL: from images */
  reap_stats_writer *save_stats; /* takes up the moments of a pass; NULL: they are not stored */
  const reap_progress *progress;
  /* Collective, now and then: the first n of these are complete. What it returns, unless it is REAP_OK, ends the work.
   * NULL: nobody asks. */
  int (*complete)(void *context, const reap_group_paths *paths, int n);
  void *context;
} reap_paths_options;

/* Of this rank. */
typedef struct reap_paths_times {
  double read, forward, moments, solve, measure;
  int64_t held_out; /* images that the output was measured on */
} reap_paths_times;

/* Collective. Paths of the chosen groups in the order of their consumers, the same on all ranks and owned by the
 * caller. images and shard may be NULL with from_stats: then no output is measured. Hashes are left empty. times may be
 * NULL. known: complete paths of an earlier call with the same options that was ended; their groups are not looked at
 * again, and they are moved into the result. NULL: there are none. REAP_ERR_INPUT if there is no group to look at. */
int reap_paths_collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                       const reap_shard *shard, const reap_paths_options *options, reap_group_paths *known,
                       reap_paths_times *times, reap_group_paths **out);

/* Local. What paths of this network would measure: see group_paths.h. */
int reap_paths_measure_of(const reap_graph *graph, reap_measure measure, reap_path_measure *out);

#endif
