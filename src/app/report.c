#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/json/json_file.h"
#include "base/text.h"
#include "exec/output_set.h"
#include "io/files/durable.h"
#include "linalg/dense.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "standard_output.h"

/* The time in UTC, as in ISO 8601. */
static void add_date(cJSON *report) {
  const time_t now = time(NULL);
  struct tm parts;
  char text[32] = "";
  if (gmtime_r(&now, &parts)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  cJSON_AddStringToObject(report, "date", text);
}

cJSON *report_create(const command_context *context, const char *format, reap_backend backend) {
  cJSON *report = cJSON_CreateObject();
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  cJSON_AddStringToObject(report, "format", format);
  cJSON_AddNumberToObject(report, "version", 1);
  cJSON_AddStringToObject(report, "reap_version", REAP_VERSION);
  cJSON_AddStringToObject(report, "commit", context->commit);
  cJSON_AddStringToObject(report, "command", context->typed);
  add_date(report);
  cJSON_AddStringToObject(report, "host", host);
  cJSON_AddNumberToObject(report, "ranks", reap_comm_size(context->comm));
  cJSON *libraries = cJSON_AddObjectToObject(report, "libraries");
  cJSON_AddStringToObject(libraries, "kernels", reap_backend_name(backend));
  cJSON_AddStringToObject(libraries, "blas", reap_blas_name());
  return report;
}

/* Each output against the original's. */
static void add_outputs(cJSON *object, const reap_evaluation *e) {
  json_add_number(object, "moved", e->moved);
  cJSON *list = cJSON_AddArrayToObject(object, "outputs");
  for (int k = 0; k < e->n_outputs; k++) {
    const reap_output_figure *o = &e->outputs[k];
    cJSON *output = cJSON_CreateObject();
    cJSON_AddStringToObject(output, "name", o->name);
    cJSON_AddStringToObject(output, "kind", reap_output_kind_name(o->kind));
    JSON_NUMBERS(output, {"kl", o->kl}, {"output_error", o->output_error}, {"share", o->share});
    json_append(list, output);
  }
}

void report_add_interval(cJSON *object, const char *name, const reap_interval *i) {
  if (!i) {
    cJSON_AddNullToObject(object, name);
    return;
  }
  cJSON *interval = cJSON_AddObjectToObject(object, name);
  JSON_NUMBERS(interval, {"mean", i->mean}, {"low", i->low}, {"high", i->high});
}

/* Of the share of images that are right, from the other network to this one, image by image; NaN without labels. */
static reap_interval drop_of(const reap_evaluation *e) {
  reap_interval drop = {NAN, NAN, NAN};
  double *values = NULL;
  if (!e || !e->classified || !e->compared || reap_calloc(&values, e->images, sizeof *values) != REAP_OK) return drop;
  for (int64_t i = 0; i < e->lost + e->gained; i++) values[i] = i < e->lost ? 1 : -1;
  if (reap_bootstrap_share(e->images, values, -1, &drop) != REAP_OK) drop.mean = NAN;
  reap_free(&values);
  return drop;
}

void report_add_network(cJSON *report, const char *name, const report_network *network) {
  cJSON *object = cJSON_AddObjectToObject(report, name);
  const reap_evaluation *e = network->evaluation;
  bool known = e && e->classified;
  JSON_NUMBERS(object, {"top1", known ? e->top1 : NAN}, {"top5", known ? e->top5 : NAN},
               {"loss", known ? e->loss : NAN});
  if (known && e->judged) cJSON_AddStringToObject(object, "judged", e->judged);
  JSON_NUMBERS(object, {"flops", (double)network->flops}, {"params", (double)network->params});
  if (strcmp(name, "pruned") == 0) {
    const bool compared = e && e->compared;
    JSON_NUMBERS(object, {"kl", compared ? e->kl : NAN}, {"output_error", compared ? e->output_error : NAN});
    const reap_interval drop = drop_of(e);
    report_add_interval(object, "drop", isnan(drop.mean) ? NULL : &drop);
    if (compared) add_outputs(object, e);
  }
  if (!e) return;
  JSON_NUMBERS(object, {"images", (double)e->images}, {"seconds", e->seconds}, {"forward_seconds", e->seconds_forward},
               {"images_per_second", e->seconds > 0 ? (double)e->images / e->seconds : 0});
}

void report_add_seconds(cJSON *report, double total, const json_number *phases) {
  cJSON *seconds = cJSON_AddObjectToObject(report, "seconds");
  double other = total;
  for (const json_number *p = phases; p->name; p++) other -= p->value;
  cJSON_AddNumberToObject(seconds, "total", total);
  json_add_numbers(seconds, phases);
  cJSON_AddNumberToObject(seconds, "other", other);
}

static cJSON *index_array(const int64_t *values, int64_t count) {
  cJSON *array = cJSON_CreateArray();
  for (int64_t i = 0; i < count; i++) json_append(array, cJSON_CreateNumber((double)values[i]));
  return array;
}

static void add_field(cJSON *object, const reap_step_record *record, const reap_record_field *f) {
  const void *at = reap_record_at(record, f);
  const bool flag = f->type == REAP_FIELD_FLAG && *(const bool *)at;
  switch (f->type) {
    case REAP_FIELD_TEXT:
      cJSON_AddStringToObject(object, f->key, *(char *const *)at);
      break;
    case REAP_FIELD_COUNT:
      cJSON_AddNumberToObject(object, f->key, (double)*(const int64_t *)at);
      break;
    case REAP_FIELD_NUMBER:
      json_add_number(object, f->key, *(const double *)at);
      break;
    case REAP_FIELD_FLAG:
      if (f->no)
        cJSON_AddStringToObject(object, f->key, flag ? f->yes : f->no);
      else
        cJSON_AddBoolToObject(object, f->key, flag);
      break;
    case REAP_FIELD_INDICES:
      json_add(object, f->key, index_array(*(int64_t *const *)at, reap_record_count(record, f)));
      break;
    case REAP_FIELD_NUMBERS:
      break; /* none is reported */
  }
}

static cJSON *record_object(const reap_step_record *record, unsigned report) {
  cJSON *object = cJSON_CreateObject();
  for (const reap_record_field *f = reap_record_fields; f->member; f++)
    if (f->reports & report) add_field(object, record, f);
  return object;
}

void report_add_layers(cJSON *report, const reap_prune_result *result) {
  cJSON *layers = cJSON_AddArrayToObject(report, "layers");
  cJSON *repaired = cJSON_AddArrayToObject(report, "repaired");
  for (int k = 0; k < result->n; k++) {
    const reap_step_record *r = &result->steps[k];
    if (r->kind != REAP_STEP_PRUNE && r->kind != REAP_STEP_REPAIR) continue;
    const bool pruned = r->kind == REAP_STEP_PRUNE;
    cJSON *object = record_object(r, pruned ? REAP_REPORT_LAYER : REAP_REPORT_REPAIR);
    json_add(object, "producer", r->producer ? record_object(r, REAP_REPORT_PRODUCER) : cJSON_CreateNull());
    json_append(pruned ? layers : repaired, object);
  }
}

void report_add_classifiers(cJSON *report, const reap_prune_result *result) {
  const int n = reap_prune_count(result, REAP_STEP_SCALE);
  cJSON *list = n > 1 ? cJSON_AddArrayToObject(report, "classifiers") : NULL;
  if (n == 0) cJSON_AddNullToObject(report, "classifier");
  for (int i = 0; i < n; i++) {
    const reap_step_record *r = reap_prune_record(result, REAP_STEP_SCALE, i);
    if (i == 0) json_add(report, "classifier", record_object(r, REAP_REPORT_SCALE));
    if (list) json_append(list, record_object(r, REAP_REPORT_SCALE));
  }
}

void report_add_few_samples(cJSON *report, const reap_prune_result *result) {
  cJSON *names = cJSON_AddArrayToObject(report, "few_samples");
  for (reap_step_kind kind = REAP_STEP_PRUNE; kind <= REAP_STEP_REPAIR; kind++)
    for (int k = 0; k < result->n; k++)
      if (result->steps[k].kind == kind && result->steps[k].few_samples)
        json_append(names, cJSON_CreateString(result->steps[k].layer));
}

void report_add_input(cJSON *report, const char *name, const char *path, const char *hash) {
  cJSON *inputs = cJSON_GetObjectItem(report, "inputs");
  if (!inputs) inputs = cJSON_AddObjectToObject(report, "inputs");
  cJSON *object = cJSON_AddObjectToObject(inputs, name);
  cJSON_AddStringToObject(object, "path", path);
  cJSON_AddStringToObject(object, "sha256", hash);
}

int report_write(const cJSON *report, const char *path) {
  char *temporary = NULL, *text = NULL;
  REAP_TRY(reap_error_prefix(json_print(report, true, &text), "%s", path));
  const bool stream = standard_output_is(path);
  int status = stream ? standard_output_write(text) : reap_durable_begin(path, &temporary);
  if (status == REAP_OK && !stream) {
    FILE *file = fopen(temporary, "w");
    bool good = file && fprintf(file, "%s\n", text) >= 0;
    if (file && fclose(file) != 0) good = false;
    status = good ? reap_durable_commit(&temporary, path) : reap_durable_error(path, "cannot be written");
  }
  reap_durable_abandon(&temporary);
  reap_free(&text);
  return status;
}

const char *report_count(double value, char text[32]) {
  const char *units[] = {"", " k", " M", " G", " T"};
  int unit = 0;
  for (; value >= 1000 && unit < 4; unit++) value /= 1000;
  snprintf(text, 32,
           unit == 0     ? "%.0f%s"
           : value < 10  ? "%.3f%s"
           : value < 100 ? "%.2f%s"
                         : "%.1f%s",
           value, units[unit]);
  return text;
}

/* Names that are longer than their column begin in the one of the labels, and run on behind the last; before a second
 * one, the end is shown. */
static void print_head(const char *original, const char *pruned) {
  enum { LABEL = 16, COLUMN = 12, ROOM = LABEL + 1 + COLUMN };
  const size_t length = strlen(original), cut = pruned && length > ROOM ? length - ROOM : 0;
  reap_print(stdout, "%*s", reap_text_width(original + cut, ROOM), original + cut);
  if (pruned) reap_print(stdout, " %*s", reap_text_width(pruned, COLUMN), pruned);
  reap_print(stdout, "\n");
}

static void print_share(const char *name, double a, double b, bool both) {
  reap_print(stdout, "%-16s %10.2f %%", name, 100 * a);
  if (both) reap_print(stdout, " %10.2f %% %+10.2f points", 100 * b, 100 * (b - a));
  reap_print(stdout, "\n");
}

static void print_count(const char *name, int64_t a, int64_t b, bool both) {
  char left[32], right[32];
  reap_print(stdout, "%-16s %12s", name, report_count((double)a, left));
  if (both) reap_print(stdout, " %12s %9.1f %% of it", report_count((double)b, right), 100 * (double)b / (double)a);
  reap_print(stdout, "\n");
}

/* A line for each of several outputs, and what they come to. */
static void print_outputs(const reap_evaluation *e, reap_measure measure) {
  reap_print(stdout, "%-16s %12s %12s %12s  (share lost: 1 is the error of one constant output for all images)\n",
             "output", "KL", "error", "share");
  for (int k = 0; k < e->n_outputs; k++) {
    const reap_output_figure *o = &e->outputs[k];
    reap_print(stdout, "  %-*s ", reap_text_width(o->name, 14), o->name);
    if (isfinite(o->kl))
      reap_print(stdout, "%12.5f", o->kl);
    else
      reap_print(stdout, "%12s", "");
    reap_print(stdout, " %12.5f %12.5f\n", o->output_error, o->share);
  }
  reap_print(stdout, "  %-14s %12s %12s %12.5f\n", measure == REAP_MEASURE_SUM ? "sum" : "largest", "", "", e->moved);
}

void report_print(const report_network *original, const report_network *pruned, reap_measure measure) {
  const reap_evaluation *a = original->evaluation, *b = pruned ? pruned->evaluation : NULL;
  bool both = pruned != NULL;
  print_head(original->name, both ? pruned->name : NULL);
  if (a && a->classified) {
    const reap_interval drop = drop_of(b);
    if (a->judged) reap_print(stdout, "%-16s %12s\n", "labels judge", a->judged);
    print_share("top-1", a->top1, b ? b->top1 : 0, both);
    if (!isnan(drop.mean))
      reap_print(stdout, "%-16s %.2f to %.2f points (95 %%, chance in the images)\n", "  drop", 100 * drop.low,
                 100 * drop.high);
    print_share("top-5", a->top5, b ? b->top5 : 0, both);
    reap_print(stdout, "%-16s %12.4f", "loss", a->loss);
    if (b) reap_print(stdout, " %12.4f", b->loss);
    reap_print(stdout, "\n");
  }
  if (b && b->n_outputs > 1) {
    print_outputs(b, measure);
  } else if (b && b->compared) {
    if (isfinite(b->kl))
      reap_print(stdout, "%-16s %12s %12.5f\n", "KL to original", "", b->kl);
    else
      reap_print(stdout, "%-16s %12s %12.5f\n", "output error", "", b->output_error);
  }
  print_count("multiply-adds", original->flops, both ? pruned->flops : 0, both);
  print_count("parameters", original->params, both ? pruned->params : 0, both);
}
