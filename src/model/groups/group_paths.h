/* What every group would lose at every size: order of removal, error curve, and how far the network's output moves.
 *
 * Plain data: gathered in one pass over the original network (src/prune/sensitivity/paths.c, sensitivity.c), kept in a
 * file (src/io/paths_file.c), read to choose sizes under a budget. All calls are local.
 */
#ifndef REAP_MODEL_GROUP_PATHS_H
#define REAP_MODEL_GROUP_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/groups.h"

/* What `moved` is. Of networks with one output it is a KL divergence or a squared error; of others, each output counts
 * by the share of it that is lost (divergence.h), the KL divergence being that of the soft-max at the same temperature.
 */
typedef enum reap_path_measure {
  REAP_PATH_SQUARED_ERROR, /* relative squared error of the output */
  REAP_PATH_SOFT_KL, /* KL(original || pruned) of the soft-max at temperature 4, times 16, in nats, mean over images
                        (reap_divergence_add_soft) */
  REAP_PATH_LARGEST_SHARE, /* of several outputs the largest share, */
  REAP_PATH_SUM_OF_SHARES  /* or the sum of them */
} reap_path_measure;

/* One prunable group. Owns its arrays. */
typedef struct reap_group_path {
  char *group, *layer;        /* name of the group; of the layer that consumes it */
  int64_t channels, block, m; /* of the consumer: n = channels * block columns, m outputs */
  int64_t samples;            /* rows in the moments */
  double energy;              /* centred energy of the consumer's output over those rows */
  double ridge;               /* relative ridge of the elimination in the end */
  int64_t n_removed;          /* how far the elimination went; channels - n_removed are left at the end, at least 1 */
  int64_t *order;             /* [n_removed] channels in the order in which they go */
  double *error;  /* [n_removed] J / energy of the consumer's output after each removal: centred squared error
                     with the ridge term, weights re-solved; never descending. 0 where the energy is 0. */
  int n_sizes;    /* 0: the network's output was not measured */
  int64_t *sizes; /* [n_sizes] channels kept, descending, each in channels - n_removed .. channels - 1 */
  double *moved;  /* [n_sizes] how far the output moved with this group alone cut to that size */
} reap_group_path;

/* What a trial of a power and a tilt came to (joint.h). */
typedef struct reap_paths_trial {
  double power, tilt, moved; /* moved: 0 or NaN if it was not tried */
} reap_paths_trial;

enum { REAP_PATHS_TRIALS = 3 };

typedef struct reap_group_paths {
  int n;
  reap_group_path *paths;                     /* [n], in the order of the consumers */
  reap_path_measure measure;                  /* what moved is, where it was measured */
  int64_t images;                             /* calibration images looked at, those held out included */
  int64_t measured_images;                    /* images held out on which `moved` was measured; 0: it was not */
  int64_t positions;                          /* sampled per image; 0: all */
  uint64_t seed;                              /* of the sampling */
  double ridge;                               /* relative ridge asked for */
  double power, tilt;                         /* how the losses of several groups combine; see
                                                 reap_group_paths_loss. 1 and 0 until they are fitted (joint.h) */
  reap_paths_trial trials[REAP_PATHS_TRIALS]; /* by which they were fitted; in checkpoints alone.
                                                 moved NaN: not tried */
  char model_hash[65], calibration_hash[65];  /* SHA-256 of the model's file and of the images'; "" unknown */
} reap_group_paths;

/* "soft_kl", "relative_squared_error", "largest_share" or "sum_of_shares", as in files; and back: false if it is none
 * of these. */
const char *reap_path_measure_name(reap_path_measure measure);
bool reap_path_measure_named(const char *name, reap_path_measure *measure);

/* n empty paths, to be filled by reap_group_path_allocate(); the caller owns the result. */
int reap_group_paths_create(int n, reap_group_paths **out);
void reap_group_paths_destroy(reap_group_paths **paths);

/* Names (copied) and zero-filled arrays of the given lengths for an empty path. */
int reap_group_path_allocate(reap_group_path *path, const char *group, const char *layer, int64_t channels,
                             int64_t n_removed, int n_sizes);
void reap_group_path_clear(reap_group_path *path);

/* Path of the group of that name, or NULL. */
const reap_group_path *reap_group_paths_find(const reap_group_paths *paths, const char *group);

/* REAP_ERR_INPUT naming `what` and the group if a path cannot be one: an order that names a channel twice, errors that
 * are not finite or descend, sizes out of order. */
int reap_group_paths_check(const reap_group_paths *paths, const char *what);

/* REAP_ERR_INPUT naming `what` and the group if the paths are not those of this network: a group that it does not have,
 * that has other channels or that cannot be pruned. */
int reap_group_paths_match(const reap_group_paths *paths, const reap_groups *groups, const char *what);

/* The smallest size that the path reaches: channels - n_removed. */
int64_t reap_group_path_least(const reap_group_path *path);

/* Relative error with `kept` channels left; 0 at kept >= channels. Below the smallest size: that of the smallest size.
 */
double reap_group_path_error(const reap_group_path *path, int64_t kept);

/* How far the output moves with `kept` channels left, as a function of the error e there: 0 at e = 0, proportional to e
 * up to the first measured size (a small error in a layer moves the output linearly, and both measures are of second
 * order in that), a power law between measured sizes, and beyond the last one the last power, kept within 1 .. 2. What
 * was measured is made ascending first (pool adjacent violators). Never descending as `kept` falls. 0 where nothing was
 * measured. */
double reap_group_path_moved(const reap_group_path *path, int64_t kept);

/* What path number `index` adds to the loss of a network with all groups pruned, with `kept` channels left:
 *     moved(kept)^power * exp(-tilt * behind)
 * (a power of 0: see joint.h), behind: the share of the other groups that lies behind it, 0 .. 1. Layers that are
 * solved later repair part of what earlier ones did, the more of them there are. */
double reap_group_paths_loss(const reap_group_paths *paths, int index, double behind, int64_t kept);

/* Fills kept[channels]: true for the channels left at size `size` (at least the smallest one). */
void reap_group_path_mask(const reap_group_path *path, int64_t size, bool *kept);

/* The same as a list: *kept [size] ascending, which the caller frees. */
int reap_group_path_keep(const reap_group_path *path, int64_t size, int64_t **kept);

#endif
