/* The merged file of a sweep. */
#include "reap/sweep_file.h"

#include <stddef.h>

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

#define COLUMN(member, kind) {#member, kind, offsetof(reap_sweep_setting, member)}

static const column columns[] = {
    COLUMN(name, TEXT),     COLUMN(method, TEXT),    COLUMN(ratios, TEXT), COLUMN(budget, TEXT), COLUMN(value, NUMBER),
    COLUMN(seed, INTEGER),  COLUMN(flops, INTEGER),  COLUMN(params, INTEGER), COLUMN(top1, NUMBER), COLUMN(top5, NUMBER),
    COLUMN(loss, NUMBER),   COLUMN(kl, NUMBER),      COLUMN(output_error, NUMBER), COLUMN(seconds, NUMBER)};

/* All entries of a column in a row; every kind takes 8 bytes. */
static int write_column(hid_t table, const column *c, const reap_sweep_contents *contents, hid_t text) {
  const hid_t type = c->kind == TEXT ? text : c->kind == INTEGER ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE;
  const int64_t count = contents->n_settings;
  union {
    const char *text;
    int64_t integer;
    double number;
  } *values = NULL;
  _Static_assert(sizeof values[0] == sizeof(int64_t) && sizeof(char *) == sizeof(int64_t), "columns of 8 bytes");
  REAP_TRY(reap_calloc(&values, count, sizeof *values));
  for (int64_t i = 0; i < count; i++) {
    const char *member = (const char *)&contents->settings[i] + c->offset;
    if (c->kind == TEXT) values[i].text = *(char *const *)(const void *)member;
    if (c->kind == INTEGER) values[i].integer = *(const int64_t *)(const void *)member;
    if (c->kind == NUMBER) values[i].number = *(const double *)(const void *)member;
  }
  int status = reap_h5_write_vector(table, c->name, type, count, values);
  reap_free(&values);
  return status;
}

static int write_table(hid_t file, const reap_sweep_contents *contents) {
  hid_t table = REAP_H5_NONE, text = H5Tcopy(H5T_C_S1);
  if (text < 0 || H5Tset_size(text, H5T_VARIABLE) < 0 || H5Tset_cset(text, H5T_CSET_UTF8) < 0) return reap_h5_error(file, "table");
  int status = reap_h5_create_group(file, "table", &table);
  for (size_t i = 0; status == REAP_OK && i < sizeof columns / sizeof columns[0]; i++)
    status = write_column(table, &columns[i], contents, text);
  reap_h5_close(&table);
  reap_h5_close(&text);
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
  for (int i = 0; status == REAP_OK && i < contents->n_settings; i++) status = write_setting(settings, &contents->settings[i]);
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

static int copy_paths(hid_t file, const char *path) {
  hid_t paths = REAP_H5_NONE;
  if (!path) return REAP_OK;
  REAP_TRY(reap_h5_open(path, &paths));
  int status = REAP_OK;
  if (!reap_h5_has(paths, "groups"))
    status = reap_h5_refuse(paths, "has no \"groups\"");
  else if (H5Ocopy(paths, "groups", file, "groups", H5P_DEFAULT, H5P_DEFAULT) < 0)
    status = reap_h5_error(file, "groups");
  reap_h5_close(&paths);
  return status;
}

static int fill(hid_t file, const void *context) {
  const reap_sweep_contents *contents = context;
  REAP_TRY(reap_sweep_write_origin(file, &contents->origin));
  REAP_TRY(write_baseline(file, contents->baseline));
  REAP_TRY(write_table(file, contents));
  REAP_TRY(write_settings(file, contents));
  REAP_TRY(write_failures(file, contents));
  return copy_paths(file, contents->paths_file);
}

int reap_sweep_file_write(const char *path, const reap_sweep_contents *contents) {
  return reap_h5_write_file(path, "reap-sweep", fill, contents);
}
