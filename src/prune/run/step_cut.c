/* Groups of any kind, coupled ones too, cut at once: the method chooses by weights, or from moments of the original
 * network (coupled_choice.c). Layers that are re-solved afterwards have steps of their own. Cost: that of the method
 * and of the cut. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/progress_span.h"
#include "base/timer.h"
#include "model/groups/surgery.h"
#include "prune/methods/methods.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "run.h"

/* Choices of all groups that are cut by moments, before the first is. Collective. */
static int choose_by_moments(run *r) {
  const reap_method *method = r->options->method;
  if (r->choices || !(method->needs & REAP_NEEDS_GRAM || method->gives & REAP_GIVES_PATH)) return REAP_OK;
  REAP_TRY(reap_comm_agree(r->comm, reap_calloc(&r->choices, reap_groups_count(r->groups), sizeof *r->choices)));
  reap_prune_options options = *r->options;
  reap_progress_span span; /* of no length: cuts have next to none */
  reap_progress_span_begin(&span, r->options->progress, "prune", r->work_done, 0, r->steps.work);
  options.progress = &span.inner;
  return reap_coupled_choose(r->comm, r->original, r->groups, r->images, r->shard, &options, r->method_state,
                             r->choices);
}

/* Local. */
static int choose(const run *r, int index, reap_step_record *record) {
  const int64_t *given = r->options->given ? r->options->given[index] : NULL;
  const reap_evidence evidence = {.graph = r->pruned,
                                  .group = reap_groups_at(r->groups, index),
                                  .n_kept = record->n_kept,
                                  .seed = r->options->seed};
  const reap_coupled_choice *chosen = r->choices && r->choices[index].kept ? &r->choices[index] : NULL;
  reap_path *path = NULL;
  if (chosen || given) {
    memcpy(record->kept, chosen ? chosen->kept : given, (size_t)record->n_kept * sizeof *given);
    reap_channels_left_out(record->channels, record->n_kept, record->kept, record->removed);
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

/* ------------------------------------------------------------------ what is left of values */

/* Of the value's entries, which are present ones, entries[count] stay. */
static void compose(stay *s, int64_t count, const int64_t *present, int64_t *entries) {
  for (int64_t k = 0; s->entries && k < count; k++) entries[k] = s->entries[present[k]];
  reap_free(&s->entries);
  s->entries = entries;
  s->count = count;
}

/* Constants are no layer's outputs. */
static int note_value(run *r, int group, const bool *keep, int value) {
  stay *s = &r->stays[value];
  const int axis = reap_groups_axis(r->groups, value);
  int64_t *entries = NULL;
  if (axis < 0 || r->pruned->values[value].constant) return REAP_OK;
  REAP_TRY(reap_alloc(&entries, r->pruned->values[value].dims[axis], sizeof *entries));
  const int64_t count = reap_groups_entries(r->groups, value, group, keep, entries);
  if (count < 0) {
    reap_free(&entries);
    return REAP_OK;
  }
  s->axis = axis;
  compose(s, count, entries, entries);
  return REAP_OK;
}

/* Before the cut. Layers behind it are solved for those of the original's outputs that stay. */
static int note_stays(run *r, int group, const reap_step_record *record) {
  bool *keep = NULL;
  if (!r->stays) REAP_TRY(reap_calloc(&r->stays, r->pruned->n_values, sizeof *r->stays));
  REAP_TRY(reap_calloc(&keep, record->channels, sizeof *keep));
  for (int64_t k = 0; k < record->n_kept; k++) keep[record->kept[k]] = true;
  int status = REAP_OK;
  for (int v = 0; status == REAP_OK && v < r->pruned->n_values; v++) status = note_value(r, group, keep, v);
  reap_free(&keep);
  return status;
}

void reap_run_clear_cuts(run *r) {
  for (int v = 0; r->stays && v < r->pruned->n_values; v++) reap_free(&r->stays[v].entries);
  reap_free(&r->stays);
  for (int g = 0; r->choices && g < reap_groups_count(r->groups); g++) reap_coupled_choice_clear(&r->choices[g]);
  reap_free(&r->choices);
}

/* ------------------------------------------------------------------ the step */

/* Local. */
static int cut(run *r, int group, const reap_step_record *record) {
  if (!r->options->cut_only) REAP_TRY(note_stays(r, group, record));
  return reap_surgery_cut(r->pruned, r->groups, group, record->n_kept, record->kept);
}

/* Units to keep into the record. Collective. */
static int decide(run *r, int group, reap_step_record *record) {
  REAP_TRY(choose_by_moments(r));
  REAP_TRY(reap_comm_agree(r->comm, make_record(r, group, record)));
  const int status = reap_comm_rank(r->comm) == 0 ? choose(r, group, record) : REAP_OK;
  REAP_TRY(reap_comm_agree(r->comm, status));
  return reap_record_broadcast(r->comm, record);
}

int reap_step_cut(run *r, const reap_step *what, const reap_step_record *past) {
  const double start = reap_seconds();
  reap_step_record *record = &r->result->steps[r->result->n++];
  char detail[96];
  if (past)
    REAP_TRY(reap_comm_agree(r->comm, reap_record_copy(past, record)));
  else
    REAP_TRY(decide(r, what->group, record));
  REAP_TRY(reap_comm_agree(r->comm, cut(r, what->group, record)));
  if (!past) record->seconds = reap_seconds() - start;
  r->work_done += what->work;
  snprintf(detail, sizeof detail, "%lld -> %lld units", (long long)record->channels, (long long)record->n_kept);
  reap_progress_report(r->options->progress, "prune", record->group, r->work_done, r->steps.work, detail);
  return REAP_OK;
}
