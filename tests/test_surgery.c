/* surgery: what is cut computes what the masked original computes, and what is written computes what was in memory. */
#include "cut_networks.h"

#include "io/model_file.h"
#include "model/edits.h"
#include "onnx_builder.h"
#include "reap/network.h"

const char *const test_suite_name = "surgery";

static bool onednn_built(void) { return strcmp(reap_backend_name(REAP_BACKEND_AUTO), "plain") != 0; }

/* ---------------------------------------------------------------- the reference networks */

typedef void (*file_test)(const char *name, const char *path);

static void each_reference(file_test run) {
  char name[128], relative[256];
  FILE *list = fopen(test_source_path("tests/references/kernels/cases.txt"), "r");
  CU_ASSERT_PTR_NOT_NULL_FATAL(list);
  while (fscanf(list, "%127s", name) == 1) {
    snprintf(relative, sizeof relative, "tests/references/kernels/%s.onnx", name);
    unsigned before = CU_get_number_of_failures();
    run(name, test_source_path(relative));
    if (CU_get_number_of_failures() != before) fprintf(stderr, "... in reference %s\n", name);
  }
  fclose(list);
}

static void each_trained(file_test run) {
  run("vgg-fashion", test_source_path("datasets/fashion/vgg-fashion.onnx"));
  run("resnet-fashion", test_source_path("datasets/fashion/resnet-fashion.onnx"));
}

static reap_network load(const char *path) {
  reap_network network = {0};
  CHECK_OK(reap_network_load(test_comm(), path, &network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(network.graph);
  return network;
}

/* ---------------------------------------------------------------- cut against masked */

static int networks_cut;

static void compare_cut_and_masked(const char *name, const char *path) {
  reap_network network = load(path);
  const uint64_t digest = constants_digest(network.graph);
  for (uint64_t seed = 1; seed <= 2; seed++) {
    reap_graph *masked = clone(network.graph), *cut = clone(network.graph);
    if (cut_all(cut, masked, seed) > 0) {
      networks_cut += seed == 1;
      CU_ASSERT_TRUE(reap_graph_flops(cut) < reap_graph_flops(network.graph));
      CU_ASSERT_TRUE(reap_graph_params(cut) < reap_graph_params(network.graph));
      double plain = net_difference(masked, cut, REAP_BACKEND_PLAIN);
      double fast = onednn_built() ? net_difference(masked, cut, REAP_BACKEND_ONEDNN) : 0;
      if (plain > 1e-5 || fast > 1e-5)
        fprintf(stderr, "%s: cut and masked differ by %.3g and %.3g\n", name, plain, fast);
      CU_ASSERT_TRUE(plain <= 1e-5);
      CU_ASSERT_TRUE(fast <= 1e-5);
      CU_ASSERT_TRUE(net_difference(network.graph, masked, REAP_BACKEND_PLAIN) > 1e-4); /* so that it says something */
      CU_ASSERT_EQUAL(constants_digest(network.graph), digest);
    }
    reap_graph_destroy(&masked);
    reap_graph_destroy(&cut);
  }
  reap_network_clear(&network);
}

static void cut_references_compute_the_masked(void) {
  networks_cut = 0;
  each_reference(compare_cut_and_masked);
  if (networks_cut < 20) fprintf(stderr, "only %d references were cut\n", networks_cut);
  CU_ASSERT_TRUE(networks_cut >= 20);
}

static void cut_trained_networks_compute_the_masked(void) {
  networks_cut = 0;
  each_trained(compare_cut_and_masked);
  CU_ASSERT_EQUAL(networks_cut, 2);
}

/* ---------------------------------------------------------------- new weights, and files */

static bool has_plain_weights(const reap_node *node) { return node->linear && reap_node_int(node, "group", 1) == 1; }

/* New random weights and biases for every linear layer, and a look at whether they arrived. */
static int set_all(reap_graph *g, uint64_t seed) {
  reap_random random = reap_random_init(seed, 1, 0);
  int count = 0;
  for (int i = 0; i < g->n_nodes; i++) {
    if (!has_plain_weights(g->nodes[i])) continue;
    const reap_tensor *w = reap_node_constant(g, g->nodes[i], 1);
    const int64_t m = w->dims[0], n = w->count / m;
    double *weights = NULL, *bias = NULL, *back = NULL, *bias_back = NULL;
    CHECK_OK(reap_alloc(&weights, m * n, sizeof *weights));
    CHECK_OK(reap_alloc(&back, m * n, sizeof *back));
    CHECK_OK(reap_alloc(&bias, m, sizeof *bias));
    CHECK_OK(reap_alloc(&bias_back, m, sizeof *bias_back));
    for (int64_t k = 0; k < m * n; k++) weights[k] = reap_random_normal(&random) / sqrt((double)n);
    for (int64_t k = 0; k < m; k++) bias[k] = reap_random_normal(&random);
    CHECK_OK(reap_surgery_set_weights(g, i, weights, bias));
    reap_surgery_get_weights(g, i, back, bias_back);
    const reap_linear *linear = g->nodes[i]->linear;
    bool halves =
        linear->precision != REAP_FLOAT32 || linear->bias_precision != REAP_FLOAT32; /* rounded to 11 or 8 bits */
    CHECK_NEAR(test_max_difference(weights, back, m * n), 0, halves ? 0.02 : 1e-6);
    CHECK_NEAR(test_max_difference(bias, bias_back, m), 0, halves ? 0.02 : 1e-5);
    CU_ASSERT_TRUE(g->nodes[i]->linear->bias_present || g->nodes[i]->linear->norm);
    reap_free(&weights);
    reap_free(&back);
    reap_free(&bias);
    reap_free(&bias_back);
    count++;
  }
  return count;
}

/* The written network against the one in memory: structure, counts, outputs. */
static void compare_read_back(const char *name, const reap_graph *g, const char *path) {
  reap_source *source = NULL;
  reap_graph *again = NULL;
  CHECK_OK(reap_source_load(path, &source));
  CU_ASSERT_PTR_NOT_NULL_FATAL(source);
  CHECK_OK(reap_source_graph(source, &again));
  CHECK_OK(reap_graph_prepare(again, g->batch));
  CU_ASSERT_EQUAL(reap_graph_flops(again), reap_graph_flops(g));
  CU_ASSERT_EQUAL(reap_graph_params(again), reap_graph_params(g));
  double difference = net_difference(g, again, REAP_BACKEND_PLAIN);
  if (!(difference <= 1e-6)) fprintf(stderr, "%s: %s differs by %.3g\n", name, path, difference);
  CU_ASSERT_TRUE(difference <= 1e-6);
  reap_graph_destroy(&again);
  reap_source_destroy(&source);
}

/* Edits into the source, out as ONNX and HDF5, and in again. */
static void write_and_compare(const char *name, const reap_network *network, const reap_graph *g) {
  reap_edits edits = {0, 0, NULL};
  const reap_model_record record = {0, NULL, 0, NULL};
  const char *onnx = test_scratch_path("pruned.onnx"), *hdf5 = test_scratch_path("pruned.h5");
  CHECK_OK(reap_surgery_edits(g, &edits));
  CHECK_OK(reap_source_apply(network->source, &edits, g));
  reap_edits_clear(&edits);
  CHECK_OK(reap_source_write_onnx(network->source, onnx));
  CHECK_OK(reap_model_file_write(network->source, &record, hdf5));
  compare_read_back(name, g, onnx);
  compare_read_back(name, g, hdf5);
}

static void set_and_write(const char *name, const char *path) {
  reap_network network = load(path);
  reap_graph *g = clone(network.graph);
  /* At least as many outputs depend on the weights as not: some references have no layer at all. */
  const uint64_t digest = constants_digest(network.graph);
  if (set_all(g, 7) > 0) {
    CU_ASSERT_EQUAL(constants_digest(network.graph), digest);
    CU_ASSERT_TRUE(net_difference(network.graph, g, REAP_BACKEND_PLAIN) > 1e-4);
    write_and_compare(name, &network, g);
  }
  reap_graph_destroy(&g);
  reap_network_clear(&network);
}

static void cut_and_write(const char *name, const char *path) {
  reap_network network = load(path);
  reap_graph *g = clone(network.graph);
  if (cut_all(g, NULL, 3) > 0) write_and_compare(name, &network, g);
  reap_graph_destroy(&g);
  reap_network_clear(&network);
}

static void cut_set_and_write(const char *name, const char *path) {
  reap_network network = load(path);
  reap_graph *g = clone(network.graph);
  const uint64_t digest = constants_digest(network.graph);
  if (cut_all(g, NULL, 4) > 0 && set_all(g, 5) > 0) write_and_compare(name, &network, g);
  CU_ASSERT_EQUAL(constants_digest(network.graph), digest);
  reap_graph_destroy(&g);
  reap_network_clear(&network);
}

static void new_weights_reach_the_file(void) { each_reference(set_and_write); }
static void cuts_reach_the_file(void) { each_reference(cut_and_write); }
static void cuts_and_weights_reach_the_file(void) {
  each_reference(cut_set_and_write);
  each_trained(cut_set_and_write);
}

/* A layer that is only cut keeps its weights bit for bit in the user's own terms (before the batch norm). */
static void cut_weights_stay_as_they_are(void) {
  reap_network network = load(test_source_path("tests/references/kernels/network_vgg_batchnorm.onnx")), again;
  reap_graph *g = clone(network.graph);
  reap_groups *groups = NULL;
  reap_edits edits = {0, 0, NULL};
  const int64_t kept[] = {0, 2, 5};
  const char *path = test_scratch_path("cut.onnx");
  CHECK_OK(reap_groups_find(g, &groups));
  CU_ASSERT_TRUE_FATAL(reap_groups_at(groups, 0)->prunable);
  const int producer = reap_group_producer(reap_groups_at(groups, 0));
  CHECK_OK(reap_surgery_cut(g, groups, 0, 3, kept));
  CHECK_OK(reap_surgery_edits(g, &edits));
  CHECK_OK(reap_source_apply(network.source, &edits, g));
  reap_edits_clear(&edits);
  CHECK_OK(reap_source_write_onnx(network.source, path));
  again = load(path);
  const reap_linear *before = network.graph->nodes[producer]->linear, *after = again.graph->nodes[producer]->linear;
  CU_ASSERT_PTR_NOT_NULL_FATAL(before->norm);
  CU_ASSERT_PTR_NOT_NULL_FATAL(after->norm);
  CU_ASSERT_EQUAL(after->norm->channels, 3);
  for (int k = 0; k < 3; k++) {
    CU_ASSERT_EQUAL(after->norm->scale[k], before->norm->scale[kept[k]]);
    CU_ASSERT_EQUAL(after->norm->var[k], before->norm->var[kept[k]]);
    CU_ASSERT_EQUAL(memcmp(after->raw_weights + 27 * k, before->raw_weights + 27 * kept[k], 27 * sizeof(float)), 0);
  }
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
  reap_network_clear(&again);
  reap_network_clear(&network);
}

/* A batch norm that has switched a channel off cannot carry new weights: its scale becomes one. */
static void zero_scales_become_one(void) {
  reap_network network = load(test_source_path("tests/references/kernels/conv_batchnorm_zero_scale.onnx"));
  reap_graph *g = clone(network.graph);
  int layer = 0, zeros = 0;
  while (!g->nodes[layer]->linear) layer++;
  const reap_norm *before = network.graph->nodes[layer]->linear->norm;
  CU_ASSERT_PTR_NOT_NULL_FATAL(before);
  set_all(g, 9);
  write_and_compare("conv_batchnorm_zero_scale", &network, g);
  reap_network again = load(test_scratch_path("pruned.onnx"));
  const reap_norm *after = again.graph->nodes[layer]->linear->norm;
  CU_ASSERT_PTR_NOT_NULL_FATAL(after);
  for (int64_t j = 0; j < before->channels; j++) {
    CU_ASSERT_EQUAL(after->scale[j], before->scale[j] == 0 ? 1 : before->scale[j]);
    zeros += before->scale[j] == 0;
  }
  CU_ASSERT_TRUE(zeros > 0);
  reap_network_clear(&again);
  reap_graph_destroy(&g);
  reap_network_clear(&network);
}

/* A Reshape to a number of columns has to follow the cut: written as -1 (or 0, or the batch itself) and 64 columns. */
static void fixed_reshapes_follow(void) {
  static const int64_t image[] = {-1, 3, 4, 4}, fixed[] = {2, 3, 4, 4}, row[] = {-1, 5}, fixed_row[] = {2, 5};
  static const int64_t targets[3][2] = {{-1, 64}, {0, 64}, {2, 64}};
  for (int form = 0; form < 3; form++) {
    begin_model(8);
    add_weights("w", 4, (int64_t[]){4, 3, 1, 1});
    add_weights("v", 2, (int64_t[]){64, 5});
    ReapOnnx__TensorProto *target = make_tensor("target", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, (int64_t[]){2});
    memcpy(target->raw_data.data, targets[form], sizeof targets[form]);
    tensors[graph.n_initializer++] = target;
    add_node("Conv", "conv", "x w", "c");
    add_node("Relu", "relu", "c", "r");
    add_node("Reshape", "form", "r target", "flat");
    add_node("Gemm", "fc", "flat v", "y");
    inputs[graph.n_input++] = make_info("x", 4, form == 2 ? fixed : image);
    outputs[graph.n_output++] = make_info("y", 2, form == 2 ? fixed_row : row);
    reap_network network = load(store_model("fixed_reshape.onnx"));
    reap_graph *g = clone(network.graph), *masked = clone(network.graph);
    CU_ASSERT_TRUE(g->nodes[net_layer(g, "form")]->fixed_shape);
    CU_ASSERT_EQUAL(cut_all(g, masked, 3), 1);
    CU_ASSERT_TRUE(net_difference(masked, g, REAP_BACKEND_PLAIN) <= 1e-5);
    write_and_compare("fixed reshape", &network, g);
    reap_graph_destroy(&g);
    reap_graph_destroy(&masked);
    reap_network_clear(&network);
  }
}

/* One vector is the bias of convolutions and scale, shift and mean of batch norms, folded ones and others, in one group
 * and in several, also through an Identity: each reader is cut once, and gets what it keeps. */
static void shared_constants_are_cut_once(void) {
  begin_model(8);
  const char *const weights[] = {"w1", "w2", "w3", "w4"};
  for (int i = 0; i < 4; i++) add_weights(weights[i], 4, (int64_t[]){i == 3 ? 5 : 6, i == 0 ? 3 : 6, 1, 1});
  ReapOnnx__TensorProto *p = add_weights("p", 1, (int64_t[]){6}), *q = add_weights("q", 1, (int64_t[]){6});
  const float values[2][6] = {{0.5f, -0.75f, 1, 1.25f, -0.25f, 0.6f}, {1, 2, 0.5f, 0.25f, 3, 1}};
  memcpy(p->raw_data.data, values[0], sizeof values[0]);
  memcpy(q->raw_data.data, values[1], sizeof values[1]);
  add_node("Identity", "same", "p", "p2");
  add_node("Conv", "conv1", "x w1 p", "c1");
  add_node("Relu", "relu1", "c1", "r1");
  add_node("BatchNormalization", "norm1", "r1 p p p q", "n1");
  add_node("Relu", "relu2", "n1", "r2");
  add_node("BatchNormalization", "norm2", "r2 p p p q", "n2");
  add_node("Conv", "conv2", "n2 w2 p", "c2");
  add_node("Relu", "relu3", "c2", "r3");
  add_node("BatchNormalization", "norm3", "r3 p p2 p2 q", "n3");
  add_node("Conv", "conv3", "n3 w3 p2", "c3");
  add_node("BatchNormalization", "folded", "c3 p p p q", "n4");
  add_node("Relu", "relu4", "n4", "r4");
  add_node("Conv", "conv4", "r4 w4", "y");
  inputs[graph.n_input++] = make_info("x", 4, (int64_t[]){-1, 3, 4, 4});
  outputs[graph.n_output++] = make_info("y", 4, (int64_t[]){-1, 5, 4, 4});
  reap_network network = load(store_model("shared.onnx"));
  reap_graph *g = clone(network.graph), *masked = clone(network.graph);
  CU_ASSERT_EQUAL(cut_all(g, masked, 3), 3);
  CU_ASSERT_TRUE(net_difference(masked, g, REAP_BACKEND_PLAIN) <= 1e-5);
  write_and_compare("shared constants", &network, g);
  reap_graph_destroy(&g);
  reap_graph_destroy(&masked);
  reap_network_clear(&network);
}

/* A Gemm with beta = 0 has a bias that counts for nothing: runtimes want it as long as the outputs all the same. */
static void idle_biases_follow(void) {
  reap_graph *g = net_begin();
  reap_edits edits = {0};
  net_image(g, "x", 3, 2, 2);
  net_node(g, "Flatten", "flat", "x", "flat", NULL);
  net_weights(g, "w1", "8,12");
  net_weights(g, "b1", "8");
  net_weights(g, "w2", "5,8");
  net_node(g, "Gemm", "first", "flat w1 b1", "h", "transB=1 beta=0f");
  net_node(g, "Gemm", "second", "h w2 b1", "y", "transB=1 beta=0f"); /* a bias that does not even fit */
  net_finish(g, "y", 2);
  const int first = g->nodes[1]->source, second = g->nodes[2]->source;
  CU_ASSERT_EQUAL(cut_all(g, NULL, 3), 1);
  const int64_t left = g->values[g->nodes[1]->outputs[0]].dims[1];
  CU_ASSERT_TRUE(left < 8);
  CHECK_OK(reap_surgery_edits(g, &edits));
  int64_t lengths[2] = {-1, -1};
  for (int i = 0; i < edits.count; i++)
    if (edits.list[i].slot == 2 && (edits.list[i].node == first || edits.list[i].node == second))
      lengths[edits.list[i].node == second] = edits.list[i].tensor->count;
  CU_ASSERT_EQUAL(lengths[0], left);
  CU_ASSERT_EQUAL(lengths[1], 5);
  reap_edits_clear(&edits);
  reap_graph_destroy(&g);
}

/* ---------------------------------------------------------------- forms of a fully connected layer */

/* y = x W + b written out, against the network after set_weights. */
static void check_dense(const char *op, bool bias, bool transposed, const char *attributes, bool add) {
  enum { BATCH = 3, N = 12, M = 5 };
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 2, 2);
  net_node(g, "Flatten", "flat", "x", "flat", NULL);
  net_weights(g, "w", transposed ? "5,12" : "12,5");
  net_weights(g, "b", "5");
  net_node(g, op, "layer", bias ? "flat w b" : "flat w", "h", attributes);
  if (add) net_node(g, "Add", "add", "b h", "y", NULL);
  net_finish(g, add ? "y" : "h", BATCH);
  CU_ASSERT_EQUAL_FATAL(g->n_nodes, 2); /* an Add of a bias becomes part of the layer */
  double weights[N * M], b[M], back[N * M], b_back[M];
  float rows[BATCH * M];
  reap_random random = reap_random_init(3, 0, 0);
  for (int i = 0; i < N * M; i++) weights[i] = reap_random_normal(&random);
  for (int j = 0; j < M; j++) b[j] = reap_random_normal(&random);
  CHECK_OK(reap_surgery_set_weights(g, 1, weights, b));
  reap_surgery_get_weights(g, 1, back, b_back);
  for (int i = 0; i < N * M; i++) CU_ASSERT_EQUAL(back[i], (double)(float)weights[i]);
  for (int j = 0; j < M; j++) CU_ASSERT_EQUAL(b_back[j], (double)(float)b[j]);
  net_run(g, 1, REAP_BACKEND_PLAIN, rows);
  random = reap_random_init(1, 0, 0); /* as net_run draws the images: channels last */
  for (int64_t i = 0; i < BATCH; i++) {
    double x[N];
    for (int p = 0; p < 4; p++)
      for (int c = 0; c < 3; c++) x[c * 4 + p] = (double)(float)reap_random_normal(&random);
    for (int j = 0; j < M; j++) {
      double y = b[j];
      for (int k = 0; k < N; k++) y += x[k] * weights[k * M + j];
      CHECK_NEAR(rows[i * M + j], y, 2e-5);
    }
  }
  reap_graph_destroy(&g);
}

static void dense_layers_take_weights_in_every_form(void) {
  check_dense("Gemm", true, true, "transB=1", false);
  check_dense("Gemm", true, false, NULL, false);
  check_dense("Gemm", true, true, "transB=1 alpha=0.5f beta=3f", false);
  check_dense("Gemm", true, false, "alpha=-2f beta=0.25f", false);
  check_dense("Gemm", true, true, "transB=1 beta=0f", false);
  check_dense("Gemm", false, true, "transB=1 alpha=3f", false);
  check_dense("MatMul", false, false, NULL, false);
  check_dense("MatMul", false, false, NULL, true);
}

/* ---------------------------------------------------------------- what is refused */

static void nonsense_is_refused(void) {
  reap_graph *g = net_begin();
  reap_groups *groups = NULL;
  net_image(g, "x", 3, 4, 4);
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "a", 4, 2);
  net_finish(g, "b", 2);
  CHECK_OK(reap_groups_find(g, &groups));
  CHECK_FAILS(reap_surgery_cut(g, groups, 0, 2, (int64_t[]){2, 1}), REAP_ERR_INTERNAL, "group a");
  CHECK_FAILS(reap_surgery_cut(g, groups, 0, 2, (int64_t[]){1, 4}), REAP_ERR_INTERNAL, "group a");
  double weights[36 * 2] = {0}, bias[2] = {0, INFINITY};
  CHECK_FAILS(reap_surgery_set_weights(g, 1, weights, bias), REAP_ERR_NUMERIC, "layer b");
  bias[1] = 0;
  weights[5] = 1e39;
  CHECK_FAILS(reap_surgery_set_weights(g, 1, weights, bias), REAP_ERR_NUMERIC, "layer b");
  weights[5] = 1;
  bias[0] = 1e39; /* finite, but not as float32 */
  CHECK_FAILS(reap_surgery_set_weights(g, 1, weights, bias), REAP_ERR_NUMERIC, "layer b");
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
}

const test_case test_cases[] = {
    {"cut references compute what the masked do", cut_references_compute_the_masked},
    {"cut trained networks compute what the masked do", cut_trained_networks_compute_the_masked},
    {"new weights reach the file", new_weights_reach_the_file},
    {"cuts reach the file", cuts_reach_the_file},
    {"cuts and new weights reach the file", cuts_and_weights_reach_the_file},
    {"cut weights stay as they are", cut_weights_stay_as_they_are},
    {"zero scales become one", zero_scales_become_one},
    {"fixed reshapes follow", fixed_reshapes_follow},
    {"shared constants are cut once", shared_constants_are_cut_once},
    {"idle biases follow", idle_biases_follow},
    {"dense layers in every form", dense_layers_take_weights_in_every_form},
    {"nonsense is refused", nonsense_is_refused},
    {NULL, NULL}};
