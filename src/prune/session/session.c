/* A session of pruning; see reap/session.h.
 *
 * Cost: that of what it plans by (session_paths.c) and of the steps (prune.c). Memory: a clone of the network beside
 * what the step at hand needs.
 */
#include "reap/session.h"

#include <math.h>
#include <stdio.h>

#include "base/split.h"
#include "base/timer.h"
#include "exec/layer_time.h"
#include "io/scratch_file.h"
#include "model/edits.h"
#include "model/groups/surgery.h"
#include "prune/methods/methods.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "scope_trials.h"
#include "session_phases.h"
#include "session_settings.h"
#include "session_state.h"

/* ------------------------------------------------------------------ beginning and end */

/* Local. */
static int open_images(reap_session *s) {
  if (!s->images) return REAP_OK;
  REAP_TRY(reap_network_check_images(s->network, s->images));
  s->shard = reap_shard_of(s->comm, s->images, s->settings.images, s->network->graph->batch);
  return REAP_OK;
}

/* Local. Images held out are missing where something is chosen by them. */
static int check_held_out(const reap_session *s) {
  const reap_session_settings *o = &s->settings;
  const bool sizes = reap_settings_ratios(o) == REAP_RATIOS_OUTPUT && !o->from_paths;
  const bool ridge = o->ridge_rule == REAP_RIDGE_EVERY_LAYER;
  if (!s->images || !(sizes || ridge) || reap_split_count(REAP_SPLIT_TENTH, s->shard.images) > 0) return REAP_OK;
  return reap_error(
      REAP_ERR_INPUT,
      "%s: of %lld images none is held out (every tenth is), and %s chosen by images held out; give at least "
      "%lld images%s",
      reap_dataset_path(s->images), (long long)s->shard.images, sizes ? "sizes are" : "the ridge is",
      (long long)REAP_SPLIT_TENTH.every, sizes ? ", or take ratios path or uniform" : "");
}

static int begin_scope(reap_session *s, reap_scope scope) {
  s->settings.scope = scope;
  reap_size_plan_clear(&s->info.plan);
  return reap_size_plan_begin(s->network->graph, s->groups, &s->settings, &s->info.plan);
}

/* Inner groups alone; all of them if that fails and the settings leave it open. */
static int begin_plan(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  s->scope_open = o->scope == REAP_SCOPE_AUTO && reap_settings_allow_coupled(o);
  const int status = begin_scope(s, o->scope == REAP_SCOPE_AUTO ? REAP_SCOPE_INNER : o->scope);
  const bool out_of_reach = status == REAP_ERR_USAGE && o->budget != REAP_BUDGET_KEEP;
  if (!s->scope_open || !(status == REAP_ERR_INPUT || out_of_reach) || !(o->method->can & REAP_CAN_COUPLED))
    return status;
  REAP_TRY(begin_scope(s, REAP_SCOPE_ALL));
  reap_log(REAP_LOG_INFO, "coupled groups take part: inner ones alone do not reach the budget");
  return REAP_OK;
}

/* Local. The method can choose for all groups that may lose units; those of sizes to come are checked then. */
static int check_method(const reap_session *s) {
  const reap_size_plan *p = &s->info.plan;
  for (int g = 0; s->settings.budget != REAP_BUDGET_SIZES && g < reap_groups_count(s->groups); g++) {
    const reap_group *group = reap_groups_at(s->groups, g);
    if (p->chosen[g] && p->least[g] < group->units)
      REAP_TRY(reap_method_check_group(s->settings.method, s->network->graph, group));
  }
  return REAP_OK;
}

/* Local: everything that can be found wrong before work starts. */
static int set_up(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  const reap_graph *graph = s->network->graph;
  REAP_TRY(reap_settings_check(o, s->images));
  REAP_TRY(reap_session_checkpoint_check(o));
  if (o->memory > 0) REAP_TRY(reap_scratch_folder_check(o->scratch));
  REAP_TRY(reap_estimate_check_limit(graph, o->memory));
  REAP_TRY(reap_groups_find(graph, &s->groups));
  int status = begin_plan(s);
  if (status == REAP_ERR_INPUT) reap_error_prefix(status, "%s", reap_source_path(s->network->source));
  REAP_TRY(status);
  REAP_TRY(check_method(s));
  REAP_TRY(open_images(s));
  REAP_TRY(check_held_out(s));
  REAP_TRY(reap_settings_repair_layers(o, graph, &s->repair));
  return reap_graph_clone(graph, &s->pruned);
}

int reap_session_create(const reap_comm *comm, const reap_network *network, reap_dataset *images,
                        const reap_session_settings *settings, reap_session **out) {
  REAP_TRY(reap_comm_alloc(comm, out, 1, sizeof **out));
  **out = (reap_session){.comm = comm, .network = network, .images = images, .settings = *settings};
  reap_session_checkpoint_begin(*out);
  if (!settings->method) (*out)->settings.method = reap_method_find("reap");
  const int status = reap_comm_agree(comm, set_up(*out));
  if (status != REAP_OK)
    reap_session_destroy(out);
  else if (images)
    reap_shard_warn_idle(comm, (*out)->shard.blocks);
  return status;
}

void reap_session_destroy(reap_session **session) {
  reap_session *s = *session;
  if (!s) return;
  reap_run_destroy(&s->run);
  reap_session_checkpoint_clear(&s->checkpoint);
  reap_session_stored_close(&s->stored);
  reap_prune_result_clear(&s->info.result);
  reap_size_plan_clear(&s->info.plan);
  reap_group_paths_destroy(&s->own_paths);
  reap_latency_destroy(&s->own_latency);
  reap_free(&s->repair);
  reap_free(&s->step_seconds);
  reap_free(&s->held_out);
  reap_groups_destroy(&s->groups);
  reap_graph_destroy(&s->pruned);
  reap_free(session);
}

/* ------------------------------------------------------------------ the plan */

/* Whether sizes take units of a coupled group. */
static bool cuts_coupled(const reap_session *s, const int64_t *counts) {
  bool some = false;
  for (int g = 0; g < reap_groups_count(s->groups); g++) {
    const reap_group *group = reap_groups_at(s->groups, g);
    some |= group->cuttable && !group->prunable && counts[g] < group->units;
  }
  return some;
}

int reap_session_set_sizes(reap_session *s, const int64_t *counts, int64_t *const *kept) {
  if (s->scope_open && cuts_coupled(s, counts)) REAP_TRY(begin_scope(s, REAP_SCOPE_ALL));
  return reap_size_plan_give(s->groups, counts, kept, &s->info.plan);
}

int reap_session_hash_data(reap_session *s) {
  const char *file = s->settings.from_stats ? s->settings.from_stats : reap_dataset_path(s->images);
  const char *known = s->settings.data_hash;
  char *hash = s->info.data_hash;
  int status = REAP_OK;
  if (hash[0]) return REAP_OK;
  if (known) snprintf(hash, REAP_HASH_LENGTH, "%s", known);
  if (!known && reap_comm_rank(s->comm) == 0) status = reap_hash_file(file, hash);
  REAP_TRY(reap_comm_agree(s->comm, status));
  return reap_comm_broadcast(s->comm, hash, REAP_HASH_LENGTH, 0);
}

void reap_session_lend(reap_session *s, const reap_group_paths *paths, const reap_latency *latency) {
  s->info.paths = paths;
  s->info.latency = latency;
}

/* One rank measures while the others wait. */
static int measure_latency(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  const double start = reap_seconds();
  int status = REAP_OK;
  if (!reap_settings_need_latency(o) || s->info.latency) return REAP_OK;
  if (reap_comm_rank(s->comm) == 0)
    status = reap_latency_measure(s->network->graph, s->groups, o->scope == REAP_SCOPE_ALL, o->backend, o->progress,
                                  &s->own_latency);
  REAP_TRY(reap_comm_agree(s->comm, status));
  REAP_TRY(reap_latency_broadcast(s->comm, &s->own_latency));
  s->info.latency = s->own_latency;
  s->info.times.latency += reap_seconds() - start;
  return REAP_OK;
}

int reap_session_measure(reap_session *s) {
  REAP_TRY(measure_latency(s));
  if (s->settings.save_paths) REAP_TRY(reap_session_hash_data(s));
  return reap_session_paths_get(s);
}

reap_group_paths *reap_session_take_paths(reap_session *s) {
  reap_group_paths *paths = s->own_paths;
  s->own_paths = NULL;
  return paths;
}

reap_latency *reap_session_take_latency(reap_session *s) {
  reap_latency *latency = s->own_latency;
  s->own_latency = NULL;
  return latency;
}

int reap_session_plan(reap_session *s) {
  if (s->settings.checkpoint) REAP_TRY(reap_session_hash_data(s));
  REAP_TRY(reap_session_checkpoint_read(s));
  REAP_TRY(reap_session_measure(s));
  const double start = reap_seconds();
  const int status = reap_session_finish_plan(s);
  s->info.times.sizes += reap_seconds() - start;
  return status == REAP_OK ? reap_session_checkpoint_stage(s, STAGE_PLAN) : status;
}

/* ------------------------------------------------------------------ the steps */

/* Where the moments of each group's layer are to be. Collective. */
static int find_places(const reap_session *s, reap_gram_place *place) {
  const bool whole = s->settings.from_stats && !s->options.refit;
  int status = REAP_OK;
  for (int g = 0; status == REAP_OK && g < reap_groups_count(s->groups); g++) {
    const reap_group *group = reap_groups_at(s->groups, g);
    reap_layer layer;
    if (!s->info.plan.chosen[g] || !group->prunable) continue;
    status = reap_layer_view(s->pruned, reap_group_consumer(group), group->units, &layer);
    if (status == REAP_OK)
      place[g] = whole ? REAP_GRAM_WHOLE : reap_prune_place(s->comm, &s->options, layer.n, layer.m);
  }
  return status;
}

/* For progress alone. Steps from a checkpoint only run the networks. Local. */
static int weigh_steps(reap_session *s) {
  static const double REPEATED = 0.15; /* of a step's time */
  const int most = reap_groups_count(s->groups) + s->network->graph->n_nodes;
  REAP_TRY(reap_alloc(&s->step_seconds, most, sizeof *s->step_seconds));
  s->options.work = s->step_seconds;
  REAP_TRY(reap_session_step_seconds(s, s->step_seconds, &s->options.n_work));
  for (int k = 0; k < s->checkpoint.n_read && k < s->options.n_work; k++) s->step_seconds[k] *= REPEATED;
  return REAP_OK;
}

static int check_memory(reap_session *s) {
  const reap_estimate_images images = {s->shard.images, {s->options.positions, s->options.seed}};
  reap_gram_place *place = NULL;
  int status = reap_calloc(&place, reap_groups_count(s->groups), sizeof *place);
  if (status == REAP_OK) status = weigh_steps(s);
  status = reap_comm_agree(s->comm, status);
  if (status == REAP_OK) status = find_places(s, place);
  if (status == REAP_OK)
    status = reap_estimate_prune(s->pruned, s->groups, s->info.plan.chosen, &images, place, reap_comm_size(s->comm),
                                 &s->info.memory_estimate);
  reap_free(&place);
  REAP_TRY(reap_comm_agree(s->comm, status));
  return reap_estimate_check(
      s->comm, &s->info.memory_estimate, s->settings.memory,
      "exclude it, put fewer ranks on a node, or distribute it over the ranks (solver scalapack, a "
      "ridge that is a number)");
}

static int begin(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  if (!s->info.plan.complete) return reap_error(REAP_ERR_USAGE, "the session has no plan yet: reap_session_plan()");
  REAP_TRY(reap_session_views_choose(s));
  s->options = reap_session_prune_options(s);
  if (!s->options.cut_only) REAP_TRY(check_memory(s));
  if (o->save_stats || o->activations) REAP_TRY(reap_session_hash_data(s));
  if (!s->options.cut_only)
    REAP_TRY(reap_session_stored_open(s->comm, o, s->network, s->groups, s->info.plan.chosen, s->shard.images,
                                      s->info.data_hash, &s->stored));
  s->options.save_stats = s->stored.save;
  s->options.activations = s->stored.activations;
  s->options.from_stats = s->stored.from;
  return reap_run_begin(s->comm, s->network->graph, s->pruned, s->groups, s->images, &s->shard, &s->options,
                        &s->info.result, &s->run);
}

/* Of the step last done. */
static reap_session_record last_record(const reap_session *s) {
  const reap_step_record *l = &s->info.result.steps[s->info.result.n - 1];
  return (reap_session_record){.index = s->done - 1,
                               .count = reap_run_steps(s->run),
                               .layer = l->layer,
                               .group = l->group,
                               .channels = l->channels,
                               .n_kept = l->n_kept,
                               .kept = l->group ? l->kept : NULL,
                               .error = l->relative_error,
                               .held_out_error = l->held_out_error,
                               .seconds = l->seconds};
}

/* A step that was read is repeated; on ranks that do not write, it is not needed any more. */
static int take_step(reap_session *s) {
  session_checkpoint *c = &s->checkpoint;
  if (s->done >= c->n_read) {
    REAP_TRY(reap_run_step(s->run));
    s->done++;
    return reap_session_checkpoint_step(s);
  }
  REAP_TRY(reap_error_prefix(reap_run_repeat(s->run, &c->past[s->done]), "%s", s->settings.checkpoint));
  if (reap_comm_rank(s->comm) > 0) reap_step_past_clear(&c->past[s->done]);
  s->done++;
  return REAP_OK;
}

int reap_session_step(reap_session *s, reap_session_record *record, bool *more) {
  *more = false;
  if (!s->run) REAP_TRY(begin(s));
  const int count = reap_run_steps(s->run);
  if (record) *record = (reap_session_record){.index = s->done, .count = count, .error = NAN, .held_out_error = NAN};
  if (s->done == count) return REAP_OK;
  REAP_TRY(take_step(s));
  *more = s->done < count;
  if (record) *record = last_record(s);
  return REAP_OK;
}

/* ------------------------------------------------------------------ the result */

static int time_pruned(reap_session *s) {
  const double start = reap_seconds();
  double seconds = 0;
  int status = REAP_OK;
  if (!reap_settings_need_latency(&s->settings)) return REAP_OK;
  if (reap_comm_rank(s->comm) == 0) status = reap_graph_seconds(s->pruned, s->settings.backend, &seconds);
  REAP_TRY(reap_comm_agree(s->comm, status));
  s->info.measured_ms = 1000 * seconds;
  s->info.times.latency += reap_seconds() - start;
  return reap_comm_broadcast(s->comm, &s->info.measured_ms, sizeof s->info.measured_ms, 0);
}

int reap_session_finish(reap_session *s) {
  if (!s->run || s->done < reap_run_steps(s->run))
    return reap_error(REAP_ERR_USAGE, "the session has steps left: reap_session_step()");
  REAP_TRY(reap_run_finish(s->run));
  reap_run_destroy(&s->run);
  REAP_TRY(reap_session_stored_commit(&s->stored));
  reap_session_stored_close(&s->stored);
  REAP_TRY(reap_session_views_judge(s));
  return time_pruned(s);
}

void reap_session_remove_checkpoint(const reap_session *s) {
  if (reap_comm_rank(s->comm) == 0) reap_session_checkpoint_remove(&s->settings);
}

const reap_groups *reap_session_groups(const reap_session *s) { return s->groups; }

const int64_t *reap_session_sizes(const reap_session *s) { return s->info.plan.counts; }

const reap_graph *reap_session_graph(const reap_session *s) { return s->pruned; }

const reap_session_info *reap_session_get_info(const reap_session *s) { return &s->info; }

int reap_session_apply(const reap_session *s, reap_source *source) {
  reap_edits edits = {0};
  int status = reap_surgery_edits(s->pruned, &edits);
  if (status == REAP_OK) status = reap_source_apply(source, &edits, s->pruned);
  reap_edits_clear(&edits);
  return status;
}

int reap_session_write_onnx(const reap_session *s, const char *path) {
  reap_source *source = NULL;
  int status = reap_source_copy(s->network->source, &source);
  if (status == REAP_OK) status = reap_session_apply(s, source);
  if (status == REAP_OK) status = reap_source_write_onnx(source, path);
  reap_source_destroy(&source);
  return status;
}
