/* The merged file of a sweep. */
#include "sweep_file.h"

#include <stddef.h>
#include <string.h>

#include "io/hdf5/hdf5_strings.h"
#include "paths_file.h"
#include "paths_groups.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "sweep_setting.h"

/* Columns of the table, by the member that they show. */
typedef enum column_kind { TEXT, INTEGER, NUMBER } column_kind;

typedef struct column {
  const char *name;
  column_kind kind;
  size_t offset;
} column;

#define COLUMN(member, kind) \
  { #member, kind, offsetof(reap_sweep_setting, member) }

static const column columns[] = {COLUMN(name, TEXT),           COLUMN(method, TEXT),    COLUMN(ratios, TEXT),
                                 COLUMN(budget, TEXT),         COLUMN(value, NUMBER),   COLUMN(seed, INTEGER),
                                 COLUMN(flops, INTEGER),       COLUMN(params, INTEGER), COLUMN(top1, NUMBER),
                                 COLUMN(top5, NUMBER),         COLUMN(loss, NUMBER),    COLUMN(kl, NUMBER),
                                 COLUMN(output_error, NUMBER), COLUMN(seconds, NUMBER)};

static const char *member(const reap_sweep_contents *contents, int64_t setting, const column *c) {
  return (const char *)&contents->settings[setting] + c->offset;
}

/* All entries of a column in a row; every kind of number takes 8 bytes. */
static int write_numbers(hid_t table, const column *c, const reap_sweep_contents *contents) {
  const int64_t count = contents->n_settings;
  unsigned char *values = NULL;
  _Static_assert(sizeof(double) == 8 && sizeof(int64_t) == 8, "columns of 8 bytes");
  REAP_TRY(reap_alloc(&values, count, 8));
  for (int64_t i = 0; i < count; i++) memcpy(values + 8 * i, member(contents, i, c), 8);
  int status =
      reap_h5_write_vector(table, c->name, c->kind == INTEGER ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, count, values);
  reap_free(&values);
  return status;
}

static int write_texts(hid_t table, const column *c, const reap_sweep_contents *contents) {
  const int64_t count = contents->n_settings;
  const char **list = NULL;
  char *texts = NULL;
  size_t length = 0;
  REAP_TRY(reap_alloc(&list, count, sizeof *list));
  for (int64_t i = 0; i < count; i++) memcpy(&list[i], member(contents, i, c), sizeof list[i]);
  int status = reap_h5_pack_strings(count, list, &length, &texts);
  hid_t type = status == REAP_OK ? reap_h5_string_type(length) : REAP_H5_NONE;
  if (status == REAP_OK)
    status = type >= 0 ? reap_h5_write_vector(table, c->name, type, count, texts) : reap_h5_error(table, c->name);
  reap_h5_close(&type);
  reap_free(&texts);
  reap_free(&list);
  return status;
}

static int write_table(hid_t file, const reap_sweep_contents *contents) {
  hid_t table = REAP_H5_NONE;
  int status = reap_h5_create_group(file, "table", &table);
  for (size_t i = 0; status == REAP_OK && i < sizeof columns / sizeof columns[0]; i++)
    status = columns[i].kind == TEXT ? write_texts(table, &columns[i], contents)
                                     : write_numbers(table, &columns[i], contents);
  reap_h5_close(&table);
  return status;
}

static int write_setting(hid_t settings, const reap_sweep_setting *setting) {
  hid_t group = REAP_H5_NONE;
  REAP_TRY(reap_h5_create_group(settings, setting->name, &group));
  int status = reap_sweep_write_attributes(group, setting);
  if (status == REAP_OK) status = reap_sweep_write_report(group, setting->report);
  reap_h5_close(&group);
  return status;
}

static int write_settings(hid_t file, const reap_sweep_contents *contents) {
  hid_t settings = REAP_H5_NONE;
  REAP_TRY(reap_h5_create_group(file, "settings", &settings));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < contents->n_settings; i++)
    status = write_setting(settings, &contents->settings[i]);
  reap_h5_close(&settings);
  return status;
}

static int write_failures(hid_t file, const reap_sweep_contents *contents) {
  hid_t failed = REAP_H5_NONE, group = REAP_H5_NONE;
  if (contents->n_failures == 0) return REAP_OK;
  REAP_TRY(reap_h5_create_group(file, "failed", &failed));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < contents->n_failures; i++) {
    status = reap_h5_create_group(failed, contents->failures[i].name, &group);
    if (status == REAP_OK) status = reap_h5_write_string(group, "error", contents->failures[i].error);
    reap_h5_close(&group);
  }
  reap_h5_close(&failed);
  return status;
}

static int write_baseline(hid_t file, const reap_sweep_setting *baseline) {
  hid_t group = REAP_H5_NONE;
  if (!baseline) return REAP_OK;
  REAP_TRY(reap_h5_create_group(file, "baseline", &group));
  int status = reap_sweep_write_figures(group, baseline);
  reap_h5_close(&group);
  return status;
}

/* Read and written anew, not copied as it stands: nothing in the file is trusted. */
static int write_paths(hid_t file, const char *path) {
  reap_group_paths *paths = NULL;
  if (!path) return REAP_OK;
  REAP_TRY(reap_paths_file_read(path, &paths));
  const int status = reap_paths_write_groups(file, paths);
  reap_group_paths_destroy(&paths);
  return status;
}

static int fill(hid_t file, const void *context) {
  const reap_sweep_contents *contents = context;
  REAP_TRY(reap_sweep_write_origin(file, &contents->origin));
  REAP_TRY(write_baseline(file, contents->baseline));
  REAP_TRY(write_table(file, contents));
  REAP_TRY(write_settings(file, contents));
  REAP_TRY(write_failures(file, contents));
  return write_paths(file, contents->paths_file);
}

int reap_sweep_file_write(const char *path, const reap_sweep_contents *contents) {
  return reap_h5_write_file(path, "reap-sweep", fill, contents);
}
