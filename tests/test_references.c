/* Every reference network, node by node through the kernels of both backends, against stored outputs. */
#include <hdf5.h>
#include <stdio.h>

#include "io/onnx/source.h"
#include "one_node.h"

const char *const test_suite_name = "references";

/* A data set's shape and its numbers as float32; the caller frees *data. */
static bool read_h5(const char *path, const char *name, int *rank, hsize_t dims[REAP_MAX_RANK], float **data) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) return false;
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
  *rank = H5Sget_simple_extent_dims(space, dims, NULL);
  int64_t count = 1;
  for (int i = 0; i < *rank; i++) count *= (int64_t)dims[i];
  CHECK_OK(reap_alloc(data, count, sizeof **data));
  bool done = H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data) >= 0;
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
  return done;
}

/* All values of a graph for one block, and its nodes' kernels. */
typedef struct machine {
  const reap_graph *graph;
  void **states;  /* [n_nodes] */
  float **blocks; /* [n_values], NULL for constants */
  float **owned;  /* [n_values] what to free: values computed in place share their input's block */
} machine;

/* Node's output goes into input 0's own memory if `in_place` and nobody else needs that. */
static bool can_overwrite(const reap_graph *graph, const reap_node *node, bool in_place) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  return in_place && reap_kernel_of(node->op)->in_place && !x->constant && !x->is_input && !x->is_output &&
         reap_same_dims(x->rank, x->dims, y->rank, y->dims) && x->n_readers == 1;
}

static void machine_start(machine *m, const reap_graph *graph, reap_backend backend, bool in_place) {
  m->graph = graph;
  CHECK_OK(reap_calloc(&m->states, graph->n_nodes, sizeof *m->states));
  CHECK_OK(reap_calloc(&m->blocks, graph->n_values, sizeof *m->blocks));
  CHECK_OK(reap_calloc(&m->owned, graph->n_values, sizeof *m->owned));
  for (int i = -1; i < graph->n_nodes; i++) {
    const reap_node *node = i < 0 ? NULL : graph->nodes[i];
    int v = node ? node->outputs[0] : graph->inputs[0];
    if (node && can_overwrite(graph, node, in_place)) {
      m->blocks[v] = m->blocks[node->inputs[0]];
    } else {
      CHECK_OK(reap_alloc(&m->owned[v], reap_value_count(&graph->values[v]), sizeof(float)));
      m->blocks[v] = m->owned[v];
    }
    if (!node) continue;
    const reap_kernel *kernel = reap_kernel_of(node->op);
    if (kernel->prepare) CHECK_OK(kernel->prepare(graph, node, backend, &m->states[i]));
  }
}

static void machine_run(machine *m) {
  const float *inputs[16];
  for (int i = 0; i < m->graph->n_nodes; i++) {
    const reap_node *node = m->graph->nodes[i];
    CU_ASSERT_TRUE_FATAL(node->n_inputs <= 16);
    for (int k = 0; k < node->n_inputs; k++) inputs[k] = node->inputs[k] < 0 ? NULL : m->blocks[node->inputs[k]];
    CHECK_OK(reap_kernel_of(node->op)->run(m->graph, node, m->states[i], inputs, m->blocks[node->outputs[0]]));
  }
}

static void machine_stop(machine *m) {
  for (int i = 0; i < m->graph->n_nodes; i++) {
    const reap_kernel *kernel = reap_kernel_of(m->graph->nodes[i]->op);
    reap_kernel_release(kernel, &m->states[i]);
  }
  for (int v = 0; v < m->graph->n_values; v++) reap_free(&m->owned[v]);
  reap_free(&m->states);
  reap_free(&m->blocks);
  reap_free(&m->owned);
}

/* images[n] (row-major) and zeros behind them into the input's block. */
static void fill_input(const machine *m, const float *images, int64_t n) {
  const reap_value *value = &m->graph->values[m->graph->inputs[0]];
  float *block = m->blocks[m->graph->inputs[0]];
  memset(block, 0, (size_t)reap_value_count(value) * sizeof *block);
  int64_t dims[REAP_MAX_RANK], to[REAP_MAX_RANK], from[REAP_MAX_RANK];
  memcpy(dims, value->dims, sizeof dims);
  dims[0] = n;
  reap_row_major_strides(value->rank, dims, from);
  reap_storage_strides(value, to);
  reap_strided_copy(value->rank, dims, sizeof *block, block, to, images, from);
}

typedef struct reference {
  int rank;
  hsize_t dims[REAP_MAX_RANK], image_dims[REAP_MAX_RANK];
  float *images, *outputs;
  float *found; /* like outputs */
} reference;

static void run_reference(const char *name, const reap_graph *graph, reap_backend backend, bool in_place,
                          const reference *r) {
  machine m;
  machine_start(&m, graph, backend, in_place);
  const reap_value *in = &graph->values[graph->inputs[0]], *out = &graph->values[graph->outputs[0]];
  int64_t image = reap_value_count(in) / graph->batch, row = reap_value_count(out) / graph->batch;
  int64_t n = (int64_t)r->dims[0], count = n;
  bool fits = out->rank == r->rank;
  for (int i = 1; i < r->rank; i++) {
    fits = fits && out->dims[i] == (int64_t)r->dims[i];
    count *= (int64_t)r->dims[i];
  }
  CU_ASSERT_TRUE_FATAL(fits);
  float *rows = NULL;
  CHECK_OK(reap_alloc(&rows, graph->batch * row, sizeof *rows));
  for (int64_t first = 0; first < n; first += graph->batch) {
    int64_t here = n - first < graph->batch ? n - first : graph->batch;
    fill_input(&m, r->images + first * image, here);
    machine_run(&m);
    reap_storage_to_rows(out, m.blocks[graph->outputs[0]], rows);
    memcpy(r->found + first * row, rows, (size_t)(here * row) * sizeof *rows);
  }
  double difference = test_max_difference_f(r->outputs, r->found, count) / (double)largest_of(r->outputs, count);
  if (!(difference <= 2e-5)) printf("\n    %s (%s, batch %d) ", name, reap_backend_name(backend), (int)graph->batch);
  CHECK_NEAR(difference, 0, 2e-5);
  reap_free(&rows);
  machine_stop(&m);
}

static void check_reference(const char *name, const char *model, const reference *r) {
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(model, &source));
  for (int whole = 0; whole < 2 && source; whole++) {
    reap_graph *graph = NULL;
    CHECK_OK(reap_source_graph(source, &graph));
    int status = reap_graph_prepare(graph, whole ? (int64_t)r->dims[0] : 2);
    if (status != REAP_OK) printf("\n    %s: ", name);
    CHECK_OK(status);
    if (status == REAP_OK) run_reference(name, graph, REAP_BACKEND_PLAIN, whole, r);
    if (status == REAP_OK && onednn_built()) run_reference(name, graph, REAP_BACKEND_ONEDNN, whole, r);
    reap_graph_destroy(&graph);
  }
  reap_source_destroy(&source);
}

static void reference_networks_are_right_in_both_backends(void) {
  const char *list = test_source_path("tests/references/kernels/cases.txt");
  if (!test_file_exists(list)) {
    test_skip("reference networks", "tests/references/kernels is missing");
    return;
  }
  FILE *file = fopen(list, "r");
  char name[128], path[192];
  int cases = 0;
  while (fscanf(file, "%127s", name) == 1) {
    reference r = {.rank = 0};
    int image_rank;
    snprintf(path, sizeof path, "tests/references/kernels/%s.h5", name);
    const char *data = test_source_path(path);
    CU_ASSERT_TRUE_FATAL(read_h5(data, "images", &image_rank, r.image_dims, &r.images));
    CU_ASSERT_TRUE_FATAL(read_h5(data, "outputs", &r.rank, r.dims, &r.outputs));
    CU_ASSERT_TRUE_FATAL(read_h5(data, "outputs", &r.rank, r.dims, &r.found));
    snprintf(path, sizeof path, "tests/references/kernels/%s.onnx", name);
    check_reference(name, test_source_path(path), &r);
    reap_free(&r.images);
    reap_free(&r.outputs);
    reap_free(&r.found);
    cases++;
  }
  fclose(file);
  CU_ASSERT_TRUE(cases > 100);
}

const test_case test_cases[] = {
    {"reference_networks_are_right_in_both_backends", reference_networks_are_right_in_both_backends}, {NULL, NULL}};
