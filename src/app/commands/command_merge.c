/* reap merge: adds the moments of different images. Rank 0 does it, layer by layer; the sums need no more than two
 * layers' memory. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/run_files.h"
#include "base/text.h"
#include "io/origin.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

static const char *const SYNOPSIS = "reap merge A.h5 B.h5 -o C.h5";
static const char *const ABOUT =
    "Adds the moments of two statistics files (reap stats) of the same network and of different images. The\n"
    "result is that of one run over all images.\n";

typedef struct merge_options {
  const char *inputs[2], *output;
  common_options common;
} merge_options;

typedef struct merge {
  const merge_options *options;
  reap_stats_file *files[2];
  reap_origin origin;
} merge;

static int check_layers(const merge *g) {
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < reap_stats_file_layers(g->files[k]); i++) {
      const char *name = reap_stats_file_layer_name(g->files[k], i);
      if (reap_stats_file_find(g->files[1 - k], name) < 0)
        return reap_error(REAP_ERR_INPUT, "%s holds layer \"%s\", %s does not; gather both with the same options",
                          g->options->inputs[k], name, g->options->inputs[1 - k]);
    }
  return REAP_OK;
}

static int open_both(merge *g) {
  reap_origin origins[2] = {0};
  int status = REAP_OK;
  for (int k = 0; status == REAP_OK && k < 2; k++) {
    status = reap_stats_file_open(g->options->inputs[k], &g->files[k]);
    if (status == REAP_OK) status = reap_stats_file_origin(g->files[k], &origins[k]);
  }
  if (status == REAP_OK)
    status = reap_origin_merge(&origins[0], g->options->inputs[0], &origins[1], g->options->inputs[1], &g->origin);
  for (int k = 0; k < 2; k++) reap_origin_clear(&origins[k]);
  return status == REAP_OK ? check_layers(g) : status;
}

static void add_array(double *sum, const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) sum[i] += values[i];
}

static int add_moments(reap_moments *sum, const reap_moments *other) {
  if (sum->channels != other->channels || sum->block != other->block || sum->m != other->m)
    return reap_error(REAP_ERR_INPUT,
                      "%lld channels of %lld columns to %lld outputs in one file, %lld of %lld to %lld in the other",
                      (long long)sum->channels, (long long)sum->block, (long long)sum->m, (long long)other->channels,
                      (long long)other->block, (long long)other->m);
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
  reap_moments *other = NULL;
  REAP_TRY(reap_stats_file_read(g->files[0], index, sum));
  int status = reap_stats_file_read(g->files[1], reap_stats_file_find(g->files[1], name), &other);
  if (status == REAP_OK) status = add_moments(*sum, other);
  reap_moments_destroy(&other);
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

static int run(const command_context *context, const merge_options *o) {
  merge g = {.options = o};
  reap_stats_writer *writer = NULL;
  REAP_TRY(command_set_up(context, &o->common));
  const run_file table[] = {RUN_INPUT("A.h5", o->inputs[0]), RUN_INPUT("B.h5", o->inputs[1]),
                            RUN_OUTPUT("-o", o->output, FORM_HDF5)};
  run_files files = {0};
  int status = run_files_check(context->comm, "reap merge", table, 3, &files);
  if (status == REAP_OK) status = run_files_announce(context->comm, &files);
  if (status == REAP_OK) status = reap_comm_agree(context->comm, open_both(&g));
  if (status == REAP_OK) status = reap_stats_writer_create(context->comm, o->output, &g.origin, &writer);
  if (status == REAP_OK) reap_progress_report(progress_view_progress(), "merge", NULL, 0, 1, NULL);
  if (status == REAP_OK) status = add_all(context, &g, writer);
  if (status == REAP_OK) status = reap_stats_writer_commit(&writer);
  progress_view_finish();
  if (status == REAP_OK && reap_comm_rank(context->comm) == 0) {
    reap_print(stdout, "%-16s %d of %lld images\n", "layers", reap_stats_file_layers(g.files[0]),
               (long long)reap_origin_count(&g.origin));
    reap_print(stdout, "%-16s %s\n", "written", o->output);
  }
  run_files_warn(&files);
  run_files_clear(&files);
  reap_stats_writer_destroy(&writer);
  reap_origin_clear(&g.origin);
  for (int k = 0; k < 2; k++) reap_stats_file_close(&g.files[k]);
  return status;
}

int command_merge(const command_context *context) {
  merge_options o = {.common = COMMON_DEFAULTS};
  const option options[] = {{"--output", "-o", OPTION_TEXT, "C.h5", "where to write the sums; required", &o.output, 0},
                            COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"A.h5", "B.h5"};
  command_line line = {"reap merge", options, 2, names, o.inputs, false};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (!o.output) return reap_error(REAP_ERR_USAGE, "reap merge: -o is missing");
  return run(context, &o);
}
