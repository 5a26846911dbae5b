/* Dealing out groups to teams of ranks.
 *
 * A team of r ranks that shares b blocks of images runs each network in ceil(b / r) turns. With c teams the slowest one
 * takes turns * (its groups' cost + one walk through the original network); all c are tried. Groups come in the order
 * of their consumers, and what is left of the network behind a consumer gets less from one to the next, so that giving
 * each group to the team that is done first is the longest-first rule, within 4/3 of the best.
 *
 * Cost: groups * teams for each of min(ranks, groups) numbers of teams.
 */
#include "path_work.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "stats/collect.h"

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
