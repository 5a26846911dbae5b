/* Convolutions of both backends, and patches, against sums written out. */
#include "exec/primitives/im2col.h"
#include "model/operators/geometry.h"
#include "one_node.h"
#include "windows.h"

const char *const test_suite_name = "convolution";

/* The sums written out, in double precision; images and out channels last, weights [outputs, depth, kz, ky, kx]. */
static void convolve(const reap_window *w, const float *images, const float *weights, const float *bias, float *out) {
  int64_t depth = w->channels / w->groups;
  for (int64_t i = 0; i < w->batch * reap_window_positions(w) * w->outputs; i++) {
    int64_t o = i % w->outputs, p = i / w->outputs, group = o / (w->outputs / w->groups);
    int64_t ox = p % w->out_width, oy = p / w->out_width % w->out_height;
    int64_t oz = p / w->out_width / w->out_height % w->out_depth, n = p / reap_window_positions(w);
    double sum = (double)bias[o];
    for (int64_t k = 0; k < depth * reap_window_taps(w); k++) {
      int64_t c = k / reap_window_taps(w), kx = k % w->kernel_x, ky = k / w->kernel_x % w->kernel_y;
      int64_t z = oz * w->stride_z + k / w->kernel_x / w->kernel_y % w->kernel_z * w->dilation_z - w->pad_front;
      int64_t y = oy * w->stride_y + ky * w->dilation_y - w->pad_top;
      int64_t x = ox * w->stride_x + kx * w->dilation_x - w->pad_left;
      if (z < 0 || z >= w->depth || y < 0 || y >= w->height || x < 0 || x >= w->width) continue;
      float pixel = images[(((n * w->depth + z) * w->height + y) * w->width + x) * w->channels + group * depth + c];
      sum += (double)pixel * (double)weights[o * depth * reap_window_taps(w) + k];
    }
    out[i] = (float)sum;
  }
}

static int64_t room(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation) {
  return size + before + after - (kernel - 1) * dilation - 1;
}

/* Sizes from one pixel up, kernels 1 to 7, all kinds of groups; at least one window fits. Over `axes` axes. */
static reap_window random_window(reap_random *random, int axes) {
  const int64_t most = axes == 3 ? 6 : 15, widest = axes == 3 ? 3 : 7;
  for (;;) {
    reap_window w = {.batch = draw(random, 1, 3), .width = draw(random, 1, 15), FLAT};
    w.height = w.kernel_y = w.stride_y = w.dilation_y = 1;
    if (axes == 3) {
      w.depth = draw(random, 1, most);
      w.kernel_z = draw(random, 1, widest);
      w.stride_z = draw(random, 1, 2);
      w.dilation_z = draw(random, 1, 2);
      w.pad_front = draw(random, 0, w.kernel_z);
      w.pad_back = draw(random, 0, w.kernel_z);
    }
    if (axes >= 2) {
      w.height = draw(random, 1, most);
      w.kernel_y = draw(random, 1, widest);
      w.stride_y = draw(random, 1, 3);
      w.dilation_y = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
      w.pad_top = draw(random, 0, w.kernel_y);
      w.pad_bottom = draw(random, 0, w.kernel_y);
    }
    w.kernel_x = axes == 2 && draw(random, 0, 1) ? w.kernel_y : draw(random, 1, widest);
    w.stride_x = draw(random, 1, 3);
    w.dilation_x = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
    w.pad_left = draw(random, 0, w.kernel_x);
    w.pad_right = draw(random, 0, w.kernel_x);
    w.groups = draw(random, 0, 2) ? 1 : draw(random, 2, 7);
    w.channels = w.groups * (draw(random, 0, 2) ? draw(random, 1, 20) : 1);
    w.outputs = w.groups * (draw(random, 0, 2) ? draw(random, 1, 20) : 1);
    int64_t z = room(w.depth, w.pad_front, w.pad_back, w.kernel_z, w.dilation_z);
    int64_t y = room(w.height, w.pad_top, w.pad_bottom, w.kernel_y, w.dilation_y);
    int64_t x = room(w.width, w.pad_left, w.pad_right, w.kernel_x, w.dilation_x);
    if (z < 0 || y < 0 || x < 0) continue;
    w.out_depth = z / w.stride_z + 1;
    w.out_height = y / w.stride_y + 1;
    w.out_width = x / w.stride_x + 1;
    return w;
  }
}

/* Over the last `axes` of depth, height and width. */
static reap_graph *window_graph(const char *op, const reap_window *w, int axes, const int64_t *input,
                                const int64_t *weights, int64_t outputs, reap_random *random) {
  reap_graph *graph = NULL;
  const int first = 3 - axes, rank = 2 + axes;
  CHECK_OK(reap_graph_create(13, &graph));
  CHECK_OK(reap_graph_add_input(graph, "x", REAP_F32, rank, input, NULL));
  add_constant(graph, "w", rank, weights, random);
  add_constant(graph, "b", 1, &outputs, random);
  const int64_t before[] = {w->pad_front, w->pad_top, w->pad_left},
                after[] = {w->pad_back, w->pad_bottom, w->pad_right};
  const int64_t strides[] = {w->stride_z, w->stride_y, w->stride_x};
  const int64_t dilations[] = {w->dilation_z, w->dilation_y, w->dilation_x};
  int64_t pads[6];
  for (int i = first; i < 3; i++) {
    pads[i - first] = before[i];
    pads[i - first + axes] = after[i];
  }
  const reap_attribute attributes[] = {
      ints_attribute("pads", 2 * axes, pads), ints_attribute("strides", axes, strides + first),
      ints_attribute("dilations", axes, dilations + first), int_attribute("group", w->groups)};
  char x[] = "x", k[] = "w", b[] = "b", *inputs[] = {x, k, b};
  finish_graph(graph, op, 3, inputs, 4, attributes, w->batch);
  return graph;
}

static reap_graph *conv_graph(const reap_window *w, int axes, reap_random *random) {
  int64_t image[5], weights[5];
  reap_window_dims(-1, w->channels, (const int64_t[]){w->depth, w->height, w->width}, 2 + axes, image);
  reap_window_dims(w->outputs, w->channels / w->groups, (const int64_t[]){w->kernel_z, w->kernel_y, w->kernel_x},
                   2 + axes, weights);
  return window_graph("Conv", w, axes, image, weights, w->outputs, random);
}

static void check_convolution(const reap_window *w, int axes, reap_random *random) {
  reap_graph *graph = conv_graph(w, axes, random);
  reap_window resolved;
  CHECK_OK(reap_conv_window(graph, graph->nodes[0], &resolved));
  CU_ASSERT_EQUAL_FATAL(resolved.out_height, w->out_height);
  CU_ASSERT_EQUAL_FATAL(resolved.out_width, w->out_width);
  CU_ASSERT_EQUAL_FATAL(resolved.out_depth, w->out_depth);
  int64_t count = w->batch * reap_window_positions(w) * w->outputs;
  float *images = random_block(w->batch * reap_window_pixels(w) * w->channels, random);
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
    const int axes = 1 + i % 3;
    const reap_window w = random_window(&random, axes);
    check_convolution(&w, axes, &random);
  }
}

/* Chunks of the plain backend that cross the borders of images, and more outputs than a small product has. */
static void larger_convolutions_are_right(void) {
  reap_random random = reap_random_init(4, 5, 6);
  const reap_window windows[] = {
      {FLAT, .batch = 5, .channels = 64, .height = 7, .width = 7, .outputs = 80, .out_height = 7, .out_width = 7,
       .kernel_y = 3, .kernel_x = 3, .stride_y = 1, .stride_x = 1, .dilation_y = 1, .dilation_x = 1, .pad_top = 1,
       .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 1},
      {FLAT, .batch = 2, .channels = 3, .height = 61, .width = 43, .outputs = 40, .out_height = 31, .out_width = 22,
       .kernel_y = 7, .kernel_x = 7, .stride_y = 2, .stride_x = 2, .dilation_y = 1, .dilation_x = 1, .pad_top = 3,
       .pad_left = 3, .pad_bottom = 3, .pad_right = 3, .groups = 1},
      {FLAT, .batch = 3, .channels = 150, .height = 13, .width = 11, .outputs = 170, .out_height = 13, .out_width = 11,
       .kernel_y = 1, .kernel_x = 1, .stride_y = 1, .stride_x = 1, .dilation_y = 1, .dilation_x = 1, .groups = 1}};
  for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) check_convolution(&windows[i], 2, &random);
}

static void patches_are_what_they_should_be(void) {
  reap_random random = reap_random_init(7, 8, 9);
  for (int repeat = 0; repeat < 60; repeat++) {
    const reap_window w = random_window(&random, 1 + repeat % 3);
    int64_t n = reap_window_positions(&w), taps = reap_window_taps(&w);
    int64_t first_channel = draw(&random, 0, w.channels - 1), channels = draw(&random, 1, w.channels - first_channel);
    int64_t first = draw(&random, 0, n - 1), rows = n - first, columns = taps * channels;
    float *image = random_block(reap_window_pixels(&w) * w.channels, &random), *narrow = NULL;
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
          int64_t row = p / w.out_width, line = t / w.kernel_x;
          int64_t z = row / w.out_height * w.stride_z + line / w.kernel_y * w.dilation_z - w.pad_front;
          int64_t y = row % w.out_height * w.stride_y + line % w.kernel_y * w.dilation_y - w.pad_top;
          int64_t x = p % w.out_width * w.stride_x + t % w.kernel_x * w.dilation_x - w.pad_left;
          bool inside = z >= 0 && z < w.depth && y >= 0 && y < w.height && x >= 0 && x < w.width;
          int64_t at = ((z * w.height + y) * w.width + x) * w.channels + first_channel + k % channels;
          float pixel = inside ? image[at] : 0;
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

/* <patches of an image, rows> = <image, rows added up>, for any rows. */
static void adding_patches_is_the_transpose_of_making_them(void) {
  reap_random random = reap_random_init(10, 11, 12);
  for (int repeat = 0; repeat < 60; repeat++) {
    const reap_window w = random_window(&random, 1 + repeat % 3);
    const int64_t n = reap_window_positions(&w), columns = reap_window_taps(&w) * w.channels,
                  size = reap_window_pixels(&w) * w.channels;
    float *image = random_block(size, &random), *rows = random_block(n * columns, &random), *patches = NULL,
          *sum = NULL;
    double left = 0, right = 0, scale = 0;
    CHECK_OK(reap_alloc(&patches, n * columns, sizeof *patches));
    CHECK_OK(reap_calloc(&sum, size, sizeof *sum));
    reap_im2col_rows_f32(&w, image, 0, w.channels, n, NULL, 0, patches);
    const int64_t some = n / 2; /* in two pieces */
    reap_col2im_add(&w, 0, w.channels, 0, some, rows, sum);
    reap_col2im_add(&w, 0, w.channels, some, n - some, rows + some * columns, sum);
    for (int64_t i = 0; i < n * columns; i++) left += (double)patches[i] * (double)rows[i];
    for (int64_t i = 0; i < n * columns; i++) scale += fabs((double)patches[i] * (double)rows[i]);
    for (int64_t i = 0; i < size; i++) right += (double)image[i] * (double)sum[i];
    CHECK_NEAR(left, right, 1e-6 * (1 + scale)); /* sums of float32, a few dozen terms each */
    reap_free(&image);
    reap_free(&rows);
    reap_free(&patches);
    reap_free(&sum);
  }
}

/* The sums of a ConvTranspose written out, from x [batch, positions, w->outputs] to pixels [w->channels]. */
static void convolve_back(const reap_window *w, const float *x, const float *weights, const float *bias, double *out) {
  const int64_t taps = reap_window_taps(w), pixels = reap_window_pixels(w), positions = reap_window_positions(w);
  const int64_t outputs = w->channels / w->groups, inputs = w->outputs / w->groups;
  for (int64_t i = 0; i < w->batch * pixels * w->channels; i++) out[i] = (double)bias[i % w->channels];
  for (int64_t i = 0; i < w->batch * positions * w->outputs * outputs * taps; i++) {
    const int64_t t = i % taps, o = i / taps % outputs, c = i / taps / outputs % w->outputs;
    const int64_t at = i / taps / outputs / w->outputs, p = at % positions, n = at / positions;
    const int64_t ox = p % w->out_width, oy = p / w->out_width % w->out_height, oz = p / w->out_width / w->out_height;
    const int64_t z = oz * w->stride_z + t / w->kernel_x / w->kernel_y * w->dilation_z - w->pad_front;
    const int64_t y = oy * w->stride_y + t / w->kernel_x % w->kernel_y * w->dilation_y - w->pad_top;
    const int64_t px = ox * w->stride_x + t % w->kernel_x * w->dilation_x - w->pad_left;
    if (z < 0 || z >= w->depth || y < 0 || y >= w->height || px < 0 || px >= w->width) continue;
    const int64_t pixel = ((n * w->depth + z) * w->height + y) * w->width + px;
    out[pixel * w->channels + c / inputs * outputs + o] +=
        (double)x[at * w->outputs + c] * (double)weights[(c * outputs + o) * taps + t];
  }
}

/* The window is of the convolution from output to input; sizes that it would not reach come from output_padding, which
 * random windows do not ask for. */
static void check_transposed(reap_window w, int axes, reap_random *random) {
  int64_t input[5], weights[5];
  reap_window_dims(-1, w.outputs, (const int64_t[]){w.out_depth, w.out_height, w.out_width}, 2 + axes, input);
  reap_window_dims(w.outputs, w.channels / w.groups, (const int64_t[]){w.kernel_z, w.kernel_y, w.kernel_x}, 2 + axes,
                   weights);
  reap_graph *graph = window_graph("ConvTranspose", &w, axes, input, weights, w.channels, random);
  const reap_node *node = graph->nodes[0];
  const int64_t of_input = w.batch * reap_window_positions(&w) * w.outputs;
  CHECK_OK(reap_transposed_window(graph, node, &w));
  const int64_t count = w.batch * reap_window_pixels(&w) * w.channels;
  CU_ASSERT_EQUAL_FATAL(reap_value_count(reap_node_output(graph, node, 0)), count);
  CU_ASSERT_EQUAL(reap_node_flops(graph, 0), of_input / w.batch * (w.channels / w.groups) * reap_window_taps(&w));
  float *x = random_block(of_input, random), *found = random_block(count, random);
  double *expected = NULL, worst = 0, largest = 0;
  const float *inputs[] = {x, NULL, NULL};
  CHECK_OK(reap_alloc(&expected, count, sizeof *expected));
  convolve_back(&w, x, reap_node_constant(graph, node, 1)->f32, reap_node_constant(graph, node, 2)->f32, expected);
  run_node(graph, REAP_BACKEND_AUTO, inputs, found);
  for (int64_t i = 0; i < count; i++) {
    worst = fmax(worst, fabs(expected[i] - (double)found[i]));
    largest = fmax(largest, fabs(expected[i]));
  }
  CHECK_NEAR(worst, 0, 2e-5 * largest);
  reap_free(&x);
  reap_free(&found);
  reap_free(&expected);
  reap_graph_destroy(&graph);
}

static void transposed_convolutions_are_right(void) {
  reap_random random = reap_random_init(13, 14, 15);
  for (int i = 0; i < 90; i++) {
    const reap_window w = random_window(&random, 1 + i % 3);
    const int64_t reached_z = (w.out_depth - 1) * w.stride_z + (w.kernel_z - 1) * w.dilation_z + 1;
    const int64_t reached_y = (w.out_height - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y + 1;
    const int64_t reached_x = (w.out_width - 1) * w.stride_x + (w.kernel_x - 1) * w.dilation_x + 1;
    const bool empty = reached_z <= w.pad_front + w.pad_back || reached_y <= w.pad_top + w.pad_bottom ||
                       reached_x <= w.pad_left + w.pad_right;
    if (!empty) check_transposed(w, 1 + i % 3, &random);
  }
}

const test_case test_cases[] = {
    {"transposed_convolutions_are_right", transposed_convolutions_are_right},
    {"adding_patches_is_the_transpose_of_making_them", adding_patches_is_the_transpose_of_making_them},
    {"patches_are_what_they_should_be", patches_are_what_they_should_be},
    {"random_convolutions_are_right_in_both_backends", random_convolutions_are_right_in_both_backends},
    {"larger_convolutions_are_right", larger_convolutions_are_right},
    {NULL, NULL}};
