#include "prune_notes.h"

#include <string.h>

#include "app/json/json.h"
#include "base/text.h"
#include "plan_file.h"
#include "reap/error.h"
#include "reap/memory.h"

static int add_option(const option *o, const option *plain, char **line) {
  char *text = NULL, *usual = NULL;
  int status = option_text(o, &text);
  if (status == REAP_OK) status = option_text(plain, &usual);
  if (status == REAP_OK && strcmp(text, usual) != 0) {
    status = options_add_word(line, o->name);
    if (status == REAP_OK) status = options_add_word(line, text);
  }
  reap_free(&usual);
  reap_free(&text);
  return status;
}

static int make_command(const prune_options *given, char **line) {
  prune_options options = *given, defaults = PRUNE_DEFAULTS(given->title);
  option table[PRUNE_OPTIONS_MOST], plain[PRUNE_OPTIONS_MOST];
  prune_options_table(&options, table);
  prune_options_table(&defaults, plain);
  REAP_TRY(reap_strdup(line, "reap prune"));
  for (int i = 0; table[i].name; i++)
    if (table[i].kind != OPTION_HEADING && prune_option_decides(table[i].name))
      REAP_TRY(add_option(&table[i], &plain[i], line));
  return REAP_OK;
}

static int make_plan(const prune_run *run, char **text) {
  const reap_size_plan *plan = &run->info->plan;
  cJSON *object = cJSON_CreateObject();
  plan_file_add_groups(reap_session_groups(run->session), plan->chosen, plan->counts, plan->given, object);
  const int status = json_print(object, false, text);
  cJSON_Delete(object);
  return status;
}

static int add_all(const prune_run *run, const char *line, const char *plan, reap_source *source) {
  const bool stats = run->options->settings.from_stats != NULL;
  REAP_TRY(reap_source_note(source, "reap.command", line));
  REAP_TRY(reap_source_note(source, "reap.plan", plan));
  REAP_TRY(reap_source_note(source, "reap.model_sha256", reap_source_hash(run->inputs->network.source)));
  return reap_source_note(source, stats ? "reap.statistics_sha256" : "reap.calibration_sha256", run->info->data_hash);
}

int prune_notes_add(const prune_run *run, reap_source *source) {
  char *line = NULL, *escaped = NULL, *plan = NULL;
  int status = make_command(run->options, &line);
  if (status == REAP_OK) status = reap_text_escaped(line, &escaped); /* texts in ONNX are UTF-8 */
  if (status == REAP_OK) status = make_plan(run, &plan);
  if (status == REAP_OK) status = add_all(run, escaped, plan, source);
  reap_free(&plan);
  reap_free(&escaped);
  reap_free(&line);
  return status;
}
