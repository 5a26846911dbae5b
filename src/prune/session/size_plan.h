/* Which groups are pruned, and how far. Local.
 *
 * A plan is begun before anything is measured, which finds names that do not exist and budgets that cannot be met. It
 * is finished once there is what the choice goes by (session_paths.c).
 */
#ifndef REAP_PRUNE_SESSION_SIZE_PLAN_H
#define REAP_PRUNE_SESSION_SIZE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "model/groups/group_paths.h"
#include "prune/estimate/latency.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/session.h"

typedef struct reap_size_plan {
  int n_groups;
  bool *chosen;      /* [groups] */
  int64_t *channels; /* [groups] before */
  int64_t *counts;   /* [groups] channels kept */
  int64_t **given;   /* [groups] which ones, ascending, where they were given, else NULL */
  int64_t *least;    /* [groups] the fewest allowed */
  int64_t *multiple; /* [groups] sizes are multiples of it, or all */
  bool complete;     /* counts are final */
  reap_scope scope;  /* inner or all */
  reap_ratios ratios;
  reap_budget budget;
  double asked;              /* the settings' amount; NaN for sizes that were given */
  double limit, cost, whole; /* multiply-adds, parameters or milliseconds: allowed, of the plan, of the whole network */
  double predicted_loss, gap; /* NaN where no losses were looked at */
  double coupled;             /* what losses of coupled groups are multiplied by (scope_trials.h) */
  double share;               /* of its units that each coupled group keeps; 0: sizes by losses */
} reap_size_plan;

/* REAP_ERR_USAGE for names that do not exist and budgets out of reach, REAP_ERR_INPUT for a network without prunable
 * groups. To be cleared also after an error. */
int reap_size_plan_begin(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *settings,
                         reap_size_plan *plan);

/* For REAP_BUDGET_SIZES; see reap_session_set_sizes(). */
int reap_size_plan_give(const reap_groups *groups, const int64_t *counts, int64_t *const *kept, reap_size_plan *plan);

/* Chooses the sizes unless that is done (plan->complete, which may be set back to choose anew). paths: losses of all
 * chosen groups, if the ratios need them; latency: if the budget is a time. Else NULL. */
int reap_size_plan_finish(const reap_graph *graph, const reap_groups *groups, const reap_session_settings *settings,
                          const reap_group_paths *paths, const reap_latency *latency, reap_size_plan *plan);
void reap_size_plan_clear(reap_size_plan *plan);

#endif
