#include "sweep_choices.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/prune_latency.h"
#include "app/prune_paths.h"
#include "io/paths_file.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/method.h"

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

/* Settings with the same key would make the same paths: seeds matter where positions or channels are drawn. */
static int key_of(const prune_options *o, const char *digest, char **out) {
  const bool output = strcmp(prune_plan_ratios(o), "output") == 0;
  const bool drawn = o->positions > 0 || (output && (reap_method_find(o->method)->needs & REAP_NEEDS_SEED));
  char seed[32] = "";
  if (drawn) snprintf(seed, sizeof seed, "-seed%lld", (long long)o->seed);
  return reap_format(out, "paths-%s%s%s%s-%.8s", prune_plan_ratios(o), output ? "-" : "", output ? o->method : "", seed,
                     digest);
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
  return o->from_paths ? reap_strdup(&item->file, o->from_paths)
                       : reap_format(&item->file, "%s/%s.h5", folder->path, key);
}

static int make_items(const sweep_folder *folder, int count, const sweep_setting *settings, sweep_choices *c) {
  char digest[REAP_HASH_LENGTH];
  REAP_TRY(reap_calloc(&c->items, count, sizeof *c->items));
  REAP_TRY(reap_calloc(&c->of, count, sizeof *c->of));
  REAP_TRY(hash_of(&folder->origin, digest));
  for (int i = 0; i < count; i++) {
    c->of[i] = -1;
    if (prune_plan_losses(&settings[i].options)) REAP_TRY(find(folder, &settings[i].options, digest, c, &c->of[i]));
  }
  return REAP_OK;
}

/* Whether rank 0 sees the file. */
static int is_there(const reap_comm *comm, const char *file, bool *there) {
  *there = reap_comm_rank(comm) == 0 && access(file, R_OK) == 0;
  return reap_comm_broadcast(comm, there, sizeof *there, 0);
}

/* For one setting: paths into its item, times into the inputs. */
static int get(const command_context *context, const sweep_setting *setting, sweep_choice *item, prune_inputs *inputs,
               const reap_progress *progress) {
  prune_options options = setting->options;
  prune_inputs own = *inputs;
  prune_run run = {.context = context, .options = &options, .inputs = &own, .progress = progress};
  bool there = false;
  int status = REAP_OK;
  own.paths = NULL;
  if (item && !options.from_paths) {
    REAP_TRY(is_there(context->comm, item->file, &there));
    *(there ? &options.from_paths : &options.save_paths) = item->file;
  }
  const int planned = prune_run_plan(&run);
  const bool possible = planned == REAP_OK;
  if (planned != REAP_ERR_USAGE && planned != REAP_ERR_INPUT)
    status = planned; /* else the setting itself will say why */
  if (possible) status = prune_latency_get(context, &options, run.groups, progress, &own);
  if (possible && status == REAP_OK && item) status = prune_paths_get(&run);
  status = reap_comm_agree(context->comm, status);
  prune_run_clear(&run);
  inputs->latency = own.latency;
  if (item) {
    item->paths = own.paths;
    memcpy(item->trials, own.trials, sizeof item->trials);
  }
  return status;
}

int sweep_choices_make(const command_context *context, const sweep_folder *folder, prune_inputs *inputs, int count,
                       const sweep_setting *settings, const bool *done, const reap_progress *progress,
                       sweep_choices *out) {
  memset(out, 0, sizeof *out);
  REAP_TRY(reap_comm_agree(context->comm, make_items(folder, count, settings, out)));
  for (int i = 0; i < count; i++) {
    sweep_choice *item = out->of[i] >= 0 ? &out->items[out->of[i]] : NULL;
    const bool times = prune_options_latency(&settings[i].options) && !inputs->latency;
    if (done[i] || (!times && (!item || item->paths))) continue;
    REAP_TRY(get(context, &settings[i], item && !item->paths ? item : NULL, inputs, progress));
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

prune_inputs sweep_choices_inputs(const sweep_choices *c, const prune_inputs *inputs, int index) {
  prune_inputs copy = *inputs;
  if (c->of[index] < 0) return copy;
  const sweep_choice *item = &c->items[c->of[index]];
  copy.paths = item->paths;
  memcpy(copy.trials, item->trials, sizeof copy.trials);
  return copy;
}

const char *sweep_choices_file(const sweep_choices *c) {
  for (int i = 0; i < c->n; i++)
    if (access(c->items[i].file, R_OK) == 0) return c->items[i].file;
  return NULL;
}
