/* Sizes under a budget: a knapsack over linearised costs, repeated until it converges; see ratios.h.
 *
 * Where no layer lies between two free groups, costs add up and one multiple-choice knapsack (knapsack.h) is the
 * answer. Else the costs are linearised about the present sizes x,
 *
 *     f(k_g, k_h)  ~  f(k_g, x_h) + f(x_g, k_h) - f(x_g, x_h),
 *
 * the knapsack is solved, and its answer is the next x. The term left out, (k_g - x_g) (k_h - x_h) for a product,
 * makes two neighbours that both shrink cost more than predicted: when an answer does not fit, the budget of the
 * knapsack is lowered by the excess and it is solved again. Safeguard: only an answer that fits and has less loss than
 * the best one so far becomes the next x; the search ends at the first round without one. It starts at the best
 * feasible minimiser of the Lagrangian (coupled_bound.h), or at uniform shares if there is none.
 *
 * Last, exchanges with exact costs: one group up, or one up and another down, by 1, 2, 4, ... sizes, the best of each
 * sweep over all pairs, until none lowers the loss; then the remaining budget goes to the groups that gain most by it.
 *
 * Cost: some ten knapsacks, and sweeps of groups^2 * log(sizes)^2 evaluations. Fails if the budget is out of reach, or
 * for lack of memory. The answer need not be the best: reap_ratios_gap() says how far off it can be.
 */
#include "ratios.h"

#include <math.h>
#include <string.h>

#include "budget.h"
#include "coupled_bound.h"
#include "knapsack.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "sizes.h"

enum { MOST_SIZES = 512, MOST_ROUNDS = 20, MOST_SHORTENINGS = 8, MOST_EXCHANGES = 200 };

typedef struct search {
  const reap_ratio_problem *problem;
  int n;
  group_sizes *sizes;
  double **costs;               /* [n][sizes] linearised, at the present point */
  reap_knapsack_class *classes; /* [n] */
  int64_t *chosen, *counts, *best;
  double best_loss;
  int rounds;
} search;

static double loss_of(const reap_ratio_problem *p, int g, int64_t kept) {
  return p->cost->chosen[g] && p->loss && p->loss[g] ? p->loss[g][kept] : 0;
}

static double total_loss(const reap_ratio_problem *p, const int64_t *counts) {
  double sum = 0;
  for (int g = 0; g < p->cost->n_groups; g++) sum += loss_of(p, g, counts[g]);
  return sum;
}

static bool fits(const reap_ratio_problem *p, const int64_t *counts) {
  return reap_cost_model_at(p->cost, counts) <= p->budget;
}

static void smallest(const reap_ratio_problem *p, int64_t *counts) {
  for (int g = 0; g < p->cost->n_groups; g++) counts[g] = reap_ratios_least(p, g);
}

static int check_reach(const reap_ratio_problem *p, int64_t *counts) {
  smallest(p, counts);
  if (fits(p, counts)) return REAP_OK;
  const double least = reap_cost_model_at(p->cost, counts);
  return reap_error(
      REAP_ERR_USAGE,
      "the budget cannot be reached: with the fewest channels allowed in every prunable group %.4f are left",
      least / p->cost->whole);
}

/* ------------------------------------------------------------------ uniform shares */

static void take_share(const reap_ratio_problem *p, double share, int64_t *counts) {
  for (int g = 0; g < p->cost->n_groups; g++)
    counts[g] = reap_group_size_at_most(
        p, g, p->cost->chosen[g] ? reap_budget_round(share, p->cost->channels[g]) : p->cost->channels[g]);
}

/* One more step to each group, those furthest below the share first, as long as the budget holds. Not more than one: a
 * cheap layer would else keep all of its channels with what the others leave. */
static void fill_up(const reap_ratio_problem *p, double share, int64_t *counts, bool *full) {
  const int n = p->cost->n_groups;
  for (int g = 0; g < n; g++) full[g] = !p->cost->chosen[g] || counts[g] == p->cost->channels[g];
  for (;;) {
    int best = -1;
    double lack = -INFINITY;
    for (int g = 0; g < n; g++) {
      const double missing = share - (double)counts[g] / (double)p->cost->channels[g];
      if (full[g] || missing <= lack) continue;
      lack = missing;
      best = g;
    }
    if (best < 0) return;
    const int64_t before = counts[best];
    counts[best] = reap_group_size_next(p, best, before, 1);
    if (!fits(p, counts)) counts[best] = before;
    full[best] = true;
  }
}

int reap_ratios_uniform(const reap_ratio_problem *p, int64_t *counts) {
  bool *full = NULL;
  REAP_TRY(check_reach(p, counts));
  REAP_TRY(reap_alloc(&full, p->cost->n_groups, sizeof *full));
  double low = 0, high = 2; /* counts at `low` fit */
  take_share(p, 1, counts);
  if (fits(p, counts)) low = 1;
  for (int i = 0; low < 1 && i < 60; i++) { /* finer than any two shares at which a count changes */
    const double middle = low + ((high < 1 ? high : 1) - low) / 2;
    take_share(p, middle, counts);
    if (fits(p, counts))
      low = middle;
    else
      high = middle;
  }
  take_share(p, low, counts);
  fill_up(p, low, counts, full);
  reap_free(&full);
  return REAP_OK;
}

/* ------------------------------------------------------------------ knapsacks over linearised costs */

/* Cost of group g's terms with `kept` channels of it, all others as in counts. */
static double cost_around(const reap_cost_model *m, int64_t *counts, int g, int64_t kept) {
  const int64_t before = counts[g];
  double sum = 0;
  counts[g] = kept;
  for (int t = 0; t < m->n_terms; t++) {
    const reap_cost_term *term = &m->terms[t];
    if (term->in != g && term->out != g) continue;
    const int64_t in = term->in < 0 ? 1 : m->chosen[term->in] ? counts[term->in] : m->channels[term->in];
    const int64_t out = term->out < 0 ? 1 : m->chosen[term->out] ? counts[term->out] : m->channels[term->out];
    sum += reap_cost_term_at(term, in, out);
  }
  counts[g] = before;
  return sum;
}

/* Costs of every size about the point x, and the budget left for them. */
static double linearise(search *s, int64_t *x) {
  const reap_cost_model *m = s->problem->cost;
  double at_x = 0;
  for (int g = 0; g < s->n; g++) {
    for (int i = 0; i < s->sizes[g].n; i++) s->costs[g][i] = cost_around(m, x, g, s->sizes[g].kept[i]);
    at_x += cost_around(m, x, g, x[g]);
  }
  return s->problem->budget - reap_cost_model_at(m, x) + at_x;
}

static double solve_at(search *s, double budget, bool *possible, int *status) {
  *status = reap_knapsack_solve(s->n, s->classes, budget, s->chosen, possible);
  for (int g = 0; g < s->n; g++) s->counts[g] = s->sizes[g].kept[s->chosen[g]];
  return reap_cost_model_at(s->problem->cost, s->counts) - s->problem->budget; /* excess */
}

/* One round about the best sizes so far: true if better ones were found. */
static int improve(search *s, bool *improved) {
  double budget = linearise(s, s->best);
  bool possible = true;
  int status = REAP_OK;
  *improved = false;
  s->rounds++;
  for (int i = 0; status == REAP_OK && possible && i < MOST_SHORTENINGS; i++) {
    const double excess = solve_at(s, budget, &possible, &status);
    if (excess > 0) {
      budget -= excess;
      continue;
    }
    const double loss = total_loss(s->problem, s->counts);
    if (status != REAP_OK || !possible || loss >= s->best_loss) break;
    memcpy(s->best, s->counts, (size_t)s->n * sizeof *s->best);
    s->best_loss = loss;
    *improved = true;
    break;
  }
  return status;
}

/* ------------------------------------------------------------------ exchanges */

/* `steps` sizes up or down from kept, as far as there are any. */
static int64_t walk(const reap_ratio_problem *p, int g, int64_t kept, int steps, int direction) {
  for (int64_t next; steps > 0 && (next = reap_group_size_next(p, g, kept, direction)) > 0; steps--) kept = next;
  return kept;
}

/* The best single exchange from counts; false if none lowers the loss. */
static bool exchange(const reap_ratio_problem *p, int64_t *counts) {
  const int n = p->cost->n_groups;
  const double before = total_loss(p, counts);
  double best = -1e-12 * fabs(before);
  int up = -1, down = -1;
  int64_t more = 0, fewer = 0;
  for (int g = 0; g < n; g++)
    for (int a = 1; p->cost->chosen[g] && a <= MOST_SIZES; a *= 2) {
      const int64_t old = counts[g], high = walk(p, g, old, a, 1);
      const double gain = loss_of(p, g, high) - loss_of(p, g, old);
      if (high == old) break;
      counts[g] = high;
      if (gain < best && fits(p, counts)) best = gain, up = g, down = -1, more = high;
      for (int h = 0; gain < best && h < n; h++)
        for (int b = 1; h != g && p->cost->chosen[h] && b <= MOST_SIZES; b *= 2) {
          const int64_t kept = counts[h], low = walk(p, h, kept, b, -1);
          const double change = gain + loss_of(p, h, low) - loss_of(p, h, kept);
          if (low == kept || change >= best) break; /* fewer still lose no less */
          counts[h] = low;
          if (fits(p, counts)) best = change, up = g, down = h, more = high, fewer = low;
          counts[h] = kept;
        }
      counts[g] = old;
    }
  if (up < 0) return false;
  counts[up] = more;
  if (down >= 0) counts[down] = fewer;
  return true;
}

/* What still fits, one size at a time, to the group that gains most; the first one of equals. */
static void use_up(const reap_ratio_problem *p, int64_t *counts) {
  for (;;) {
    int best = -1;
    double gain = INFINITY;
    for (int g = 0; g < p->cost->n_groups; g++) {
      const int64_t old = counts[g], next = p->cost->chosen[g] ? reap_group_size_next(p, g, old, 1) : 0;
      if (next == 0) continue;
      counts[g] = next;
      const double change = loss_of(p, g, next) - loss_of(p, g, old);
      if (change < gain && fits(p, counts)) {
        gain = change;
        best = g;
      }
      counts[g] = old;
    }
    if (best < 0 || gain > 0) return;
    counts[best] = reap_group_size_next(p, best, counts[best], 1);
  }
}

/* ------------------------------------------------------------------ all of it */

static int set_up(search *s) {
  REAP_TRY(reap_group_sizes_create(s->problem, MOST_SIZES, &s->sizes));
  REAP_TRY(reap_calloc(&s->costs, s->n, sizeof *s->costs));
  REAP_TRY(reap_calloc(&s->classes, s->n, sizeof *s->classes));
  REAP_TRY(reap_alloc(&s->chosen, s->n, sizeof *s->chosen));
  REAP_TRY(reap_alloc(&s->counts, s->n, sizeof *s->counts));
  REAP_TRY(reap_alloc(&s->best, s->n, sizeof *s->best));
  for (int g = 0; g < s->n; g++) {
    REAP_TRY(reap_alloc(&s->costs[g], s->sizes[g].n, sizeof **s->costs));
    s->classes[g] = (reap_knapsack_class){s->sizes[g].n, s->costs[g], s->sizes[g].loss};
  }
  return REAP_OK;
}

static void clear(search *s) {
  for (int g = 0; s->costs && g < s->n; g++) reap_free(&s->costs[g]);
  reap_group_sizes_destroy(&s->sizes, s->n);
  reap_free(&s->costs);
  reap_free(&s->classes);
  reap_free(&s->chosen);
  reap_free(&s->counts);
  reap_free(&s->best);
}

static int solve(search *s, double *bound) {
  bool found = false, improved = true;
  REAP_TRY(set_up(s));
  REAP_TRY(reap_coupled_bound(s->problem, s->sizes, bound, s->best, &found));
  if (!found) REAP_TRY(reap_ratios_uniform(s->problem, s->best));
  s->best_loss = total_loss(s->problem, s->best);
  while (improved && s->rounds < MOST_ROUNDS) REAP_TRY(improve(s, &improved));
  for (int i = 0; i < MOST_EXCHANGES && exchange(s->problem, s->best); i++) continue;
  use_up(s->problem, s->best);
  return REAP_OK;
}

int reap_ratios_choose(const reap_ratio_problem *problem, int64_t *counts, reap_ratio_outcome *outcome) {
  search s = {.problem = problem, .n = problem->cost->n_groups};
  double bound = 0;
  REAP_TRY(check_reach(problem, counts));
  int status = solve(&s, &bound);
  if (status == REAP_OK) {
    memcpy(counts, s.best, (size_t)s.n * sizeof *counts);
    *outcome =
        (reap_ratio_outcome){reap_cost_model_at(problem->cost, counts), total_loss(problem, counts), bound, s.rounds};
  }
  clear(&s);
  return status;
}

double reap_ratios_gap(const reap_ratio_outcome *o) {
  const double gap = o->loss > 0 ? (o->loss - o->bound) / o->loss : 0;
  return gap > 0 ? gap : 0;
}
