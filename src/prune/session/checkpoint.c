/* Checkpoints; see checkpoint.h.
 *
 * Written by rank 0 while the others go on. Cost: the file is written whole each time, so steps that take less than
 * fifty times that long are not all followed by it. Memory: on rank 0 the weights of all layers that were re-solved.
 */
#include "checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/timer.h"
#include "io/checkpoint_file.h"
#include "io/files/durable.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "session_identity.h"
#include "session_state.h"

static const double SHARE = 0.02; /* of the time, at most, goes into writing after steps */

int reap_session_checkpoint_check(const reap_session_settings *o) {
  if (o->resume && !o->checkpoint)
    return reap_error(REAP_ERR_USAGE, "a run is resumed from a checkpoint, and none is named");
  if (!o->checkpoint) return REAP_OK;
  if (o->save_stats || o->activations)
    return reap_error(REAP_ERR_USAGE,
                      "%s: a checkpoint does not hold moments and activations that are stored on the way; leave either",
                      o->checkpoint);
  if (!o->resume && access(o->checkpoint, F_OK) == 0)
    return reap_error(REAP_ERR_USAGE, "%s: there is a checkpoint already: resume from it, or remove it", o->checkpoint);
  return REAP_OK;
}

/* ------------------------------------------------------------------ one step */

static int put_field(reap_checkpoint_file *f, const reap_step_record *record, const reap_record_field *field) {
  const void *at = reap_record_at(record, field);
  const void *data = NULL;
  switch (field->type) {
    case REAP_FIELD_COUNT:
      return reap_checkpoint_put_integer(f, field->member, *(const int64_t *)at);
    case REAP_FIELD_NUMBER:
      return reap_checkpoint_put_number(f, field->member, *(const double *)at);
    case REAP_FIELD_FLAG:
      return reap_checkpoint_put_integer(f, field->member, *(const bool *)at);
    default:
      memcpy(&data, at, sizeof data);
  }
  if (!data) return REAP_OK;
  if (field->type == REAP_FIELD_TEXT) return reap_checkpoint_put_text(f, field->member, data);
  const int64_t count = reap_record_count(record, field);
  return field->type == REAP_FIELD_INDICES ? reap_checkpoint_put_integers(f, field->member, count, data)
                                           : reap_checkpoint_put_numbers(f, field->member, count, data);
}

/* Arrays come after the numbers that count them. */
static int get_field(const reap_checkpoint_file *f, const reap_record_field *field, reap_step_record *record) {
  void *at = (char *)record + field->offset;
  const bool there = reap_checkpoint_has(f, field->member);
  int64_t flag = 0;
  switch (field->type) {
    case REAP_FIELD_COUNT:
      return reap_checkpoint_get_integer(f, field->member, at);
    case REAP_FIELD_NUMBER:
      return reap_checkpoint_get_number(f, field->member, at);
    case REAP_FIELD_FLAG:
      REAP_TRY(reap_checkpoint_get_integer(f, field->member, &flag));
      *(bool *)at = flag != 0;
      return REAP_OK;
    case REAP_FIELD_TEXT:
      return there ? reap_checkpoint_get_text(f, field->member, at) : REAP_OK;
    case REAP_FIELD_INDICES:
      return there ? reap_checkpoint_get_integers(f, field->member, reap_record_count(record, field), at) : REAP_OK;
    case REAP_FIELD_NUMBERS:
      return there ? reap_checkpoint_get_numbers(f, field->member, reap_record_count(record, field), at) : REAP_OK;
  }
  return REAP_OK;
}

static int put_state(reap_checkpoint_file *f, const char *name, const reap_layer_state *state) {
  if (!state->weights) return REAP_OK;
  REAP_TRY(reap_checkpoint_enter(f, name));
  REAP_TRY(reap_checkpoint_put_integer(f, "count", state->count));
  REAP_TRY(reap_checkpoint_put_integer(f, "outputs", state->m));
  REAP_TRY(reap_checkpoint_put_floats(f, "weights", state->count, state->weights));
  REAP_TRY(reap_checkpoint_put_floats(f, "bias", state->m, state->bias));
  if (state->scale) REAP_TRY(reap_checkpoint_put_floats(f, "scale", state->m, state->scale));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

static int get_state(reap_checkpoint_file *f, const char *name, reap_layer_state *state) {
  if (!reap_checkpoint_has(f, name)) return REAP_OK;
  REAP_TRY(reap_checkpoint_enter(f, name));
  REAP_TRY(reap_checkpoint_get_integer(f, "count", &state->count));
  REAP_TRY(reap_checkpoint_get_integer(f, "outputs", &state->m));
  REAP_TRY(reap_checkpoint_get_floats(f, "weights", state->count, &state->weights));
  REAP_TRY(reap_checkpoint_get_floats(f, "bias", state->m, &state->bias));
  if (reap_checkpoint_has(f, "scale")) REAP_TRY(reap_checkpoint_get_floats(f, "scale", state->m, &state->scale));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

static int put_past(reap_checkpoint_file *f, int index, const reap_step_past *past) {
  char name[16];
  snprintf(name, sizeof name, "%06d", index);
  REAP_TRY(reap_checkpoint_enter(f, name));
  REAP_TRY(reap_checkpoint_put_integer(f, "kind", past->record.kind));
  for (const reap_record_field *field = reap_record_fields; field->member; field++)
    REAP_TRY(put_field(f, &past->record, field));
  REAP_TRY(put_state(f, "layer_weights", &past->layer));
  REAP_TRY(put_state(f, "producer_weights", &past->producer));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

static int get_past(reap_checkpoint_file *f, int index, reap_step_past *past) {
  char name[16];
  int64_t kind;
  snprintf(name, sizeof name, "%06d", index);
  REAP_TRY(reap_checkpoint_enter(f, name));
  REAP_TRY(reap_checkpoint_get_integer(f, "kind", &kind));
  past->record.kind = (reap_step_kind)kind;
  for (const reap_record_field *field = reap_record_fields; field->member; field++)
    REAP_TRY(get_field(f, field, &past->record));
  REAP_TRY(get_state(f, "layer_weights", &past->layer));
  REAP_TRY(get_state(f, "producer_weights", &past->producer));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

/* ------------------------------------------------------------------ the plan */

static int put_plan(reap_checkpoint_file *f, const reap_size_plan *p) {
  char name[16];
  REAP_TRY(reap_checkpoint_put_integers(f, "counts", p->n_groups, p->counts));
  REAP_TRY(reap_checkpoint_put_number(f, "limit", p->limit));
  REAP_TRY(reap_checkpoint_put_number(f, "cost", p->cost));
  REAP_TRY(reap_checkpoint_put_number(f, "whole", p->whole));
  REAP_TRY(reap_checkpoint_put_number(f, "predicted_loss", p->predicted_loss));
  REAP_TRY(reap_checkpoint_put_number(f, "gap", p->gap));
  REAP_TRY(reap_checkpoint_put_number(f, "coupled", p->coupled));
  for (int g = 0; g < p->n_groups; g++) {
    snprintf(name, sizeof name, "kept_%d", g);
    if (p->given[g]) REAP_TRY(reap_checkpoint_put_integers(f, name, p->counts[g], p->given[g]));
  }
  return REAP_OK;
}

/* Sizes that this network has. */
static int check_counts(const reap_size_plan *p, const int64_t *counts) {
  for (int g = 0; g < p->n_groups; g++)
    if (counts[g] < 1 || counts[g] > p->channels[g] || (!p->chosen[g] && counts[g] != p->channels[g]))
      return reap_error(REAP_ERR_INPUT, "sizes of other groups than the network's");
  return REAP_OK;
}

/* What is given of a group stays that of the session if sizes are given, which have been compared. */
static int get_plan(const reap_checkpoint_file *f, reap_size_plan *p) {
  char name[16];
  int64_t *counts = NULL;
  REAP_TRY(reap_checkpoint_get_integers(f, "counts", p->n_groups, &counts));
  int status = check_counts(p, counts);
  if (status == REAP_OK) memcpy(p->counts, counts, (size_t)p->n_groups * sizeof *counts);
  reap_free(&counts);
  REAP_TRY(status);
  REAP_TRY(reap_checkpoint_get_number(f, "limit", &p->limit));
  REAP_TRY(reap_checkpoint_get_number(f, "cost", &p->cost));
  REAP_TRY(reap_checkpoint_get_number(f, "whole", &p->whole));
  REAP_TRY(reap_checkpoint_get_number(f, "predicted_loss", &p->predicted_loss));
  REAP_TRY(reap_checkpoint_get_number(f, "gap", &p->gap));
  REAP_TRY(reap_checkpoint_get_number(f, "coupled", &p->coupled));
  for (int g = 0; g < p->n_groups; g++) {
    snprintf(name, sizeof name, "kept_%d", g);
    reap_free(&p->given[g]);
    if (reap_checkpoint_has(f, name)) REAP_TRY(reap_checkpoint_get_integers(f, name, p->counts[g], &p->given[g]));
  }
  p->complete = true;
  return REAP_OK;
}

/* ------------------------------------------------------------------ writing */

enum { PILOTS = REAP_PATHS_TRIALS * (sizeof(reap_paths_trial) / sizeof(double)) };

static int put_list(reap_checkpoint_file *f, const reap_group_paths *paths) {
  REAP_TRY(reap_checkpoint_enter(f, "paths"));
  REAP_TRY(reap_checkpoint_put_paths(f, paths));
  REAP_TRY(reap_checkpoint_put_numbers(f, "pilots", PILOTS, &paths->trials->power));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

/* All of them, or those that are complete. */
static int put_paths(const reap_session *s, reap_checkpoint_file *f) {
  const session_checkpoint *c = &s->checkpoint;
  const int n_known = c->known ? c->known->n : 0;
  if (s->own_paths && s->own_paths->n > 0) return put_list(f, s->own_paths);
  if (c->stage > STAGE_BEGUN || n_known + c->n_fresh == 0) return REAP_OK;
  reap_group_paths all = c->n_fresh > 0 ? *c->fresh : *c->known; /* the paths in it are lent */
  all.n = n_known + c->n_fresh;
  REAP_TRY(reap_alloc(&all.paths, all.n, sizeof *all.paths));
  for (int k = 0; k < all.n; k++) all.paths[k] = k < n_known ? c->known->paths[k] : c->fresh->paths[k - n_known];
  const int status = put_list(f, &all);
  reap_free(&all.paths);
  return status;
}

static int put_all(const reap_session *s, reap_checkpoint_file *f) {
  const session_checkpoint *c = &s->checkpoint;
  session_identity identity;
  REAP_TRY(reap_session_identity(s, &identity));
  REAP_TRY(reap_checkpoint_enter(f, "run"));
  for (int i = 0; i < identity.n; i++)
    REAP_TRY(reap_checkpoint_put_text(f, identity.list[i].name, identity.list[i].text));
  reap_checkpoint_leave(f);
  REAP_TRY(reap_checkpoint_put_integer(f, "stage", c->stage));
  REAP_TRY(reap_checkpoint_put_integer(f, "steps_done", c->n));
  REAP_TRY(reap_checkpoint_put_number(f, "seconds", s->info.seconds_before + reap_seconds() - c->begun));
  REAP_TRY(put_paths(s, f));
  REAP_TRY(reap_checkpoint_put_integer(f, "trials_made", c->trials.n));
  REAP_TRY(reap_checkpoint_put_numbers(f, "trials", c->trials.n, c->trials.moved));
  if (c->stage < STAGE_PLAN) return REAP_OK;
  REAP_TRY(reap_checkpoint_enter(f, "plan"));
  REAP_TRY(put_plan(f, &s->info.plan));
  reap_checkpoint_leave(f);
  REAP_TRY(reap_checkpoint_enter(f, "steps"));
  for (int k = 0; k < c->n; k++) REAP_TRY(put_past(f, k, &c->past[k]));
  reap_checkpoint_leave(f);
  return REAP_OK;
}

/* Local, on rank 0. What cannot be written now can perhaps later; the run goes on. */
static void write_file(reap_session *s) {
  session_checkpoint *c = &s->checkpoint;
  reap_checkpoint_file *file = NULL;
  const double start = reap_seconds();
  int status = reap_checkpoint_begin(s->settings.checkpoint, &file);
  if (status == REAP_OK) status = put_all(s, file);
  if (status == REAP_OK) status = reap_checkpoint_commit(file);
  reap_checkpoint_close(&file);
  if (status != REAP_OK) reap_log(REAP_LOG_WARNING, "the checkpoint was not written: %s", reap_error_message());
  c->written = reap_seconds();
  c->cost = c->written - start;
}

static int stop(const reap_session *s) {
  const char *file = s->settings.checkpoint;
  if (!file) return reap_error(REAP_STOPPED, "stopped on request; nothing was written");
  if (!s->run)
    return reap_error(REAP_STOPPED, "stopped on request before the first step; %s has what was measured so far", file);
  return reap_error(REAP_STOPPED, "stopped on request after step %d of %d; %s has what was done", s->done,
                    reap_run_steps(s->run), file);
}

/* Whether any rank was asked to stop. Collective. */
static int stop_wanted(const reap_session *s, bool *wanted) {
  double asked = s->settings.stop && *s->settings.stop;
  *wanted = false;
  if (!s->settings.stop) return REAP_OK;
  REAP_TRY(reap_comm_max(s->comm, &asked, 1));
  *wanted = asked > 0;
  return REAP_OK;
}

static bool writes(const reap_session *s) { return s->settings.checkpoint && reap_comm_rank(s->comm) == 0; }

/* Unless that takes too long a part of the time. */
static void write_now_and_then(reap_session *s, bool now) {
  const session_checkpoint *c = &s->checkpoint;
  if (writes(s) && (now || SHARE * (reap_seconds() - c->written) >= c->cost)) write_file(s);
}

int reap_session_checkpoint_stage(reap_session *s, session_stage stage) {
  session_checkpoint *c = &s->checkpoint;
  bool wanted;
  const bool further = stage > c->stage;
  if (further) {
    c->stage = stage;
    c->trials.n = c->trials.next = 0;
    write_now_and_then(s, true);
  }
  REAP_TRY(stop_wanted(s, &wanted));
  return wanted ? stop(s) : REAP_OK;
}

static int trial_made(void *context) {
  reap_session *s = context;
  bool wanted;
  REAP_TRY(stop_wanted(s, &wanted));
  write_now_and_then(s, wanted);
  return wanted ? stop(s) : REAP_OK;
}

int reap_session_checkpoint_paths(void *session, const reap_group_paths *paths, int n) {
  session_checkpoint *c = &((reap_session *)session)->checkpoint;
  c->fresh = paths;
  c->n_fresh = n;
  const int status = trial_made(session);
  c->fresh = NULL; /* it may go once the caller goes on */
  c->n_fresh = 0;
  return status;
}

void reap_session_checkpoint_begin(reap_session *s) {
  s->checkpoint.trials.made = trial_made;
  s->checkpoint.trials.context = s;
  s->checkpoint.begun = reap_seconds();
}

/* The step last done, into past. */
static int note_step(session_checkpoint *c, const reap_run *run) {
  REAP_TRY(reap_grow(&c->past, c->n, c->n + 1, sizeof *c->past));
  memset(&c->past[c->n], 0, sizeof *c->past);
  return reap_run_take_past(run, &c->past[c->n++]);
}

int reap_session_checkpoint_step(reap_session *s) {
  session_checkpoint *c = &s->checkpoint;
  bool wanted;
  REAP_TRY(reap_comm_agree(s->comm, writes(s) ? note_step(c, s->run) : REAP_OK));
  if (!reap_run_may_pause(s->run)) return REAP_OK;
  REAP_TRY(stop_wanted(s, &wanted));
  write_now_and_then(s, wanted || s->done == reap_run_steps(s->run)); /* what comes after the steps takes a while */
  return wanted ? stop(s) : REAP_OK;
}

void reap_session_checkpoint_remove(const reap_session_settings *o) {
  if (o->checkpoint && unlink(o->checkpoint) == 0)
    reap_log(REAP_LOG_INFO, "%s removed: the run is complete", o->checkpoint);
}

/* ------------------------------------------------------------------ reading */

/* The first difference is told. */
static int compare(const reap_session *s, const reap_checkpoint_file *f) {
  session_identity identity;
  REAP_TRY(reap_session_identity(s, &identity));
  for (int i = 0; i < identity.n; i++) {
    const session_fact *fact = &identity.list[i];
    char *text = NULL;
    REAP_TRY(reap_checkpoint_get_text(f, fact->name, &text));
    int status = REAP_OK;
    if (strcmp(text, fact->text) != 0)
      status = reap_error(REAP_ERR_INPUT,
                          "is of another run: %s was \"%.80s\" there, and is \"%.80s\" here; resume with "
                          "what it was made with, or remove it",
                          fact->name, text, fact->text);
    reap_free(&text);
    REAP_TRY(status);
  }
  return REAP_OK;
}

static int get_steps(reap_session *s, reap_checkpoint_file *f) {
  session_checkpoint *c = &s->checkpoint;
  int64_t count;
  REAP_TRY(reap_checkpoint_get_integer(f, "steps_done", &count));
  if (count < 0 || count > s->network->graph->n_nodes + reap_groups_count(s->groups))
    return reap_error(REAP_ERR_INPUT, "%lld steps are more than there can be", (long long)count);
  REAP_TRY(reap_calloc(&c->past, count, sizeof *c->past));
  c->n = (int)count;
  REAP_TRY(reap_checkpoint_enter(f, "steps"));
  for (int k = 0; k < c->n; k++) REAP_TRY(get_past(f, k, &c->past[k]));
  reap_checkpoint_leave(f);
  c->n_read = c->n;
  return REAP_OK;
}

static int get_trials(const reap_checkpoint_file *f, reap_trial_ledger *l) {
  int64_t n;
  REAP_TRY(reap_checkpoint_get_integer(f, "trials_made", &n));
  if (n < 0) return reap_error(REAP_ERR_INPUT, "%lld trials cannot be", (long long)n);
  REAP_TRY(reap_checkpoint_get_numbers(f, "trials", n, &l->moved));
  l->n = n;
  return REAP_OK;
}

static int get_list(reap_checkpoint_file *f, reap_group_paths **paths) {
  double *pilots = NULL;
  REAP_TRY(reap_checkpoint_enter(f, "paths"));
  REAP_TRY(reap_checkpoint_get_paths(f, paths));
  REAP_TRY(reap_checkpoint_get_numbers(f, "pilots", PILOTS, &pilots));
  memcpy((*paths)->trials, pilots, sizeof(*paths)->trials);
  reap_free(&pilots);
  reap_checkpoint_leave(f);
  return REAP_OK;
}

static int get_all(reap_session *s, reap_checkpoint_file *f) {
  int64_t stage;
  REAP_TRY(reap_checkpoint_enter(f, "run"));
  REAP_TRY(compare(s, f));
  reap_checkpoint_leave(f);
  REAP_TRY(reap_checkpoint_get_integer(f, "stage", &stage));
  if (stage < STAGE_BEGUN || stage > STAGE_PLAN)
    return reap_error(REAP_ERR_INPUT, "there is no stage %lld", (long long)stage);
  s->checkpoint.stage = (session_stage)stage;
  REAP_TRY(reap_checkpoint_get_number(f, "seconds", &s->info.seconds_before));
  if (reap_checkpoint_has(f, "paths"))
    REAP_TRY(get_list(f, stage < STAGE_PATHS ? &s->checkpoint.known : &s->own_paths));
  if (s->checkpoint.known) REAP_TRY(reap_group_paths_match(s->checkpoint.known, s->groups, s->settings.checkpoint));
  REAP_TRY(get_trials(f, &s->checkpoint.trials));
  if (stage < STAGE_PLAN) return REAP_OK;
  s->info.paths = s->own_paths ? s->own_paths : s->info.paths;
  REAP_TRY(reap_checkpoint_enter(f, "plan"));
  REAP_TRY(get_plan(f, &s->info.plan));
  reap_checkpoint_leave(f);
  return get_steps(s, f);
}

/* Local. */
static int read_file(reap_session *s) {
  const char *path = s->settings.checkpoint;
  reap_checkpoint_file *file = NULL;
  int status = reap_checkpoint_open(path, &file);
  if (status == REAP_OK) status = get_all(s, file);
  reap_checkpoint_close(&file);
  if (status == REAP_OK || strncmp(reap_error_message(), path, strlen(path)) == 0) return status;
  return reap_error_prefix(status, "%s", path);
}

int reap_session_checkpoint_read(reap_session *s) {
  const session_checkpoint *c = &s->checkpoint;
  const char *path = s->settings.checkpoint;
  int there = 0;
  if (!s->settings.resume) return REAP_OK;
  if (reap_comm_rank(s->comm) == 0) there = access(path, F_OK) == 0;
  REAP_TRY(reap_comm_broadcast(s->comm, &there, sizeof there, 0));
  if (!there) {
    reap_log(REAP_LOG_INFO, "%s is not there: the run starts afresh", path);
    return REAP_OK;
  }
  REAP_TRY(reap_comm_agree(s->comm, read_file(s)));
  if (c->stage < STAGE_PLAN)
    reap_log(REAP_LOG_INFO, "resumed from %s, before the sizes were chosen%s", path,
             c->known ? " and with the losses of some groups" : "");
  else
    reap_log(REAP_LOG_INFO, "resumed from %s: the run goes on after step %d", path, c->n);
  return REAP_OK;
}

void reap_session_checkpoint_clear(session_checkpoint *c) {
  for (int k = 0; c->past && k < c->n; k++) reap_step_past_clear(&c->past[k]);
  reap_free(&c->past);
  reap_free(&c->trials.moved);
  reap_group_paths_destroy(&c->known);
  c->n = c->n_read = 0;
}
