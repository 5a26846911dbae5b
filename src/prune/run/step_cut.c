/* Groups of any kind, coupled ones too, cut without re-solving anything: the method chooses by weights, images are not
 * looked at. Cost: that of the method and of the cut. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "model/groups/surgery.h"
#include "prune/methods/methods.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"

/* Local. */
static int choose(const run *r, int index, reap_step_record *record) {
  const int64_t *given = r->options->given ? r->options->given[index] : NULL;
  const reap_evidence evidence = {.graph = r->pruned,
                                  .group = reap_groups_at(r->groups, index),
                                  .n_kept = record->n_kept,
                                  .seed = r->options->seed};
  reap_path *path = NULL;
  if (given) {
    memcpy(record->kept, given, (size_t)record->n_kept * sizeof *given);
    reap_channels_left_out(record->channels, record->n_kept, given, record->removed);
    return REAP_OK;
  }
  const int status =
      reap_method_select(r->options->method, r->method_state, &evidence, record->kept, record->removed, &path);
  reap_path_destroy(&path);
  return status;
}

/* The layer that a record names is the first that reads the group. */
static int describe(const run *r, const reap_group *group, reap_step_record *record) {
  for (int k = 0; k < group->n_members && !record->layer; k++)
    if (group->members[k].role == REAP_CONSUMES)
      REAP_TRY(reap_strdup(&record->layer, r->pruned->nodes[group->members[k].node]->layer));
  return reap_strdup(&record->group, group->name);
}

static int make_record(const run *r, int index, reap_step_record *record) {
  const reap_group *group = reap_groups_at(r->groups, index);
  const int64_t units = group->units, kept = r->options->counts[index];
  *record = (reap_step_record){.kind = REAP_STEP_CUT, .channels = units, .n_kept = kept, .n_removed = units - kept};
  record->error_before = record->relative_error = record->held_out_before = record->held_out_error = NAN;
  record->predicted_relative_error = NAN;
  REAP_TRY(reap_calloc(&record->kept, kept, sizeof *record->kept));
  REAP_TRY(reap_calloc(&record->removed, units - kept, sizeof *record->removed));
  return describe(r, group, record);
}

int reap_step_cut(run *r, const reap_step *what) {
  const double start = reap_seconds();
  reap_step_record *record = &r->result->steps[r->result->n++];
  char detail[96];
  REAP_TRY(reap_comm_agree(r->comm, make_record(r, what->group, record)));
  const int status = reap_comm_rank(r->comm) == 0 ? choose(r, what->group, record) : REAP_OK;
  REAP_TRY(reap_comm_agree(r->comm, status));
  REAP_TRY(reap_record_broadcast(r->comm, record));
  REAP_TRY(reap_comm_agree(r->comm, reap_surgery_cut(r->pruned, r->groups, what->group, record->n_kept, record->kept)));
  record->seconds = reap_seconds() - start;
  r->work_done += what->work;
  snprintf(detail, sizeof detail, "%lld -> %lld units", (long long)record->channels, (long long)record->n_kept);
  reap_progress_report(r->options->progress, "prune", record->group, r->work_done, r->steps.work, detail);
  return REAP_OK;
}
