/* How far the outputs of one network are from those of another; see sensitivity.h. Cost: a forward pass of each.
 * Memory: as one pass. Failure modes: an output that is not finite. */
#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "study.h"

/* Local: this rank's blocks of both. */
static int compare_networks(study *original, study *other, reap_divergence *slots) {
  REAP_TRY(reap_study_set_up(original));
  REAP_TRY(reap_study_run(original, original->base, original->graph, reap_study_keep, NULL));
  reap_frontier_destroy(&original->base);
  REAP_TRY(reap_study_set_up(other));
  memcpy(other->reference, original->reference,
         (size_t)(reap_study_blocks(other) * other->shard.block * other->outputs.size) * sizeof(float));
  return reap_study_run(other, other->base, other->graph, reap_study_compare, slots);
}

int reap_sensitivity_between(const reap_comm *comm, const reap_graph *original, const reap_graph *other,
                             const sensitivity_setting *setting, double *moved) {
  const reap_shard shard = reap_shard_make(setting->count, original->batch, reap_comm_rank(comm), reap_comm_size(comm));
  study a = {.graph = original, .setting = setting, .shard = shard};
  study b = {.graph = other, .setting = setting, .shard = shard};
  reap_divergence *slots = NULL;
  int64_t count = 0;
  int status = reap_study_start(&a);
  if (status == REAP_OK) status = reap_study_start(&b);
  if (status == REAP_OK) status = reap_study_slots(&a, 1, &count, &slots);
  if (status == REAP_OK) status = compare_networks(&a, &b, slots);
  REAP_TRY_OR(reap_comm_agree(comm, status), done);
  REAP_TRY_OR(reap_study_means(comm, &a), done);
  REAP_TRY_OR(reap_study_add_up(comm, count, slots), done);
  *moved = reap_study_moved(&a, slots);
  if (!isfinite(*moved)) status = reap_error(REAP_ERR_NUMERIC, "the output of a network pruned on trial is not finite");
done:
  reap_study_clear(&a);
  reap_study_clear(&b);
  reap_free(&slots);
  return status;
}
