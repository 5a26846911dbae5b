/* Trials; see trial.h. Cost: with 4000 calibration images some tenth of a pruning run: a quarter of the forward passes,
 * and moments of sampled positions. Memory: as a run over so many images. */
#include "trial.h"

#include <math.h>
#include <string.h>

#include "exec/view_judge.h"
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

/* Images held out of all of the shard, at most `most`; none: *indices is NULL. */
static int list_held_out(const reap_comm *comm, int64_t all, int64_t most, int64_t **indices, int64_t *count) {
  *indices = NULL;
  *count = reap_split_list(REAP_SPLIT_TENTH, all, most, NULL);
  if (*count == 0) return REAP_OK;
  REAP_TRY(reap_comm_alloc(comm, indices, *count, sizeof **indices));
  reap_split_list(REAP_SPLIT_TENTH, all, *count, *indices);
  return REAP_OK;
}

static int measure(const reap_comm *comm, const reap_graph *original, const reap_graph *pruned, reap_dataset *images,
                   int64_t all, const reap_prune_options *o, double *moved) {
  int64_t *indices, count;
  *moved = NAN;
  REAP_TRY(list_held_out(comm, all, REAP_TRIAL_MEASURED, &indices, &count));
  if (count == 0) return REAP_OK;
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

/* *scores: whether there are outputs that can be judged so. */
static int judge(const reap_comm *comm, const reap_graph *original, const reap_graph *pruned, reap_dataset *images,
                 const reap_shard *shard, const reap_prune_options *o, double *apart, bool *scores) {
  reap_view_figures figures;
  int64_t *indices, count;
  *scores = false;
  REAP_TRY(list_held_out(comm, shard->images, REAP_TRIAL_VIEWED, &indices, &count));
  const reap_views views = {images, indices,
                            reap_shard_make(count, shard->block, reap_comm_rank(comm), reap_comm_size(comm)), o->seed};
  int status = REAP_OK;
  if (count >= REAP_HELD_OUT_LEAST) {
    status = reap_views_judge(comm, original, pruned, &views, o->views, o->backend, o->measure, &figures);
    *scores = status == REAP_OK && figures.images > 0;
    if (*scores) *apart = figures.kl.mean;
  }
  reap_free(&indices);
  return status;
}

static reap_prune_options in_small(const reap_prune_options *options) {
  reap_prune_options o = *options;
  o.save_stats = NULL;
  o.activations = NULL;
  o.trials = NULL;
  o.quiet = true;
  if (o.ridge_rule == REAP_RIDGE_EVERY_LAYER) o.ridge_rule = REAP_RIDGE_FEW_ROWS; /* others differ little */
  o.producer_rounds = 0;                                                          /* would take longer than all else */
  o.method = reap_method_for_sizes(o.method);
  o.refit = REAP_REFIT_LEAST_SQUARES;
  o.seed = 0; /* whatever the run's, sizes are the same */
  o.positions = REAP_TRIAL_POSITIONS;
  return o;
}

/* views: by these, if that can be. */
static int make(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
                const reap_prune_options *options, int64_t few, bool views, double *moved) {
  const int64_t count = shard->images < few ? shard->images : few;
  const reap_shard part = reap_shard_make(count, shard->block, reap_comm_rank(comm), reap_comm_size(comm));
  reap_prune_options o = in_small(options);
  reap_graph *pruned = NULL;
  bool judged = false;
  if (!views)
    o.classifier = REAP_SCALE_NONE; /* the movement is measured at a temperature, where one factor of all outputs counts
                                       as an error */
  int status = reap_comm_agree(comm, reap_graph_clone(original, &pruned));
  if (status == REAP_OK) status = prune(comm, original, pruned, images, &part, &o);
  if (status == REAP_OK && views) status = judge(comm, original, pruned, images, shard, &o, moved, &judged);
  if (status == REAP_OK && !judged) status = measure(comm, original, pruned, images, shard->images, &o, moved);
  reap_graph_destroy(&pruned);
  return status;
}

/* What the ledger knows, or a trial. */
static int ask(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
               const reap_prune_options *options, int64_t few, bool views, double *moved) {
  reap_trial_ledger *l = options->trials;
  if (l && l->next < l->n) {
    *moved = l->moved[l->next++];
    return REAP_OK;
  }
  REAP_TRY(make(comm, original, images, shard, options, few, views, moved));
  if (!l) return REAP_OK;
  REAP_TRY(reap_comm_agree(comm, reap_grow(&l->moved, l->n, l->n + 1, sizeof *l->moved)));
  l->moved[l->n++] = *moved;
  l->next = l->n;
  return l->made(l->context);
}

int reap_trial(const reap_comm *comm, const reap_graph *original, reap_dataset *images, const reap_shard *shard,
               const reap_prune_options *options, int64_t few, double *moved) {
  return ask(comm, original, images, shard, options, few, false, moved);
}

int reap_trial_on_views(const reap_comm *comm, const reap_graph *original, reap_dataset *images,
                        const reap_shard *shard, const reap_prune_options *options, int64_t few, double *apart) {
  return ask(comm, original, images, shard, options, few, true, apart);
}
