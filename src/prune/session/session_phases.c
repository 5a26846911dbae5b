#include "session_phases.h"

#include <math.h>

#include "prune/estimate/phase_estimate.h"
#include "prune/sensitivity/trial.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "scope_trials.h"
#include "session_settings.h"
#include "session_state.h"

static const double LATENCY_SECONDS = 0.2; /* of a layer of the network: blocks at all sizes, some layers alike */

typedef struct listing {
  const reap_session *session;
  reap_run_setting setting;
  int64_t *counts; /* [groups] */
  int n;
  reap_session_phase *phases;
} listing;

static void add(listing *l, const char *name, double seconds) {
  l->phases[l->n++] = (reap_session_phase){name, seconds};
}

static void add_latency(listing *l) {
  const reap_graph *graph = l->setting.graph;
  int layers = 0;
  for (int i = 0; i < graph->n_nodes; i++) layers += graph->nodes[i]->linear != NULL;
  add(l, "latency", LATENCY_SECONDS * layers);
}

/* Groups that are chosen, of one kind. */
static int count_chosen(const reap_session *s, bool prunable) {
  int count = 0;
  for (int g = 0; g < s->info.plan.n_groups; g++)
    count += s->info.plan.chosen[g] && reap_groups_at(s->groups, g)->prunable == prunable;
  return count;
}

static int add_inner_paths(listing *l, path_works *works, int64_t measured) {
  const reap_session *s = l->session;
  const bool stored = s->settings.from_stats != NULL;
  double seconds = 0;
  REAP_TRY(reap_estimate_paths_seconds(&l->setting, works, !stored, &seconds));
  add(l, stored ? "paths" : "statistics", seconds);
  if (measured == 0) return REAP_OK;
  REAP_TRY(reap_estimate_sensitivity_seconds(&l->setting, works, s->settings.path_sizes, measured, &seconds));
  add(l, "sensitivity", seconds);
  REAP_TRY(reap_estimate_trial_seconds(&l->setting, REAP_TRIAL_IMAGES, &seconds));
  add(l, "trials", REAP_PATHS_TRIALS * seconds);
  return REAP_OK;
}

static int add_paths(listing *l) {
  const reap_session *s = l->session;
  const reap_session_settings *o = &s->settings;
  const bool output = s->info.plan.ratios != REAP_RATIOS_PATH && o->path_sizes > 0 && s->images;
  const int64_t measured = output ? reap_split_list(REAP_SPLIT_TENTH, s->shard.images, o->path_images, NULL) : 0;
  const bool all = o->save_paths != NULL;
  path_works works = {0};
  if (all || count_chosen(s, true) > 0) {
    int status = reap_path_works_create(s->network->graph, s->groups, all ? NULL : s->info.plan.chosen, &works);
    if (status == REAP_OK) status = add_inner_paths(l, &works, measured);
    reap_path_works_clear(&works);
    REAP_TRY(status);
  }
  if (o->scope != REAP_SCOPE_ALL) return REAP_OK;
  double seconds = 0;
  REAP_TRY(reap_estimate_trial_seconds(&l->setting, REAP_TRIAL_FEW_IMAGES, &seconds));
  add(l, "coupled paths", (1 + REAP_COUPLED_SIZES * count_chosen(s, false)) * seconds);
  return REAP_OK;
}

/* What the settings want and nobody has given. */
static int list(listing *l) {
  const reap_session *s = l->session;
  const reap_session_settings *o = &s->settings;
  const bool losses = reap_settings_need_losses(o) || o->save_paths;
  double seconds = 0;
  if (reap_settings_need_latency(o) && !s->info.latency) add_latency(l);
  if (losses && !s->info.paths && !o->from_paths) REAP_TRY(add_paths(l));
  if (!s->info.plan.complete && losses && o->scope == REAP_SCOPE_ALL) {
    REAP_TRY(reap_estimate_trial_seconds(&l->setting, REAP_TRIAL_FEW_IMAGES, &seconds));
    add(l, "trials of scope", REAP_SCOPE_TRIALS * seconds);
  }
  REAP_TRY(reap_estimate_run_seconds(&l->setting, &seconds));
  add(l, "prune", seconds);
  return REAP_OK;
}

static void make_setting(const reap_session *s, int64_t *counts, reap_run_setting *out) {
  const reap_size_plan *p = &s->info.plan;
  const double share = s->settings.amount > 0 && s->settings.amount < 1 ? s->settings.amount : 0.5;
  for (int g = 0; g < p->n_groups; g++)
    counts[g] = p->complete    ? p->counts[g]
                : p->chosen[g] ? (int64_t)ceil(share * (double)p->channels[g])
                               : p->channels[g];
  *out = (reap_run_setting){
      .graph = s->network->graph,
      .groups = s->groups,
      .chosen = p->chosen,
      .counts = counts,
      .repair = s->settings.from_stats ? NULL : s->repair,
      .producer_rounds = reap_settings_producer_rounds(&s->settings),
      .sampling = {s->settings.positions, s->settings.seed},
      .shard = reap_shard_make(s->shard.images, s->network->graph->batch, 0, reap_comm_size(s->comm)),
      .ranks = reap_comm_size(s->comm)};
}

int reap_session_phases(const reap_session *s, int *n, reap_session_phase phases[REAP_SESSION_PHASES]) {
  listing l = {.session = s, .phases = phases};
  REAP_TRY(reap_calloc(&l.counts, s->info.plan.n_groups, sizeof *l.counts));
  make_setting(s, l.counts, &l.setting);
  const int status = list(&l);
  *n = l.n;
  reap_free(&l.counts);
  return status;
}

int reap_session_step_seconds(const reap_session *s, double *seconds, int *n) {
  int64_t *counts = NULL;
  reap_run_setting setting;
  REAP_TRY(reap_calloc(&counts, s->info.plan.n_groups, sizeof *counts));
  make_setting(s, counts, &setting);
  const int status = reap_estimate_steps(&setting, s->settings.memory, &reap_nominal_speeds, seconds, n);
  reap_free(&counts);
  return status;
}
