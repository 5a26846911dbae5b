/* views: images flipped, shifted and mixed, what networks make of them, and intervals of means over images. */
#include <hdf5.h>
#include <unistd.h>

#include "base/bootstrap.h"
#include "exec/evaluate.h"
#include "exec/view_judge.h"
#include "harness.h"
#include "reap/dataset.h"
#include "small_networks.h"

const char *const test_suite_name = "views";

enum { N = 30, C = 2, H = 9, W = 17, SIZE = C * H * W, CLASSES = 3 };

static float images[N][C][H][W];

/* Images of which no two pixels are alike, as a data set; each rank has a file of its own. */
static reap_dataset *make_images(bool labels) {
  const hsize_t dims[] = {N, C, H, W}, count[] = {N};
  int32_t all[N];
  reap_dataset *out = NULL;
  reap_random random = reap_random_init(3, 1, 4);
  for (int i = 0; i < N * SIZE; i++) (&images[0][0][0][0])[i] = (float)reap_random_normal(&random);
  for (int i = 0; i < N; i++) all[i] = i % CLASSES;
  const char *path = test_own_path("views.h5");
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t space = H5Screate_simple(4, dims, NULL), line = H5Screate_simple(1, count, NULL);
  hid_t data = H5Dcreate2(file, "images", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, images);
  hid_t text = H5Tcopy(H5T_C_S1), one = H5Screate(H5S_SCALAR);
  H5Tset_size(text, 4);
  H5Tset_strpad(text, H5T_STR_NULLPAD);
  hid_t layout = H5Acreate2(data, "layout", text, one, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(layout, text, "NCHW");
  H5Aclose(layout);
  H5Sclose(one);
  H5Tclose(text);
  H5Dclose(data);
  if (labels) {
    data = H5Dcreate2(file, "labels", H5T_STD_I32LE, line, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(data, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, all);
    H5Dclose(data);
  }
  H5Sclose(space);
  H5Sclose(line);
  H5Fclose(file);
  CHECK_OK(reap_dataset_open(path, &out));
  unlink(path);
  return out;
}

/* Half the pixels, and scores of their means. */
static reap_graph *make_network(const char *name, const char *output) {
  reap_graph *g = net_begin();
  net_image(g, "x", C, H, W);
  net_step(g, "Relu", "y", "x");
  net_step(g, "GlobalAveragePool", "pool", "y");
  net_node(g, "Flatten", "flat", "pool", "flat", "axis=1");
  net_dense(g, name, "flat", C, CLASSES);
  net_finish(g, output ? output : name, 4);
  return g;
}

static const int64_t held_out[] = {2, 5, 9, 11, 12, 20, 29};
enum { HELD = sizeof held_out / sizeof *held_out };

static reap_views views_of(reap_dataset *data, uint64_t seed) {
  return (reap_views){data, held_out, reap_shard_make(HELD, 4, test_rank(), test_ranks()), seed};
}

/* Rows of every image of this rank into out[HELD, size]; zeros for others. */
static void run_view(const reap_graph *g, const reap_views *views, unsigned view, int64_t size, float *out) {
  reap_view_runner *runner = NULL;
  const float *rows = NULL;
  memset(out, 0, (size_t)(HELD * size) * sizeof *out);
  CHECK_OK(reap_view_runner_create(views, g, 1, g->outputs, REAP_BACKEND_AUTO, &runner, &rows));
  for (int64_t b = views->shard.first; b < views->shard.last; b++) {
    int64_t first, count;
    CHECK_OK(reap_view_runner_run(runner, view, b, &first, &count));
    memcpy(out + first * size, rows, (size_t)(count * size) * sizeof *out);
  }
  reap_view_runner_destroy(&runner);
}

static bool is_own(const reap_views *v, int64_t row) { return row / 4 >= v->shard.first && row / 4 < v->shard.last; }

static double relu(double x) { return x > 0 ? x : 0; }

static int inside(int at, int length) { return at < 0 ? 0 : at >= length ? length - 1 : at; }

/* Whether a seen image is the one moved by that much, the border continued. */
static bool is_moved(const float *seen, int64_t image, int down, int right, bool flip) {
  for (int c = 0; c < C; c++)
    for (int y = 0; y < H; y++)
      for (int x = 0; x < W; x++) {
        const int column = inside(x + right, W), row = inside(y + down, H);
        if ((double)seen[(c * H + y) * W + x] != relu((double)images[image][c][row][flip ? W - 1 - column : column]))
          return false;
      }
  return true;
}

static void images_are_flipped_and_shifted(void) {
  static float seen[HELD * SIZE], again[HELD * SIZE];
  reap_dataset *data = make_images(false);
  reap_graph *g = make_network("z", "y");
  const reap_views views = views_of(data, 5), other = views_of(data, 6);
  int moved = 0, most = 0;
  run_view(g, &views, REAP_VIEW_FLIPS, SIZE, seen);
  for (int i = 0; i < HELD; i++)
    CU_ASSERT_TRUE(!is_own(&views, i) || is_moved(seen + i * SIZE, held_out[i], 0, 0, true));
  for (int flip = 0; flip < 2; flip++) {
    run_view(g, &views, REAP_VIEW_SHIFTS | (flip ? REAP_VIEW_FLIPS : 0), SIZE, seen);
    for (int i = 0; i < HELD; i++) {
      int found = 0;
      for (int down = -1; down <= 1; down++)
        for (int right = -2; right <= 2; right++)
          if (is_own(&views, i) && is_moved(seen + i * SIZE, held_out[i], down, right, flip)) {
            found++;
            moved += down != 0 || right != 0;
          }
      CU_ASSERT_EQUAL(found, is_own(&views, i));
      most += found;
    }
  }
  CU_ASSERT_TRUE(most == 0 || moved > 0);
  run_view(g, &other, REAP_VIEW_SHIFTS | REAP_VIEW_FLIPS, SIZE, again);
  CU_ASSERT_TRUE(most == 0 || memcmp(seen, again, sizeof seen) != 0);
  reap_graph_destroy(&g);
  reap_dataset_close(&data);
}

static void images_are_mixed_with_the_next_one(void) {
  static float seen[HELD * SIZE];
  reap_dataset *data = make_images(false);
  reap_graph *g = make_network("z", "y");
  const reap_views views = views_of(data, 5);
  run_view(g, &views, REAP_VIEW_MIXES, SIZE, seen);
  for (int i = 0; i < HELD; i++) {
    const float *one = &images[held_out[i]][0][0][0], *next = &images[held_out[(i + 1) % HELD]][0][0][0];
    double worst = 0;
    for (int k = 0; k < SIZE; k++)
      worst = fmax(worst, fabs((double)seen[i * SIZE + k] - relu(0.8 * (double)one[k] + 0.2 * (double)next[k])));
    CU_ASSERT_TRUE(!is_own(&views, i) || worst < 1e-5);
  }
  reap_graph_destroy(&g);
  reap_dataset_close(&data);
}

/* ---------------------------------------------------------------- judging */

/* Outputs of one view over all ranks. */
static void all_outputs(const reap_graph *g, const reap_views *views, unsigned view, double *out) {
  float rows[HELD * CLASSES];
  run_view(g, views, view, CLASSES, rows);
  for (int i = 0; i < HELD * CLASSES; i++) out[i] = (double)rows[i];
  CHECK_OK(reap_comm_sum(test_comm(), out, HELD * CLASSES));
}

static int best(const double *z) { return z[0] >= z[1] ? (z[0] >= z[2] ? 0 : 2) : z[1] >= z[2] ? 1 : 2; }

static double divergence(const double *y, const double *z) {
  double p = 0, q = 0, sum = 0;
  for (int k = 0; k < CLASSES; k++) p += exp(y[k]), q += exp(z[k]);
  for (int k = 0; k < CLASSES; k++) sum += exp(y[k]) / p * (y[k] - log(p) - z[k] + log(q));
  return sum;
}

static void figures_are_means_over_views_and_images(void) {
  reap_dataset *data = make_images(true);
  reap_graph *a = make_network("z", NULL), *b = make_network("v", NULL);
  const reap_views views = views_of(data, 5);
  double kl = 0, same = 0, drop = 0, y[HELD * CLASSES], z[HELD * CLASSES], agreement[REAP_VIEW_KINDS];
  unsigned agreed = 0;
  reap_view_figures f;
  for (unsigned view = REAP_VIEW_FLIPS; view <= REAP_VIEW_MIXES; view *= 2) {
    if (view == REAP_VIEW_SHIFTS) continue;
    all_outputs(a, &views, view, y);
    all_outputs(b, &views, view, z);
    for (int i = 0; i < HELD; i++) {
      const int was = best(y + i * CLASSES), is = best(z + i * CLASSES), label = (int)held_out[i] % CLASSES;
      kl += divergence(y + i * CLASSES, z + i * CLASSES) / (2 * HELD);
      same += (was == is) / (2.0 * HELD);
      drop += ((was == label) - (is == label)) / (2.0 * HELD);
    }
  }
  CHECK_OK(reap_views_judge(test_comm(), a, b, &views, REAP_VIEW_FLIPS | REAP_VIEW_MIXES, REAP_BACKEND_AUTO,
                            REAP_MEASURE_LARGEST, &f));
  CU_ASSERT_EQUAL(f.images, HELD);
  CHECK_NEAR(f.kl.mean, kl, 1e-6);
  CHECK_NEAR(f.top1.mean, same, 1e-12);
  CU_ASSERT_TRUE(f.labelled);
  CHECK_NEAR(f.drop.mean, drop, 1e-12);
  CU_ASSERT_TRUE(kl > 0 && f.kl.low < kl && kl < f.kl.high);
  /* The means of pixels know no left and right; the mixture is another image. */
  CHECK_OK(reap_views_agreed(test_comm(), a, &views, REAP_VIEW_FLIPS, REAP_BACKEND_AUTO, agreement, &agreed));
  CU_ASSERT_EQUAL(agreed, REAP_VIEW_FLIPS);
  CHECK_NEAR(agreement[0], 1, 0);
  CU_ASSERT_TRUE(isnan(agreement[1]) && isnan(agreement[2]));
  reap_graph_destroy(&a);
  reap_graph_destroy(&b);
  reap_dataset_close(&data);
}

/* Labels that one network has right and the other has not, image by image. */
static void drops_are_paired(void) {
  reap_dataset *data = make_images(true);
  reap_graph *a = make_network("z", NULL), *b = make_network("v", NULL);
  const reap_shard shard = reap_shard_make(N, 4, test_rank(), test_ranks());
  double y[HELD * CLASSES], z[HELD * CLASSES];
  int lost = 0, gained = 0;
  reap_reference *kept = NULL;
  reap_evaluation e;
  for (int64_t first = 0; first < N; first += HELD) {
    int64_t indices[HELD];
    for (int i = 0; i < HELD; i++) indices[i] = first + i < N ? first + i : N - 1;
    const reap_views some = {data, indices, reap_shard_make(HELD, 4, test_rank(), test_ranks()), 0};
    all_outputs(a, &some, 0, y);
    all_outputs(b, &some, 0, z);
    for (int i = 0; i < HELD && first + i < N; i++) {
      const int label = (int)(first + i) % CLASSES, was = best(y + i * CLASSES), is = best(z + i * CLASSES);
      lost += was == label && is != label;
      gained += was != label && is == label;
    }
  }
  reap_evaluate_options options = {.keep = &kept};
  CHECK_OK(reap_evaluate_with(test_comm(), a, data, &shard, &options, &e));
  CU_ASSERT_EQUAL(e.lost + e.gained, 0);
  reap_evaluation_clear(&e);
  options = (reap_evaluate_options){.against = kept};
  CHECK_OK(reap_evaluate_with(test_comm(), b, data, &shard, &options, &e));
  CU_ASSERT_TRUE(lost > 0 && gained > 0);
  CU_ASSERT_EQUAL(e.lost, lost);
  CU_ASSERT_EQUAL(e.gained, gained);
  reap_evaluation_clear(&e);
  reap_reference_destroy(&kept);
  reap_graph_destroy(&a);
  reap_graph_destroy(&b);
  reap_dataset_close(&data);
}

/* Values, not scores: nothing to agree on. */
static void values_are_not_judged(void) {
  reap_dataset *data = make_images(false);
  reap_graph *g = make_network("z", "y");
  const reap_views views = views_of(data, 5);
  double agreement[REAP_VIEW_KINDS];
  unsigned agreed = 1;
  reap_view_figures f;
  CHECK_OK(reap_views_agreed(test_comm(), g, &views, REAP_VIEWS_ALL, REAP_BACKEND_AUTO, agreement, &agreed));
  CU_ASSERT_EQUAL(agreed, 0);
  CHECK_OK(reap_views_judge(test_comm(), g, g, &views, 0, REAP_BACKEND_AUTO, REAP_MEASURE_LARGEST, &f));
  CU_ASSERT_EQUAL(f.images, 0);
  reap_graph_destroy(&g);
  reap_dataset_close(&data);
}

/* ---------------------------------------------------------------- intervals */

/* Of a normal mean: 1.96 standard errors on either side. */
static void intervals_are_those_of_a_normal_mean(void) {
  enum { COUNT = 400 };
  double values[COUNT], mean = 0, square = 0;
  reap_interval i, again;
  reap_random random = reap_random_init(7, 7, 7);
  for (int k = 0; k < COUNT; k++) mean += (values[k] = 3 + 2 * reap_random_normal(&random)) / COUNT;
  for (int k = 0; k < COUNT; k++) square += (values[k] - mean) * (values[k] - mean) / COUNT;
  const double error = sqrt(square / COUNT);
  CHECK_OK(reap_bootstrap(COUNT, values, &i));
  CHECK_OK(reap_bootstrap(COUNT, values, &again));
  CU_ASSERT_EQUAL(memcmp(&i, &again, sizeof i), 0);
  CHECK_NEAR(i.mean, mean, 1e-12);
  CHECK_NEAR(i.low, mean - 1.96 * error, 0.15 * error);
  CHECK_NEAR(i.high, mean + 1.96 * error, 0.15 * error);
}

static void shares_without_exception_have_a_width(void) {
  double values[100];
  reap_interval i;
  for (int k = 0; k < 100; k++) values[k] = 1;
  CHECK_OK(reap_bootstrap_share(100, values, 0, &i));
  CU_ASSERT_TRUE(i.mean == 1 && i.high == 1);
  CHECK_NEAR(pow(i.low, 100), 0.025, 1e-9); /* 100 of 100 in one case of forty */
  values[3] = 0;
  CHECK_OK(reap_bootstrap_share(100, values, 0, &i));
  CHECK_NEAR(i.mean, 0.99, 1e-12);
  CU_ASSERT_TRUE(i.low < 0.98 && i.high == 1);
  CHECK_OK(reap_bootstrap(1, values, &i));
  CU_ASSERT_TRUE(i.low == 1 && i.high == 1);
}

const test_case test_cases[] = {{"images are flipped and shifted", images_are_flipped_and_shifted},
                                {"images are mixed with the next one", images_are_mixed_with_the_next_one},
                                {"figures are means over views and images", figures_are_means_over_views_and_images},
                                {"drops are paired", drops_are_paired},
                                {"values are not judged", values_are_not_judged},
                                {"intervals are those of a normal mean", intervals_are_those_of_a_normal_mean},
                                {"shares without exception have a width", shares_without_exception_have_a_width},
                                {NULL, NULL}};
