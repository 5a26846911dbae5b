/* Graphs of one node, run by its kernel on random numbers; for the tests of src/exec. */
#ifndef TESTS_ONE_NODE_H
#define TESTS_ONE_NODE_H

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "exec/kernels/kernel.h"
#include "harness.h"
#include "reap/memory.h"

static inline bool onednn_built(void) { return strcmp(reap_backend_name(REAP_BACKEND_AUTO), "plain") != 0; }

static inline reap_attribute ints_attribute(const char *name, int64_t count, const int64_t *ints) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_INTS, .count = count};
  CHECK_OK(reap_strdup(&a.name, name));
  CHECK_OK(reap_alloc(&a.ints, count, sizeof *a.ints));
  memcpy(a.ints, ints, (size_t)count * sizeof *ints);
  return a;
}

static inline reap_attribute int_attribute(const char *name, int64_t value) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_INT, .i = value};
  CHECK_OK(reap_strdup(&a.name, name));
  return a;
}

static inline void add_constant(reap_graph *graph, const char *name, int rank, const int64_t *dims,
                                reap_random *random) {
  reap_tensor *tensor = NULL;
  CHECK_OK(reap_tensor_create(REAP_F32, rank, dims, &tensor));
  for (int64_t i = 0; i < tensor->count; i++) tensor->f32[i] = (float)reap_random_normal(random);
  CHECK_OK(reap_graph_add_constant(graph, name, tensor, NULL));
}

/* Adds the node "node" with output "y" and prepares the graph. attributes[n]: a copy is taken over. */
static inline void finish_graph(reap_graph *graph, const char *op, int n_inputs, char *const *inputs, int n,
                                const reap_attribute *attributes, int64_t batch) {
  reap_attribute *owned = NULL;
  CHECK_OK(reap_alloc(&owned, n, sizeof *owned));
  if (n > 0) memcpy(owned, attributes, (size_t)n * sizeof *owned);
  char output[] = "y", *outputs[] = {output};
  CHECK_OK(reap_graph_add_node(graph, op, "", "node", 0, n_inputs, inputs, 1, outputs, n, owned));
  CHECK_OK(reap_graph_add_output(graph, "y"));
  CHECK_OK(reap_graph_prepare(graph, batch));
}

/* Runs the only node of the graph; inputs as in kernel.h. */
static inline void run_node(const reap_graph *graph, reap_backend backend, const float *const *inputs, float *output) {
  CU_ASSERT_EQUAL_FATAL(graph->n_nodes, 1);
  const reap_node *node = graph->nodes[0];
  const reap_kernel *kernel = reap_kernel_of(node->op);
  CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
  void *state = NULL;
  if (kernel->prepare) CHECK_OK(kernel->prepare(graph, node, backend, &state));
  for (int twice = 0; twice < 2; twice++) CHECK_OK(kernel->run(graph, node, state, inputs, output));
  reap_kernel_release(kernel, &state);
}

static inline float *random_block(int64_t count, reap_random *random) {
  float *block = NULL;
  CHECK_OK(reap_alloc(&block, count, sizeof *block));
  for (int64_t i = 0; i < count; i++) block[i] = (float)reap_random_normal(random);
  return block;
}

static inline float largest_of(const float *x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++)
    if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
  return largest;
}

static inline int64_t draw(reap_random *random, int64_t low, int64_t high) {
  return low + reap_random_below(random, high - low + 1);
}

#endif
