/* Choosing sizes is a pass that follows every inner group's path to its last channel, the network's outputs with each
 * group alone pruned to a few sizes, and pilot runs: as many as settle how losses combine, and for each coupled group
 * one for each of its sizes. Pass and pilot runs are estimated as runs are (run_estimate.c), so that their errors are
 * alike.
 */
#include "choice_estimate.h"

#include "prune/sensitivity/joint.h"
#include "prune/sensitivity/measured_images.h"
#include "prune/sensitivity/paths.h"
#include "prune/sensitivity/trial.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double COUPLED_TRIALS = 3; /* sizes of a coupled group; each takes half the images of other pilot runs */

/* Images held out that outputs are compared on. */
static double measured(const reap_run_setting *s, int64_t most) {
  return (double)reap_split_list(REAP_SPLIT_TENTH, s->shard.images, most, NULL);
}

/* The pass: a run over the original network that leaves one channel of each group. */
static int estimate_paths(const reap_run_setting *setting, int64_t limit, bool *chosen, int64_t *counts,
                          reap_run_estimate *out) {
  reap_run_setting pass = *setting;
  const double images = (double)(pass.shard.last - pass.shard.first) * (double)pass.shard.block;
  for (int g = 0; g < reap_groups_count(setting->groups); g++) {
    chosen[g] = setting->chosen[g] && reap_groups_at(setting->groups, g)->prunable;
    counts[g] = chosen[g] ? 1 : reap_groups_at(setting->groups, g)->units;
  }
  pass.chosen = chosen;
  pass.counts = counts;
  pass.repair = NULL;
  pass.producer_rounds = 0;
  pass.sampling.positions = reap_paths_positions(pass.sampling.positions);
  REAP_TRY(reap_estimate_run(&pass, limit, out));
  out->forward = images * (double)reap_graph_flops(setting->graph);
  return REAP_OK;
}

int reap_estimate_choice(const reap_run_setting *setting, int64_t limit, reap_choice_estimate *out) {
  const int n = reap_groups_count(setting->groups);
  const double flops = (double)reap_graph_flops(setting->graph) / setting->ranks;
  reap_run_setting trial = *setting;
  bool *chosen = NULL;
  int64_t *counts = NULL;
  int status = REAP_OK;
  double inner = 0, coupled = 0;
  *out = (reap_choice_estimate){0};
  for (int g = 0; g < n; g++) {
    inner += setting->chosen[g] && reap_groups_at(setting->groups, g)->prunable;
    coupled += setting->chosen[g] && !reap_groups_at(setting->groups, g)->prunable;
  }
  const int64_t images = setting->shard.images < REAP_TRIAL_IMAGES ? setting->shard.images : REAP_TRIAL_IMAGES;
  trial.shard = reap_shard_make(images, setting->shard.block, 0, setting->ranks);
  trial.producer_rounds = 0;
  trial.sampling.positions = REAP_TRIAL_POSITIONS;
  out->trials = REAP_JOINT_TRIALS + COUPLED_TRIALS * coupled / 2;
  int64_t drawn = 0;
  REAP_TRY(reap_measured_count(setting->graph, (int64_t)measured(setting, REAP_PATHS_IMAGES), &drawn));
  out->sensitivity = flops * inner * REAP_PATHS_SIZES / 2 * (double)drawn;
  out->comparison = flops * 2 * measured(setting, REAP_TRIAL_MEASURED);
  REAP_TRY_OR(reap_calloc(&chosen, n, sizeof *chosen), done);
  REAP_TRY_OR(reap_calloc(&counts, n, sizeof *counts), done);
  REAP_TRY_OR(estimate_paths(setting, limit, chosen, counts, &out->paths), done);
  status = reap_estimate_run(&trial, limit, &out->trial);
done:
  reap_free(&chosen);
  reap_free(&counts);
  return status;
}

double reap_estimate_trial_seconds(const reap_choice_estimate *f, const reap_speeds *s, int ranks) {
  return reap_estimate_seconds(&f->trial, s, ranks) + f->comparison / s->forward;
}

double reap_estimate_choice_seconds(const reap_choice_estimate *f, const reap_speeds *s, int ranks) {
  return reap_estimate_seconds(&f->paths, s, ranks) + f->trials * reap_estimate_trial_seconds(f, s, ranks) +
         f->sensitivity / s->forward;
}
