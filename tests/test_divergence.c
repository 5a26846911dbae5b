/* divergence: the distance of two networks' outputs, row by row and over a data set on any number of ranks. */
#include <hdf5.h>
#include <math.h>
#include <string.h>

#include "exec/divergence.h"
#include "exec/evaluate.h"
#include "exec/output_set.h"
#include "model/groups/surgery.h"
#include "reap/network.h"
#include "small_networks.h"

const char *const test_suite_name = "divergence";

/* ------------------------------------------------------------------ rows */

/* As the textbook has it, in long double. */
static double textbook(const float *x, const float *y, int classes) {
  long double p = 0, q = 0, sum = 0;
  for (int k = 0; k < classes; k++) {
    p += expl(x[k]);
    q += expl(y[k]);
  }
  for (int k = 0; k < classes; k++) sum += expl(x[k]) / p * (x[k] - logl(p) - y[k] + logl(q));
  return (double)sum;
}

static double one_row(reap_output_kind a, const float *x, reap_output_kind b, const float *y, int64_t classes) {
  reap_divergence d = {0};
  reap_divergence_add(a, x, b, y, 1, classes, &d);
  return d.kl;
}

static void divergence_is_that_of_the_textbook(void) {
  reap_random random = reap_random_init(3, 0, 0);
  float x[7], y[7], p[7], l[7];
  for (int i = 0; i < 200; i++) {
    const double spread = i % 4 == 3 ? 1e-3 : 1 + i % 4, size = 6;
    double sum = 0;
    for (int k = 0; k < 7; k++) x[k] = (float)(size * reap_random_normal(&random));
    for (int k = 0; k < 7; k++) y[k] = x[k] + (float)(spread * reap_random_normal(&random));
    for (int k = 0; k < 7; k++) sum += exp(y[k]);
    for (int k = 0; k < 7; k++) p[k] = (float)(exp(y[k]) / sum);
    for (int k = 0; k < 7; k++) l[k] = (float)(y[k] - log(sum));
    const double wanted = textbook(x, y, 7);
    CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_LOGITS, y, 7), wanted, 1e-12 * wanted + 1e-17);
    CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_PROBABILITIES, p, 7), wanted, 1e-6);
    CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_LOG_PROBABILITIES, l, 7), wanted, 1e-5);
  }
}

static void small_and_large_divergences_are_exact(void) {
  const float x[] = {1, 2, 3}, shifted[] = {11, 12, 13}, nearly[] = {1, 2, nextafterf(3, 4)};
  const float sure[] = {0, 200, 0}, other[] = {200, 0, 0}, zeros[] = {0, 1, 0}, never[] = {1, 0, 0};
  CU_ASSERT_EQUAL(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_LOGITS, x, 3), 0);
  CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_LOGITS, shifted, 3), 0, 1e-30);
  const double step = ldexp(1, -22), p = exp(3) / (exp(1) + exp(2) + exp(3));
  CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, x, REAP_OUTPUT_LOGITS, nearly, 3) / (p * (1 - p) * step * step / 2), 1, 1e-5);
  CHECK_NEAR(one_row(REAP_OUTPUT_LOGITS, sure, REAP_OUTPUT_LOGITS, other, 3), 200, 1e-12);
  CHECK_NEAR(one_row(REAP_OUTPUT_PROBABILITIES, zeros, REAP_OUTPUT_PROBABILITIES, never, 3), -log(1e-38), 1e-9);
  CU_ASSERT_TRUE(isnan(one_row(REAP_OUTPUT_OTHER, x, REAP_OUTPUT_LOGITS, x, 3)));
}

static void squared_errors_are_relative_to_the_original(void) {
  const float x[] = {1, 2, 2, 4}, y[] = {1, 2, 3, 2};
  reap_divergence d = {0};
  reap_divergence_add(REAP_OUTPUT_OTHER, x, REAP_OUTPUT_OTHER, y, 2, 2, &d);
  CU_ASSERT_EQUAL(d.error, 5);
  CU_ASSERT_EQUAL(d.energy, 25);
  CU_ASSERT_EQUAL(reap_divergence_relative_error(&d), 0.2);
  d = (reap_divergence){0};
  CU_ASSERT_EQUAL(reap_divergence_relative_error(&d), 0);
}

static void outputs_are_told_apart(void) {
  static const char *const ops[] = {"Softmax", "LogSoftmax", "Relu", NULL};
  static const reap_output_kind kinds[] = {REAP_OUTPUT_PROBABILITIES, REAP_OUTPUT_LOG_PROBABILITIES,
                                           REAP_OUTPUT_LOGITS};
  for (int i = 0; ops[i]; i++) {
    reap_graph *g = net_begin();
    net_image(g, "x", 3, 4, 4);
    net_step(g, "GlobalAveragePool", "pool", "x");
    net_step(g, "Flatten", "flat", "pool");
    net_dense(g, "d", "flat", 3, 5);
    net_step(g, ops[i], "y", "d");
    net_finish(g, "y", 2);
    CU_ASSERT_EQUAL(reap_output_kind_of(g, g->outputs[0]), kinds[i]);
    reap_graph_destroy(&g);
  }
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_conv3(g, "a", "x", 3, 5);
  net_finish(g, "a", 2);
  CU_ASSERT_EQUAL(reap_output_kind_of(g, g->outputs[0]), REAP_OUTPUT_OTHER);
  reap_graph_destroy(&g);
}

/* ------------------------------------------------------------------ data sets */

enum { IMAGES = 150, CLASSES = 10 };

typedef struct pair {
  reap_network network;
  reap_graph *cut;
  reap_dataset *data;
} pair;

/* A network and itself with every second channel of its first group gone. */
static void make_pair(const reap_comm *comm, pair *p) {
  reap_groups *groups = NULL;
  int64_t kept[512];
  memset(p, 0, sizeof *p);
  CHECK_OK(reap_network_load(comm, test_source_path("datasets/fashion/resnet-fashion.onnx"), &p->network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(p->network.graph);
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-test.h5"), &p->data));
  CHECK_OK(reap_graph_clone(p->network.graph, &p->cut));
  CHECK_OK(reap_groups_find(p->cut, &groups));
  for (int g = 0; g < reap_groups_count(groups); g++) {
    if (!reap_groups_at(groups, g)->prunable) continue;
    const int64_t half = reap_groups_at(groups, g)->units / 2;
    for (int64_t k = 0; k < half; k++) kept[k] = 2 * k;
    CHECK_OK(reap_surgery_cut(p->cut, groups, g, half, kept));
    break;
  }
  reap_groups_destroy(&groups);
}

static void clear_pair(pair *p) {
  reap_dataset_close(&p->data);
  reap_graph_destroy(&p->cut);
  reap_network_clear(&p->network);
}

/* Evaluates the cut network against the whole one; outputs of both into files where names are given. */
static void compare(const reap_comm *comm, pair *p, const char *const names[2], reap_evaluation *out) {
  const reap_shard shard = reap_shard_make(IMAGES, p->network.graph->batch, reap_comm_rank(comm), reap_comm_size(comm));
  const int64_t classes = CLASSES;
  const reap_outputs_shape shape = {NULL, 1, &classes};
  reap_reference *reference = NULL;
  for (int i = 0; i < 2; i++) {
    reap_outputs_file *file = NULL;
    if (names) CHECK_OK(reap_outputs_file_create(comm, names[i], IMAGES, 1, &shape, &file));
    const reap_evaluate_options options = {.backend = REAP_BACKEND_AUTO,
                                           .outputs = file,
                                           .keep = i == 0 ? &reference : NULL,
                                           .against = i == 0 ? NULL : reference};
    CHECK_OK(reap_evaluate_with(comm, i == 0 ? p->network.graph : p->cut, p->data, &shard, &options, out));
    CU_ASSERT_EQUAL(out->compared, i == 1);
    CU_ASSERT_EQUAL(out->n_outputs, i);
    if (i == 1) CU_ASSERT_EQUAL(out->moved, out->kl);
    if (file) CHECK_OK(reap_outputs_file_commit(&file));
  }
  reap_reference_destroy(&reference);
}

static void read_outputs(const char *path, float *outputs) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, "outputs", H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(data >= 0);
  CU_ASSERT_TRUE(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, outputs) >= 0);
  H5Dclose(data);
  H5Fclose(file);
}

static void evaluation_compares_what_it_stores(void) {
  static float outputs[2][IMAGES * CLASSES];
  char paths[2][1024];
  const char *const names[] = {paths[0], paths[1]};
  pair p;
  reap_evaluation e = {0};
  snprintf(paths[0], sizeof paths[0], "%s", test_scratch_path("whole.h5"));
  snprintf(paths[1], sizeof paths[1], "%s", test_scratch_path("cut.h5"));
  make_pair(test_comm(), &p);
  compare(test_comm(), &p, names, &e);
  reap_comm_barrier(test_comm());
  for (int i = 0; i < 2; i++) read_outputs(names[i], outputs[i]);
  double kl = 0, error = 0, energy = 0;
  for (int i = 0; i < IMAGES; i++) kl += textbook(outputs[0] + i * CLASSES, outputs[1] + i * CLASSES, CLASSES) / IMAGES;
  for (int i = 0; i < IMAGES * CLASSES; i++) {
    error += pow((double)outputs[1][i] - (double)outputs[0][i], 2);
    energy += pow((double)outputs[0][i], 2);
  }
  CU_ASSERT_TRUE(e.kl > 1e-3);
  CHECK_NEAR(e.kl, kl, 1e-12);
  CHECK_NEAR(e.output_error, error / energy, 1e-12);
  reap_evaluation_clear(&e);
  clear_pair(&p);
}

static void comparison_does_not_depend_on_the_ranks(void) {
  pair p;
  reap_comm *one = NULL;
  reap_evaluation together = {0}, alone = {0};
  make_pair(test_comm(), &p);
  compare(test_comm(), &p, NULL, &together);
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &one));
  compare(one, &p, NULL, &alone);
  CU_ASSERT_EQUAL(together.kl, alone.kl);
  CU_ASSERT_EQUAL(together.output_error, alone.output_error);
  CU_ASSERT_EQUAL(together.loss, alone.loss);
  reap_evaluation_clear(&together);
  reap_evaluation_clear(&alone);
  reap_comm_destroy(&one);
  clear_pair(&p);
}

/* Two heads, one of them far from zero; weights by the names of the layers. */
static reap_graph *two_heads(const char *conv, const char *dense) {
  char sum[64];
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  net_node(g, "MaxPool", "small", "x", "small", "kernel_shape=[7,7] strides=[7,7]");
  net_conv3(g, conv, "small", 1, 3);
  net_step(g, "GlobalAveragePool", "pool", conv);
  net_step(g, "Flatten", "flat", "pool");
  net_dense(g, dense, "flat", 3, 12);
  reap_tensor *far = net_weights(g, "far", "3,1,1");
  for (int i = 0; i < 3; i++) far->f32[i] = 10;
  snprintf(sum, sizeof sum, "%s far", conv);
  net_node(g, "Add", "map", sum, "map", NULL);
  CHECK_OK(reap_graph_add_output(g, "map"));
  net_finish(g, dense, 7);
  return g;
}

/* Evaluates one network against the other on `comm`; the first one's outputs are kept by all ranks and dealt anew. */
static void compare_heads(const reap_comm *comm, reap_dataset *data, const char *path, reap_measure measure,
                          reap_evaluation *out) {
  reap_graph *graphs[] = {two_heads("a", "first"), two_heads("b", "second")};
  const reap_shard all = reap_shard_make(IMAGES, 7, test_rank(), test_ranks());
  const reap_shard shard = reap_shard_make(IMAGES, 7, reap_comm_rank(comm), reap_comm_size(comm));
  reap_reference *reference = NULL;
  reap_evaluation first;
  reap_outputs_file *file = NULL;
  reap_evaluate_options options = {.backend = REAP_BACKEND_AUTO, .keep = &reference, .measure = measure};
  CHECK_OK(reap_evaluate_create_file(test_comm(), graphs[0], path, IMAGES, &file));
  options.outputs = file;
  CHECK_OK(reap_evaluate_with(test_comm(), graphs[0], data, &all, &options, &first));
  CHECK_OK(reap_outputs_file_commit(&file));
  CHECK_OK(reap_reference_redeal(test_comm(), &all, &shard, &reference));
  options = (reap_evaluate_options){.backend = REAP_BACKEND_AUTO, .against = reference, .measure = measure};
  CHECK_OK(reap_evaluate_with(comm, graphs[1], data, &shard, &options, out));
  reap_evaluation_clear(&first);
  reap_reference_destroy(&reference);
  for (int i = 0; i < 2; i++) reap_graph_destroy(&graphs[i]);
}

enum { MAP = 48, SCORES = 12 };

static void read_named(const char *path, const char *name, float *rows) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, name, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(data >= 0);
  CU_ASSERT_TRUE(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
  H5Dclose(data);
  H5Fclose(file);
}

/* sum |y|^2 over sum |y - mean y|^2. */
static double energy_over_spread(const float *y) {
  double energy = 0, spread = 0;
  for (int j = 0; j < MAP; j++) {
    double mean = 0;
    for (int i = 0; i < IMAGES; i++) mean += (double)y[i * MAP + j] / IMAGES;
    for (int i = 0; i < IMAGES; i++) {
      energy += pow((double)y[i * MAP + j], 2);
      spread += pow((double)y[i * MAP + j] - mean, 2);
    }
  }
  return energy / spread;
}

/* Mean over images of KL(p || mean p). */
static double information(const float *z) {
  static double p[IMAGES][SCORES];
  double mean[SCORES] = {0}, kl = 0;
  for (int i = 0; i < IMAGES; i++) {
    double sum = 0;
    for (int k = 0; k < SCORES; k++) sum += p[i][k] = exp((double)z[i * SCORES + k]);
    for (int k = 0; k < SCORES; k++) p[i][k] /= sum;
    for (int k = 0; k < SCORES; k++) mean[k] += p[i][k] / IMAGES;
  }
  for (int i = 0; i < IMAGES; i++)
    for (int k = 0; k < SCORES; k++) kl += p[i][k] * log(p[i][k] / mean[k]) / IMAGES;
  return kl;
}

static void check_same_figures(const reap_evaluation *a, const reap_evaluation *b) {
  CU_ASSERT_EQUAL_FATAL(a->n_outputs, b->n_outputs);
  for (int k = 0; k < a->n_outputs; k++) {
    CU_ASSERT_EQUAL(a->outputs[k].share, b->outputs[k].share);
    CU_ASSERT_EQUAL(a->outputs[k].output_error, b->outputs[k].output_error);
  }
  CU_ASSERT_TRUE(a->moved == b->moved && a->kl == b->kl && a->output_error == b->output_error && a->top1 == b->top1);
}

/* Every output's figures against what is stored; together, and by each rank alone. */
static void several_outputs_are_compared_one_by_one(void) {
  static float y[IMAGES * MAP], z[IMAGES * SCORES];
  reap_evaluation together, alone, summed;
  reap_dataset *data = NULL;
  reap_comm *one = NULL;
  char path[1024];
  snprintf(path, sizeof path, "%s", test_scratch_path("heads.h5"));
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &one));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-test.h5"), &data));
  compare_heads(test_comm(), data, path, REAP_MEASURE_LARGEST, &together);
  compare_heads(one, data, path, REAP_MEASURE_LARGEST, &alone);
  compare_heads(test_comm(), data, path, REAP_MEASURE_SUM, &summed);
  check_same_figures(&together, &alone);
  CU_ASSERT_EQUAL_FATAL(together.n_outputs, 2);
  const reap_output_figure *map = &together.outputs[0], *scores = &together.outputs[1];
  read_named(path, "outputs", y);
  read_named(path, "outputs_1", z);
  CU_ASSERT_TRUE(map->kind == REAP_OUTPUT_OTHER && isnan(map->kl) && map->output_error > 0);
  CHECK_NEAR(map->share, map->output_error * energy_over_spread(y), 1e-6 * map->share);
  CU_ASSERT_TRUE(map->share > 10 * map->output_error); /* far from zero */
  CU_ASSERT_TRUE(scores->kind == REAP_OUTPUT_LOGITS && scores->kl > 0);
  CHECK_NEAR(scores->share, scores->kl / information(z), 1e-6 * scores->share);
  CU_ASSERT_EQUAL(together.moved, fmax(map->share, scores->share));
  CU_ASSERT_EQUAL(summed.moved, map->share + scores->share);
  CU_ASSERT_EQUAL(together.kl, scores->kl);
  CU_ASSERT_EQUAL(together.output_error, fmax(map->output_error, scores->output_error));
  CU_ASSERT_TRUE(together.classified && together.judged != NULL);
  reap_evaluation_clear(&together);
  reap_evaluation_clear(&alone);
  reap_evaluation_clear(&summed);
  reap_dataset_close(&data);
  reap_comm_destroy(&one);
}

/* Kept by all ranks, dealt anew to each rank alone. */
static void kept_outputs_serve_smaller_groups(void) {
  pair p;
  reap_comm *one = NULL;
  reap_reference *reference = NULL;
  reap_evaluation together = {0}, alone = {0};
  make_pair(test_comm(), &p);
  compare(test_comm(), &p, NULL, &together);
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &one));
  const int64_t batch = p.network.graph->batch;
  const reap_shard from = reap_shard_make(IMAGES, batch, test_rank(), test_ranks()),
                   to = reap_shard_make(IMAGES, batch, 0, 1);
  reap_evaluate_options options = {.backend = REAP_BACKEND_AUTO, .keep = &reference};
  CHECK_OK(reap_evaluate_with(test_comm(), p.network.graph, p.data, &from, &options, &alone));
  CHECK_OK(reap_reference_redeal(test_comm(), &from, &to, &reference));
  options = (reap_evaluate_options){.backend = REAP_BACKEND_AUTO, .against = reference};
  CHECK_OK(reap_evaluate_with(one, p.cut, p.data, &to, &options, &alone));
  CU_ASSERT_EQUAL(together.kl, alone.kl);
  CU_ASSERT_EQUAL(together.output_error, alone.output_error);
  reap_evaluation_clear(&together);
  reap_evaluation_clear(&alone);
  reap_reference_destroy(&reference);
  reap_comm_destroy(&one);
  clear_pair(&p);
}

static void outputs_of_another_shape_are_refused(void) {
  pair p;
  reap_reference *reference = NULL;
  reap_evaluation e;
  reap_graph *g = net_begin();
  make_pair(test_comm(), &p);
  const int64_t batch = p.network.graph->batch;
  const reap_shard shard = reap_shard_make(IMAGES, batch, test_rank(), test_ranks());
  net_image(g, "x", 1, 28, 28);
  net_step(g, "GlobalAveragePool", "pool", "x");
  net_step(g, "Flatten", "flat", "pool");
  net_dense(g, "d", "flat", 1, CLASSES + 1);
  net_finish(g, "d", batch);
  reap_evaluate_options options = {.backend = REAP_BACKEND_AUTO, .keep = &reference};
  CHECK_OK(reap_evaluate_with(test_comm(), g, p.data, &shard, &options, &e));
  options = (reap_evaluate_options){.backend = REAP_BACKEND_AUTO, .against = reference};
  CHECK_FAILS(reap_evaluate_with(test_comm(), p.network.graph, p.data, &shard, &options, &e), REAP_ERR_INPUT,
              "11 and 10");
  reap_reference_destroy(&reference);
  reap_graph_destroy(&g);
  clear_pair(&p);
}

const test_case test_cases[] = {
    {"divergence is that of the textbook", divergence_is_that_of_the_textbook},
    {"small and large divergences are exact", small_and_large_divergences_are_exact},
    {"squared errors are relative to the original", squared_errors_are_relative_to_the_original},
    {"outputs are told apart", outputs_are_told_apart},
    {"evaluation compares what it stores", evaluation_compares_what_it_stores},
    {"comparison does not depend on the ranks", comparison_does_not_depend_on_the_ranks},
    {"several outputs are compared one by one", several_outputs_are_compared_one_by_one},
    {"kept outputs serve smaller groups", kept_outputs_serve_smaller_groups},
    {"outputs of another shape are refused", outputs_of_another_shape_are_refused},
    {NULL, NULL}};
