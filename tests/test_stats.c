/* stats: moments of whole networks, their merging, prunes from them, stored activations, and the ridge by held-out
 * error. */
#include <cjson/cJSON.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "base/random.h"
#include "harness.h"
#include "io/activations_file.h"
#include "prune/run/ridge.h"
#include "prune/sizes/budget.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "reap/stats_file.h"

const char *const test_suite_name = "stats";

/* ------------------------------------------------------------------ running commands */

enum { MOST_WORDS = 40 };

/* "@name" stands for a file of the scratch folder, "+name" for one of datasets/fashion. */
static int run_on(const reap_comm *comm, const char *line) {
  static char text[MOST_WORDS][1024];
  char *argv[MOST_WORDS + 1], copy[2048];
  int argc = 0;
  snprintf(copy, sizeof copy, "%s --progress none --log-level quiet", line);
  for (char *word = strtok(copy, " "); word && argc < MOST_WORDS; word = strtok(NULL, " ")) {
    char relative[512];
    snprintf(relative, sizeof relative, "datasets/fashion/%s", word + 1);
    snprintf(text[argc], sizeof text[argc], "%s",
             *word == '@'   ? test_scratch_path(word + 1)
             : *word == '+' ? test_source_path(relative)
                            : word);
    argv[argc] = text[argc];
    argc++;
  }
  argv[argc] = NULL;
  options_given given = {0};
  const command_context context = {comm, argc, argv, line, "unknown", &given, DOCUMENT_NONE};
  const struct {
    const char *name;
    int (*run)(const command_context *);
  } commands[] = {
      {"stats", command_stats}, {"merge", command_merge}, {"prune", command_prune}, {"solve", command_solve}};
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (strcmp(argv[0], commands[i].name) == 0) {
      const int status = commands[i].run(&context);
      options_given_clear(&given);
      return status;
    }
  return reap_error(REAP_ERR_INTERNAL, "no command %s", argv[0]);
}

static int run(const char *line) { return run_on(test_comm(), line); }

/* On rank 0 alone, whatever the number of ranks. */
static void run_alone(const char *line) {
  reap_comm *alone = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &alone));
  if (test_rank() == 0) CHECK_OK(run_on(alone, line));
  reap_comm_destroy(&alone);
  reap_comm_barrier(test_comm());
}

#define RESNET "+resnet-fashion.onnx --calib +fashion-calib.h5 "
#define VGG "+vgg-fashion.onnx --calib +fashion-calib.h5 "

/* ------------------------------------------------------------------ comparing files */

/* Largest difference of two arrays of second moments, relative to the columns' energies. */
static double worst_difference(const reap_moments *a, const reap_moments *b) {
  double worst = 0;
  const double energy = sqrt(a->energy + 1e-300);
  for (int64_t i = 0; i < a->n; i++) {
    const double x = sqrt(a->gram[i * a->n + i] + 1e-300);
    for (int64_t j = 0; j < a->n; j++)
      worst =
          fmax(worst, fabs(a->gram[i * a->n + j] - b->gram[i * a->n + j]) / (x * sqrt(a->gram[j * a->n + j] + 1e-300)));
    for (int64_t j = 0; j < a->m; j++)
      worst = fmax(worst, fabs(a->cross[i * a->m + j] - b->cross[i * a->m + j]) / (x * energy));
    worst = fmax(worst, fabs(a->sum_x[i] - b->sum_x[i]) / (x * sqrt((double)a->samples)));
  }
  for (int64_t j = 0; j < a->m; j++)
    worst = fmax(worst, fabs(a->sum_y[j] - b->sum_y[j]) / (energy * sqrt((double)a->samples)));
  return fmax(worst, fabs(a->energy - b->energy) / a->energy);
}

/* Layers, samples and sizes equal; the largest relative difference of the moments. */
static double compare(const char *a_name, const char *b_name) {
  reap_stats_file *a = NULL, *b = NULL;
  double worst = 0;
  CHECK_OK(reap_stats_file_open(test_scratch_path(a_name), &a));
  CHECK_OK(reap_stats_file_open(test_scratch_path(b_name), &b));
  if (a && b) CU_ASSERT_EQUAL(reap_stats_file_layers(a), reap_stats_file_layers(b));
  for (int i = 0; a && b && i < reap_stats_file_layers(a); i++) {
    reap_moments *x = NULL, *y = NULL;
    CU_ASSERT_STRING_EQUAL(reap_stats_file_layer_name(a, i), reap_stats_file_layer_name(b, i));
    CHECK_OK(reap_stats_file_read(a, i, &x));
    CHECK_OK(reap_stats_file_read(b, i, &y));
    CU_ASSERT_EQUAL(x->samples, y->samples);
    CU_ASSERT_EQUAL(x->channels, y->channels);
    CU_ASSERT_EQUAL(x->m, y->m);
    worst = fmax(worst, worst_difference(x, y));
    reap_moments_destroy(&x);
    reap_moments_destroy(&y);
  }
  reap_stats_file_close(&a);
  reap_stats_file_close(&b);
  return worst;
}

/* ------------------------------------------------------------------ moments of a network */

static void stats_do_not_depend_on_the_ranks(void) {
  CHECK_OK(run("stats " RESNET "--images 134 -o @whole.h5"));
  run_alone("stats " RESNET "--images 134 -o @alone.h5");
  CU_ASSERT_EQUAL(compare("whole.h5", "alone.h5"), 0);
  CHECK_OK(run("stats " VGG "--images 70 --positions 7 --seed 3 --all -o @vgg.h5"));
  run_alone("stats " VGG "--images 70 --positions 7 --seed 3 --all -o @vgg-alone.h5");
  CU_ASSERT_EQUAL(compare("vgg.h5", "vgg-alone.h5"), 0);
}

static void the_file_tells_where_it_comes_from(void) {
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  reap_moments *s = NULL;
  char *node = NULL;
  CHECK_OK(reap_stats_file_open(test_scratch_path("vgg.h5"), &file));
  CHECK_OK(reap_stats_file_origin(file, &origin));
  CU_ASSERT_FALSE(origin.pruned);
  CU_ASSERT_EQUAL(origin.positions, 7);
  CU_ASSERT_EQUAL(origin.seed, 3);
  CU_ASSERT_EQUAL(origin.n_images, 1);
  CU_ASSERT_EQUAL(origin.images[0].first, 0);
  CU_ASSERT_EQUAL(origin.images[0].count, 70);
  CU_ASSERT_EQUAL(reap_stats_file_layers(file), 8); /* --all: the first convolution as well */
  const int flat = reap_stats_file_find(file, "fc1.Gemm");
  CU_ASSERT_TRUE(flat >= 0);
  CHECK_OK(reap_stats_file_read(file, flat, &s));
  CHECK_OK(reap_stats_file_node(file, flat, &node));
  CU_ASSERT_STRING_EQUAL(node, "/fc1/Gemm");
  CU_ASSERT_EQUAL(s->channels, 128); /* behind a Flatten: channels, not columns */
  CU_ASSERT_EQUAL(s->samples, 63);   /* of 70 images 7 are held out */
  reap_moments_destroy(&s);
  reap_free(&node);
  reap_origin_clear(&origin);
  reap_stats_file_close(&file);
}

static void halves_merge_to_the_whole(void) {
  CHECK_OK(run("stats " RESNET "--images 64 -o @half1.h5"));
  CHECK_OK(run("stats " RESNET "--first 64 --images 70 -o @half2.h5"));
  CHECK_OK(run("merge @half2.h5 @half1.h5 -o @merged.h5"));
  CHECK_NEAR(compare("whole.h5", "merged.h5"), 0, 1e-13);
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  CHECK_OK(reap_stats_file_open(test_scratch_path("merged.h5"), &file));
  CHECK_OK(reap_stats_file_origin(file, &origin));
  CU_ASSERT_EQUAL(origin.n_images, 1); /* the two stretches touch */
  CU_ASSERT_EQUAL(origin.images[0].first, 0);
  CU_ASSERT_EQUAL(origin.images[0].count, 134);
  reap_origin_clear(&origin);
  reap_stats_file_close(&file);
}

static void what_does_not_belong_together_is_not_merged(void) {
  CHECK_OK(run("stats " RESNET "--first 192 --images 20 --positions 4 -o @sampled.h5"));
  CHECK_OK(run("stats " RESNET "--first 256 --images 20 --positions 4 --seed 1 -o @seed.h5"));
  CHECK_OK(run("stats " RESNET "--first 256 --images 20 --all -o @all.h5"));
  CHECK_OK(run("prune " RESNET "--images 40 --positions 4 --keep 0.5 -o @x.h5 --save-stats @pruned.h5"));
  CHECK_FAILS(run("merge @whole.h5 @half2.h5 -o @x.h5"), REAP_ERR_INPUT, "share images: 64 to 133");
  CHECK_FAILS(run("merge @whole.h5 @vgg.h5 -o @x.h5"), REAP_ERR_INPUT, "different models");
  CHECK_FAILS(run("merge @whole.h5 @sampled.h5 -o @x.h5"), REAP_ERR_INPUT, "differ in sampling: 0 and 4 positions");
  CHECK_FAILS(run("merge @seed.h5 @sampled.h5 -o @x.h5"), REAP_ERR_INPUT, "differ in sampling: seeds 1 and 0");
  CHECK_FAILS(run("merge @whole.h5 @all.h5 -o @x.h5"), REAP_ERR_INPUT, "holds layer \"conv1.Conv\"");
  CHECK_FAILS(run("merge @whole.h5 @pruned.h5 -o @x.h5"), REAP_ERR_INPUT, "pruned so far");
  CHECK_FAILS(run("merge @whole.h5 @half1.h5 -o @whole.h5"), REAP_ERR_USAGE, "named twice");
  CHECK_FAILS(run("stats " RESNET "--first 7 -o @x.h5"), REAP_ERR_USAGE, "multiple of 64");
  CHECK_FAILS(run("stats " RESNET "--first 6400000 -o @x.h5"), REAP_ERR_USAGE, "holds 2000 images");
}

/* ------------------------------------------------------------------ a prune from moments */

static cJSON *read_report(const char *name) {
  char text[1 << 16];
  FILE *file = fopen(test_scratch_path(name), "r");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  cJSON *report = cJSON_Parse(text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(report);
  return report;
}

static void check_kept(const cJSON *layer, reap_stats_file *stats) {
  reap_moments *s = NULL;
  reap_path *path = NULL;
  const int index = reap_stats_file_find(stats, cJSON_GetObjectItem(layer, "name")->valuestring);
  CU_ASSERT_TRUE_FATAL(index >= 0);
  CHECK_OK(reap_stats_file_read(stats, index, &s));
  const reap_gram gram = reap_gram_of(s);
  const reap_solve_options options = reap_solver_local(REAP_DEFAULT_RIDGE);
  CHECK_OK(reap_solve(&gram, reap_budget_round(0.4, s->channels), &options, "test", &path));
  const cJSON *kept = cJSON_GetObjectItem(layer, "kept");
  CU_ASSERT_EQUAL(cJSON_GetArraySize(kept), path->n_kept);
  for (int64_t i = 0; i < path->n_kept; i++)
    CU_ASSERT_EQUAL((int64_t)cJSON_GetArrayItem(kept, (int)i)->valuedouble, path->kept[i]);
  CHECK_NEAR(cJSON_GetObjectItem(layer, "relative_error")->valuedouble,
             path->error_plain[path->n_removed - 1] / path->energy, 1e-9);
  CU_ASSERT_TRUE(cJSON_IsNull(cJSON_GetObjectItem(layer, "held_out_error")));
  reap_path_destroy(&path);
  reap_moments_destroy(&s);
}

static void a_prune_from_statistics_needs_no_images(void) {
  CHECK_OK(run("prune +resnet-fashion.onnx --from-stats @merged.h5 --keep 0.4 -o @frozen.h5 --report @frozen.json"));
  if (test_rank() == 0) {
    cJSON *report = read_report("frozen.json");
    reap_stats_file *stats = NULL;
    CHECK_OK(reap_stats_file_open(test_scratch_path("merged.h5"), &stats));
    const cJSON *layers = cJSON_GetObjectItem(report, "layers");
    CU_ASSERT_EQUAL(cJSON_GetArraySize(layers), 9);
    CU_ASSERT_STRING_EQUAL(cJSON_GetObjectItem(report, "layer_inputs")->valuestring, "original");
    for (int i = 0; i < cJSON_GetArraySize(layers); i++) check_kept(cJSON_GetArrayItem(layers, i), stats);
    reap_stats_file_close(&stats);
    cJSON_Delete(report);
  }
  reap_comm_barrier(test_comm());
  CHECK_FAILS(run("prune +vgg-fashion.onnx --from-stats @merged.h5 --keep 0.4 -o @x.h5"), REAP_ERR_INPUT,
              "another model");
  CHECK_FAILS(run("prune +resnet-fashion.onnx --from-stats @pruned.h5 --keep 0.4 -o @x.h5"), REAP_ERR_INPUT,
              "pruned so far");
  CHECK_FAILS(run("prune " RESNET "--from-stats @merged.h5 --keep 0.4 -o @x.h5"), REAP_ERR_USAGE, "takes no images");
  CHECK_FAILS(run("prune +resnet-fashion.onnx --from-stats @merged.h5 --ridge auto --keep 0.4 -o @x.h5"),
              REAP_ERR_USAGE, "held out");
}

/* ------------------------------------------------------------------ stored activations */

/* Moments by plain sums over the stored rows. */
static void check_rows(reap_activations_reader *reader, int index, reap_stats_file *stats) {
  const reap_activations_layer *about = reap_activations_layer_at(reader, index);
  const int64_t n = about->channels * about->block, m = about->m, rows = about->rows;
  reap_moments *s = NULL, *sum = NULL;
  float *x = NULL, *y = NULL;
  CHECK_OK(reap_stats_file_read(stats, reap_stats_file_find(stats, about->name), &s));
  CHECK_OK(reap_moments_create(about->channels, about->block, m, &sum));
  CHECK_OK(reap_alloc(&x, rows * n, sizeof *x));
  CHECK_OK(reap_alloc(&y, rows * m, sizeof *y));
  CHECK_OK(reap_activations_read(reader, index, 0, rows, x, y));
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++) sum->gram[i * n + j] += (double)x[r * n + i] * (double)x[r * n + j];
      for (int64_t j = 0; j < m; j++) sum->cross[i * m + j] += (double)x[r * n + i] * (double)y[r * m + j];
      sum->sum_x[i] += (double)x[r * n + i];
    }
    for (int64_t j = 0; j < m; j++) {
      sum->sum_y[j] += (double)y[r * m + j];
      sum->energy += (double)y[r * m + j] * (double)y[r * m + j];
    }
  }
  CU_ASSERT_EQUAL(rows, s->samples);
  CHECK_NEAR(worst_difference(s, sum), 0, 1e-11);
  reap_free(&x);
  reap_free(&y);
  reap_moments_destroy(&s);
  reap_moments_destroy(&sum);
}

static void stored_rows_give_the_same_moments(void) {
  CHECK_OK(run("stats " RESNET "--images 135 --positions 5 -o @direct.h5 --activations @rows.h5"));
  CHECK_OK(run("stats --from @rows.h5 -o @stored.h5"));
  run_alone("stats --from @rows.h5 -o @stored-alone.h5");
  CU_ASSERT_EQUAL(compare("stored.h5", "stored-alone.h5"), 0);
  CHECK_NEAR(compare("direct.h5", "stored.h5"), 0, 1e-11); /* sums of few positions on the grid of all */
  reap_activations_reader *reader = NULL;
  reap_stats_file *stats = NULL;
  CHECK_OK(reap_activations_open(test_scratch_path("rows.h5"), &reader));
  CHECK_OK(reap_stats_file_open(test_scratch_path("direct.h5"), &stats));
  CU_ASSERT_EQUAL(reap_activations_layers(reader), 9);
  for (int i = 0; i < 2; i++) check_rows(reader, i, stats);
  reap_activations_close(&reader);
  reap_stats_file_close(&stats);
}

static void read_longs(const char *file_name, const char *name, int64_t count, int64_t *out) {
  hid_t file = H5Fopen(test_scratch_path(file_name), H5F_ACC_RDONLY, H5P_DEFAULT),
        data = H5Dopen2(file, name, H5P_DEFAULT);
  hid_t space = H5Dget_space(data), list = H5Dget_create_plist(data);
  CU_ASSERT_EQUAL(H5Sget_simple_extent_npoints(space), count);
  CU_ASSERT_EQUAL(H5Pget_layout(list), H5D_CHUNKED);
  CU_ASSERT_TRUE(H5Zfilter_avail(H5Z_FILTER_DEFLATE) && H5Pget_nfilters(list) == 2);
  if (H5Sget_simple_extent_npoints(space) == count)
    CU_ASSERT_TRUE(H5Dread(data, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
  H5Pclose(list);
  H5Sclose(space);
  H5Dclose(data);
  H5Fclose(file);
}

static void rows_tell_where_they_come_from(void) {
  enum { IMAGES = 135, HELD = 13, ROWS = (IMAGES - HELD) * 5 };
  static int64_t image[ROWS], place[2 * ROWS];
  read_longs("rows.h5", "layers/stage2.stage2.1.conv2.Conv/image", ROWS, image);
  read_longs("rows.h5", "layers/stage2.stage2.1.conv2.Conv/position", 2 * ROWS, place);
  int64_t wanted = 0;
  for (int64_t i = 0; i < IMAGES; i++) {
    if (i % 10 == 9) continue;
    for (int k = 0; k < 5; k++, wanted++) {
      CU_ASSERT_EQUAL(image[wanted], i);
      CU_ASSERT_TRUE(place[2 * wanted] >= 0 && place[2 * wanted] < 14 && place[2 * wanted + 1] >= 0 &&
                     place[2 * wanted + 1] < 14);
      if (k > 0)
        CU_ASSERT_TRUE(place[2 * wanted] * 14 + place[2 * wanted + 1] >
                       place[2 * wanted - 2] * 14 + place[2 * wanted - 1]);
    }
  }
}

static void a_prune_stores_what_it_used(void) {
  CHECK_OK(run("prune " RESNET
               "--images 100 --positions 6 --keep 0.5 -o @x.h5 --save-stats @used.h5 --activations @used-rows.h5"));
  CHECK_OK(run("stats --from @used-rows.h5 -o @used-stored.h5"));
  CHECK_NEAR(compare("used.h5", "used-stored.h5"), 0, 1e-11);
  reap_stats_file *file = NULL;
  reap_origin origin = {0};
  CHECK_OK(reap_stats_file_open(test_scratch_path("used-stored.h5"), &file));
  CHECK_OK(reap_stats_file_origin(file, &origin));
  CU_ASSERT_TRUE(origin.pruned);
  reap_origin_clear(&origin);
  reap_stats_file_close(&file);
}

/* ------------------------------------------------------------------ files that are wrong */

/* A copy of `from` named `to`, changed by one call; rank 0 does it. */
static void damage(const char *from, const char *to, void (*change)(hid_t file)) {
  if (test_rank() == 0) {
    char words[2200];
    snprintf(words, sizeof words, "cp '%s' '%s'", test_scratch_path(from), test_scratch_path(to));
    CU_ASSERT_EQUAL(system(words), 0);
    hid_t file = H5Fopen(test_scratch_path(to), H5F_ACC_RDWR, H5P_DEFAULT);
    CU_ASSERT_TRUE(file >= 0);
    change(file);
    H5Fclose(file);
  }
  reap_comm_barrier(test_comm());
}

static void drop_inputs(hid_t file) { H5Ldelete(file, "layers/stage1.stage1.0.conv2.Conv/inputs", H5P_DEFAULT); }
static void drop_model(hid_t file) { H5Adelete(file, "model_sha256"); }
static void drop_images(hid_t file) { H5Adelete(file, "images_first"); }

static void lie_about_block(hid_t file) {
  const int64_t block = (int64_t)1 << 61;
  hid_t layer = H5Gopen2(file, "layers/stage1.stage1.0.conv2.Conv", H5P_DEFAULT),
        a = H5Aopen(layer, "block", H5P_DEFAULT);
  H5Awrite(a, H5T_NATIVE_INT64, &block);
  H5Aclose(a);
  H5Gclose(layer);
}

static void negative_images(hid_t file) {
  const int64_t first = -5;
  hid_t a = H5Aopen(file, "images_first", H5P_DEFAULT);
  H5Awrite(a, H5T_NATIVE_INT64, &first);
  H5Aclose(a);
}

static void put_nan(hid_t file) {
  hid_t data = H5Dopen2(file, "layers/stage1.stage1.0.conv2.Conv/outputs", H5P_DEFAULT), space = H5Dget_space(data);
  const hsize_t start[2] = {3, 1}, count[2] = {1, 1};
  const float value = NAN;
  hid_t memory = H5Screate_simple(2, count, NULL);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  H5Dwrite(data, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, &value);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(data);
}

static void files_that_are_wrong_are_refused(void) {
  damage("rows.h5", "bad1.h5", drop_inputs);
  CHECK_FAILS(run("stats --from @bad1.h5 -o @x.h5"), REAP_ERR_INPUT, "has no \"inputs\"");
  damage("rows.h5", "bad2.h5", lie_about_block);
  CHECK_FAILS(run("stats --from @bad2.h5 -o @x.h5"), REAP_ERR_INPUT, "make no sense");
  damage("rows.h5", "bad3.h5", put_nan);
  CHECK_FAILS(run("stats --from @bad3.h5 -o @x.h5"), REAP_ERR_INPUT, "NaN or an infinity in row 3");
  damage("rows.h5", "bad4.h5", negative_images);
  CHECK_FAILS(run("stats --from @bad4.h5 -o @x.h5"), REAP_ERR_INPUT, "makes no sense");
  damage("whole.h5", "bad5.h5", drop_model);
  CHECK_FAILS(run("merge @bad5.h5 @half1.h5 -o @x.h5"), REAP_ERR_INPUT, "\"model_sha256\" is missing");
  CHECK_FAILS(run("prune +resnet-fashion.onnx --from-stats @bad5.h5 --keep 0.5 -o @x.h5"), REAP_ERR_INPUT,
              "is missing");
  damage("whole.h5", "bad6.h5", drop_images);
  CHECK_FAILS(run("merge @bad6.h5 @half1.h5 -o @x.h5"), REAP_ERR_INPUT, "\"images_first\" is missing");
  if (test_rank() == 0) CU_ASSERT_EQUAL(truncate(test_scratch_path("bad6.h5"), 3000), 0);
  reap_comm_barrier(test_comm());
  CHECK_FAILS(run("merge @bad6.h5 @half1.h5 -o @x.h5"), REAP_ERR_INPUT, "bad6.h5");
  CHECK_FAILS(run("stats --from @whole.h5 -o @x.h5"), REAP_ERR_INPUT, "a reap-activations file is wanted");
  CHECK_FAILS(run("stats " RESNET "-o /nowhere/x.h5"), REAP_ERR_INPUT, "/nowhere");
}

/* ------------------------------------------------------------------ the ridge */

/* Least-squares weights are their own best guess: pulled towards them, the solution stays whatever the ridge. */
static void a_pull_towards_the_solution_changes_nothing(void) {
  enum { CHANNELS = 6, BLOCK = 2, N = CHANNELS * BLOCK, M = 3, ROWS = 80 };
  static const int64_t all[] = {0, 1, 2, 3, 4, 5};
  reap_moments *s = NULL, *pulled = NULL;
  reap_path *free_path = NULL, *path = NULL;
  reap_random random = reap_random_init(4, 5, 6);
  CHECK_OK(reap_moments_create(CHANNELS, BLOCK, M, &s));
  for (int r = 0; r < ROWS; r++) {
    double x[N], y[M];
    for (int i = 0; i < N; i++) x[i] = i == 4 ? 0.5 : reap_random_normal(&random) + 1; /* column 4 is constant: dead */
    for (int j = 0; j < M; j++) y[j] = x[j] - 2 * x[N - 1 - j] + reap_random_normal(&random);
    for (int i = 0; i < N; i++) {
      for (int k = 0; k < N; k++) s->gram[i * N + k] += x[i] * x[k];
      for (int j = 0; j < M; j++) s->cross[i * M + j] += x[i] * y[j];
      s->sum_x[i] += x[i];
    }
    for (int j = 0; j < M; j++) s->sum_y[j] += y[j], s->energy += y[j] * y[j];
  }
  s->samples = ROWS;
  const reap_solve_options none = reap_solver_local(0), strong = reap_solver_local(10);
  reap_gram gram = reap_gram_of(s);
  CHECK_OK(reap_refit(&gram, CHANNELS, all, &none, "free", &free_path));
  CHECK_OK(reap_ridge_pull(s, 10, free_path->weights, &pulled));
  gram = reap_gram_of(pulled);
  CHECK_OK(reap_refit(&gram, CHANNELS, all, &strong, "pulled", &path));
  CU_ASSERT_TRUE(test_max_difference(path->weights, free_path->weights, N * M) < 1e-10);
  CU_ASSERT_TRUE(test_max_difference(path->bias, free_path->bias, M) < 1e-10);
  reap_path_destroy(&path);
  reap_path_destroy(&free_path);
  reap_moments_destroy(&pulled);
  reap_moments_destroy(&s);
}

static double sum_held_out(const cJSON *report, int *trained) {
  double sum = 0;
  const cJSON *layer;
  *trained = 0;
  cJSON_ArrayForEach(layer, cJSON_GetObjectItem(report, "layers")) {
    sum += cJSON_GetObjectItem(layer, "held_out_error")->valuedouble;
    *trained += strcmp(cJSON_GetObjectItem(layer, "ridge_target")->valuestring, "trained") == 0;
  }
  return sum;
}

/* The layers with fewest rows: behind the last convolutions. */
#define LAST_LAYERS VGG "--images 40 --positions 30 --keep 0.5 --exclude conv1_1.Conv,conv2_1.Conv,conv3_1.Conv "

static double number_of(const cJSON *report, int layer, const char *key) {
  return cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(report, "layers"), layer), key)->valuedouble;
}

/* Reports of the same run under the given ridge and by the rule for few rows; on rank 0, who has to delete them. */
static void prune_both(const char *words, cJSON **given, cJSON **few) {
  char line[512];
  snprintf(line, sizeof line, "prune %s--ridge 1e-6 -o @x.h5 --report @given.json", words);
  CHECK_OK(run(line));
  snprintf(line, sizeof line, "prune %s-o @x.h5 --report @few.json", words);
  CHECK_OK(run(line));
  if (test_rank() != 0) return;
  *given = read_report("given.json");
  *few = read_report("few.json");
}

/* A convolution with 147 rows for each column keeps the given ridge. The last layer does not: 54 rows for 54 columns
 * kept, where least squares is at its worst. */
#define FIRST_AND_LAST VGG "--images 60 --keep 0.42 --repair off --exclude conv2*,conv3* "

static void few_rows_take_the_ridge_of_images_held_out(void) {
  cJSON *given = NULL, *few = NULL;
  prune_both(FIRST_AND_LAST, &given, &few);
  if (test_rank() != 0) return;
  CU_ASSERT_EQUAL(number_of(few, 0, "ridge"), 1e-6);
  CU_ASSERT_EQUAL(number_of(few, 0, "held_out_error"), number_of(given, 0, "held_out_error"));
  CU_ASSERT_EQUAL(number_of(given, 1, "ridge"), 1e-6);
  CU_ASSERT_TRUE(number_of(few, 1, "ridge") > 1e-6);
  CU_ASSERT_TRUE(number_of(few, 1, "held_out_error") < 0.5 * number_of(given, 1, "held_out_error"));
  cJSON_Delete(given);
  cJSON_Delete(few);
}

/* The first dense layer, 54 rows for 1152 columns, which is solved from its rows where it does not look. */
#define FIRST_DENSE VGG "--images 60 --keep 0.5 --repair off --exclude conv1*,conv2*,conv3_1* "

static void very_few_rows_do_so_too(void) {
  cJSON *given = NULL, *few = NULL;
  prune_both(FIRST_DENSE, &given, &few);
  if (test_rank() != 0) return;
  const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(given, "layers"), 0);
  CU_ASSERT_STRING_EQUAL(cJSON_GetObjectItem(first, "moments")->valuestring, "rows");
  CU_ASSERT_TRUE(number_of(few, 0, "ridge") > 1e-6);
  CU_ASSERT_TRUE(number_of(few, 0, "held_out_error") < 0.5 * number_of(given, 0, "held_out_error"));
  cJSON_Delete(given);
  cJSON_Delete(few);
}

static void the_ridge_follows_the_images_held_out(void) {
  CHECK_OK(run("prune " LAST_LAYERS "--ridge 1e-6 -o @x.h5 --report @standard.json"));
  CHECK_OK(run("prune " LAST_LAYERS "--ridge auto -o @x.h5 --report @auto.json"));
  run_alone("prune " LAST_LAYERS "--ridge auto -o @x.h5 --report @auto-alone.json");
  if (test_rank() != 0) return;
  int trained = 0, none = 0, alone = 0;
  cJSON *a = read_report("standard.json"), *b = read_report("auto.json"), *c = read_report("auto-alone.json");
  const double standard = sum_held_out(a, &none), better = sum_held_out(b, &trained);
  CU_ASSERT_TRUE(better < 0.95 * standard);
  CU_ASSERT_EQUAL(none, 0);
  CU_ASSERT_TRUE(trained > 0);
  CU_ASSERT_EQUAL(better, sum_held_out(c, &alone));
  CU_ASSERT_EQUAL(trained, alone);
  CU_ASSERT_TRUE(cJSON_GetArraySize(cJSON_GetObjectItem(a, "few_samples")) > 0);
  cJSON_Delete(a);
  cJSON_Delete(b);
  cJSON_Delete(c);
}

const test_case test_cases[] = {
    {"stats do not depend on the ranks", stats_do_not_depend_on_the_ranks},
    {"the file tells where it comes from", the_file_tells_where_it_comes_from},
    {"halves merge to the whole", halves_merge_to_the_whole},
    {"what does not belong together is not merged", what_does_not_belong_together_is_not_merged},
    {"a prune from statistics needs no images", a_prune_from_statistics_needs_no_images},
    {"stored rows give the same moments", stored_rows_give_the_same_moments},
    {"rows tell where they come from", rows_tell_where_they_come_from},
    {"a prune stores what it used", a_prune_stores_what_it_used},
    {"files that are wrong are refused", files_that_are_wrong_are_refused},
    {"a pull towards the solution changes nothing", a_pull_towards_the_solution_changes_nothing},
    {"few rows take the ridge of images held out", few_rows_take_the_ridge_of_images_held_out},
    {"very few rows do so, too", very_few_rows_do_so_too},
    {"the ridge follows the images held out", the_ridge_follows_the_images_held_out},
    {NULL, NULL},
};
