#include "sweep_choices.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/progress/progress_view.h"
#include "prune/session/session_phases.h"
#include "prune/session/session_settings.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/method.h"
#include "sweep_progress.h"

/* Short text that differs when anything that the settings have in common does. */
static int hash_of(const reap_sweep_origin *origin, char digest[REAP_HASH_LENGTH]) {
  reap_hash *hash = NULL;
  int status = reap_hash_create(&hash);
  for (int i = 0; status == REAP_OK && i < origin->count; i++) {
    const reap_provenance_entry *e = &origin->entries[i];
    status = reap_hash_add(hash, e->key, strlen(e->key) + 1);
    if (status == REAP_OK) status = reap_hash_add(hash, e->value, strlen(e->value) + 1);
  }
  if (status == REAP_OK) status = reap_hash_finish(&hash, digest);
  reap_hash_destroy(&hash);
  return status;
}

/* Settings with the same key would make the same paths: those of all methods that reap stands in for, say. Seeds matter
 * where positions are drawn. */
static int key_of(const prune_options *o, const char *digest, char **out) {
  const reap_ratios ratios = reap_settings_ratios(&o->settings);
  const bool output = ratios == REAP_RATIOS_OUTPUT;
  char seed[32] = "";
  if (o->settings.positions != 0) snprintf(seed, sizeof seed, "-seed%lld", (long long)o->seed);
  return reap_format(out, "paths-%s%s%s%s-%.8s", reap_ratios_name(ratios), output ? "-" : "",
                     output ? reap_settings_sizes_method(&o->settings)->name : "", seed, digest);
}

/* The item of the setting, made if there is none yet. */
static int find(const sweep_folder *folder, const prune_options *o, const char *digest, sweep_choices *c, int *index) {
  char *key = NULL;
  REAP_TRY(key_of(o, digest, &key));
  for (*index = 0; *index < c->n; (*index)++)
    if (strcmp(c->items[*index].key, key) == 0) {
      reap_free(&key);
      return REAP_OK;
    }
  sweep_choice *item = &c->items[c->n++];
  item->key = key;
  const char *given = o->settings.from_paths;
  return given ? reap_strdup(&item->file, given) : reap_format(&item->file, "%s/%s.h5", folder->path, key);
}

static int make_items(const sweep_folder *folder, int count, const sweep_setting *settings, sweep_choices *c) {
  char digest[REAP_HASH_LENGTH];
  REAP_TRY(reap_calloc(&c->items, count, sizeof *c->items));
  REAP_TRY(reap_calloc(&c->of, count, sizeof *c->of));
  REAP_TRY(hash_of(&folder->origin, digest));
  for (int i = 0; i < count; i++) {
    c->of[i] = -1;
    if (reap_settings_need_losses(&settings[i].options.settings))
      REAP_TRY(find(folder, &settings[i].options, digest, c, &c->of[i]));
  }
  return REAP_OK;
}

/* Whether rank 0 sees the file. */
static int is_there(const reap_comm *comm, const char *file, bool *there) {
  *there = reap_comm_rank(comm) == 0 && access(file, R_OK) == 0;
  return reap_comm_broadcast(comm, there, sizeof *there, 0);
}

/* What is to come of a choice and, if it is the first, of the sweep. Local. */
static int expect_phases(const reap_session *session, int todo, sweep_progress *progress) {
  reap_session_phase phases[REAP_SESSION_PHASES];
  int n = 0;
  double sum = 0;
  REAP_TRY(reap_session_phases(session, &n, phases));
  for (int i = 0; i < n - 1; i++) {
    sum += phases[i].seconds;
    progress_model_expect(&progress->model, phases[i].name, phases[i].seconds);
  }
  if (progress->own > 0) return REAP_OK;
  progress_view_expect("choices", (double)progress->total * sum);
  progress_view_expect("sweep", todo * phases[n - 1].seconds); /* the last phase is that of the steps */
  return REAP_OK;
}

/* For one setting: paths into its item, times into the inputs. */
static int get(const reap_comm *comm, const reap_session_settings *wanted, const char *data_hash, sweep_choice *item,
               prune_inputs *inputs, int todo, sweep_progress *progress) {
  reap_session_settings settings = *wanted;
  reap_session *session = NULL;
  bool there = false;
  settings.progress = &progress->inside;
  settings.data_hash = data_hash;
  if (item && !item->paths && !settings.from_paths) {
    REAP_TRY(is_there(comm, item->file, &there));
    *(there ? &settings.from_paths : &settings.save_paths) = item->file;
  }
  int status = reap_session_create(comm, &inputs->network, inputs->calibration, &settings, &session);
  if (status == REAP_ERR_USAGE || status == REAP_ERR_INPUT) return REAP_OK; /* the setting itself will say why */
  REAP_TRY(status);
  reap_session_lend(session, item ? item->paths : NULL, inputs->latency);
  status = reap_comm_agree(comm, expect_phases(session, todo, progress));
  if (status == REAP_OK) status = reap_session_measure(session);
  if (!inputs->latency) inputs->latency = reap_session_take_latency(session);
  if (item && !item->paths) item->paths = reap_session_take_paths(session);
  reap_session_destroy(&session);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) sweep_progress_next(progress, NULL);
  return status;
}

/* Whether settings of this one's method, which are told once, get sizes of another method. */
static bool borrows(const sweep_setting *settings, int index) {
  const reap_session_settings *own = &settings[index].options.settings;
  const reap_method *sizes = reap_settings_sizes_method(own);
  for (int i = 0; i < index; i++)
    if (settings[i].options.settings.method == own->method && reap_settings_sizes_method(&settings[i].options.settings))
      return false;
  return sizes && sizes != own->method;
}

static void tell_whose(int count, const sweep_setting *settings) {
  for (int i = 0; i < count; i++)
    if (borrows(settings, i))
      reap_log(REAP_LOG_INFO, "method %s gets the sizes of %s: by its losses they are chosen",
               settings[i].options.method, reap_settings_sizes_method(&settings[i].options.settings)->name);
}

int sweep_choices_make(const command_context *context, const sweep_folder *folder, prune_inputs *inputs,
                       const char *data_hash, int count, const sweep_setting *settings, const bool *done,
                       sweep_choices *out) {
  const bool first = reap_comm_rank(context->comm) == 0;
  sweep_progress progress = {0};
  int todo = 0;
  memset(out, 0, sizeof *out);
  for (int i = 0; i < count; i++) todo += !done[i];
  REAP_TRY(reap_comm_agree(context->comm, make_items(folder, count, settings, out)));
  tell_whose(count, settings);
  for (int i = 0; i < count; i++) {
    sweep_choice *item = out->of[i] >= 0 ? &out->items[out->of[i]] : NULL;
    const bool times = prune_options_latency(&settings[i].options) && !inputs->latency;
    if (done[i] || (!times && (!item || item->paths))) continue;
    if (progress.total == 0) sweep_progress_start(&progress, "choices", first, NULL, out->n > 0 ? out->n : 1);
    sweep_progress_begin(&progress);
    REAP_TRY(get(context->comm, &settings[i].options.settings, data_hash, item, inputs, todo, &progress));
  }
  return REAP_OK;
}

void sweep_choices_clear(sweep_choices *c) {
  for (int i = 0; i < c->n; i++) {
    reap_free(&c->items[i].key);
    reap_free(&c->items[i].file);
    reap_group_paths_destroy(&c->items[i].paths);
  }
  reap_free(&c->items);
  reap_free(&c->of);
}

const reap_group_paths *sweep_choices_paths(const sweep_choices *c, int index) {
  return c->of[index] < 0 ? NULL : c->items[c->of[index]].paths;
}

const char *sweep_choices_file(const sweep_choices *c) {
  for (int i = 0; i < c->n; i++)
    if (access(c->items[i].file, R_OK) == 0) return c->items[i].file;
  return NULL;
}
