/* Orders and errors of all groups from one pass; see paths.h.
 *
 * Moments are gathered layer by layer (collect.c) and wait on the rank that solves them until every team has some to solve;
 * then all solve side by side. Layers too large for one rank are solved by all together as soon as they come.
 *
 * Cost: one forward pass and the moments of the original network; an elimination down to the least size for each group,
 * O(n^3), and a Cholesky factorisation for each measured size, r^3 / 3; then the networks of sensitivity.c. Memory: a rank
 * holds the moments of one or two layers, and the weights of its team's groups at the measured sizes. Failure modes:
 * those of the solver; no group to look at.
 */
#include "reap/paths.h"

#include <math.h>
#include <string.h>

#include "path_work.h"
#include "reap/collect.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/timer.h"
#include "stored_moments.h"

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

static const char *name_of(const run *r, const path_work *w) { return reap_groups_at(r->groups, w->group)->name; }

/* First rank of the group's team. */
static bool owns(const run *r, const path_work *w) { return reap_comm_rank(r->comm) == w->team; }

static bool in_team(const run *r, const path_work *w) { return reap_comm_rank(r->comm) % r->works.teams == w->team; }

static int64_t least_size(const run *r, const path_work *w) {
  const int64_t least = r->options->min_keep > 1 ? r->options->min_keep : 1;
  return least < w->layer.channels ? least : w->layer.channels;
}

/* ------------------------------------------------------------------ one group */

/* Below this relative error nothing is measured: the output's movement is in proportion there. */
static const double NEGLIGIBLE = 1e-4;

enum { MOST_SIZES = 64 };

/* Sizes to measure: evenly spread below the one at which errors begin to count. Returns their number. */
static int spread_sizes(const reap_group_path *p, int most, int64_t *sizes) {
  int64_t whole = p->channels;
  int count = 0;
  while (whole > 1 && whole > reap_group_path_least(p) && reap_group_path_error(p, whole - 1) < NEGLIGIBLE) whole--;
  for (int i = most < MOST_SIZES ? most : MOST_SIZES; i >= 1; i--) {
    const int64_t size = (int64_t)floor((double)whole * i / (most + 1) + 0.5);
    if (size < reap_group_path_least(p) || size >= whole || (count > 0 && size >= sizes[count - 1])) continue;
    sizes[count++] = size;
  }
  return count;
}

/* Errors relative to the energy and ascending: what rounding takes away from J is put back. */
static void take_path(const reap_path *from, reap_group_path *to) {
  double last = 0;
  to->energy = from->energy;
  to->ridge = from->ridge;
  memcpy(to->order, from->order, (size_t)to->n_removed * sizeof *to->order);
  for (int64_t i = 0; i < to->n_removed; i++) {
    if (from->energy > 0) last = fmax(last, from->error[i] / from->energy);
    to->error[i] = last;
  }
}

/* Room for the result; for the sizes, which follow from the errors, as many as there may be. Local. */
static int allocate(const run *r, path_work *w) {
  const reap_layer *l = &w->layer;
  const int most = r->options->sizes < MOST_SIZES ? r->options->sizes : MOST_SIZES;
  reap_group_path *p = w->path;
  REAP_TRY(reap_group_path_allocate(p, name_of(r, w), r->graph->nodes[l->node]->layer, l->channels,
                                    l->channels - least_size(r, w), most));
  p->n_sizes = 0;
  p->block = l->block;
  p->m = l->m;
  REAP_TRY(reap_calloc(&w->weights, most, sizeof *w->weights));
  return reap_calloc(&w->bias, most, sizeof *w->bias);
}

/* Room for the weights at the measured sizes. Local. */
static int allocate_weights(path_work *w) {
  for (int i = 0; i < w->path->n_sizes; i++) {
    REAP_TRY(reap_alloc(&w->weights[i], w->path->sizes[i] * w->layer.block * w->layer.m, sizeof **w->weights));
    REAP_TRY(reap_alloc(&w->bias[i], w->layer.m, sizeof **w->bias));
  }
  return REAP_OK;
}

/* Sizes, and the weights there, on the rank that has the moments. */
static int solve_sizes(const run *r, path_work *w, const reap_path *path) {
  reap_group_path *p = w->path;
  p->n_sizes = spread_sizes(p, r->options->sizes, p->sizes);
  REAP_TRY(allocate_weights(w));
  for (int i = 0; i < p->n_sizes; i++) {
    reap_path *at = NULL;
    REAP_TRY(reap_path_weights(w->moments, path, p->sizes[i], name_of(r, w), &at));
    memcpy(w->weights[i], at->weights, (size_t)(at->n_kept * at->block * at->m) * sizeof *at->weights);
    memcpy(w->bias[i], at->bias, (size_t)at->m * sizeof *at->bias);
    reap_path_destroy(&at);
  }
  return REAP_OK;
}

/* Elimination and weights; `together`: by all ranks, which all have the moments. */
static int solve(run *r, path_work *w, bool together) {
  const reap_solve_options options = {together ? r->comm : NULL, together ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL,
                                      r->options->ridge, REAP_ROUTE_AUTO};
  reap_path *path = NULL;
  int status = reap_solve_with(w->moments, least_size(r, w), &options, name_of(r, w), &path);
  if (status == REAP_OK) {
    take_path(path, w->path);
    w->path->samples = w->moments->samples;
    if (owns(r, w)) status = solve_sizes(r, w, path);
  }
  reap_path_destroy(&path);
  reap_moments_destroy(&w->moments);
  return status;
}

/* From the rank that solved to all; weights follow within the team, when it is formed (sensitivity.c). Collective; the
 * status is this rank's own. */
static int share(const run *r, path_work *w) {
  reap_group_path *p = w->path;
  double facts[] = {p->energy, p->ridge, (double)p->samples, p->n_sizes};
  REAP_TRY(reap_comm_broadcast(r->comm, facts, sizeof facts, w->team));
  p->energy = facts[0];
  p->ridge = facts[1];
  p->samples = (int64_t)facts[2];
  p->n_sizes = (int)facts[3];
  REAP_TRY(reap_comm_broadcast(r->comm, p->order, (size_t)p->n_removed * sizeof *p->order, w->team));
  REAP_TRY(reap_comm_broadcast(r->comm, p->error, (size_t)p->n_removed * sizeof *p->error, w->team));
  REAP_TRY(reap_comm_broadcast(r->comm, p->sizes, (size_t)p->n_sizes * sizeof *p->sizes, w->team));
  return in_team(r, w) && !owns(r, w) ? allocate_weights(w) : REAP_OK;
}

/* ------------------------------------------------------------------ all of them */

/* Solves what waits, every team its own. Collective. */
static int solve_waiting(run *r) {
  const double start = reap_seconds();
  int status = REAP_OK;
  for (int k = r->first; k < r->next && status == REAP_OK; k++)
    if (r->works.list[k].moments) status = solve(r, &r->works.list[k], false);
  status = reap_comm_agree(r->comm, status);
  for (; r->first < r->next && status == REAP_OK; r->first++)
    status = reap_comm_agree(r->comm, share(r, &r->works.list[r->first]));
  r->times.solve += reap_seconds() - start;
  return status;
}

static bool solved_together(const run *r, const path_work *w) {
  return reap_solver_settle(r->comm, r->options->solver, w->layer.n, w->layer.m) == REAP_SOLVER_SCALAPACK;
}

/* The next group's moments: kept by the rank that solves them, or solved at once by all. Collective; moments taken over. */
static int take(run *r, bool together, reap_moments **moments) {
  path_work *w = &r->works.list[r->next++];
  int status = REAP_OK;
  if (together || owns(r, w)) {
    w->moments = *moments;
    *moments = NULL;
  }
  if (together) {
    const double start = reap_seconds();
    status = reap_comm_agree(r->comm, solve(r, w, true));
    r->times.solve += reap_seconds() - start;
  }
  if (status == REAP_OK && (r->next - r->first >= r->works.teams || r->next == r->works.n)) status = solve_waiting(r);
  return status;
}

static int take_collected(void *context, const reap_layer *layer, reap_moments **moments) {
  run *r = context;
  const path_work *w = &r->works.list[r->next];
  if (w->layer.node != layer->node) return reap_error(REAP_ERR_INTERNAL, "moments come out of order");
  return take(r, solved_together(r, w), moments);
}

static int from_images(run *r, reap_dataset *images, const reap_shard *shard) {
  const reap_paths_options *o = r->options;
  const reap_moments_taker taker = {take_collected, r};
  const reap_collect_options options = {.chosen = o->chosen, .sampling = o->sampling, .backend = o->backend,
                                        .memory = o->memory, .scratch = o->scratch, .stats = o->save_stats, .taker = &taker, .progress = o->progress};
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

static int from_stats(run *r) {
  REAP_TRY(reap_comm_agree(r->comm, take_origin(r)));
  for (int k = 0; k < r->works.n; k++) {
    path_work *w = &r->works.list[k];
    const double start = reap_seconds();
    const char *layer = r->graph->nodes[w->layer.node]->layer;
    const bool together = solved_together(r, w);
    reap_moments *moments = NULL;
    int status = REAP_OK;
    if (together || owns(r, w)) status = stored_moments_read(r->options->from_stats, layer, &w->layer, &moments);
    r->times.read += reap_seconds() - start;
    status = reap_comm_agree(r->comm, status);
    if (status == REAP_OK) status = take(r, together, &moments);
    reap_moments_destroy(&moments);
    REAP_TRY(status);
    reap_progress_report(r->options->progress, "paths", layer, k + 1, r->works.n, NULL);
  }
  return REAP_OK;
}

/* Images that the output is measured on; the caller frees *indices. */
static int choose_images(const run *r, const reap_shard *shard, int64_t *count, int64_t **indices) {
  *count = shard && r->options->sizes > 0 ? held_out_images(shard->images, r->options->measured_images, NULL) : 0;
  REAP_TRY(reap_alloc(indices, *count, sizeof **indices));
  if (*count > 0) held_out_images(shard->images, *count, *indices);
  return REAP_OK;
}

/* Local. */
static int set_up(run *r, const reap_shard *shard, int64_t *count, int64_t **indices) {
  const reap_paths_options *o = r->options;
  REAP_TRY(choose_images(r, shard, count, indices));
  REAP_TRY(path_works_create(r->graph, r->groups, o->chosen, &r->works));
  const int64_t block = r->graph->batch, blocks = *count > 0 ? (*count + block - 1) / block : 1;
  REAP_TRY(path_works_deal(r->graph, *count > 0 ? o->sizes : 0, blocks, reap_comm_size(r->comm), &r->works));
  REAP_TRY(reap_group_paths_create(r->works.n, &r->paths));
  r->paths->images = shard ? shard->images : 0;
  r->paths->positions = o->sampling.positions;
  r->paths->seed = o->sampling.seed;
  r->paths->ridge = o->ridge;
  for (int k = 0; k < r->works.n; k++) {
    r->works.list[k].path = &r->paths->paths[k];
    REAP_TRY(allocate(r, &r->works.list[k]));
  }
  return REAP_OK;
}

static int measure(run *r, reap_dataset *images, int64_t count, const int64_t *indices) {
  const double start = reap_seconds();
  const reap_paths_options *o = r->options;
  const sensitivity_setting setting = {images, count, indices, o->backend, o->memory, o->scratch};
  if (count > 0)
    REAP_TRY(sensitivity_measure(r->comm, r->graph, &setting, o->progress, &r->works, &r->paths->divergence));
  r->paths->measured_images = count;
  r->times.held_out = count;
  r->times.measure = reap_seconds() - start;
  return REAP_OK;
}

int reap_paths_collect(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                       const reap_shard *shard, const reap_paths_options *options, reap_paths_times *times,
                       reap_group_paths **out) {
  /* Without images held out there is nothing to measure on. */
  reap_paths_options o = *options;
  run r = {.comm = comm, .graph = graph, .groups = groups, .options = &o};
  int64_t count = 0, *indices = NULL;
  if (!shard || held_out_images(shard->images, o.measured_images, NULL) == 0) o.sizes = 0;
  int status = reap_comm_agree(comm, set_up(&r, shard, &count, &indices));
  if (status == REAP_OK) status = o.from_stats ? from_stats(&r) : from_images(&r, images, shard);
  if (status == REAP_OK) status = measure(&r, images, count, indices);
  path_works_clear(&r.works);
  reap_free(&indices);
  if (times) *times = r.times;
  if (status != REAP_OK) reap_group_paths_destroy(&r.paths);
  *out = r.paths;
  return status;
}
