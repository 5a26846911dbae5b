/* Dynamic programming over the budget, and the Lagrangian bound; see knapsack.h.
 *
 * best[g][b], the least loss of the first g classes at a cost of at most b units, follows from best[g - 1]: items *
 * units operations in all, and one number a class and unit to find the way back. Costs are counted from each class's
 * cheapest item.
 *
 * The unit is the greatest common divisor of the costs where they are whole numbers with one that is large enough
 * (channel counts of networks are multiples of a few numbers, so that this is the rule); else a fixed part of the
 * budget, costs rounded up. Fails only for lack of memory; nothing here depends on more than the order of the numbers,
 * so that equal inputs give equal choices everywhere.
 */
#include "knapsack.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_UNITS = 1 << 15, MOST_ENTRIES = 1 << 25, BISECTIONS = 200 };

static double cheapest(const reap_knapsack_class *c, int64_t *index) {
  int64_t best = 0;
  for (int64_t i = 1; i < c->n; i++)
    if (c->cost[i] < c->cost[best] || (c->cost[i] == c->cost[best] && c->loss[i] < c->loss[best])) best = i;
  if (index) *index = best;
  return c->cost[best];
}

static double common_divisor(double a, double b) {
  while (b > 0) {
    double rest = fmod(a, b);
    a = b;
    b = rest;
  }
  return a;
}

/* Cost of one unit for a budget of `room` above the cheapest items. */
static double find_unit(int n, const reap_knapsack_class *classes, double room) {
  const double most = n > MOST_ENTRIES / MOST_UNITS ? (double)(MOST_ENTRIES / n + 1) : MOST_UNITS;
  double divisor = 0;
  for (int g = 0; g < n; g++) {
    const double base = cheapest(&classes[g], NULL);
    for (int64_t i = 0; i < classes[g].n; i++) {
      const double cost = classes[g].cost[i] - base;
      if (cost != floor(cost) || cost > 9e15) return room / most;
      divisor = common_divisor(divisor, cost);
    }
  }
  return divisor > 0 && room / divisor <= most ? divisor : room / most;
}

/* Units that hold `cost`: rounded up, also where the quotient was rounded down. */
static double units_above(double cost, double unit) {
  const double units = ceil(cost / unit);
  return units * unit < cost ? units + 1 : units;
}

/* Units that fit into `room`. */
static int64_t units_within(double room, double unit) {
  const double units = floor(room / unit);
  return (int64_t)(units * unit > room ? units - 1 : units);
}

/* One class more. best: by units left to spend, before and after; from: item taken at each. */
static void add_class(const reap_knapsack_class *c, double unit, int64_t units, const double *before, double *after,
                      int32_t *from) {
  const double base = cheapest(c, NULL);
  for (int64_t b = 0; b <= units; b++) after[b] = INFINITY;
  for (int64_t i = 0; i < c->n; i++) {
    const double wanted = units_above(c->cost[i] - base, unit);
    if (wanted > (double)units) continue;
    const int64_t need = (int64_t)wanted;
    for (int64_t b = need; b <= units; b++) {
      const double loss = before[b - need] + c->loss[i];
      if (loss < after[b] || (loss == after[b] && c->cost[i] < c->cost[from[b]])) {
        after[b] = loss;
        from[b] = (int32_t)i;
      }
    }
  }
}

static void trace_back(int n, const reap_knapsack_class *classes, double unit, int64_t units, const int32_t *from,
                       int64_t *chosen) {
  int64_t left = units;
  for (int g = n - 1; g >= 0; g--) {
    const reap_knapsack_class *c = &classes[g];
    chosen[g] = from[(int64_t)g * (units + 1) + left];
    left -= (int64_t)units_above(c->cost[chosen[g]] - cheapest(c, NULL), unit);
  }
}

int reap_knapsack_solve(int n, const reap_knapsack_class *classes, double budget, int64_t *chosen, bool *feasible) {
  double least = 0, *best = NULL;
  int32_t *from = NULL;
  int status = REAP_OK;
  for (int g = 0; g < n; g++) least += cheapest(&classes[g], &chosen[g]);
  const double room = budget - least;
  *feasible = room >= 0;
  if (!*feasible || n == 0) return REAP_OK;
  double unit = find_unit(n, classes, room);
  if (!(unit > 0)) unit = 1; /* nothing to spend */
  const int64_t units = units_within(room, unit);
  REAP_TRY_OR(reap_calloc(&best, 2 * (units + 1), sizeof *best), done);
  REAP_TRY_OR(reap_calloc(&from, (int64_t)n * (units + 1), sizeof *from), done);
  for (int g = 0; g < n; g++)
    add_class(&classes[g], unit, units, best + (g % 2) * (units + 1), best + ((g + 1) % 2) * (units + 1),
              from + (int64_t)g * (units + 1));
  trace_back(n, classes, unit, units, from, chosen);
done:
  reap_free(&best);
  reap_free(&from);
  return status;
}

/* The Lagrangian at l; *cost: of the items that attain it, the cheaper one of equals. */
static double lagrangian(int n, const reap_knapsack_class *classes, double budget, double l, double *cost) {
  double sum = -l * budget;
  *cost = 0;
  for (int g = 0; g < n; g++) {
    const reap_knapsack_class *c = &classes[g];
    int64_t best = 0;
    for (int64_t i = 1; i < c->n; i++) {
      const double a = c->loss[i] + l * c->cost[i], b = c->loss[best] + l * c->cost[best];
      if (a < b || (a == b && c->cost[i] < c->cost[best])) best = i;
    }
    sum += c->loss[best] + l * c->cost[best];
    *cost += c->cost[best];
  }
  return sum;
}

double reap_knapsack_bound(int n, const reap_knapsack_class *classes, double budget, double *multiplier) {
  double cost, best = lagrangian(n, classes, budget, 0, &cost), at = 0;
  double low = 0, high = 1e-30;
  if (cost > budget) {
    do {
      low = high;
      high *= 16;
    } while (lagrangian(n, classes, budget, high, &cost) > -INFINITY && cost > budget && high < 1e30);
    for (int i = 0; i < BISECTIONS; i++) {
      const double l = low + (high - low) / 2, value = lagrangian(n, classes, budget, l, &cost);
      if (value > best) {
        best = value;
        at = l;
      }
      if (cost > budget)
        low = l;
      else
        high = l;
    }
  }
  if (multiplier) *multiplier = at;
  return best;
}
