/* Kernels: every reference network through both backends, convolutions against sums written out, storage orders. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "reap/geometry.h"
#include "reap/im2col.h"
#include "reap/kernel.h"
#include "reap/memory.h"
#include "reap/random.h"
#include "reap/source.h"

const char *const test_suite_name = "kernels";

static bool onednn_built(void) { return strcmp(reap_backend_name(REAP_BACKEND_AUTO), "plain") != 0; }

/* ---------------------------------------------------------------- graphs of one node */

static reap_attribute ints_attribute(const char *name, int64_t count, const int64_t *ints) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_INTS, .count = count};
  CHECK_OK(reap_strdup(&a.name, name));
  CHECK_OK(reap_alloc(&a.ints, count, sizeof *a.ints));
  memcpy(a.ints, ints, (size_t)count * sizeof *ints);
  return a;
}

static reap_attribute int_attribute(const char *name, int64_t value) {
  reap_attribute a = {.kind = REAP_ATTRIBUTE_INT, .i = value};
  CHECK_OK(reap_strdup(&a.name, name));
  return a;
}

static void add_constant(reap_graph *graph, const char *name, int rank, const int64_t *dims, reap_random *random) {
  reap_tensor *tensor = NULL;
  CHECK_OK(reap_tensor_create(REAP_F32, rank, dims, &tensor));
  for (int64_t i = 0; i < tensor->count; i++) tensor->f32[i] = (float)reap_random_normal(random);
  CHECK_OK(reap_graph_add_constant(graph, name, tensor, NULL));
}

/* Adds the node "node" with output "y" and prepares the graph. attributes[n]: a copy is taken over. */
static void finish_graph(reap_graph *graph, const char *op, int n_inputs, char *const *inputs, int n,
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
static void run_node(const reap_graph *graph, reap_backend backend, const float *const *inputs, float *output) {
  CU_ASSERT_EQUAL_FATAL(graph->n_nodes, 1);
  const reap_node *node = graph->nodes[0];
  const reap_kernel *kernel = reap_kernel_of(node->op);
  CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
  void *state = NULL;
  if (kernel->prepare) CHECK_OK(kernel->prepare(graph, node, backend, &state));
  for (int twice = 0; twice < 2; twice++) CHECK_OK(kernel->run(graph, node, state, inputs, output));
  if (kernel->destroy) kernel->destroy(&state);
}

static float *random_block(int64_t count, reap_random *random) {
  float *block = NULL;
  CHECK_OK(reap_alloc(&block, count, sizeof *block));
  for (int64_t i = 0; i < count; i++) block[i] = (float)reap_random_normal(random);
  return block;
}

static float largest_of(const float *x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++)
    if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
  return largest;
}

/* ---------------------------------------------------------------- convolutions */

/* The sums written out, in double precision; images and out channels last, weights [outputs, depth, ky, kx]. */
static void convolve(const reap_window *w, const float *images, const float *weights, const float *bias, float *out) {
  int64_t depth = w->channels / w->groups;
  for (int64_t i = 0; i < w->batch * w->out_height * w->out_width * w->outputs; i++) {
    int64_t o = i % w->outputs, ox = i / w->outputs % w->out_width, oy = i / w->outputs / w->out_width % w->out_height;
    int64_t n = i / w->outputs / w->out_width / w->out_height, group = o / (w->outputs / w->groups);
    double sum = (double)bias[o];
    for (int64_t c = 0; c < depth; c++)
      for (int64_t ky = 0; ky < w->kernel_y; ky++)
        for (int64_t kx = 0; kx < w->kernel_x; kx++) {
          int64_t y = oy * w->stride_y + ky * w->dilation_y - w->pad_top;
          int64_t x = ox * w->stride_x + kx * w->dilation_x - w->pad_left;
          if (y < 0 || y >= w->height || x < 0 || x >= w->width) continue;
          float pixel = images[((n * w->height + y) * w->width + x) * w->channels + group * depth + c];
          sum += (double)pixel * (double)weights[((o * depth + c) * w->kernel_y + ky) * w->kernel_x + kx];
        }
    out[i] = (float)sum;
  }
}

static int64_t draw(reap_random *random, int64_t low, int64_t high) {
  return low + reap_random_below(random, high - low + 1);
}

/* Sizes from one pixel up, kernels 1 to 7, all kinds of groups; at least one window fits. */
static reap_window random_window(reap_random *random) {
  for (;;) {
    reap_window w = {.batch = draw(random, 1, 3), .height = draw(random, 1, 15), .width = draw(random, 1, 15)};
    w.kernel_y = draw(random, 1, 7);
    w.kernel_x = draw(random, 0, 1) ? w.kernel_y : draw(random, 1, 7);
    w.stride_y = draw(random, 1, 3);
    w.stride_x = draw(random, 1, 3);
    w.dilation_y = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
    w.dilation_x = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
    w.pad_top = draw(random, 0, w.kernel_y);
    w.pad_left = draw(random, 0, w.kernel_x);
    w.pad_bottom = draw(random, 0, w.kernel_y);
    w.pad_right = draw(random, 0, w.kernel_x);
    w.groups = draw(random, 0, 2) ? 1 : draw(random, 2, 7);
    w.channels = w.groups * (draw(random, 0, 2) ? draw(random, 1, 20) : 1);
    w.outputs = w.groups * (draw(random, 0, 2) ? draw(random, 1, 20) : 1);
    int64_t room_y = w.height + w.pad_top + w.pad_bottom - (w.kernel_y - 1) * w.dilation_y - 1;
    int64_t room_x = w.width + w.pad_left + w.pad_right - (w.kernel_x - 1) * w.dilation_x - 1;
    if (room_y < 0 || room_x < 0) continue;
    w.out_height = room_y / w.stride_y + 1;
    w.out_width = room_x / w.stride_x + 1;
    return w;
  }
}

static reap_graph *conv_graph(const reap_window *w, reap_random *random) {
  reap_graph *graph = NULL;
  CHECK_OK(reap_graph_create(13, &graph));
  const int64_t image[] = {-1, w->channels, w->height, w->width}, bias[] = {w->outputs};
  const int64_t weights[] = {w->outputs, w->channels / w->groups, w->kernel_y, w->kernel_x};
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, 4, image, NULL));
  add_constant(graph, "w", 4, weights, random);
  add_constant(graph, "b", 1, bias, random);
  const int64_t pads[] = {w->pad_top, w->pad_left, w->pad_bottom, w->pad_right};
  const int64_t strides[] = {w->stride_y, w->stride_x}, dilations[] = {w->dilation_y, w->dilation_x};
  const reap_attribute attributes[] = {ints_attribute("pads", 4, pads), ints_attribute("strides", 2, strides),
                                       ints_attribute("dilations", 2, dilations), int_attribute("group", w->groups)};
  char x[] = "x", k[] = "w", b[] = "b", *inputs[] = {x, k, b};
  finish_graph(graph, "Conv", 3, inputs, 4, attributes, w->batch);
  return graph;
}

static void check_convolution(const reap_window *w, reap_random *random) {
  reap_graph *graph = conv_graph(w, random);
  reap_window resolved;
  CHECK_OK(reap_conv_window(graph, graph->nodes[0], &resolved));
  CU_ASSERT_EQUAL_FATAL(resolved.out_height, w->out_height);
  CU_ASSERT_EQUAL_FATAL(resolved.out_width, w->out_width);
  int64_t count = w->batch * w->out_height * w->out_width * w->outputs;
  float *images = random_block(w->batch * w->height * w->width * w->channels, random);
  float *expected = random_block(count, random), *found = random_block(count, random);
  const float *inputs[] = {images, NULL, NULL};
  const reap_node *node = graph->nodes[0];
  convolve(w, images, reap_node_constant(graph, node, 1)->f32, reap_node_constant(graph, node, 2)->f32, expected);
  float allowed = 2e-5f * largest_of(expected, count);
  for (int backend = REAP_BACKEND_PLAIN; backend <= (onednn_built() ? REAP_BACKEND_ONEDNN : REAP_BACKEND_PLAIN);
       backend++) {
    run_node(graph, (reap_backend)backend, inputs, found);
    CHECK_NEAR(test_max_difference_f(expected, found, count), 0, allowed);
  }
  reap_free(&images);
  reap_free(&expected);
  reap_free(&found);
  reap_graph_destroy(&graph);
}

static void random_convolutions_are_right_in_both_backends(void) {
  if (!onednn_built()) test_skip("oneDNN", "not built in");
  reap_random random = reap_random_init(1, 2, 3);
  for (int i = 0; i < 150; i++) {
    const reap_window w = random_window(&random);
    check_convolution(&w, &random);
  }
}

/* Chunks of the plain backend that cross the borders of images, and more outputs than a small product has. */
static void larger_convolutions_are_right(void) {
  reap_random random = reap_random_init(4, 5, 6);
  const reap_window windows[] = {
      {.batch = 5, .channels = 64, .height = 7, .width = 7, .outputs = 80, .out_height = 7, .out_width = 7,
       .kernel_y = 3, .kernel_x = 3, .stride_y = 1, .stride_x = 1, .dilation_y = 1, .dilation_x = 1,
       .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 1},
      {.batch = 2, .channels = 3, .height = 61, .width = 43, .outputs = 40, .out_height = 31, .out_width = 22,
       .kernel_y = 7, .kernel_x = 7, .stride_y = 2, .stride_x = 2, .dilation_y = 1, .dilation_x = 1,
       .pad_top = 3, .pad_left = 3, .pad_bottom = 3, .pad_right = 3, .groups = 1},
      {.batch = 3, .channels = 150, .height = 13, .width = 11, .outputs = 170, .out_height = 13, .out_width = 11,
       .kernel_y = 1, .kernel_x = 1, .stride_y = 1, .stride_x = 1, .dilation_y = 1, .dilation_x = 1, .groups = 1}};
  for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) check_convolution(&windows[i], &random);
}

static void patches_are_what_they_should_be(void) {
  reap_random random = reap_random_init(7, 8, 9);
  for (int repeat = 0; repeat < 60; repeat++) {
    const reap_window w = random_window(&random);
    int64_t n = w.out_height * w.out_width, taps = w.kernel_y * w.kernel_x;
    int64_t first_channel = draw(&random, 0, w.channels - 1), channels = draw(&random, 1, w.channels - first_channel);
    int64_t first = draw(&random, 0, n - 1), rows = n - first, columns = taps * channels;
    float *image = random_block(w.height * w.width * w.channels, &random), *narrow = NULL;
    double *wide = NULL;
    int64_t *positions = NULL;
    CHECK_OK(reap_alloc(&narrow, rows * columns, sizeof *narrow));
    CHECK_OK(reap_alloc(&wide, rows * columns, sizeof *wide));
    CHECK_OK(reap_alloc(&positions, rows, sizeof *positions));
    for (int64_t r = 0; r < rows; r++) positions[r] = n - 1 - r;
    reap_im2col_rows_f32(&w, image, first_channel, channels, rows, NULL, first, narrow);
    reap_im2col_rows_f64(&w, image, first_channel, channels, rows, positions, 0, wide);
    int64_t wrong = 0;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t k = 0; k < columns; k++) {
        for (int which = 0; which < 2; which++) {
          int64_t p = which ? positions[r] : first + r, t = k / channels;
          int64_t y = p / w.out_width * w.stride_y + t / w.kernel_x * w.dilation_y - w.pad_top;
          int64_t x = p % w.out_width * w.stride_x + t % w.kernel_x * w.dilation_x - w.pad_left;
          bool inside = y >= 0 && y < w.height && x >= 0 && x < w.width;
          float pixel = inside ? image[(y * w.width + x) * w.channels + first_channel + k % channels] : 0;
          wrong += (which ? wide[r * columns + k] : (double)narrow[r * columns + k]) != (double)pixel;
        }
      }
    CU_ASSERT_EQUAL(wrong, 0);
    reap_free(&image);
    reap_free(&narrow);
    reap_free(&wide);
    reap_free(&positions);
  }
}

/* ---------------------------------------------------------------- broadcasting */

static double combine(const char *op, double a, double b) {
  return op[0] == 'A' ? a + b : op[0] == 'S' ? a - b : op[0] == 'M' ? a * b : a / b;
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
  static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
  reap_random random = reap_random_init(10, 11, 12);
  for (int i = 0; i < 200; i++) check_broadcast(ops[i % 4], i % 8 >= 4, &random);
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
  const reap_value images = {.rank = 4, .dims = {2, 3, 2, 2}}, matrix = {.rank = 2, .dims = {4, 6}};
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
  if (onednn_built())
    CU_ASSERT_EQUAL(strncmp(reap_backend_name(REAP_BACKEND_ONEDNN), "oneDNN ", 7), 0);
  const reap_operator *shape = reap_operator_find("Shape");
  CU_ASSERT_PTR_NULL(reap_kernel_of(shape)); /* shape arithmetic only */
  for (int i = 0; i < reap_operator_count(); i++) {
    const reap_operator *op = reap_operator_at(i);
    CU_ASSERT_EQUAL(reap_kernel_of(op) != NULL, op->has_kernel);
  }
}

/* ---------------------------------------------------------------- reference networks */

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
  int reader;
  return in_place && reap_kernel_of(node->op)->in_place && !x->constant && !x->is_input && !x->is_output &&
         reap_same_dims(x->rank, x->dims, y->rank, y->dims) &&
         reap_value_readers(graph, node->inputs[0], 1, &reader) == 1;
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
    if (kernel->destroy) kernel->destroy(&m->states[i]);
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
    {"storage_is_channels_last", storage_is_channels_last},
    {"backends_have_names", backends_have_names},
    {"patches_are_what_they_should_be", patches_are_what_they_should_be},
    {"random_convolutions_are_right_in_both_backends", random_convolutions_are_right_in_both_backends},
    {"larger_convolutions_are_right", larger_convolutions_are_right},
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
    {"reference_networks_are_right_in_both_backends", reference_networks_are_right_in_both_backends},
    {NULL, NULL}};
