/* reap solve: the solver alone, on stored moments. Small layers are distributed over the ranks, large ones are solved
 * by all ranks; rank 0 writes. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/run_files.h"
#include "base/text.h"
#include "linalg/placement.h"
#include "prune/sizes/budget.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "reap/stats_file.h"

static const char *const SYNOPSIS = "reap solve STATS.h5 --keep F -o PATH.h5 [--ridge R] [--solver ...]";
static const char *const ABOUT =
    "Chooses channels and solves for weights from stored moments (reap stats; see datasets/formats.md). Writes\n"
    "for each layer the order of removal, the error after each removal, and the weights of the channels kept.\n";

typedef struct solve_options {
  const char *stats, *output, *solver;
  double keep, ridge;
  common_options common;
} solve_options;

/* The path of layer `index`, solved by its rank, on rank 0 as well. Collective. */
static int share_path(const reap_comm *comm, int owner, reap_path **path) {
  int64_t shape[4] = {0};
  if (*path) memcpy(shape, (int64_t[]){(*path)->channels, (*path)->block, (*path)->m, (*path)->n_kept}, sizeof shape);
  if (owner == 0) return REAP_OK;
  REAP_TRY(reap_comm_broadcast(comm, shape, sizeof shape, owner));
  int status = *path ? REAP_OK : reap_path_create(shape[0], shape[1], shape[2], shape[3], path);
  REAP_TRY(reap_comm_agree(comm, status));
  reap_path *p = *path;
  double facts[] = {p->energy, p->ridge, p->rcond, p->drift, (double)p->dead};
  REAP_TRY(reap_comm_broadcast(comm, facts, sizeof facts, owner));
  p->energy = facts[0];
  p->ridge = facts[1];
  p->rcond = facts[2];
  p->drift = facts[3];
  p->dead = (int64_t)facts[4];
  const size_t removed = (size_t)p->n_removed, kept = (size_t)p->n_kept;
  REAP_TRY(reap_comm_broadcast(comm, p->order, removed * sizeof *p->order, owner));
  REAP_TRY(reap_comm_broadcast(comm, p->error, removed * sizeof *p->error, owner));
  REAP_TRY(reap_comm_broadcast(comm, p->error_plain, removed * sizeof *p->error_plain, owner));
  REAP_TRY(reap_comm_broadcast(comm, p->kept, kept * sizeof *p->kept, owner));
  REAP_TRY(reap_comm_broadcast(comm, p->weights, kept * (size_t)(p->block * p->m) * sizeof *p->weights, owner));
  return reap_comm_broadcast(comm, p->bias, (size_t)p->m * sizeof *p->bias, owner);
}

static int solve_layer(const solve_options *o, reap_stats_file *stats, int layer, reap_path **path) {
  reap_moments *moments = NULL;
  REAP_TRY(reap_stats_file_read(stats, layer, &moments));
  const reap_gram gram = reap_gram_of(moments);
  const reap_solve_options options = reap_solver_local(o->ridge);
  int status = reap_solve(&gram, reap_budget_round(o->keep, gram.channels), &options,
                          reap_stats_file_layer_name(stats, layer), path);
  reap_moments_destroy(&moments);
  return status;
}

static void print_path(const char *name, const reap_path *p) {
  reap_print(stdout, "%-*s %6lld -> %-6lld relative error %.6g  (%s)\n", reap_text_width(name, 40), name,
             (long long)p->channels, (long long)p->n_kept,
             p->n_removed && p->energy > 0 ? p->error_plain[p->n_removed - 1] / p->energy : 0,
             p->distributed ? "scalapack" : "local");
}

/* Writes and shows a path that rank 0 has. Collective. */
static int take_path(const command_context *context, reap_stats_file *stats, int layer, const reap_path *path,
                     reap_path_file *file) {
  int status = REAP_OK;
  if (reap_comm_rank(context->comm) == 0) {
    const char *name = reap_stats_file_layer_name(stats, layer);
    status = reap_path_file_write(file, name, path);
    print_path(name, path);
  }
  return reap_comm_agree(context->comm, status);
}

/* A round of layers that one rank can solve, one each, side by side. */
static int solve_side_by_side(const command_context *context, const solve_options *o, reap_stats_file *stats, int count,
                              const int *layers, reap_path_file *file) {
  const int rank = reap_comm_rank(context->comm);
  reap_path *mine = NULL;
  int status = rank < count ? solve_layer(o, stats, layers[rank], &mine) : REAP_OK;
  status = reap_comm_agree(context->comm, status);
  for (int k = 0; status == REAP_OK && k < count; k++) {
    reap_path *path = rank == k ? mine : NULL;
    status = share_path(context->comm, k, &path);
    if (status == REAP_OK) status = take_path(context, stats, layers[k], path, file);
    if (path != mine) reap_path_destroy(&path);
  }
  reap_path_destroy(&mine);
  return status;
}

/* One layer by all ranks, read straight into the layout. */
static int solve_distributed(const command_context *context, const solve_options *o, reap_stats_file *stats, int layer,
                             reap_path_file *file) {
  const reap_solve_options options = reap_solver_distributed(context->comm, REAP_SOLVER_SCALAPACK, o->ridge);
  reap_stats_source *source = NULL;
  reap_path *path = NULL;
  int status = reap_comm_agree(context->comm, reap_stats_source_open(stats, layer, &source));
  if (status == REAP_OK) {
    const reap_gram *gram = reap_stats_source_gram(source);
    status = reap_solve(gram, reap_budget_round(o->keep, gram->channels), &options,
                        reap_stats_file_layer_name(stats, layer), &path);
  }
  status = reap_comm_agree(context->comm, status);
  if (status == REAP_OK) status = take_path(context, stats, layer, path, file);
  reap_path_destroy(&path);
  reap_stats_source_close(&source);
  return status;
}

/* Layers that one rank solves, and behind them the distributed ones. */
static int deal_layers(const command_context *context, const solve_options *o, reap_stats_file *stats, int *layers,
                       int *alone) {
  const int n = reap_stats_file_layers(stats);
  int last = n;
  *alone = 0;
  for (int k = 0; k < n; k++) {
    int64_t channels = 0, block = 0, m = 0;
    REAP_TRY(reap_comm_agree(context->comm, reap_stats_file_shape(stats, k, &channels, &block, &m)));
    if (reap_solver_choose(context->comm, (reap_solver)option_index(SOLVERS, o->solver), channels * block, m) ==
        REAP_SOLVER_SCALAPACK)
      layers[--last] = k;
    else
      layers[(*alone)++] = k;
  }
  return REAP_OK;
}

static int solve_all(const command_context *context, const solve_options *o, reap_stats_file *stats,
                     reap_path_file *file) {
  const int size = reap_comm_size(context->comm), n = reap_stats_file_layers(stats);
  int *layers = NULL, alone = 0, status = reap_alloc(&layers, n, sizeof *layers);
  status = reap_comm_agree(context->comm, status);
  if (status == REAP_OK) status = deal_layers(context, o, stats, layers, &alone);
  if (status == REAP_OK) reap_progress_report(progress_view_progress(), "solve", NULL, 0, n, NULL);
  for (int done = 0, count; status == REAP_OK && done < n; done += count) {
    count = done >= alone ? 1 : alone - done < size ? alone - done : size;
    status = done < alone ? solve_side_by_side(context, o, stats, count, layers + done, file)
                          : solve_distributed(context, o, stats, layers[done], file);
    reap_progress_report(progress_view_progress(), "solve", NULL, done + count, n, NULL);
  }
  reap_free(&layers);
  return status;
}

static int run(const command_context *context, const solve_options *o) {
  reap_stats_file *stats = NULL;
  reap_path_file *file = NULL;
  bool first = reap_comm_rank(context->comm) == 0;
  REAP_TRY(command_set_up(context, &o->common));
  const run_file table[] = {RUN_INPUT("STATS.h5", o->stats), RUN_OUTPUT("-o", o->output, FORM_HDF5)};
  run_files files = {0};
  int status = run_files_check(context->comm, "reap solve", table, 2, &files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &files);
  if (status == REAP_OK) status = reap_stats_file_open(o->stats, &stats);
  if (status == REAP_OK && first) status = reap_path_file_create(o->output, &file);
  status = reap_comm_agree(context->comm, status);
  if (status == REAP_OK) status = solve_all(context, o, stats, file);
  progress_view_finish();
  if (status == REAP_OK && first) status = reap_path_file_commit(&file);
  status = reap_comm_agree(context->comm, status);
  run_files_warn(&files);
  run_files_clear(&files);
  reap_path_file_destroy(&file);
  reap_stats_file_close(&stats);
  return status;
}

int command_solve(const command_context *context) {
  solve_options o = {.ridge = REAP_DEFAULT_RIDGE, .solver = "auto", .common = COMMON_DEFAULTS};
  const option options[] = {
      {"--keep", NULL, OPTION_SHARE, "F", "share of the channels to keep (0.5, or 50%); required", &o.keep, 0},
      {"--output", "-o", OPTION_TEXT, "PATH.h5", "where to write orders, errors and weights; required", &o.output, 0},
      {"--ridge", NULL, OPTION_NUMBER, "R", "ridge relative to each column's own scale (default 1e-6)", &o.ridge, 0},
      {"--solver", NULL, OPTION_CHOICE, SOLVERS,
       "where a layer is solved: on one rank, or on all ranks (default auto:\n"
       "by size and memory)",
       &o.solver, 0},
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"STATS.h5"};
  command_line line = {"reap solve", options, 1, names, .positional = &o.stats};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (!o.output) return reap_error(REAP_ERR_USAGE, "reap solve: -o is missing");
  if (o.keep == 0) return reap_error(REAP_ERR_USAGE, "reap solve: --keep is missing");
  if (o.ridge < 0) return reap_error(REAP_ERR_USAGE, "reap solve: --ridge wants a number that is not negative");
  return run(context, &o);
}
