#include "prune_options.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prune/methods/methods.h"
#include "reap/error.h"
#include "reap/log.h"

/* In the order of reap_ratios and reap_switch, behind what stands for no choice; of reap_scope and reap_refit. */
static const char RATIOS[] = "uniform|path|output", CLASSIFIER[] = "scale|keep", SCOPES[] = "auto|inner|all",
                  REFITS[] = "none|ls|method";

void prune_options_table(prune_options *o, option *table) {
  reap_method_names(o->methods, sizeof o->methods);
  const option options[] = {
      {"Input and output:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--calib", NULL, OPTION_TEXT, "D.h5", "calibration images, a few thousand; required without --from-stats",
       &o->calibration, 0},
      {"--from-stats", NULL, OPTION_TEXT, "S.h5",
       "moments of this network (reap stats) in place of images; channels and\n"
       "weights then follow from the original network's activations",
       &o->settings.from_stats, 0},
      {"--output", "-o", OPTION_TEXT, "OUT.h5",
       "the pruned model; its form follows the name: .onnx is ONNX, any other\nHDF5; required without --onnx",
       &o->output, 0},
      {"--onnx", NULL, OPTION_TEXT, "OUT.onnx", "the pruned model as ONNX, beside -o or alone", &o->onnx, 0},
      {"--eval", NULL, OPTION_TEXT, "D.h5", "images with labels: accuracy before and after", &o->evaluation, 0},
      {"--report", NULL, OPTION_TEXT, "R.json",
       "write figures, kept channels and errors as JSON (-: to standard\noutput)", &o->report, 0},
      {"--save-stats", NULL, OPTION_TEXT, "S.h5", "write the moments that the layers were solved from",
       &o->settings.save_stats, 0},
      {"--activations", NULL, OPTION_TEXT, "A.h5", "write the layers' inputs and targets, all in one file",
       &o->settings.activations, 0},
      {"How much (one of; F is a share: 0.5 or 50%):", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--keep", NULL, OPTION_SHARE, "F", "keep this share of the channels of every prunable group", &o->keep, 0},
      {"--flops", NULL, OPTION_SHARE, "F", "end at or just below this share of the multiply-adds", &o->flops, 0},
      {"--params", NULL, OPTION_SHARE, "F", "end at or just below this share of the parameters", &o->params, 0},
      {"--max-kl", NULL, OPTION_NUMBER, "K",
       "in place of a budget: the fewest multiply-adds with which the KL\n"
       "divergence from the original is at most K, on views of held-out images\n"
       "(upper end of the 95 % interval)",
       &o->max_kl, 0},
      {"--max-drop", NULL, OPTION_SHARE, "P",
       "the same for the drop in top-1 (\"1%\": one point), by the images'\nlabels; both may be given", &o->max_drop,
       0},
      {"--latency", NULL, OPTION_TEXT, "F|MSms",
       "end at or just below this share of the time of one image, or this\nmany milliseconds (\"2.5ms\", with the "
       "unit), "
       "as measured on this\nmachine",
       &o->latency_text, 0},
      {"--latency-table", NULL, OPTION_TEXT, "L.json",
       "with --latency: times from reap bench layers, in place of measuring", &o->latency_table, 0},
      {"--plan", NULL, OPTION_TEXT, "P.json",
       "sizes from this file: for each group a number of channels, or a list\n"
       "of them",
       &o->plan, 0},
      {"--ratios", NULL, OPTION_CHOICE, RATIOS,
       "sizes under a budget: the same share in every group; the least summed\n"
       "error of the layers; or the least divergence of the network's outputs\n"
       "(default output; path with --from-stats)",
       &o->ratios, 0},
      {"--measure", NULL, OPTION_CHOICE, MEASURES, MEASURE_HELP, &o->measure, 0},
      OUTPUT_KIND_OPTION(o->output_kind),
      {"--min-keep", NULL, OPTION_LIST, "K|NAME=K,...",
       "keep at least this number of channels of every group, or (below 1, or\n"
       "\"25%\") this share of them; NAME=K: of this group, or of those that a\n"
       "pattern fits (\"layer3*=16\"); the last that fits counts",
       &o->settings.min_keep, 0},
      {"--multiple-of", NULL, OPTION_INT, "N", "layers keep multiples of N channels of each group, or all of them",
       &o->settings.multiple_of, 1},
      {"--save-plan", NULL, OPTION_TEXT, "P.json", "write the sizes chosen (-: to standard output)", &o->save_plan, 0},
      {"--save-paths", NULL, OPTION_TEXT, "P.h5", "write the errors of every group at every size (as reap paths does)",
       &o->settings.save_paths, 0},
      {"--from-paths", NULL, OPTION_TEXT, "P.h5", "choose sizes from such a file, without the pass that computes it",
       &o->settings.from_paths, 0},
      {"--dry-run", NULL, OPTION_FLAG, NULL, "choose the sizes, show them and end; no model is written", &o->dry_run,
       0},
      {"How:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--method", NULL, OPTION_CHOICE, o->methods, "how channels are chosen (default reap)", &o->method, 0},
      {"--refit", NULL, OPTION_CHOICE, REFITS,
       "weights of a layer that has lost inputs: those that it had, re-solved\n"
       "by least squares, or the method's own, where it has some: least\n"
       "squares (reap), scales (thinet), interpolation (id) (default ls)",
       &o->refit, 0},
      {"--repair", NULL, OPTION_CHOICE, "on|off",
       "also re-solve layers that lose no inputs but read changed values\n"
       "(default on; off with --refit none or --from-stats)",
       &o->repair, 0},
      {"--producers", NULL, OPTION_INT, "N",
       "solve each pruned layer and the layer that produces its inputs in\n"
       "turn, up to N rounds; 0: the pruned layer alone (default 4 with\n"
       "--repair on)",
       &o->producers, 0},
      {"--classifier", NULL, OPTION_CHOICE, CLASSIFIER,
       "multiply a classifier's logits by one factor (temperature scaling), if\n"
       "that brings its class probabilities nearer to the original's on\n"
       "views of held-out images (default scale if the network ends in\n"
       "a soft-max, or if it has a single output and the images have labels;\n"
       "the labels are ignored)",
       &o->classifier, 0},
      {"--views", NULL, OPTION_LIST, "auto|none|KIND",
       "how held-out images stand for new ones, by which the result is judged:\n"
       "flips (left to right), shifts (by up to an eighth) and mixes (a fifth\n"
       "of another image), each where the original agrees with itself on 80 %\n"
       "of the images; auto: all three; none: the images as they are (default\n"
       "auto)",
       &o->views, 0},
      {"--scope", NULL, OPTION_CHOICE, SCOPES,
       "which groups: those with one producer and one consumer (inner), or\n"
       "coupled ones too, as far as that loses less (all); default: inner if\n"
       "that reaches the budget, else all",
       &o->scope, 0},
      {"--exclude", NULL, OPTION_LIST, "NAME,...",
       "groups or layers to leave alone: names as reap inspect shows them, or\npatterns (\"layer3*\"); may be given "
       "more than once",
       &o->settings.exclude, 0},
      {"--images", NULL, OPTION_INT, "N", "only the first N calibration images", &o->settings.images, 1},
      POSITIONS_OPTION(o->positions_text, "auto"),
      {"--ridge", NULL, OPTION_TEXT, "few|auto|R",
       "ridge relative to each column's own scale; auto: for each layer the\n"
       "one with the least held-out error, towards zero or towards the\n"
       "trained weights; few (default): for layers with fewer than 20 rows for\n"
       "each column alone, 1e-6 for others",
       &o->ridge_text, 0},
      SOLVER_OPTION(o->solver),
      {"--seed", NULL, OPTION_INT, "S", "for what is drawn at random (default 0)", &o->seed, 0},
      MEMORY_OPTIONS(o->memory),
      {"--checkpoint", NULL, OPTION_TEXT, "C.h5",
       "write here what was found and done so far, after every step, until the\n"
       "run is complete; SIGUSR1 ends it after the step at hand, with status 6",
       &o->settings.checkpoint, 0},
      {"--resume", NULL, OPTION_FLAG, NULL,
       "go on from --checkpoint if it is there, on any number of ranks; else\n"
       "start afresh",
       &o->settings.resume, 0},
      COMMON_OPTIONS(o->common)};
  _Static_assert(sizeof options / sizeof options[0] <= PRUNE_OPTIONS_MOST, "PRUNE_OPTIONS_MOST is too small");
  memcpy(table, options, sizeof options);
}

bool prune_option_decides(const char *name) {
  static const char *const others[] = {
      "--calib",      "--eval",       "--from-stats", "--from-paths", "--latency-table", "--plan",
      "--output",     "--onnx",       "--report",     "--save-stats", "--activations",   "--save-plan",
      "--save-paths", "--threads",    "--progress",   "--log-level",  "--verbose",       "--memory",
      "--scratch",    "--checkpoint", "--resume",     "--help"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (strcmp(name, others[i]) == 0) return false;
  return true;
}

/* A number, "few" or "auto". */
static int read_ridge(prune_options *o) {
  const char *text = o->ridge_text;
  double *ridge = &o->settings.ridge;
  char *end = NULL;
  reap_ridge_rule *rule = &o->settings.ridge_rule;
  *rule = strcmp(text, "auto") == 0  ? REAP_RIDGE_EVERY_LAYER
          : strcmp(text, "few") == 0 ? REAP_RIDGE_FEW_ROWS
                                     : REAP_RIDGE_GIVEN;
  if (*rule != REAP_RIDGE_GIVEN) return REAP_OK;
  *ridge = strtod(text, &end);
  if (end == text || *end || !isfinite(*ridge) || *ridge < 0)
    return reap_error(REAP_ERR_USAGE,
                      "%s: --ridge wants \"few\", \"auto\" or a number that is not negative, not \"%s\"", o->title,
                      text);
  return REAP_OK;
}

/* A share, or milliseconds with their unit. */
static int read_latency(prune_options *o) {
  char *end = NULL;
  const char *text = o->latency_text;
  double value = strtod(text, &end);
  const bool unit = end != text && strcmp(end, "ms") == 0, forgotten = end != text && !*end && value > 1;
  const bool number = unit || (option_read_share(text, &value) && value <= 1);
  if (!number || !isfinite(value) || value <= 0)
    return reap_error(REAP_ERR_USAGE,
                      "%s: --latency wants a share above 0 and up to 1 (0.5, or 50%%), or milliseconds with their unit "
                      "(2.5ms), not \"%s\"%s%s%s",
                      o->title, text, forgotten ? "; did you mean " : "", forgotten ? text : "",
                      forgotten ? "ms?" : "");
  o->settings.budget = unit ? REAP_BUDGET_MILLISECONDS : REAP_BUDGET_LATENCY;
  o->settings.amount = value;
  return REAP_OK;
}

static int read_views(prune_options *o) {
  static const char KINDS[] = "flips|shifts|mixes";
  unsigned *views = &o->settings.views;
  if (!o->views || strcmp(o->views, "auto") == 0) return REAP_OK;
  *views = 0;
  if (strcmp(o->views, "none") == 0) return REAP_OK;
  for (const char *at = o->views; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    char word[16];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
    const int kind = option_index(KINDS, word);
    if (kind < 0)
      return reap_error(REAP_ERR_USAGE, "%s: --views wants auto, none or some of flips,shifts,mixes, not \"%s\"",
                        o->title, o->views);
    *views |= 1U << kind;
  }
  return REAP_OK;
}

/* The one that is given; that there is but one is checked later. */
static int read_budget(prune_options *o) {
  reap_session_settings *s = &o->settings;
  if (o->latency_text) return read_latency(o);
  s->budget = o->plan             ? REAP_BUDGET_SIZES
              : !isnan(o->keep)   ? REAP_BUDGET_KEEP
              : !isnan(o->params) ? REAP_BUDGET_PARAMS
                                  : REAP_BUDGET_FLOPS;
  s->amount = !isnan(o->keep) ? o->keep : !isnan(o->params) ? o->params : o->flops;
  return REAP_OK;
}

int prune_options_read_common(prune_options *o) {
  reap_session_settings *s = &o->settings;
  s->solver = (reap_solver)option_index(SOLVERS, o->solver);
  s->measure = (reap_measure)option_index(MEASURES, o->measure);
  s->seed = (uint64_t)o->seed;
  s->backend = command_backend(o->common.kernels);
  REAP_TRY(memory_options_read(o->title, &o->memory));
  s->memory = o->memory.bytes;
  s->scratch = o->memory.folder;
  if (o->ridge_text) REAP_TRY(read_ridge(o));
  return command_positions(o->title, o->positions_text, &s->positions);
}

int prune_options_read(prune_options *o) {
  reap_session_settings *s = &o->settings;
  REAP_TRY(read_budget(o));
  REAP_TRY(read_views(o));
  s->ratios = (reap_ratios)(1 + option_index(RATIOS, o->ratios));
  s->temperature_scaling = (reap_switch)(1 + option_index(CLASSIFIER, o->classifier));
  s->method = reap_method_find(o->method);
  s->refit = (reap_refit_kind)option_index(REFITS, o->refit);
  s->repair = !o->repair || strcmp(o->repair, "on") == 0;
  if (o->producers >= 0) s->producer_rounds = (int)(o->producers < INT_MAX ? o->producers : INT_MAX);
  s->scope = (reap_scope)option_index(SCOPES, o->scope);
  return prune_options_read_common(o);
}

int prune_options_check_files(const reap_comm *comm, prune_options *o, run_files *files) {
  const file_form form = o->output && run_files_form(o->output) == FORM_ONNX ? FORM_ONNX : FORM_HDF5;
  const run_file table[] = {RUN_INPUT("MODEL", o->model),
                            RUN_INPUT("--calib", o->calibration),
                            RUN_INPUT("--eval", o->evaluation),
                            RUN_INPUT("--from-stats", o->settings.from_stats),
                            RUN_INPUT("--plan", o->plan),
                            RUN_INPUT("--from-paths", o->settings.from_paths),
                            RUN_INPUT("--latency-table", o->latency_table),
                            RUN_OUTPUT("-o", o->output, form),
                            RUN_OUTPUT("--onnx", o->onnx, FORM_ONNX),
                            RUN_OUTPUT("--report", o->report, FORM_JSON),
                            RUN_OUTPUT("--save-stats", o->settings.save_stats, FORM_HDF5),
                            RUN_OUTPUT("--activations", o->settings.activations, FORM_HDF5),
                            RUN_OUTPUT("--save-plan", o->save_plan, FORM_JSON),
                            RUN_OUTPUT("--save-paths", o->settings.save_paths, FORM_HDF5),
                            RUN_OUTPUT("--checkpoint", o->settings.checkpoint, FORM_HDF5)};
  if (form == FORM_ONNX && o->onnx)
    return reap_error(REAP_ERR_USAGE,
                      "%s: -o %s and --onnx %s would be the same, twice; give one of them, or an .h5 with -o", o->title,
                      o->output, o->onnx);
  REAP_TRY(run_files_check(comm, o->title, table, (int)(sizeof table / sizeof table[0]), files));
  if (form == FORM_HDF5) return REAP_OK;
  o->onnx = o->output;
  o->output = NULL;
  return REAP_OK;
}

void prune_options_drop_outputs(prune_options *o) {
  const struct {
    const char *option, *file;
  } dropped[] = {{"-o", o->output},
                 {"--onnx", o->onnx},
                 {"--report", o->report},
                 {"--save-stats", o->settings.save_stats},
                 {"--activations", o->settings.activations},
                 {"--checkpoint", o->settings.checkpoint}};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
    if (dropped[i].file)
      reap_log(REAP_LOG_INFO, "%s %s is not written by a dry run", dropped[i].option, dropped[i].file);
  o->output = o->onnx = o->report = o->evaluation = NULL;
  o->settings.save_stats = o->settings.activations = o->settings.checkpoint = NULL;
  o->settings.resume = false;
}

/* How much is to stay, and by what sizes are chosen. */
static int check_size(const prune_options *o) {
  const int ways = !isnan(o->keep) + !isnan(o->flops) + !isnan(o->params) + (o->latency_text != NULL) +
                   (o->plan != NULL) + prune_options_bounded(o);
  if (ways != 1)
    return reap_error(REAP_ERR_USAGE,
                      "%s: give exactly one of --keep, --flops, --params, --latency, --plan and --max-kl or --max-drop",
                      o->title);
  if (o->latency_table && !o->latency_text)
    return reap_error(REAP_ERR_USAGE, "%s: --latency-table goes with --latency", o->title);
  const reap_ratios ratios = o->settings.ratios;
  if (o->ratios && (o->plan || (!isnan(o->keep) && ratios != REAP_RATIOS_UNIFORM)))
    return reap_error(REAP_ERR_USAGE, "%s: --ratios %s chooses sizes under a budget; %s fixes them", o->title,
                      o->ratios, o->plan ? "--plan" : "--keep");
  if (o->settings.from_paths && (o->plan || !isnan(o->keep) || ratios == REAP_RATIOS_UNIFORM))
    return reap_error(REAP_ERR_USAGE, "%s: --from-paths is for --ratios path and output under a budget", o->title);
  if (ratios == REAP_RATIOS_OUTPUT && o->settings.from_stats && !o->settings.from_paths)
    return reap_error(REAP_ERR_USAGE,
                      "%s: --ratios output needs images, or --from-paths; with --from-stats there is --ratios path",
                      o->title);
  if (o->settings.min_keep && o->plan)
    return reap_error(REAP_ERR_USAGE, "%s: --min-keep does not go with --plan, which fixes all sizes", o->title);
  return REAP_OK;
}

/* What does not go with a search of the budget. */
static int check_bounds(const prune_options *o) {
  const reap_session_settings *s = &o->settings;
  const char *other = s->from_stats                ? "--from-stats"
                      : s->save_stats              ? "--save-stats"
                      : s->activations             ? "--activations"
                      : s->checkpoint              ? "--checkpoint"
                      : o->dry_run                 ? "--dry-run"
                      : s->scope == REAP_SCOPE_ALL ? "--scope all"
                                                   : NULL;
  if (!prune_options_bounded(o)) return REAP_OK;
  if (o->max_kl <= 0) return reap_error(REAP_ERR_USAGE, "%s: --max-kl wants a number above 0", o->title);
  return other ? reap_error(REAP_ERR_USAGE, "%s: --max-kl and --max-drop, which try several budgets, do not go with %s",
                            o->title, other)
               : REAP_OK;
}

/* What coupled groups do not have. */
static int check_scope(const prune_options *o) {
  const reap_session_settings *s = &o->settings;
  if (s->scope != REAP_SCOPE_ALL) return REAP_OK;
  if (s->from_stats || s->save_stats || s->activations || s->save_paths || s->from_paths)
    return reap_error(
        REAP_ERR_USAGE,
        "%s: --from-stats, --save-stats, --activations, --save-paths and --from-paths do not go with --scope all yet",
        o->title);
  if (!s->refit && (s->ratios == REAP_RATIOS_PATH || s->ratios == REAP_RATIOS_OUTPUT))
    return reap_error(REAP_ERR_USAGE, "%s: --scope all with --refit none goes with --ratios uniform only", o->title);
  return REAP_OK;
}

static int check_repair(const prune_options *o) {
  enum { MOST_ROUNDS = 1000 };
  const bool scaled = o->settings.temperature_scaling == REAP_SWITCH_ON, rounds = o->producers > 0;
  const bool repairs = o->settings.refit && o->settings.repair && !o->settings.from_stats;
  if (o->producers > MOST_ROUNDS)
    return reap_error(REAP_ERR_USAGE, "%s: --producers wants at most %d rounds", o->title, MOST_ROUNDS);
  if (repairs) return REAP_OK;
  if (rounds || scaled)
    return reap_error(REAP_ERR_USAGE,
                      "%s: %s is part of the repair; it does not go with --repair off, --refit none or --from-stats",
                      o->title, rounds ? "--producers" : "--classifier scale");
  if (!o->repair || !o->settings.repair) return REAP_OK;
  if (o->settings.from_stats)
    return reap_error(REAP_ERR_USAGE, "%s: --repair on needs images; it does not go with --from-stats", o->title);
  return reap_error(REAP_ERR_USAGE, "%s: --repair on re-solves weights; it does not go with --refit none", o->title);
}

static int check_checkpoint(const prune_options *o) {
  const reap_session_settings *s = &o->settings;
  if (s->resume && !s->checkpoint)
    return reap_error(REAP_ERR_USAGE, "%s: --resume goes on from a checkpoint: name it with --checkpoint", o->title);
  if (s->checkpoint && (s->save_stats || s->activations))
    return reap_error(REAP_ERR_USAGE, "%s: --checkpoint does not go with --save-stats and --activations", o->title);
  return REAP_OK;
}

int prune_options_check(const prune_options *o) {
  if (!o->calibration && !o->settings.from_stats)
    return reap_error(REAP_ERR_USAGE,
                      "%s: --calib is missing (or --from-stats): calibration images as HDF5, see datasets/README.md",
                      o->title);
  if (o->settings.from_stats &&
      (o->calibration || o->settings.images || o->settings.save_stats || o->settings.activations))
    return reap_error(
        REAP_ERR_USAGE,
        "%s: --from-stats takes no images: --calib, --images, --save-stats and --activations do not go with it",
        o->title);
  if (o->settings.from_stats && o->memory.text)
    return reap_error(REAP_ERR_USAGE, "%s: --memory is for images; it does not go with --from-stats", o->title);
  if (o->settings.from_stats && o->positions_text)
    return reap_error(REAP_ERR_USAGE, "%s: --positions does not go with --from-stats", o->title);
  if (!o->output && !o->onnx && !o->dry_run) return reap_error(REAP_ERR_USAGE, "%s: -o is missing", o->title);
  REAP_TRY(check_size(o));
  REAP_TRY(check_scope(o));
  REAP_TRY(check_bounds(o));
  if (o->settings.ridge_rule == REAP_RIDGE_EVERY_LAYER && o->settings.from_stats)
    return reap_error(REAP_ERR_USAGE, "%s: --ridge auto needs images held out; it does not go with --from-stats",
                      o->title);
  REAP_TRY(check_repair(o));
  REAP_TRY(check_checkpoint(o));
  if (o->settings.save_paths && o->settings.from_paths)
    return reap_error(REAP_ERR_USAGE, "%s: --save-paths would only copy --from-paths", o->title);
  return REAP_OK;
}
