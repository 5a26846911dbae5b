/* Paths of coupled groups; see coupled_paths.h.
 *
 * The order comes from one joint elimination down to one unit (run/coupled_choice.c). At each measured size the network
 * is pruned in small with this group alone (trial.h): the group is cut, the layers that read it are re-solved in order
 * with their true inputs, and nothing else is repaired. So the figures are those of inner groups, which are measured
 * with their one reader re-solved.
 *
 * Cost: the elimination, and for each size a trial. Memory: as these.
 */
#include "coupled_paths.h"

#include <math.h>
#include <string.h>

#include "base/progress_span.h"
#include "path_work.h"
#include "prune/methods/methods.h"
#include "prune/run/coupled_choice.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "trial.h"

typedef struct work {
  const reap_comm *comm;
  const reap_graph *graph;
  const reap_groups *groups;
  reap_dataset *images;
  const reap_shard *shard;
  reap_prune_options options;
  const reap_progress *progress;
  reap_progress_span span; /* of the choice, or of the trial at hand */
  double done, total;      /* of these */
  int sizes, n;
  bool *chosen;
  int64_t *counts, **given;
  reap_coupled_choice *choices; /* [n groups] */
} work;

static void clear(work *w) {
  for (int g = 0; g < w->n; g++) {
    if (w->given) reap_free(&w->given[g]);
    if (w->choices) reap_coupled_choice_clear(&w->choices[g]);
  }
  reap_free(&w->given);
  reap_free(&w->choices);
  reap_free(&w->counts);
  reap_free(&w->chosen);
}

static bool is_coupled(const work *w, int g) {
  const reap_group *group = reap_groups_at(w->groups, g);
  return w->options.chosen[g] && !group->prunable && group->units > 1;
}

static int set_up(work *w) {
  w->n = reap_groups_count(w->groups);
  REAP_TRY(reap_calloc(&w->chosen, w->n, sizeof *w->chosen));
  REAP_TRY(reap_calloc(&w->given, w->n, sizeof *w->given));
  REAP_TRY(reap_calloc(&w->choices, w->n, sizeof *w->choices));
  REAP_TRY(reap_calloc(&w->counts, w->n, sizeof *w->counts));
  for (int g = 0; g < w->n; g++) w->counts[g] = is_coupled(w, g) ? 1 : reap_groups_at(w->groups, g)->units;
  return REAP_OK;
}

/* ------------------------------------------------------------------ one group */

static int first_consumer(const reap_group *group) {
  for (int k = 0; k < group->n_members; k++)
    if (group->members[k].role == REAP_CONSUMES) return group->members[k].node;
  return -1;
}

static int allocate(const work *w, int g, reap_group_path *p) {
  const reap_group *group = reap_groups_at(w->groups, g);
  const reap_coupled_choice *c = &w->choices[g];
  const int64_t n = c->units - c->n_kept;
  REAP_TRY(
      reap_group_path_allocate(p, group->name, w->graph->nodes[first_consumer(group)]->layer, c->units, n, w->sizes));
  memcpy(p->order, c->order, (size_t)n * sizeof *p->order);
  for (int64_t i = 0; i < n; i++) p->error[i] = fmax(c->error[i], i > 0 ? p->error[i - 1] : 0);
  p->block = p->m = 1; /* there is no one layer */
  p->energy = 1;
  p->ridge = w->options.ridge;
  p->samples = c->samples;
  p->n_sizes = reap_path_spread_sizes(p, w->sizes, p->sizes);
  return REAP_OK;
}

/* Collective: the group alone cut to size number i. */
static int measure_size(work *w, int g, int i, reap_group_path *p) {
  w->counts[g] = p->sizes[i];
  REAP_TRY(reap_comm_agree(w->comm, reap_group_path_keep(p, p->sizes[i], &w->given[g])));
  w->options.chosen = w->chosen;
  w->options.counts = w->counts;
  w->options.given = w->given;
  w->options.repair = NULL;
  reap_progress_span_begin(&w->span, w->progress, "coupled paths", w->done + i, 1, w->total);
  const int status =
      reap_trial(w->comm, w->graph, w->images, w->shard, &w->options, REAP_TRIAL_FEW_IMAGES, &p->moved[i]);
  reap_free(&w->given[g]);
  return status;
}

static int measure(work *w, int g, reap_group_path *p) {
  int status = REAP_OK;
  w->chosen[g] = true;
  for (int i = 0; status == REAP_OK && i < p->n_sizes; i++) status = measure_size(w, g, i, p);
  w->chosen[g] = false;
  w->counts[g] = p->channels;
  return reap_error_prefix(status, "output without units of %s", p->group);
}

/* ------------------------------------------------------------------ all groups */

/* Node of a path's first layer. */
static int node_of(const reap_graph *graph, const reap_group_path *p) {
  for (int i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->linear && strcmp(graph->nodes[i]->layer, p->layer) == 0) return i;
  return -1;
}

/* Room for one more, at its place; zero. */
static int insert(const reap_graph *graph, int node, reap_group_paths *paths, reap_group_path **out) {
  int at = paths->n;
  REAP_TRY(reap_grow(&paths->paths, paths->n, paths->n + 1, sizeof *paths->paths));
  while (at > 0 && node_of(graph, &paths->paths[at - 1]) > node) at--;
  memmove(&paths->paths[at + 1], &paths->paths[at], (size_t)(paths->n - at) * sizeof *paths->paths);
  memset(&paths->paths[at], 0, sizeof *paths->paths);
  paths->n++;
  *out = &paths->paths[at];
  return REAP_OK;
}

static int add(work *w, int g, reap_group_paths *paths) {
  reap_group_path *p = NULL, made = {0};
  int status = allocate(w, g, &made);
  if (status == REAP_OK) status = insert(w->graph, first_consumer(reap_groups_at(w->groups, g)), paths, &p);
  if (status == REAP_OK)
    *p = made;
  else
    reap_group_path_clear(&made);
  REAP_TRY(reap_comm_agree(w->comm, status));
  return measure(w, g, p);
}

int reap_coupled_paths_add(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups,
                           reap_dataset *images, const reap_shard *shard, const reap_prune_options *options, int sizes,
                           reap_group_paths *paths) {
  work w = {comm, graph, groups, images, shard, *options, options->progress, .total = 1, .sizes = sizes};
  w.options.given = NULL;
  w.options.method = reap_method_for_sizes(options->method);
  w.options.progress = &w.span.inner;
  int status = reap_comm_agree(comm, set_up(&w));
  w.options.counts = w.counts;
  for (int g = 0; status == REAP_OK && g < w.n; g++) w.total += is_coupled(&w, g) ? sizes : 0;
  reap_progress_span_begin(&w.span, w.progress, "coupled paths", 0, 1, w.total);
  if (status == REAP_OK) status = reap_coupled_choose(comm, graph, groups, images, shard, &w.options, NULL, w.choices);
  const bool *chosen = options->chosen;
  for (int g = 0; w.counts && g < w.n; g++) w.counts[g] = reap_groups_at(groups, g)->units;
  w.done = 1;
  for (int g = 0; status == REAP_OK && g < w.n; g++) {
    w.options.chosen = chosen;
    if (!is_coupled(&w, g)) continue;
    status = add(&w, g, paths);
    w.done += sizes;
    reap_progress_report(w.progress, "coupled paths", reap_groups_at(groups, g)->name, w.done, w.total, NULL);
  }
  clear(&w);
  return status;
}

int reap_coupled_paths_give(const reap_groups *groups, const reap_group_paths *paths, const int64_t *counts,
                            int64_t **given) {
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    const reap_group_path *p = reap_group_paths_find(paths, group->name);
    reap_free(&given[g]);
    if (p && !group->prunable && counts[g] < group->units) REAP_TRY(reap_group_path_keep(p, counts[g], &given[g]));
  }
  return REAP_OK;
}
