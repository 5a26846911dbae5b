/* The report of a run; private to src/app. */
#ifndef REAP_APP_PRUNE_REPORT_H
#define REAP_APP_PRUNE_REPORT_H

#include "json.h"
#include "prune_run.h"

/* Local. The report of the README ("command": the context's). total: seconds of the run so far; writing: of them spent
 * on output files. The caller deletes it (cJSON_Delete). */
cJSON *prune_run_report(const prune_run *run, double total, double writing);

#endif
