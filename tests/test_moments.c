/* Moments: the shift form, patches, samples and matrix products against sums written out; the same on any number of
 * ranks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "reap/memory.h"
#include "stats/accumulator.h"
#include "stats/shift_gram.h"
#include "windows.h"

const char *const test_suite_name = "moments";

/* ---------------------------------------------------------------- a layer and its images */

/* Inputs and outputs of `images` images as they are stored, one after the other; every rank has all of them. */
typedef struct scene {
  reap_layer layer;
  int64_t images, block;
  int64_t size_x, size_y;      /* of one image */
  float *x, *y, *before, *now; /* the last two: drift of y, or NULL */
} scene;

static float *random_floats(int64_t count, reap_random *random) {
  float *values = NULL;
  CHECK_OK(reap_alloc(&values, count, sizeof *values));
  for (int64_t i = 0; i < count; i++) values[i] = (float)reap_random_normal(random);
  return values;
}

static reap_layer conv_layer(const reap_window *w) {
  reap_layer l = {.convolution = true, .window = *w, .channels = w->channels, .block = w->kernel_y * w->kernel_x};
  l.n = l.channels * l.block;
  l.m = w->outputs;
  l.positions = w->out_height * w->out_width;
  return l;
}

static scene make_scene(const reap_layer *layer, int64_t images, int64_t block, bool drift, reap_random *random) {
  scene s = {.layer = *layer, .images = images, .block = block};
  s.size_x =
      layer->convolution ? layer->window.height * layer->window.width * layer->channels : layer->positions * layer->n;
  s.size_y = layer->positions * layer->m;
  int64_t padded = (images + block - 1) / block * block; /* what follows the last image is never to count */
  s.x = random_floats(padded * s.size_x, random);
  s.y = random_floats(padded * s.size_y, random);
  if (drift) s.before = random_floats(padded * s.size_y, random);
  if (drift) s.now = random_floats(padded * s.size_y, random);
  return s;
}

static void free_scene(scene *s) {
  reap_free(&s->x);
  reap_free(&s->y);
  reap_free(&s->before);
  reap_free(&s->now);
}

/* Element (row, column) of X of an image, written out. */
static double input_at(const scene *s, int64_t image, int64_t position, int64_t column) {
  const reap_layer *l = &s->layer;
  const float *x = s->x + image * s->size_x;
  if (!l->convolution) return (double)x[position * l->n + column];
  const reap_window *w = &l->window;
  int64_t c = column / l->block, t = column % l->block;
  int64_t iy = position / w->out_width * w->stride_y + t / w->kernel_x * w->dilation_y - w->pad_top;
  int64_t ix = position % w->out_width * w->stride_x + t % w->kernel_x * w->dilation_x - w->pad_left;
  if (iy < 0 || iy >= w->height || ix < 0 || ix >= w->width) return 0;
  return (double)x[(iy * w->width + ix) * w->channels + c];
}

static double target_at(const scene *s, int64_t image, int64_t position, int64_t output) {
  int64_t i = image * s->size_y + position * s->layer.m + output;
  return (double)(s->before ? s->y[i] + (s->before[i] - s->now[i]) : s->y[i]);
}

/* The moments written out, over the images that are not held out and the positions `used` [images, positions] (NULL:
 * all). */
static reap_moments *brute_force(const scene *s, const bool *used) {
  const reap_layer *l = &s->layer;
  reap_moments *r = NULL;
  double *row = NULL;
  CHECK_OK(reap_moments_create(l->channels, l->block, l->m, &r));
  CHECK_OK(reap_alloc(&row, l->n, sizeof *row));
  for (int64_t i = 0; i < s->images; i++)
    for (int64_t p = 0; p < l->positions && !reap_split_holds_out(REAP_SPLIT_TENTH, i); p++) {
      if (used && !used[i * l->positions + p]) continue;
      for (int64_t k = 0; k < l->n; k++) r->sum_x[k] += row[k] = input_at(s, i, p, k);
      for (int64_t k = 0; k < l->n; k++)
        for (int64_t j = 0; j < l->n; j++) r->gram[k * l->n + j] += row[k] * row[j];
      for (int64_t j = 0; j < l->m; j++) {
        double y = target_at(s, i, p, j);
        for (int64_t k = 0; k < l->n; k++) r->cross[k * l->m + j] += row[k] * y;
        r->sum_y[j] += y;
        r->energy += y * y;
      }
      r->samples++;
    }
  reap_free(&row);
  return r;
}

/* ---------------------------------------------------------------- comparison */

/* Largest |a - b| / sqrt(G_ii G_jj), a number that is zero on one side having to be zero on the other. */
static double gram_error(const double *a, const double *b, int64_t n) {
  double worst = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double scale = sqrt(b[i * n + i] * b[j * n + j]), d = fabs(a[i * n + j] - b[i * n + j]);
      if (scale > 0) d /= scale;
      if (!(d <= worst)) worst = d;
    }
  return worst;
}

static void compare(const reap_moments *found, const reap_moments *expected) {
  const int64_t n = expected->n, m = expected->m;
  CU_ASSERT_EQUAL(found->samples, expected->samples);
  CHECK_NEAR(gram_error(found->gram, expected->gram, n), 0, 1e-13);
  double energy = sqrt(expected->energy), worst = 0, samples = sqrt((double)expected->samples);
  for (int64_t i = 0; i < n; i++) {
    double scale = sqrt(expected->gram[i * n + i]);
    for (int64_t j = 0; j < m; j++) {
      double d = fabs(found->cross[i * m + j] - expected->cross[i * m + j]);
      if (!(d <= 1e-13 * scale * energy)) worst = d;
    }
    if (!(fabs(found->sum_x[i] - expected->sum_x[i]) <= 1e-13 * scale * samples)) worst = INFINITY;
  }
  CU_ASSERT_EQUAL(worst, 0);
  CHECK_NEAR(test_max_difference(found->sum_y, expected->sum_y, m), 0, 1e-13 * energy * samples);
  CHECK_NEAR(found->energy, expected->energy, 1e-13 * expected->energy);
}

static void check_equal_bits(const reap_moments *a, const reap_moments *b) {
  size_t d = sizeof(double), n = (size_t)a->n, m = (size_t)a->m;
  CU_ASSERT_EQUAL(memcmp(a->gram, b->gram, n * n * d), 0);
  CU_ASSERT_EQUAL(memcmp(a->cross, b->cross, n * m * d), 0);
  CU_ASSERT_EQUAL(memcmp(a->sum_x, b->sum_x, n * d), 0);
  CU_ASSERT_EQUAL(memcmp(a->sum_y, b->sum_y, m * d), 0);
  CU_ASSERT_EQUAL(memcmp(&a->energy, &b->energy, d), 0);
  CU_ASSERT_EQUAL(a->samples, b->samples);
}

/* ---------------------------------------------------------------- the accumulator on a communicator */

typedef struct held_out_case {
  int64_t n_kept, *kept;
  double *weights, *bias;
} held_out_case;

/* A scene as samples: this rank's blocks. */
typedef struct source {
  const scene *scene;
  reap_shard shard;
  float *target; /* [block, size_y] */
} source;

static int read_block(void *context, int64_t b, const float **x, const float **y) {
  const source *c = context;
  const scene *s = c->scene;
  const int64_t image = (c->shard.first + b) * s->block, at = image * s->size_y;
  *x = s->x + image * s->size_x;
  *y = s->before ? c->target : s->y + at;
  for (int64_t i = 0; s->before && i < s->block * s->size_y; i++)
    c->target[i] = s->y[at + i] + (s->before[at + i] - s->now[at + i]);
  return REAP_OK;
}

/* As repair measures old and new weights: neither measurement may leave anything to the other, nor behind (harness.c
 * counts). */
static void measure_twice(reap_accumulator *a, const reap_comm *comm, const held_out_case *h,
                          reap_held_out_error *error) {
  reap_held_out_error first = {0};
  CHECK_OK(reap_accumulator_residual(a, comm, h->n_kept, h->kept, h->weights, h->bias, &first));
  CHECK_OK(reap_accumulator_residual(a, comm, h->n_kept, h->kept, h->weights, h->bias, error));
  CU_ASSERT_EQUAL(memcmp(&first, error, sizeof first), 0);
}

/* Moments, all or those of targets alone, and, with `h`, the held-out error. */
static reap_moments *accumulate_some(const scene *s, const reap_sampling *sampling, bool cross_only,
                                     const reap_comm *comm, const held_out_case *h, reap_held_out_error *error) {
  source c = {s, reap_shard_make(s->images, s->block, reap_comm_rank(comm), reap_comm_size(comm)), NULL};
  const reap_samples samples = {.layer = s->layer,
                                .name = "layer",
                                .sampling = *sampling,
                                .split = REAP_SPLIT_TENTH,
                                .shard = c.shard,
                                .cross_only = cross_only,
                                .read = read_block,
                                .context = &c};
  reap_accumulator *a = NULL;
  reap_moments *moments = NULL;
  CHECK_OK(reap_alloc(&c.target, s->block * s->size_y, sizeof *c.target));
  CHECK_OK(reap_accumulator_create(&samples, &a));
  CHECK_OK(reap_accumulator_sum(a, comm));
  CHECK_OK(reap_accumulator_reduce(a, comm, &moments));
  CU_ASSERT_TRUE(reap_accumulator_multiply_adds(a, moments->samples) > 0);
  if (h) measure_twice(a, comm, h, error);
  reap_accumulator_destroy(&a);
  reap_free(&c.target);
  return moments;
}

static reap_moments *accumulate(const scene *s, const reap_sampling *sampling, const reap_comm *comm,
                                const held_out_case *h, reap_held_out_error *error) {
  return accumulate_some(s, sampling, false, comm, h, error);
}

static held_out_case make_held_out(const reap_layer *l, reap_random *random) {
  held_out_case h = {0};
  CHECK_OK(reap_alloc(&h.kept, l->channels, sizeof *h.kept));
  for (int64_t c = 0; c < l->channels; c++)
    if (c % 3 != 1) h.kept[h.n_kept++] = c;
  CHECK_OK(reap_alloc(&h.weights, h.n_kept * l->block * l->m, sizeof *h.weights));
  CHECK_OK(reap_alloc(&h.bias, l->m, sizeof *h.bias));
  for (int64_t i = 0; i < h.n_kept * l->block * l->m; i++) h.weights[i] = 0.2 * reap_random_normal(random);
  for (int64_t j = 0; j < l->m; j++) h.bias[j] = reap_random_normal(random);
  return h;
}

/* Squared error and centred energy of the held-out images, written out. */
static reap_held_out_error held_out_brute_force(const scene *s, const held_out_case *h) {
  const reap_layer *l = &s->layer;
  reap_held_out_error e = {0};
  for (int64_t j = 0; j < l->m; j++) {
    double sum = 0, square = 0;
    e.samples = 0;
    for (int64_t i = 9; i < s->images; i += 10)
      for (int64_t p = 0; p < l->positions; p++, e.samples++) {
        double y = target_at(s, i, p, j), d = y - h->bias[j];
        for (int64_t k = 0; k < h->n_kept * l->block; k++)
          d -= h->weights[k * l->m + j] * input_at(s, i, p, h->kept[k / l->block] * l->block + k % l->block);
        e.error += d * d;
        sum += y;
        square += y * y;
      }
    e.energy += square - sum * sum / (double)e.samples;
  }
  return e;
}

/* Everything about one layer at all positions. */
static void check_layer(const reap_layer *layer, int64_t images, int64_t block, bool drift, reap_random *random) {
  const reap_sampling all = {0, 1};
  scene s = make_scene(layer, images, block, drift, random);
  held_out_case h = make_held_out(layer, random);
  reap_comm *self = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &self));
  reap_held_out_error error[2] = {{0}, {0}}, expected_error = held_out_brute_force(&s, &h);
  reap_moments *together = accumulate(&s, &all, test_comm(), &h, &error[0]);
  reap_moments *alone = accumulate(&s, &all, self, &h, &error[1]), *expected = brute_force(&s, NULL);
  check_equal_bits(together, alone);
  compare(together, expected);
  CU_ASSERT_EQUAL(memcmp(&error[0], &error[1], sizeof error[0]), 0);
  CU_ASSERT_EQUAL(error[0].samples, expected_error.samples);
  CHECK_NEAR(error[0].error, expected_error.error, 1e-12 * expected_error.error);
  CHECK_NEAR(error[0].energy, expected_error.energy, 1e-11 * expected_error.energy);
  reap_moments_destroy(&together);
  reap_moments_destroy(&alone);
  reap_moments_destroy(&expected);
  reap_comm_destroy(&self);
  reap_free(&h.kept);
  reap_free(&h.weights);
  reap_free(&h.bias);
  free_scene(&s);
}

/* ---------------------------------------------------------------- windows */

static int64_t draw(reap_random *random, int64_t low, int64_t high) {
  return low + reap_random_below(random, high - low + 1);
}

static int64_t room(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation) {
  return size + before + after - (kernel - 1) * dilation - 1;
}

/* Kernels of 1, 3, 5 and 7 (square or not), all paddings, sizes from one pixel up. */
static reap_window random_window(reap_random *random, int64_t stride, int64_t most) {
  for (;;) {
    reap_window w = {FLAT, .batch = 1, .groups = 1, .stride_y = stride, .stride_x = stride};
    w.height = draw(random, 1, most);
    w.width = draw(random, 1, most);
    w.kernel_y = 2 * draw(random, 0, 3) + 1;
    w.kernel_x = draw(random, 0, 2) ? w.kernel_y : draw(random, 1, 7);
    w.dilation_y = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
    w.dilation_x = draw(random, 0, 2) ? 1 : draw(random, 2, 3);
    bool same = draw(random, 0, 1);
    w.pad_top = same ? w.kernel_y / 2 : draw(random, 0, w.kernel_y);
    w.pad_bottom = same ? w.kernel_y / 2 : draw(random, 0, w.kernel_y);
    w.pad_left = same ? w.kernel_x / 2 : draw(random, 0, w.kernel_x + 1);
    w.pad_right = same ? w.kernel_x / 2 : draw(random, 0, w.kernel_x + 1);
    w.channels = draw(random, 1, 4);
    w.outputs = draw(random, 1, 4);
    int64_t y = room(w.height, w.pad_top, w.pad_bottom, w.kernel_y, w.dilation_y);
    int64_t x = room(w.width, w.pad_left, w.pad_right, w.kernel_x, w.dilation_x);
    if (y < 0 || x < 0) continue;
    w.out_height = y / stride + 1;
    w.out_width = x / stride + 1;
    return w;
  }
}

static reap_window plain_window(int64_t size, int64_t kernel, int64_t channels, int64_t outputs) {
  return (reap_window){FLAT,
                       .batch = 1,
                       .groups = 1,
                       .stride_y = 1,
                       .stride_x = 1,
                       .dilation_y = 1,
                       .dilation_x = 1,
                       .height = size,
                       .width = size,
                       .out_height = size,
                       .out_width = size,
                       .kernel_y = kernel,
                       .kernel_x = kernel,
                       .pad_top = kernel / 2,
                       .pad_left = kernel / 2,
                       .pad_bottom = kernel / 2,
                       .pad_right = kernel / 2,
                       .channels = channels,
                       .outputs = outputs};
}

/* ---------------------------------------------------------------- cases */

static bool shift_pays(const reap_layer *layer) {
  bool pays = false;
  CHECK_OK(reap_shift_pays(layer, &pays));
  return pays;
}

/* The form itself, also where the accumulator would take patches. One rank does it all: nothing here is collective. */
static void check_shift_form(const reap_window *w, reap_random *random) {
  enum { IMAGES = 7 };
  const reap_layer layer = conv_layer(w);
  const reap_samples samples = {
      .layer = layer, .split = REAP_SPLIT_TENTH, .shard = reap_shard_make(IMAGES, IMAGES, 0, 1)};
  scene s = make_scene(&layer, IMAGES, IMAGES, false, random);
  reap_moments *expected = brute_force(&s, NULL), *found = NULL;
  reap_shift *shift = NULL;
  double *terms = NULL, *cross = NULL, *sum_x = NULL;
  CHECK_OK(reap_shift_create(&samples, &shift));
  CHECK_OK(reap_moments_create(layer.channels, layer.block, layer.m, &found));
  CHECK_OK(reap_alloc(&terms, reap_shift_count(shift), sizeof *terms));
  CHECK_OK(reap_alloc(&cross, layer.n * layer.m, sizeof *cross));
  CHECK_OK(reap_alloc(&sum_x, layer.n, sizeof *sum_x));
  reap_shift_sums sums = {.terms = terms, .cross = cross, .sum_x = sum_x, .sum_y = found->sum_y};
  for (int twice = 0; twice < 2; twice++) CHECK_OK(reap_shift_moments(shift, 0, s.x, s.y, &sums));
  reap_shift_assemble(shift, terms, found->gram);
  for (int64_t c = 0; c < layer.channels; c++)
    for (int64_t t = 0; t < layer.block; t++) {
      int64_t to = c * layer.block + t, from = t * layer.channels + c;
      found->sum_x[to] = sum_x[from];
      memcpy(found->cross + to * layer.m, cross + from * layer.m, (size_t)layer.m * sizeof *cross);
    }
  found->energy = sums.energy;
  found->samples = sums.samples;
  compare(found, expected);
  reap_moments_destroy(&expected);
  reap_moments_destroy(&found);
  reap_shift_destroy(&shift);
  reap_free(&terms);
  reap_free(&cross);
  reap_free(&sum_x);
  free_scene(&s);
}

static void shift_form_is_right_for_all_windows(void) {
  reap_random random = reap_random_init(1, 2, (uint64_t)test_rank());
  for (int i = 0; i < 60; i++) {
    reap_window w = random_window(&random, 1, 9);
    check_shift_form(&w, &random);
  }
  for (int64_t size = 1; size < 5; size++) { /* more taps than pixels */
    reap_window w = plain_window(size, 7, 2, 2);
    check_shift_form(&w, &random);
  }
}

static void convolutions_agree_on_any_number_of_ranks(void) {
  reap_random random = reap_random_init(3, 4, 5);
  for (int i = 0; i < 10; i++) {
    reap_window w = random_window(&random, 1 + i % 2, 8);
    reap_layer layer = conv_layer(&w);
    check_layer(&layer, 33, 4, i % 3 == 0, &random);
  }
  const struct {
    int64_t size, kernel, channels, outputs;
  } shapes[] = {{8, 3, 9, 7}, {6, 1, 13, 5}, {9, 5, 3, 4}, {6, 3, 20, 11}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
    reap_window w = plain_window(shapes[i].size, shapes[i].kernel, shapes[i].channels, shapes[i].outputs);
    reap_layer layer = conv_layer(&w);
    CU_ASSERT_TRUE(shift_pays(&layer));
    check_layer(&layer, 21, 4, i % 2 == 0, &random);
  }
}

/* More channels than the products without packing take, and fewer blocks than ranks. */
static void wide_layers_are_right(void) {
  reap_random random = reap_random_init(5, 6, 7);
  reap_window w = plain_window(4, 3, 104, 6);
  reap_layer layer = conv_layer(&w);
  CU_ASSERT_TRUE(shift_pays(&layer));
  check_layer(&layer, 10, 8, false, &random);
}

static void columns_behind_a_flatten_are_in_the_files_order(void) {
  reap_random random = reap_random_init(6, 7, 8);
  for (int i = 0; i < 3; i++) {
    reap_layer layer = {.channels = 3 + i, .block = 4, .m = 5, .positions = i == 2 ? 3 : 1};
    layer.n = layer.channels * layer.block;
    check_layer(&layer, 57, 6, i == 1, &random);
  }
}

/* The positions [images, positions] that a sample is made of, drawn as accumulator.h says. */
static bool *sample_of(const scene *s, const reap_sampling *sampling) {
  bool *used = NULL;
  CHECK_OK(reap_calloc(&used, s->images * s->layer.positions, sizeof *used));
  for (int64_t i = 0; i < s->images; i++) {
    int64_t positions[64];
    uint64_t key = 1469598103934665603u;
    for (const char *c = "layer"; *c; c++) key = (key ^ (unsigned char)*c) * 1099511628211u;
    reap_random draws = reap_random_init(sampling->seed, key, (uint64_t)i);
    reap_random_sample(&draws, s->layer.positions, sampling->positions, positions);
    for (int64_t k = 0; k < sampling->positions; k++) used[i * s->layer.positions + positions[k]] = true;
  }
  return used;
}

/* A sample has the asked-for number of positions per image, each at most once, and does not depend on the ranks. */
static void samples_do_not_depend_on_ranks(void) {
  reap_random random = reap_random_init(7, 8, 9);
  const reap_sampling few = {5, 42};
  reap_window w = plain_window(6, 3, 4, 3);
  reap_layer layer = conv_layer(&w);
  scene s = make_scene(&layer, 43, 4, true, &random);
  reap_comm *self = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &self));
  reap_moments *together = accumulate(&s, &few, test_comm(), NULL, NULL),
               *alone = accumulate(&s, &few, self, NULL, NULL);
  check_equal_bits(together, alone);
  CU_ASSERT_EQUAL(together->samples, 5 * 39);
  bool *used = sample_of(&s, &few);
  reap_moments *expected = brute_force(&s, used);
  compare(together, expected);
  reap_free(&used);
  reap_moments_destroy(&expected);
  reap_moments_destroy(&together);
  reap_moments_destroy(&alone);
  reap_comm_destroy(&self);
  free_scene(&s);
}

/* Rows for each column: as many positions as that takes, but all where they cost hardly more, and all of no images. */
static void rows_for_each_column_decide_how_many_are_drawn(void) {
  reap_window w = plain_window(20, 3, 4, 3);
  const reap_layer wide = conv_layer(&w); /* 400 positions, 36 columns */
  reap_layer plain = {.channels = 36, .block = 1, .n = 36, .m = 3, .positions = 400};
  const reap_sampling eight = {-8, 1}, few = {5, 1}, all = {0, 1};
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &wide, 100), 3); /* 288 rows of 36 columns */
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &wide, 288), 1);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &wide, 3), 96);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &wide, 2), 0); /* 144 of 400 */
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &plain, 2), 144);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&eight, &plain, 0), 0);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&few, &plain, 2), 5);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&few, &plain, 0), 5);
  CU_ASSERT_EQUAL(reap_sampling_drawn(&all, &plain, 2), 0);
}

/* Moments of drawn rows are the same whether their number or what decides it is given. */
static void rows_for_each_column_are_those_of_as_many_positions(void) {
  reap_random random = reap_random_init(7, 8, 10);
  reap_window w = plain_window(20, 3, 4, 3);
  reap_layer layer = conv_layer(&w);
  scene s = make_scene(&layer, 48, 4, true, &random);
  const reap_sampling by_rows = {-4, 42}, by_number = {3, 42};
  reap_moments *a = accumulate(&s, &by_rows, test_comm(), NULL, NULL),
               *b = accumulate(&s, &by_number, test_comm(), NULL, NULL);
  CU_ASSERT_EQUAL(a->samples, 3 * 44);
  compare(a, b);
  reap_moments_destroy(&a);
  reap_moments_destroy(&b);
  free_scene(&s);
}

/* By shifts and by rows: what is asked for is bit for bit that of all moments, the Gram matrix is zero. */
static void targets_alone_give_the_same_sums(void) {
  const reap_sampling samplings[] = {{0, 1}, {5, 1}};
  reap_random random = reap_random_init(7, 8, 11);
  reap_window w = plain_window(9, 3, 4, 3);
  reap_layer layer = conv_layer(&w);
  const size_t d = sizeof(double), n = (size_t)layer.n, m = (size_t)layer.m;
  scene s = make_scene(&layer, 43, 4, false, &random);
  for (int i = 0; i < 2; i++) {
    reap_moments *all = accumulate(&s, &samplings[i], test_comm(), NULL, NULL),
                 *some = accumulate_some(&s, &samplings[i], true, test_comm(), NULL, NULL);
    CU_ASSERT_EQUAL(memcmp(all->cross, some->cross, n * m * d), 0);
    CU_ASSERT_EQUAL(memcmp(all->sum_y, some->sum_y, m * d), 0);
    CU_ASSERT_EQUAL(all->energy, some->energy);
    CU_ASSERT_EQUAL(all->samples, some->samples);
    for (size_t k = 0; k < n * n; k++) CU_ASSERT_EQUAL(some->gram[k], 0);
    reap_moments_destroy(&all);
    reap_moments_destroy(&some);
  }
  free_scene(&s);
}

/* Makes everything a thousand times larger that no sampled position reads. */
static void raise_the_rest(scene *s, const bool *used) {
  const reap_window *w = &s->layer.window;
  const int64_t pixels = w->height * w->width;
  for (int64_t i = 0; i < s->images; i++) {
    bool *read = NULL;
    CHECK_OK(reap_calloc(&read, pixels, sizeof *read));
    for (int64_t p = 0; p < s->layer.positions; p++)
      for (int64_t t = 0; t < s->layer.block && used[i * s->layer.positions + p]; t++) {
        int64_t y = p / w->out_width + t / w->kernel_x - w->pad_top,
                x = p % w->out_width + t % w->kernel_x - w->pad_left;
        if (y >= 0 && y < w->height && x >= 0 && x < w->width) read[y * w->width + x] = true;
      }
    for (int64_t k = 0; k < s->size_x; k++)
      if (!read[k / w->channels]) s->x[i * s->size_x + k] *= 1000;
    for (int64_t k = 0; k < s->size_y; k++)
      if (!used[i * s->layer.positions + k / s->layer.m]) s->y[i * s->size_y + k] *= 1000;
    reap_free(&read);
  }
}

/* 10 of 784 positions: their moments are as exact as those of all positions are, and what lies elsewhere is without
 * influence, even on the last bit. */
static void samples_are_exact_whatever_lies_elsewhere(void) {
  reap_random random = reap_random_init(17, 18, 19);
  const reap_sampling few = {10, 3};
  reap_window w = plain_window(28, 3, 3, 2);
  reap_layer layer = conv_layer(&w);
  scene s = make_scene(&layer, 40, 2, false, &random);
  bool *used = sample_of(&s, &few);
  reap_moments *expected = brute_force(&s, used), *before = accumulate(&s, &few, test_comm(), NULL, NULL);
  /* 20 blocks, each rounded by at most half of 2^-50 a_i a_j, where a_i is up to twice the root of 20 times the largest
   * block's energy (up to half above the mean). */
  CHECK_NEAR(gram_error(before->gram, expected->gram, layer.n), 0, 20 * 0x1p-51 * 4 * 1.5);
  raise_the_rest(&s, used);
  reap_moments *after = accumulate(&s, &few, test_comm(), NULL, NULL);
  check_equal_bits(before, after);
  reap_free(&used);
  reap_moments_destroy(&expected);
  reap_moments_destroy(&before);
  reap_moments_destroy(&after);
  free_scene(&s);
}

/* Channel 0 is constant, channel 1 zero, channel 2 lives in the first row of the images only. */
static void constant_channels_stay_dead(void) {
  reap_random random = reap_random_init(8, 9, 10);
  reap_window w = plain_window(24, 3, 5, 4);
  w.pad_top = w.pad_left = w.pad_bottom = w.pad_right = 0;
  w.out_height = w.out_width = 22;
  reap_layer layer = conv_layer(&w);
  CU_ASSERT_TRUE(shift_pays(&layer));
  scene s = make_scene(&layer, 12, 3, false, &random);
  for (int64_t i = 0; i < s.images * 576; i++) {
    s.x[i * 5] = 0.7f;
    s.x[i * 5 + 1] = 0;
    if (i % 576 >= 24) s.x[i * 5 + 2] = 0;
  }
  const reap_sampling all = {0, 1};
  reap_moments *found = accumulate(&s, &all, test_comm(), NULL, NULL);
  double *gram = NULL, *cross = NULL, energy;
  const int64_t n = layer.n;
  CHECK_OK(reap_alloc(&gram, n * n, sizeof *gram));
  CHECK_OK(reap_alloc(&cross, n * layer.m, sizeof *cross));
  reap_moments_centre(found, gram, cross, &energy);
  for (int64_t t = 0; t < 9; t++) {
    CU_ASSERT_TRUE(gram[t * n + t] <= 1e-12 * found->gram[t * n + t]);
    CU_ASSERT_EQUAL(found->gram[(9 + t) * n + 9 + t], 0);
    if (t >= 3) CU_ASSERT_EQUAL(found->gram[(18 + t) * n + 18 + t], 0);
    if (t < 3) CU_ASSERT_TRUE(found->gram[(18 + t) * n + 18 + t] > 0);
  }
  reap_free(&gram);
  reap_free(&cross);
  reap_moments_destroy(&found);
  free_scene(&s);
}

const test_case test_cases[] = {
    {"shift_form_is_right_for_all_windows", shift_form_is_right_for_all_windows},
    {"convolutions_agree_on_any_number_of_ranks", convolutions_agree_on_any_number_of_ranks},
    {"wide_layers_are_right", wide_layers_are_right},
    {"columns_behind_a_flatten_are_in_the_files_order", columns_behind_a_flatten_are_in_the_files_order},
    {"samples_do_not_depend_on_ranks", samples_do_not_depend_on_ranks},
    {"rows_for_each_column_decide_how_many_are_drawn", rows_for_each_column_decide_how_many_are_drawn},
    {"rows_for_each_column_are_those_of_as_many_positions", rows_for_each_column_are_those_of_as_many_positions},
    {"targets_alone_give_the_same_sums", targets_alone_give_the_same_sums},
    {"samples_are_exact_whatever_lies_elsewhere", samples_are_exact_whatever_lies_elsewhere},
    {"constant_channels_stay_dead", constant_channels_stay_dead},
    {NULL, NULL}};
