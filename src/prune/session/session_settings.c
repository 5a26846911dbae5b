#include "session_settings.h"

#include <math.h>
#include <string.h>

#include "exec/output_set.h"
#include "group_names.h"
#include "prune/methods/methods.h"
#include "prune/sensitivity/paths.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "session_state.h"

reap_session_settings reap_session_defaults(void) {
  return (reap_session_settings){.budget = REAP_BUDGET_FLOPS,
                                 .amount = 0.5,
                                 .scope = REAP_SCOPE_AUTO,
                                 .multiple_of = 1,
                                 .method = reap_method_find("reap"),
                                 .refit = REAP_REFIT_LEAST_SQUARES,
                                 .repair = true,
                                 .producer_rounds = 4,
                                 .views = REAP_VIEWS_ALL,
                                 .ridge = REAP_DEFAULT_RIDGE,
                                 .ridge_rule = REAP_RIDGE_FEW_ROWS,
                                 .positions = REAP_POSITIONS_AUTO,
                                 .path_sizes = REAP_PATHS_SIZES,
                                 .path_images = REAP_PATHS_IMAGES,
                                 .path_least = 1,
                                 .scratch = "/tmp"};
}

const char *reap_budget_name(reap_budget budget) {
  static const char *const names[] = {"flops", "params", "keep", "latency", "latency", "plan"};
  return names[budget];
}

const char *reap_ratios_name(reap_ratios ratios) {
  static const char *const names[] = {"auto", "uniform", "path", "output", "plan"};
  return names[ratios];
}

const char *reap_ridge_rule_name(reap_ridge_rule rule) {
  static const char *const names[] = {"given", "few", "auto"};
  return names[rule];
}

/* Why coupled groups cannot be pruned with these settings; NULL: they can. */
static const char *coupled_obstacle(const reap_session_settings *s) {
  if (s->from_stats || s->save_stats || s->activations || s->save_paths || s->from_paths)
    return "coupled groups have no statistics, activations or paths yet";
  if (!s->refit && (s->ratios == REAP_RATIOS_PATH || s->ratios == REAP_RATIOS_OUTPUT))
    return "sizes of coupled groups are not chosen by losses without refit";
  return NULL;
}

bool reap_settings_allow_coupled(const reap_session_settings *s) { return !coupled_obstacle(s); }

static int check_scope(const reap_session_settings *s) {
  const char *obstacle = s->scope == REAP_SCOPE_ALL ? coupled_obstacle(s) : NULL;
  return obstacle ? reap_error(REAP_ERR_USAGE, "%s", obstacle) : REAP_OK;
}

/* A method that is to give the weights does. */
static int check_refit(const reap_session_settings *s) {
  if (s->refit != REAP_REFIT_METHOD || s->method->gives & (REAP_GIVES_WEIGHTS | REAP_GIVES_PATH)) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "method %s has no weights of its own; refit by least squares, or not at all",
                    s->method->name);
}

int reap_settings_check(const reap_session_settings *s, const reap_dataset *images) {
  const bool share = s->budget != REAP_BUDGET_MILLISECONDS;
  if (!images && !s->from_stats)
    return reap_error(REAP_ERR_USAGE, "calibration images, or statistics in their place, are missing");
  if (s->budget != REAP_BUDGET_SIZES && !(s->amount > 0 && isfinite(s->amount) && (!share || s->amount <= 1)))
    return reap_error(REAP_ERR_USAGE, "budget %s: %g is not %s", reap_budget_name(s->budget), s->amount,
                      share ? "a share above 0 and up to 1" : "a number of milliseconds");
  if (!(s->ridge >= 0 && isfinite(s->ridge)) || s->producer_rounds < 0)
    return reap_error(REAP_ERR_USAGE, "ridge and rounds with the producer must not be negative");
  if (s->multiple_of < 1)
    return reap_error(REAP_ERR_USAGE, "channels cannot be multiples of %lld", (long long)s->multiple_of);
  if (s->views & ~(unsigned)REAP_VIEWS_ALL) return reap_error(REAP_ERR_USAGE, "there are no such views");
  REAP_TRY(check_scope(s));
  REAP_TRY(check_refit(s));
  if (s->from_stats && (s->save_stats || s->activations || s->ridge_rule == REAP_RIDGE_EVERY_LAYER))
    return reap_error(REAP_ERR_USAGE,
                      "%s: statistics in place of images give no moments or activations to store and no held-out "
                      "images to choose the ridge by",
                      s->from_stats);
  if (s->ratios == REAP_RATIOS_OUTPUT && !images && !s->from_paths)
    return reap_error(REAP_ERR_USAGE, "sizes by the output's movement need images, or a file of paths");
  return REAP_OK;
}

reap_ratios reap_settings_ratios(const reap_session_settings *s) {
  if (s->budget == REAP_BUDGET_SIZES) return REAP_RATIOS_GIVEN;
  if (s->budget == REAP_BUDGET_KEEP) return REAP_RATIOS_UNIFORM;
  if (s->ratios != REAP_RATIOS_AUTO) return s->ratios;
  if (s->scope == REAP_SCOPE_ALL && !s->refit) return REAP_RATIOS_UNIFORM;
  return s->from_stats ? REAP_RATIOS_PATH : REAP_RATIOS_OUTPUT;
}

bool reap_settings_need_losses(const reap_session_settings *s) {
  const reap_ratios ratios = reap_settings_ratios(s);
  return ratios == REAP_RATIOS_PATH || ratios == REAP_RATIOS_OUTPUT;
}

const reap_method *reap_settings_sizes_method(const reap_session_settings *s) {
  if (!reap_settings_need_losses(s)) return NULL;
  return reap_settings_ratios(s) == REAP_RATIOS_OUTPUT ? reap_method_for_sizes(s->method) : &reap_method_reap;
}

bool reap_settings_need_latency(const reap_session_settings *s) {
  return s->budget == REAP_BUDGET_LATENCY || s->budget == REAP_BUDGET_MILLISECONDS;
}

bool reap_settings_repair(const reap_session_settings *s) { return s->refit && s->repair && !s->from_stats; }

int reap_settings_producer_rounds(const reap_session_settings *s) {
  return reap_settings_repair(s) ? s->producer_rounds : 0;
}

int reap_settings_repair_layers(const reap_session_settings *s, const reap_graph *graph, bool **layers) {
  *layers = NULL;
  if (!s->refit || !s->repair) return REAP_OK;
  REAP_TRY(reap_calloc(layers, graph->n_nodes, sizeof **layers));
  for (int i = 0; i < graph->n_nodes; i++) (*layers)[i] = !reap_group_names_layer(s->exclude, graph->nodes[i]->layer);
  return REAP_OK;
}

reap_scaled_outputs reap_settings_scaled_outputs(const reap_session_settings *s, const reap_graph *graph,
                                                 const reap_dataset *images) {
  if (!reap_settings_repair(s) || s->temperature_scaling == REAP_SWITCH_OFF) return REAP_SCALE_NONE;
  const bool known = !reap_output_set_several(graph) && reap_dataset_has_labels(images);
  return s->temperature_scaling == REAP_SWITCH_ON || known ? REAP_SCALE_ALL : REAP_SCALE_SOFTMAX;
}

reap_prune_options reap_session_prune_options(reap_session *s) {
  const reap_session_settings *o = &s->settings;
  return (reap_prune_options){.method = o->method,
                              .refit = o->refit,
                              .cut_only = o->scope == REAP_SCOPE_ALL && !o->refit,
                              .chosen = s->info.plan.chosen,
                              .counts = s->info.plan.counts,
                              .given = s->info.plan.given,
                              .repair = s->repair,
                              .classifier = reap_settings_scaled_outputs(o, s->network->graph, s->images),
                              .producer_rounds = reap_settings_producer_rounds(o),
                              .views = s->info.views.used,
                              .positions = o->positions,
                              .solver = o->solver,
                              .ridge = o->ridge,
                              .ridge_rule = o->ridge_rule,
                              .seed = o->seed,
                              .backend = o->backend,
                              .memory = o->memory,
                              .scratch = o->scratch,
                              .measure = o->measure,
                              .progress = o->progress,
                              .trials = &s->checkpoint.trials};
}
