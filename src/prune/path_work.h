/* Groups whose paths are being made: who solves which and who measures it; private to src/prune.
 *
 * Ranks are split into teams. A team solves its groups (on its first rank) and then measures them, its ranks sharing the
 * images; teams work side by side. So weights have to be known to one team only.
 */
#ifndef REAP_PRUNE_PATH_WORK_H
#define REAP_PRUNE_PATH_WORK_H

#include "reap/layer.h"
#include "reap/moments.h"
#include "reap/paths.h"

/* One group. */
typedef struct path_work {
  int group;
  reap_layer layer;         /* its consumer */
  double cost;              /* multiply-adds of measuring one image */
  int team;
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
int path_works_create(const reap_graph *graph, const reap_groups *groups, const bool *chosen, path_works *out);
void path_works_clear(path_works *works);

/* Local. Splits `ranks` ranks into teams and deals out the groups, so that measuring on `blocks` blocks of images takes as
 * little time as possible. */
int path_works_deal(const reap_graph *graph, int sizes, int64_t blocks, int ranks, path_works *works);

/* Images held out among the first `images`: at most `most`, spread evenly, ascending. Local; indices may be NULL to
 * count. */
int64_t held_out_images(int64_t images, int64_t most, int64_t *indices);

/* What an output's movement is measured on, and within what. */
typedef struct sensitivity_setting {
  reap_dataset *images;
  int64_t count;
  const int64_t *indices; /* [count] images measured on */
  reap_backend backend;
  int64_t memory;         /* bytes for values and buffers on a rank; 0: no limit (reap_frontier_limit) */
  const char *scratch;
} sensitivity_setting;

/* Collective. Fills path->moved of all groups: how far the output moves with that group alone pruned. *divergence: what is measured, see group_paths.h. */
int sensitivity_measure(const reap_comm *comm, const reap_graph *graph, const sensitivity_setting *setting,
                        const reap_progress *progress, const path_works *works, bool *divergence);

/* Collective. The same between two networks with the same input and output. */
int sensitivity_between(const reap_comm *comm, const reap_graph *original, const reap_graph *other,
                        const sensitivity_setting *setting, double *moved);

#endif
