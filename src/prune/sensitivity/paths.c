/* Orders and errors of all groups from one pass; see paths.h.
 *
 * Moments are gathered layer by layer (collect.c) and wait on the rank that solves them until every team has some to
 * solve; then all solve side by side. A layer too large for one rank is solved by all ranks as soon as it comes:
 * from copies of its moments, or, where no rank is to hold them, from panels (moments_panels.h) or the pieces of a
 * file.
 *
 * Cost: one forward pass and the moments of the original network; what path_work.c takes for each group; then the
 * networks of sensitivity.c. Memory: a rank holds the moments of one or two layers, or its share of a large one's, and
 * the weights of its team's groups at the measured sizes. Failure modes: those of the solver; no group to look at.
 */
#include "paths.h"

#include <string.h>

#include "base/timer.h"
#include "linalg/placement.h"
#include "measured_images.h"
#include "prune/run/ridge.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "sensitivity.h"
#include "stats/collect.h"

typedef struct run {
  const reap_comm *comm;
  const reap_graph *graph;
  const reap_groups *groups;
  const reap_paths_options *options;
  path_works works;
  int first, next; /* works [first, next) have moments and wait to be solved */
  reap_group_paths *paths;
  reap_paths_times times;
} run;

/* First rank of the group's team. */
static bool owns(const run *r, const path_work *w) { return reap_comm_rank(r->comm) == w->team; }

static int tell_complete(void *context, int n) {
  const run *r = context;
  return r->options->complete ? r->options->complete(r->options->context, r->paths, n) : REAP_OK;
}

/* Solves what waits, every team its own; where no outputs are measured that completes the paths. Collective. */
static int solve_waiting(run *r) {
  const double start = reap_seconds();
  int status = REAP_OK;
  for (int k = r->first; k < r->next && status == REAP_OK; k++)
    if (r->works.list[k].moments) status = reap_path_work_solve(r->options, &r->works.list[k]);
  status = reap_comm_agree(r->comm, status);
  for (; r->first < r->next && status == REAP_OK; r->first++)
    status = reap_path_work_share(r->comm, &r->works, &r->works.list[r->first]);
  r->times.solve += reap_seconds() - start;
  return status == REAP_OK && r->options->sizes == 0 ? tell_complete(r, r->first) : status;
}

/* Groups before r->next have moments now; they wait until every team has some. Collective. */
static int go_on(run *r) {
  return r->next - r->first >= r->works.teams || r->next == r->works.n ? solve_waiting(r) : REAP_OK;
}

/* By all ranks, from copies of the moments. Collective. */
static bool solved_by_all(const run *r, const path_work *w) {
  return reap_solver_choose(r->comm, r->options->solver, w->layer.n, w->layer.m) == REAP_SOLVER_SCALAPACK;
}

/* Solved from at once, by all ranks; or the moments are kept by the rank that solves from them (the others may have
 * none). Collective. */
static int take(run *r, bool all, reap_layer_gram *gram) {
  path_work *w = &r->works.list[r->next++];
  int status = REAP_OK;
  if (all) {
    const double start = reap_seconds();
    status = reap_path_work_solve_distributed(r->comm, r->options, &r->works, &gram->view, w);
    r->times.solve += reap_seconds() - start;
  } else if (owns(r, w)) {
    w->moments = gram->moments;
    gram->moments = NULL;
  }
  return status == REAP_OK ? go_on(r) : status;
}

/* ------------------------------------------------------------------ from images */

static int check_turn(const run *r, const reap_layer *layer) {
  if (r->works.list[r->next].layer.node == layer->node) return REAP_OK;
  return reap_error(REAP_ERR_INTERNAL, "moments come out of order");
}

static int take_collected(void *context, const reap_layer *layer, reap_layer_gram *gram) {
  run *r = context;
  REAP_TRY(check_turn(r, layer));
  REAP_TRY(reap_path_work_choose_ridge(r->comm, r->graph, r->options, gram, &r->works.list[r->next]));
  const bool all = !gram->view.moments || solved_by_all(r, &r->works.list[r->next]);
  return take(r, all, gram);
}

static int from_images(run *r, reap_dataset *images, const reap_shard *shard) {
  const reap_paths_options *o = r->options;
  const reap_moments_visitor visitor = {take_collected, true, r};
  const reap_collect_options options = {.chosen = o->chosen,
                                        .sampling = o->sampling,
                                        .backend = o->backend,
                                        .memory = o->memory,
                                        .scratch = o->scratch,
                                        .stats = o->save_stats,
                                        .solver = o->solver,
                                        .whole_columns = reap_ridge_columns(o->ridge_rule),
                                        .visitor = &visitor,
                                        .progress = o->progress};
  reap_collect_result result;
  int status = reap_collect(r->comm, r->graph, r->groups, images, shard, &options, &result);
  r->times.read = result.seconds_read;
  r->times.forward = result.seconds_forward;
  r->times.moments = result.seconds_moments;
  return status;
}

/* What the file tells of its images. Local. */
static int take_origin(run *r) {
  reap_origin origin = {0};
  REAP_TRY(reap_stats_file_origin(r->options->from_stats, &origin));
  r->paths->images = reap_origin_count(&origin);
  r->paths->positions = origin.positions;
  r->paths->seed = (uint64_t)origin.seed;
  reap_origin_clear(&origin);
  return REAP_OK;
}

/* Piece by piece, or whole by the ranks that solve. */
static int solve_stored(run *r, const path_work *w, const char *layer) {
  const double start = reap_seconds();
  const reap_paths_options *o = r->options;
  const bool pieces = reap_solver_distributes(r->comm, o->solver, w->layer.n, w->layer.m);
  const bool all = pieces || solved_by_all(r, w);
  reap_layer_gram gram = {0};
  int status = reap_gram_read(r->comm, o->from_stats, layer, &w->layer, pieces, all || owns(r, w), &gram);
  r->times.read += reap_seconds() - start;
  if (status == REAP_OK) status = take(r, all, &gram);
  reap_gram_clear(&gram);
  return status;
}

static int from_stats(run *r) {
  REAP_TRY(reap_comm_agree(r->comm, take_origin(r)));
  reap_progress_report(r->options->progress, "paths", NULL, 0, r->works.n, NULL);
  for (int k = 0; k < r->works.n; k++) {
    const path_work *w = &r->works.list[k];
    const char *layer = r->graph->nodes[w->layer.node]->layer;
    REAP_TRY(solve_stored(r, w, layer));
    reap_progress_report(r->options->progress, "paths", layer, k + 1, r->works.n, NULL);
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ all of it */

/* Local. indices: of the images that the output is measured on; the caller frees them. */
static int set_up(run *r, const reap_shard *shard, int64_t *count, int64_t **indices) {
  const reap_paths_options *o = r->options;
  const int64_t images = shard ? shard->images : 0;
  REAP_TRY(reap_path_works_plan(r->graph, r->groups, o, images, reap_comm_size(r->comm), count, &r->works));
  REAP_TRY(reap_alloc(indices, *count, sizeof **indices));
  reap_split_list(REAP_SPLIT_TENTH, images, *count, *indices);
  REAP_TRY(reap_group_paths_create(r->works.n, &r->paths));
  r->paths->images = images;
  r->paths->positions = o->sampling.positions;
  r->paths->seed = o->sampling.seed;
  r->paths->ridge = o->ridge;
  for (int k = 0; k < r->works.n; k++) {
    path_work *w = &r->works.list[k];
    w->path = &r->paths->paths[k];
    REAP_TRY(reap_path_work_allocate(o, reap_groups_at(r->groups, w->group)->name,
                                     r->graph->nodes[w->layer.node]->layer, w));
  }
  return REAP_OK;
}

/* On the images that are drawn of `count` images held out. Collective. */
static int measure_some(run *r, reap_dataset *images, int64_t count, const int64_t *indices) {
  const reap_paths_options *o = r->options;
  sensitivity_setting setting = {.images = images,
                                 .count = count,
                                 .indices = indices,
                                 .backend = o->backend,
                                 .memory = o->memory,
                                 .scratch = o->scratch,
                                 .measure = o->measure,
                                 .complete = o->complete ? tell_complete : NULL,
                                 .context = r};
  measured_images some;
  int status = reap_measured_choose(r->comm, r->graph, &setting, &some);
  setting.all = count;
  setting.count = r->paths->measured_images = some.count;
  setting.indices = some.indices;
  setting.weights = some.weights;
  if (status == REAP_OK)
    status = reap_sensitivity_measure(r->comm, r->graph, &setting, o->progress, &r->works, &r->paths->measure);
  reap_measured_clear(&some);
  return status;
}

static int measure(run *r, reap_dataset *images, int64_t count, const int64_t *indices) {
  const double start = reap_seconds();
  if (count > 0) REAP_TRY(measure_some(r, images, count, indices));
  r->times.held_out = r->paths->measured_images;
  r->times.measure = reap_seconds() - start;
  return REAP_OK;
}

static int collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                   const reap_shard *shard, const reap_paths_options *options, reap_paths_times *times,
                   reap_group_paths **out) {
  /* Without images held out there is nothing to measure on. */
  reap_paths_options o = *options;
  run r = {.comm = comm, .graph = graph, .groups = groups, .options = &o};
  int64_t count = 0, *indices = NULL;
  if (!shard || reap_split_list(REAP_SPLIT_TENTH, shard->images, o.measured_images, NULL) == 0) o.sizes = 0;
  int status = reap_comm_agree(comm, set_up(&r, shard, &count, &indices));
  if (status == REAP_OK) status = o.from_stats ? from_stats(&r) : from_images(&r, images, shard);
  if (status == REAP_OK) status = measure(&r, images, count, indices);
  reap_path_works_clear(&r.works);
  reap_free(&indices);
  if (times) *times = r.times;
  if (status != REAP_OK) reap_group_paths_destroy(&r.paths);
  *out = r.paths;
  return status;
}

/* ------------------------------------------------------------------ and those that are known */

/* rest[groups]: those to look at that have no path yet. */
static int find_rest(const reap_groups *groups, const bool *chosen, const reap_group_paths *known, bool **rest,
                     bool *some) {
  REAP_TRY(reap_calloc(rest, reap_groups_count(groups), sizeof **rest));
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    (*rest)[g] = (chosen ? chosen[g] : group->prunable) && !reap_group_paths_find(known, group->name);
    *some |= (*rest)[g];
  }
  return REAP_OK;
}

/* Takes the path of that name out of the list, if it is there (NULL: no list). */
static bool take_out(reap_group_paths *list, const char *name, reap_group_path *out) {
  for (int k = 0; list && k < list->n; k++) {
    if (!list->paths[k].group || strcmp(list->paths[k].group, name) != 0) continue;
    *out = list->paths[k];
    list->paths[k] = (reap_group_path){0};
    return true;
  }
  return false;
}

/* Moves paths of both (b: NULL if there are none) into one list, in the order of the consumers. */
static int join(const reap_graph *graph, const reap_groups *groups, const bool *chosen, reap_group_paths *a,
                reap_group_paths *b, reap_group_paths **out) {
  path_works works;
  REAP_TRY(reap_path_works_create(graph, groups, chosen, &works));
  int status = reap_group_paths_create(works.n, out);
  for (int k = 0; status == REAP_OK && k < works.n; k++) {
    const char *name = reap_groups_at(groups, works.list[k].group)->name;
    if (!take_out(a, name, &(*out)->paths[k]) && !take_out(b, name, &(*out)->paths[k]))
      status = reap_error(REAP_ERR_INTERNAL, "no path of %s", name);
  }
  if (status == REAP_OK) {
    reap_group_path *paths = (*out)->paths;
    **out = b ? *b : *a;
    (*out)->n = works.n;
    (*out)->paths = paths;
  }
  reap_path_works_clear(&works);
  return status;
}

int reap_paths_collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                       const reap_shard *shard, const reap_paths_options *options, reap_group_paths *known,
                       reap_paths_times *times, reap_group_paths **out) {
  if (!known) return collect(comm, graph, groups, images, shard, options, times, out);
  reap_paths_options o = *options;
  reap_group_paths *others = NULL;
  bool *rest = NULL, some = false;
  *out = NULL;
  int status = reap_comm_agree(comm, find_rest(groups, options->chosen, known, &rest, &some));
  o.chosen = rest;
  if (status == REAP_OK && some) status = collect(comm, graph, groups, images, shard, &o, times, &others);
  if (status == REAP_OK) status = reap_comm_agree(comm, join(graph, groups, options->chosen, known, others, out));
  if (status != REAP_OK) reap_group_paths_destroy(out);
  reap_group_paths_destroy(&others);
  reap_free(&rest);
  return status;
}
