/* The losses that sizes under a budget are chosen by: paths of all groups, from a file or from a pass over the images.
 */
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "io/paths_file.h"
#include "prune/sensitivity/coupled_paths.h"
#include "prune/sensitivity/joint.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "session_settings.h"
#include "session_state.h"

/* Figures of another measure would choose by something else; a choice by the layers' own errors needs none of them. */
static int check_measure(const reap_session *s, const reap_group_paths *paths) {
  reap_path_measure wanted;
  REAP_TRY(reap_paths_measure_of(s->network->graph, s->settings.measure, &wanted));
  if (paths->measured_images == 0 || paths->measure == wanted || s->info.plan.ratios != REAP_RATIOS_OUTPUT)
    return REAP_OK;
  return reap_error(REAP_ERR_INPUT,
                    "%s: tells how far the outputs move by %s, and %s is wanted: take %s, or make the paths anew",
                    s->settings.from_paths, reap_path_measure_name(paths->measure), reap_path_measure_name(wanted),
                    paths->measure == REAP_PATH_SUM_OF_SHARES   ? "the measure sum"
                    : paths->measure == REAP_PATH_LARGEST_SHARE ? "the measure largest"
                                                                : "ratios path");
}

/* Paths of another network would choose the wrong sizes. */
static int read_file(const reap_session *s, reap_group_paths **paths) {
  const char *model = reap_source_hash(s->network->source), *file = s->settings.from_paths;
  REAP_TRY(reap_paths_file_read(file, paths));
  const char *hash = (*paths)->model_hash;
  if (!hash[0] || strcmp(hash, model) == 0) return check_measure(s, *paths);
  return reap_error(REAP_ERR_INPUT, "%s: holds paths of another model than %s (sha256 %.12s and %.12s)", file,
                    reap_source_path(s->network->source), hash, model);
}

static reap_paths_options paths_options(reap_session *s, bool output) {
  const reap_session_settings *o = &s->settings;
  return (reap_paths_options){.chosen = o->save_paths ? NULL : s->info.plan.chosen,
                              .min_keep = o->path_least,
                              .sizes = output ? o->path_sizes : 0,
                              .measured_images = o->path_images,
                              .measure = o->measure,
                              .sampling = {reap_paths_positions(o->positions), o->seed},
                              .ridge = o->ridge,
                              .ridge_rule = o->ridge_rule,
                              .solver = o->solver,
                              .backend = o->backend,
                              .memory = o->memory,
                              .scratch = o->scratch,
                              .from_stats = s->stored.from,
                              .progress = o->progress,
                              .complete = o->checkpoint ? reap_session_checkpoint_paths : NULL,
                              .context = s};
}

/* Of the pass that makes paths. Collective. */
static int check_memory(const reap_session *s, const reap_paths_options *options) {
  reap_memory_estimate expected;
  REAP_TRY(reap_estimate_paths(s->comm, s->network->graph, s->groups, s->shard.images, options, &expected));
  return reap_estimate_check(
      s->comm, &expected, s->settings.memory,
      "exclude it, put fewer ranks on a node, distribute it over the ranks (solver scalapack), measure fewer sizes, or "
      "choose sizes without following paths (ratios uniform)");
}

/* Paths of inner groups and, where the divergence of the outputs was measured, how losses combine. Collective. */
static int collect_inner(reap_session *s, const bool *inner, const reap_paths_options *options,
                         reap_group_paths **paths) {
  const reap_graph *graph = s->network->graph;
  reap_prune_options trial = reap_session_prune_options(s);
  trial.chosen = inner;
  if (s->checkpoint.stage < STAGE_PATHS) {
    REAP_TRY(check_memory(s, options));
    REAP_TRY(reap_paths_collect(s->comm, graph, s->groups, s->images, s->images ? &s->shard : NULL, options,
                                s->checkpoint.known, &s->info.paths_times, paths));
    reap_group_paths_destroy(&s->checkpoint.known);
    REAP_TRY(reap_session_checkpoint_stage(s, STAGE_PATHS));
  }
  if (options->sizes == 0 || s->checkpoint.stage >= STAGE_LAW) return REAP_OK;
  const double start = reap_seconds();
  const int status = reap_joint_fit(s->comm, graph, s->groups, s->images, &s->shard, &trial, *paths);
  s->info.times.sizes += reap_seconds() - start;
  return status == REAP_OK ? reap_session_checkpoint_stage(s, STAGE_LAW) : status;
}

/* Of a network without inner groups. */
static int make_empty(const reap_session *s, const reap_paths_options *options, reap_group_paths **paths) {
  REAP_TRY(reap_group_paths_create(0, paths));
  (*paths)->images = s->shard.images;
  (*paths)->positions = options->sampling.positions;
  (*paths)->seed = options->sampling.seed;
  (*paths)->ridge = options->ridge;
  if (options->sizes > 0)
    (*paths)->measured_images = reap_split_list(REAP_SPLIT_TENTH, s->shard.images, options->measured_images, NULL);
  return reap_paths_measure_of(s->network->graph, options->measure, &(*paths)->measure);
}

/* Of the pass that follows coupled groups: chosen[groups]. Collective. */
static int check_coupled_memory(const reap_session *s, const bool *chosen) {
  const reap_estimate_images images = {s->shard.images, {s->settings.positions, s->settings.seed}};
  reap_memory_estimate expected;
  const int status =
      reap_estimate_prune(s->network->graph, s->groups, chosen, &images, NULL, reap_comm_size(s->comm), &expected);
  REAP_TRY(reap_comm_agree(s->comm, status));
  return reap_estimate_check(
      s->comm, &expected, s->settings.memory,
      "exclude it, put fewer ranks on a node, use more nodes, or prune inner groups alone (scope "
      "inner)");
}

/* Inner groups first, which settle how losses combine; inner[groups], others[groups]: scratch. Collective. */
static int collect_all(reap_session *s, bool *inner, bool *others, reap_paths_options *options,
                       reap_group_paths **paths) {
  const reap_prune_options trial = reap_session_prune_options(s);
  bool some = false;
  for (int g = 0; g < s->info.plan.n_groups; g++) {
    inner[g] = s->info.plan.chosen[g] && reap_groups_at(s->groups, g)->prunable;
    some |= inner[g];
  }
  if (!options->chosen) some = true;
  if (options->chosen) options->chosen = inner;
  if (some)
    REAP_TRY(collect_inner(s, inner, options, paths));
  else if (s->checkpoint.stage < STAGE_COUPLED)
    REAP_TRY(reap_comm_agree(s->comm, make_empty(s, options, paths)));
  if (s->settings.scope != REAP_SCOPE_ALL || s->checkpoint.stage >= STAGE_COUPLED) return REAP_OK;
  for (int g = 0; g < s->info.plan.n_groups; g++) others[g] = s->info.plan.chosen[g] && !inner[g];
  REAP_TRY(check_coupled_memory(s, others));
  const int sizes = options->sizes < REAP_COUPLED_SIZES ? options->sizes : REAP_COUPLED_SIZES;
  REAP_TRY(reap_coupled_paths_add(s->comm, s->network->graph, s->groups, s->images, &s->shard, &trial,
                                  (*paths)->measured_images > 0 ? sizes : 0, *paths));
  return reap_session_checkpoint_stage(s, STAGE_COUPLED);
}

/* All paths; also for a file that serves later choices. Collective. */
static int collect(reap_session *s, reap_group_paths **paths) {
  const bool output = s->info.plan.ratios != REAP_RATIOS_PATH;
  const char *file = s->settings.from_stats;
  bool *inner = NULL, *others = NULL;
  int status = file && !s->stored.from ? reap_session_stats_open(s->network, file, &s->stored.from) : REAP_OK;
  if (status == REAP_OK) status = reap_calloc(&inner, s->info.plan.n_groups, sizeof *inner);
  if (status == REAP_OK) status = reap_calloc(&others, s->info.plan.n_groups, sizeof *others);
  status = reap_comm_agree(s->comm, status);
  reap_paths_options options = paths_options(s, output);
  if (status == REAP_OK) status = collect_all(s, inner, others, &options, paths);
  reap_free(&inner);
  reap_free(&others);
  return status;
}

/* Rank 0, with the hash of the data known. */
static int save(const reap_session *s, reap_group_paths *paths) {
  snprintf(paths->model_hash, sizeof paths->model_hash, "%s", reap_source_hash(s->network->source));
  snprintf(paths->calibration_hash, sizeof paths->calibration_hash, "%s", s->info.data_hash);
  return reap_paths_file_write(s->settings.save_paths, paths);
}

int reap_session_paths_get(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  reap_group_paths **paths = &s->own_paths;
  reap_session_times *t = &s->info.times;
  const double start = reap_seconds();
  if (s->info.paths || !(reap_settings_need_losses(o) || o->save_paths)) return REAP_OK;
  if (o->from_paths)
    REAP_TRY(reap_comm_agree(s->comm, read_file(s, paths)));
  else
    REAP_TRY(collect(s, paths));
  s->info.paths = *paths;
  REAP_TRY(reap_comm_agree(s->comm, o->save_paths && reap_comm_rank(s->comm) == 0 ? save(s, *paths) : REAP_OK));
  t->sensitivity = s->info.paths_times.measure;
  t->paths = reap_seconds() - start - t->sensitivity - t->sizes;
  return REAP_OK;
}
