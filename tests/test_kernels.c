/* Kernels that combine, move, reduce or normalise, against sums written out; storage orders. */
#include "one_node.h"

const char *const test_suite_name = "kernels";

/* ---------------------------------------------------------------- broadcasting */

static double combine(const char *op, double a, double b) {
  return strcmp(op, "Sum") == 0 || op[0] == 'A' ? a + b : op[0] == 'S' ? a - b : op[0] == 'M' ? a * b : a / b;
}

/* Element of a row-major tensor that output element `i` of row-major dims[rank] reads. */
static int64_t broadcast_index(int64_t i, int rank, const int64_t *dims, int rank_in, const int64_t *dims_in) {
  int64_t index = 0, step = 1;
  for (int axis = rank - 1; axis >= 0; axis--) {
    int64_t at = i % dims[axis];
    i /= dims[axis];
    int in = axis - (rank - rank_in);
    if (in < 0) continue;
    if (dims_in[in] > 1) index += at * step;
    step *= dims_in[in];
  }
  return index;
}

/* x, of the output's shape, with a constant of fewer axes, on either side. */
static void check_broadcast(const char *op, bool swapped, reap_random *random) {
  int rank = (int)draw(random, 2, 5), rank_in = (int)draw(random, 0, rank);
  int64_t dims[5], dims_in[5];
  for (int i = 0; i < rank; i++) dims[i] = draw(random, 1, 5);
  for (int i = 0; i < rank_in; i++) dims_in[i] = draw(random, 0, 1) ? dims[rank - rank_in + i] : 1;
  reap_graph *graph = NULL;
  CHECK_OK(reap_graph_create(13, &graph));
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, rank, dims, NULL));
  add_constant(graph, "c", rank_in, dims_in, random);
  char x[] = "x", c[] = "c", *inputs[] = {swapped ? c : x, swapped ? x : c};
  finish_graph(graph, op, 2, inputs, 0, NULL, dims[0]);
  const reap_value *value = &graph->values[reap_graph_find(graph, "x")];
  const reap_tensor *constant = reap_node_constant(graph, graph->nodes[0], swapped ? 0 : 1);
  int64_t count = reap_value_count(value);
  float *stored = random_block(count, random), *rows = random_block(count, random);
  float *found = random_block(count, random), *out = random_block(count, random);
  float *expected = random_block(count, random);
  const float *blocks[] = {swapped ? NULL : stored, swapped ? stored : NULL};
  reap_storage_to_rows(value, stored, rows);
  for (int64_t i = 0; i < count; i++) {
    double a = (double)rows[i], b = (double)constant->f32[broadcast_index(i, rank, dims, rank_in, dims_in)];
    expected[i] = (float)(swapped ? combine(op, b, a) : combine(op, a, b));
  }
  run_node(graph, REAP_BACKEND_PLAIN, blocks, out);
  reap_storage_to_rows(value, out, found);
  CHECK_NEAR(test_max_difference_f(expected, found, count), 0, 2e-6f * largest_of(expected, count));
  reap_free(&stored);
  reap_free(&rows);
  reap_free(&found);
  reap_free(&out);
  reap_free(&expected);
  reap_graph_destroy(&graph);
}

static void constants_are_broadcast_over_any_axes(void) {
  static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Sum"};
  reap_random random = reap_random_init(10, 11, 12);
  for (int i = 0; i < 250; i++) check_broadcast(ops[i % 5], i % 10 >= 5, &random);
}

/* ---------------------------------------------------------------- kernels that move, reduce or normalise */

/* A graph with input "x" of random dims[rank], each at most 5. */
static reap_graph *graph_of_input(int64_t opset, int rank, int64_t *dims, reap_random *random) {
  reap_graph *graph = NULL;
  CHECK_OK(reap_graph_create(opset, &graph));
  for (int i = 0; i < rank; i++) dims[i] = draw(random, 1, 5);
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, rank, dims, NULL));
  return graph;
}

static void add_ints(reap_graph *graph, const char *name, int64_t count, const int64_t *ints) {
  reap_tensor *tensor = NULL;
  CHECK_OK(reap_tensor_from_ints(ints, count, &tensor));
  CHECK_OK(reap_graph_add_constant(graph, name, tensor, NULL));
}

/* One node on random numbers, everything in row-major order: in [count of x] and out [count of y], the caller's. */
typedef struct in_rows {
  const reap_value *x, *y;
  float *in, *out;
} in_rows;

static in_rows run_on_rows(const reap_graph *graph, reap_random *random) {
  in_rows r = {.x = &graph->values[graph->inputs[0]], .y = &graph->values[graph->outputs[0]]};
  int64_t n = reap_value_count(r.x), m = reap_value_count(r.y);
  float *x = random_block(n, random), *y = random_block(m, random);
  r.in = random_block(n, random);
  r.out = random_block(m, random);
  reap_storage_to_rows(r.x, x, r.in);
  const float *inputs[8] = {x};
  const reap_node *node = graph->nodes[0];
  for (int k = 1; k < node->n_inputs; k++) inputs[k] = node->inputs[k] == graph->inputs[0] ? x : NULL;
  run_node(graph, REAP_BACKEND_PLAIN, inputs, y);
  reap_storage_to_rows(r.y, y, r.out);
  reap_free(&x);
  reap_free(&y);
  return r;
}

static void free_rows(in_rows *r, reap_graph *graph) {
  reap_free(&r->in);
  reap_free(&r->out);
  reap_graph_destroy(&graph);
}

static void unravel(int64_t i, const reap_value *value, int64_t *index) {
  for (int axis = value->rank - 1; axis >= 0; axis--) {
    index[axis] = i % value->dims[axis];
    i /= value->dims[axis];
  }
}

static int64_t ravel(const int64_t *index, const reap_value *value) {
  int64_t i = 0;
  for (int axis = 0; axis < value->rank; axis++) i = i * value->dims[axis] + index[axis];
  return i;
}

static void transposes_are_right(void) {
  reap_random random = reap_random_init(13, 1, 1);
  for (int repeat = 0; repeat < 60; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5], perm[5], from[5], to[5];
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    perm[0] = 0; /* a network's images stay in front */
    for (int i = 1; i < rank; i++) {
      int at = (int)draw(&random, 1, i);
      perm[i] = perm[at];
      perm[at] = i;
    }
    const reap_attribute attribute = ints_attribute("perm", rank, perm);
    char x[] = "x", *inputs[] = {x};
    finish_graph(graph, "Transpose", 1, inputs, 1, &attribute, dims[0]);
    in_rows r = run_on_rows(graph, &random);
    int64_t wrong = 0;
    for (int64_t i = 0; i < reap_value_count(r.y); i++) {
      unravel(i, r.y, to);
      for (int k = 0; k < rank; k++) from[perm[k]] = to[k];
      wrong += r.out[i] != r.in[ravel(from, r.x)];
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free_rows(&r, graph);
  }
}

static void slices_are_right(void) {
  reap_random random = reap_random_init(14, 1, 1);
  for (int repeat = 0; repeat < 60; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5], starts[5], ends[5], axes[5], steps[5], from[5], to[5];
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    for (int i = 1; i < rank; i++) { /* one to all elements of every axis but the first, in both directions */
      int64_t first = draw(&random, 0, dims[i] - 1), last = draw(&random, 0, dims[i] - 1);
      bool forward = first <= last;
      starts[i - 1] = first;
      ends[i - 1] = forward ? last + 1 : last > 0 ? last - 1 : INT64_MIN;
      steps[i - 1] = (forward ? 1 : -1) * draw(&random, 1, 3);
      if (first == last && draw(&random, 0, 1))
        steps[i - 1] = (int64_t)1 << 62; /* of a single entry any step will do */
      axes[i - 1] = i;
    }
    add_ints(graph, "starts", rank - 1, starts);
    add_ints(graph, "ends", rank - 1, ends);
    add_ints(graph, "axes", rank - 1, axes);
    add_ints(graph, "steps", rank - 1, steps);
    char x[] = "x", s[] = "starts", e[] = "ends", a[] = "axes", t[] = "steps", *inputs[] = {x, s, e, a, t};
    finish_graph(graph, "Slice", 5, inputs, 0, NULL, dims[0]);
    in_rows r = run_on_rows(graph, &random);
    int64_t wrong = 0;
    for (int64_t i = 0; i < reap_value_count(r.y); i++) {
      unravel(i, r.y, to);
      for (int k = 0; k < rank; k++) from[k] = k == 0 ? to[k] : starts[k - 1] + to[k] * steps[k - 1];
      wrong += r.out[i] != r.in[ravel(from, r.x)];
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free_rows(&r, graph);
  }
}

static void pads_are_right(void) {
  reap_random random = reap_random_init(15, 1, 1);
  for (int repeat = 0; repeat < 60; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5], pads[10] = {0}, index[5];
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    for (int i = 1; i < 2 * rank; i++) pads[i] = i == rank ? 0 : draw(&random, 0, 2);
    add_ints(graph, "pads", 2 * rank, pads);
    add_constant(graph, "value", 0, NULL, &random);
    char x[] = "x", p[] = "pads", v[] = "value", *inputs[] = {x, p, v};
    finish_graph(graph, "Pad", 3, inputs, 0, NULL, dims[0]);
    float value = reap_node_constant(graph, graph->nodes[0], 2)->f32[0];
    in_rows r = run_on_rows(graph, &random);
    int64_t wrong = 0;
    for (int64_t i = 0; i < reap_value_count(r.y); i++) {
      unravel(i, r.y, index);
      bool inside = true;
      for (int k = 0; k < rank; k++) {
        index[k] -= pads[k];
        inside = inside && index[k] >= 0 && index[k] < dims[k];
      }
      wrong += r.out[i] != (inside ? r.in[ravel(index, r.x)] : value);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free_rows(&r, graph);
  }
}

static void concatenations_are_right(void) {
  reap_random random = reap_random_init(16, 1, 1);
  for (int repeat = 0; repeat < 60; repeat++) {
    int rank = (int)draw(&random, 2, 5), axis = (int)draw(&random, 1, rank - 1);
    int64_t dims[5], other[5], index[5];
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    memcpy(other, dims, sizeof other);
    other[axis] = draw(&random, 1, 4);
    add_constant(graph, "c", rank, other, &random);
    const reap_attribute attribute = int_attribute("axis", axis - (repeat % 2 ? rank : 0));
    char x[] = "x", c[] = "c", *inputs[] = {x, c, x};
    finish_graph(graph, "Concat", 3, inputs, 1, &attribute, dims[0]);
    const reap_value *constant = reap_node_input(graph, graph->nodes[0], 1);
    in_rows r = run_on_rows(graph, &random);
    int64_t wrong = 0;
    for (int64_t i = 0; i < reap_value_count(r.y); i++) {
      unravel(i, r.y, index);
      bool second = index[axis] >= dims[axis] && index[axis] < dims[axis] + other[axis];
      if (index[axis] >= dims[axis]) index[axis] -= second ? dims[axis] : dims[axis] + other[axis];
      wrong += r.out[i] != (second ? constant->constant->f32[ravel(index, constant)] : r.in[ravel(index, r.x)]);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free_rows(&r, graph);
  }
}

static void reshapes_keep_the_order(void) {
  reap_random random = reap_random_init(17, 1, 1);
  for (int repeat = 0; repeat < 40; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5], shape[5] = {0, 1, 1, 1, 1}, rest = 1;
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    for (int i = 1; i < rank; i++) rest *= dims[i];
    int to = (int)draw(&random, 2, 5); /* prime factors of the rest go anywhere */
    for (int64_t factor = 2; rest > 1; factor++)
      for (; rest % factor == 0; rest /= factor) shape[draw(&random, 1, to - 1)] *= factor;
    add_ints(graph, "shape", to, shape);
    char x[] = "x", s[] = "shape", *inputs[] = {x, s};
    finish_graph(graph, "Reshape", 2, inputs, 0, NULL, dims[0]);
    in_rows r = run_on_rows(graph, &random);
    CU_ASSERT_EQUAL(r.y->rank, to);
    CU_ASSERT_EQUAL(memcmp(r.in, r.out, (size_t)reap_value_count(r.x) * sizeof *r.in), 0);
    free_rows(&r, graph);
  }
}

static void means_are_right_over_any_axes(void) {
  reap_random random = reap_random_init(18, 1, 1);
  for (int repeat = 0; repeat < 80; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5], axes[5], n = 0, index[5], merged = 1, keep = draw(&random, 0, 1);
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    for (int i = 1; i < rank; i++)
      if (draw(&random, 0, 1) || (n == 0 && i == rank - 1)) axes[n++] = i;
    const reap_attribute attributes[] = {ints_attribute("axes", n, axes), int_attribute("keepdims", keep)};
    char x[] = "x", *inputs[] = {x};
    finish_graph(graph, "ReduceMean", 1, inputs, 2, attributes, dims[0]);
    in_rows r = run_on_rows(graph, &random);
    reap_value kept = *r.x; /* the result with all axes, which has the same order */
    for (int64_t k = 0; k < n; k++) {
      merged *= dims[axes[k]];
      kept.dims[axes[k]] = 1;
    }
    double sums[5 * 5 * 5 * 5 * 5] = {0}, worst = 0;
    for (int64_t i = 0; i < reap_value_count(r.x); i++) {
      unravel(i, r.x, index);
      for (int64_t k = 0; k < n; k++) index[axes[k]] = 0;
      sums[ravel(index, &kept)] += (double)r.in[i] / (double)merged;
    }
    CU_ASSERT_EQUAL(reap_value_count(r.y), reap_value_count(&kept));
    for (int64_t i = 0; i < reap_value_count(r.y); i++) worst = fmax(worst, fabs(sums[i] - (double)r.out[i]));
    CHECK_NEAR(worst, 0, 1e-6);
    free_rows(&r, graph);
  }
}

/* Elements that a softmax sums over belong to one line: the same index but along `axis`, or but from `axis` on. */
static void softmaxes_are_right_along_any_axis(void) {
  reap_random random = reap_random_init(19, 1, 1);
  for (int repeat = 0; repeat < 80; repeat++) {
    int rank = (int)draw(&random, 2, 5), axis = (int)draw(&random, 1, rank - 1);
    bool matrix = repeat % 2, logarithm = repeat % 4 > 1;
    int64_t dims[5], index[5];
    reap_graph *graph = graph_of_input(matrix ? 11 : 13, rank, dims, &random);
    const reap_attribute attribute = int_attribute("axis", axis);
    char x[] = "x", *inputs[] = {x};
    finish_graph(graph, logarithm ? "LogSoftmax" : "Softmax", 1, inputs, 1, &attribute, dims[0]);
    in_rows r = run_on_rows(graph, &random);
    double sums[5 * 5 * 5 * 5 * 5] = {0}, worst = 0;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t i = 0; i < reap_value_count(r.x); i++) {
        unravel(i, r.x, index);
        for (int k = axis; k < (matrix ? rank : axis + 1); k++) index[k] = 0;
        double *sum = &sums[ravel(index, r.x)], power = exp((double)r.in[i]);
        if (pass == 0)
          *sum += power;
        else
          worst = fmax(worst, fabs((logarithm ? log(power / *sum) : power / *sum) - (double)r.out[i]));
      }
    CHECK_NEAR(worst, 0, 2e-6);
    free_rows(&r, graph);
  }
}

static void matrix_products_flatten_leading_axes(void) {
  reap_random random = reap_random_init(20, 1, 1);
  for (int repeat = 0; repeat < 40; repeat++) {
    int rank = (int)draw(&random, 2, 5);
    int64_t dims[5];
    reap_graph *graph = graph_of_input(13, rank, dims, &random);
    const int64_t n = dims[rank - 1], m = draw(&random, 1, 6), weights[] = {n, m};
    add_constant(graph, "w", 2, weights, &random);
    char x[] = "x", k[] = "w", *inputs[] = {x, k};
    finish_graph(graph, "MatMul", 2, inputs, 0, NULL, dims[0]);
    const reap_tensor *w = reap_node_constant(graph, graph->nodes[0], 1); /* prepared: [m, n] */
    in_rows r = run_on_rows(graph, &random);
    double worst = 0;
    for (int64_t i = 0; i < reap_value_count(r.y); i++) {
      double sum = 0;
      for (int64_t c = 0; c < n; c++) sum += (double)r.in[i / m * n + c] * (double)w->f32[i % m * n + c];
      worst = fmax(worst, fabs(sum - (double)r.out[i]));
    }
    CHECK_NEAR(worst, 0, 1e-5);
    free_rows(&r, graph);
  }
}

/* ---------------------------------------------------------------- storage and numbers that are none */

static void storage_is_channels_last(void) {
  const reap_value images = {.rank = 4, .dims = {2, 3, 2, 2}, .channels_last = true},
                   matrix = {.rank = 2, .dims = {4, 6}};
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides(&images, strides);
  const int64_t wanted[] = {12, 1, 6, 3};
  for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL(strides[i], wanted[i]);
  float stored[24], rows[24];
  for (int i = 0; i < 24; i++) stored[i] = (float)i;
  reap_storage_to_rows(&images, stored, rows);
  for (int n = 0; n < 2; n++)
    for (int c = 0; c < 3; c++)
      for (int p = 0; p < 4; p++) CU_ASSERT_EQUAL(rows[(n * 3 + c) * 4 + p], stored[(n * 4 + p) * 3 + c]);
  reap_storage_to_rows(&matrix, stored, rows);
  CU_ASSERT_EQUAL(memcmp(rows, stored, sizeof rows), 0);
}

static void not_a_number_is_not_hidden(void) {
  static const char *const ops[] = {"Relu", "Clip", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"};
  const int64_t dims[] = {-1, 5, 2, 2}, window[] = {2, 2};
  for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++)
    for (int at = 0; at < 20; at++) {
      reap_graph *graph = NULL;
      CHECK_OK(reap_graph_create(13, &graph));
      CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, 4, dims, NULL));
      char x[] = "x", *inputs[] = {x};
      bool pool = k == 2 || k == 3;
      const reap_attribute attribute = pool ? ints_attribute("kernel_shape", 2, window) : (reap_attribute){0};
      finish_graph(graph, ops[k], 1, inputs, pool ? 1 : 0, &attribute, 1);
      float in[20], out[20] = {0};
      for (int i = 0; i < 20; i++) in[i] = (float)(i - 10);
      in[at] = NAN;
      const float *blocks[] = {in};
      run_node(graph, REAP_BACKEND_PLAIN, blocks, out);
      int found = 0;
      for (int i = 0; i < (k < 2 ? 20 : 5); i++) found += isnan(out[i]) && i == (k < 2 ? at : at % 5) ? 1 : 0;
      CU_ASSERT_EQUAL(found, 1);
      reap_graph_destroy(&graph);
    }
}

static void backends_have_names(void) {
  CU_ASSERT_STRING_EQUAL(reap_backend_name(REAP_BACKEND_PLAIN), "plain");
  if (onednn_built()) CU_ASSERT_EQUAL(strncmp(reap_backend_name(REAP_BACKEND_ONEDNN), "oneDNN ", 7), 0);
  const reap_operator *shape = reap_operator_find("Shape");
  CU_ASSERT_PTR_NULL(reap_kernel_of(shape)); /* shape arithmetic only */
  for (int i = 0; i < REAP_OPERATORS; i++) {
    const reap_operator *op = reap_operator_at((reap_operator_id)i);
    CU_ASSERT_EQUAL(reap_kernel_of(op) != NULL, op->has_kernel);
  }
}

const test_case test_cases[] = {{"storage_is_channels_last", storage_is_channels_last},
                                {"backends_have_names", backends_have_names},
                                {"constants_are_broadcast_over_any_axes", constants_are_broadcast_over_any_axes},
                                {"transposes_are_right", transposes_are_right},
                                {"slices_are_right", slices_are_right},
                                {"pads_are_right", pads_are_right},
                                {"concatenations_are_right", concatenations_are_right},
                                {"reshapes_keep_the_order", reshapes_keep_the_order},
                                {"means_are_right_over_any_axes", means_are_right_over_any_axes},
                                {"softmaxes_are_right_along_any_axis", softmaxes_are_right_along_any_axis},
                                {"matrix_products_flatten_leading_axes", matrix_products_flatten_leading_axes},
                                {"not_a_number_is_not_hidden", not_a_number_is_not_hidden},
                                {NULL, NULL}};
