#include "prune_run.h"

#include <math.h>
#include <string.h>

#include "memory_check.h"
#include "model/operators/layer.h"
#include "prune/estimate/footprint.h"
#include "prune_latency.h"
#include "prune_paths.h"
#include "prune_repair.h"
#include "prune_stored.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "report.h"

static int open_images(const reap_network *network, const char *path, reap_dataset **out) {
  if (!path) return REAP_OK;
  REAP_TRY(reap_dataset_open(path, out));
  return reap_network_check_images(network, *out);
}

int prune_inputs_load(const reap_comm *comm, const prune_options *o, prune_inputs *in) {
  return reap_network_load(comm, o->model, &in->network);
}

int prune_inputs_open_images(const reap_comm *comm, const prune_options *o, prune_inputs *in) {
  REAP_TRY(run_files_hash(comm, prune_options_images(o), in->images_hash));
  int status = open_images(&in->network, o->calibration, &in->calibration);
  if (status == REAP_OK) status = open_images(&in->network, o->evaluation, &in->evaluation);
  return reap_comm_agree(comm, status);
}

void prune_inputs_close(prune_inputs *in) {
  reap_dataset_close(&in->calibration);
  reap_dataset_close(&in->evaluation);
  reap_group_paths_destroy(&in->paths);
  reap_latency_destroy(&in->latency);
  reap_network_clear(&in->network);
}

static int plan(prune_run *r) {
  const prune_options *o = r->options;
  const reap_graph *graph = r->inputs->network.graph;
  REAP_TRY(reap_groups_find(graph, &r->groups));
  int status = prune_plan_begin(graph, r->groups, o, &r->plan);
  if (status == REAP_ERR_INPUT && !o->plan) reap_error_prefix(status, "%s", o->model);
  REAP_TRY(status);
  REAP_TRY(prune_repair_layers(o, graph, &r->repair));
  return reap_graph_clone(graph, &r->pruned);
}

int prune_run_plan(prune_run *r) { return reap_comm_agree(r->context->comm, plan(r)); }

/* One rank chooses: everybody else takes its sizes. */
static int finish_plan(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  prune_plan *p = &r->plan;
  const prune_plan_data data = {r->inputs->paths, r->inputs->latency};
  int status = prune_plan_finish(r->inputs->network.graph, r->groups, r->options, &data, p);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_comm_broadcast(comm, p->counts, (size_t)p->n_groups * sizeof *p->counts, 0);
}

static reap_shard shard_of(const prune_run *r, const reap_dataset *data, int64_t most) {
  int64_t images = 0, c, h, w;
  if (data) reap_dataset_shape(data, &images, &c, &h, &w);
  if (most > 0 && most < images) images = most;
  const reap_comm *comm = r->context->comm;
  return reap_shard_make(images, r->inputs->network.graph->batch, reap_comm_rank(comm), reap_comm_size(comm));
}

reap_shard prune_run_shard(const prune_run *r) { return shard_of(r, r->inputs->calibration, r->options->images); }

reap_prune_options prune_run_options(const prune_run *r) {
  const prune_options *o = r->options;
  return (reap_prune_options){
      .method = reap_method_find(o->method),
      .refit = strcmp(o->refit, "ls") == 0,
      .chosen = r->plan.chosen,
      .counts = r->plan.counts,
      .given = r->plan.given,
      .repair = r->repair,
      .classifier = prune_repair_classifier(o, r->inputs->network.graph, r->inputs->calibration),
      .producer_rounds = prune_repair_producers(o),
      .positions = o->positions,
      .solver = reap_solver_named(o->solver),
      .ridge = o->ridge,
      .ridge_auto = o->ridge_auto,
      .seed = (uint64_t)o->seed,
      .backend = command_backend(o->common.kernels),
      .memory = o->memory.bytes,
      .scratch = o->memory.folder,
      .measure = prune_options_measure(o),
      .progress = r->progress};
}

/* Groups whose layer's moments lie on all ranks together. Collective. */
static int find_spread(const prune_run *r, bool *spread) {
  const reap_prune_options options = prune_run_options(r);
  const bool whole = r->options->from_stats && !options.refit;
  int status = REAP_OK;
  for (int g = 0; status == REAP_OK && g < reap_groups_count(r->groups); g++) {
    const reap_group *group = reap_groups_at(r->groups, g);
    reap_layer layer;
    if (!r->plan.chosen[g]) continue;
    status = reap_layer_view(r->pruned, reap_group_consumer(group), group->units, &layer);
    if (status == REAP_OK) spread[g] = !whole && reap_prune_spreads(r->context->comm, &options, layer.n, layer.m);
  }
  return status;
}

static int check_memory(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  const memory_options *memory = &r->options->memory;
  bool *spread = NULL;
  int status = reap_comm_agree(comm, reap_calloc(&spread, reap_groups_count(r->groups), sizeof *spread));
  if (status == REAP_OK) status = find_spread(r, spread);
  if (status == REAP_OK)
    status = reap_footprint_estimate(r->pruned, r->groups, r->plan.chosen, prune_run_shard(r).images, spread,
                                     reap_comm_size(comm), &r->footprint);
  reap_free(&spread);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(memory_options_check(comm, memory));
  return memory_check(
      comm, &r->footprint, memory->bytes,
      "leave it out (--exclude), put fewer ranks on a node, or spread it over the ranks (--solver scalapack, "
      "--ridge a number)");
}

static int prune(prune_run *r, const prune_stored *stored) {
  const reap_shard shard = prune_run_shard(r);
  reap_prune_options options = prune_run_options(r);
  options.save_stats = stored->save;
  options.activations = stored->activations;
  options.from_stats = stored->from;
  if (r->inputs->calibration) command_warn_idle(r->context->comm, shard.blocks);
  return reap_prune(r->context->comm, r->inputs->network.graph, r->pruned, r->groups, r->inputs->calibration, &shard,
                    &options, &r->result);
}

static int prune_with_stored(prune_run *r) {
  prune_stored stored = {0};
  int status = prune_stored_open(r->context, r->options, &r->inputs->network, r->groups, r->plan.chosen,
                                 prune_run_shard(r).images, r->inputs->images_hash, &stored);
  if (status == REAP_OK) status = prune(r, &stored);
  if (status == REAP_OK) status = prune_stored_commit(&stored);
  prune_stored_close(&stored);
  return status;
}

static int evaluate(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  const reap_graph *original = r->inputs->network.graph;
  reap_dataset *images = r->inputs->evaluation;
  const reap_backend backend = command_backend(r->options->common.kernels);
  if (!images) return REAP_OK;
  const reap_shard shard = shard_of(r, images, 0);
  reap_reference *reference = NULL;
  reap_evaluate_options e = {.backend = backend,
                             .progress = r->progress,
                             .label = "original",
                             .keep = &reference,
                             .measure = prune_options_measure(r->options)};
  if (r->baseline)
    r->before = *r->baseline;
  else
    REAP_TRY(reap_evaluate_with(comm, original, images, &shard, &e, &r->before));
  e.label = "pruned";
  e.keep = NULL;
  e.against = r->baseline ? r->reference : reference;
  int status = reap_evaluate_with(comm, r->pruned, images, &shard, &e, &r->after);
  reap_reference_destroy(&reference);
  return status;
}

int prune_run_do(prune_run *r) {
  REAP_TRY(finish_plan(r));
  REAP_TRY(check_memory(r));
  REAP_TRY(prune_with_stored(r));
  REAP_TRY(prune_latency_check(r));
  REAP_TRY(evaluate(r));
  return memory_figures_gather(r->context->comm, &r->options->memory, &r->result.use, &r->footprint, &r->memory);
}

void prune_run_clear(prune_run *r) {
  reap_evaluation_clear(&r->after);
  reap_prune_result_clear(&r->result);
  prune_plan_clear(&r->plan);
  reap_free(&r->repair);
  reap_groups_destroy(&r->groups);
  reap_graph_destroy(&r->pruned);
}
