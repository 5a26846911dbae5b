/* What a pruning run will take: memory and operations from the graph, speeds from short measurements. */
#ifndef REAP_PRUNE_ESTIMATE_RUN_ESTIMATE_H
#define REAP_PRUNE_ESTIMATE_RUN_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/kernels/kernel.h"
#include "exec/shard.h"
#include "reap/comm.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "stats/accumulator.h"

typedef struct reap_run_setting {
  const reap_graph *graph;
  const reap_groups *groups;
  const bool *chosen;    /* [groups] pruned */
  const int64_t *counts; /* [groups] channels kept */
  const bool *repair;    /* [nodes] layers that may be re-solved though none of their inputs go; NULL: none */
  int producer_rounds;   /* see prune.h */
  reap_sampling sampling;
  reap_shard shard; /* of the rank with most blocks */
  int ranks;
} reap_run_setting;

typedef struct reap_run_estimate {
  double model;           /* bytes: weights of the graph that is pruned */
  double frontier;        /* bytes: values and buffers of both networks without a limit, on the rank with most images */
  double least;           /* bytes: the same for one block of images: a limit below it cannot be kept to */
  double matrices;        /* bytes: moments and solver of the layer that takes most, on the rank that solves */
  double moments, solver; /* of them: while moments are summed, and while they are solved from */
  double traffic;         /* bytes to and from the scratch file with the limit asked for, on a rank, at most */
  double forward;         /* multiply-adds: both networks, all images of the rank with most */
  double moments_work;    /* multiply-adds: moments and held-out errors, likewise */
  double solver_work, shared_work; /* flops of layers that one rank solves, and of distributed ones */
} reap_run_estimate;

/* Local. Follows the values of both networks through the run; limit: bytes, 0: none. */
int reap_estimate_run(const reap_run_setting *setting, int64_t limit, reap_run_estimate *out);

typedef struct reap_speeds {
  double forward, moments, solver; /* multiply-adds a second and rank for the first two, flops a second of DGEMM */
} reap_speeds;

/* Collective: a block of images through the network as a run does it, moments of some layers, a product of matrices; a
 * second or so. */
int reap_estimate_speeds(const reap_comm *comm, const reap_run_setting *setting, reap_backend backend,
                         reap_speeds *out);

/* Collective: flops a second on a rank of square DGEMMs of order n, all ranks at once; the slowest rank's best of
 * three. */
int reap_dgemm_rate(const reap_comm *comm, int64_t n, double *rate);

/* Of some machine: enough to compare parts of a run. */
extern const reap_speeds reap_nominal_speeds;

/* Seconds of the run's parts that depend on the images. */
double reap_estimate_seconds(const reap_run_estimate *estimate, const reap_speeds *speeds, int ranks);

/* Local. The same of each step (steps.h) but those that scale, which take next to nothing: seconds[groups + nodes], of
 * which the first *n are set. */
int reap_estimate_steps(const reap_run_setting *setting, int64_t limit, const reap_speeds *speeds, double *seconds,
                        int *n);

#endif
