#include "prune_paths.h"

#include <stdio.h>
#include <string.h>

#include "io/paths_file.h"
#include "memory_check.h"
#include "prune/estimate/footprint.h"
#include "prune/sensitivity/paths.h"
#include "reap/error.h"
#include "reap/stats_file.h"

static bool wanted(const prune_options *o) { return prune_plan_losses(o) || o->save_paths; }

/* Figures of another measure would, too; a choice by the layers' own errors needs none of them. */
static int check_measure(const prune_options *o, const prune_inputs *inputs) {
  const reap_group_paths *paths = inputs->paths;
  reap_path_measure wanted;
  REAP_TRY(reap_paths_measure_of(inputs->network.graph, prune_options_measure(o), &wanted));
  if (paths->measured_images == 0 || paths->measure == wanted || strcmp(prune_plan_ratios(o), "output") != 0)
    return REAP_OK;
  return reap_error(REAP_ERR_INPUT,
                    "%s: tells how far the outputs move by %s, and %s is wanted: give %s, or make the paths anew",
                    o->from_paths, reap_path_measure_name(paths->measure), reap_path_measure_name(wanted),
                    paths->measure == REAP_PATH_SUM_OF_SHARES   ? "--measure sum"
                    : paths->measure == REAP_PATH_LARGEST_SHARE ? "--measure largest"
                                                                : "--ratios path");
}

/* Paths of another network would choose the wrong sizes. */
static int read_file(const prune_options *o, prune_inputs *inputs) {
  const char *model = reap_source_hash(inputs->network.source);
  REAP_TRY(reap_paths_file_read(o->from_paths, &inputs->paths));
  if (!inputs->paths->model_hash[0] || strcmp(inputs->paths->model_hash, model) == 0) return check_measure(o, inputs);
  return reap_error(REAP_ERR_INPUT, "%s: holds paths of another model than %s (sha256 %.12s and %.12s)", o->from_paths,
                    o->model, inputs->paths->model_hash, model);
}

static int open_stats(const prune_options *o, reap_stats_file **stats) {
  return o->from_stats ? reap_stats_file_open(o->from_stats, stats) : REAP_OK;
}

static reap_paths_options paths_options(const prune_run *r, bool output) {
  const prune_options *o = r->options;
  return (reap_paths_options){.chosen = o->save_paths ? NULL : r->plan.chosen,
                              .min_keep = 1,
                              .sizes = output ? REAP_PATHS_SIZES : 0,
                              .measured_images = REAP_PATHS_IMAGES,
                              .measure = prune_options_measure(o),
                              .sampling = {o->positions, (uint64_t)o->seed},
                              .ridge = o->ridge,
                              .solver = reap_solver_named(o->solver),
                              .backend = command_backend(o->common.kernels),
                              .memory = o->memory.bytes,
                              .scratch = o->memory.folder,
                              .progress = r->progress};
}

/* Of the pass that makes paths. Collective. */
static int check_memory(const prune_run *r, const reap_paths_options *options, int64_t images) {
  const reap_comm *comm = r->context->comm;
  reap_footprint expected;
  REAP_TRY(reap_paths_footprint(comm, r->inputs->network.graph, r->groups, images, options, &expected));
  return memory_check(
      comm, &expected, r->options->memory.bytes,
      "leave it out (--exclude), put fewer ranks on a node, spread it over the ranks (--solver scalapack), or choose "
      "sizes without following paths (--ratios uniform, --plan)");
}

/* The paths, and how their losses go together where the output's movement was measured. */
static int collect(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  const prune_options *o = r->options;
  const reap_shard shard = prune_run_shard(r);
  const bool output = strcmp(prune_plan_ratios(o), "path") != 0; /* also for a file that serves later choices */
  const reap_prune_options run_options = prune_run_options(r);
  reap_paths_options options = paths_options(r, output);
  prune_inputs *inputs = r->inputs;
  if (!o->from_stats) REAP_TRY(check_memory(r, &options, shard.images));
  int status = reap_comm_agree(comm, open_stats(o, &options.from_stats));
  if (status == REAP_OK)
    status = reap_paths_collect(comm, inputs->network.graph, r->groups, inputs->calibration,
                                inputs->calibration ? &shard : NULL, &options, NULL, &inputs->paths);
  reap_stats_file_close(&options.from_stats);
  if (status == REAP_OK && output)
    status = reap_joint_fit(comm, inputs->network.graph, r->groups, inputs->calibration, &shard, &run_options,
                            inputs->paths, inputs->trials);
  return status;
}

static int save(const command_context *context, const prune_options *o, prune_inputs *inputs) {
  reap_group_paths *paths = inputs->paths;
  if (!o->save_paths || reap_comm_rank(context->comm) != 0) return REAP_OK;
  snprintf(paths->model_hash, sizeof paths->model_hash, "%s", reap_source_hash(inputs->network.source));
  snprintf(paths->calibration_hash, sizeof paths->calibration_hash, "%s", inputs->images_hash);
  return reap_paths_file_write(o->save_paths, paths);
}

int prune_paths_get(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  if (!wanted(r->options) || r->inputs->paths) return REAP_OK;
  if (r->options->from_paths)
    REAP_TRY(reap_comm_agree(comm, read_file(r->options, r->inputs)));
  else
    REAP_TRY(collect(r));
  return reap_comm_agree(comm, save(r->context, r->options, r->inputs));
}

void prune_paths_report(const prune_run *r, cJSON *report) {
  const prune_inputs *inputs = r->inputs;
  if (!inputs->paths || strcmp(r->plan.ratios, "output") != 0) return;
  cJSON *joint = cJSON_AddObjectToObject(report, "joint");
  cJSON_AddNumberToObject(joint, "power", inputs->paths->power);
  cJSON_AddNumberToObject(joint, "tilt", inputs->paths->tilt);
  cJSON *trials = cJSON_AddArrayToObject(joint, "trials");
  for (int i = 0; i < REAP_JOINT_TRIALS && inputs->trials[i].moved > 0; i++) {
    cJSON *trial = cJSON_CreateObject();
    cJSON_AddNumberToObject(trial, "power", inputs->trials[i].power);
    cJSON_AddNumberToObject(trial, "tilt", inputs->trials[i].tilt);
    cJSON_AddNumberToObject(trial, "moved", inputs->trials[i].moved);
    json_append(trials, trial);
  }
}
