/* Trials; see trial.h. Cost: with 4000 calibration images some tenth of a pruning run: a quarter of the forward passes,
 * and moments of sampled positions. Memory: as a run over so many images. */
#include "trial.h"

#include <math.h>
#include <string.h>

#include "prune/methods/methods.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "sensitivity.h"

static int prune(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_dataset *images,
                 const reap_shard *shard, const reap_prune_options *options) {
  reap_groups *groups = NULL;
  reap_prune_result result;
  memset(&result, 0, sizeof result);
  int status = reap_comm_agree(comm, reap_groups_find(pruned, &groups));
  if (status == REAP_OK) status = reap_prune(comm, original, pruned, groups, images, shard, options, &result);
  reap_prune_result_clear(&result);
  reap_groups_destroy(&groups);
  return status;
}

static int measure(const reap_comm *comm, const reap_graph *original, const reap_graph *pruned, reap_dataset *images,
                   int64_t all, const reap_prune_options *o, double *moved) {
  const int64_t count = reap_split_list(REAP_SPLIT_TENTH, all, REAP_TRIAL_MEASURED, NULL);
  int64_t *indices = NULL;
  *moved = NAN;
  if (count == 0) return REAP_OK;
  REAP_TRY(reap_comm_alloc(comm, &indices, count, sizeof *indices));
  reap_split_list(REAP_SPLIT_TENTH, all, count, indices);
  const sensitivity_setting setting = {.images = images,
                                       .count = count,
                                       .indices = indices,
                                       .backend = o->backend,
                                       .memory = o->memory,
                                       .scratch = o->scratch,
                                       .measure = o->measure};
  int status = reap_sensitivity_between(comm, original, pruned, &setting, moved);
  reap_free(&indices);
  return status;
}

static int make(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
                const reap_prune_options *options, int64_t few, double *moved) {
  const int64_t count = shard->images < few ? shard->images : few;
  const reap_shard part = reap_shard_make(count, shard->block, reap_comm_rank(comm), reap_comm_size(comm));
  reap_prune_options o = *options;
  reap_graph *pruned = NULL;
  o.save_stats = NULL;
  o.activations = NULL;
  o.trials = NULL;
  o.quiet = true;
  o.ridge_auto = false;
  o.producer_rounds = 0;          /* would take longer than all else */
  o.classifier = REAP_SCALE_NONE; /* the movement is measured at a temperature, where one factor of all outputs counts
                                     as an error */
  o.method = reap_method_for_sizes(o.method);
  o.refit = REAP_REFIT_LEAST_SQUARES;
  o.seed = 0; /* whatever the run's, sizes are the same */
  o.positions = REAP_TRIAL_POSITIONS;
  int status = reap_comm_agree(comm, reap_graph_clone(original, &pruned));
  if (status == REAP_OK) status = prune(comm, original, pruned, images, &part, &o);
  if (status == REAP_OK) status = measure(comm, original, pruned, images, shard->images, &o, moved);
  reap_graph_destroy(&pruned);
  return status;
}

int reap_trial(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
               const reap_prune_options *options, int64_t few, double *moved) {
  reap_trial_ledger *l = options->trials;
  if (l && l->next < l->n) {
    *moved = l->moved[l->next++];
    return REAP_OK;
  }
  REAP_TRY(make(comm, original, images, shard, options, few, moved));
  if (!l) return REAP_OK;
  REAP_TRY(reap_comm_agree(comm, reap_grow(&l->moved, l->n, l->n + 1, sizeof *l->moved)));
  l->moved[l->n++] = *moved;
  l->next = l->n;
  return l->made(l->context);
}
