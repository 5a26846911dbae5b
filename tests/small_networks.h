/* Small networks put together node by node, without files, and run on random images; for the tests of src/model and
 * src/prune.
 *
 * Weights are drawn from their name, so that the same name and shape give the same weights in every network. A node's
 * place in the list is its place in the "file" (reap_node.source).
 */
#ifndef TESTS_SMALL_NETWORKS_H
#define TESTS_SMALL_NETWORKS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "exec/frontier.h"
#include "harness.h"
#include "model/operators.h"
#include "reap/graph.h"
#include "reap/memory.h"

static inline reap_graph *net_begin(void) {
  reap_graph *g = NULL;
  CHECK_OK(reap_graph_create(13, &g));
  CU_ASSERT_PTR_NOT_NULL_FATAL(g);
  return g;
}

/* Network input [batch, channels, height, width]. */
static inline void net_image(reap_graph *g, const char *name, int64_t channels, int64_t height, int64_t width) {
  const int64_t dims[] = {-1, channels, height, width};
  CHECK_OK(reap_graph_add_input(g, name, REAP_F32, 4, dims, NULL));
}

/* Numbers of a list such as "6,4,3,3". */
static inline int net_numbers(const char *text, int64_t *values) {
  int count = 0;
  for (const char *at = text; *at;) {
    char *stop = NULL;
    values[count++] = strtoll(at, &stop, 10);
    at = *stop ? stop + 1 : stop;
  }
  return count;
}

/* Weights of that shape, normal, with a variance that keeps activations near one. */
static inline reap_tensor *net_weights(reap_graph *g, const char *name, const char *shape) {
  int64_t dims[REAP_MAX_RANK];
  int rank = net_numbers(shape, dims);
  uint64_t key = 0;
  reap_tensor *t = NULL;
  for (const char *c = name; *c; c++) key = key * 131 + (unsigned char)*c;
  reap_random random = reap_random_init(42, key, 0);
  CHECK_OK(reap_tensor_create(REAP_F32, rank, dims, &t));
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  double scale = rank > 1 ? sqrt(2.0 * (double)dims[0] / (double)t->count) : 0.3;
  for (int64_t i = 0; i < t->count; i++) t->f32[i] = (float)(scale * reap_random_normal(&random));
  CHECK_OK(reap_graph_add_constant(g, name, t, NULL));
  return t;
}

/* NAME.scale, NAME.shift, NAME.mean and NAME.var of a batch normalisation; scales and variances are positive. */
static inline void net_norm_weights(reap_graph *g, const char *name, const char *channels) {
  static const char *const parts[] = {"scale", "shift", "mean", "var"};
  for (int i = 0; i < 4; i++) {
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, parts[i]);
    reap_tensor *t = net_weights(g, full, channels);
    for (int64_t k = 0; i % 3 == 0 && k < t->count; k++) t->f32[k] = 0.5f + fabsf(t->f32[k]);
  }
}

static inline void net_ints(reap_graph *g, const char *name, const char *values) {
  int64_t numbers[REAP_MAX_RANK];
  int count = net_numbers(values, numbers);
  reap_tensor *t = NULL;
  CHECK_OK(reap_tensor_from_ints(numbers, count, &t));
  CHECK_OK(reap_graph_add_constant(g, name, t, NULL));
}

/* "group=2", "alpha=0.5f", "pads=[1,1,1,1]" */
static inline reap_attribute net_attribute(const char *text) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_INT};
  const char *value = strchr(text, '=') + 1;
  CHECK_OK(reap_format(&a.name, "%.*s", (int)(value - text - 1), text));
  if (value[0] == '[') {
    int64_t numbers[REAP_MAX_RANK];
    a.kind = REAP_ATTRIBUTE_INTS;
    char list[64];
    snprintf(list, sizeof list, "%.*s", (int)strcspn(value + 1, "]"), value + 1);
    a.count = net_numbers(list, numbers);
    CHECK_OK(reap_alloc(&a.ints, a.count, sizeof *a.ints));
    memcpy(a.ints, numbers, (size_t)a.count * sizeof *numbers);
  } else if (value[strlen(value) - 1] == 'f') {
    a.kind = REAP_ATTRIBUTE_FLOAT;
    a.f = strtof(value, NULL);
  } else {
    a.i = strtoll(value, NULL, 10);
  }
  return a;
}

/* Inputs, outputs and attributes as words; "-" for an input left out. */
static inline int net_try_node(reap_graph *g, const char *op, const char *name, const char *in, const char *out,
                               const char *attributes) {
  char words[3][256], *lists[3][16];
  int counts[3] = {0};
  const char *const lines[] = {in, out, attributes ? attributes : ""};
  char empty[] = "", *rest = NULL;
  for (int k = 0; k < 3; k++) {
    snprintf(words[k], sizeof words[k], "%s", lines[k]);
    for (char *word = strtok_r(words[k], " ", &rest); word; word = strtok_r(NULL, " ", &rest))
      lists[k][counts[k]++] = strcmp(word, "-") == 0 ? empty : word;
  }
  reap_attribute *owned = NULL;
  CHECK_OK(reap_alloc(&owned, counts[2], sizeof *owned));
  for (int i = 0; i < counts[2]; i++) owned[i] = net_attribute(lists[2][i]);
  return reap_graph_add_node(g, op, "", name, g->n_nodes, counts[0], lists[0], counts[1], lists[1], counts[2], owned);
}

static inline void net_node(reap_graph *g, const char *op, const char *name, const char *in, const char *out,
                            const char *attributes) {
  CHECK_OK(net_try_node(g, op, name, in, out, attributes));
}

/* A node and its output of the same name: short for chains. */
static inline void net_step(reap_graph *g, const char *op, const char *name, const char *in) {
  net_node(g, op, name, in, name, NULL);
}

/* 3x3 convolution `name` with weights NAME.w and bias NAME.b, size kept; its output is called `name`, too. */
static inline void net_conv3(reap_graph *g, const char *name, const char *in, int64_t inputs, int64_t outputs) {
  char w[64], b[64], line[200], shape[64], width[32];
  snprintf(w, sizeof w, "%s.w", name);
  snprintf(b, sizeof b, "%s.b", name);
  snprintf(shape, sizeof shape, "%lld,%lld,3,3", (long long)outputs, (long long)inputs);
  snprintf(width, sizeof width, "%lld", (long long)outputs);
  snprintf(line, sizeof line, "%s %s %s", in, w, b);
  net_weights(g, w, shape);
  net_weights(g, b, width);
  net_node(g, "Conv", name, line, name, "pads=[1,1,1,1]");
}

/* Fully connected layer in the form of PyTorch: Gemm with transB, weights [outputs, inputs]. */
static inline void net_dense(reap_graph *g, const char *name, const char *in, int64_t inputs, int64_t outputs) {
  char w[64], b[64], line[200], shape[64], width[32];
  snprintf(w, sizeof w, "%s.w", name);
  snprintf(b, sizeof b, "%s.b", name);
  snprintf(shape, sizeof shape, "%lld,%lld", (long long)outputs, (long long)inputs);
  snprintf(width, sizeof width, "%lld", (long long)outputs);
  snprintf(line, sizeof line, "%s %s %s", in, w, b);
  net_weights(g, w, shape);
  net_weights(g, b, width);
  net_node(g, "Gemm", name, line, name, "transB=1");
}

static inline void net_finish(reap_graph *g, const char *output, int64_t batch) {
  CHECK_OK(reap_graph_add_output(g, output));
  CHECK_OK(reap_graph_prepare(g, batch));
}

/* Node with that layer name, or -1. */
static inline int net_layer(const reap_graph *g, const char *layer) {
  for (int i = 0; i < g->n_nodes; i++)
    if (strcmp(g->nodes[i]->layer, layer) == 0) return i;
  return -1;
}

/* Elements of the network's first output for one block. */
static inline int64_t net_outputs(const reap_graph *g) { return reap_value_count(&g->values[g->outputs[0]]); }

/* One block of random images, drawn from `seed`, through the network; rows[net_outputs()] in ONNX's order. */
static inline void net_run(const reap_graph *g, uint64_t seed, reap_backend backend, float *rows) {
  reap_frontier *frontier = NULL;
  float *storage = NULL;
  reap_random random = reap_random_init(seed, 0, 0);
  CHECK_OK(reap_frontier_create(g, 1, backend, &frontier));
  CU_ASSERT_PTR_NOT_NULL_FATAL(frontier);
  CHECK_OK(reap_frontier_input(frontier, 0, 0, &storage));
  const int64_t count = reap_value_count(&g->values[g->inputs[0]]);
  for (int64_t i = 0; i < count; i++) storage[i] = (float)reap_random_normal(&random);
  CHECK_OK(reap_frontier_advance(frontier, g->outputs, 1));
  const float *stored = reap_frontier_value(frontier, g->outputs[0], 0);
  CU_ASSERT_PTR_NOT_NULL_FATAL(stored);
  reap_storage_to_rows(&g->values[g->outputs[0]], stored, rows);
  reap_frontier_destroy(&frontier);
}

/* Largest difference of the two networks' outputs on random images over the largest output of the first. */
static inline double net_difference(const reap_graph *a, const reap_graph *b, reap_backend backend) {
  float *x = NULL, *y = NULL;
  CU_ASSERT_EQUAL_FATAL(net_outputs(a), net_outputs(b));
  CHECK_OK(reap_alloc(&x, net_outputs(a), sizeof *x));
  CHECK_OK(reap_alloc(&y, net_outputs(a), sizeof *y));
  net_run(a, 1, backend, x);
  net_run(b, 1, backend, y);
  double largest = 0, difference = test_max_difference_f(x, y, net_outputs(a));
  for (int64_t i = 0; i < net_outputs(a); i++) largest = fmax(largest, fabs((double)x[i]));
  CU_ASSERT_TRUE(largest > 0);
  reap_free(&x);
  reap_free(&y);
  return difference / largest;
}

#endif
