/* graph: from the graph as read to the graph to be computed, and what is counted on it. */
#include "small_networks.h"

#include "model/groups/surgery.h"
#include "model/tensor.h"
#include "onnx_builder.h"
#include "reap/network.h"

const char *const test_suite_name = "graph";

static int count_of(const reap_graph *g, const char *op) {
  int count = 0;
  for (int i = 0; i < g->n_nodes; i++) count += strcmp(g->nodes[i]->op->name, op) == 0;
  return count;
}

static void check_dims(const reap_graph *g, const char *value, const char *wanted) {
  int64_t dims[REAP_MAX_RANK];
  int rank = net_numbers(wanted, dims), v = reap_graph_find(g, value);
  CU_ASSERT_TRUE_FATAL(v >= 0);
  bool same = reap_same_dims(g->values[v].rank, g->values[v].dims, rank, dims);
  if (!same) fprintf(stderr, "shape of %s is not %s\n", value, wanted);
  CU_ASSERT_TRUE(same);
}

/* ---------------------------------------------------------------- folding */

/* x.view(x.size(0), -1), as PyTorch writes it: Shape, Gather, Unsqueeze, Concat, Reshape. */
static void shape_arithmetic_is_folded(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 5);
  net_conv3(g, "conv", "x", 3, 4);
  net_node(g, "Shape", "", "conv", "shape", NULL);
  net_ints(g, "zero", "0");
  net_ints(g, "rest", "-1");
  net_node(g, "Gather", "", "shape zero", "first", NULL);
  net_node(g, "Concat", "", "first rest", "target", "axis=0");
  net_node(g, "Reshape", "", "conv target", "flat", NULL);
  net_dense(g, "fc", "flat", 120, 7);
  net_finish(g, "fc", 9);
  CU_ASSERT_EQUAL(g->n_nodes, 3);
  CU_ASSERT_EQUAL(count_of(g, "Conv"), 1);
  CU_ASSERT_EQUAL(count_of(g, "Flatten"), 1); /* what the Reshape comes down to */
  CU_ASSERT_EQUAL(count_of(g, "Gemm"), 1);
  CU_ASSERT_FALSE(g->nodes[1]->fixed_shape); /* written with -1: any number of columns fits */
  check_dims(g, "flat", "9,120");
  check_dims(g, "fc", "9,7");
  CU_ASSERT_EQUAL(reap_graph_find(g, "x"), g->inputs[0]);
  reap_graph_destroy(&g);
}

static void reshape_to_fixed_columns_is_known(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 2, 2);
  net_ints(g, "target", "-1,12");
  net_node(g, "Reshape", "", "x target", "flat", NULL);
  net_dense(g, "fc", "flat", 12, 2);
  net_finish(g, "fc", 3);
  CU_ASSERT_EQUAL_FATAL(g->n_nodes, 2);
  CU_ASSERT_STRING_EQUAL(g->nodes[0]->op->name, "Flatten");
  CU_ASSERT_TRUE(g->nodes[0]->fixed_shape);
  reap_graph_destroy(&g);
}

/* conv a, b and c (one channel: broadcast), and a constant, joined by a Sum or by the Adds that it stands for. */
static reap_graph *summed(bool sum) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "x", 3, 4);
  net_conv3(g, "c", "x", 3, 1);
  net_weights(g, "k", "4,1,1");
  if (sum) {
    net_node(g, "Sum", "four", "a b c k", "s", NULL);
    net_node(g, "Sum", "two", "s a", "t", NULL);
    net_node(g, "Sum", "one", "t", "u", NULL);
  } else {
    net_node(g, "Add", "", "a b", "ab", NULL);
    net_node(g, "Add", "", "ab c", "abc", NULL);
    net_node(g, "Add", "", "abc k", "s", NULL);
    net_node(g, "Add", "", "s a", "u", NULL);
  }
  return g;
}

static void sums_are_additions(void) {
  reap_graph *g[2];
  for (int sum = 0; sum < 2; sum++) {
    g[sum] = summed(sum);
    net_step(g[sum], "Relu", "y", "u");
    net_finish(g[sum], "y", 3);
  }
  CU_ASSERT_EQUAL(g[0]->n_nodes, g[1]->n_nodes); /* that of one term is gone */
  CU_ASSERT_EQUAL(count_of(g[1], "Sum"), 4);
  CHECK_NEAR(net_difference(g[0], g[1], REAP_BACKEND_PLAIN), 0, 0);
  reap_graph_destroy(&g[0]);
  reap_graph_destroy(&g[1]);
  g[0] = net_begin();
  net_image(g[0], "x", 3, 4, 4);
  CHECK_FAILS(net_try_node(g[0], "Sum", "gap", "x - x", "y", NULL), REAP_ERR_INPUT, "Sum gap: its input 1 is left out");
  reap_graph_destroy(&g[0]);
}

/* Constants: 2 + 3 - not 2 - 3 - rows are left of a Slice. */
static void sums_of_constants_are_folded(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_ints(g, "two", "2");
  net_ints(g, "three", "3");
  net_ints(g, "zero", "0");
  net_node(g, "Sum", "", "two three zero", "end", NULL);
  net_node(g, "Slice", "", "x zero end two", "y", NULL);
  net_conv3(g, "conv", "y", 3, 2);
  net_finish(g, "conv", 2);
  check_dims(g, "y", "2,3,5,6");
  reap_graph_destroy(&g);
}

/* A step may be any number where a single entry is taken. */
static void slices_of_huge_steps_are_folded(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 5);
  net_ints(g, "list", "7,8,9");
  net_ints(g, "two", "2");
  net_ints(g, "zero", "0");
  net_ints(g, "ten", "10");
  net_ints(g, "far", "-9000000000000000000");
  net_ints(g, "one", "1");
  net_ints(g, "column", "3,1");
  net_node(g, "Reshape", "", "list column", "tall", NULL);
  net_node(g, "Slice", "", "tall two zero zero far", "last", NULL);
  net_node(g, "Reshape", "", "last one", "nine", NULL);
  net_node(g, "Concat", "", "zero nine ten", "shape", "axis=0");
  net_node(g, "Reshape", "", "x shape", "rows", NULL);
  net_finish(g, "rows", 2);
  check_dims(g, "rows", "2,9,10");
  reap_graph_destroy(&g);
}

static void identities_vanish(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_weights(g, "w", "3,3,1,1");
  net_node(g, "Identity", "", "w", "w2", NULL);
  net_node(g, "Identity", "", "x", "x2", NULL);
  net_node(g, "Conv", "a", "x2 w", "a", NULL);
  net_node(g, "Dropout", "", "a", "a2", NULL);
  net_node(g, "Conv", "b", "a2 w2", "b", NULL);
  net_node(g, "Identity", "", "b", "b2", NULL);
  net_node(g, "Identity", "out", "b2", "y", NULL);
  net_finish(g, "y", 2);
  CU_ASSERT_EQUAL(count_of(g, "Conv"), 2);
  CU_ASSERT_EQUAL(count_of(g, "Dropout"), 0);
  CU_ASSERT_EQUAL(count_of(g, "Identity"), 1);                         /* the one that makes the network's output */
  CU_ASSERT_NOT_EQUAL(g->nodes[0]->inputs[1], g->nodes[1]->inputs[1]); /* shared weights became two copies */
  reap_graph_destroy(&g);
}

static reap_graph *conv_and_norm(bool with_bias) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 5, 5);
  net_weights(g, "w", "4,3,3,3");
  net_weights(g, "b", "4");
  net_norm_weights(g, "bn", "4");
  net_node(g, "Conv", "conv", with_bias ? "x w b" : "x w", "h", NULL);
  net_node(g, "BatchNormalization", "bn", "h bn.scale bn.shift bn.mean bn.var", "y", "epsilon=0.01f");
  return g;
}

static void batch_norm_is_folded(void) {
  for (int with_bias = 0; with_bias < 2; with_bias++) {
    reap_graph *g = conv_and_norm(with_bias);
    reap_tensor *w = NULL, *part[5] = {NULL};
    static const char *const names[] = {"b", "bn.scale", "bn.shift", "bn.mean", "bn.var"};
    CHECK_OK(reap_tensor_clone(g->values[reap_graph_find(g, "w")].constant, &w));
    for (int i = 0; i < 5; i++) CHECK_OK(reap_tensor_clone(g->values[reap_graph_find(g, names[i])].constant, &part[i]));
    net_finish(g, "y", 2);
    CU_ASSERT_EQUAL_FATAL(g->n_nodes, 1);
    const reap_node *node = g->nodes[0];
    CU_ASSERT_PTR_NOT_NULL_FATAL(node->linear);
    CU_ASSERT_PTR_NOT_NULL_FATAL(node->linear->norm);
    CU_ASSERT_EQUAL(node->linear->bias_present, with_bias == 1);
    for (int64_t j = 0; j < 4; j++) {
      double s = (double)part[1]->f32[j] / sqrt((double)part[4]->f32[j] + (double)0.01f);
      double b = s * ((with_bias ? (double)part[0]->f32[j] : 0) - (double)part[3]->f32[j]) + (double)part[2]->f32[j];
      for (int64_t i = 0; i < 27; i++) {
        CU_ASSERT_EQUAL(reap_node_constant(g, node, 1)->f32[j * 27 + i], (float)(s * (double)w->f32[j * 27 + i]));
        CU_ASSERT_EQUAL(node->linear->raw_weights[j * 27 + i], w->f32[j * 27 + i]);
      }
      CU_ASSERT_EQUAL(reap_node_constant(g, node, 2)->f32[j], (float)b);
    }
    reap_tensor_destroy(&w);
    for (int i = 0; i < 5; i++) reap_tensor_destroy(&part[i]);
    reap_graph_destroy(&g);
  }
}

/* The convolution's own output is wanted elsewhere: the norm has to stay a node. */
static void batch_norm_with_other_readers_stays(void) {
  reap_graph *g = conv_and_norm(true);
  net_step(g, "Relu", "r", "h");
  net_node(g, "Add", "sum", "y r", "sum", NULL);
  net_finish(g, "sum", 2);
  CU_ASSERT_EQUAL(count_of(g, "BatchNormalization"), 1);
  CU_ASSERT_PTR_NULL(g->nodes[0]->linear->norm);
  reap_graph_destroy(&g);
  g = conv_and_norm(true);
  CHECK_OK(reap_graph_add_output(g, "h")); /* likewise if it is an output of the network */
  net_finish(g, "y", 2);
  CU_ASSERT_EQUAL(count_of(g, "BatchNormalization"), 1);
  reap_graph_destroy(&g);
}

/* A product over the last axis and a norm over axis 1: two different axes from the third on, however long they are. */
static void batch_norm_along_another_axis_stays(void) {
  for (int rank = 2; rank <= 4; rank++)
    for (int m = 3; m <= 5; m++) {
      const int64_t dims[] = {-1, 4, 4, 4};
      char shape[32], channels[32];
      reap_graph *g = net_begin();
      CHECK_OK(reap_graph_add_input(g, "x", REAP_F32, rank, dims, NULL));
      snprintf(shape, sizeof shape, "4,%d", m);
      snprintf(channels, sizeof channels, "%d", rank == 2 ? m : 4);
      net_weights(g, "w", shape);
      net_norm_weights(g, "bn", channels);
      net_node(g, "MatMul", "product", "x w", "y", NULL);
      net_node(g, "BatchNormalization", "bn", "y bn.scale bn.shift bn.mean bn.var", "z", NULL);
      net_finish(g, "z", 3);
      CU_ASSERT_EQUAL(g->n_nodes, rank == 2 ? 1 : 2);
      CU_ASSERT_EQUAL(g->nodes[0]->linear->norm != NULL, rank == 2);
      reap_graph_destroy(&g);
    }
}

/* ---------------------------------------------------------------- where the channels are */

static void check_axis(const reap_graph *g, const char *value, int wanted) {
  int v = reap_graph_find(g, value);
  CU_ASSERT_TRUE_FATAL(v >= 0);
  int found = reap_channel_axis(&g->values[v]);
  if (found != wanted) fprintf(stderr, "channels of %s along axis %d, not %d\n", value, found, wanted);
  CU_ASSERT_EQUAL(found, wanted);
  CU_ASSERT_EQUAL(reap_value_channels(&g->values[v]), wanted < 0 ? 0 : g->values[v].dims[wanted]);
}

static void channel_axes_follow_the_operators(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "conv", "x", 3, 4);
  net_weights(g, "w", "6,5");
  net_node(g, "MatMul", "product", "conv w", "product", NULL);
  net_step(g, "Relu", "relu", "product");
  net_node(g, "Transpose", "turned", "relu", "turned", "perm=[0,3,1,2]");
  net_ints(g, "rows", "0,0,-1");
  net_node(g, "Reshape", "merged", "turned rows", "merged", NULL);
  net_node(g, "ReduceMean", "mean", "turned", "mean", "axes=[2] keepdims=0");
  net_node(g, "ReduceMean", "front", "relu", "front", "axes=[1] keepdims=0");
  net_node(g, "ReduceMean", "gone", "relu", "gone", "axes=[3] keepdims=1");
  net_node(g, "MaxPool", "pooled", "relu", "pooled", "kernel_shape=[2,2]");
  net_step(g, "Flatten", "flat", "turned");
  net_step(g, "Flatten", "scattered", "relu");
  net_weights(g, "shift", "4,6,5");
  net_node(g, "Add", "shifted", "relu shift", "shifted", NULL);
  net_node(g, "Add", "same", "shifted relu", "same", NULL);
  net_weights(g, "k", "5,4,1,1");
  net_node(g, "Conv", "narrow", "relu k", "narrow", NULL);
  const char *const all[] = {"merged", "mean", "front", "gone", "pooled", "flat", "scattered", "same", "narrow"};
  for (int i = 0; i < 9; i++) CHECK_OK(reap_graph_add_output(g, all[i]));
  CHECK_OK(reap_graph_prepare(g, 2));
  check_axis(g, "x", 1);
  check_axis(g, "conv", 1);
  check_axis(g, "product", 3);
  check_axis(g, "relu", 3);
  check_axis(g, "turned", 1);
  check_axis(g, "merged", 1);
  check_axis(g, "mean", 1);
  check_axis(g, "front", 2);
  check_axis(g, "gone", -1);
  check_axis(g, "pooled", -1);
  check_axis(g, "flat", 1);
  check_axis(g, "scattered", -1);
  check_axis(g, "same", 3);
  check_axis(g, "narrow", 1);
  reap_graph_destroy(&g);
}

/* Two values with their channels along different axes have none in common. */
static void channels_of_unlike_operands_are_not_known(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 4, 6, 5);
  net_conv3(g, "conv", "x", 4, 4);
  net_weights(g, "w", "5,5");
  net_node(g, "MatMul", "product", "x w", "product", NULL);
  net_node(g, "Add", "sum", "conv product", "sum", NULL);
  net_node(g, "Concat", "both", "conv product", "both", "axis=1");
  CHECK_OK(reap_graph_add_output(g, "both"));
  net_finish(g, "sum", 2);
  check_axis(g, "sum", -1);
  check_axis(g, "both", -1);
  reap_graph_destroy(&g);
}

/* ---------------------------------------------------------------- what is left out */

static void unused_nodes_are_dropped(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_conv3(g, "used", "x", 3, 2);
  net_conv3(g, "dead", "x", 3, 5);
  net_step(g, "Relu", "deader", "dead");
  net_finish(g, "used", 2);
  CU_ASSERT_EQUAL(g->n_nodes, 1);
  CU_ASSERT_EQUAL(reap_graph_params(g), 3 * 2 * 9 + 2);
  reap_graph_destroy(&g);
}

/* ---------------------------------------------------------------- what is not supported */

static void unknown_operators_are_named(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  CHECK_FAILS(net_try_node(g, "Sigmoidal", "/head/act", "x", "y", NULL), REAP_ERR_INPUT,
              "the operator Sigmoidal of node \"/head/act\"");
  CHECK_FAILS(net_try_node(g, "Relu", "late", "nowhere", "y", NULL), REAP_ERR_INPUT, "nowhere");
  CHECK_FAILS(net_try_node(g, "Relu", "again", "x", "x", NULL), REAP_ERR_INPUT, "again");
  reap_graph_destroy(&g);
}

static int prepare_status(reap_graph *g, const char *output, int64_t batch) {
  int status = reap_graph_add_output(g, output);
  return status == REAP_OK ? reap_graph_prepare(g, batch) : status;
}

static void unsupported_uses_are_named(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_weights(g, "w", "2,4,3,3"); /* four input channels, three are there */
  net_node(g, "Conv", "/stem/conv", "x w", "y", NULL);
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "/stem/conv");
  reap_graph_destroy(&g);

  g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_node(g, "Shape", "asker", "x", "y", NULL); /* known before any image */
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "\"y\"");
  reap_graph_destroy(&g);

  g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_node(g, "MaxPool", "/pool", "x", "y", "kernel_shape=[9,9]");
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "/pool");
  reap_graph_destroy(&g);

  g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_weights(g, "w", "2,3,1,1")->f32[4] = NAN;
  net_node(g, "Conv", "/sick", "x w", "y", NULL);
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "/sick");
  test_check_message(__FILE__, __LINE__, "NaN");
  reap_graph_destroy(&g);

  g = net_begin();
  CHECK_OK(reap_graph_add_input(g, "x", REAP_F32, 4, (int64_t[]){-1, 3, -1, -1}, NULL));
  net_step(g, "Relu", "y", "x");
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "\"x\"");
  reap_graph_destroy(&g);

  g = net_begin();
  net_image(g, "x", 3, 4, 4);
  net_node(g, "MaxPool", "pool", "x", "p places", "kernel_shape=[2,2]");
  net_node(g, "Add", "late", "p places", "y", NULL);
  CHECK_FAILS(prepare_status(g, "y", 1), REAP_ERR_INPUT, "Add late: it reads \"places\"");
  reap_graph_destroy(&g);

  g = net_begin();
  net_image(g, "x", 3, 4, 4);
  CHECK_FAILS(reap_graph_add_output(g, "elsewhere"), REAP_ERR_INPUT, "elsewhere");
  reap_graph_destroy(&g);
}

/* Status of a network of a Dropout with such inputs, or of a BatchNormalization with such outputs, by opset. */
static int train_status(int64_t version, const char *dropout, const char *norm_outputs, const char *attributes) {
  reap_graph *g = NULL;
  CHECK_OK(reap_graph_create(version, &g));
  net_image(g, "x", 3, 4, 4);
  net_ints(g, "yes", "1");
  net_ints(g, "no", "0");
  net_weights(g, "half", "1")->f32[0] = 0.5f;
  net_weights(g, "none", "1")->f32[0] = 0;
  net_norm_weights(g, "n", "3");
  if (dropout)
    net_node(g, "Dropout", "drop", dropout, "h", NULL);
  else
    net_node(g, "BatchNormalization", "norm", "x n.scale n.shift n.mean n.var", norm_outputs, attributes);
  net_step(g, "Relu", "y", "h");
  int status = prepare_status(g, "y", 2);
  reap_graph_destroy(&g);
  return status;
}

/* What trains draws numbers, or looks at the other images of its batch: refused, whichever way the file says it. */
static void training_is_refused(void) {
  static const char *const inference[] = {"x", "x half", "x half no", "x - no", "x none yes"};
  static const char *const training[] = {"x half yes", "x - yes"};
  for (int i = 0; i < 5; i++) CHECK_OK(train_status(13, inference[i], NULL, NULL));
  for (int i = 0; i < 2; i++)
    CHECK_FAILS(train_status(13, training[i], NULL, NULL), REAP_ERR_INPUT, "Dropout drop: is in training");
  CHECK_FAILS(train_status(13, "x half x", NULL, NULL), REAP_ERR_INPUT, "training_mode is not a constant");
  CHECK_OK(train_status(9, NULL, "h", NULL));
  CHECK_FAILS(train_status(9, NULL, "h m v sm sv", NULL), REAP_ERR_INPUT, "norm: is in training");
  CHECK_OK(train_status(15, NULL, "h", "training_mode=0"));
  CHECK_FAILS(train_status(15, NULL, "h m v", "training_mode=1"), REAP_ERR_INPUT, "norm: is in training");
}

/* ---------------------------------------------------------------- batch */

static void any_batch_can_be_bound(void) {
  static const int64_t sizes[] = {1, 7, 64};
  for (int i = 0; i < 3; i++) {
    char wanted[32];
    reap_graph *g = net_begin();
    net_image(g, "x", 3, 6, 6);
    net_conv3(g, "conv", "x", 3, 4);
    net_node(g, "Flatten", "flat", "conv", "flat", NULL);
    net_finish(g, "flat", sizes[i]);
    snprintf(wanted, sizeof wanted, "%lld,144", (long long)sizes[i]);
    check_dims(g, "flat", wanted);
    CU_ASSERT_EQUAL(g->batch, sizes[i]);
    CU_ASSERT_EQUAL(reap_graph_flops(g), 36 * 4 * 27); /* of one image, whatever the batch */
    reap_graph_destroy(&g);
  }
}

/* Exported for three images at a time: Reshape to [3, 4] holds the batch as a number. */
static void fixed_batches_are_kept(void) {
  static const int64_t three[] = {3, 4};
  reap_network network = {0};
  begin_model(8);
  add_weights("w", 2, SQUARE);
  ReapOnnx__TensorProto *target = make_tensor("target", REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, (int64_t[]){2});
  memcpy(target->raw_data.data, three, sizeof three);
  tensors[graph.n_initializer++] = target;
  add_node("Reshape", "form", "x target", "h");
  add_node("MatMul", "product", "h w", "y");
  inputs[graph.n_input++] = make_info("x", 2, three);
  outputs[graph.n_output++] = make_info("y", 2, three);
  CHECK_OK(reap_network_load(test_comm(), store_model("fixed.onnx"), &network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(network.graph);
  CU_ASSERT_EQUAL(network.graph->batch, 3);
  check_dims(network.graph, "y", "3,4");
  reap_network_clear(&network);

  begin_model(8); /* the same with a free batch: the network's own block size */
  add_weights("w", 2, SQUARE);
  add_node("MatMul", "product", "x w", "y");
  finish_model();
  CHECK_OK(reap_network_load(test_comm(), store_model("free.onnx"), &network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(network.graph);
  CU_ASSERT_EQUAL(network.graph->batch, 64);
  reap_network_clear(&network);
}

static void block_size_follows_the_largest_tensor(void) {
  static const struct {
    int64_t side, wanted;
  } cases[] = {{16, 64}, {361, 64}, {363, 32}, {725, 8}, {2897, 1}, {6000, 1}, {500000000, 1}};
  for (int i = 0; i < 7;
       i++) { /* one channel: 4 side^2 bytes an image, at most 32 MiB a block; the last beyond 2^63 / 64 */
    reap_graph *g = net_begin();
    net_image(g, "x", 1, cases[i].side, cases[i].side);
    net_step(g, "Relu", "r", "x");
    net_step(g, "GlobalAveragePool", "p", "r");
    net_finish(g, "p", 1);
    CU_ASSERT_EQUAL(reap_graph_block_size(g), cases[i].wanted);
    reap_graph_destroy(&g);
  }
}

/* ---------------------------------------------------------------- counts */

static reap_graph *counted_network(int64_t batch) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 8, 8);
  net_weights(g, "w1", "6,3,3,3");
  net_norm_weights(g, "bn", "6");
  net_node(g, "Conv", "c1", "x w1", "h1", "pads=[1,1,1,1]");
  net_node(g, "BatchNormalization", "bn", "h1 bn.scale bn.shift bn.mean bn.var", "n1", NULL);
  net_step(g, "Relu", "r1", "n1");
  net_weights(g, "w2", "6,1,3,3");
  net_weights(g, "b2", "6");
  net_node(g, "Conv", "deep", "r1 w2 b2", "h2", "pads=[1,1,1,1] strides=[2,2] group=6");
  net_step(g, "Relu", "r2", "h2");
  net_node(g, "Flatten", "flat", "r2", "flat", NULL);
  net_dense(g, "fc", "flat", 96, 5);
  net_weights(g, "w4", "5,4");
  net_node(g, "MatMul", "last", "fc w4", "y", NULL);
  net_finish(g, "y", batch);
  return g;
}

static void counts_by_hand(void) {
  const int64_t flops[] = {64 * 6 * 27, 16 * 6 * 9, 96 * 5, 5 * 4};
  const int64_t params = (6 * 27 + 12) + (6 * 9 + 6) + (96 * 5 + 5) + 5 * 4; /* scale and shift of the norm count */
  static const char *const layers[] = {"c1", "deep", "fc", "last"};
  reap_graph *g = counted_network(5);
  int64_t sum = 0;
  for (int i = 0; i < 4; i++) {
    CU_ASSERT_EQUAL(reap_node_flops(g, net_layer(g, layers[i])), flops[i]);
    sum += flops[i];
  }
  CU_ASSERT_EQUAL(reap_node_flops(g, net_layer(g, "r1")), 0);
  CU_ASSERT_EQUAL(reap_graph_flops(g), sum);
  CU_ASSERT_EQUAL(reap_graph_params(g), params);
  reap_graph_destroy(&g);
}

static void clones_are_equal_and_apart(void) {
  reap_graph *g = counted_network(4), *copy = NULL;
  CHECK_OK(reap_graph_clone(g, &copy));
  CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
  CU_ASSERT_EQUAL(reap_graph_flops(copy), reap_graph_flops(g));
  CU_ASSERT_EQUAL(reap_graph_params(copy), reap_graph_params(g));
  CU_ASSERT_EQUAL_FATAL(copy->n_nodes, g->n_nodes);
  for (int i = 0; i < g->n_nodes; i++) CU_ASSERT_STRING_EQUAL(copy->nodes[i]->layer, g->nodes[i]->layer);
  CU_ASSERT_EQUAL(net_difference(g, copy, REAP_BACKEND_PLAIN), 0);
  double *weights = NULL, bias[6] = {1, 2, 3, 4, 5, 6};
  CHECK_OK(reap_calloc(&weights, 6 * 27, sizeof *weights));
  CHECK_OK(reap_surgery_set_weights(copy, net_layer(copy, "c1"), weights, bias));
  reap_free(&weights);
  CU_ASSERT_TRUE(net_difference(g, copy, REAP_BACKEND_PLAIN) > 1e-3);
  CU_ASSERT_FALSE(g->nodes[0]->linear->changed);
  reap_graph *fresh = counted_network(4);
  CU_ASSERT_EQUAL(net_difference(g, fresh, REAP_BACKEND_PLAIN), 0); /* the first is as it was */
  reap_graph_destroy(&g);
  reap_graph_destroy(&copy);
  reap_graph_destroy(&fresh);
}

/* ---------------------------------------------------------------- names */

static void layers_are_named_once(void) {
  static const struct {
    const char *node, *layer;
  } names[] = {{"/layer1/conv", "layer1.conv"},
               {"a", "a"},
               {"a_4", "a_4"},
               {"", "Relu_3"},
               {"a", NULL},
               {"Relu_3", NULL},
               {"/", "Relu_6"},
               {"//", NULL},
               {"./b", "..b"},
               {"layer1.conv", NULL},
               {".", NULL},
               {"a_4", NULL}};
  enum { COUNT = sizeof names / sizeof names[0] };
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  char in[16] = "x", out[16];
  for (int i = 0; i < COUNT; i++) {
    snprintf(out, sizeof out, "h%d", i);
    net_node(g, "Relu", names[i].node, in, out, NULL);
    memcpy(in, out, sizeof in);
  }
  net_finish(g, in, 1);
  CU_ASSERT_EQUAL_FATAL(g->n_nodes, COUNT);
  for (int i = 0; i < COUNT; i++) {
    const char *layer = g->nodes[i]->layer;
    CU_ASSERT_TRUE(strlen(layer) > 0 && strcmp(layer, ".") != 0 && !strchr(layer, '/')); /* a name HDF5 can take */
    if (names[i].layer) CU_ASSERT_STRING_EQUAL(layer, names[i].layer);
    for (int k = 0; k < i; k++) {
      if (strcmp(layer, g->nodes[k]->layer) == 0) fprintf(stderr, "layers %d and %d are both called %s\n", k, i, layer);
      CU_ASSERT_STRING_NOT_EQUAL(layer, g->nodes[k]->layer);
    }
  }
  reap_graph_destroy(&g);
}

const test_case test_cases[] = {
    {"shape arithmetic is folded", shape_arithmetic_is_folded},
    {"a Reshape to fixed columns is known", reshape_to_fixed_columns_is_known},
    {"sums are additions", sums_are_additions},
    {"sums of constants are folded", sums_of_constants_are_folded},
    {"slices of huge steps are folded", slices_of_huge_steps_are_folded},
    {"identities vanish", identities_vanish},
    {"batch norm is folded", batch_norm_is_folded},
    {"batch norm with other readers stays", batch_norm_with_other_readers_stays},
    {"batch norm along another axis stays", batch_norm_along_another_axis_stays},
    {"channel axes follow the operators", channel_axes_follow_the_operators},
    {"channels of unlike operands are not known", channels_of_unlike_operands_are_not_known},
    {"unused nodes are dropped", unused_nodes_are_dropped},
    {"unknown operators are named", unknown_operators_are_named},
    {"unsupported uses are named", unsupported_uses_are_named},
    {"training is refused", training_is_refused},
    {"any batch can be bound", any_batch_can_be_bound},
    {"fixed batches are kept", fixed_batches_are_kept},
    {"block size", block_size_follows_the_largest_tensor},
    {"counts by hand", counts_by_hand},
    {"clones are equal and apart", clones_are_equal_and_apart},
    {"layers are named once", layers_are_named_once},
    {NULL, NULL}};
