/* Choice of sizes under a budget, against enumeration of every choice of small random problems. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "model/groups/surgery.h"
#include "prune/estimate/latency.h"
#include "prune/sensitivity/joint.h"
#include "prune/sizes/cost_model.h"
#include "prune/sizes/knapsack.h"
#include "prune/sizes/ratios.h"
#include "reap/memory.h"
#include "small_networks.h"

const char *const test_suite_name = "ratios";

enum { MOST_GROUPS = 6, MOST_CHANNELS = 9 };

/* ------------------------------------------------------------------ one knapsack */

typedef struct instance {
  int n;
  double cost[MOST_GROUPS][MOST_CHANNELS], loss[MOST_GROUPS][MOST_CHANNELS];
  reap_knapsack_class classes[MOST_GROUPS];
  double budget;
} instance;

static void make_instance(uint64_t seed, bool whole, instance *in) {
  reap_random r = reap_random_init(seed, whole, 1);
  double least = 0, most = 0;
  in->n = 1 + (int)reap_random_below(&r, 5);
  for (int g = 0; g < in->n; g++) {
    const int64_t items = 1 + reap_random_below(&r, 7);
    double low = INFINITY, high = 0;
    for (int64_t i = 0; i < items; i++) {
      in->cost[g][i] = whole ? (double)(12 * reap_random_below(&r, 40)) : 100 * reap_random_uniform(&r) - 10;
      in->loss[g][i] = whole ? (double)reap_random_below(&r, 9) : reap_random_uniform(&r);
      low = fmin(low, in->cost[g][i]);
      high = fmax(high, in->cost[g][i]);
    }
    in->classes[g] = (reap_knapsack_class){items, in->cost[g], in->loss[g]};
    least += low;
    most += high;
  }
  in->budget = least + (most - least) * (1.2 * reap_random_uniform(&r) - 0.1);
}

/* Least loss within the budget; infinite if nothing fits. */
static double enumerate(const instance *in) {
  int64_t at[MOST_GROUPS] = {0};
  double best = INFINITY;
  for (;;) {
    double cost = 0, loss = 0;
    for (int g = 0; g < in->n; g++) {
      cost += in->cost[g][at[g]];
      loss += in->loss[g][at[g]];
    }
    if (cost <= in->budget && loss < best) best = loss;
    int g = 0;
    while (g < in->n && ++at[g] == in->classes[g].n) at[g++] = 0;
    if (g == in->n) return best;
  }
}

static void check_knapsack(uint64_t seed, bool whole) {
  instance in;
  int64_t chosen[MOST_GROUPS];
  bool feasible = false;
  double cost = 0, loss = 0;
  make_instance(seed, whole, &in);
  const double best = enumerate(&in), bound = reap_knapsack_bound(in.n, in.classes, in.budget, NULL);
  CHECK_OK(reap_knapsack_solve(in.n, in.classes, in.budget, chosen, &feasible));
  CU_ASSERT_EQUAL(feasible, isfinite(best));
  if (!feasible) return;
  for (int g = 0; g < in.n; g++) {
    cost += in.cost[g][chosen[g]];
    loss += in.loss[g][chosen[g]];
  }
  CU_ASSERT(cost <= in.budget + 1e-9);
  if (whole) CHECK_NEAR(loss, best, 1e-12);
  if (!whole) CU_ASSERT(loss >= best - 1e-12);
  CU_ASSERT(bound <= best + 1e-9);
  if (whole) return;
  /* Costs rounded up: at least as good as the best with the budget short of one unit a class. */
  const double shorter = in.budget;
  double least = 0;
  for (int g = 0; g < in.n; g++) {
    double low = INFINITY;
    for (int64_t i = 0; i < in.classes[g].n; i++) low = fmin(low, in.cost[g][i]);
    least += low;
  }
  in.budget = shorter - in.n * (shorter - least) / 32768 * 1.01;
  CU_ASSERT(loss <= enumerate(&in) + 1e-12);
}

static void test_knapsack_is_exact(void) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    check_knapsack(seed, true);
    check_knapsack(seed, false);
  }
}

/* The bound is the linear relaxation: for two classes with two items each it is known in closed form. */
static void test_bound_in_closed_form(void) {
  const double costs[2][2] = {{0, 10}, {0, 4}}, losses[2][2] = {{5, 0}, {4, 0}};
  const reap_knapsack_class classes[] = {{2, costs[0], losses[0]}, {2, costs[1], losses[1]}};
  double multiplier = 0;
  /* 1 a unit for the second class, 0.5 for the first: with 9 units the second whole and half of the first. */
  CHECK_NEAR(reap_knapsack_bound(2, classes, 9, &multiplier), 2.5, 1e-9);
  CHECK_NEAR(multiplier, 0.5, 1e-9);
  CHECK_NEAR(reap_knapsack_bound(2, classes, 100, NULL), 0, 1e-12);
}

/* ------------------------------------------------------------------ coupled costs */

typedef struct coupled {
  int n;
  int64_t channels[MOST_GROUPS], least[MOST_GROUPS], multiple[MOST_GROUPS];
  bool chosen[MOST_GROUPS];
  double values[MOST_GROUPS][MOST_CHANNELS + 1];
  const double *loss[MOST_GROUPS];
  reap_cost_model *cost;
  reap_ratio_problem problem;
} coupled;

enum { APART, CHAIN, RING };

static void make_coupled(uint64_t seed, int shape, coupled *c) {
  reap_random r = reap_random_init(seed, (uint64_t)shape, 2);
  memset(c, 0, sizeof *c);
  c->n = 2 + (int)reap_random_below(&r, 3);
  for (int g = 0; g < c->n; g++) {
    c->channels[g] = 2 + reap_random_below(&r, MOST_CHANNELS - 2);
    c->chosen[g] = reap_random_below(&r, 6) > 0;
    c->least[g] = 1 + reap_random_below(&r, 2);
    c->multiple[g] = 1 + reap_random_below(&r, 3);
    for (int64_t k = c->channels[g] - 1; k >= 0; k--) c->values[g][k] = c->values[g][k + 1] + reap_random_uniform(&r);
    c->loss[g] = c->values[g];
  }
  c->chosen[0] = true;
  CHECK_OK(reap_cost_model_create_bare(c->n, c->channels, c->chosen, &c->cost));
  for (int g = 0; g < c->n; g++)
    CHECK_OK(reap_cost_model_add(c->cost, -1, g, (double)(1 + reap_random_below(&r, 50)), NULL));
  for (int g = 0; shape != APART && g + 1 < c->n; g++)
    CHECK_OK(reap_cost_model_add(c->cost, g, g + 1, (double)(1 + reap_random_below(&r, 20)), NULL));
  if (shape == RING) CHECK_OK(reap_cost_model_add(c->cost, c->n - 1, 0, 7, NULL));
  reap_cost_model_finish(c->cost);
  c->problem = (reap_ratio_problem){c->cost, c->loss, c->least, c->multiple, 0};
  c->problem.budget = c->cost->whole * (0.2 + 0.7 * reap_random_uniform(&r));
}

static bool allowed(const coupled *c, int g, int64_t k) {
  if (k == c->channels[g]) return true;
  return c->chosen[g] && k >= c->least[g] && k % c->multiple[g] == 0;
}

static double enumerate_coupled(const coupled *c) {
  int64_t k[MOST_GROUPS];
  double best = INFINITY;
  for (int g = 0; g < c->n; g++) k[g] = 1;
  for (;;) {
    bool fine = true;
    double loss = 0;
    for (int g = 0; g < c->n; g++) {
      fine &= allowed(c, g, k[g]);
      if (c->chosen[g]) loss += c->values[g][k[g]];
    }
    if (fine && loss < best && reap_cost_model_at(c->cost, k) <= c->problem.budget) best = loss;
    int g = 0;
    while (g < c->n && ++k[g] > c->channels[g]) k[g++] = 1;
    if (g == c->n) return best;
  }
}

/* Adds to *excess how far above the best the choice is, relative to it. */
static void check_coupled(uint64_t seed, int shape, double *excess) {
  coupled c;
  int64_t counts[MOST_GROUPS];
  reap_ratio_outcome outcome;
  make_coupled(seed, shape, &c);
  const double best = enumerate_coupled(&c);
  if (isfinite(best)) {
    CHECK_OK(reap_ratios_choose(&c.problem, counts, &outcome));
    for (int g = 0; g < c.n; g++) CU_ASSERT(allowed(&c, g, counts[g]));
    CU_ASSERT(reap_cost_model_at(c.cost, counts) <= c.problem.budget);
    CHECK_NEAR(outcome.cost, reap_cost_model_at(c.cost, counts), 0);
    CU_ASSERT(outcome.loss >= best - 1e-9);
    CU_ASSERT(outcome.bound <= best + 1e-9);
    CU_ASSERT(reap_ratios_gap(&outcome) >= 0);
    if (best > 0) *excess += outcome.loss / best - 1;
    if (shape == APART) CHECK_NEAR(outcome.loss, best, 1e-9);
    CHECK_OK(reap_ratios_uniform(&c.problem, counts));
    for (int g = 0; g < c.n; g++) CU_ASSERT(allowed(&c, g, counts[g]));
    CU_ASSERT(reap_cost_model_at(c.cost, counts) <= c.problem.budget);
  } else {
    CHECK_FAILS(reap_ratios_choose(&c.problem, counts, &outcome), REAP_ERR_USAGE, "cannot be reached");
    CHECK_FAILS(reap_ratios_uniform(&c.problem, counts), REAP_ERR_USAGE, "cannot be reached");
  }
  reap_cost_model_destroy(&c.cost);
}

static void test_coupled_choice(void) {
  double excess[3] = {0};
  for (int shape = APART; shape <= RING; shape++)
    for (uint64_t seed = 0; seed < 200; seed++) check_coupled(seed, shape, &excess[shape]);
  CHECK_NEAR(excess[APART], 0, 1e-9);
  CU_ASSERT(excess[CHAIN] / 200 < 0.01); /* the mean loss is within 1 % of the best */
  CU_ASSERT(excess[RING] / 200 < 0.01);
}

/* ------------------------------------------------------------------ costs of a network */

/* input 4 x 6 x 6 -> conv 8 (bias) -> conv 6, norm folded, no bias -> conv 5, no bias, then a norm of its own ->
 * Flatten -> Gemm 3 */
static reap_graph *small_network(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 4, 6, 6);
  net_weights(g, "w1", "8,4,3,3");
  net_weights(g, "b1", "8");
  net_weights(g, "w2", "6,8,3,3");
  net_norm_weights(g, "n2", "6");
  net_weights(g, "w3", "5,6,1,1");
  net_norm_weights(g, "n3", "5");
  net_weights(g, "w4", "3,180");
  net_node(g, "Conv", "c1", "x w1 b1", "c1", "pads=[1,1,1,1]");
  net_node(g, "Relu", "r1", "c1", "r1", "");
  net_node(g, "Conv", "c2", "r1 w2", "c2", "pads=[1,1,1,1]");
  net_node(g, "BatchNormalization", "m2", "c2 n2.scale n2.shift n2.mean n2.var", "m2", "");
  net_node(g, "Relu", "r2", "m2", "r2", "");
  net_node(g, "Conv", "c3", "r2 w3", "c3", "");
  net_node(g, "Relu", "r3", "c3", "r3", "");
  net_node(g, "BatchNormalization", "m3", "r3 n3.scale n3.shift n3.mean n3.var", "m3", "");
  net_node(g, "Flatten", "f", "m3", "f", "");
  net_node(g, "Gemm", "y", "f w4", "y", "transB=1");
  CHECK_OK(reap_graph_add_output(g, "y"));
  CHECK_OK(reap_graph_prepare(g, 2));
  return g;
}

/* Cuts a clone to the counts, re-solved consumers included, and counts what is left. */
static void count_after(const reap_graph *graph, const bool *chosen, const int64_t *counts, double *flops,
                        double *params) {
  reap_graph *cut = NULL;
  reap_groups *groups = NULL;
  CHECK_OK(reap_graph_clone(graph, &cut));
  CHECK_OK(reap_groups_find(cut, &groups));
  for (int g = 0; g < reap_groups_count(groups); g++) {
    int64_t kept[16];
    double weights[16 * 36 * 16] = {0}, bias[16] = {0};
    for (int64_t k = 0; k < counts[g]; k++) kept[k] = k;
    if (!chosen[g]) continue;
    CHECK_OK(reap_surgery_cut(cut, groups, g, counts[g], kept));
    CHECK_OK(reap_surgery_set_weights(cut, reap_group_consumer(reap_groups_at(groups, g)), weights, bias));
  }
  *flops = (double)reap_graph_flops(cut);
  *params = (double)reap_graph_params(cut);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&cut);
}

/* An inner group before layers that are joined; what reads both has inputs that are no multiple of either. */
static reap_graph *joined_network(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 5, 5);
  net_conv3(g, "a", "x", 3, 6);
  net_conv3(g, "b", "a", 6, 4);
  net_conv3(g, "c", "x", 3, 7);
  net_node(g, "Concat", "both", "b c", "both", "axis=1");
  net_norm_weights(g, "n", "11");
  net_node(g, "BatchNormalization", "n", "both n.scale n.shift n.mean n.var", "n", NULL);
  net_conv3(g, "d", "n", 11, 3);
  net_finish(g, "d", 2);
  return g;
}

/* Which groups (inner ones, or any that can be cut) the mask chooses, and some size of each. */
static void choose_by_mask(const reap_groups *groups, int mask, bool any, bool *chosen, int64_t *counts) {
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    chosen[g] = (any ? group->cuttable : group->prunable) && (mask >> g & 1);
    counts[g] = chosen[g] && group->units > 1 ? 1 + (mask + g) % (group->units - 1) : group->units;
  }
}

static void check_costs(reap_graph *graph) {
  reap_groups *groups = NULL;
  CHECK_OK(reap_groups_find(graph, &groups));
  const int n = reap_groups_count(groups);
  CU_ASSERT_FATAL(n <= MOST_GROUPS);
  for (int mask = 0; mask < 1 << n; mask++) {
    reap_cost_model *flops = NULL, *params = NULL;
    int64_t counts[MOST_GROUPS];
    bool chosen[MOST_GROUPS];
    double flops_left, params_left;
    choose_by_mask(groups, mask, false, chosen, counts);
    CHECK_OK(reap_cost_model_flops(graph, groups, chosen, &flops));
    CHECK_OK(reap_cost_model_params(graph, groups, chosen, &params));
    count_after(graph, chosen, counts, &flops_left, &params_left);
    CHECK_NEAR(reap_cost_model_at(flops, counts), flops_left, 0);
    CHECK_NEAR(reap_cost_model_at(params, counts), params_left, 0);
    CHECK_NEAR(flops->whole, reap_graph_flops(graph), 0);
    reap_cost_model_destroy(&flops);
    reap_cost_model_destroy(&params);
  }
  reap_groups_destroy(&groups);
  reap_graph_destroy(&graph);
}

static void test_costs_are_exact(void) {
  check_costs(small_network());
  check_costs(joined_network());
}

static void test_time_tables(void) {
  int64_t in[] = {2, 4, 8}, out[] = {1, 3};
  double ms[] = {1, 2, 3, 6, 5, 12};
  const reap_time_table table = {3, 2, in, out, ms};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 2; j++) CHECK_NEAR(reap_time_table_at(&table, in[i], out[j]), ms[2 * i + j], 1e-12);
  CHECK_NEAR(reap_time_table_at(&table, 3, 2), (1 + 2 + 3 + 6) / 4.0, 1e-12);
  CHECK_NEAR(reap_time_table_at(&table, 6, 1), 4, 1e-12);
  CHECK_NEAR(reap_time_table_at(&table, 1, 1), 0, 1e-12); /* 1 - (3 - 1) / 2 */
  CHECK_NEAR(reap_time_table_at(&table, 10, 1), 6, 1e-12);
  const reap_time_table one = {1, 1, out, out, ms};
  CHECK_NEAR(reap_time_table_at(&one, 7, 9), 1, 0);
}

/* A stream that two layers make, with a layer for each channel and one in wide groups behind it. */
static reap_graph *stream_network(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 5, 5);
  net_conv3(g, "a", "x", 3, 8);
  net_conv3(g, "b", "a", 8, 5);
  net_conv3(g, "c", "b", 5, 8);
  net_node(g, "Add", "s", "a c", "s", NULL);
  net_weights(g, "w.each", "8,1,3,3");
  net_node(g, "Conv", "each", "s w.each", "each", "pads=[1,1,1,1] group=8");
  net_weights(g, "w.wide", "6,4,1,1");
  net_node(g, "Conv", "wide", "each w.wide", "wide", "group=2");
  net_conv3(g, "d", "wide", 6, 3);
  net_finish(g, "d", 2);
  return g;
}

/* Tables of multiply-adds in place of times. */
static void count_in_place(const reap_graph *graph, reap_latency *l) {
  l->whole = 0;
  for (int i = 0, at = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear) continue;
    reap_time_table *t = &l->layers[at++].table;
    const double each = (double)reap_node_flops(graph, i) / ((double)t->in[t->n_in - 1] * (double)t->out[t->n_out - 1]);
    for (int k = 0; k < t->n_in * t->n_out; k++)
      t->ms[k] = each * (double)t->in[k / t->n_out] * (double)t->out[k % t->n_out];
    l->whole += t->ms[t->n_in * t->n_out - 1];
  }
}

/* Times that grow as multiply-adds do cost what these do, whichever groups take part. */
static void check_coupled_times(reap_graph *graph) {
  reap_groups *groups = NULL;
  reap_latency *latency = NULL;
  CHECK_OK(reap_groups_find(graph, &groups));
  CHECK_OK(reap_latency_measure(graph, groups, true, REAP_BACKEND_AUTO, NULL, &latency));
  count_in_place(graph, latency);
  const int n = reap_groups_count(groups);
  CU_ASSERT_FATAL(n <= MOST_GROUPS);
  for (int mask = 0; mask < 1 << n; mask++) {
    reap_cost_model *flops = NULL, *times = NULL;
    int64_t counts[MOST_GROUPS];
    bool chosen[MOST_GROUPS];
    choose_by_mask(groups, mask, true, chosen, counts);
    CHECK_OK(reap_cost_model_flops(graph, groups, chosen, &flops));
    CHECK_OK(reap_cost_model_latency(graph, groups, chosen, latency, &times));
    CHECK_NEAR(reap_cost_model_at(times, counts), reap_cost_model_at(flops, counts), 1e-9 * flops->whole);
    reap_cost_model_destroy(&flops);
    reap_cost_model_destroy(&times);
  }
  reap_latency_destroy(&latency);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&graph);
}

static void test_times_of_coupled_groups(void) {
  check_coupled_times(small_network());
  check_coupled_times(joined_network());
  check_coupled_times(stream_network());
}

/* What is measured adds up to the whole at full size, and every layer of the network has a table that fits it. */
static void test_latency_is_a_cost(void) {
  reap_graph *graph = small_network();
  reap_groups *groups = NULL;
  reap_latency *latency = NULL;
  reap_cost_model *model = NULL;
  bool chosen[MOST_GROUPS];
  CHECK_OK(reap_groups_find(graph, &groups));
  for (int g = 0; g < reap_groups_count(groups); g++) chosen[g] = reap_groups_at(groups, g)->prunable;
  CHECK_OK(reap_latency_measure(graph, groups, false, REAP_BACKEND_AUTO, NULL, &latency));
  CHECK_OK(reap_latency_broadcast(test_comm(), &latency));
  CU_ASSERT_EQUAL(latency->n, 4);
  CU_ASSERT(latency->whole > 0);
  for (int i = 0; i < latency->n; i++)
    for (int k = 0; k < latency->layers[i].table.n_in * latency->layers[i].table.n_out; k++)
      CU_ASSERT(latency->layers[i].table.ms[k] > 0);
  CHECK_OK(reap_cost_model_latency(graph, groups, chosen, latency, &model));
  CHECK_NEAR(model->whole, latency->whole, 1e-12);
  reap_cost_model_destroy(&model);
  latency->layers[1].table.in[latency->layers[1].table.n_in - 1]++;
  CHECK_FAILS(reap_cost_model_latency(graph, groups, chosen, latency, &model), REAP_ERR_INPUT, "of other sizes");
  latency->n = 3;
  CHECK_FAILS(reap_cost_model_latency(graph, groups, chosen, latency, &model), REAP_ERR_INPUT, "other sizes");
  latency->n = 4;
  reap_latency_destroy(&latency);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&graph);
}

/* ------------------------------------------------------------------ losses */

/* A stream through two blocks, in each of which a group of its own. */
static reap_graph *two_blocks(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 8, 8);
  net_conv3(g, "stream", "x", 3, 8);
  net_conv3(g, "a", "stream", 8, 6);
  net_step(g, "Relu", "ra", "a");
  net_conv3(g, "b", "ra", 6, 8);
  net_node(g, "Add", "one", "b stream", "one", NULL);
  net_conv3(g, "c", "one", 8, 6);
  net_step(g, "Relu", "rc", "c");
  net_conv3(g, "d", "rc", 6, 8);
  net_node(g, "Add", "two", "d one", "two", NULL);
  net_conv3(g, "last", "two", 8, 2);
  net_finish(g, "last", 1);
  return g;
}

static void fill_path(const reap_group *group, reap_group_path *p) {
  const int64_t n = group->units - 1;
  CHECK_OK(reap_group_path_allocate(p, group->name, "layer", group->units, n, 1));
  p->block = p->m = 1;
  p->energy = 1;
  for (int64_t i = 0; i < n; i++) {
    p->order[i] = i;
    p->error[i] = 0.01 * (double)(i + 1);
  }
  p->sizes[0] = 2;
  p->moved[0] = 0.3;
}

static void find_losses(const reap_groups *groups, bool with_coupled, double **losses) {
  const int n = reap_groups_count(groups);
  reap_group_paths *paths = NULL;
  int count = 0;
  bool *chosen = NULL;
  int64_t *least = NULL;
  for (int g = 0; g < n; g++)
    count += reap_groups_at(groups, g)->prunable || (with_coupled && reap_groups_at(groups, g)->cuttable);
  CHECK_OK(reap_group_paths_create(count, &paths));
  CHECK_OK(reap_calloc(&chosen, n, sizeof *chosen));
  CHECK_OK(reap_calloc(&least, n, sizeof *least));
  paths->power = paths->tilt = 1;
  for (int g = 0, at = 0; g < n; g++) {
    const reap_group *group = reap_groups_at(groups, g);
    chosen[g] = group->prunable || (with_coupled && group->cuttable);
    if (chosen[g]) fill_path(group, &paths->paths[at++]);
  }
  CHECK_OK(reap_joint_losses(groups, chosen, paths, true, 1, least, losses));
  reap_free(&least);
  reap_free(&chosen);
  reap_group_paths_destroy(&paths);
}

/* Where coupled groups stay whole the others have the sizes that they have alone. */
static void test_losses_of_inner_groups(void) {
  reap_graph *graph = two_blocks();
  reap_groups *groups = NULL;
  int inner = 0, others = 0;
  CHECK_OK(reap_groups_find(graph, &groups));
  enum { MOST = 16 };
  double *alone[MOST] = {NULL}, *together[MOST] = {NULL};
  CU_ASSERT_TRUE_FATAL(reap_groups_count(groups) <= MOST);
  find_losses(groups, false, alone);
  find_losses(groups, true, together);
  for (int g = 0; g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    if (alone[g]) CU_ASSERT_EQUAL(memcmp(alone[g], together[g], (size_t)(group->units + 1) * sizeof **alone), 0);
    inner += alone[g] != NULL;
    others += together[g] && !alone[g];
    reap_free(&alone[g]);
    reap_free(&together[g]);
  }
  CU_ASSERT_EQUAL(inner, 2);
  CU_ASSERT_EQUAL(others, 1);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&graph);
}

const test_case test_cases[] = {{"knapsack", test_knapsack_is_exact},
                                {"bound", test_bound_in_closed_form},
                                {"coupled", test_coupled_choice},
                                {"losses of inner groups", test_losses_of_inner_groups},
                                {"costs", test_costs_are_exact},
                                {"time tables", test_time_tables},
                                {"latency", test_latency_is_a_cost},
                                {"times of coupled groups", test_times_of_coupled_groups},
                                {NULL, NULL}};
