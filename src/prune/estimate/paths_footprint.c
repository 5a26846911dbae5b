/* Memory that paths of all groups will take: the largest layer's matrices, and the weights that wait to be measured. */
#include <math.h>

#include "footprint.h"
#include "prune/sensitivity/path_work.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Bytes of the weights at the measured sizes: evenly spread, they are half a layer for each. */
static double team_weights(const path_works *works, int team, int sizes) {
  double bytes = 0;
  for (int k = 0; k < works->n; k++) {
    const reap_layer *l = &works->list[k].layer;
    if (works->list[k].team == team) bytes += 0.5 * sizes * (double)l->n * (double)l->m * (double)sizeof(double);
  }
  return bytes;
}

/* Every rank has those of its team. */
static void note_weights(const path_works *works, int sizes, int ranks, reap_footprint *out) {
  double most = 0, all = 0;
  for (int t = 0; t < works->teams; t++) {
    const double bytes = team_weights(works, t, sizes);
    most = fmax(most, bytes);
    all += bytes * (ranks / works->teams + (t < ranks % works->teams));
  }
  out->weights = (int64_t)most;
  out->all_weights = (int64_t)all;
}

static int allocate(const path_works *works, reap_layer **layers, bool **spread) {
  REAP_TRY(reap_alloc(layers, works->n, sizeof **layers));
  REAP_TRY(reap_alloc(spread, works->n, sizeof **spread));
  for (int k = 0; k < works->n; k++) (*layers)[k] = works->list[k].layer;
  return REAP_OK;
}

int reap_paths_footprint(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, int64_t images,
                         const reap_paths_options *options, reap_footprint *out) {
  const int ranks = reap_comm_size(comm);
  path_works works = {0};
  reap_layer *layers = NULL;
  bool *spread = NULL;
  int64_t count = 0;
  int status = path_works_plan(graph, groups, options, images, ranks, &count, &works);
  if (status == REAP_OK) status = allocate(&works, &layers, &spread);
  REAP_TRY_OR(reap_comm_agree(comm, status), done);
  for (int k = 0; k < works.n; k++) spread[k] = reap_solver_spreads(comm, options->solver, layers[k].n, layers[k].m);
  status = reap_footprint_of_layers(graph, layers, works.n, images, REAP_FOOTPRINT_FOLLOW, spread, ranks, out);
  if (status == REAP_OK && count > 0) note_weights(&works, options->sizes, ranks, out);
  status = reap_comm_agree(comm, status);
done:
  path_works_clear(&works);
  reap_free(&layers);
  reap_free(&spread);
  return status;
}
