/* divergence: the distance of two networks' outputs, row by row and over a data set on any number of ranks. */
#include <hdf5.h>
#include <math.h>
#include <string.h>

#include "reap/divergence.h"
#include "reap/evaluate.h"
#include "reap/network.h"
#include "reap/output_set.h"
#include "reap/surgery.h"
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
  static const reap_output_kind kinds[] = {REAP_OUTPUT_PROBABILITIES, REAP_OUTPUT_LOG_PROBABILITIES, REAP_OUTPUT_LOGITS};
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
    const int64_t half = reap_groups_at(groups, g)->channels / 2;
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
    const reap_evaluate_options options = {.backend = REAP_BACKEND_AUTO, .outputs = file,
                                           .keep = i == 0 ? &reference : NULL, .against = i == 0 ? NULL : reference};
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
  const reap_shard from = reap_shard_make(IMAGES, batch, test_rank(), test_ranks()), to = reap_shard_make(IMAGES, batch, 0, 1);
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
  CHECK_FAILS(reap_evaluate_with(test_comm(), p.network.graph, p.data, &shard, &options, &e), REAP_ERR_INPUT, "11 and 10");
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
    {"kept outputs serve smaller groups", kept_outputs_serve_smaller_groups},
    {"outputs of another shape are refused", outputs_of_another_shape_are_refused},
    {NULL, NULL}};
