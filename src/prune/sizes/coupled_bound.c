/* The Lagrangian over a forest of groups; see coupled_bound.h.
 *
 * Groups are joined by an edge where a layer lies between them. For a fixed multiplier l the minimum over all sizes is
 * found exactly by passing messages from the leaves to the roots: sizes^2 operations an edge. An edge that closes a
 * cycle is counted at its least cost for each size of one of its ends, so that the value stays a lower bound. L is
 * concave in l: the sign of cost - budget at the minimiser tells on which side the maximum lies, and bisection finds
 * it. Losses are of any size, so the search begins with a bracket of powers of 16.
 */
#include "coupled_bound.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

enum { BISECTIONS = 60 };

typedef struct forest {
  const reap_ratio_problem *problem;
  const group_sizes *sizes;
  int n;
  int *parent, *order; /* [n] order: parents before children */
  bool *in_tree;       /* [terms] the term lies along the edge between a group and its parent */
  int *first, *edge;   /* [n + 1], [terms]: the terms between group g and its parent are edge[first[g] ..] */
  double **fixed;      /* [n][sizes] cost of the group alone */
  double **value;      /* [n][sizes] message sum at the present multiplier */
  int **answer;        /* [n][sizes of the parent] the best size below */
  int *picked;         /* [n] */
} forest;

static const reap_cost_term *term_at(const forest *f, int t) { return &f->problem->cost->terms[t]; }

static bool is_free(const forest *f, int g) { return g >= 0 && f->problem->cost->chosen[g]; }

static bool couples(const forest *f, int t) {
  const reap_cost_term *term = term_at(f, t);
  return is_free(f, term->in) && is_free(f, term->out) && term->in != term->out;
}

/* Breadth first from every group not reached yet; the first edge to reach a group becomes its parent's. */
static void grow_trees(forest *f) {
  int filled = 0;
  for (int g = 0; g < f->n; g++) f->parent[g] = -2;
  for (int root = 0; root < f->n; root++) {
    if (f->parent[root] != -2) continue;
    f->parent[root] = -1;
    f->order[filled++] = root;
    for (int at = filled - 1; at < filled; at++)
      for (int t = 0; t < f->problem->cost->n_terms; t++) {
        if (!couples(f, t)) continue;
        const reap_cost_term *term = term_at(f, t);
        const int here = f->order[at], other = term->in == here ? term->out : term->out == here ? term->in : -1;
        if (other < 0 || f->parent[other] != -2) continue;
        f->parent[other] = here;
        f->order[filled++] = other;
      }
  }
  for (int t = 0; t < f->problem->cost->n_terms; t++) {
    const reap_cost_term *term = term_at(f, t);
    f->in_tree[t] = couples(f, t) && (f->parent[term->in] == term->out || f->parent[term->out] == term->in);
  }
}

static void list_edges(forest *f) {
  int filled = 0;
  for (int g = 0; g < f->n; g++) {
    f->first[g] = filled;
    for (int t = 0; f->parent[g] >= 0 && t < f->problem->cost->n_terms; t++) {
      const reap_cost_term *term = term_at(f, t);
      if (!f->in_tree[t]) continue;
      if ((term->in == g && term->out == f->parent[g]) || (term->out == g && term->in == f->parent[g]))
        f->edge[filled++] = t;
    }
  }
  f->first[f->n] = filled;
}

/* Cost of term t with `kept` channels of group g, the other side as cheap as it can be. */
static double least_cost(const forest *f, int t, int g, int64_t kept) {
  const reap_cost_term *term = term_at(f, t);
  const reap_cost_model *model = f->problem->cost;
  if (term->in == g && term->out == g) return reap_cost_term_at(term, kept, kept);
  const int other = term->in == g ? term->out : term->in;
  double least = INFINITY;
  const int64_t alone = other < 0 ? 1 : model->channels[other];
  const int count = is_free(f, other) ? f->sizes[other].n : 1;
  for (int i = 0; i < count; i++) {
    const int64_t there = is_free(f, other) ? f->sizes[other].kept[i] : alone;
    const double cost = term->in == g ? reap_cost_term_at(term, kept, there) : reap_cost_term_at(term, there, kept);
    if (cost < least) least = cost;
  }
  return least;
}

static void sum_fixed(forest *f) {
  for (int t = 0; t < f->problem->cost->n_terms; t++) {
    const reap_cost_term *term = term_at(f, t);
    if (f->in_tree[t]) continue;
    const int g = is_free(f, term->in) ? term->in : term->out;
    for (int i = 0; i < f->sizes[g].n; i++) f->fixed[g][i] += least_cost(f, t, g, f->sizes[g].kept[i]);
  }
}

static int set_up(forest *f, const reap_ratio_problem *problem, const group_sizes *sizes) {
  const int n = problem->cost->n_groups;
  *f = (forest){.problem = problem, .sizes = sizes, .n = n};
  REAP_TRY(reap_alloc(&f->parent, n, sizeof *f->parent));
  REAP_TRY(reap_alloc(&f->order, n, sizeof *f->order));
  REAP_TRY(reap_alloc(&f->picked, n, sizeof *f->picked));
  REAP_TRY(reap_calloc(&f->in_tree, problem->cost->n_terms, sizeof *f->in_tree));
  REAP_TRY(reap_calloc(&f->first, n + 1, sizeof *f->first));
  REAP_TRY(reap_calloc(&f->edge, problem->cost->n_terms, sizeof *f->edge));
  REAP_TRY(reap_calloc(&f->fixed, n, sizeof *f->fixed));
  REAP_TRY(reap_calloc(&f->value, n, sizeof *f->value));
  REAP_TRY(reap_calloc(&f->answer, n, sizeof *f->answer));
  grow_trees(f);
  list_edges(f);
  for (int g = 0; g < n; g++) {
    REAP_TRY(reap_calloc(&f->fixed[g], sizes[g].n, sizeof **f->fixed));
    REAP_TRY(reap_calloc(&f->value[g], sizes[g].n, sizeof **f->value));
    if (f->parent[g] >= 0) REAP_TRY(reap_calloc(&f->answer[g], sizes[f->parent[g]].n, sizeof **f->answer));
  }
  sum_fixed(f);
  return REAP_OK;
}

static void clear(forest *f) {
  for (int g = 0; g < f->n; g++) {
    if (f->fixed) reap_free(&f->fixed[g]);
    if (f->value) reap_free(&f->value[g]);
    if (f->answer) reap_free(&f->answer[g]);
  }
  reap_free(&f->parent);
  reap_free(&f->order);
  reap_free(&f->picked);
  reap_free(&f->in_tree);
  reap_free(&f->first);
  reap_free(&f->edge);
  reap_free(&f->fixed);
  reap_free(&f->value);
  reap_free(&f->answer);
}

/* Cost of what lies between group g and its parent. */
static double between(const forest *f, int g, int64_t kept, int64_t kept_parent) {
  double sum = 0;
  for (int e = f->first[g]; e < f->first[g + 1]; e++) {
    const reap_cost_term *term = term_at(f, f->edge[e]);
    sum += term->in == g ? reap_cost_term_at(term, kept, kept_parent) : reap_cost_term_at(term, kept_parent, kept);
  }
  return sum;
}

/* Adds to each size of the parent what group g and all below it come to at best. */
static void pass_message(forest *f, int g, double l) {
  const group_sizes *mine = &f->sizes[g], *above = &f->sizes[f->parent[g]];
  for (int p = 0; p < above->n; p++) {
    double best = INFINITY;
    for (int i = 0; i < mine->n; i++) {
      const double value = f->value[g][i] + l * between(f, g, mine->kept[i], above->kept[p]);
      if (value < best) {
        best = value;
        f->answer[g][p] = i;
      }
    }
    f->value[f->parent[g]][p] += best;
  }
}

/* L(l), the minimiser in picked[]; of equals the smaller size. */
static double minimise(forest *f, double l) {
  double sum = l * (f->problem->cost->fixed - f->problem->budget);
  for (int g = 0; g < f->n; g++)
    for (int i = 0; i < f->sizes[g].n; i++) f->value[g][i] = f->sizes[g].loss[i] + l * f->fixed[g][i];
  for (int k = f->n - 1; k >= 0; k--)
    if (f->parent[f->order[k]] >= 0) pass_message(f, f->order[k], l);
  for (int k = 0; k < f->n; k++) {
    const int g = f->order[k];
    if (f->parent[g] >= 0) {
      f->picked[g] = f->answer[g][f->picked[f->parent[g]]];
      continue;
    }
    f->picked[g] = 0;
    for (int i = 1; i < f->sizes[g].n; i++)
      if (f->value[g][i] < f->value[g][f->picked[g]]) f->picked[g] = i;
    sum += f->value[g][f->picked[g]];
  }
  return sum;
}

typedef struct search {
  double bound, loss; /* loss: of the best choice that fits */
  int64_t *best, *counts;
  bool found;
} search;

/* One multiplier: the bound, the choice if it fits; true if the choice costs too much. */
static bool try(forest *f, double l, search *s) {
  const double value = minimise(f, l);
  double loss = 0;
  if (value > s->bound) s->bound = value;
  for (int g = 0; g < f->n; g++) {
    s->counts[g] = f->sizes[g].kept[f->picked[g]];
    loss += f->sizes[g].loss[f->picked[g]];
  }
  const bool over = reap_cost_model_at(f->problem->cost, s->counts) > f->problem->budget;
  if (!over && (!s->found || loss < s->loss)) {
    s->found = true;
    s->loss = loss;
    memcpy(s->best, s->counts, (size_t)f->n * sizeof *s->best);
  }
  return over;
}

static void bisect(forest *f, search *s) {
  double low = 0, high = 1e-30;
  if (!try(f, 0, s)) return;
  while (high < 1e30 && try(f, high, s)) {
    low = high;
    high *= 16;
  }
  for (int i = 0; i < BISECTIONS; i++) {
    const double middle = low + (high - low) / 2;
    if (try(f, middle, s))
      low = middle;
    else
      high = middle;
  }
}

int reap_coupled_bound(const reap_ratio_problem *problem, const group_sizes *sizes, double *bound, int64_t *best,
                       bool *found) {
  forest f = {0};
  search s = {.bound = -INFINITY, .best = best};
  int status = set_up(&f, problem, sizes);
  if (status == REAP_OK) status = reap_alloc(&s.counts, problem->cost->n_groups, sizeof *s.counts);
  if (status == REAP_OK) bisect(&f, &s);
  *bound = s.bound;
  *found = s.found;
  reap_free(&s.counts);
  clear(&f);
  return status;
}
