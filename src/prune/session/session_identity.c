#include "session_identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "exec/output_set.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "session_state.h"

static session_fact *next(session_identity *x, const char *name) {
  session_fact *fact = &x->list[x->n < SESSION_FACTS ? x->n++ : SESSION_FACTS - 1];
  fact->name = name;
  return fact;
}

static int hash_bytes(const void *data, size_t bytes, char digest[REAP_HASH_LENGTH]) {
  reap_hash *hash = NULL;
  int status = reap_hash_create(&hash);
  if (status == REAP_OK) status = reap_hash_add(hash, data, bytes);
  if (status == REAP_OK) status = reap_hash_finish(&hash, digest);
  reap_hash_destroy(&hash);
  return status;
}

static void add_integer(session_identity *x, const char *name, int64_t value) {
  snprintf(next(x, name)->text, sizeof x->list->text, "%" PRId64, value);
}

static void add_number(session_identity *x, const char *name, double value) {
  snprintf(next(x, name)->text, sizeof x->list->text, "%.17g", value);
}

static int add_text(session_identity *x, const char *name, const char *text) {
  session_fact *fact = next(x, name);
  if (text && strlen(text) >= sizeof fact->text) return hash_bytes(text, strlen(text), fact->text);
  snprintf(fact->text, sizeof fact->text, "%s", text ? text : "");
  return REAP_OK;
}

/* "" for no file. */
static int add_file(session_identity *x, const char *name, const char *path) {
  session_fact *fact = next(x, name);
  fact->text[0] = '\0';
  return path ? reap_hash_file(path, fact->text) : REAP_OK;
}

/* Kinds of the outputs, which sizes go by. */
static int add_outputs(session_identity *x, const reap_graph *graph) {
  reap_output_set outputs;
  REAP_TRY(reap_output_set_create(graph, &outputs));
  session_fact *fact = next(x, "outputs");
  fact->text[0] = '\0';
  for (int k = 0; k < outputs.n; k++) {
    const size_t length = strlen(fact->text);
    snprintf(fact->text + length, sizeof fact->text - length, "%d ", (int)outputs.list[k].kind);
  }
  reap_output_set_clear(&outputs);
  return REAP_OK;
}

/* Sizes that were given, and channels, as one hash. */
static int add_sizes(session_identity *x, const reap_session *s) {
  const reap_size_plan *p = &s->info.plan;
  int64_t *all = NULL, count = p->n_groups, at = 0;
  session_fact *fact = next(x, "sizes");
  fact->text[0] = '\0';
  if (s->settings.budget != REAP_BUDGET_SIZES) return REAP_OK;
  for (int g = 0; g < p->n_groups; g++) count += p->given[g] ? p->counts[g] : 0;
  REAP_TRY(reap_alloc(&all, count, sizeof *all));
  for (int g = 0; g < p->n_groups; g++) {
    all[at++] = p->given[g] ? -p->counts[g] : p->counts[g];
    for (int64_t k = 0; p->given[g] && k < p->counts[g]; k++) all[at++] = p->given[g][k];
  }
  const int status = hash_bytes(all, (size_t)count * sizeof *all, fact->text);
  reap_free(&all);
  return status;
}

static int add_files(session_identity *x, const reap_session *s) {
  const reap_session_settings *o = &s->settings;
  REAP_TRY(add_text(x, "model_sha256", reap_source_hash(s->network->source)));
  REAP_TRY(add_text(x, o->from_stats ? "statistics_sha256" : "calibration_sha256", s->info.data_hash));
  REAP_TRY(add_file(x, "paths_sha256", o->from_paths));
  REAP_TRY(add_outputs(x, s->network->graph));
  return add_sizes(x, s);
}

int reap_session_identity(const reap_session *s, session_identity *x) {
  const reap_session_settings *o = &s->settings;
  x->n = 0;
  REAP_TRY(add_text(x, "version", REAP_VERSION));
  REAP_TRY(add_files(x, s));
  REAP_TRY(add_text(x, "budget", reap_budget_name(o->budget)));
  if (o->budget != REAP_BUDGET_SIZES) add_number(x, "amount", o->amount);
  REAP_TRY(add_text(x, "ratios", reap_ratios_name(o->ratios)));
  REAP_TRY(add_text(x, "measure", o->measure == REAP_MEASURE_SUM ? "sum" : "largest"));
  REAP_TRY(add_text(x, "min_keep", o->min_keep));
  REAP_TRY(add_text(x, "scope", o->scope == REAP_SCOPE_ALL ? "all" : "inner"));
  add_integer(x, "multiple_of", o->multiple_of);
  REAP_TRY(add_text(x, "exclude", o->exclude));
  REAP_TRY(add_text(x, "method", o->method->name));
  REAP_TRY(add_text(x, "refit", o->refit == REAP_REFIT_METHOD ? "method" : o->refit ? "ls" : "none"));
  REAP_TRY(add_text(x, "repair", o->repair ? "on" : "off"));
  add_integer(x, "producers", o->producer_rounds);
  add_integer(x, "classifier", o->temperature_scaling);
  add_integer(x, "views", o->views);
  add_number(x, "ridge", o->ridge);
  REAP_TRY(add_text(x, "ridge_rule", reap_ridge_rule_name(o->ridge_rule)));
  add_integer(x, "solver", o->solver);
  add_integer(x, "images", o->images);
  add_integer(x, "positions", o->positions);
  add_integer(x, "seed", (int64_t)o->seed);
  add_integer(x, "path_sizes", o->path_sizes);
  add_integer(x, "path_images", o->path_images);
  add_integer(x, "path_least", o->path_least);
  return add_text(x, "kernels", reap_backend_name(o->backend));
}
