#include "phase_estimate.h"

#include <math.h>

#include "memory_estimate.h"
#include "prune/sensitivity/trial.h"
#include "reap/error.h"

static const double FITTED = 1 - 1 / (double)REAP_SPLIT_TENTH.every; /* of the images */

static double images_of(const reap_shard *shard) { return (double)(shard->last - shard->first) * (double)shard->block; }

int reap_estimate_run_seconds(const reap_run_setting *setting, double *seconds) {
  reap_run_estimate run;
  REAP_TRY(reap_estimate_run(setting, 0, &run));
  *seconds = reap_estimate_seconds(&run, &reap_nominal_speeds, setting->ranks);
  return REAP_OK;
}

int reap_estimate_paths_seconds(const reap_run_setting *s, const path_works *works, bool moments, double *seconds) {
  reap_run_estimate sum = {0};
  const double images = images_of(&s->shard);
  for (int k = 0; k < works->n; k++) {
    const reap_layer *layer = &works->list[k].layer;
    const double n = (double)layer->n, m = (double)layer->m;
    reap_layer_estimate cost;
    REAP_TRY(reap_estimate_layer(layer, &s->sampling, &s->shard, REAP_GRAM_WHOLE, s->ranks, &cost));
    if (moments) sum.moments_work += FITTED * images * cost.multiply_adds;
    sum.solver_work += (4 * n * n * n / 3 + 3 * n * n * m) / fmin(s->ranks, works->n);
  }
  if (moments) sum.forward = images * (double)reap_graph_flops(s->graph);
  *seconds = reap_estimate_seconds(&sum, &reap_nominal_speeds, s->ranks);
  return REAP_OK;
}

int reap_estimate_sensitivity_seconds(const reap_run_setting *s, path_works *works, int sizes, int64_t images,
                                      double *seconds) {
  const int64_t block = s->shard.block, blocks = (images + block - 1) / block;
  double work = 0;
  REAP_TRY(reap_path_works_deal(s->graph, sizes, blocks, s->ranks, works));
  for (int k = 0; k < works->n; k++) work += works->list[k].cost;
  *seconds = work * (double)(blocks * block) / reap_nominal_speeds.forward / s->ranks;
  return REAP_OK;
}

int reap_estimate_trial_seconds(const reap_run_setting *setting, int64_t images, double *seconds) {
  reap_run_setting s = *setting;
  const int64_t all = s.shard.images, few = all < images ? all : images;
  const double measured = (double)reap_split_list(REAP_SPLIT_TENTH, all, REAP_TRIAL_MEASURED, NULL);
  s.producer_rounds = 0;
  if (s.sampling.positions == 0 || s.sampling.positions > REAP_TRIAL_POSITIONS)
    s.sampling.positions = REAP_TRIAL_POSITIONS;
  s.shard = reap_shard_make(few, s.shard.block, 0, s.ranks);
  REAP_TRY(reap_estimate_run_seconds(&s, seconds));
  *seconds += 2 * measured * (double)reap_graph_flops(s.graph) / reap_nominal_speeds.forward / s.ranks;
  return REAP_OK;
}
