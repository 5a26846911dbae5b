/* Which groups are pruned and how far, from the command line's wishes; private to src/app. Local.
 *
 * A plan is begun before images are opened, which finds names and budgets that cannot be; it is finished once there are
 * the losses that the choice goes by (prune_paths.h).
 */
#ifndef REAP_APP_PRUNE_PLAN_H
#define REAP_APP_PRUNE_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include "json.h"

#include "model/groups/group_paths.h"
#include "prune/estimate/latency.h"
#include "prune/sizes/cost_model.h"
#include "prune_options.h"
#include "reap/graph.h"
#include "reap/groups.h"

typedef struct prune_plan {
  int n_groups;
  bool *chosen;      /* [groups] */
  int64_t *channels; /* [groups] before */
  int64_t *counts;   /* [groups] channels kept */
  int64_t **given;   /* [groups] which ones, ascending, where --plan says so, else NULL */
  int64_t *least;    /* [groups] the fewest allowed */
  bool complete;     /* counts are final */
  const char *ratios,
      *budget;               /* "uniform", "path", "output" or "plan"; "keep", "flops", "params", "latency" or "plan" */
  double asked;              /* the share asked for */
  double limit, cost, whole; /* multiply-adds, parameters or milliseconds: allowed, of the plan, of the whole network */
  double predicted_loss, bound, gap; /* NaN where no losses were looked at */
  int rounds;
} prune_plan;

/* REAP_ERR_USAGE for names that do not exist and budgets out of reach, REAP_ERR_INPUT for a plan file that does not fit
 * the network and a network without prunable groups. To be cleared also after an error. */
int prune_plan_begin(const reap_graph *graph, const reap_groups *groups, const prune_options *options,
                     prune_plan *plan);

/* What a plan may need to be finished. */
typedef struct prune_plan_data {
  const reap_group_paths *paths; /* losses of all chosen groups, where prune_plan_losses() says so, else NULL */
  const reap_latency *latency;   /* with --latency, else NULL */
} prune_plan_data;

/* Chooses the sizes unless that is done. */
int prune_plan_finish(const reap_graph *graph, const reap_groups *groups, const prune_options *options,
                      const prune_plan_data *data, prune_plan *plan);
void prune_plan_clear(prune_plan *plan);

/* What --ratios is, or stands for if it is not given: "uniform", "path", "output". */
const char *prune_plan_ratios(const prune_options *options);

/* True if the choice needs losses of groups at all sizes (with the output's movement for "output"). */
bool prune_plan_losses(const prune_options *options);

/* Adds `ratios`, `budget` (with `limit`, `cost`), `predicted_loss`, `gap` and `groups`, each with `channels` and
 * `kept`. */
void prune_plan_report(const prune_plan *plan, const reap_groups *groups, cJSON *report);

/* --save-plan. */
int prune_plan_save(const prune_plan *plan, const reap_groups *groups, const char *path);

#endif
