/* What a run has done: recorded for the report, told to the user. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "run.h"

/* Few rows for many columns fit the calibration images and nothing else. */
bool reap_step_has_few_samples(const step *s) { return s->gram.view.samples < 5 * s->layer.n; }

void reap_step_warn_few_samples(const run *r, const step *s) {
  if (!r->options->quiet && reap_step_has_few_samples(s))
    reap_log(REAP_LOG_WARNING,
             "layer %s: only %.1f rows per column (%lld rows, %lld columns); more images or positions would help",
             r->pruned->nodes[s->node]->layer, (double)s->gram.view.samples / (double)s->layer.n,
             (long long)s->gram.view.samples, (long long)s->layer.n);
}

double reap_step_held_out_error(const reap_held_out_error *error) {
  if (error->samples == 0) return NAN;
  return reap_relative_error(error->error, error->energy);
}

/* The decision's record becomes the result's. */
int reap_step_note(run *r, step *s) {
  reap_step_record *l = &r->result->steps[r->result->n++];
  *l = s->decision.record;
  memset(&s->decision.record, 0, sizeof s->decision.record);
  l->kind = s->group < 0 ? REAP_STEP_REPAIR : REAP_STEP_PRUNE;
  l->samples = s->gram.view.samples;
  l->moments_flops = s->gram.multiply_adds;
  l->moments_seconds = s->gram.seconds;
  l->few_samples = reap_step_has_few_samples(s);
  l->repaired_shortcut = s->shortcut >= 0;
  l->seconds = reap_seconds() - s->start;
  if (!l->has_path) reap_free(&l->path);
  REAP_TRY(reap_strdup(&l->layer, r->pruned->nodes[s->node]->layer));
  REAP_TRY(reap_strdup(&l->moments, s->gram.rows ? "rows" : s->gram.moments ? "whole" : "panels"));
  if (s->group < 0) return REAP_OK;
  l->held_out_error = reap_step_held_out_error(&s->held_out);
  return reap_strdup(&l->group, reap_groups_at(r->groups, s->group)->name);
}

void reap_step_announce(run *r) {
  char detail[160];
  const reap_step_record *l = &r->result->steps[r->result->n - 1];
  r->work_done += r->steps.list[r->next - 1].work;
  if (l->kind == REAP_STEP_REPAIR && l->producer_changed)
    snprintf(detail, sizeof detail, "repaired, error %.3g -> %.3g, with the layer before %.3g", l->error_before,
             l->alone_error, l->relative_error);
  else if (l->kind == REAP_STEP_REPAIR)
    snprintf(detail, sizeof detail, "repaired, error %.3g -> %.3g", l->error_before, l->relative_error);
  else if (l->producer_changed)
    snprintf(detail, sizeof detail, "%lld -> %lld channels, error %.3g, with the layer before %.3g",
             (long long)l->channels, (long long)l->n_kept, l->alone_error, l->relative_error);
  else
    snprintf(detail, sizeof detail, "%lld -> %lld channels, error %.3g", (long long)l->channels, (long long)l->n_kept,
             l->relative_error);
  reap_progress_report(r->options->progress, "prune", l->layer, r->work_done, r->steps.work, detail);
}

void reap_step_tell(const run *r, const step *s, const char *part) {
  const reap_progress *progress = r->options->progress;
  const reap_progress_event event = {"prune", r->pruned->nodes[s->node]->layer, r->work_done, r->steps.work, NULL,
                                     part};
  if (progress && progress->report) progress->report(progress->context, &event);
}

int reap_prune_count(const reap_prune_result *result, reap_step_kind kind) {
  int count = 0;
  for (int k = 0; k < result->n; k++) count += result->steps[k].kind == kind;
  return count;
}

const reap_step_record *reap_prune_record(const reap_prune_result *result, reap_step_kind kind, int index) {
  for (int k = 0; k < result->n; k++)
    if (result->steps[k].kind == kind && index-- == 0) return &result->steps[k];
  return NULL;
}

void reap_prune_result_clear(reap_prune_result *result) {
  for (int k = 0; k < result->n; k++) reap_record_clear(&result->steps[k]);
  reap_free(&result->steps);
  result->n = 0;
}
