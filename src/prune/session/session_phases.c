#include "session_phases.h"

#include <math.h>

#include "prune/estimate/choice_estimate.h"
#include "prune/sensitivity/joint.h"
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
  double trial;    /* seconds of a pilot run */
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

/* Moments come from images or from a file. */
static void add_inner_paths(listing *l, const reap_choice_estimate *choice) {
  const reap_session *s = l->session;
  const bool stored = s->settings.from_stats != NULL;
  reap_run_estimate pass = choice->paths;
  if (stored) pass.forward = pass.moments_work = 0;
  add(l, stored ? "paths" : "statistics", reap_estimate_seconds(&pass, &reap_nominal_speeds, l->setting.ranks));
  if (s->info.plan.ratios == REAP_RATIOS_PATH || s->settings.path_sizes == 0 || !s->images) return;
  add(l, "sensitivity", choice->sensitivity / reap_nominal_speeds.forward * s->settings.path_sizes / REAP_PATHS_SIZES);
  add(l, "trials", REAP_JOINT_TRIALS * l->trial);
}

/* What the settings want and nobody has given. */
static int list(listing *l) {
  const reap_session *s = l->session;
  const reap_session_settings *o = &s->settings;
  const bool losses = reap_settings_need_losses(o) || o->save_paths, all = o->scope == REAP_SCOPE_ALL;
  const double few = REAP_TRIAL_FEW_IMAGES / (double)REAP_TRIAL_IMAGES;
  reap_run_estimate run;
  reap_choice_estimate choice = {0};
  if (losses) REAP_TRY(reap_estimate_choice(&l->setting, o->memory, &choice));
  REAP_TRY(reap_estimate_run(&l->setting, o->memory, &run));
  l->trial = reap_estimate_trial_seconds(&choice, &reap_nominal_speeds, l->setting.ranks);
  if (reap_settings_need_latency(o) && !s->info.latency) add_latency(l);
  if (losses && !s->info.paths && !o->from_paths) {
    if (o->save_paths || count_chosen(s, true) > 0) add_inner_paths(l, &choice);
    if (all) add(l, "coupled paths", (1 + REAP_COUPLED_SIZES * count_chosen(s, false)) * few * l->trial);
  }
  if (!s->info.plan.complete && losses && all) add(l, "trials of scope", REAP_SCOPE_TRIALS * few * l->trial);
  add(l, "prune", reap_estimate_seconds(&run, &reap_nominal_speeds, l->setting.ranks));
  return REAP_OK;
}

/* Where all channels stay (reap paths), half of them go in pilot runs. */
static void make_setting(const reap_session *s, int64_t *counts, reap_run_setting *out) {
  const reap_size_plan *p = &s->info.plan;
  const bool some = s->settings.amount > 0 && s->settings.amount < 1;
  const bool known = p->complete && (some || p->budget != REAP_BUDGET_KEEP);
  for (int g = 0; g < p->n_groups; g++)
    counts[g] = known          ? p->counts[g]
                : p->chosen[g] ? (int64_t)ceil((some ? s->settings.amount : 0.5) * (double)p->channels[g])
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
