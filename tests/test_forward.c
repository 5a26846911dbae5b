/* The forward pass: plans that fuse nodes against the same nodes one by one, and frontiers that share their blocks. */
#include <stdio.h>
#include <string.h>

#include "exec/plan.h"
#include "harness.h"
#include "io/onnx/source.h"
#include "small_networks.h"

const char *const test_suite_name = "forward";

/* ---------------------------------------------------------------- plans */

/* Runs the graph with every value kept (node by node) or only its outputs (fused); storage[n_values] is allocated
 * here. */
static void run_plan(const reap_graph *g, reap_backend backend, bool all, float **storage) {
  int *nodes = NULL;
  bool *kept = NULL;
  reap_plan *plan = NULL;
  reap_random random = reap_random_init(7, 8, 9);
  CHECK_OK(reap_alloc(&nodes, g->n_nodes, sizeof *nodes));
  CHECK_OK(reap_calloc(&kept, g->n_values, sizeof *kept));
  for (int i = 0; i < g->n_nodes; i++) {
    nodes[i] = i;
    kept[g->nodes[i]->outputs[0]] = all;
  }
  for (int k = 0; k < g->n_outputs; k++) kept[g->outputs[k]] = true;
  for (int v = 0; v < g->n_values; v++) {
    const reap_value *value = &g->values[v];
    if (value->constant || !(value->is_input || kept[v])) continue;
    CHECK_OK(reap_alloc(&storage[v], reap_value_count(value), sizeof(float)));
    for (int64_t i = 0; value->is_input && i < reap_value_count(value); i++)
      storage[v][i] = (float)reap_random_normal(&random);
  }
  CHECK_OK(reap_plan_create(g, nodes, g->n_nodes, kept, backend, &plan));
  for (int twice = 0; twice < 2; twice++) CHECK_OK(reap_plan_run(plan, storage));
  reap_plan_destroy(&plan);
  reap_free(&nodes);
  reap_free(&kept);
}

/* Both ways agree: to the last bit with the plain backend, to rounding with oneDNN's. */
static void check_fusion(const char *name, const reap_graph *g, reap_backend backend, double tolerance) {
  float **whole = NULL, **single = NULL;
  CHECK_OK(reap_calloc(&whole, g->n_values, sizeof *whole));
  CHECK_OK(reap_calloc(&single, g->n_values, sizeof *single));
  run_plan(g, backend, false, whole);
  run_plan(g, backend, true, single);
  for (int k = 0; k < g->n_outputs; k++) {
    const int v = g->outputs[k];
    const int64_t count = reap_value_count(&g->values[v]);
    double largest = 0, difference = test_max_difference_f(whole[v], single[v], count);
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)single[v][i]));
    if (!(difference <= tolerance * largest)) printf("\n    %s (%s) ", name, reap_backend_name(backend));
    CU_ASSERT_TRUE(difference <= tolerance * largest);
  }
  for (int v = 0; v < g->n_values; v++) {
    reap_free(&whole[v]);
    reap_free(&single[v]);
  }
  reap_free(&whole);
  reap_free(&single);
}

/* Every kind of neighbour a convolution can be fused with, and some it must not be. */
static void add_neighbours(reap_graph *g) {
  net_image(g, "x", 5, 9, 7);
  net_conv3(g, "a", "x", 5, 6);
  net_step(g, "Relu", "a.relu", "a");
  net_conv3(g, "b", "a.relu", 6, 6);
  net_node(g, "Add", "b.add", "b a.relu", "b.add", NULL); /* reads its own addend */
  net_step(g, "Relu", "b.relu", "b.add");
  net_conv3(g, "c", "b.relu", 6, 6);
  net_step(g, "Relu", "c.relu", "c");
  net_conv3(g, "d", "c.relu", 6, 6);
  net_node(g, "Add", "d.add", "b.relu d", "d.add", NULL); /* addend free afterwards: in place */
  net_step(g, "Relu", "d.relu", "d.add");
  net_conv3(g, "e", "d.relu", 6, 6);
  net_conv3(g, "f", "d.relu", 6, 6);
  net_node(g, "Add", "ef", "e f", "ef", NULL); /* two convolutions: the later one takes it */
  net_node(g, "Add", "twice", "ef ef", "twice", NULL);
  net_step(g, "Relu", "twice.relu", "twice"); /* an Add takes a Relu along as well */
  net_conv3(g, "g", "twice.relu", 6, 6);
  net_node(g, "Add", "g.add", "g g", "g.add", NULL); /* not with itself */
  net_conv3(g, "h", "g.add", 6, 6);
  net_step(g, "Relu", "h.relu", "h");
  net_node(g, "Add", "h.add", "h h.relu", "h.add", NULL); /* read twice */
  net_weights(g, "i.w", "6,1,3,3");
  net_node(g, "Conv", "i", "h.add i.w", "i", "group=6 pads=[1,1,1,1]");
  net_node(g, "Add", "i.add", "i d.relu", "i.add", NULL);
  net_node(g, "Clip", "i.clip", "i.add", "i.clip", "min=-0.5f max=0.75f");
  net_conv3(g, "j", "i.clip", 6, 4);
  net_node(g, "Clip", "j.clip", "j", "j.clip", "min=0.0f max=6.0f");
  net_step(g, "GlobalAveragePool", "pool", "j.clip");
  net_step(g, "Flatten", "flat", "pool");
  net_dense(g, "k", "flat", 4, 8);
  net_step(g, "Relu", "k.relu", "k");
  net_dense(g, "l", "k.relu", 8, 3);
}

static void fused_nodes_compute_what_single_ones_do(void) {
  for (int outputs = 0; outputs < 2; outputs++) {
    reap_graph *g = NULL;
    CHECK_OK(reap_graph_create(9, &g)); /* Clip's bounds are attributes up to opset 10 */
    add_neighbours(g);
    if (outputs) CHECK_OK(reap_graph_add_output(g, "d")); /* an output is kept, hence not fused */
    net_finish(g, "l", 3);
    check_fusion("neighbours", g, REAP_BACKEND_PLAIN, 0);
    check_fusion("neighbours", g, REAP_BACKEND_AUTO, 1e-6);
    reap_graph_destroy(&g);
  }
}

/* ---------------------------------------------------------------- the reference networks */

static void check_reference(const char *name) {
  char path[192];
  reap_source *source = NULL;
  reap_graph *g = NULL;
  snprintf(path, sizeof path, "tests/references/kernels/%s.onnx", name);
  CHECK_OK(reap_source_load(test_source_path(path), &source));
  CHECK_OK(reap_source_graph(source, &g));
  CHECK_OK(reap_graph_prepare(g, 2));
  check_fusion(name, g, REAP_BACKEND_PLAIN, 0);
  check_fusion(name, g, REAP_BACKEND_AUTO, 1e-6);
  reap_graph_destroy(&g);
  reap_source_destroy(&source);
}

static void reference_networks_are_the_same_fused(void) {
  FILE *file = fopen(test_source_path("tests/references/kernels/cases.txt"), "r");
  if (!file) {
    test_skip("reference networks", "tests/references/kernels is missing");
    return;
  }
  char name[128];
  while (fscanf(file, "%127s", name) == 1) check_reference(name);
  fclose(file);
}

/* ---------------------------------------------------------------- frontiers */

static void forks_share_what_is_held(void) {
  reap_graph *g = net_begin(), *copy = NULL;
  reap_frontier *first = NULL, *second = NULL;
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_step(g, "Relu", "a.relu", "a");
  net_conv3(g, "b", "a.relu", 4, 4);
  net_node(g, "Add", "sum", "b a.relu", "sum", NULL);
  net_finish(g, "sum", 2);
  CHECK_OK(reap_graph_clone(g, &copy));
  CHECK_OK(reap_frontier_create(g, 2, REAP_BACKEND_PLAIN, &first));
  reap_random random = reap_random_init(1, 1, 1);
  for (int64_t b = 0; b < 2; b++) {
    float *x = NULL;
    CHECK_OK(reap_frontier_input(first, 0, b, &x));
    for (int i = 0; i < 2 * 3 * 36; i++) x[i] = (float)reap_random_normal(&random);
  }
  const int relu = reap_graph_find(g, "a.relu"), sum = reap_graph_find(g, "sum");
  CHECK_OK(reap_frontier_advance(first, &relu, 1));
  const int64_t held = reap_frontier_bytes(first);
  CHECK_OK(reap_frontier_fork(first, copy, &second));
  CU_ASSERT_EQUAL(reap_frontier_bytes(first) + reap_frontier_bytes(second), held);
  CU_ASSERT_PTR_EQUAL(reap_frontier_value(first, relu, 1), reap_frontier_value(second, relu, 1));
  CHECK_OK(reap_frontier_advance(first, &sum, 1));
  CU_ASSERT_EQUAL(reap_frontier_bytes(second), held); /* now its own alone */
  CHECK_OK(reap_frontier_advance(second, &sum, 1));
  for (int64_t b = 0; b < 2; b++) {
    const float *one = reap_frontier_value(first, sum, b), *other = reap_frontier_value(second, sum, b);
    CU_ASSERT_PTR_NOT_EQUAL(one, other);
    CU_ASSERT_EQUAL(memcmp(one, other, (size_t)reap_value_count(&g->values[sum]) * sizeof(float)), 0);
  }
  reap_frontier_destroy(&first);
  reap_frontier_destroy(&second);
  reap_graph_destroy(&g);
  reap_graph_destroy(&copy);
}

const test_case test_cases[] = {{"fused_nodes_compute_what_single_ones_do", fused_nodes_compute_what_single_ones_do},
                                {"reference_networks_are_the_same_fused", reference_networks_are_the_same_fused},
                                {"forks_share_what_is_held", forks_share_what_is_held},
                                {NULL, NULL}};
