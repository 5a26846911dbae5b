/* Groups whose paths are being made: who solves which and who measures it; private to src/prune.
 *
 * Ranks are split into teams. A team solves its groups (on its first rank, or all ranks solve a large one) and
 * then measures them, its ranks sharing the images; teams work side by side. So weights have to be known to one team
 * only.
 */
#ifndef REAP_PRUNE_SENSITIVITY_PATH_WORK_H
#define REAP_PRUNE_SENSITIVITY_PATH_WORK_H

#include "model/operators/layer.h"
#include "paths.h"
#include "stats/gram.h"

/* One group. */
typedef struct path_work {
  int group;
  reap_layer layer; /* its consumer */
  double cost;      /* multiply-adds of measuring one image */
  int team;
  bool distributed;         /* solved by all ranks: result and weights are where they belong */
  double ridge;             /* that it is solved with (path_ridge.c) */
  reap_moments *moments;    /* on the rank that solves, until it has */
  reap_group_path *path;    /* the result, on all ranks; borrowed */
  double **weights, **bias; /* [path->n_sizes] at the measured sizes, on the team: [size * block, m] row-major, [m] */
} path_work;

typedef struct path_works {
  int n;
  path_work *list; /* in the order of the consumers */
  int teams;       /* team of a rank: rank modulo teams */
} path_works;

/* Local. The consumers of the chosen groups. */
int reap_path_works_create(const reap_graph *graph, const reap_groups *groups, const bool *chosen, path_works *out);
void reap_path_works_clear(path_works *works);

/* Local. Splits `ranks` ranks into teams and deals out the groups, so that measuring on `blocks` blocks of images takes
 * as little time as possible. */
int reap_path_works_deal(const reap_graph *graph, int sizes, int64_t blocks, int ranks, path_works *works);

/* Local. Both of these for the options' groups and, of `images` images, those that the output would be measured on:
 * *count; their number decides how work is dealt out. */
int reap_path_works_plan(const reap_graph *graph, const reap_groups *groups, const reap_paths_options *options,
                         int64_t images, int ranks, int64_t *count, path_works *out);

/* Local. Sizes to measure, at most `most`: evenly spaced below the one at which errors begin to count, and where they
 * never do (fewer rows than columns of one channel) the least. Returns their number. */
int reap_path_spread_sizes(const reap_group_path *path, int most, int64_t *sizes);

/* Local: room for the group's result. */
int reap_path_work_allocate(const reap_paths_options *options, const char *group, const char *layer, path_work *w);

/* Local, on the first rank of the group's team: path and weights from w->moments, which are freed. Then, collective, to
 * the others: the path to all, room for the weights to the team (they follow in reap_sensitivity_measure). */
int reap_path_work_solve(const reap_paths_options *options, path_work *w);
int reap_path_work_share(const reap_comm *comm, const path_works *works, path_work *w);

/* path_ridge.c. Collective: where the layer has few rows, the ridge that images held out prefer, and the moments whose
 * solution it pulls towards the trained weights in place of the layer's own. Others take the options' ridge. */
int reap_path_work_choose_ridge(const reap_comm *comm, const reap_graph *graph, const reap_paths_options *options,
                                reap_layer_gram *gram, path_work *w);

/* Collective: path and weights by all ranks, from moments that lie on all of them, or on none; nothing is left to
 * share. */
int reap_path_work_solve_distributed(const reap_comm *comm, const reap_paths_options *options, const path_works *works,
                                     const reap_gram *gram, path_work *w);

#endif
