/* Files of single settings of a sweep, and a setting's attributes. */
#include "sweep_setting.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* A report has some hundred bytes a layer and channel; more than this is none. */
enum { MAX_REPORT = 1 << 28 };

void reap_sweep_setting_clear(reap_sweep_setting *s) {
  char **const strings[] = {&s->name, &s->method, &s->ratios, &s->budget, &s->report};
  for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) reap_free(strings[i]);
}

int reap_sweep_write_attributes(hid_t place, const reap_sweep_setting *s) {
  REAP_TRY(reap_h5_write_string(place, "method", s->method));
  REAP_TRY(reap_h5_write_string(place, "ratios", s->ratios));
  REAP_TRY(reap_h5_write_string(place, "budget", s->budget));
  REAP_TRY(reap_h5_write_double(place, "value", s->value));
  REAP_TRY(reap_h5_write_integer(place, "seed", s->seed));
  REAP_TRY(reap_sweep_write_figures(place, s));
  REAP_TRY(reap_h5_write_double(place, "kl", s->kl));
  REAP_TRY(reap_h5_write_double(place, "output_error", s->output_error));
  return reap_h5_write_double(place, "seconds", s->seconds);
}

int reap_sweep_write_figures(hid_t place, const reap_sweep_setting *s) {
  REAP_TRY(reap_h5_write_integer(place, "flops", s->flops));
  REAP_TRY(reap_h5_write_integer(place, "params", s->params));
  REAP_TRY(reap_h5_write_double(place, "top1", s->top1));
  REAP_TRY(reap_h5_write_double(place, "top5", s->top5));
  return reap_h5_write_double(place, "loss", s->loss);
}

static int read_attributes(hid_t place, reap_sweep_setting *s) {
  REAP_TRY(reap_h5_read_string(place, "method", &s->method));
  REAP_TRY(reap_h5_read_string(place, "ratios", &s->ratios));
  REAP_TRY(reap_h5_read_string(place, "budget", &s->budget));
  REAP_TRY(reap_h5_read_numbers(place, "value", 1, &s->value));
  REAP_TRY(reap_h5_read_integer(place, "seed", &s->seed));
  REAP_TRY(reap_h5_read_integer(place, "flops", &s->flops));
  REAP_TRY(reap_h5_read_integer(place, "params", &s->params));
  REAP_TRY(reap_h5_read_numbers(place, "top1", 1, &s->top1));
  REAP_TRY(reap_h5_read_numbers(place, "top5", 1, &s->top5));
  REAP_TRY(reap_h5_read_numbers(place, "loss", 1, &s->loss));
  REAP_TRY(reap_h5_read_numbers(place, "kl", 1, &s->kl));
  REAP_TRY(reap_h5_read_numbers(place, "output_error", 1, &s->output_error));
  return reap_h5_read_numbers(place, "seconds", 1, &s->seconds);
}

/* A string of fixed length: it needs no heap of its own, and its size can be checked before it is read. */
int reap_sweep_write_report(hid_t place, const char *report) {
  const size_t length = strlen(report);
  hid_t type = H5Tcopy(H5T_C_S1);
  if (type < 0 || H5Tset_size(type, length > 0 ? length : 1) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
      H5Tset_cset(type, H5T_CSET_UTF8) < 0)
    return reap_h5_error(place, "report");
  int status = reap_h5_write(place, "report", type, type, 0, NULL, report, NULL);
  reap_h5_close(&type);
  return status;
}

static int read_report(hid_t place, char **out) {
  hid_t data = REAP_H5_NONE, type = REAP_H5_NONE;
  REAP_TRY(reap_h5_expect(place, "report", H5T_STRING, 0, NULL, &data));
  int status = REAP_OK;
  type = H5Dget_type(data);
  const size_t size = type < 0 ? 0 : H5Tget_size(type);
  if (type < 0 || H5Tis_variable_str(type) != 0 || size > MAX_REPORT)
    status = reap_h5_refuse(place, "\"report\" is no string of fixed length");
  if (status == REAP_OK) status = reap_calloc(out, (int64_t)size + 1, 1);
  if (status == REAP_OK) status = reap_h5_read(data, "report", type, *out);
  reap_h5_close(&type);
  reap_h5_close(&data);
  return status;
}

int reap_sweep_write_origin(hid_t file, const reap_sweep_origin *origin) {
  hid_t group = REAP_H5_NONE;
  REAP_TRY(reap_h5_create_group(file, "made_with", &group));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < origin->count; i++)
    status = reap_h5_write_string(group, origin->entries[i].key, origin->entries[i].value);
  reap_h5_close(&group);
  return status;
}

static int check_entry(hid_t group, const reap_provenance_entry *entry) {
  char *found = NULL;
  if (!reap_h5_has_attribute(group, entry->key))
    return reap_h5_refuse(group, "belongs to another sweep: it does not tell its %s", entry->key);
  REAP_TRY(reap_h5_read_string(group, entry->key, &found));
  int status = REAP_OK;
  if (strcmp(found, entry->value) != 0)
    status = reap_h5_refuse(group, "belongs to another sweep: %s was \"%.64s\", and is \"%.64s\" now", entry->key,
                            found, entry->value);
  reap_free(&found);
  return status;
}

static int check_origin(hid_t file, const reap_sweep_origin *origin) {
  hid_t group = REAP_H5_NONE;
  REAP_TRY(reap_h5_open_group(file, "made_with", &group));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK && i < origin->count; i++) status = check_entry(group, &origin->entries[i]);
  reap_h5_close(&group);
  return status;
}

typedef struct contents {
  const reap_sweep_setting *setting;
  const reap_sweep_origin *origin;
} contents;

static int fill(hid_t file, const void *context) {
  const contents *c = context;
  REAP_TRY(reap_sweep_write_attributes(file, c->setting));
  REAP_TRY(reap_sweep_write_report(file, c->setting->report));
  return reap_sweep_write_origin(file, c->origin);
}

int reap_sweep_setting_write(const char *path, const reap_sweep_setting *setting, const reap_sweep_origin *origin) {
  const contents c = {setting, origin};
  return reap_h5_write_file(path, "reap-sweep-setting", fill, &c);
}

int reap_sweep_setting_read(const char *path, const reap_sweep_origin *origin, reap_sweep_setting *out) {
  hid_t file = REAP_H5_NONE;
  memset(out, 0, sizeof *out);
  REAP_TRY(reap_h5_open(path, &file));
  int status = reap_h5_check_format(file, "reap-sweep-setting");
  if (status == REAP_OK) status = check_origin(file, origin);
  if (status == REAP_OK) status = read_attributes(file, out);
  if (status == REAP_OK) status = read_report(file, &out->report);
  reap_h5_close(&file);
  if (status != REAP_OK) reap_sweep_setting_clear(out);
  return status;
}
