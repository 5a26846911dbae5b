/* reap stats: the moments of a network's layers, from images or from stored activations. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/image_range.h"
#include "app/memory_figures.h"
#include "app/run_files.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/timer.h"
#include "linalg/placement.h"
#include "prune/estimate/memory_estimate.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/network.h"
#include "reap/solver.h"
#include "stats/collect.h"

static const char *const SYNOPSIS =
    "reap stats MODEL --calib D.h5 -o S.h5 [options]\n"
    "       reap stats --from A.h5 -o S.h5";
static const char *const ABOUT =
    "Sums, in one pass over the images, the second moments of every layer whose inputs can be pruned. reap solve\n"
    "and reap prune --from-stats need these moments and no images. Moments of different images can be added (reap\n"
    "merge). Images with index 9 modulo 10 are held out, as in reap prune. The result does not depend on the\n"
    "number of ranks.\n";

typedef struct stats_options {
  const char *model, *calibration, *from, *output, *activations;
  int64_t first, images, positions, seed;
  bool all, panels;
  memory_options memory;
  common_options common;
} stats_options;

typedef struct job {
  const command_context *context;
  const stats_options *options;
  run_files files;
  char data_hash[REAP_HASH_LENGTH];
  reap_network network;
  reap_groups *groups;
  int n_layers;
  reap_layer *layers; /* [n_layers] collected */
  reap_dataset *images;
  reap_shard shard;
  reap_origin origin;
  reap_stats_writer *stats;
  reap_activations_file *activations;
  reap_collect_result result;
  reap_memory_estimate estimate;
  memory_figures memory;
} job;

/* Blocks of images from --first on: the same blocks, and the same indices, as in a run over all images. */
static int make_shard(job *j) {
  const stats_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  const int64_t block = j->network.graph->batch;
  const int64_t images = reap_dataset_images(j->images);
  if (o->first % block != 0)
    return reap_error(REAP_ERR_USAGE,
                      "reap stats: --first has to be a multiple of %lld, the images of a block of this network",
                      (long long)block);
  if (o->first >= images)
    return reap_error(REAP_ERR_USAGE, "reap stats: --first %lld: %s holds %lld images", (long long)o->first,
                      o->calibration, (long long)images);
  const int64_t end = o->images > 0 && o->images < images - o->first ? o->first + o->images : images;
  j->shard = reap_shard_make(end, block, 0, 1);
  const int64_t skipped = o->first / block;
  reap_comm_share(j->shard.blocks - skipped, reap_comm_rank(comm), reap_comm_size(comm), &j->shard.first,
                  &j->shard.last);
  j->shard.first += skipped;
  j->shard.last += skipped;
  return REAP_OK;
}

/* On the disk. */
static int check_disk(const job *j) {
  const stats_options *o = j->options;
  const reap_sampling sampling = {o->positions, (uint64_t)o->seed};
  const double bytes = reap_collect_stored_bytes(j->layers, j->n_layers, &sampling, j->shard.images - o->first);
  return o->activations ? reap_activations_check_size(o->activations, bytes, o->positions) : REAP_OK;
}

/* Collective. */
static int check_memory(job *j) {
  const stats_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  const reap_estimate_images images = {j->shard.images - o->first, {o->positions, (uint64_t)o->seed}};
  reap_gram_place *place = NULL;
  REAP_TRY(memory_options_check(comm, &o->memory));
  REAP_TRY(reap_comm_alloc(comm, &place, j->n_layers, sizeof *place));
  for (int i = 0; i < j->n_layers; i++)
    place[i] = o->panels || reap_solver_distributes(comm, REAP_SOLVER_AUTO, j->layers[i].n, j->layers[i].m)
                   ? REAP_GRAM_DISTRIBUTED
                   : REAP_GRAM_WHOLE;
  int status = reap_estimate_layers(j->network.graph, j->layers, j->n_layers, &images, REAP_ESTIMATE_STORE, place,
                                    reap_comm_size(comm), &j->estimate);
  reap_free(&place);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_estimate_check(comm, &j->estimate, o->memory.bytes,
                             "sum it by panels (--panels), put fewer ranks on a node, or use nodes with more memory");
}

/* Local: everything that can be found wrong before work starts. */
static int prepare(job *j) {
  const stats_options *o = j->options;
  REAP_TRY(reap_groups_find(j->network.graph, &j->groups));
  REAP_TRY(reap_dataset_open(o->calibration, &j->images));
  REAP_TRY(reap_network_check_images(&j->network, j->images));
  REAP_TRY(make_shard(j));
  REAP_TRY(reap_collect_layers(j->network.graph, j->groups, o->all, &j->n_layers, &j->layers));
  REAP_TRY(check_disk(j));
  REAP_TRY(reap_estimate_check_limit(j->network.graph, o->memory.bytes));
  return reap_origin_make(reap_source_hash(j->network.source), false, o->positions, o->seed, j->data_hash, o->first,
                          j->shard.images - o->first, &j->origin);
}

static int from_images(job *j) {
  const stats_options *o = j->options;
  const reap_comm *comm = j->context->comm;
  REAP_TRY(reap_network_load_for(comm, o->model, o->calibration, &j->network));
  REAP_TRY(run_files_check_network(comm, &j->network, "MODEL's data", &j->files));
  REAP_TRY(run_files_announce(comm, &j->files));
  REAP_TRY(run_files_hash(comm, o->calibration, j->data_hash));
  REAP_TRY(reap_comm_agree(comm, prepare(j)));
  REAP_TRY(check_memory(j));
  reap_shard_warn_idle(comm, j->shard.blocks - o->first / j->shard.block);
  REAP_TRY(reap_stats_writer_create(comm, o->output, &j->origin, &j->stats));
  if (o->activations) REAP_TRY(reap_activations_file_create(comm, o->activations, &j->origin, &j->activations));
  const reap_collect_options options = {.all = o->all,
                                        .panels = o->panels,
                                        .sampling = {o->positions, (uint64_t)o->seed},
                                        .backend = command_backend(o->common.kernels),
                                        .stats = j->stats,
                                        .activations = j->activations,
                                        .memory = o->memory.bytes,
                                        .scratch = o->memory.folder,
                                        .progress = progress_view_progress()};
  REAP_TRY(reap_collect(comm, j->network.graph, j->groups, j->images, &j->shard, &options, &j->result));
  reap_progress_report(progress_view_progress(), "write", NULL, 0, 1, NULL);
  if (j->activations) REAP_TRY(reap_activations_file_commit(&j->activations));
  return reap_stats_writer_commit(&j->stats);
}

static int from_activations(job *j) {
  const reap_comm *comm = j->context->comm;
  reap_activations_reader *reader = NULL;
  REAP_TRY(run_files_announce(comm, &j->files));
  int status = reap_comm_agree(comm, reap_activations_open(j->options->from, &reader));
  if (status == REAP_OK) status = reap_origin_copy(reap_activations_origin(reader), &j->origin);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_stats_writer_create(comm, j->options->output, &j->origin, &j->stats);
  if (status == REAP_OK) status = reap_collect_stored(comm, reader, j->stats, progress_view_progress(), &j->result);
  if (status == REAP_OK) status = reap_stats_writer_commit(&j->stats);
  reap_activations_close(&reader);
  return status;
}

static int run(const command_context *context, const stats_options *o) {
  const double start = reap_seconds();
  job j = {.context = context, .options = o};
  const run_file table[] = {RUN_INPUT("MODEL", o->model), RUN_INPUT("--calib", o->calibration),
                            RUN_INPUT("--from", o->from), RUN_OUTPUT("-o", o->output, FORM_HDF5),
                            RUN_OUTPUT("--activations", o->activations, FORM_HDF5)};
  REAP_TRY(command_set_up(context, &o->common));
  int status = run_files_check(context->comm, "reap stats", table, 5, &j.files);
  if (status == REAP_OK) status = o->from ? from_activations(&j) : from_images(&j);
  progress_view_finish();
  if (status == REAP_OK) status = image_range_warn(context->comm, j.images);
  if (status == REAP_OK) status = memory_figures_gather(context->comm, &o->memory, &j.result.use, NULL, &j.memory);
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    reap_print(stdout, "%-16s %d of %lld images\n", "layers", j.result.n_layers,
               (long long)reap_origin_count(&j.origin));
    reap_print(stdout, "%-16s %s%s%s\n", "written", o->output, o->activations ? " " : "",
               o->activations ? o->activations : "");
    reap_print(stdout, "%-16s %.1f s on %d ranks (read %.1f, forward %.1f, moments %.1f, store %.1f)\n", "time",
               reap_seconds() - start, reap_comm_size(context->comm), j.result.seconds_read, j.result.seconds_forward,
               j.result.seconds_moments, j.result.seconds_store);
    if (!o->from) memory_figures_print(&j.memory, &o->memory);
  }
  run_files_warn(&j.files);
  run_files_clear(&j.files);
  reap_activations_file_destroy(&j.activations);
  reap_stats_writer_destroy(&j.stats);
  reap_origin_clear(&j.origin);
  reap_dataset_close(&j.images);
  reap_free(&j.layers);
  reap_groups_destroy(&j.groups);
  reap_network_clear(&j.network);
  return status;
}

static int check(const stats_options *o, bool sampled) {
  if (!o->output) return reap_error(REAP_ERR_USAGE, "reap stats: -o is missing");
  if (!o->from && !o->calibration) return reap_error(REAP_ERR_USAGE, "reap stats: --calib is missing");
  if (o->from &&
      (o->calibration || o->activations || o->all || o->panels || sampled || o->first || o->images || o->memory.text))
    return reap_error(REAP_ERR_USAGE,
                      "reap stats: --from takes the layers, images and positions that the file holds; "
                      "only -o goes with it");
  return REAP_OK;
}

/* With --from there is no model on the command line. */
static bool reads_activations(const command_context *context) {
  for (int i = 1; i < context->argc; i++)
    if (strcmp(context->argv[i], "--from") == 0 || strncmp(context->argv[i], "--from=", 7) == 0) return true;
  return false;
}

int command_stats(const command_context *context) {
  stats_options o = {.common = COMMON_DEFAULTS};
  const char *positions = NULL;
  const option options[] = {
      {"Input and output:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--calib", NULL, OPTION_TEXT, "D.h5", "calibration images; required without --from", &o.calibration, 0},
      {"--from", NULL, OPTION_TEXT, "A.h5", "stored activations in place of a model and images", &o.from, 0},
      {"--output", "-o", OPTION_TEXT, "S.h5", "the moments (format reap-stats); required", &o.output, 0},
      {"--activations", NULL, OPTION_TEXT, "A.h5",
       "also store the layers' inputs and outputs in one file (format\n"
       "reap-activations)",
       &o.activations, 0},
      {"How:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--all", NULL, OPTION_FLAG, NULL,
       "every linear layer, not only those whose inputs can be pruned\n(grouped convolutions excepted)", &o.all, 0},
      {"--panels", NULL, OPTION_FLAG, NULL,
       "sum and write every layer by panels, so that no rank holds its moments\n"
       "(default: layers of more than 8192 columns, or too large for the\n"
       "memory); last digits then depend on the number of ranks",
       &o.panels, 0},
      {"--first", NULL, OPTION_INT, "F", "first image (a multiple of the network's block)", &o.first, 0},
      {"--images", NULL, OPTION_INT, "N", "only N images", &o.images, 1},
      POSITIONS_OPTION(positions, "all"),
      {"--seed", NULL, OPTION_INT, "S", "for positions drawn at random (default 0)", &o.seed, 0},
      MEMORY_OPTIONS(o.memory),
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap stats", options, reads_activations(context) ? 0 : 1, names, .positional = &o.model};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  REAP_TRY(memory_options_read("reap stats", &o.memory));
  REAP_TRY(check(&o, positions || o.seed));
  REAP_TRY(command_positions("reap stats", positions, &o.positions));
  return run(context, &o);
}
