/* reap merge: adds the moments of different images. Rank 0 does it, layer by layer and file by file; the sums need no
 * more than two layers' memory. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/run_files.h"
#include "base/text.h"
#include "io/origin.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

static const char *const SYNOPSIS = "reap merge A.h5 B.h5 ... -o SUM.h5";
static const char *const ABOUT =
    "Adds the moments of two or more statistics files (reap stats) of the same network and of different images.\n"
    "The result is that of one run over all images.\n";

typedef struct merge_options {
  int n;
  const char **inputs, *output; /* inputs[n] */
  common_options common;
} merge_options;

typedef struct merge {
  const merge_options *options;
  reap_stats_file **files; /* [n] */
  reap_origin origin;
} merge;

/* Whether file b holds all layers of file a. */
static int check_layers(const merge *g, int a, int b) {
  for (int i = 0; i < reap_stats_file_layers(g->files[a]); i++) {
    const char *name = reap_stats_file_layer_name(g->files[a], i);
    if (reap_stats_file_find(g->files[b], name) < 0)
      return reap_error(REAP_ERR_INPUT, "%s holds layer \"%s\", %s does not; gather all with the same options",
                        g->options->inputs[a], name, g->options->inputs[b]);
  }
  return REAP_OK;
}

/* Of the files before `k` and of file k. */
static int add_origin(merge *g, int k) {
  reap_origin one = {0}, sum = {0};
  REAP_TRY(reap_stats_file_origin(g->files[k], k == 0 ? &g->origin : &one));
  if (k == 0) return REAP_OK;
  const int status = reap_origin_merge(&g->origin, k == 1 ? g->options->inputs[0] : "the files before", &one,
                                       g->options->inputs[k], &sum);
  reap_origin_clear(&one);
  reap_origin_clear(&g->origin);
  g->origin = sum;
  return status;
}

static int open_all(merge *g) {
  REAP_TRY(reap_calloc(&g->files, g->options->n, sizeof *g->files));
  for (int k = 0; k < g->options->n; k++) {
    REAP_TRY(reap_stats_file_open(g->options->inputs[k], &g->files[k]));
    REAP_TRY(add_origin(g, k));
    REAP_TRY(check_layers(g, k, 0));
    REAP_TRY(check_layers(g, 0, k));
  }
  return REAP_OK;
}

static void add_array(double *sum, const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) sum[i] += values[i];
}

static int add_moments(const char *path, reap_moments *sum, const reap_moments *other) {
  if (sum->channels != other->channels || sum->block != other->block || sum->m != other->m)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels of %lld columns to %lld outputs in the first file, %lld of %lld to %lld in %s",
                      (long long)sum->channels, (long long)sum->block, (long long)sum->m, (long long)other->channels,
                      (long long)other->block, (long long)other->m, path);
  add_array(sum->gram, other->gram, sum->n * sum->n);
  add_array(sum->cross, other->cross, sum->n * sum->m);
  add_array(sum->sum_x, other->sum_x, sum->n);
  add_array(sum->sum_y, other->sum_y, sum->m);
  sum->energy += other->energy;
  sum->samples += other->samples;
  return REAP_OK;
}

static int add_layer(const merge *g, int index, reap_moments **sum) {
  const char *name = reap_stats_file_layer_name(g->files[0], index);
  int status = reap_stats_file_read(g->files[0], index, sum);
  for (int k = 1; status == REAP_OK && k < g->options->n; k++) {
    reap_moments *other = NULL;
    status = reap_stats_file_read(g->files[k], reap_stats_file_find(g->files[k], name), &other);
    if (status == REAP_OK) status = add_moments(g->options->inputs[k], *sum, other);
    reap_moments_destroy(&other);
  }
  return reap_error_prefix(status, "layer \"%s\"", name);
}

static int add_all(const command_context *context, const merge *g, reap_stats_writer *writer) {
  const bool first = reap_comm_rank(context->comm) == 0;
  for (int i = 0; i < reap_stats_file_layers(g->files[0]); i++) {
    reap_moments *sum = NULL;
    char *node = NULL;
    int status = first ? add_layer(g, i, &sum) : REAP_OK;
    if (status == REAP_OK && first) status = reap_stats_file_node(g->files[0], i, &node);
    status = reap_comm_agree(context->comm, status);
    const reap_gram gram = reap_gram_of(sum);
    if (status == REAP_OK)
      status = reap_stats_writer_add(writer, reap_stats_file_layer_name(g->files[0], i), node, &gram);
    reap_moments_destroy(&sum);
    reap_free(&node);
    REAP_TRY(status);
  }
  return REAP_OK;
}

/* All files of the command line. Collective. */
static int check_files(const command_context *context, const merge_options *o, run_files *files) {
  run_file *table = NULL;
  REAP_TRY(reap_comm_alloc(context->comm, &table, o->n + 1, sizeof *table));
  for (int k = 0; k < o->n; k++) table[k] = (run_file)RUN_INPUT(k == 0 ? "A.h5" : "B.h5", o->inputs[k]);
  table[o->n] = (run_file)RUN_OUTPUT("-o", o->output, FORM_HDF5);
  const int status = run_files_check(context->comm, "reap merge", table, o->n + 1, files);
  reap_free(&table);
  return status;
}

static int run(const command_context *context, const merge_options *o) {
  merge g = {.options = o};
  reap_stats_writer *writer = NULL;
  run_files files = {0};
  REAP_TRY(command_set_up(context, &o->common));
  int status = check_files(context, o, &files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &files);
  if (status == REAP_OK) status = reap_comm_agree(context->comm, open_all(&g));
  if (status == REAP_OK) status = reap_stats_writer_create(context->comm, o->output, &g.origin, &writer);
  if (status == REAP_OK) reap_progress_report(progress_view_progress(), "merge", NULL, 0, 1, NULL);
  if (status == REAP_OK) status = add_all(context, &g, writer);
  if (status == REAP_OK) status = reap_stats_writer_commit(&writer);
  progress_view_finish();
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    reap_print(stdout, "%-16s %d of %lld images in %d files\n", "layers", reap_stats_file_layers(g.files[0]),
               (long long)reap_origin_count(&g.origin), o->n);
    reap_print(stdout, "%-16s %s\n", "written", o->output);
  }
  run_files_warn(&files);
  run_files_clear(&files);
  reap_stats_writer_destroy(&writer);
  reap_origin_clear(&g.origin);
  for (int k = 0; g.files && k < o->n; k++) reap_stats_file_close(&g.files[k]);
  reap_free(&g.files);
  return status;
}

static int parse(const command_context *context, merge_options *o) {
  const option options[] = {
      {"--output", "-o", OPTION_TEXT, "SUM.h5", "where to write the sums; required", &o->output, 0},
      COMMON_OPTIONS(o->common)};
  static const char *const names[] = {"A.h5", "B.h5"};
  command_line line = {"reap merge", options, 2, names, o->inputs, .n_optional = context->argc};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  o->n = line.given;
  return o->output ? run(context, o) : reap_error(REAP_ERR_USAGE, "reap merge: -o is missing");
}

int command_merge(const command_context *context) {
  merge_options o = {.common = COMMON_DEFAULTS};
  REAP_TRY(reap_comm_alloc(context->comm, &o.inputs, context->argc, sizeof *o.inputs));
  const int status = parse(context, &o);
  reap_free(&o.inputs);
  return status;
}
