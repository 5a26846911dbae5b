#include "sweep_folder.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files/durable.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *const SUFFIX = ".h5";

static int add_entry(sweep_folder *f, const char *key, const char *value) {
  reap_provenance_entry *entry = &f->entries[f->origin.count];
  char *copy = NULL;
  REAP_TRY(reap_strdup(&copy, value));
  *entry = (reap_provenance_entry){key, copy};
  f->origin.count++;
  return REAP_OK;
}

/* Options are compared by their meaning, as "auto" may mean different things. */
static int add_option(sweep_folder *f, const option *o) {
  const common_options *common = &f->options->prune.common;
  if (strcmp(o->name, "--kernels") == 0)
    return add_entry(f, o->name, reap_backend_name(command_backend(common->kernels)));
  char *text = NULL;
  REAP_TRY(option_text(o, &text));
  int status = add_entry(f, o->name, text);
  reap_free(&text);
  return status;
}

static int make_origin(sweep_folder *f, const reap_source *source, const sweep_hashes *hashes) {
  enum { FIXED = 6 };
  const sweep_options *o = f->options;
  REAP_TRY(reap_calloc(&f->entries, o->n_common + FIXED, sizeof *f->entries));
  f->origin.entries = f->entries;
  REAP_TRY(add_entry(f, "model_sha256", reap_source_hash(source)));
  REAP_TRY(add_entry(f, o->prune.settings.from_stats ? "statistics_sha256" : "calibration_sha256", hashes->data));
  REAP_TRY(add_entry(f, "evaluation_sha256", hashes->evaluation));
  REAP_TRY(add_entry(f, "paths_sha256", hashes->paths));
  REAP_TRY(add_entry(f, "latency_table_sha256", hashes->latency));
  REAP_TRY(add_entry(f, "version of reap", REAP_VERSION));
  for (int i = 0; i < o->n_common; i++) REAP_TRY(add_option(f, &o->common[i]));
  return REAP_OK;
}

int sweep_folder_make(const sweep_options *options, const reap_source *source, const sweep_hashes *hashes,
                      sweep_folder *out) {
  memset(out, 0, sizeof *out);
  out->options = options;
  int status = reap_format(&out->path, "%s.d", options->prune.output);
  if (status == REAP_OK) status = make_origin(out, source, hashes);
  if (status != REAP_OK) sweep_folder_clear(out);
  return status;
}

void sweep_folder_clear(sweep_folder *f) {
  reap_lock_file_release(&f->lock);
  for (int i = 0; i < f->origin.count; i++) {
    char *value = (char *)(uintptr_t)f->entries[i].value;
    reap_free(&value);
  }
  for (int i = 0; i < f->n_others; i++) reap_free(&f->others[i]);
  f->origin.count = f->n_others = 0;
  reap_free(&f->others);
  reap_free(&f->entries);
  reap_free(&f->path);
}

static int file_of(const sweep_folder *f, const char *setting, char **out) {
  return reap_format(out, "%s/%s%s", f->path, setting, SUFFIX);
}

int sweep_folder_model(const sweep_folder *f, const char *setting, char **out) {
  const char *kind = f->options->save_models;
  *out = NULL;
  return kind ? reap_format(out, "%s/%s.%s", f->path, setting, strcmp(kind, "onnx") == 0 ? "onnx" : "model.h5")
              : REAP_OK;
}

static int read_setting(const sweep_folder *f, const char *name, reap_sweep_setting *out) {
  char *path = NULL;
  memset(out, 0, sizeof *out);
  REAP_TRY(file_of(f, name, &path));
  int status = reap_sweep_setting_read(path, &f->origin, out);
  if (status == REAP_OK) status = reap_strdup(&out->name, name);
  if (status != REAP_OK) reap_sweep_setting_clear(out);
  reap_free(&path);
  return status;
}

/* Whether a file's name is that of a setting: *name is the setting's then, owned by the caller. */
static int setting_of(const char *file, char **name) {
  const size_t length = strlen(file), suffix = strlen(SUFFIX);
  *name = NULL;
  if (length <= suffix || strcmp(file + length - suffix, SUFFIX) != 0 || strstr(file, ".model.h5") ||
      strncmp(file, "paths-", 6) == 0)
    return REAP_OK;
  return reap_strndup(name, file, length - suffix);
}

/* Checks one file, and finds out whose it is. */
static int take_up(sweep_folder *f, const char *file, int count, const sweep_setting *settings, bool *done) {
  reap_sweep_setting found;
  char *name = NULL;
  REAP_TRY(setting_of(file, &name));
  if (!name) return REAP_OK;
  int status = read_setting(f, name, &found);
  if (status == REAP_OK) reap_sweep_setting_clear(&found);
  bool asked = false;
  for (int i = 0; status == REAP_OK && i < count; i++) {
    if (strcmp(settings[i].name, name) != 0) continue;
    char *model = NULL;
    asked = true;
    status = sweep_folder_model(f, name, &model);
    done[i] = status == REAP_OK && (!model || access(model, F_OK) == 0);
    reap_free(&model);
  }
  if (status == REAP_OK && !asked) status = reap_grow(&f->others, f->n_others, f->n_others + 1, sizeof *f->others);
  if (status == REAP_OK && !asked) {
    f->others[f->n_others++] = name;
    return REAP_OK;
  }
  reap_free(&name);
  return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int sweep_folder_claim(sweep_folder *f) {
  char *lock = NULL;
  if (mkdir(f->path, 0777) != 0 && errno != EEXIST) return reap_durable_error(f->path, "cannot be created");
  if (!f->options->no_merge) {
    REAP_TRY(reap_format(&lock, "%s/lock", f->path));
    int status = reap_lock_file_take(lock, f->path, &f->lock);
    reap_free(&lock);
    if (status == REAP_ERR_INPUT) {
      char reason[REAP_ERROR_LENGTH];
      strcpy(reason, reap_error_message());
      reap_error(status, "%s; wait for that sweep, or name another output (tasks with --no-merge may share a folder)",
                 reason);
    }
    REAP_TRY(status);
  }
  REAP_TRY(reap_durable_tidy_folder(f->path));
  return REAP_OK;
}

static int check_output(const run_files *files, int status, char **path) {
  if (status == REAP_OK && *path) status = run_files_check_output(files, *path);
  reap_free(path);
  return status;
}

int sweep_folder_check_outputs(const sweep_folder *f, int count, const sweep_setting *settings,
                               const run_files *files) {
  for (int i = 0; i < count; i++) {
    char *path = NULL;
    REAP_TRY(check_output(files, file_of(f, settings[i].name, &path), &path));
    REAP_TRY(check_output(files, sweep_folder_model(f, settings[i].name, &path), &path));
  }
  return REAP_OK;
}

int sweep_folder_scan(sweep_folder *f, int count, const sweep_setting *settings, bool *done) {
  DIR *folder = opendir(f->path);
  if (!folder) return reap_durable_error(f->path, "cannot be read");
  int status = REAP_OK;
  for (const struct dirent *entry; status == REAP_OK && (entry = readdir(folder));)
    status = take_up(f, entry->d_name, count, settings, done);
  closedir(folder);
  if (f->n_others > 0) qsort(f->others, (size_t)f->n_others, sizeof *f->others, by_name);
  if (status != REAP_ERR_INPUT) return status;
  char reason[REAP_ERROR_LENGTH];
  strcpy(reason, reap_error_message());
  return reap_error(status, "%s; to start afresh, remove %s or name another output", reason, f->path);
}

int sweep_folder_write(const sweep_folder *f, const sweep_setting *setting, const prune_run *run, const char *report,
                       double seconds) {
  const bool evaluated = run->inputs->evaluation != NULL;
  const reap_evaluation *e = &run->after;
  const reap_graph *pruned = reap_session_graph(run->session);
  const bool classified = evaluated && e->classified, compared = evaluated && e->compared;
  char *path = NULL;
  const reap_sweep_setting record = {.name = setting->name,
                                     .method = (char *)(uintptr_t)setting->options.method,
                                     .ratios = (char *)(uintptr_t)setting->ratios,
                                     .budget = (char *)(uintptr_t)setting->budget,
                                     .report = (char *)(uintptr_t)report,
                                     .value = setting->value,
                                     .seed = setting->options.seed,
                                     .flops = reap_graph_flops(pruned),
                                     .params = reap_graph_params(pruned),
                                     .top1 = classified ? e->top1 : NAN,
                                     .top5 = classified ? e->top5 : NAN,
                                     .loss = classified ? e->loss : NAN,
                                     .kl = compared ? e->kl : NAN,
                                     .output_error = compared ? e->output_error : NAN,
                                     .seconds = seconds};
  REAP_TRY(file_of(f, setting->name, &path));
  int status = reap_sweep_setting_write(path, &record, &f->origin);
  reap_free(&path);
  return status;
}

static double number_in(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItem(object, name);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* The original network's figures, as the settings' reports tell them. */
static int baseline_of(const reap_sweep_setting *setting, reap_sweep_setting *out, bool *found) {
  cJSON *report = cJSON_Parse(setting->report);
  REAP_TRY(reap_error_prefix(json_status(), "the report of setting %s", setting->name));
  const cJSON *object = cJSON_GetObjectItem(report, "baseline");
  const double flops = number_in(object, "flops"), params = number_in(object, "params");
  *out = (reap_sweep_setting){
      .top1 = number_in(object, "top1"), .top5 = number_in(object, "top5"), .loss = number_in(object, "loss")};
  *found = flops >= 0 && params >= 0;
  if (*found) {
    out->flops = (int64_t)flops;
    out->params = (int64_t)params;
  }
  cJSON_Delete(report);
  return REAP_OK;
}

int sweep_folder_collect(const sweep_folder *f, int count, const sweep_setting *settings, const bool *done, int *n,
                         reap_sweep_setting **out) {
  int status = REAP_OK;
  *n = 0;
  REAP_TRY(reap_calloc(out, count + f->n_others, sizeof **out));
  for (int i = 0; status == REAP_OK && i < count + f->n_others; i++) {
    if (i < count && !done[i]) continue;
    status = read_setting(f, i < count ? settings[i].name : f->others[i - count], &(*out)[*n]);
    *n += status == REAP_OK;
  }
  return status;
}

void sweep_folder_release(int n, reap_sweep_setting **settings) {
  for (int i = 0; *settings && i < n; i++) reap_sweep_setting_clear(&(*settings)[i]);
  reap_free(settings);
}

int sweep_folder_merge(const sweep_folder *f, int n, const reap_sweep_setting *settings, int n_failures,
                       const reap_sweep_failure *failures, const char *paths_file) {
  reap_sweep_setting baseline;
  reap_sweep_contents contents = {.n_settings = n,
                                  .settings = settings,
                                  .n_failures = n_failures,
                                  .failures = failures,
                                  .paths_file = paths_file,
                                  .origin = f->origin};
  bool found = false;
  if (n > 0) REAP_TRY(baseline_of(&settings[0], &baseline, &found));
  if (found) contents.baseline = &baseline;
  return reap_sweep_file_write(f->options->prune.output, &contents);
}
