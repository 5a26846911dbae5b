/* The JSON report and the tables of results; private to src/app. Local: rank 0 writes. */
#ifndef REAP_APP_REPORT_H
#define REAP_APP_REPORT_H

#include <stdint.h>

#include "app/json/json.h"
#include "base/bootstrap.h"
#include "command.h"
#include "exec/evaluate.h"
#include "prune/prune.h"

/* One network's figures; evaluation NULL: accuracy null. */
typedef struct report_network {
  const reap_evaluation *evaluation;
  int64_t flops, params;
  const char *name; /* heads its column */
} report_network;

/* Object with format ("reap-report", say) and its version, what made it, when and where; the caller owns it
 * (cJSON_Delete). What there is no memory for is missing: see json.h. */
cJSON *report_create(const command_context *context, const char *format, reap_backend backend);

/* Mean, low and high; NULL: null. */
void report_add_interval(cJSON *object, const char *name, const reap_interval *interval);

/* "baseline", or "pruned": that one also tells how far its outputs are from the original's. */
void report_add_network(cJSON *report, const char *name, const report_network *network);

/* seconds: total, the phases (up to a name of NULL), and as "other" what they leave of the total. */
void report_add_seconds(cJSON *report, double total, const json_number *phases);

/* layers, one object per pruned consumer; repaired, one per layer that was re-solved without losing inputs. */
void report_add_layers(cJSON *report, const reap_prune_result *result);

/* classifier: by how much its outputs were scaled; null where that was not looked into. classifiers: all of them, where
 * several outputs are classifiers'. */
void report_add_classifiers(cJSON *report, const reap_prune_result *result);

/* few_samples: names of the layers with fewer than 5 rows per column. */
void report_add_few_samples(cJSON *report, const reap_prune_result *result);

/* A file the result depends on: {"path": ..., "sha256": ...}. */
void report_add_input(cJSON *report, const char *name, const char *path, const char *hash);

/* Writes the file whole or not at all; "-": to standard output. */
int report_write(const cJSON *report, const char *path);

/* "126.6 M" with three to four digits. */
const char *report_count(double value, char text[32]);

/* Table of the original against the pruned network on standard output; pruned may be NULL. Several outputs: by which
 * measure they were combined. */
void report_print(const report_network *original, const report_network *pruned, reap_measure measure);

#endif
