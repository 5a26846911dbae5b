/* prune: whole runs on real networks and images, on any number of ranks; budgets, methods, the frontier. */
#include "prune_runs.h"

#include "model/groups/surgery.h"
#include "prune/sizes/ratios.h"

const char *const test_suite_name = "prune";

/* ---------------------------------------------------------------- the same on any number of ranks */

static void vgg_is_the_same_on_any_ranks(void) {
  check_any_ranks(&(setting){VGG, "reap", true, 300, 6, 5, 4, false, false, 0});
}
static void resnet_is_the_same_on_any_ranks(void) {
  check_any_ranks(&(setting){RESNET, "reap", true, 300, 12, 0, 0, false, false, 0});
}
static void ranks_without_images_do_no_harm(void) {
  check_any_ranks(&(setting){RESNET, "reap", true, 40, 49, 1, 3, false, false, 0}); /* one block */
  check_any_ranks(&(setting){VGG, "random", false, 70, 4, 1, 3, false, false, 0}); /* two, the second with six images */
}

/* Layers of one row an image, solved from them. */
static void few_rows_are_the_same_on_any_ranks(void) {
  const setting one = {VGG, "reap", true, 70, 1, 0, 3, false, false, 0},
                given = {VGG, "l1", true, 70, 1, 0, 3, true, false, 0};
  outcome o;
  check_any_ranks(&one);
  check_any_ranks(&given);
  run(test_comm(), &one, &o);
  const int count = reap_prune_count(&o.result, REAP_STEP_PRUNE);
  CU_ASSERT_EQUAL(count, 3);
  for (int i = 0; i < count; i++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
    CU_ASSERT_STRING_EQUAL(l->moments, i < 2 ? "rows" : "whole"); /* the last layer has two columns for each row */
    if (i < 2) CU_ASSERT_TRUE(l->relative_error < 1e-4);          /* more columns are left than rows */
  }
  clear(&o);
}

/* ---------------------------------------------------------------- moments that no rank holds */

static void check_near_layer(const reap_step_record *distributed, const reap_step_record *whole) {
  CU_ASSERT_EQUAL_FATAL(distributed->n_kept, whole->n_kept);
  CU_ASSERT_EQUAL(memcmp(distributed->kept, whole->kept, (size_t)whole->n_kept * sizeof *whole->kept), 0);
  CU_ASSERT_EQUAL(memcmp(distributed->removed, whole->removed, (size_t)whole->n_removed * sizeof *whole->removed), 0);
  CU_ASSERT_EQUAL(distributed->samples, whole->samples);
  const bool few = strcmp(whole->moments, "rows") == 0;
  CU_ASSERT_STRING_EQUAL(whole->moments, few ? "rows" : "whole");
  CU_ASSERT_STRING_EQUAL(distributed->moments, few ? "rows" : "panels");
  CU_ASSERT_TRUE(distributed->distributed == !few && !whole->distributed);
  CHECK_NEAR(distributed->relative_error, whole->relative_error, 1e-6 * whole->relative_error + 1e-9);
  CHECK_NEAR(distributed->held_out_error, whole->held_out_error, 1e-4 * whole->held_out_error + 1e-9);
  CU_ASSERT_EQUAL(isnan(distributed->predicted_relative_error), isnan(whole->predicted_relative_error));
  CU_ASSERT_EQUAL(distributed->repaired_shortcut, whole->repaired_shortcut);
}

/* The same choice, and the same errors but for rounding, whether all ranks hold the moments or none. */
static void check_spread(const setting *s) {
  outcome whole, distributed;
  run_with(test_comm(), s, REAP_SOLVER_LOCAL, &whole);
  run_with(test_comm(), s, REAP_SOLVER_SCALAPACK, &distributed);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&distributed.result, REAP_STEP_PRUNE),
                        reap_prune_count(&whole.result, REAP_STEP_PRUNE));
  for (int i = 0; i < reap_prune_count(&whole.result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *l = reap_prune_record(&distributed.result, REAP_STEP_PRUNE, i);
    check_near_layer(l, reap_prune_record(&whole.result, REAP_STEP_PRUNE, i));
    CHECK_OK(reap_comm_same(test_comm(), l->kept, (size_t)l->n_kept * sizeof *l->kept, l->layer));
    CHECK_OK(reap_comm_same(test_comm(), &l->relative_error, sizeof l->relative_error, l->layer));
  }
  for (int v = 0; v < distributed.pruned->n_values; v++) {
    const reap_tensor *t = distributed.pruned->values[v].constant;
    if (t && t->dtype == REAP_F32)
      CHECK_OK(reap_comm_same(test_comm(), t->f32, (size_t)t->count * sizeof *t->f32, "weights"));
  }
  clear(&whole);
  clear(&distributed);
}

static void moments_by_panels_give_the_same_networks(void) {
  check_spread(
      &(setting){VGG, "reap", true, 100, 0, 5, 0, false, false, 0}); /* the layer behind the Flatten has few rows */
  check_spread(&(setting){RESNET, "reap", true, 100, 12, 0, 0, false, false, 0});
  check_spread(&(setting){RESNET, "l1", true, 60, 12, 0, 3, false, false, 0});
  check_spread(&(setting){RESNET, "random", false, 60, 12, 0, 3, false, false, 0});
  check_spread(&(setting){RESNET, "reap", false, 20, 12, 0, 3, false, false, 0}); /* ranks without images */
}

/* ---------------------------------------------------------------- what the errors say */

static void errors_are_plausible(void) {
  outcome o;
  run(test_comm(), &(setting){RESNET, "reap", true, 300, 49, 1, 0, false, false, 0}, &o);
  CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 9);
  for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
    CU_ASSERT_EQUAL(l->samples, 270 * 49); /* every tenth image is held out */
    CU_ASSERT_EQUAL(l->n_kept, l->channels / 2);
    CU_ASSERT_EQUAL(l->n_kept + l->n_removed, l->channels);
    CU_ASSERT_TRUE(l->relative_error > 1e-4 && l->relative_error < 0.5);
    /* Promised: the elimination's J with its ridge term; the weights are rounded to nothing less than float64 there. */
    CHECK_NEAR(l->predicted_relative_error, l->relative_error, 1e-3 * l->relative_error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(l->path);
    CHECK_NEAR(l->path[l->n_removed - 1], l->relative_error, 1e-8);
    for (int64_t k = 1; k < l->n_removed; k++) CU_ASSERT_TRUE(l->path[k] >= l->path[k - 1] - 1e-9);
    CU_ASSERT_TRUE(l->held_out_error > 0.7 * l->relative_error && l->held_out_error < 1.4 * l->relative_error);
    CU_ASSERT_EQUAL(l->ridge, REAP_DEFAULT_RIDGE);
    for (int64_t k = 1; k < l->n_kept; k++) CU_ASSERT_TRUE(l->kept[k] > l->kept[k - 1]);
    /* The first block's shortcut is as it was; all others have drifted. */
    CU_ASSERT_EQUAL(l->repaired_shortcut, i > 0);
  }
  clear(&o);
}

static void resolved_weights_beat_sliced_ones(void) {
  static const char *const methods[] = {"l1", "l1-filter", "random"};
  for (int k = 0; k < 3; k++) {
    setting s = {RESNET, methods[k], true, 200, 25, 1, 0, false, false, 0};
    outcome solved, sliced;
    run(test_comm(), &s, &solved);
    s.refit = false;
    run(test_comm(), &s, &sliced);
    CU_ASSERT_EQUAL_FATAL(reap_prune_count(&solved.result, REAP_STEP_PRUNE),
                          reap_prune_count(&sliced.result, REAP_STEP_PRUNE));
    for (int i = 0; i < reap_prune_count(&solved.result, REAP_STEP_PRUNE); i++) {
      const reap_step_record *a = reap_prune_record(&solved.result, REAP_STEP_PRUNE, i),
                             *b = reap_prune_record(&sliced.result, REAP_STEP_PRUNE, i);
      /* These methods look at weights alone, which are the same at this point of both runs. */
      CU_ASSERT_EQUAL(memcmp(a->kept, b->kept, (size_t)a->n_kept * sizeof *a->kept), 0);
      CU_ASSERT_TRUE(a->relative_error <= b->relative_error);
      CU_ASSERT_TRUE(isnan(a->predicted_relative_error));
      CU_ASSERT_PTR_NULL(a->path);
    }
    clear(&solved);
    clear(&sliced);
  }
}

static void reap_beats_the_others(void) {
  static const char *const methods[] = {"l1", "l1-filter", "random"};
  outcome best;
  run(test_comm(), &(setting){RESNET, "reap", true, 200, 25, 1, 0, false, false, 0}, &best);
  for (int k = 0; k < 3; k++) {
    outcome other;
    run(test_comm(), &(setting){RESNET, methods[k], true, 200, 25, 1, 0, false, false, 0}, &other);
    /* Up to the first layer everything is the same; there greedy choice has to win. */
    CU_ASSERT_TRUE(reap_prune_record(&best.result, REAP_STEP_PRUNE, 0)->relative_error <=
                   reap_prune_record(&other.result, REAP_STEP_PRUNE, 0)->relative_error);
    clear(&other);
  }
  clear(&best);
}

/* ---------------------------------------------------------------- the errors, measured on the finished networks */

/* The classifier of the VGG network: its outputs are the network's. */
static void errors_are_those_of_the_outputs(void) {
  outcome o;
  int64_t count;
  run(test_comm(), &(setting){VGG, "reap", true, 300, 0, 1, 1, false, false, 0}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0);
  CU_ASSERT_STRING_EQUAL(l->layer, o.pruned->nodes[o.pruned->values[o.pruned->outputs[0]].producer]->layer);
  CU_ASSERT_EQUAL(l->samples, 270);
  float *y = values_of(o.network.graph, o.network.graph->outputs[0], &o, &count);
  float *z = values_of(o.pruned, o.pruned->outputs[0], &o, &count);
  CHECK_NEAR(measured_error(&o, y, z, 10, 1, false), l->relative_error, 1e-4 * l->relative_error);
  CHECK_NEAR(measured_error(&o, y, z, 10, 1, true), l->held_out_error, 1e-4 * l->held_out_error);
  reap_free(&y);
  reap_free(&z);
  clear(&o);
}

/* The last block of the residual network: its branch is solved for what the sum needs, the shortcut having drifted. */
static void errors_are_those_of_the_repaired_sum(void) {
  outcome o;
  int64_t count;
  run(test_comm(), &(setting){RESNET, "reap", true, 100, 0, 1, 3, false, false, 0}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 3);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 2);
  CU_ASSERT_TRUE(l->repaired_shortcut);
  const int branch = o.pruned->nodes[net_layer(o.pruned, l->layer)]->outputs[0];
  CU_ASSERT_EQUAL_FATAL(o.pruned->values[branch].n_readers, 1);
  const reap_node *add = o.pruned->nodes[o.pruned->values[branch].reader];
  CU_ASSERT_STRING_EQUAL_FATAL(add->op->name, "Add");
  const int shortcut = add->inputs[0] == branch ? add->inputs[1] : add->inputs[0];
  const reap_value *v = &o.pruned->values[branch];
  float *target = values_of(o.network.graph, branch, &o, &count), *got = values_of(o.pruned, branch, &o, &count);
  float *before = values_of(o.network.graph, shortcut, &o, &count), *now = values_of(o.pruned, shortcut, &o, &count);
  double drift = 0;
  for (int64_t i = 0; i < count; i++) {
    target[i] += before[i] - now[i];
    drift = fmax(drift, fabs((double)before[i] - (double)now[i]));
  }
  CHECK_OK(reap_comm_max(test_comm(), &drift, 1));
  CU_ASSERT_TRUE(drift > 0.01);
  const int64_t m = v->dims[1], positions = v->dims[2] * v->dims[3];
  CHECK_NEAR(measured_error(&o, target, got, m, positions, false), l->relative_error, 1e-4 * l->relative_error);
  CHECK_NEAR(measured_error(&o, target, got, m, positions, true), l->held_out_error, 1e-4 * l->held_out_error);
  reap_free(&target);
  reap_free(&got);
  reap_free(&before);
  reap_free(&now);
  clear(&o);
}

/* ---------------------------------------------------------------- methods */

static void check_largest(const double *scores, int64_t channels, const reap_step_record *l) {
  double least_kept = INFINITY, largest_gone = -INFINITY;
  for (int64_t k = 0; k < l->n_kept; k++) least_kept = fmin(least_kept, scores[l->kept[k]]);
  for (int64_t k = 0; k < l->n_removed; k++) largest_gone = fmax(largest_gone, scores[l->removed[k]]);
  CU_ASSERT_EQUAL(l->n_kept + l->n_removed, channels);
  CU_ASSERT_TRUE(least_kept > largest_gone);
}

static void l1_keeps_the_largest_norms(void) {
  for (int of_filter = 0; of_filter < 2; of_filter++)
    for (int model = 0; model < 2; model++) {
      outcome o;
      run(test_comm(),
          &(setting){model ? RESNET : VGG, of_filter ? "l1-filter" : "l1", false, 64, 1, 1, 0, false, false, 0}, &o);
      for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_PRUNE); i++) {
        const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
        const reap_graph *g = o.network.graph; /* with batch norms folded */
        const reap_node *node = g->nodes[net_layer(g, of_filter ? l->group : l->layer)];
        const reap_tensor *w = reap_node_constant(g, node, 1);
        double scores[256] = {0};
        bool gone[256] = {false}; /* inputs of the producer that went before it was looked at */
        const int64_t n = w->count / w->dims[0];
        const reap_step_record *before =
            of_filter && i > 0 && strcmp(reap_prune_record(&o.result, REAP_STEP_PRUNE, i - 1)->layer, l->group) == 0
                ? l - 1
                : NULL;
        for (int64_t k = 0; before && k < before->n_removed; k++) gone[before->removed[k]] = true;
        const int64_t taps = before ? n / before->channels : n;
        for (int64_t j = 0; j < w->dims[0]; j++)
          for (int64_t k = 0; k < n; k++)
            if (!gone[k / taps]) scores[of_filter ? j : k / (n / l->channels)] += fabs((double)w->f32[j * n + k]);
        check_largest(scores, l->channels, l);
      }
      clear(&o);
    }
}

static void random_follows_the_seed(void) {
  outcome a, b;
  int different = 0, same_as_another_group = 0;
  run(test_comm(), &(setting){VGG, "random", false, 64, 1, 11, 0, false, false, 0}, &a);
  run(test_comm(), &(setting){VGG, "random", false, 64, 1, 12, 0, false, false, 0}, &b);
  for (int i = 0; i < reap_prune_count(&a.result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *x = reap_prune_record(&a.result, REAP_STEP_PRUNE, i),
                           *y = reap_prune_record(&b.result, REAP_STEP_PRUNE, i);
    different += memcmp(x->kept, y->kept, (size_t)x->n_kept * sizeof *x->kept) != 0;
    for (int k = 0; k < i; k++) {
      const reap_step_record *z = reap_prune_record(&a.result, REAP_STEP_PRUNE, k);
      same_as_another_group +=
          x->n_kept == z->n_kept && memcmp(x->kept, z->kept, (size_t)x->n_kept * sizeof *x->kept) == 0;
    }
  }
  CU_ASSERT_EQUAL(different, reap_prune_count(&a.result, REAP_STEP_PRUNE));
  CU_ASSERT_EQUAL(same_as_another_group, 0);
  clear(&b);
  run(test_comm(), &(setting){VGG, "random", false, 300, 1, 11, 0, false, false, 0}, &b); /* other images, same seed */
  for (int i = 0; i < reap_prune_count(&a.result, REAP_STEP_PRUNE); i++)
    CU_ASSERT_EQUAL(memcmp(reap_prune_record(&a.result, REAP_STEP_PRUNE, i)->kept,
                           reap_prune_record(&b.result, REAP_STEP_PRUNE, i)->kept,
                           (size_t)reap_prune_record(&a.result, REAP_STEP_PRUNE, i)->n_kept * sizeof(int64_t)),
                    0);
  clear(&a);
  clear(&b);
}

static void the_table_of_methods_is_complete(void) {
  int count = 0;
  for (; reap_method_at(count); count++) {
    CU_ASSERT_PTR_EQUAL(reap_method_find(reap_method_at(count)->name), reap_method_at(count));
    CU_ASSERT_TRUE(strlen(reap_method_at(count)->summary) > 0);
  }
  CU_ASSERT_TRUE(count >= 4);
  CU_ASSERT_PTR_NULL(reap_method_find("reaper"));
  CU_ASSERT_PTR_NULL(reap_method_at(-1));
}

/* ---------------------------------------------------------------- budgets */

static void counts_are_rounded_as_written(void) {
  CU_ASSERT_EQUAL(reap_budget_round(0.5, 3), 2);
  CU_ASSERT_EQUAL(reap_budget_round(0.5, 5), 3);
  CU_ASSERT_EQUAL(reap_budget_round(0.5, 64), 32);
  CU_ASSERT_EQUAL(reap_budget_round(0.01, 10), 1);
  CU_ASSERT_EQUAL(reap_budget_round(1, 7), 7);
  CU_ASSERT_EQUAL(reap_budget_round(0.34, 10), 3);
  CU_ASSERT_EQUAL(reap_budget_round(0.35, 10), 4); /* 0.35 * 10 is 3.5 in doubles */
}

/* A network, its prunable groups, and uniform shares under a budget of multiply-adds. */
typedef struct budgeted {
  reap_network network;
  reap_groups *groups;
  reap_cost_model *cost;
  bool chosen[64];
  int64_t counts[64];
  reap_ratio_problem problem;
} budgeted;

static void budgeted_begin(const char *model, double share, budgeted *b) {
  memset(b, 0, sizeof *b);
  CHECK_OK(reap_network_load(test_comm(), test_source_path(model), &b->network));
  CHECK_OK(reap_groups_find(b->network.graph, &b->groups));
  CU_ASSERT_TRUE_FATAL(reap_groups_count(b->groups) <= 64);
  for (int g = 0; g < reap_groups_count(b->groups); g++) b->chosen[g] = reap_groups_at(b->groups, g)->prunable;
  CHECK_OK(reap_cost_model_flops(b->network.graph, b->groups, b->chosen, &b->cost));
  CU_ASSERT_EQUAL(b->cost->whole, (double)reap_graph_flops(b->network.graph));
  b->problem = (reap_ratio_problem){.cost = b->cost, .budget = share * b->cost->whole};
}

static void budgeted_end(budgeted *b) {
  reap_cost_model_destroy(&b->cost);
  reap_groups_destroy(&b->groups);
  reap_network_clear(&b->network);
}

/* Whether one more channel of group g would be too much. */
static bool is_tight(budgeted *b, int g) {
  if (b->counts[g] == b->cost->channels[g]) return false;
  b->counts[g]++;
  const bool tight = reap_cost_model_at(b->cost, b->counts) > b->problem.budget;
  b->counts[g]--;
  return tight;
}

static void check_cut(budgeted *b) {
  const double promised = reap_cost_model_at(b->cost, b->counts);
  CU_ASSERT_TRUE(promised <= b->problem.budget);
  for (int g = 0; g < b->cost->n_groups; g++) {
    int64_t kept[256];
    for (int64_t c = 0; c < b->counts[g]; c++) kept[c] = c;
    if (b->chosen[g]) CHECK_OK(reap_surgery_cut(b->network.graph, b->groups, g, b->counts[g], kept));
  }
  CU_ASSERT_EQUAL((double)reap_graph_flops(b->network.graph), promised);
}

static void check_budget(const char *model, double share) {
  budgeted b;
  double least = 1, most = 0, smallest = INFINITY;
  bool tight = false;
  budgeted_begin(model, share, &b);
  CHECK_OK(reap_ratios_uniform(&b.problem, b.counts));
  for (int g = 0; g < b.cost->n_groups; g++) {
    const double channels = (double)b.cost->channels[g], left = (double)b.counts[g] / channels;
    CU_ASSERT_TRUE(b.counts[g] >= 1 && left <= 1);
    if (!b.chosen[g]) {
      CU_ASSERT_EQUAL(left, 1);
      continue;
    }
    smallest = fmin(smallest, channels);
    least = fmin(least, left);
    most = fmax(most, left);
    tight |= is_tight(&b, g);
  }
  CU_ASSERT_TRUE(share == 1 || tight);           /* not a channel is left of the budget */
  CU_ASSERT_TRUE(most - least < 2.0 / smallest); /* the same share, but for rounding and one channel */
  if (share == 1) CU_ASSERT_EQUAL(least, 1);
  check_cut(&b);
  budgeted_end(&b);
}

static void flops_budgets_are_met(void) {
  static const double shares[] = {0.3, 0.5, 0.51, 0.8, 1};
  for (int k = 0; k < 5; k++) {
    check_budget(VGG, shares[k]);
    check_budget(RESNET, shares[k]);
  }
}

static void budgets_out_of_reach_are_refused(void) {
  budgeted b;
  budgeted_begin(RESNET, 0.01, &b);
  CHECK_FAILS(reap_ratios_uniform(&b.problem, b.counts), REAP_ERR_USAGE, "cannot be reached");
  budgeted_end(&b);
}

/* ---------------------------------------------------------------- the frontier */

/* x -> a -> r -> b -> (+ r) -> c */
static reap_graph *small_residual(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_step(g, "Relu", "r", "a");
  net_conv3(g, "b", "r", 4, 4);
  net_node(g, "Add", "sum", "b r", "sum", NULL);
  net_conv3(g, "c", "sum", 4, 2);
  net_finish(g, "c", 2);
  return g;
}

static reap_frontier *started(const reap_graph *g, int64_t blocks) {
  reap_frontier *frontier = NULL;
  CHECK_OK(reap_frontier_create(g, blocks, REAP_BACKEND_PLAIN, &frontier));
  CU_ASSERT_PTR_NOT_NULL_FATAL(frontier);
  for (int64_t b = 0; b < blocks; b++) {
    float *storage = NULL;
    reap_random random = reap_random_init(1, (uint64_t)b, 0);
    CHECK_OK(reap_frontier_input(frontier, 0, b, &storage));
    for (int64_t i = 0; i < reap_value_count(&g->values[g->inputs[0]]); i++)
      storage[i] = (float)reap_random_normal(&random);
  }
  return frontier;
}

static void advance_to(reap_frontier *frontier, const reap_graph *g, const char *name) {
  const int value = reap_graph_find(g, name);
  CHECK_OK(reap_frontier_advance(frontier, &value, 1));
  CU_ASSERT_PTR_NOT_NULL(reap_frontier_value(frontier, value, 0));
}

/* A node that has been computed is never computed again: its weights may go. */
static void nodes_are_computed_once(void) {
  static const char *const stops[] = {"a", "r", "b", "sum", "c"};
  reap_graph *whole = small_residual();
  reap_frontier *at_once = started(whole, 3), *in_steps;
  advance_to(at_once, whole, "c");
  reap_graph *g = small_residual();
  in_steps = started(g, 3);
  for (int k = 0; k < 5; k++) {
    const int node = net_layer(g, stops[k]);
    CU_ASSERT_FALSE(reap_frontier_done(in_steps, node));
    advance_to(in_steps, g, stops[k]);
    CU_ASSERT_TRUE(reap_frontier_done(in_steps, node));
    if (!g->nodes[node]->linear) continue;
    reap_tensor *w = g->values[g->nodes[node]->inputs[1]].constant;
    for (int64_t i = 0; i < w->count; i++) w->f32[i] = NAN;
  }
  const int y = g->outputs[0];
  for (int64_t b = 0; b < 3; b++)
    CU_ASSERT_EQUAL(memcmp(reap_frontier_value(in_steps, y, b), reap_frontier_value(at_once, y, b),
                           (size_t)reap_value_count(&g->values[y]) * sizeof(float)),
                    0);
  reap_frontier_destroy(&at_once);
  reap_frontier_destroy(&in_steps);
  reap_graph_destroy(&whole);
  reap_graph_destroy(&g);
}

static void only_what_is_still_read_is_held(void) {
  reap_graph *g = small_residual();
  reap_frontier *frontier = started(g, 2);
  const int64_t image = 2 * 2 * 3 * 36 * 4, four = 2 * 2 * 4 * 36 * 4,
                two = 2 * 2 * 2 * 36 * 4; /* bytes of both blocks */
  CU_ASSERT_EQUAL(reap_frontier_bytes(frontier), image);
  advance_to(frontier, g, "r");
  CU_ASSERT_PTR_NULL(reap_frontier_value(frontier, reap_graph_find(g, "x"), 0));
  CU_ASSERT_PTR_NULL(reap_frontier_value(frontier, reap_graph_find(g, "a"), 0));
  CU_ASSERT_EQUAL(reap_frontier_bytes(frontier), four);
  advance_to(frontier, g, "b");
  CU_ASSERT_PTR_NOT_NULL(reap_frontier_value(frontier, reap_graph_find(g, "r"), 1)); /* the shortcut */
  CU_ASSERT_EQUAL(reap_frontier_bytes(frontier), 2 * four);
  advance_to(frontier, g, "c");
  CU_ASSERT_PTR_NULL(reap_frontier_value(frontier, reap_graph_find(g, "r"), 1));
  CU_ASSERT_EQUAL(reap_frontier_bytes(frontier), two);
  reap_frontier_destroy(&frontier);
  reap_graph_destroy(&g);
}

/* Channels dropped on the way: the frontier goes on as if they had never been. */
static void cuts_follow_the_frontier(void) {
  reap_graph *g = net_begin(), *cut = NULL;
  reap_groups *groups = NULL;
  const int64_t kept[] = {1, 3, 4};
  const bool keep[6] = {false, true, false, true, true, false};
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 6);
  net_step(g, "Relu", "r", "a");
  net_conv3(g, "b", "r", 6, 2);
  net_finish(g, "b", 2);
  CHECK_OK(reap_graph_clone(g, &cut));
  CHECK_OK(reap_groups_find(g, &groups));
  reap_frontier *late = started(g, 2);
  advance_to(late, g, "r");
  CHECK_OK(reap_frontier_cut(late, groups, 0, keep));
  CHECK_OK(reap_surgery_cut(g, groups, 0, 3, kept));
  advance_to(late, g, "b");
  reap_groups_destroy(&groups);
  CHECK_OK(reap_groups_find(cut, &groups));
  CHECK_OK(reap_surgery_cut(cut, groups, 0, 3, kept));
  reap_frontier *early = started(cut, 2);
  advance_to(early, cut, "b");
  const int y = g->outputs[0];
  for (int64_t b = 0; b < 2; b++)
    for (int64_t i = 0; i < reap_value_count(&g->values[y]); i++)
      CHECK_NEAR(reap_frontier_value(late, y, b)[i], reap_frontier_value(early, y, b)[i], 1e-5);
  reap_frontier_destroy(&late);
  reap_frontier_destroy(&early);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
  reap_graph_destroy(&cut);
}

const test_case test_cases[] = {{"VGG is the same on any ranks", vgg_is_the_same_on_any_ranks},
                                {"ResNet is the same on any ranks", resnet_is_the_same_on_any_ranks},
                                {"ranks without images do no harm", ranks_without_images_do_no_harm},
                                {"few rows are the same on any ranks", few_rows_are_the_same_on_any_ranks},
                                {"moments by panels give the same networks", moments_by_panels_give_the_same_networks},
                                {"errors are plausible", errors_are_plausible},
                                {"errors are those of the outputs", errors_are_those_of_the_outputs},
                                {"errors are those of the repaired sum", errors_are_those_of_the_repaired_sum},
                                {"re-solved weights beat sliced ones", resolved_weights_beat_sliced_ones},
                                {"reap beats the others", reap_beats_the_others},
                                {"l1 keeps the largest norms", l1_keeps_the_largest_norms},
                                {"random follows the seed", random_follows_the_seed},
                                {"the table of methods is complete", the_table_of_methods_is_complete},
                                {"counts are rounded as written", counts_are_rounded_as_written},
                                {"flops budgets are met", flops_budgets_are_met},
                                {"budgets out of reach are refused", budgets_out_of_reach_are_refused},
                                {"nodes are computed once", nodes_are_computed_once},
                                {"only what is still read is held", only_what_is_still_read_is_held},
                                {"cuts follow the frontier", cuts_follow_the_frontier},
                                {NULL, NULL}};
