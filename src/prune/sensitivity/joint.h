/* The loss-composition model: from groups pruned alone to several groups pruned.
 *
 * Losses of single groups are measured with all other layers as they were. In a run, layers are solved one after the
 * other on their true inputs and repair part of what earlier ones did, so that the losses do not add up as measured.
 * How they do is settled between a few laws (power and tilt, see reap_group_paths_loss), where they differ enough, by
 * trial: the one whose choice of sizes at half of what can be taken moves the output least, pruned for real with few
 * images and measured on images held out. A power of 0 stands for uniform shares: the losses say nothing that helps.
 */
#ifndef REAP_PRUNE_SENSITIVITY_JOINT_H
#define REAP_PRUNE_SENSITIVITY_JOINT_H

#include "model/groups/group_paths.h"
#include "prune/prune.h"
#include "reap/groups.h"

enum { REAP_JOINT_TRIALS = 1 }; /* to be expected: often none, at times two, three at most */

/* Collective. Sets paths->power and paths->tilt, the same on all ranks. options: of the run to come, for the groups
 * chosen there; its sizes are not looked at. Nothing is tried, and nothing changed, where no output was measured.
 * paths->trials tells what was tried. */
int reap_joint_fit(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                   const reap_shard *shard, const reap_prune_options *options, reap_group_paths *paths);

/* Local. Losses of every size of the chosen groups, losses[groups][channels + 1] owned by the caller (NULL for other
 * groups); least[groups] is raised to what the paths reach. output: by reap_group_paths_loss, else the relative error
 * of the consumer's output. Those of coupled groups are multiplied by `coupled`. REAP_ERR_INPUT names a group that the
 * paths do not have, or not with this number of channels, or without the output's movement. */
int reap_joint_losses(const reap_groups *groups, const bool *chosen, const reap_group_paths *paths, bool output,
                      double coupled, int64_t *least, double **losses);

#endif
