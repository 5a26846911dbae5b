#include "sweep_run.h"

#include <stdio.h>
#include <string.h>

#include "app/json/json_file.h"
#include "app/progress/progress_view.h"
#include "app/prune/prune_output.h"
#include "app/prune/prune_report.h"
#include "app/report.h"
#include "base/timer.h"
#include "comm/counter.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "sweep_groups.h"
#include "sweep_progress.h"

/* One rank's part in it. */
typedef struct worker {
  sweep *s;
  sweep_outcome *outcomes;
  command_context context; /* with the group's communicator */
  reap_comm *group;
  bool leader; /* first rank of the group */
  reap_counter *next, *finished;
  int *todo, n_todo, groups;
  reap_evaluation baseline;
  reap_reference *reference; /* NULL without --eval */
  sweep_progress progress;
} worker;

static int list_todo(worker *w) {
  const sweep *s = w->s;
  REAP_TRY(reap_calloc(&w->todo, s->count, sizeof *w->todo));
  for (int i = 0; i < s->count; i++)
    if (!s->done[i]) w->todo[w->n_todo++] = i;
  return REAP_OK;
}

static int make_groups(worker *w) {
  const reap_comm *all = w->s->context->comm;
  const int ranks = reap_comm_size(all);
  const int64_t wanted = w->s->options->groups;
  w->groups = wanted == 0 ? sweep_groups_choose(w->n_todo, ranks) : wanted < w->n_todo ? (int)wanted : w->n_todo;
  REAP_TRY(sweep_groups_split(all, w->groups, &w->group));
  w->context = *w->s->context;
  w->context.comm = w->group;
  w->leader = reap_comm_rank(w->group) == 0;
  REAP_TRY(reap_counter_create(all, &w->next));
  REAP_TRY(reap_counter_create(all, &w->finished));
  reap_log(REAP_LOG_INFO, "%d settings on %d rank%s in %d group%s", w->n_todo, ranks, ranks > 1 ? "s" : "", w->groups,
           w->groups > 1 ? "s" : "");
  return REAP_OK;
}

/* The original network once, by all ranks; its outputs go to the groups. */
static int evaluate_original(worker *w, const reap_progress *progress) {
  const reap_comm *all = w->s->context->comm;
  reap_dataset *images = w->s->inputs.evaluation;
  const reap_graph *graph = w->s->inputs.network.graph;
  if (!images) return REAP_OK;
  const reap_shard from = reap_shard_of(all, images, 0, graph->batch);
  const reap_shard to = reap_shard_of(w->group, images, 0, graph->batch);
  const reap_evaluate_options options = {.backend = command_backend(w->s->options->prune.common.kernels),
                                         .progress = progress,
                                         .label = "original",
                                         .keep = &w->reference};
  REAP_TRY(reap_evaluate_with(all, graph, images, &from, &options, &w->baseline));
  return reap_reference_redeal(all, &from, &to, &w->reference);
}

/* Edits change the source they go to, so every model starts from a copy. */
static int save_model(const worker *w, const sweep_setting *setting, const prune_run *run) {
  char *path = NULL;
  reap_source *source = NULL;
  REAP_TRY(sweep_folder_model(&w->s->folder, setting->name, &path));
  if (!path) return REAP_OK;
  const bool onnx = strcmp(w->s->options->save_models, "onnx") == 0;
  int status = reap_source_copy(run->inputs->network.source, &source);
  if (status == REAP_OK) status = prune_output_write_models(run, source, onnx ? NULL : path, onnx ? path : NULL);
  reap_source_destroy(&source);
  reap_free(&path);
  return status;
}

/* By the group's leader. The setting's file comes last: it stands for all. */
static int save(const worker *w, const sweep_setting *setting, const prune_run *run) {
  const double writing = reap_seconds();
  REAP_TRY(save_model(w, setting, run));
  const double now = reap_seconds();
  cJSON *report = NULL;
  char *text = NULL;
  int status = prune_run_report(run, now - run->start, now - writing, &report);
  if (status == REAP_OK) status = json_print(report, true, &text);
  if (status == REAP_OK) status = sweep_folder_write(&w->s->folder, setting, run, text, now - run->start);
  reap_free(&text);
  cJSON_Delete(report);
  return status;
}

static void tell(worker *w, const sweep_setting *setting, const prune_run *run, int status) {
  char text[256];
  const double whole = (double)reap_graph_flops(w->s->inputs.network.graph);
  const double share = status == REAP_OK ? 100 * (double)reap_graph_flops(reap_session_graph(run->session)) / whole : 0;
  if (status != REAP_OK)
    snprintf(text, sizeof text, "%s failed", setting->name);
  else if (run->inputs->evaluation && run->after.classified)
    snprintf(text, sizeof text, "%s: top-1 %.2f %%, %.1f %% of the multiply-adds", setting->name, 100 * run->after.top1,
             share);
  else
    snprintf(text, sizeof text, "%s: %.1f %% of the multiply-adds", setting->name, share);
  sweep_progress_next(&w->progress, text);
}

static void run_setting(worker *w, int index) {
  const sweep_setting *setting = &w->s->settings[index];
  prune_run run = {.context = &w->context,
                   .start = reap_seconds(),
                   .options = &setting->options,
                   .inputs = &w->s->inputs,
                   .progress = &w->progress.inside,
                   .phases = &w->progress.model,
                   .data_hash = w->s->hashes.data,
                   .files = &w->s->files,
                   .baseline = w->s->inputs.evaluation ? &w->baseline : NULL,
                   .reference = w->reference};
  sweep_progress_begin(&w->progress);
  int status = prune_run_open(&run);
  if (status == REAP_OK) {
    reap_session_lend(run.session, sweep_choices_paths(&w->s->choices, index), run.inputs->latency);
    status = reap_session_hash_data(run.session);
  }
  if (status == REAP_OK) status = prune_run_do(&run);
  if (status == REAP_OK && w->leader) status = save(w, setting, &run);
  status = reap_comm_agree(w->group, status);
  if (w->leader) {
    w->outcomes[index].status = status;
    if (status != REAP_OK)
      snprintf(w->outcomes[index].message, sizeof w->outcomes[index].message, "%s", reap_error_message());
    tell(w, setting, &run, status);
  }
  prune_run_clear(&run);
}

static int work(worker *w) {
  for (;;) {
    int64_t next = w->leader ? reap_counter_add(w->next, 1) : 0;
    REAP_TRY(reap_comm_broadcast(w->group, &next, sizeof next, 0));
    if (next >= w->n_todo) return REAP_OK;
    run_setting(w, w->todo[next]);
    reap_log_set_level(REAP_LOG_QUIET); /* the first run's warnings hold for all */
  }
}

/* Every outcome is known to one rank, and zero on the others. */
static int share_outcomes(worker *w) {
  sweep *s = w->s;
  _Static_assert(sizeof(sweep_outcome) % sizeof(int64_t) == 0, "outcomes are added as integers");
  const int64_t words = (int64_t)(sizeof(sweep_outcome) / sizeof(int64_t));
  int64_t *sums = NULL;
  int status = reap_alloc(&sums, s->count * words, sizeof *sums);
  status = reap_comm_agree(s->context->comm, status);
  if (status == REAP_OK) {
    memcpy(sums, w->outcomes, (size_t)s->count * sizeof *w->outcomes);
    status = reap_comm_sum_int64(s->context->comm, sums, s->count * words);
    memcpy(w->outcomes, sums, (size_t)s->count * sizeof *w->outcomes);
  }
  for (int i = 0; status == REAP_OK && i < w->n_todo; i++)
    s->done[w->todo[i]] = w->outcomes[w->todo[i]].status == REAP_OK;
  reap_free(&sums);
  return status;
}

int sweep_run(sweep *s, sweep_outcome *outcomes) {
  const reap_comm *all = s->context->comm;
  const char *style = s->options->prune.common.progress;
  worker w = {.s = s, .outcomes = outcomes};
  int status = REAP_OK;
  REAP_TRY_OR(reap_comm_agree(all, list_todo(&w)), done);
  if (w.n_todo == 0) goto done;
  REAP_TRY_OR(make_groups(&w), done);
  status = evaluate_original(&w, progress_view_progress());
  if (status != REAP_OK) goto done;
  if (w.leader && reap_comm_rank(all) > 0) progress_view_start(strcmp(style, "bar") == 0 ? "none" : style, false);
  sweep_progress_start(&w.progress, "sweep", reap_comm_rank(all) == 0, w.finished, w.n_todo);
  status = work(&w);
  status = reap_comm_agree(all, status);
  if (status == REAP_OK) status = share_outcomes(&w);
done:
  reap_reference_destroy(&w.reference);
  reap_counter_destroy(&w.finished);
  reap_counter_destroy(&w.next);
  reap_comm_destroy(&w.group);
  reap_free(&w.todo);
  return status;
}
