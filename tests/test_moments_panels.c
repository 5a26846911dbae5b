/* Moments by panels against the accumulator's, and what is solved from them against the local solver. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "harness.h"
#include "io/origin.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "reap/stats_file.h"
#include "stats/gather_rows.h"
#include "stats/moments_panels.h"
#include "stats/row_residual.h"
#include "windows.h"

const char *const test_suite_name = "moments_panels";

/* ---------------------------------------------------------------- a layer and its images */

/* Every rank has all images; the shard says which are its own. */
typedef struct scene {
  reap_layer layer;
  reap_sampling sampling;
  reap_shard shard;
  int64_t size_x, size_y; /* of one image */
  float *x, *y;
  int64_t broken; /* block, of all, that cannot be read; -1: none */
} scene;

static int read_block(void *context, int64_t b, const float **x, const float **y) {
  const scene *s = context;
  const int64_t block = s->shard.first + b;
  if (x && block == s->broken) return reap_error(REAP_ERR_INPUT, "block %lld is broken", (long long)block);
  if (x) *x = s->x + block * s->shard.block * s->size_x;
  if (y) *y = s->y + block * s->shard.block * s->size_y;
  return REAP_OK;
}

static reap_samples samples_of(scene *s) {
  return (reap_samples){.layer = s->layer,
                        .name = "layer",
                        .sampling = s->sampling,
                        .split = REAP_SPLIT_TENTH,
                        .shard = s->shard,
                        .read = read_block,
                        .context = s};
}

/* Inputs with a common part, so that channels are far from independent, and zeros as behind a ReLU; one channel is
 * zero. Outputs depend on the inputs. */
static scene make_scene(const reap_layer *layer, int64_t positions, int64_t images, int64_t block) {
  scene s = {.layer = *layer, .sampling = {positions, 5}, .broken = -1};
  reap_random random = reap_random_init(7, (uint64_t)layer->n, (uint64_t)images);
  s.shard = reap_shard_make(images, block, test_rank(), test_ranks());
  const int64_t pixels =
      layer->convolution ? layer->window.height * layer->window.width : layer->positions * layer->block;
  s.size_x = pixels * layer->channels;
  s.size_y = layer->positions * layer->m;
  const int64_t padded = s.shard.blocks * block;
  CHECK_OK(reap_alloc(&s.x, padded * s.size_x, sizeof *s.x));
  CHECK_OK(reap_alloc(&s.y, padded * s.size_y, sizeof *s.y));
  for (int64_t i = 0; i < padded * s.size_x; i++) {
    const int64_t c = layer->convolution ? i % layer->channels : i / layer->block % layer->channels;
    const double value = reap_random_normal(&random) * (1 + (double)(c % 5)) + 0.3;
    s.x[i] = c == 3 || value < 0 ? 0 : (float)value;
  }
  for (int64_t i = 0; i < padded * s.size_y; i++)
    s.y[i] = (float)(reap_random_normal(&random) + (double)s.x[i * s.size_x / s.size_y] * (double)(1 + i % layer->m));
  return s;
}

static void free_scene(scene *s) {
  reap_free(&s->x);
  reap_free(&s->y);
}

static reap_layer convolution(int64_t size, int64_t kernel, int64_t stride, int64_t channels, int64_t outputs) {
  reap_window w = {FLAT,
                   .batch = 1,
                   .groups = 1,
                   .stride_y = stride,
                   .stride_x = stride,
                   .dilation_y = 1,
                   .dilation_x = 1,
                   .channels = channels,
                   .outputs = outputs,
                   .height = size,
                   .width = size,
                   .kernel_y = kernel,
                   .kernel_x = kernel,
                   .pad_top = kernel / 2,
                   .pad_left = kernel / 2,
                   .pad_bottom = kernel / 2,
                   .pad_right = kernel / 2};
  w.out_height = (size + 2 * w.pad_top - kernel) / stride + 1;
  w.out_width = w.out_height;
  return (reap_layer){.convolution = true,
                      .window = w,
                      .channels = channels,
                      .block = kernel * kernel,
                      .n = channels * kernel * kernel,
                      .m = outputs,
                      .positions = w.out_height * w.out_width};
}

static reap_layer matrix(int64_t channels, int64_t block, int64_t positions, int64_t outputs) {
  return (reap_layer){
      .channels = channels, .block = block, .n = channels * block, .m = outputs, .positions = positions};
}

/* By the accumulator; with weights also the error on images held out. */
static reap_moments *accumulate(scene *s, int64_t n_kept, const int64_t *kept, const double *weights,
                                const double *bias, reap_held_out_error *error) {
  const reap_samples samples = samples_of(s);
  reap_accumulator *a = NULL;
  reap_moments *moments = NULL;
  CHECK_OK(reap_accumulator_create(&samples, &a));
  CHECK_OK(reap_accumulator_sum(a, test_comm()));
  CHECK_OK(reap_accumulator_reduce(a, test_comm(), &moments));
  if (error) CHECK_OK(reap_accumulator_residual(a, test_comm(), n_kept, kept, weights, bias, error));
  reap_accumulator_destroy(&a);
  return moments;
}

/* ---------------------------------------------------------------- panels against the accumulator */

/* What came, put together. */
typedef struct collected {
  int64_t slots, block, next, panels;
  double *gram; /* [slots * block] squared */
} collected;

static int collect(void *context, int64_t first, int64_t count, double *columns, int64_t ld) {
  collected *c = context;
  const int64_t n = c->slots * c->block, from = first * c->block;
  CU_ASSERT_EQUAL(first, c->next);
  CU_ASSERT_TRUE(count > 0 && ld >= n - from);
  c->next = first + count;
  c->panels++;
  for (int64_t j = from; j < (first + count) * c->block; j++)
    for (int64_t i = from; i < n; i++) c->gram[i * n + j] = c->gram[j * n + i] = columns[i - from + (j - from) * ld];
  return REAP_OK;
}

/* X'X of some channels, relative to the diagonal. */
static void check_gram(const reap_gram *source, const reap_moments *expected, int64_t slots, const int64_t *channel,
                       int64_t width) {
  const int64_t b = source->block, n = slots * b, step = width < b ? 1 : width / b;
  collected c = {.slots = slots, .block = b};
  double worst = 0;
  CHECK_OK(reap_alloc(&c.gram, n * n, sizeof *c.gram));
  for (int64_t i = 0; i < n * n; i++) c.gram[i] = NAN;
  CHECK_OK(source->gram_panels(source->context, slots, channel, collect, &c));
  CU_ASSERT_EQUAL(c.next, slots);
  CU_ASSERT_EQUAL(c.panels, (slots + step - 1) / step);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      const int64_t gi = channel[i / b] * b + i % b, gj = channel[j / b] * b + j % b, all = expected->n;
      const double scale = sqrt(expected->gram[gi * all + gi] * expected->gram[gj * all + gj]);
      const double gap = fabs(c.gram[i * n + j] - expected->gram[gi * all + gj]);
      if (!(gap <= 1e-13 * scale)) worst = INFINITY;
    }
  CU_ASSERT_EQUAL(worst, 0);
  reap_free(&c.gram);
}

static void check_rest(const reap_gram *source, const reap_moments *expected) {
  const int64_t n = expected->n, m = expected->m;
  const double energy = sqrt(expected->energy), samples = sqrt((double)expected->samples);
  double *piece = NULL, worst = 0;
  int64_t first, last;
  reap_comm_share(m, test_rank(), test_ranks(), &first, &last);
  CU_ASSERT_EQUAL(source->samples, expected->samples);
  CHECK_NEAR(source->energy, expected->energy, 1e-13 * expected->energy);
  CHECK_NEAR(test_max_difference(source->sum_y, expected->sum_y, m), 0, 1e-13 * energy * samples);
  CHECK_OK(reap_alloc(&piece, n * m, sizeof *piece));
  CHECK_OK(source->cross(source->context, 1, n - 1, first, last - first, piece, n));
  for (int64_t i = 0; i < n; i++) {
    const double scale = sqrt(expected->gram[i * n + i]);
    if (!(fabs(source->diagonal[i] - scale * scale) <= 1e-13 * scale * scale)) worst = INFINITY;
    if (!(fabs(source->sum_x[i] - expected->sum_x[i]) <= 1e-13 * scale * samples)) worst = INFINITY;
    for (int64_t j = first; j < last && i > 0; j++)
      if (!(fabs(piece[i - 1 + (j - first) * n] - expected->cross[i * m + j]) <= 1e-13 * scale * energy))
        worst = INFINITY;
  }
  CU_ASSERT_EQUAL(worst, 0);
  if (test_ranks() > 1 && !source->rows_x)
    CHECK_FAILS(source->cross(source->context, 0, n, 0, m, piece, n), REAP_ERR_INTERNAL, "another rank");
  reap_free(&piece);
}

static void check_residual(scene *s, const reap_moments *moments) {
  const reap_samples samples = samples_of(s);
  reap_held_out_error found = {0}, expected = {0};
  reap_random random = reap_random_init(3, 1, 4);
  int64_t kept[64], n_kept = 0;
  double *weights = NULL, *bias = NULL, error = 0;
  for (int64_t c = 0; c < s->layer.channels; c++)
    if (c % 3 != 1) kept[n_kept++] = c;
  const int64_t count = n_kept * s->layer.block * s->layer.m;
  CHECK_OK(reap_alloc(&weights, count, sizeof *weights));
  CHECK_OK(reap_alloc(&bias, s->layer.m, sizeof *bias));
  for (int64_t i = 0; i < count; i++) weights[i] = 0.1 * reap_random_normal(&random);
  for (int64_t j = 0; j < s->layer.m; j++) bias[j] = reap_random_normal(&random);
  reap_moments *again = accumulate(s, n_kept, kept, weights, bias, &expected);
  CHECK_OK(reap_row_residual(test_comm(), &samples, true, n_kept, kept, weights, bias, &found));
  CU_ASSERT_EQUAL(found.samples, expected.samples);
  CHECK_NEAR(found.error, expected.error, 1e-12 * expected.error);
  CHECK_NEAR(found.energy, expected.energy, 1e-12 * expected.energy);
  CHECK_OK(reap_moments_error(moments, n_kept, kept, weights, bias, &error));
  CHECK_OK(reap_row_residual(test_comm(), &samples, false, n_kept, kept, weights, bias, &found));
  CU_ASSERT_EQUAL(found.samples, moments->samples);
  CHECK_NEAR(found.error, error, 1e-11 * (error + moments->energy));
  CHECK_NEAR(found.energy, reap_moments_centred_energy(moments), 1e-12 * moments->energy);
  reap_moments_destroy(&again);
  reap_free(&weights);
  reap_free(&bias);
}

/* Rows of all ranks in the order of the images, with the moments that the accumulator has of them. */
static void check_rows(const scene *s, const reap_samples *samples, const reap_moments *expected, int64_t n_some,
                       const int64_t *some) {
  const int64_t n = s->layer.n, m = s->layer.m;
  reap_few_rows *all = NULL, *own = NULL;
  reap_samples whole = *samples;
  reap_comm *alone = NULL;
  CHECK_OK(reap_gather_rows(test_comm(), samples, &all));
  whole.shard = reap_shard_make(s->shard.images, s->shard.block, 0, 1);
  scene everything = *s;
  everything.shard = whole.shard;
  whole.context = &everything;
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &alone));
  CHECK_OK(reap_gather_rows(alone, &whole, &own));
  CU_ASSERT_EQUAL_FATAL(all->samples, expected->samples);
  CU_ASSERT_EQUAL_FATAL(own->samples, expected->samples);
  CU_ASSERT_EQUAL(memcmp(all->x, own->x, (size_t)(all->samples * n) * sizeof *all->x), 0);
  CU_ASSERT_EQUAL(memcmp(all->y, own->y, (size_t)(all->samples * m) * sizeof *all->y), 0);
  const reap_gram gram = reap_few_rows_gram(all);
  check_rest(&gram, expected);
  check_gram(&gram, expected, n_some, some, 256);
  reap_few_rows_destroy(&all);
  reap_few_rows_destroy(&own);
  reap_comm_destroy(&alone);
}

static void check_layer(const reap_layer *layer, int64_t positions, int64_t images, int64_t block) {
  static const int64_t widths[] = {1, 20, 0};
  scene s = make_scene(layer, positions, images, block);
  const reap_samples samples = samples_of(&s);
  reap_moments *expected = accumulate(&s, 0, NULL, NULL, NULL, NULL);
  int64_t all[64], some[64], n_some = 0;
  for (int64_t c = 0; c < layer->channels; c++) {
    all[c] = c;
    if (c % 4 != 2) some[n_some++] = c;
  }
  for (int w = 0; w < 3; w++) {
    reap_moments_panels *panels = NULL;
    CHECK_OK(reap_moments_panels_create(test_comm(), &samples, widths[w], &panels));
    const reap_gram *source = reap_moments_panels_gram(panels);
    const int64_t width = widths[w] ? widths[w] : layer->n;
    check_rest(source, expected);
    check_gram(source, expected, layer->channels, all, width);
    check_gram(source, expected, n_some, some, width);
    if (w == 1) check_residual(&s, expected);
    CU_ASSERT_TRUE(reap_moments_panels_multiply_adds(panels) > 0);
    reap_moments_panels_destroy(&panels);
  }
  check_rows(&s, &samples, expected, n_some, some);
  reap_moments_destroy(&expected);
  free_scene(&s);
}

static void convolutions(void) {
  reap_layer layer = convolution(7, 3, 1, 6, 5);
  check_layer(&layer, 0, 23, 4);
  check_layer(&layer, 9, 41, 4); /* sampled positions */
  layer = convolution(8, 3, 2, 5, 7);
  check_layer(&layer, 0, 23, 4);
  layer = convolution(5, 1, 1, 9, 3);
  check_layer(&layer, 0, 23, 4);
}

static void matrix_products(void) {
  reap_layer layer = matrix(11, 4, 1, 6); /* behind a Flatten */
  check_layer(&layer, 0, 57, 4);
  layer = matrix(13, 1, 3, 6); /* rows of a batch */
  check_layer(&layer, 0, 23, 4);
}

static void ranks_without_images(void) {
  const reap_layer layer = matrix(7, 3, 1, 2); /* also more ranks than outputs */
  check_layer(&layer, 0, 10, 10);
}

static void widths_follow_the_memory(void) {
  CU_ASSERT_EQUAL(reap_moments_panels_width(100, 4), 100);
  const int64_t narrow = reap_moments_panels_width(25088, 64), wide = reap_moments_panels_width(25088, 2);
  CU_ASSERT_TRUE(narrow * 25088 * 8 <= 64 << 20 && (narrow + 1) * 25088 * 8 > 64 << 20);
  CU_ASSERT_TRUE(wide * 25088 * 8 <= (int64_t)25088 * 25088 * 8 / 32 && wide > narrow);
}

/* ---------------------------------------------------------------- what is solved from them */

static void check_path(const reap_path *found, const reap_path *expected, bool distributed) {
  const size_t removed = (size_t)expected->n_removed, kept = (size_t)expected->n_kept;
  CU_ASSERT_EQUAL(memcmp(found->kept, expected->kept, kept * sizeof *found->kept), 0);
  CU_ASSERT_EQUAL(memcmp(found->order, expected->order, removed * sizeof *found->order), 0);
  CHECK_NEAR(found->energy, expected->energy, 1e-12 * expected->energy);
  CHECK_NEAR(found->error[removed - 1], expected->error[removed - 1], 1e-9 * expected->energy);
  CHECK_NEAR(found->error_plain[removed - 1], expected->error_plain[removed - 1], 1e-9 * expected->energy);
  CU_ASSERT_EQUAL(found->dead, expected->dead);
  CU_ASSERT_EQUAL(found->ridge, expected->ridge);
  CU_ASSERT_EQUAL(found->distributed, distributed);
  CU_ASSERT_EQUAL(found->weights != NULL, test_rank() == 0);
  if (!found->weights) return;
  double largest = 0;
  const int64_t count = expected->n_kept * expected->block * expected->m;
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected->weights[i]));
  CHECK_NEAR(test_max_difference(found->weights, expected->weights, count), 0, 1e-6 * largest);
  CHECK_NEAR(test_max_difference(found->bias, expected->bias, expected->m), 0, 1e-6 * (1 + largest));
}

/* Weights on the ranks that want them, here the last one. */
static void check_wanted(const reap_gram *source, int64_t n_kept, const int64_t *kept,
                         const reap_solve_options *options, const reap_path *expected) {
  const bool wanted = test_rank() == test_ranks() - 1;
  reap_solve_options some = *options;
  reap_path *found = NULL;
  some.no_weights = !wanted;
  CHECK_OK(reap_refit(source, n_kept, kept, &some, "panels", &found));
  CU_ASSERT_PTR_NOT_NULL_FATAL(found);
  CU_ASSERT_EQUAL(found->weights != NULL, wanted);
  const int64_t count = n_kept * expected->block * expected->m;
  double largest = 0;
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected->weights[i]));
  if (found->weights) CHECK_NEAR(test_max_difference(found->weights, expected->weights, count), 0, 1e-6 * largest);
  reap_path_destroy(&found);
}

static void check_solver(const reap_gram *source, const reap_moments *moments, const reap_solve_options *options) {
  const bool distributed = options->solver == REAP_SOLVER_SCALAPACK;
  const int64_t n_kept = source->channels / 2;
  const reap_solve_options local = reap_solver_local(options->ridge);
  const reap_gram whole = reap_gram_of(moments);
  reap_solve_options first = *options;
  int64_t kept[64];
  reap_path *found = NULL, *expected = NULL;
  first.no_weights = test_rank() > 0;
  CHECK_OK(reap_solve(&whole, n_kept, &local, "local", &expected));
  CHECK_OK(reap_solve(source, n_kept, options, "panels", &found));
  if (found && expected) check_path(found, expected, distributed);
  for (int64_t k = 0; k < n_kept; k++) kept[k] = 2 * k;
  reap_path_destroy(&found);
  reap_path_destroy(&expected);
  CHECK_OK(reap_refit(&whole, n_kept, kept, &local, "local", &expected));
  CHECK_OK(reap_refit(source, n_kept, kept, &first, "panels", &found));
  if (found && expected) check_path(found, expected, distributed);
  if (expected) check_wanted(source, n_kept, kept, options, expected);
  reap_path_destroy(&found);
  reap_path_destroy(&expected);
}

/* More rows than columns, and fewer; also a ridge so small that the system is singular and panels are streamed again. A
 * rank of its own may solve from panels too. */
static void check_solve(const reap_layer *layer, int64_t images, double ridge) {
  scene s = make_scene(layer, 0, images, 4);
  const reap_samples samples = samples_of(&s);
  const reap_solve_options forced = reap_solver_distributed(test_comm(), REAP_SOLVER_SCALAPACK, ridge),
                           free = reap_solver_distributed(test_comm(), REAP_SOLVER_AUTO, ridge);
  reap_moments *moments = accumulate(&s, 0, NULL, NULL, NULL, NULL);
  reap_moments_panels *panels = NULL;
  CU_ASSERT_EQUAL(forced.solver, REAP_SOLVER_SCALAPACK);
  CU_ASSERT_EQUAL(free.solver, test_ranks() == 1 ? REAP_SOLVER_LOCAL : REAP_SOLVER_SCALAPACK);
  CHECK_OK(reap_moments_panels_create(test_comm(), &samples, 20, &panels));
  check_solver(reap_moments_panels_gram(panels), moments, &forced);
  check_solver(reap_moments_panels_gram(panels), moments, &free);
  reap_moments_panels_destroy(&panels);
  reap_moments_destroy(&moments);
  free_scene(&s);
}

static void solutions_are_those_of_the_local_solver(void) {
  reap_layer layer = convolution(6, 3, 1, 16, 7);
  check_solve(&layer, 23, 1e-6);
  layer = matrix(24, 4, 1, 9);
  check_solve(&layer, 150, 1e-6);
  check_solve(&layer, 60, 1e-4); /* 54 rows, 96 columns */
  check_solve(&layer, 60, 0);
}

/* ---------------------------------------------------------------- files */

/* A file of both kinds: written whole, and by panels. Several strips and slabs each. */
static void files_hold_the_same_moments(void) {
  const reap_layer layer = matrix(700, 1, 1, 250);
  scene s = make_scene(&layer, 0, 57, 4);
  const reap_samples samples = samples_of(&s);
  const char *path = test_scratch_path("panels.h5");
  reap_origin origin = {0};
  reap_stats_writer *writer = NULL;
  reap_stats_file *file = NULL;
  reap_moments_panels *panels = NULL;
  reap_moments *whole = accumulate(&s, 0, NULL, NULL, NULL, NULL), *read = NULL;
  const reap_gram gram = reap_gram_of(whole);
  char hash[REAP_HASH_LENGTH];
  memset(hash, 'a', sizeof hash);
  hash[REAP_HASH_LENGTH - 1] = 0;
  CHECK_OK(reap_origin_make(hash, false, 0, 0, hash, 0, 57, &origin));
  CHECK_OK(reap_moments_panels_create(test_comm(), &samples, 350, &panels));
  CHECK_OK(reap_stats_writer_create(test_comm(), path, &origin, &writer));
  CHECK_OK(reap_stats_writer_add(writer, "whole", "/whole", &gram));
  CHECK_OK(reap_stats_writer_add(writer, "panels", "/panels", reap_moments_panels_gram(panels)));
  CHECK_OK(reap_stats_writer_commit(&writer));
  CHECK_OK(reap_stats_file_open(path, &file));
  CU_ASSERT_EQUAL(reap_stats_file_layers(file), 2);
  CHECK_OK(reap_stats_file_read(file, reap_stats_file_find(file, "panels"), &read)); /* symmetric, too */
  if (read) {
    const double scale = whole->energy + whole->gram[0] * (double)whole->n;
    CU_ASSERT_EQUAL(read->samples, whole->samples);
    CHECK_NEAR(read->energy, whole->energy, 1e-13 * whole->energy);
    CHECK_NEAR(test_max_difference(read->gram, whole->gram, whole->n * whole->n), 0, 1e-13 * scale);
    CHECK_NEAR(test_max_difference(read->cross, whole->cross, whole->n * whole->m), 0, 1e-13 * scale);
    CHECK_NEAR(test_max_difference(read->sum_x, whole->sum_x, whole->n), 0, 1e-13 * scale);
    CHECK_NEAR(test_max_difference(read->sum_y, whole->sum_y, whole->m), 0, 1e-13 * scale);
  }
  reap_stats_file_close(&file);
  reap_moments_destroy(&read);
  reap_moments_destroy(&whole);
  reap_moments_panels_destroy(&panels);
  reap_origin_clear(&origin);
  free_scene(&s);
}

/* Infinite activations are found by rank 0 alone, and all ranks learn of it. */
static void files_take_numbers_only(void) {
  const reap_layer layer = matrix(11, 4, 1, 6);
  scene s = make_scene(&layer, 0, 57, 4);
  const reap_samples samples = samples_of(&s);
  reap_origin origin = {0};
  reap_stats_writer *writer = NULL;
  reap_moments_panels *panels = NULL;
  char hash[REAP_HASH_LENGTH];
  memset(hash, 'a', sizeof hash);
  hash[REAP_HASH_LENGTH - 1] = 0;
  s.x[s.size_x + 30] = INFINITY;
  CHECK_OK(reap_origin_make(hash, false, 0, 0, hash, 0, 57, &origin));
  CHECK_OK(reap_moments_panels_create(test_comm(), &samples, 8, &panels));
  CHECK_OK(reap_stats_writer_create(test_comm(), test_scratch_path("infinite.h5"), &origin, &writer));
  CHECK_FAILS(reap_stats_writer_add(writer, "layer", "/layer", reap_moments_panels_gram(panels)), REAP_ERR_NUMERIC,
              "NaN or an infinity");
  reap_stats_writer_destroy(&writer);
  reap_moments_panels_destroy(&panels);
  reap_origin_clear(&origin);
  free_scene(&s);
}

/* ---------------------------------------------------------------- what goes wrong */

static int refuse(void *context, int64_t first, int64_t count, double *columns, int64_t ld) {
  (void)count, (void)columns, (void)ld;
  return first >= *(const int64_t *)context && test_rank() == test_ranks() - 1
             ? reap_error(REAP_ERR_RESOURCE, "no room for slot %lld", (long long)first)
             : REAP_OK;
}

static void failures_reach_all_ranks(void) {
  const reap_layer layer = matrix(11, 4, 1, 6);
  scene s = make_scene(&layer, 0, 57, 4);
  const reap_samples samples = samples_of(&s);
  reap_moments_panels *panels = NULL;
  const int64_t from = 6;
  int64_t all[11];
  for (int64_t c = 0; c < 11; c++) all[c] = c;
  CHECK_OK(reap_moments_panels_create(test_comm(), &samples, 8, &panels));
  const reap_gram *source = reap_moments_panels_gram(panels);
  CHECK_FAILS(source->gram_panels(source->context, 11, all, refuse, (void *)(uintptr_t)&from), REAP_ERR_RESOURCE,
              "no room for slot 6");
  s.broken = s.shard.blocks - 1; /* one rank's */
  CHECK_FAILS(source->gram_panels(source->context, 11, all, refuse, (void *)(uintptr_t)&from), REAP_ERR_INPUT,
              "block 14 is broken");
  reap_moments_panels_destroy(&panels);
  CHECK_FAILS(reap_moments_panels_create(test_comm(), &samples, 8, &panels), REAP_ERR_INPUT, "block 14 is broken");
  CU_ASSERT_PTR_NULL(panels);
  free_scene(&s);
}

const test_case test_cases[] = {{"convolutions", convolutions},
                                {"matrix_products", matrix_products},
                                {"ranks_without_images", ranks_without_images},
                                {"widths_follow_the_memory", widths_follow_the_memory},
                                {"solutions_are_those_of_the_local_solver", solutions_are_those_of_the_local_solver},
                                {"files_hold_the_same_moments", files_hold_the_same_moments},
                                {"files_take_numbers_only", files_take_numbers_only},
                                {"failures_reach_all_ranks", failures_reach_all_ranks},
                                {NULL, NULL}};
