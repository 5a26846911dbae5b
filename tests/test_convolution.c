/* Convolutions of both backends, and patches, against sums written out. */
#include "exec/kernels/im2col.h"
#include "model/operators/geometry.h"
#include "one_node.h"

const char *const test_suite_name = "convolution";

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
  const reap_window windows[] = {{.batch = 5,
                                  .channels = 64,
                                  .height = 7,
                                  .width = 7,
                                  .outputs = 80,
                                  .out_height = 7,
                                  .out_width = 7,
                                  .kernel_y = 3,
                                  .kernel_x = 3,
                                  .stride_y = 1,
                                  .stride_x = 1,
                                  .dilation_y = 1,
                                  .dilation_x = 1,
                                  .pad_top = 1,
                                  .pad_left = 1,
                                  .pad_bottom = 1,
                                  .pad_right = 1,
                                  .groups = 1},
                                 {.batch = 2,
                                  .channels = 3,
                                  .height = 61,
                                  .width = 43,
                                  .outputs = 40,
                                  .out_height = 31,
                                  .out_width = 22,
                                  .kernel_y = 7,
                                  .kernel_x = 7,
                                  .stride_y = 2,
                                  .stride_x = 2,
                                  .dilation_y = 1,
                                  .dilation_x = 1,
                                  .pad_top = 3,
                                  .pad_left = 3,
                                  .pad_bottom = 3,
                                  .pad_right = 3,
                                  .groups = 1},
                                 {.batch = 3,
                                  .channels = 150,
                                  .height = 13,
                                  .width = 11,
                                  .outputs = 170,
                                  .out_height = 13,
                                  .out_width = 11,
                                  .kernel_y = 1,
                                  .kernel_x = 1,
                                  .stride_y = 1,
                                  .stride_x = 1,
                                  .dilation_y = 1,
                                  .dilation_x = 1,
                                  .groups = 1}};
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

/* <patches of an image, rows> = <image, rows added up>, for any rows. */
static void adding_patches_is_the_transpose_of_making_them(void) {
  reap_random random = reap_random_init(10, 11, 12);
  for (int repeat = 0; repeat < 60; repeat++) {
    const reap_window w = random_window(&random);
    const int64_t n = w.out_height * w.out_width, columns = w.kernel_y * w.kernel_x * w.channels,
                  size = w.height * w.width * w.channels;
    float *image = random_block(size, &random), *rows = random_block(n * columns, &random), *patches = NULL,
          *sum = NULL;
    double left = 0, right = 0, scale = 0;
    CHECK_OK(reap_alloc(&patches, n * columns, sizeof *patches));
    CHECK_OK(reap_calloc(&sum, size, sizeof *sum));
    reap_im2col_rows_f32(&w, image, 0, w.channels, n, NULL, 0, patches);
    reap_col2im_add(&w, rows, sum);
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

const test_case test_cases[] = {
    {"adding_patches_is_the_transpose_of_making_them", adding_patches_is_the_transpose_of_making_them},
    {"patches_are_what_they_should_be", patches_are_what_they_should_be},
    {"random_convolutions_are_right_in_both_backends", random_convolutions_are_right_in_both_backends},
    {"larger_convolutions_are_right", larger_convolutions_are_right},
    {NULL, NULL}};
