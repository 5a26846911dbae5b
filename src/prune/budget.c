/* Uniform shares under a budget of multiply-adds.
 *
 * A linear layer's multiply-adds are proportional to its input channels times its output channels, so the cost of any
 * counts follows from the graph without cutting it. The uniform share is found by bisection over the finitely many
 * shares at which some count changes; what is then left of the budget is given to single channels.
 */
#include "reap/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

int64_t reap_budget_round(double share, int64_t channels) {
  int64_t kept = (int64_t)floor(share * (double)channels + 0.5);
  return kept < 1 ? 1 : kept > channels ? channels : kept;
}

/* Channels of `group` before and after; 1 and 1 if there is no such group or it is not chosen. */
static void ratio(const reap_groups *groups, const bool *chosen, const int64_t *counts, int group, int64_t *before,
                  int64_t *after) {
  *before = *after = 1;
  if (group < 0 || !chosen[group]) return;
  *before = reap_groups_at(groups, group)->channels;
  *after = counts[group];
}

int64_t reap_budget_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen, const int64_t *counts) {
  int64_t sum = 0;
  for (int i = 0; i < graph->n_nodes; i++) {
    int64_t flops = reap_node_flops(graph, i), in, in_kept, out, out_kept;
    if (flops == 0) continue;
    ratio(groups, chosen, counts, reap_groups_consumed_by(groups, i), &in, &in_kept);
    ratio(groups, chosen, counts, reap_groups_produced_by(groups, i), &out, &out_kept);
    sum += flops / (in * out) * in_kept * out_kept; /* exact: flops is a multiple of in * out */
  }
  return sum;
}

static void uniform(const reap_groups *groups, const bool *chosen, double share, int64_t *counts) {
  for (int g = 0; g < reap_groups_count(groups); g++) {
    int64_t channels = reap_groups_at(groups, g)->channels;
    counts[g] = chosen[g] ? reap_budget_round(share, channels) : channels;
  }
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* All shares at which a count steps up, ascending. */
static int step_shares(const reap_groups *groups, const bool *chosen, double **out, int64_t *count) {
  int64_t total = 0;
  for (int g = 0; g < reap_groups_count(groups); g++)
    if (chosen[g]) total += reap_groups_at(groups, g)->channels;
  REAP_TRY(reap_alloc(out, total, sizeof **out));
  *count = 0;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const int64_t channels = chosen[g] ? reap_groups_at(groups, g)->channels : 0;
    for (int64_t k = 1; k <= channels; k++) {
      double share = ((double)k - 0.5) / (double)channels;
      /* The quotient may be rounded down to where the count has not changed yet. */
      if (reap_budget_round(share, channels) < k) share = nextafter(share, 2);
      (*out)[(*count)++] = share;
    }
  }
  qsort(*out, (size_t)*count, sizeof **out, compare);
  return REAP_OK;
}

/* Gives one more channel to groups, those furthest below the share first, as long as the budget holds. Not more than one: a
 * cheap layer would else keep all of its channels with what the others leave. */
static void fill(const reap_graph *graph, const reap_groups *groups, const bool *chosen, double share, double budget,
                 int64_t *counts, bool *full) {
  const int n = reap_groups_count(groups);
  for (int g = 0; g < n; g++) full[g] = !chosen[g] || counts[g] == reap_groups_at(groups, g)->channels;
  for (;;) {
    int best = -1;
    double lack = -INFINITY;
    for (int g = 0; g < n; g++) {
      double channels = (double)reap_groups_at(groups, g)->channels, missing = share - (double)counts[g] / channels;
      if (!full[g] && missing > lack) {
        lack = missing;
        best = g;
      }
    }
    if (best < 0) return;
    counts[best]++;
    if ((double)reap_budget_flops(graph, groups, chosen, counts) > budget) counts[best]--;
    full[best] = true;
  }
}

int reap_budget_uniform_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                              double share_of_flops, int64_t *counts) {
  const double whole = (double)reap_graph_flops(graph), budget = share_of_flops * whole;
  double *shares = NULL;
  bool *full = NULL;
  int64_t n = 0;
  int status = REAP_OK;
  uniform(groups, chosen, 0, counts);
  double least = (double)reap_budget_flops(graph, groups, chosen, counts);
  if (least > budget)
    return reap_error(REAP_ERR_USAGE, "--flops %g cannot be reached: with one channel kept in every prunable group %.4f are left",
                      share_of_flops, least / whole);
  REAP_TRY_OR(reap_alloc(&full, reap_groups_count(groups) + 1, sizeof *full), done);
  REAP_TRY_OR(step_shares(groups, chosen, &shares, &n), done);
  int64_t low = -1, high = n; /* shares[low] fits (or is below all), shares[high] does not */
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    uniform(groups, chosen, shares[middle], counts);
    if ((double)reap_budget_flops(graph, groups, chosen, counts) <= budget)
      low = middle;
    else
      high = middle;
  }
  double share = low < 0 ? 0 : shares[low];
  uniform(groups, chosen, share, counts);
  fill(graph, groups, chosen, share, budget, counts, full);
done:
  reap_free(&shares);
  reap_free(&full);
  return status;
}
