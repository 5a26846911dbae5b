/* How far the outputs of a network move when a group is pruned. */
#ifndef REAP_PRUNE_SENSITIVITY_SENSITIVITY_H
#define REAP_PRUNE_SENSITIVITY_SENSITIVITY_H

#include "path_work.h"

/* What an output's movement is measured on, and within what. */
typedef struct sensitivity_setting {
  reap_dataset *images;
  int64_t count;
  const int64_t *indices; /* [count] images measured on */
  const double *weights;  /* [count] how many of `all` images each stands for (measured_images.h); NULL: one each */
  int64_t all;            /* images that they stand for; with weights only */
  reap_backend backend;
  int64_t memory; /* bytes for values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;
  reap_measure measure; /* of several outputs */
  /* Collective, now and then, every half minute at least or so: path->moved of the first n works is there. NULL: nobody
   * asks. */
  int (*complete)(void *context, int n);
  void *context;
} sensitivity_setting;

/* Collective. Fills path->moved of all groups: how far the outputs move with that group alone pruned. *measure: what is
 * measured. */
int reap_sensitivity_measure(const reap_comm *comm, const reap_graph *graph, const sensitivity_setting *setting,
                             const reap_progress *progress, const path_works *works, reap_path_measure *measure);

/* Collective. The same between two networks with the same inputs and outputs. */
int reap_sensitivity_between(const reap_comm *comm, const reap_graph *original, const reap_graph *other,
                             const sensitivity_setting *setting, double *moved);

#endif
