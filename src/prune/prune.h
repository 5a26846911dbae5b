/* Pruning a network: groups in the order of their consumers, original and pruned network side by side.
 *
 * For each group: both networks are advanced to its consumer, the moments of the consumer's true inputs and wanted
 * outputs are summed over ranks, one rank chooses and solves (or all do, with moments that no rank holds, where the
 * layer is large), and all ranks cut. A whole run costs about two forward passes and the moments.
 */
#ifndef REAP_PRUNE_PRUNE_H
#define REAP_PRUNE_PRUNE_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/shard.h"
#include "model/groups/layer_state.h"
#include "prune/run/types.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"

/* A run between its steps. */
typedef struct run reap_run;

/* Collective. `original` stays as it is; `pruned`, a clone of it, is cut, and `groups` (of the clone) follows. All are
 * borrowed until the run is destroyed, the options, too. *result is cleared by the caller, also after an error. */
int reap_run_begin(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_groups *groups,
                   reap_dataset *images, const reap_shard *shard, const reap_prune_options *options,
                   reap_prune_result *result, reap_run **out);

/* Local. Number of steps of the whole run: layers pruned and layers repaired. */
int reap_run_steps(const reap_run *run);

/* Collective. The next step, at most reap_run_steps() times; its record is the last one of the
 * result, on all ranks. */
int reap_run_step(reap_run *run);

/* What a step has left behind: its record, and the weights of its layer and of the layer before, where they changed. */
typedef struct reap_step_past {
  reap_step_record record;
  reap_layer_state layer, producer;
} reap_step_past;

/* Local. Of the step last done, in a run that decides by the images; to be cleared also after an error. */
int reap_run_take_past(const reap_run *run, reap_step_past *past);
void reap_step_past_clear(reap_step_past *past);

/* Collective. The next step as it was done before in a run of the same network, images and options: nothing is decided
 * or solved, the images only pass. Behind it, all is bit for bit as it was, if the ranks are as many. REAP_ERR_INPUT if
 * `past` is not of this step. */
int reap_run_repeat(reap_run *run, const reap_step_past *past);

/* Local. Whether a run can go on from here by repeating what was done: not between cuts of coupled groups, which are
 * chosen all at once. */
bool reap_run_may_pause(const reap_run *run);

/* Collective. After the last step: the outputs of classifiers, if they are to be scaled. */
int reap_run_finish(reap_run *run);

/* Local. Frees the run, and notes in the result what it used. */
void reap_run_destroy(reap_run **run);

/* Collective. A whole run at once. Result on all ranks; to be cleared by the caller, also after an error. */
int reap_prune(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_groups *groups,
               reap_dataset *images, const reap_shard *shard, const reap_prune_options *options,
               reap_prune_result *result);

#endif
