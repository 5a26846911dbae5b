/* The steps of a run: which layers are pruned, re-solved or scaled, and in which order. Made once, from the network as
 * it is before the run; the run takes them one by one, and its estimate follows them. Local. */
#ifndef REAP_PRUNE_RUN_STEPS_H
#define REAP_PRUNE_RUN_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"
#include "types.h"

typedef struct reap_step {
  reap_step_kind kind;
  int node;     /* the linear layer; -1 for REAP_STEP_CUT */
  int group;    /* pruned here, all of it read by the layer; -1: none */
  int shortcut; /* value that the layer's output is added to and whose drift its target carries; -1: none */
  double work;  /* for progress: multiply-adds of the layer for an image, or what the options say */
} reap_step;

typedef struct reap_steps {
  int n, n_scaled; /* in all; of them scaled */
  reap_step *list; /* [n] cuts of coupled groups first; then in topological order of the layers, those that are scaled
                      behind all others */
  double work;     /* of all the others */
} reap_steps;

/* What is asked of a run; lists are borrowed. */
typedef struct reap_steps_wishes {
  bool cut_only;         /* one REAP_STEP_CUT for each group, and nothing else */
  const bool *chosen;    /* [groups] groups that may be pruned */
  const int64_t *counts; /* [groups] channels to keep: a group that keeps all of them has no step */
  const bool *repair;    /* [nodes] layers that may be re-solved though none of their inputs go; NULL: none. Those that
                            read a coupled group that is cut are re-solved in any case, if they can be */
  reap_scaled_outputs classifier; /* outputs that may be scaled, if their last layer may be repaired */
} reap_steps_wishes;

/* To be cleared also after an error. */
int reap_steps_make(const reap_graph *graph, const reap_groups *groups, const reap_steps_wishes *wishes,
                    reap_steps *out);
void reap_steps_clear(reap_steps *steps);

/* Input channels of a step's layer as reap_layer_view() takes them; of a layer that is re-solved (a matrix behind a
 * Flatten has one for every column). */
int64_t reap_step_channels(const reap_graph *graph, const reap_groups *groups, const reap_step *step);
int64_t reap_repair_channels(const reap_graph *graph, int node);

/* Whether layer `node` is one that can be re-solved as it stands: linear, not too wide. */
bool reap_repair_possible(const reap_graph *graph, int node);

#endif
