#include "prune_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/report.h"
#include "base/text.h"
#include "plan_file.h"
#include "prune/session/session_settings.h"
#include "reap/error.h"
#include "reap/memory.h"

static void report_seconds(const prune_run *run, double total, double writing, cJSON *report) {
  const reap_prune_result *r = &run->info->result;
  const reap_session_times *t = &run->info->times;
  const prune_search none = {0}, *search = run->search ? run->search : &none;
  const reap_session_times *before = &search->measuring;
  const json_number phases[] = {{"load", run->seconds_load},
                                {"latency", t->latency},
                                {"paths", t->paths + before->paths},
                                {"sensitivity", t->sensitivity + before->sensitivity},
                                {"sizes", t->sizes + before->sizes},
                                {"search", search->seconds_others},
                                {"views", t->views + before->views},
                                {"read", r->seconds_read},
                                {"forward", r->seconds_forward},
                                {"moments", r->seconds_moments},
                                {"reduce", r->seconds_reduce},
                                {"solve", r->seconds_solve},
                                {"producers", r->seconds_producers},
                                {"held_out", r->seconds_held_out},
                                {"store", r->seconds_store},
                                {"evaluate", run->seconds_evaluate},
                                {"write", writing},
                                {NULL, 0}};
  report_add_seconds(report, total, phases);
}

static void report_options(const prune_options *o, reap_scope scope, cJSON *report) {
  cJSON *options = cJSON_AddObjectToObject(report, "options");
  cJSON_AddStringToObject(options, "method", o->method);
  cJSON_AddStringToObject(options, "refit", o->refit);
  cJSON_AddBoolToObject(options, "repair", reap_settings_repair(&o->settings));
  cJSON_AddNumberToObject(options, "producers", reap_settings_producer_rounds(&o->settings));
  cJSON_AddStringToObject(options, "scope", scope == REAP_SCOPE_ALL ? "all" : "inner");
  JSON_NUMBERS(options, {"multiple_of", (double)o->settings.multiple_of}, {"keep", o->keep > 0 ? o->keep : NAN},
               {"flops", o->flops > 0 ? o->flops : NAN}, {"params", o->params > 0 ? o->params : NAN});
  if (o->settings.ridge_rule != REAP_RIDGE_GIVEN)
    cJSON_AddStringToObject(options, "ridge", reap_ridge_rule_name(o->settings.ridge_rule));
  else
    cJSON_AddNumberToObject(options, "ridge", o->settings.ridge);
  cJSON_AddStringToObject(options, "measure", o->measure);
  cJSON_AddStringToObject(options, "views", o->views ? o->views : "auto");
  if (o->output_kind) cJSON_AddStringToObject(options, "output_kind", o->output_kind);
  json_add_number(options, "positions",
                  o->settings.from_stats ? NAN : (double)o->settings.positions); /* the file's own, then */
  cJSON_AddNumberToObject(options, "seed", (double)o->seed);
}

static void report_latency(const reap_session_info *info, cJSON *report) {
  cJSON *latency = cJSON_AddObjectToObject(report, "latency_ms");
  JSON_NUMBERS(latency, {"original", info->plan.whole}, {"predicted", info->plan.cost},
               {"measured", info->measured_ms});
}

/* ratios, sizes_of, budget, predicted_loss, gap and groups, each with channels and kept. */
static void report_plan(const prune_run *run, cJSON *report) {
  const reap_size_plan *plan = &run->info->plan;
  const reap_groups *groups = reap_session_groups(run->session);
  const reap_method *method = reap_settings_sizes_method(&run->options->settings);
  cJSON_AddStringToObject(report, "ratios", reap_ratios_name(plan->ratios));
  json_add(report, "sizes_of", method ? cJSON_CreateString(method->name) : cJSON_CreateNull());
  cJSON *b = cJSON_AddObjectToObject(report, "budget");
  cJSON_AddStringToObject(b, "of", reap_budget_name(plan->budget));
  JSON_NUMBERS(b, {"asked", plan->asked}, {"limit", plan->limit}, {"cost", plan->cost}, {"original", plan->whole});
  JSON_NUMBERS(report, {"predicted_loss", plan->predicted_loss}, {"gap", plan->gap});
  cJSON *list = cJSON_AddObjectToObject(report, "groups");
  for (int g = 0; g < plan->n_groups; g++) {
    if (!plan->chosen[g]) continue;
    cJSON *group = cJSON_AddObjectToObject(list, reap_groups_at(groups, g)->name);
    JSON_NUMBERS(group, {"channels", (double)plan->channels[g]}, {"kept", (double)plan->counts[g]});
  }
}

int prune_run_save_plan(const prune_run *run) {
  const reap_size_plan *plan = &run->info->plan;
  cJSON *facts = cJSON_CreateObject();
  cJSON_AddStringToObject(facts, "format", "reap-plan");
  cJSON_AddNumberToObject(facts, "version", 1);
  cJSON_AddStringToObject(facts, "ratios", reap_ratios_name(plan->ratios));
  cJSON_AddStringToObject(facts, "budget", reap_budget_name(plan->budget));
  JSON_NUMBERS(facts, {"asked", plan->asked}, {"predicted_loss", plan->predicted_loss}, {"gap", plan->gap});
  return plan_file_write(run->options->save_plan, reap_session_groups(run->session), plan->chosen, plan->counts,
                         plan->given, facts);
}

/* joint: power, tilt and the trials that chose them, if sizes were chosen by the output's movement. */
static void report_joint(const reap_session_info *info, cJSON *report) {
  const reap_group_paths *paths = info->paths;
  if (!paths || info->plan.ratios != REAP_RATIOS_OUTPUT) return;
  cJSON *joint = cJSON_AddObjectToObject(report, "joint");
  JSON_NUMBERS(joint, {"power", paths->power}, {"tilt", paths->tilt}, {"coupled", info->plan.coupled});
  cJSON *trials = cJSON_AddArrayToObject(joint, "trials");
  for (int i = 0; i < REAP_PATHS_TRIALS; i++) {
    if (isnan(paths->trials[i].moved)) continue; /* not tried */
    cJSON *trial = cJSON_CreateObject();
    JSON_NUMBERS(trial, {"power", paths->trials[i].power}, {"tilt", paths->trials[i].tilt},
                 {"moved", paths->trials[i].moved});
    json_append(trials, trial);
  }
}

/* views: null without images held out, or without scores. */
static void report_views(const reap_session_views *v, cJSON *report) {
  const reap_view_figures *f = &v->figures;
  if (f->images == 0) {
    cJSON_AddNullToObject(report, "views");
    return;
  }
  cJSON *views = cJSON_AddObjectToObject(report, "views"), *used = cJSON_AddArrayToObject(views, "used");
  cJSON *agreement = cJSON_AddObjectToObject(views, "agreement");
  for (int k = 0; k < REAP_VIEW_KINDS; k++) {
    if (v->used & (1U << k)) json_append(used, cJSON_CreateString(reap_view_names[k]));
    json_add_number(agreement, reap_view_names[k], v->agreement[k]);
  }
  cJSON_AddNumberToObject(views, "images", (double)f->images);
  report_add_interval(views, "kl", &f->kl);
  report_add_interval(views, "top1", &f->top1);
  report_add_interval(views, "drop", f->labelled ? &f->drop : NULL);
}

/* search: the budgets tried, where bounds were given. */
static void report_search(const prune_search *s, cJSON *report) {
  if (!s) return;
  cJSON *search = cJSON_AddObjectToObject(report, "search");
  JSON_NUMBERS(search, {"max_kl", s->bounds.kl}, {"max_drop", s->bounds.drop}, {"images", (double)s->images},
               {"provable_drop", s->provable_drop});
  cJSON *list = cJSON_AddArrayToObject(search, "tried");
  for (int k = 0; k < s->n; k++) {
    const prune_tried *t = &s->tried[k];
    const bool known = t->figures.images > 0;
    cJSON *tried = cJSON_CreateObject();
    JSON_NUMBERS(tried, {"amount", t->amount}, {"flops", known ? (double)t->flops : NAN}, {"seconds", t->seconds});
    cJSON_AddBoolToObject(tried, "whole", t->whole);
    cJSON_AddBoolToObject(tried, "within", t->within);
    report_add_interval(tried, "kl", known ? &t->figures.kl : NULL);
    report_add_interval(tried, "drop", known && t->figures.labelled ? &t->figures.drop : NULL);
    json_append(list, tried);
  }
}

/* Figures of both networks. */
static report_network original_of(const prune_run *run) {
  const reap_graph *graph = run->inputs->network.graph;
  return (report_network){run->inputs->evaluation ? &run->before : NULL, reap_graph_flops(graph),
                          reap_graph_params(graph), "original"};
}

static report_network pruned_of(const prune_run *run) {
  const reap_graph *graph = reap_session_graph(run->session);
  return (report_network){run->inputs->evaluation ? &run->after : NULL, reap_graph_flops(graph),
                          reap_graph_params(graph), "pruned"};
}

static void print_views(const reap_session_views *v) {
  const reap_view_figures *f = &v->figures;
  char kinds[32] = "";
  if (f->images == 0) return;
  for (int k = 0; k < REAP_VIEW_KINDS; k++)
    if (v->used & (1U << k))
      snprintf(kinds + strlen(kinds), sizeof kinds - strlen(kinds), "%s%s", kinds[0] ? ", " : "", reap_view_names[k]);
  reap_print(stdout, "%-16s KL %.4f (%.4f to %.4f), top-1 as the original's %.2f %% (%.2f to %.2f)\n",
             v->used ? "on views" : "held out", f->kl.mean, f->kl.low, f->kl.high, 100 * f->top1.mean,
             100 * f->top1.low, 100 * f->top1.high);
  reap_print(stdout, "%-16s of %lld images held out%s%s\n", "", (long long)f->images, v->used ? ", as " : "", kinds);
  reap_print(stdout, "%-16s 95 %% intervals: chance in these images, not the step from %s to new images\n", "",
             v->used ? "views of them" : "them");
}

void prune_run_print(const prune_run *run) {
  const report_network before = original_of(run), after = pruned_of(run);
  report_print(&before, &after, run->options->settings.measure);
  print_views(&run->info->views);
}

/* Entries of a layer that went, by their places in the original network. */
static int add_removed(const reap_graph *graph, const reap_group *group, const reap_member *member, const bool *keep,
                       cJSON *object) {
  int64_t *units = NULL;
  REAP_TRY(reap_alloc(&units, graph->values[member->value].dims[member->axis], sizeof *units));
  const int64_t count = reap_member_units(group, member, units);
  cJSON_AddStringToObject(object, "layer", graph->nodes[member->node]->layer);
  cJSON_AddStringToObject(object, "role", member->role == REAP_PRODUCES ? "produces" : "consumes");
  cJSON_AddNumberToObject(object, "entries", (double)count);
  cJSON *list = cJSON_AddArrayToObject(object, "removed");
  for (int64_t i = 0; i < count; i++)
    if (units[i] >= 0 && !keep[units[i]]) json_append(list, cJSON_CreateNumber((double)i));
  reap_free(&units);
  return REAP_OK;
}

static int add_cut(const reap_graph *graph, const reap_group *group, const reap_step_record *record, cJSON *object) {
  bool *keep = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&keep, group->units, sizeof *keep));
  cJSON_AddStringToObject(object, "group", group->name);
  cJSON_AddNumberToObject(object, "units", (double)record->channels);
  cJSON *kept = cJSON_AddArrayToObject(object, "kept"), *members = cJSON_AddArrayToObject(object, "members");
  for (int64_t k = 0; k < record->n_kept; k++) {
    keep[record->kept[k]] = true;
    json_append(kept, cJSON_CreateNumber((double)record->kept[k]));
  }
  for (int k = 0; status == REAP_OK && k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    if (member->role != REAP_PRODUCES && member->role != REAP_CONSUMES) continue;
    cJSON *entry = cJSON_CreateObject();
    status = add_removed(graph, group, member, keep, entry);
    json_append(members, entry);
  }
  reap_free(&keep);
  return status;
}

/* cuts: of a run that only cuts, what each group and each of its layers has lost. */
static int report_cuts(const prune_run *run, cJSON *report) {
  const reap_graph *graph = run->inputs->network.graph;
  const reap_prune_result *result = &run->info->result;
  reap_groups *groups = NULL;
  int status = REAP_OK;
  if (reap_prune_count(result, REAP_STEP_CUT) == 0) return REAP_OK;
  REAP_TRY(reap_groups_find(graph, &groups));
  cJSON *list = cJSON_AddArrayToObject(report, "cuts");
  for (int g = 0, k = 0; status == REAP_OK && g < reap_groups_count(groups); g++) {
    const reap_step_record *record = reap_prune_record(result, REAP_STEP_CUT, k);
    if (!record || strcmp(record->group, reap_groups_at(groups, g)->name) != 0) continue;
    cJSON *object = cJSON_CreateObject();
    status = add_cut(graph, reap_groups_at(groups, g), record, object);
    json_append(list, object);
    k++;
  }
  reap_groups_destroy(&groups);
  return status;
}

static void fill_report(const prune_run *run, double total, double writing, cJSON *report) {
  const prune_options *o = run->options;
  const reap_session_info *info = run->info;
  const report_network before = original_of(run), after = pruned_of(run);
  const bool stats = o->settings.from_stats != NULL;
  report_seconds(run, total, writing, report);
  JSON_NUMBERS(report, {"seconds_before", run->info->seconds_before});
  report_add_network(report, "baseline", &before);
  report_add_network(report, "pruned", &after);
  report_add_layers(report, &info->result);
  report_add_classifiers(report, &info->result);
  report_options(o, info->plan.scope, report);
  report_views(&info->views, report);
  report_search(run->search, report);
  report_plan(run, report);
  report_joint(info, report);
  if (prune_options_latency(o)) report_latency(info, report);
  report_add_input(report, "model", o->model, reap_source_hash(run->inputs->network.source));
  report_add_input(report, stats ? "statistics" : "calibration", prune_options_images(o), info->data_hash);
  run_files_report(run->files, report);
  cJSON_AddStringToObject(report, "layer_inputs", stats ? "original" : "pruned");
  report_add_few_samples(report, &info->result);
  memory_figures_report(&run->memory, &o->memory, report);
  cJSON_AddNumberToObject(report, "peak_resident_bytes", run->memory.peak_resident);
}

int prune_run_report(const prune_run *run, double total, double writing, cJSON **report) {
  *report = report_create(run->context, "reap-report", run->options->settings.backend);
  fill_report(run, total, writing, *report);
  return report_cuts(run, *report);
}
