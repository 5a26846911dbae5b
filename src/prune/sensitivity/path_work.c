/* The paths of groups: dealt out to teams of ranks, solved, and shared.
 *
 * A team of r ranks that shares b blocks of images runs each network in ceil(b / r) turns. With c teams the slowest one
 * takes turns * (its groups' cost + one walk through the original network); all c are tried. Groups come in the order
 * of their consumers, and what is left of the network behind a consumer gets less from one to the next, so that giving
 * each group to the team that is done first is the longest-first rule, within 4/3 of the best.
 *
 * A rank that has a layer's moments follows its path alone. Where moments lie on all ranks, or the solver on all ranks
 * is the faster, all ranks follow it; the weights then go straight to the team that measures the group.
 *
 * Cost: groups * teams for each of min(ranks, groups) numbers of teams. Of each group an elimination down to the least
 * size, O(n^3), and a Cholesky factorisation for each measured size, r^3 / 3. Panels are streamed once for each of
 * these (moments_panels.c). Memory: the solver's, and the weights that the team keeps.
 */
#include "path_work.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "stats/collect.h"

/* Below this relative error nothing is measured: the output's movement is in proportion there. */
static const double NEGLIGIBLE = 1e-4;

enum { MOST_SIZES = 64 };

/* ------------------------------------------------------------------ teams */

int reap_path_works_create(const reap_graph *graph, const reap_groups *groups, const bool *chosen, path_works *out) {
  reap_layer *layers = NULL;
  int count = 0;
  memset(out, 0, sizeof *out);
  REAP_TRY(reap_collect_layers(graph, groups, false, &count, &layers));
  int status = reap_calloc(&out->list, count, sizeof *out->list);
  for (int k = 0; status == REAP_OK && k < count; k++) {
    const int group = reap_groups_consumed_by(groups, layers[k].node);
    if (!chosen || chosen[group]) out->list[out->n++] = (path_work){.group = group, .layer = layers[k]};
  }
  reap_free(&layers);
  if (status == REAP_OK && out->n == 0)
    status = reap_error(REAP_ERR_INPUT, "no channel group is left whose path could be followed");
  if (status != REAP_OK) reap_path_works_clear(out);
  return status;
}

void reap_path_works_clear(path_works *works) {
  for (int k = 0; k < works->n; k++) {
    path_work *w = &works->list[k];
    for (int i = 0; w->path && i < w->path->n_sizes; i++) {
      if (w->weights) reap_free(&w->weights[i]);
      if (w->bias) reap_free(&w->bias[i]);
    }
    reap_free(&w->weights);
    reap_free(&w->bias);
    reap_moments_destroy(&w->moments);
  }
  reap_free(&works->list);
  works->n = 0;
}

/* Multiply-adds of an image from node `first` on. */
static double cost_from(const reap_graph *graph, int first) {
  double sum = 0;
  for (int i = first; i < graph->n_nodes; i++) sum += (double)reap_node_flops(graph, i);
  return sum;
}

/* Deals out to `teams` teams; the slowest one's time. */
static double deal(double walk, int64_t blocks, int ranks, int teams, path_works *works, double *busy) {
  double slowest = 0;
  for (int t = 0; t < teams; t++) busy[t] = 0;
  for (int k = 0; k < works->n; k++) {
    path_work *w = &works->list[k];
    int best = 0;
    double best_time = INFINITY;
    for (int t = 0; t < teams; t++) {
      const int64_t members = ranks / teams + (t < ranks % teams);
      const double turns = (double)((blocks + members - 1) / members);
      const double time = busy[t] + turns * (w->cost + (busy[t] == 0 ? walk : 0));
      if (time < best_time) {
        best = t;
        best_time = time;
      }
    }
    w->team = best;
    busy[best] = best_time;
    slowest = fmax(slowest, best_time);
  }
  return slowest;
}

int reap_path_works_deal(const reap_graph *graph, int sizes, int64_t blocks, int ranks, path_works *works) {
  const double walk = cost_from(graph, 0);
  const int most = ranks < works->n ? ranks : works->n;
  double *busy = NULL, least = INFINITY;
  REAP_TRY(reap_alloc(&busy, most, sizeof *busy));
  for (int k = 0; k < works->n; k++)
    works->list[k].cost = (double)(sizes > 0 ? sizes : 1) * cost_from(graph, works->list[k].layer.node);
  for (int teams = most; teams >= 1; teams--) {
    const double time = deal(walk, blocks, ranks, teams, works, busy);
    if (time >= least) continue;
    least = time;
    works->teams = teams;
  }
  deal(walk, blocks, ranks, works->teams, works, busy);
  reap_free(&busy);
  return REAP_OK;
}

int reap_path_works_plan(const reap_graph *graph, const reap_groups *groups, const reap_paths_options *o,
                         int64_t images, int ranks, int64_t *count, path_works *out) {
  const int64_t block = graph->batch;
  *count = o->sizes > 0 ? reap_split_list(REAP_SPLIT_TENTH, images, o->measured_images, NULL) : 0;
  REAP_TRY(reap_path_works_create(graph, groups, o->chosen, out));
  return reap_path_works_deal(graph, *count > 0 ? o->sizes : 0, *count > 0 ? (*count + block - 1) / block : 1, ranks,
                              out);
}

/* ------------------------------------------------------------------ one group */

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
  w->ridge = o->ridge;
  p->block = l->block;
  p->m = l->m;
  REAP_TRY(reap_calloc(&w->weights, most, sizeof *w->weights));
  return reap_calloc(&w->bias, most, sizeof *w->bias);
}

int reap_path_spread_sizes(const reap_group_path *p, int most, int64_t *sizes) {
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

/* Size number i, of which this rank wants the weights or not. Collective if the options say ScaLAPACK. */
static int solve_size(const reap_gram *gram, const reap_solve_options *options, int i, path_work *w) {
  int64_t *kept = NULL;
  reap_path *at = NULL;
  int status = reap_group_path_keep(w->path, w->path->sizes[i], &kept);
  status = reap_comm_agree(options->comm, status);
  if (status == REAP_OK) status = reap_refit(gram, w->path->sizes[i], kept, options, w->path->group, &at);
  if (status == REAP_OK && at->weights) { /* arrays change hands: weights of several sizes are large enough */
    w->weights[i] = at->weights;
    w->bias[i] = at->bias;
    at->weights = at->bias = NULL;
  }
  reap_path_destroy(&at);
  reap_free(&kept);
  return status;
}

/* By the solver of the elimination, which has checked the moments, with the ridge that served there. */
static int solve_sizes(int most, const reap_gram *gram, const reap_solve_options *elimination, bool wanted,
                       path_work *w) {
  reap_solve_options options = *elimination;
  reap_gram pieces = *gram;
  options.ridge = w->path->ridge;
  options.no_weights = !wanted;
  pieces.moments = NULL;
  w->path->n_sizes = reap_path_spread_sizes(w->path, most, w->path->sizes);
  for (int i = 0; i < w->path->n_sizes; i++) REAP_TRY(solve_size(&pieces, &options, i, w));
  return REAP_OK;
}

/* ------------------------------------------------------------------ one rank alone */

int reap_path_work_solve(const reap_paths_options *o, path_work *w) {
  const reap_solve_options options = reap_solver_local(w->ridge);
  const reap_gram gram = reap_gram_of(w->moments);
  reap_path *path = NULL;
  int status = reap_solve(&gram, least_size(o, w), &options, w->path->group, &path);
  if (status == REAP_OK) take_path(path, gram.samples, w->path);
  reap_path_destroy(&path);
  if (status == REAP_OK) status = solve_sizes(o->sizes, &gram, &options, true, w);
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

int reap_path_work_solve_distributed(const reap_comm *comm, const reap_paths_options *o, const path_works *works,
                                     const reap_gram *gram, path_work *w) {
  const reap_solve_options options = reap_solver_distributed(comm, o->solver, w->ridge);
  reap_path *path = NULL;
  int status = reap_comm_agree(comm, reap_solve(gram, least_size(o, w), &options, w->path->group, &path));
  if (status == REAP_OK) {
    take_path(path, gram->samples, w->path);
    status = share_path(comm, 0, w->path);
  }
  reap_path_destroy(&path);
  if (status == REAP_OK) status = solve_sizes(o->sizes, gram, &options, in_team(comm, works, w), w);
  w->distributed = true;
  return status;
}
