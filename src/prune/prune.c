/* The run over all groups; see prune.h.
 *
 * Producers: a layer that has lost inputs is then solved in turn with the layer that makes them (step_producer.c). A
 * fork of the pruned network's frontier waits before that layer; when both have their weights the network goes on from
 * there.
 *
 * A step that was done before is repeated from what it left: images pass through both networks as they did, whose
 * values then are bit for bit those of a run that was never broken.
 *
 * Cost: one forward pass of each network, the moments (n^2 + 2 n m flops a row and layer) and the solves on one rank.
 * Memory per rank: both frontiers, and for the layer at hand its moments twice (sum and present block) plus, on rank 0,
 * three matrices n x n in the solver; or a share of these where no rank is to hold a layer's moments (step_moments.c).
 */
#include "prune.h"

#include <string.h>

#include "base/timer.h"
#include "model/groups/surgery.h"
#include "prune/run/run.h"
#include "reap/error.h"
#include "reap/memory.h"

static int list_steps(run *r) {
  const reap_prune_options *o = r->options;
  const bool repair = o->repair && o->refit && !reap_run_frozen(r);
  const reap_steps_wishes wishes = {o->cut_only, o->chosen, o->counts, repair ? o->repair : NULL, o->classifier};
  reap_steps *steps = &r->steps;
  REAP_TRY(reap_steps_make(r->pruned, r->groups, &wishes, steps));
  if (!o->work || o->n_work != steps->n - steps->n_scaled) return REAP_OK;
  steps->work = 0;
  for (int k = 0; k < o->n_work; k++) steps->work += steps->list[k].work = o->work[k];
  return REAP_OK;
}

/* The layer as it is now, and whether it is to carry a shortcut's drift. Local. */
static int begin_step(run *r, const reap_step *what, step *s) {
  const int64_t channels = reap_step_channels(r->pruned, r->groups, what);
  REAP_TRY(reap_layer_view(r->pruned, s->node, channels, &s->layer));
  s->shortcut = reap_run_frozen(r) ? -1 : what->shortcut;
  s->producer = reap_step_find_producer(r, s);
  return REAP_OK;
}

/* Channels and weights from the moments. Collective. */
static int solve(run *r, step *s) {
  reap_step_tell(r, s, s->group < 0 ? "repair" : "channels");
  if (s->group < 0) return reap_step_repair(r, s);
  REAP_TRY(reap_step_keep_data(r, s));
  reap_step_warn_few_samples(r, s);
  REAP_TRY(reap_step_decide(r, s));
  reap_step_tell(r, s, "held out");
  return reap_step_measure_held_out(r, s, s->decision.weights, s->decision.bias, &s->held_out);
}

/* Frontier, graph and groups lose the channels. Local. */
static int cut_channels(run *r, step *s) {
  const decision *d = &s->decision;
  bool *keep = NULL;
  REAP_TRY(reap_calloc(&keep, d->record.channels, sizeof *keep));
  for (int64_t k = 0; k < d->record.n_kept; k++) keep[d->record.kept[k]] = true;
  int status = reap_run_frozen(r) ? REAP_OK : reap_frontier_cut(r->front_pruned, r->groups, s->group, keep);
  if (status == REAP_OK && s->before) status = reap_frontier_cut(s->before, r->groups, s->group, keep);
  reap_free(&keep);
  REAP_TRY(status);
  return reap_surgery_cut(r->pruned, r->groups, s->group, d->record.n_kept, d->record.kept);
}

/* The channels go, and the layer gets its new weights. Local. */
static int cut(run *r, step *s) {
  const decision *d = &s->decision;
  if (s->group >= 0) REAP_TRY(cut_channels(r, s));
  const bool solved = s->group < 0 ? d->record.changed : r->options->refit;
  return solved ? reap_surgery_set_weights(r->pruned, s->node, d->weights, d->bias) : REAP_OK;
}

static void end_step(step *s) {
  reap_gram_clear(&s->gram);
  reap_frontier_destroy(&s->before);
  reap_step_clear_taps(s);
  reap_decision_clear(&s->decision);
}

static int take_step(run *r, const reap_step *what) {
  if (what->kind == REAP_STEP_CUT)
    return reap_error_prefix(reap_step_cut(r, what, NULL), "cutting group %s",
                             reap_groups_at(r->groups, what->group)->name);
  step s = {.group = what->group, .node = what->node, .producer = -1, .start = reap_seconds()};
  int status = begin_step(r, what, &s);
  reap_step_tell(r, &s, "forward");
  if (status == REAP_OK) status = reap_run_advance(r, &s);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  reap_step_tell(r, &s, "moments");
  REAP_TRY_OR(reap_step_moments(r, &s), done);
  REAP_TRY_OR(solve(r, &s), done);
  REAP_TRY_OR(reap_comm_agree(r->comm, cut(r, &s)), done);
  REAP_TRY_OR(reap_step_confirm(r, &s), done);
  REAP_TRY_OR(reap_step_producer(r, &s), done);
  status = reap_step_note(r, &s);
  REAP_TRY_OR(reap_comm_agree(r->comm, status), done);
  reap_step_announce(r);
done:
  end_step(&s);
  return reap_error_prefix(status, s.group < 0 ? "repairing %s" : "pruning the inputs of %s",
                           r->pruned->nodes[s.node]->layer);
}

/* ------------------------------------------------------------------ the run */

/* What the method needs has to be there, and all groups have to be of its kind. */
static int check_method(const run *r) {
  const reap_method *method = r->options->method;
  unsigned offered = REAP_NEEDS_WEIGHTS | REAP_NEEDS_NORM_SCALES | REAP_NEEDS_SEED;
  if (!r->options->cut_only || r->images) offered |= REAP_NEEDS_GRAM;
  if (r->images && reap_dataset_has_labels(r->images)) offered |= REAP_NEEDS_LABELS;
  REAP_TRY(reap_method_check(method, offered));
  if (r->options->cut_only && method->gives & REAP_GIVES_PATH)
    return reap_error(
        REAP_ERR_USAGE,
        "method %s finds channels and weights together, which groups that are only cut do not take: let weights be "
        "re-solved, or take another method",
        method->name);
  for (int k = 0; k < r->steps.n; k++) {
    const int group = r->steps.list[k].group;
    if (group < 0) continue;
    const reap_group *g = reap_groups_at(r->groups, group);
    const bool chosen_already = g->inner && r->options->given && r->options->given[group];
    if (!chosen_already) REAP_TRY(reap_method_check_group(method, r->original, g));
  }
  return REAP_OK;
}

static int prepare(run *r) {
  reap_prune_result *result = r->result;
  REAP_TRY(list_steps(r));
  REAP_TRY(check_method(r));
  REAP_TRY(reap_calloc(&result->steps, r->steps.n, sizeof *result->steps));
  return r->options->cut_only ? REAP_OK : reap_run_load_images(r);
}

/* Collective. */
static int prepare_method(run *r) {
  const reap_method *method = r->options->method;
  const reap_method_context context = {r->comm, r->original, r->groups, r->images, r->options->seed};
  const int status = method->prepare ? method->prepare(&context, &r->method_state) : REAP_OK;
  r->prepared = status == REAP_OK;
  return reap_comm_agree(r->comm, status);
}

int reap_run_begin(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_groups *groups,
                   reap_dataset *images, const reap_shard *shard, const reap_prune_options *options,
                   reap_prune_result *result, reap_run **out) {
  memset(result, 0, sizeof *result);
  REAP_TRY(reap_comm_alloc(comm, out, 1, sizeof **out));
  **out = (run){.comm = comm,
                .original = original,
                .pruned = pruned,
                .groups = groups,
                .images = images,
                .shard = shard,
                .options = options,
                .result = result};
  int status = reap_comm_agree(comm, prepare(*out));
  if (status == REAP_OK) status = prepare_method(*out);
  if (status != REAP_OK) reap_run_destroy(out);
  REAP_TRY(status);
  reap_run_keep_classifiers(*out);
  reap_progress_report(options->progress, "prune", NULL, 0, (*out)->steps.work, NULL);
  return REAP_OK;
}

int reap_run_steps(const reap_run *r) { return r->steps.n - r->steps.n_scaled; }

int reap_run_step(reap_run *r) { return take_step(r, &r->steps.list[r->next++]); }

int reap_run_finish(reap_run *r) {
  while (r->next < r->steps.n) REAP_TRY(reap_step_scale_classifier(r, &r->steps.list[r->next++]));
  return REAP_OK;
}

void reap_run_destroy(reap_run **r) {
  if (!*r) return;
  const reap_method *method = (*r)->options->method;
  if ((*r)->prepared && method->finish) method->finish((*r)->method_state);
  reap_run_note_use(*r);
  reap_frontier_destroy(&(*r)->front_original);
  reap_frontier_destroy(&(*r)->front_pruned);
  reap_steps_clear(&(*r)->steps);
  reap_run_clear_cuts(*r);
  reap_free(r);
}

/* ------------------------------------------------------------------ the past */

/* The record is one of this step, and what it keeps is there. */
static int check_past(const run *r, const reap_step *what, const reap_step_record *past) {
  const reap_group *group = what->group < 0 ? NULL : reap_groups_at(r->groups, what->group);
  const char *layer = what->node < 0 ? NULL : r->pruned->nodes[what->node]->layer;
  const int64_t kept = group ? r->options->counts[what->group] : past->n_kept;
  bool good = past->kind == what->kind && !past->group == !group && past->n_kept == kept;
  good = good && (!layer || (past->layer && strcmp(past->layer, layer) == 0));
  good = good && (!group || (strcmp(past->group, group->name) == 0 && past->kept && past->channels == group->units));
  for (int64_t k = 0; good && group && k < kept; k++)
    good = past->kept[k] >= (k > 0 ? past->kept[k - 1] + 1 : 0) && past->kept[k] < group->units;
  return good ? REAP_OK : reap_error(REAP_ERR_INPUT, "is not the step that was stored");
}

/* New weights, and what follows where the layer before has some as well. Local. */
static int put_states(run *r, step *s, const reap_step_past *past) {
  const char *producer = past->record.producer;
  if (past->layer.weights) REAP_TRY(reap_layer_state_put(r->pruned, s->node, &past->layer));
  if (!producer) return REAP_OK;
  if (s->producer < 0 || !s->before || strcmp(r->pruned->nodes[s->producer]->layer, producer) != 0)
    return reap_error(REAP_ERR_INPUT, "%s does not come before it", producer);
  if (past->producer.weights) REAP_TRY(reap_layer_state_put(r->pruned, s->producer, &past->producer));
  return reap_run_advance_again(r, s);
}

/* All of a step but what decides. Local. */
static int repeat(run *r, const reap_step *what, const reap_step_past *past, step *s) {
  REAP_TRY(check_past(r, what, &past->record));
  REAP_TRY(begin_step(r, what, s));
  REAP_TRY(reap_run_advance(r, s));
  REAP_TRY(reap_record_copy(&past->record, &s->decision.record));
  if (s->group >= 0) REAP_TRY(cut_channels(r, s));
  REAP_TRY(put_states(r, s, past));
  r->result->steps[r->result->n++] = s->decision.record;
  memset(&s->decision.record, 0, sizeof s->decision.record);
  return REAP_OK;
}

int reap_run_repeat(reap_run *r, const reap_step_past *past) {
  const reap_step *what = &r->steps.list[r->next++];
  step s = {.group = what->group, .node = what->node, .producer = -1, .start = reap_seconds()};
  if (what->kind == REAP_STEP_CUT) {
    int status = reap_comm_agree(r->comm, check_past(r, what, &past->record));
    if (status == REAP_OK) status = reap_step_cut(r, what, &past->record);
    return reap_error_prefix(status, "cutting group %s once more", reap_groups_at(r->groups, what->group)->name);
  }
  const int status = reap_comm_agree(r->comm, repeat(r, what, past, &s));
  if (status == REAP_OK) reap_step_announce(r);
  end_step(&s);
  return reap_error_prefix(status, "step %d once more, layer %s", r->next, r->pruned->nodes[what->node]->layer);
}

static int find_layer(const reap_graph *graph, const char *layer) {
  for (int i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->linear && strcmp(graph->nodes[i]->layer, layer) == 0) return i;
  return -1;
}

int reap_run_take_past(const reap_run *r, reap_step_past *past) {
  const reap_step *what = &r->steps.list[r->next - 1];
  const reap_step_record *record = &r->result->steps[r->result->n - 1];
  const bool solved = record->kind == REAP_STEP_PRUNE ? r->options->refit : record->changed;
  *past = (reap_step_past){0};
  REAP_TRY(reap_record_copy(record, &past->record));
  if (record->kind == REAP_STEP_CUT) return REAP_OK;
  if (solved) REAP_TRY(reap_layer_state_take(r->pruned, what->node, &past->layer));
  if (!record->producer_changed) return REAP_OK;
  return reap_layer_state_take(r->pruned, find_layer(r->pruned, record->producer), &past->producer);
}

void reap_step_past_clear(reap_step_past *past) {
  reap_record_clear(&past->record);
  reap_layer_state_clear(&past->layer);
  reap_layer_state_clear(&past->producer);
}

bool reap_run_may_pause(const reap_run *r) {
  return r->next == 0 || r->next == r->steps.n || r->steps.list[r->next].kind != REAP_STEP_CUT;
}

/* ------------------------------------------------------------------ all at once */

int reap_prune(const reap_comm *comm, const reap_graph *original, reap_graph *pruned, reap_groups *groups,
               reap_dataset *images, const reap_shard *shard, const reap_prune_options *options,
               reap_prune_result *result) {
  reap_run *r = NULL;
  int status = reap_run_begin(comm, original, pruned, groups, images, shard, options, result, &r);
  for (int k = 0; status == REAP_OK && k < reap_run_steps(r); k++) status = reap_run_step(r);
  if (status == REAP_OK) status = reap_run_finish(r);
  reap_run_destroy(&r);
  return status;
}
