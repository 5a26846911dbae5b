#include "latency_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/json/json_file.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *const FORMAT = "reap-latency";

/* ------------------------------------------------------------------ reading */

/* Sizes: whole numbers, at least one, ascending. */
static int read_sizes(const cJSON *list, int64_t *sizes) {
  const cJSON *item;
  int64_t last = 0;
  cJSON_ArrayForEach(item, list) {
    const double size = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(size > (double)last && size < 1e9) || size != floor(size)) return REAP_ERR_INPUT;
    last = *sizes++ = (int64_t)size;
  }
  return REAP_OK;
}

static int read_times(const cJSON *rows, const reap_time_table *t) {
  const cJSON *row, *item;
  double *at = t->ms;
  cJSON_ArrayForEach(row, rows) {
    if (!cJSON_IsArray(row) || cJSON_GetArraySize(row) != t->n_out) return REAP_ERR_INPUT;
    cJSON_ArrayForEach(item, row) {
      if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1e9)) return REAP_ERR_INPUT;
      *at++ = item->valuedouble;
    }
  }
  return REAP_OK;
}

static int read_layer(const char *path, const cJSON *item, reap_layer_times *l) {
  const cJSON *in = cJSON_GetObjectItemCaseSensitive(item, "in"), *out = cJSON_GetObjectItemCaseSensitive(item, "out"),
              *ms = cJSON_GetObjectItemCaseSensitive(item, "ms");
  const int n_in = cJSON_IsArray(in) ? cJSON_GetArraySize(in) : 0,
            n_out = cJSON_IsArray(out) ? cJSON_GetArraySize(out) : 0;
  if (n_in < 1 || n_out < 1 || !cJSON_IsArray(ms) || cJSON_GetArraySize(ms) != n_in)
    return reap_error(REAP_ERR_INPUT,
                      "%s: layer %s wants lists \"in\" and \"out\", and \"ms\" with a list for each of \"in\"", path,
                      item->string);
  REAP_TRY(reap_strdup(&l->layer, item->string));
  REAP_TRY(reap_time_table_allocate(&l->table, n_in, n_out));
  if (read_sizes(in, l->table.in) == REAP_OK && read_sizes(out, l->table.out) == REAP_OK &&
      read_times(ms, &l->table) == REAP_OK)
    return REAP_OK;
  return reap_error(REAP_ERR_INPUT,
                    "%s: layer %s: sizes are whole numbers, ascending, and times numbers that are not negative", path,
                    item->string);
}

static int read_root(const char *path, const cJSON *root, reap_latency **out) {
  const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format"),
              *layers = cJSON_GetObjectItemCaseSensitive(root, "layers"),
              *whole = cJSON_GetObjectItemCaseSensitive(root, "whole_ms"),
              *hash = cJSON_GetObjectItemCaseSensitive(root, "model_sha256"), *item;
  int at = 0;
  if (!cJSON_IsString(format) || strcmp(format->valuestring, FORMAT) != 0 || !cJSON_IsObject(layers) ||
      !cJSON_IsNumber(whole) || !(whole->valuedouble > 0 && whole->valuedouble < 1e9))
    return reap_error(REAP_ERR_INPUT, "%s: no table of times as reap bench layers writes it", path);
  REAP_TRY(reap_latency_create(cJSON_GetArraySize(layers), out));
  (*out)->whole = whole->valuedouble;
  if (cJSON_IsString(hash)) snprintf((*out)->model_hash, sizeof(*out)->model_hash, "%s", hash->valuestring);
  cJSON_ArrayForEach(item, layers) REAP_TRY(read_layer(path, item, &(*out)->layers[at++]));
  return REAP_OK;
}

int latency_file_read(const char *path, reap_latency **out) {
  cJSON *root = NULL;
  REAP_TRY(json_file_read(path, &root));
  int status = read_root(path, root, out);
  cJSON_Delete(root);
  if (status != REAP_OK) reap_latency_destroy(out);
  return status;
}

/* ------------------------------------------------------------------ writing */

static void add_sizes(cJSON *layer, const char *name, int n, const int64_t *sizes) {
  cJSON *list = cJSON_AddArrayToObject(layer, name);
  for (int i = 0; i < n; i++) json_append(list, cJSON_CreateNumber((double)sizes[i]));
}

cJSON *latency_file_make(const reap_latency *latency) {
  cJSON *root = cJSON_CreateObject();
  cJSON_AddStringToObject(root, "format", FORMAT);
  cJSON_AddNumberToObject(root, "version", 1);
  cJSON_AddStringToObject(root, "model_sha256", latency->model_hash);
  cJSON_AddNumberToObject(root, "whole_ms", latency->whole);
  cJSON *layers = cJSON_AddObjectToObject(root, "layers");
  for (int i = 0; i < latency->n; i++) {
    const reap_time_table *t = &latency->layers[i].table;
    cJSON *layer = cJSON_AddObjectToObject(layers, latency->layers[i].layer);
    add_sizes(layer, "in", t->n_in, t->in);
    add_sizes(layer, "out", t->n_out, t->out);
    cJSON *rows = cJSON_AddArrayToObject(layer, "ms");
    for (int a = 0; a < t->n_in; a++) {
      cJSON *row = cJSON_CreateArray();
      for (int b = 0; b < t->n_out; b++) json_append(row, cJSON_CreateNumber(t->ms[a * t->n_out + b]));
      json_append(rows, row);
    }
  }
  return root;
}
