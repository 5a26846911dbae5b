/* The report of a run and what it prints; private to src/app. Local. */
#ifndef REAP_APP_PRUNE_REPORT_H
#define REAP_APP_PRUNE_REPORT_H

#include "app/json/json.h"
#include "prune_run.h"

/* The report of the README ("command": the context's). total: seconds of the run so far; writing: of them spent
 * on output files. The caller deletes it (cJSON_Delete), also after an error. */
int prune_run_report(const prune_run *run, double total, double writing, cJSON **report);

/* --save-plan. */
int prune_run_save_plan(const prune_run *run);

/* The table of both networks' figures. */
void prune_run_print(const prune_run *run);

#endif
