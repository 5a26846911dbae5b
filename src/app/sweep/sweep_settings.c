#include "sweep_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prune/session/session_settings.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *const budgets[] = {"--keep", "--flops", "--params", "--latency", NULL};
static const char *const grid[] = {"--method", "--ratios", "--seed", NULL};
/* What belongs to a single run. */
static const char *const left_out[] = {
    "--onnx",     "--report",     "--save-stats", "--activations", "--save-plan", "--plan", "--max-kl",
    "--max-drop", "--save-paths", "--dry-run",    "--checkpoint",  "--resume",    NULL};
static bool is_one_of(const char *name, const char *const *names) {
  for (; *names; names++)
    if (strcmp(name, *names) == 0) return true;
  return false;
}

/* The option as a list of values. */
static option make_list(sweep_options *o, const option *single) {
  static const struct {
    const char *single, *list;
  } arguments[] = {{"F", "F,..."}, {"S", "S,..."}, {"F|MSms", "F|MSms,..."}};
  sweep_list *list = &o->lists[o->n_lists++];
  *list = (sweep_list){.single = *single, .budget = is_one_of(single->name, budgets)};
  option many = *single;
  many.kind = OPTION_LIST;
  many.target = &list->text;
  for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++)
    if (strcmp(single->argument, arguments[i].single) == 0) many.argument = arguments[i].list;
  return many;
}

static int add_own(sweep_options *o, int n) {
  const option own[] = {
      {"The sweep:", NULL, OPTION_HEADING, NULL, NULL, NULL, 0},
      {"--groups", NULL, OPTION_INT, "G",
       "groups of ranks, each with one setting at a time (default: the number\nthat should take the least time)",
       &o->groups, 1},
      {"--save-models", NULL, OPTION_CHOICE, "h5|onnx", "keep the pruned model of every setting", &o->save_models, 0},
      {"--no-merge", NULL, OPTION_FLAG, NULL, "do not write SWEEP.h5; a later launch merges (job arrays)", &o->no_merge,
       0}};
  memcpy(o->table + n, own, sizeof own);
  return n + (int)(sizeof own / sizeof own[0]);
}

void sweep_options_table(sweep_options *o) {
  option single[PRUNE_OPTIONS_MOST];
  int n = 0;
  prune_options_table(&o->prune, single);
  for (const option *p = single; p->name; p++) {
    const bool heading = p->kind == OPTION_HEADING;
    if (!heading && is_one_of(p->name, left_out)) continue;
    if (heading && strcmp(p->name, "Running:") == 0) n = add_own(o, n);
    const bool list =
        !heading && o->n_lists < SWEEP_LISTS_MOST && (is_one_of(p->name, budgets) || is_one_of(p->name, grid));
    o->table[n] = list ? make_list(o, p) : *p;
    if (!heading && strcmp(p->name, "--output") == 0) {
      o->table[n].argument = "SWEEP.h5";
      o->table[n].help = "all results in one file; SWEEP.h5.d/ keeps those of single settings;\nrequired";
    }
    n++;
    if (!heading && !list && prune_option_decides(p->name)) o->common[o->n_common++] = *p;
  }
  o->table[n] = (option){.name = NULL};
}

/* Splits at commas. */
static int split(sweep_list *list) {
  const char *text = list->text;
  int most = 1;
  for (const char *c = text; *c; c++) most += *c == ',';
  REAP_TRY(reap_calloc(&list->values, most, sizeof *list->values));
  while (list->count < most) {
    const size_t length = strcspn(text, ",");
    REAP_TRY(reap_strndup(&list->values[list->count++], text, length));
    text += length + 1;
  }
  return REAP_OK;
}

/* A target of the common options, in a setting's copy of them. */
static void *target_in(const sweep_options *o, prune_options *copy, const option *single) {
  return (char *)copy + ((const char *)single->target - (const char *)&o->prune);
}

static int put(const sweep_options *o, sweep_setting *setting, const sweep_list *list, int k) {
  option one = list->single;
  one.target = target_in(o, &setting->options, &list->single);
  REAP_TRY(option_store(o->prune.title, &one, list->values[k]));
  if (!list->budget) return REAP_OK;
  setting->budget = list->single.name + 2;
  setting->unit = option_read_share(list->values[k], &setting->value) ? "" : "ms";
  return REAP_OK;
}

static int make_name(sweep_setting *s) {
  char value[64];
  option_number(s->value, value);
  s->ratios = reap_ratios_name(reap_settings_ratios(&s->options.settings));
  return reap_format(&s->name, "%s-%s-%s-%s%s-seed%lld", s->options.method, s->ratios, s->budget, value, s->unit,
                     (long long)s->options.seed);
}

/* Setting `index` of the grid: the budgets run fastest, as one list of all kinds; then the last of the other lists. */
static int make_setting(const sweep_options *o, int64_t index, int64_t n_budgets, sweep_setting *s) {
  s->options = o->prune;
  int64_t budget = index % n_budgets, rest = index / n_budgets;
  bool ratios = false; /* several ways to choose sizes */
  for (int i = 0; i < o->n_lists; i++) {
    const sweep_list *list = &o->lists[i];
    if (!list->budget) continue;
    if (budget >= 0 && budget < list->count) REAP_TRY(put(o, s, list, (int)budget));
    budget -= list->count;
  }
  for (int i = o->n_lists - 1; i >= 0; i--) {
    const sweep_list *list = &o->lists[i];
    if (list->budget || list->count == 0) continue;
    if (strcmp(list->single.name, "--ratios") == 0) ratios = list->count > 1;
    REAP_TRY(put(o, s, list, (int)(rest % list->count)));
    rest /= list->count;
  }
  REAP_TRY(prune_options_read(&s->options));
  if (s->options.settings.scope == REAP_SCOPE_AUTO) s->options.settings.scope = REAP_SCOPE_INNER; /* one for all */
  /* Beside sizes that are chosen, uniform ones leave the paths to those. */
  if (ratios && s->options.settings.ratios == REAP_RATIOS_UNIFORM) s->options.settings.from_paths = NULL;
  REAP_TRY(prune_options_check(&s->options));
  return make_name(s);
}

static int check_different(const char *title, int count, const sweep_setting *settings) {
  for (int i = 0; i < count; i++)
    for (int k = 0; k < i; k++)
      if (strcmp(settings[i].name, settings[k].name) == 0)
        return reap_error(REAP_ERR_USAGE, "%s: the setting %s is asked for twice", title, settings[i].name);
  return REAP_OK;
}

int sweep_settings_make(sweep_options *o, int *count, sweep_setting **out) {
  enum { MOST = 100000 };
  int64_t n_budgets = 0, n = 1;
  for (int i = 0; i < o->n_lists; i++) {
    sweep_list *list = &o->lists[i];
    if (list->text) REAP_TRY(split(list));
    if (list->budget)
      n_budgets += list->count;
    else if (list->count > 0)
      REAP_TRY(reap_multiply(n, list->count, &n));
  }
  if (n_budgets == 0)
    return reap_error(REAP_ERR_USAGE, "%s: no budget is given; give one or more, as in --flops 0.9,0.8",
                      o->prune.title);
  REAP_TRY(reap_multiply(n, n_budgets, &n));
  if (n > MOST)
    return reap_error(REAP_ERR_USAGE, "%s: these lists make %lld settings; at most %d", o->prune.title, (long long)n,
                      MOST);
  REAP_TRY(reap_calloc(out, n, sizeof **out));
  for (*count = 0; *count < n;) {
    const int k = (*count)++;
    REAP_TRY(make_setting(o, k, n_budgets, &(*out)[k]));
  }
  return check_different(o->prune.title, *count, *out);
}

void sweep_settings_clear(int count, sweep_setting **settings) {
  for (int i = 0; *settings && i < count; i++) reap_free(&(*settings)[i].name);
  reap_free(settings);
}

void sweep_options_clear(sweep_options *o) {
  for (int i = 0; i < o->n_lists; i++) {
    for (int k = 0; k < o->lists[i].count; k++) reap_free(&o->lists[i].values[k]);
    reap_free(&o->lists[i].values);
  }
}
