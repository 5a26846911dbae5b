/* What a run has done: recorded for the report, told to the user. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "run.h"

static int copy_int64(int64_t **out, const int64_t *from, int64_t count) {
  REAP_TRY(reap_alloc(out, count, sizeof **out));
  memcpy(*out, from, (size_t)count * sizeof *from);
  return REAP_OK;
}

/* Few rows for many columns fit the calibration images and nothing else. */
bool step_has_few_samples(const step *s) { return s->samples < 5 * s->layer.n; }

void step_warn_few_samples(const run *r, const step *s) {
  if (!r->options->quiet && step_has_few_samples(s))
    reap_log(REAP_LOG_WARNING,
             "layer %s: only %.1f rows per column (%lld rows, %lld columns); more images or positions would help",
             r->pruned->nodes[s->node]->layer, (double)s->samples / (double)s->layer.n, (long long)s->samples,
             (long long)s->layer.n);
}

double step_held_out_error(const reap_held_out_error *error) {
  if (error->samples == 0) return NAN;
  return error->energy > 0 ? error->error / error->energy : 0;
}

static int record_repair(run *r, const step *s) {
  reap_repair_result *l = &r->result->repaired[r->result->n_repaired++];
  *l = s->repair;
  l->samples = s->samples;
  l->few_samples = step_has_few_samples(s);
  l->repaired_shortcut = s->shortcut >= 0;
  l->channels = s->layer.channels;
  l->moments_flops = s->moments_flops;
  l->moments_seconds = s->moments_seconds;
  l->seconds = reap_seconds() - s->start;
  return reap_strdup(&l->layer, r->pruned->nodes[s->node]->layer);
}

static int record_layer(run *r, const step *s) {
  const decision *d = &s->decision;
  reap_layer_result *l = &r->result->layers[r->result->n_layers++];
  l->channels = d->channels;
  l->n_kept = d->n_kept;
  l->n_removed = d->channels - d->n_kept;
  l->samples = s->samples;
  l->moments_flops = s->moments_flops;
  l->moments_seconds = s->moments_seconds;
  l->relative_error = d->facts.relative_error;
  l->held_out_error = step_held_out_error(&s->held_out);
  l->predicted_relative_error = d->facts.predicted;
  l->ridge = d->facts.ridge;
  l->ridge_trained = d->facts.trained;
  l->rcond = d->facts.rcond;
  l->drift = d->facts.drift;
  l->distributed = d->facts.distributed;
  l->spread = s->source != NULL;
  l->few_samples = step_has_few_samples(s);
  l->repaired_shortcut = s->shortcut >= 0;
  l->seconds = reap_seconds() - s->start;
  l->producer = s->with_producer;
  l->producer.layer = NULL;
  if (s->with_producer.layer) REAP_TRY(reap_strdup(&l->producer.layer, s->with_producer.layer));
  REAP_TRY(reap_strdup(&l->layer, r->pruned->nodes[s->node]->layer));
  REAP_TRY(reap_strdup(&l->group, reap_groups_at(r->groups, s->group)->name));
  REAP_TRY(copy_int64(&l->kept, d->kept, d->n_kept));
  REAP_TRY(copy_int64(&l->removed, d->removed, l->n_removed));
  if (!d->facts.has_path) return REAP_OK;
  REAP_TRY(reap_alloc(&l->path, l->n_removed, sizeof *l->path));
  memcpy(l->path, d->path, (size_t)l->n_removed * sizeof *l->path);
  return REAP_OK;
}

int step_record(run *r, const step *s) { return s->group < 0 ? record_repair(r, s) : record_layer(r, s); }

void step_announce(run *r, const step *s) {
  char detail[160];
  const decision *d = &s->decision;
  r->work_done += (double)reap_node_flops(r->original, s->node);
  if (s->group < 0)
    snprintf(detail, sizeof detail, "repaired, error %.3g -> %.3g", s->repair.error_before, s->repair.relative_error);
  else if (s->with_producer.changed)
    snprintf(detail, sizeof detail, "%lld -> %lld channels, error %.3g, with the layer before %.3g",
             (long long)d->channels, (long long)d->n_kept, s->with_producer.error_before, d->facts.relative_error);
  else
    snprintf(detail, sizeof detail, "%lld -> %lld channels, error %.3g", (long long)d->channels, (long long)d->n_kept,
             d->facts.relative_error);
  reap_progress_report(r->options->progress, "prune", r->pruned->nodes[s->node]->layer, r->work_done, r->steps.work,
                       detail);
}

void reap_prune_result_clear(reap_prune_result *result) {
  for (int i = 0; i < result->n_layers; i++) {
    reap_layer_result *l = &result->layers[i];
    reap_free(&l->layer);
    reap_free(&l->producer.layer);
    reap_free(&l->group);
    reap_free(&l->kept);
    reap_free(&l->removed);
    reap_free(&l->path);
  }
  for (int i = 0; i < result->n_repaired; i++) reap_free(&result->repaired[i].layer);
  reap_free(&result->layers);
  reap_free(&result->repaired);
  for (int i = 0; i < result->n_classifiers; i++) reap_free(&result->classifiers[i].layer);
  reap_free(&result->classifiers);
  result->n_layers = result->n_repaired = 0;
}
