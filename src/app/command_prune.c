/* reap prune: from a network and images to a smaller network. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "prune_output.h"
#include "reap/error.h"
#include "reap/solver.h"
#include "reap/timer.h"

static const char *const SYNOPSIS =
    "reap prune MODEL --calib D.h5 (--keep F | --flops F) -o OUT.h5 [options]\n"
    "       reap prune MODEL --from-stats S.h5 (--keep F | --flops F) -o OUT.h5 [options]";
static const char *const ABOUT =
    "Removes whole channels, chosen by how well each layer's outputs can be reconstructed without them, and re-solves the\n"
    "remaining weights by least squares. Nothing is retrained; labels are not used.\n";

static int run(const command_context *context, const prune_options *o) {
  const double start = reap_seconds();
  const char *const outputs[] = {o->output, o->onnx, o->report, o->save_stats, o->activations};
  progress_view view;
  prune_inputs inputs = {0};
  prune_run job = {.context = context, .options = o, .inputs = &inputs, .progress = &view.callback};
  int status = REAP_OK;
  command_set_up(context, &o->common, &view);
  REAP_TRY_OR(command_check_writable(context->comm, outputs, 5), done);
  REAP_TRY_OR(prune_inputs_load(context->comm, o, &inputs), done);
  REAP_TRY_OR(prune_run_plan(&job), done);
  REAP_TRY_OR(prune_inputs_open_images(context->comm, o, &inputs), done);
  REAP_TRY_OR(prune_run_do(&job), done);
  progress_view_finish(&view);
  if (reap_comm_rank(context->comm) == 0) status = prune_output_write(&job, start);
  status = reap_comm_agree(context->comm, status);
done:
  progress_view_finish(&view);
  prune_run_clear(&job);
  prune_inputs_close(&inputs);
  return status;
}

static int check(const prune_options *o) {
  if (!o->calibration && !o->from_stats) return reap_error(REAP_ERR_USAGE, "reap prune: --calib is missing (or --from-stats)");
  if (o->from_stats && (o->calibration || o->images || o->save_stats || o->activations))
    return reap_error(REAP_ERR_USAGE, "reap prune: --from-stats takes no images: --calib, --images, --save-stats and --activations "
                                      "do not go with it");
  if (!o->output) return reap_error(REAP_ERR_USAGE, "reap prune: -o is missing");
  const bool keep = !isnan(o->keep), flops = !isnan(o->flops); /* given */
  if (keep == flops) return reap_error(REAP_ERR_USAGE, "reap prune: give one of --keep and --flops");
  if (keep && !(o->keep > 0 && o->keep <= 1))
    return reap_error(REAP_ERR_USAGE, "reap prune: --keep wants a share above 0 and up to 1");
  if (flops && !(o->flops > 0 && o->flops <= 1))
    return reap_error(REAP_ERR_USAGE, "reap prune: --flops wants a share above 0 and up to 1");
  if (o->ridge_auto && o->from_stats)
    return reap_error(REAP_ERR_USAGE, "reap prune: --ridge auto needs images held out; it does not go with --from-stats");
  const char *const paths[] = {o->output, o->onnx, o->report, o->save_stats, o->activations,
                               o->model, o->calibration, o->evaluation, o->from_stats};
  return command_check_names("reap prune", paths, 5, 9);
}

/* A number, or "auto". */
static int read_ridge(const char *text, prune_options *o) {
  char *end = NULL;
  o->ridge_auto = strcmp(text, "auto") == 0;
  if (o->ridge_auto) return REAP_OK;
  o->ridge = strtod(text, &end);
  if (end == text || *end || !isfinite(o->ridge) || o->ridge < 0)
    return reap_error(REAP_ERR_USAGE, "reap prune: --ridge wants \"auto\" or a number that is not negative, not \"%s\"", text);
  return REAP_OK;
}

int command_prune(const command_context *context) {
  prune_options o = {.keep = NAN, .flops = NAN, .method = "reap", .refit = "ls", .scope = "inner", .ridge = REAP_DEFAULT_RIDGE, .common = COMMON_DEFAULTS};
  const char *positions = NULL, *ridge = NULL;
  const option options[] = {
      {"What goes in and out:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--calib", NULL, OPTION_TEXT, "D.h5", "calibration images, a few thousand; required without --from-stats", &o.calibration, 0},
      {"--from-stats", NULL, OPTION_TEXT, "S.h5", "moments of this network (reap stats) in place of images: channels\nand weights from the original network's activations", &o.from_stats, 0},
      {"--output", "-o", OPTION_TEXT, "OUT.h5", "the pruned model; required", &o.output, 0},
      {"--onnx", NULL, OPTION_TEXT, "OUT.onnx", "the pruned model as ONNX as well", &o.onnx, 0},
      {"--eval", NULL, OPTION_TEXT, "D.h5", "images with labels: accuracy before and after", &o.evaluation, 0},
      {"--report", NULL, OPTION_TEXT, "R.json", "write figures, kept channels and errors as JSON", &o.report, 0},
      {"--save-stats", NULL, OPTION_TEXT, "S.h5", "write the moments that the layers were solved from", &o.save_stats, 0},
      {"--activations", NULL, OPTION_TEXT, "A.h5", "write the layers' inputs and targets, all in one file", &o.activations, 0},
      {"How much (one of):", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--keep", NULL, OPTION_NUMBER, "F", "keep this share of the channels of every prunable group", &o.keep, 0},
      {"--flops", NULL, OPTION_NUMBER, "F", "end at or just below this share of the multiply-adds, the same\nshare of channels in every group", &o.flops, 0},
      {"How:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--method", NULL, OPTION_CHOICE, "reap|l1|l1-filter|random", "how channels are chosen (default reap)", &o.method, 0},
      {"--refit", NULL, OPTION_CHOICE, "ls|none", "re-solve the remaining weights by least squares, or leave them\n(default ls)", &o.refit, 0},
      {"--scope", NULL, OPTION_CHOICE, "inner", "which groups: those with one producer and one consumer", &o.scope, 0},
      {"--exclude", NULL, OPTION_TEXT, "NAME,...", "groups or layers to leave alone (names as reap inspect shows them)", &o.exclude, 0},
      {"--images", NULL, OPTION_INT, "N", "only the first N calibration images", &o.images, 1},
      {"--positions", NULL, OPTION_TEXT, "all|K", "output positions of an image that count: all, or K drawn at\nrandom (default all)", &positions, 0},
      {"--ridge", NULL, OPTION_TEXT, "R|auto", "ridge relative to each column's own scale (default 1e-6); auto: of\nevery layer the one that held-out images prefer, towards zero or\ntowards the trained weights", &ridge, 0},
      {"--solver", NULL, OPTION_CHOICE, "auto|local|scalapack", "where layers are solved: on one rank, or on all together\n(default auto: by size and memory)", &o.solver, 0},
      {"--seed", NULL, OPTION_INT, "S", "for --positions K and --method random (default 0)", &o.seed, 0},
      COMMON_OPTIONS(o.common)};
  static const char *const names[] = {"MODEL"};
  command_line line = {"reap prune", options, 1, names, &o.model, false};
  bool done;
  REAP_TRY(command_begin(context, &line, SYNOPSIS, ABOUT, &done));
  if (done) return REAP_OK;
  if (ridge) REAP_TRY(read_ridge(ridge, &o));
  REAP_TRY(check(&o));
  if (positions && o.from_stats) return reap_error(REAP_ERR_USAGE, "reap prune: --positions does not go with --from-stats");
  REAP_TRY(command_positions("reap prune", positions ? positions : "all", &o.positions));
  return run(context, &o);
}
