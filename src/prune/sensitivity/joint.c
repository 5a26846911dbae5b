/* The loss-composition model: how the losses of several groups combine; see joint.h.
 *
 * The laws are (power, tilt) = (1, 1), losses early in the network are repaired by what comes later; (1, 0), losses add
 * up as measured; and (0, 0), uniform shares, so that a network whose layers are all alike is not made worse by noise.
 * The first holds unless the network that another one sizes is better by more than a tenth in a trial (trial.h).
 *
 * A trial costs more than all else here, so a law is tried only if it could win. The second is not if, by its own
 * losses, its sizes are not better than the first one's by a tenth: then they are not even if it is the true one.
 * Uniform shares are not if, by the first law, they lose half as much again as its own sizes: noise does not make such
 * a difference. The first law is tried with the first that challenges it.
 *
 * What (1, 0) promised over (1, 1), and what came of it in trials, on networks for CIFAR-10 and Fashion-MNIST:
 * ResNet-20 5 % and -3 %, resnet-fashion 6 % and 7 %, dense-fashion 1.4 % and 1.5 %, mobile-fashion 4 % and 0 %.
 *
 * Cost: none to three trials.
 *
 * KL divergence of the plain soft-max on 500 test images at half the multiply-adds, 1000 calibration images, no repair:
 * ResNet-56 0.159 with tilt 0, 0.143 with 1, 0.151 with 2, 0.176 with 3, 0.206 with -1; 0.139 with power 1/2.
 * ResNet-20: 0.385, 0.321, 0.354 with tilts of 0, 1, 2; 0.423 with -1; 0.368 with power 1/2.
 */
#include "joint.h"

#include <math.h>
#include <string.h>

#include "base/progress_span.h"
#include "prune/sizes/cost_model.h"
#include "prune/sizes/ratios.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "trial.h"

/* Trials of few images differ by some 5 % by chance. */
static const double LAWS[REAP_PATHS_TRIALS][2] = {{1, 1}, {1, 0}, {0, 0}};
static const double WORTH_CHANGING = 0.1;
/* What uniform shares lose by the paths, of what chosen ones lose, from which they are not tried. */
static const double OUT_OF_QUESTION = 1.5;

static int find_path(const reap_group_paths *paths, const reap_group *group) {
  for (int i = 0; i < paths->n; i++)
    if (strcmp(paths->paths[i].group, group->name) == 0 && paths->paths[i].channels == group->units) return i;
  return -1;
}

/* Whether a path is one of a group with several producers or consumers. */
static bool is_coupled(const reap_groups *groups, const reap_group_path *path) {
  for (int g = 0; g < reap_groups_count(groups); g++)
    if (strcmp(reap_groups_at(groups, g)->name, path->group) == 0) return !reap_groups_at(groups, g)->prunable;
  return false;
}

/* The share of the other inner groups that lies behind path number `index`: coupled ones are cut before all of them. */
static double share_behind(const reap_groups *groups, const reap_group_paths *paths, int index) {
  int others = 0, behind = 0;
  for (int i = 0; i < paths->n; i++) {
    if (i == index || is_coupled(groups, &paths->paths[i])) continue;
    others++;
    behind += i > index;
  }
  return others > 0 ? (double)behind / (double)others : 0;
}

static int fill(const reap_groups *groups, const reap_group_paths *paths, const reap_group *group, bool output,
                double factor, int64_t *least, double **loss) {
  const int index = find_path(paths, group);
  if (index < 0)
    return reap_error(
        REAP_ERR_INPUT,
        "group %s: the paths do not have it with %lld channels; they are of another network or of other groups",
        group->name, (long long)group->units);
  const reap_group_path *path = &paths->paths[index];
  if (output && path->n_sizes == 0 && path->n_removed > 0)
    return reap_error(REAP_ERR_INPUT,
                      "group %s: the paths do not tell how far the network's output moves; take ratios path, or make "
                      "them anew with images",
                      group->name);
  const double behind = share_behind(groups, paths, index);
  REAP_TRY(reap_alloc(loss, group->units + 1, sizeof **loss));
  for (int64_t k = 0; k <= group->units; k++)
    (*loss)[k] = factor * (output ? reap_group_paths_loss(paths, index, behind, k) : reap_group_path_error(path, k));
  if (*least < reap_group_path_least(path)) *least = reap_group_path_least(path);
  return REAP_OK;
}

int reap_joint_losses(const reap_groups *groups, const bool *chosen, const reap_group_paths *paths, bool output,
                      double coupled, int64_t *least, double **losses) {
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (chosen[g]) REAP_TRY(fill(groups, paths, group, output, group->prunable ? 1 : coupled, &least[g], &losses[g]));
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ trials */

typedef struct fitting {
  const reap_groups *groups;
  const bool *chosen;
  reap_group_paths *paths;
  reap_cost_model *cost;
  int n;
  int64_t *counts, *first, *least; /* [n] sizes by the law at hand and by the first one; no fewer */
  double **losses;                 /* by the law at hand */
  bool uniform_out;                /* uniform shares are out of the question */
} fitting;

/* What a trial is made of. */
typedef struct pilot {
  const reap_comm *comm;
  const reap_graph *graph;
  reap_dataset *images;
  const reap_shard *shard;
  const reap_prune_options *options;
} pilot;

static void clear(fitting *f) {
  for (int g = 0; f->losses && g < f->n; g++) reap_free(&f->losses[g]);
  reap_free(&f->losses);
  reap_free(&f->counts);
  reap_free(&f->first);
  reap_free(&f->least);
  reap_cost_model_destroy(&f->cost);
}

static int set_up(const reap_graph *graph, fitting *f) {
  f->n = reap_groups_count(f->groups);
  REAP_TRY(reap_calloc(&f->losses, f->n, sizeof *f->losses));
  REAP_TRY(reap_calloc(&f->counts, f->n, sizeof *f->counts));
  REAP_TRY(reap_calloc(&f->first, f->n, sizeof *f->first));
  REAP_TRY(reap_calloc(&f->least, f->n, sizeof *f->least));
  return reap_cost_model_flops(graph, f->groups, f->chosen, &f->cost);
}

/* Half of what can be taken, by the losses at hand; counts[groups]: scratch. */
static reap_ratio_problem problem_of(const fitting *f, int64_t *counts) {
  reap_ratio_problem problem = {f->cost, (const double *const *)f->losses, f->least, NULL, 0};
  for (int g = 0; g < f->n; g++) counts[g] = reap_ratios_least(&problem, g);
  problem.budget = (f->cost->whole + reap_cost_model_at(f->cost, counts)) / 2;
  return problem;
}

/* Sizes at half of what can be taken, by the law that the paths have now. Local. */
static int choose(fitting *f) {
  reap_ratio_outcome outcome;
  for (int g = 0; g < f->n; g++) {
    reap_free(&f->losses[g]);
    f->least[g] = 1;
  }
  REAP_TRY(reap_joint_losses(f->groups, f->chosen, f->paths, true, 1, f->least, f->losses));
  const reap_ratio_problem problem = problem_of(f, f->counts);
  if (f->paths->power == 0) return reap_ratios_uniform(&problem, f->counts);
  return reap_ratios_choose(&problem, f->counts, &outcome);
}

/* What sizes lose by the law at hand. */
static double loss_of(const fitting *f, const int64_t *counts) {
  double all = 0;
  for (int g = 0; g < f->n; g++)
    if (f->losses[g]) all += f->losses[g][counts[g]];
  return all;
}

/* *out: whether uniform shares lose too much by the first law, which is at hand. Local. */
static int uniform_out_of_question(const fitting *f, bool *out) {
  int64_t *counts = NULL;
  REAP_TRY(reap_calloc(&counts, f->n, sizeof *counts));
  const reap_ratio_problem problem = problem_of(f, counts);
  const int status = reap_ratios_uniform(&problem, counts);
  *out = status == REAP_OK && loss_of(f, counts) >= OUT_OF_QUESTION * loss_of(f, f->first);
  reap_free(&counts);
  return status;
}

/* Sizes by a law, which is the one at hand then. *could_win: whether it is worth a trial; rank 0's word holds for that
 * and the sizes. Collective. */
static int size_by(const reap_comm *comm, const double law[2], fitting *f, bool *could_win) {
  f->paths->power = law[0];
  f->paths->tilt = law[1];
  REAP_TRY(reap_comm_agree(comm, choose(f)));
  REAP_TRY(reap_comm_broadcast(comm, f->counts, (size_t)f->n * sizeof *f->counts, 0));
  *could_win = law[0] == 0 ? !f->uniform_out : loss_of(f, f->counts) < (1 - WORTH_CHANGING) * loss_of(f, f->first);
  return reap_comm_broadcast(comm, could_win, sizeof *could_win, 0);
}

/* What sizes come to. Collective. */
static int try_sizes(const pilot *p, int index, int64_t *counts, double *moved) {
  reap_progress_span span;
  reap_prune_options o = *p->options;
  o.counts = counts;
  o.given = NULL;
  o.progress = &span.inner;
  reap_progress_span_begin(&span, p->options->progress, "trials", index, 1, REAP_PATHS_TRIALS);
  return reap_trial(p->comm, p->graph, p->images, p->shard, &o, REAP_TRIAL_IMAGES, moved);
}

static int try_laws(const pilot *p, fitting *f) {
  reap_paths_trial *trials = f->paths->trials;
  bool could_win = true;
  int best = 0;
  REAP_TRY(size_by(p->comm, LAWS[0], f, &could_win));
  memcpy(f->first, f->counts, (size_t)f->n * sizeof *f->first);
  REAP_TRY(reap_comm_agree(p->comm, uniform_out_of_question(f, &f->uniform_out)));
  for (int i = 1; i < REAP_PATHS_TRIALS; i++) {
    REAP_TRY(size_by(p->comm, LAWS[i], f, &could_win));
    if (!could_win) continue;
    if (isnan(trials[0].moved)) REAP_TRY(try_sizes(p, 0, f->first, &trials[0].moved));
    REAP_TRY(try_sizes(p, i, f->counts, &trials[i].moved));
    const double least = best == 0 ? (1 - WORTH_CHANGING) * trials[0].moved : trials[best].moved;
    if (trials[i].moved < least) best = i;
  }
  reap_progress_report(p->options->progress, "trials", NULL, REAP_PATHS_TRIALS, REAP_PATHS_TRIALS, NULL);
  f->paths->power = trials[best].power;
  f->paths->tilt = trials[best].tilt;
  return REAP_OK;
}

int reap_joint_fit(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                   const reap_shard *shard, const reap_prune_options *options, reap_group_paths *paths) {
  fitting f = {.groups = groups, .chosen = options->chosen, .paths = paths};
  const pilot p = {comm, graph, images, shard, options};
  for (int i = 0; i < REAP_PATHS_TRIALS; i++) paths->trials[i] = (reap_paths_trial){LAWS[i][0], LAWS[i][1], NAN};
  if (!images || paths->measured_images == 0 || paths->n == 0) return REAP_OK;
  int status = reap_comm_agree(comm, set_up(graph, &f));
  if (status == REAP_OK) status = try_laws(&p, &f);
  clear(&f);
  return status;
}
