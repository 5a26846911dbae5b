/* One group's path: the elimination, the sizes to measure, and the weights there.
 *
 * A rank that has a layer's moments follows its path alone. Where moments lie on all ranks, or the solver on all ranks
 * is the faster, all follow it together; the weights then go straight to the team that measures the group.
 *
 * Cost: an elimination down to the least size, O(n^3), and a Cholesky factorisation for each measured size, r^3 / 3.
 * Panels are streamed once for each of these (moments_panels.c). Memory: the solver's, and the weights that the team
 * keeps.
 */
#include <math.h>
#include <string.h>

#include "path_work.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Below this relative error nothing is measured: the output's movement is in proportion there. */
static const double NEGLIGIBLE = 1e-4;

enum { MOST_SIZES = 64 };

static bool in_team(const reap_comm *comm, const path_works *works, const path_work *w) {
  return reap_comm_rank(comm) % works->teams == w->team;
}

static int64_t least_size(const reap_paths_options *o, const path_work *w) {
  const int64_t least = o->min_keep > 1 ? o->min_keep : 1;
  return least < w->layer.channels ? least : w->layer.channels;
}

int reap_path_work_allocate(const reap_paths_options *o, const char *group, const char *layer, path_work *w) {
  const reap_layer *l = &w->layer;
  const int most = o->sizes < MOST_SIZES ? o->sizes : MOST_SIZES;
  reap_group_path *p = w->path;
  REAP_TRY(reap_group_path_allocate(p, group, layer, l->channels, l->channels - least_size(o, w), most));
  p->n_sizes = 0; /* until the errors are known */
  p->block = l->block;
  p->m = l->m;
  REAP_TRY(reap_calloc(&w->weights, most, sizeof *w->weights));
  return reap_calloc(&w->bias, most, sizeof *w->bias);
}

/* Sizes to measure: evenly spread below the one at which errors begin to count, and where they never do (fewer rows
 * than columns of one channel) the least. Returns their number. */
static int spread_sizes(const reap_group_path *p, int most, int64_t *sizes) {
  int64_t whole = p->channels;
  int count = 0;
  while (whole > 1 && whole > reap_group_path_least(p) && reap_group_path_error(p, whole - 1) < NEGLIGIBLE) whole--;
  for (int i = most < MOST_SIZES ? most : MOST_SIZES; i >= 1; i--) {
    const int64_t size = (int64_t)floor((double)whole * i / (most + 1) + 0.5);
    if (size < reap_group_path_least(p) || size >= whole || (count > 0 && size >= sizes[count - 1])) continue;
    sizes[count++] = size;
  }
  if (count == 0 && most > 0 && p->n_removed > 0) sizes[count++] = reap_group_path_least(p);
  return count;
}

/* Errors relative to the energy and ascending: what rounding takes away from J is put back. */
static void take_path(const reap_path *from, int64_t samples, reap_group_path *to) {
  double last = 0;
  to->energy = from->energy;
  to->ridge = from->ridge;
  to->samples = samples;
  memcpy(to->order, from->order, (size_t)to->n_removed * sizeof *to->order);
  for (int64_t i = 0; i < to->n_removed; i++) {
    if (from->energy > 0) last = fmax(last, from->error[i] / from->energy);
    to->error[i] = last;
  }
}

/* ------------------------------------------------------------------ weights at the measured sizes */

/* Channels left at a size, ascending; the caller frees them. */
static int channels_at(const reap_group_path *p, int64_t size, int64_t **kept) {
  bool *mask = NULL;
  int64_t count = 0;
  *kept = NULL;
  int status = reap_alloc(&mask, p->channels, sizeof *mask);
  if (status == REAP_OK) status = reap_alloc(kept, size, sizeof **kept);
  if (status == REAP_OK) {
    reap_group_path_mask(p, size, mask);
    for (int64_t c = 0; c < p->channels; c++)
      if (mask[c]) (*kept)[count++] = c;
  }
  reap_free(&mask);
  return status;
}

/* Size number i. Collective if the options say ScaLAPACK; wanted: this rank is to have the weights. */
static int solve_size(const reap_moments_source *source, const reap_solve_options *options, bool wanted, int i,
                      path_work *w) {
  int64_t *kept = NULL;
  reap_path *at = NULL;
  int status = channels_at(w->path, w->path->sizes[i], &kept);
  status = reap_comm_agree(options->comm, status);
  if (status == REAP_OK)
    status = reap_refit_source(source, w->path->sizes[i], kept, options, wanted, w->path->group, &at);
  if (status == REAP_OK && wanted) { /* arrays change hands: weights of several sizes are large enough */
    w->weights[i] = at->weights;
    w->bias[i] = at->bias;
    at->weights = at->bias = NULL;
  }
  reap_path_destroy(&at);
  reap_free(&kept);
  return status;
}

/* By the solver of the elimination, with the ridge that served there. */
static int solve_sizes(int most, const reap_moments_source *source, const reap_solve_options *elimination, bool wanted,
                       path_work *w) {
  reap_solve_options options = *elimination;
  options.ridge = w->path->ridge;
  w->path->n_sizes = spread_sizes(w->path, most, w->path->sizes);
  for (int i = 0; i < w->path->n_sizes; i++) REAP_TRY(solve_size(source, &options, wanted, i, w));
  return REAP_OK;
}

/* ------------------------------------------------------------------ one rank alone */

int reap_path_work_solve(const reap_paths_options *o, path_work *w) {
  const reap_solve_options options = {NULL, REAP_SOLVER_LOCAL, o->ridge, REAP_ROUTE_AUTO};
  reap_moments_source source;
  reap_path *path = NULL;
  double *diagonal = NULL;
  int status = reap_moments_check(w->moments, w->path->group);
  if (status == REAP_OK) status = reap_moments_as_source(w->moments, &diagonal, &source);
  if (status == REAP_OK) status = reap_solve_source(&source, least_size(o, w), &options, w->path->group, &path);
  if (status == REAP_OK) take_path(path, source.samples, w->path);
  reap_path_destroy(&path);
  if (status == REAP_OK) status = solve_sizes(o->sizes, &source, &options, true, w);
  reap_free(&diagonal);
  reap_moments_destroy(&w->moments);
  return status;
}

/* Room for the weights at the measured sizes. Local. */
static int allocate_weights(path_work *w) {
  for (int i = 0; i < w->path->n_sizes; i++) {
    REAP_TRY(reap_alloc(&w->weights[i], w->path->sizes[i] * w->layer.block * w->layer.m, sizeof **w->weights));
    REAP_TRY(reap_alloc(&w->bias[i], w->layer.m, sizeof **w->bias));
  }
  return REAP_OK;
}

/* Order, errors and sizes of rank `root` to all: numbers that every rank works out for itself may differ where
 * processors do. */
static int share_path(const reap_comm *comm, int root, reap_group_path *p) {
  double facts[] = {p->energy, p->ridge, (double)p->samples, p->n_sizes};
  REAP_TRY(reap_comm_broadcast(comm, facts, sizeof facts, root));
  p->energy = facts[0];
  p->ridge = facts[1];
  p->samples = (int64_t)facts[2];
  p->n_sizes = (int)facts[3];
  REAP_TRY(reap_comm_broadcast(comm, p->order, (size_t)p->n_removed * sizeof *p->order, root));
  REAP_TRY(reap_comm_broadcast(comm, p->error, (size_t)p->n_removed * sizeof *p->error, root));
  return reap_comm_broadcast(comm, p->sizes, (size_t)p->n_sizes * sizeof *p->sizes, root);
}

int reap_path_work_share(const reap_comm *comm, const path_works *works, path_work *w) {
  if (w->distributed) return REAP_OK;
  REAP_TRY(share_path(comm, w->team, w->path));
  const int status = in_team(comm, works, w) && reap_comm_rank(comm) != w->team ? allocate_weights(w) : REAP_OK;
  return reap_comm_agree(comm, status);
}

/* ------------------------------------------------------------------ all ranks */

static int solve_distributed(const reap_comm *comm, const reap_paths_options *o, const path_works *works,
                             const reap_moments_source *source, path_work *w) {
  const reap_solve_options options = reap_solver_distributed(comm, o->solver, o->ridge);
  reap_path *path = NULL;
  int status = reap_comm_agree(comm, reap_solve_source(source, least_size(o, w), &options, w->path->group, &path));
  if (status == REAP_OK) {
    take_path(path, source->samples, w->path);
    status = share_path(comm, 0, w->path);
  }
  reap_path_destroy(&path);
  if (status == REAP_OK) status = solve_sizes(o->sizes, source, &options, in_team(comm, works, w), w);
  w->distributed = true;
  return status;
}

int reap_path_work_solve_distributed(const reap_comm *comm, const reap_paths_options *o, const path_works *works,
                                     const reap_gram *gram, path_work *w) {
  reap_moments_source source;
  double *diagonal = NULL;
  if (gram->place != REAP_GRAM_REPLICATED) return solve_distributed(comm, o, works, gram->source, w);
  int status = reap_moments_check(gram->moments, w->path->group);
  if (status == REAP_OK) status = reap_moments_as_source(gram->moments, &diagonal, &source);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = solve_distributed(comm, o, works, &source, w);
  reap_free(&diagonal);
  return status;
}
