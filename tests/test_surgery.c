/* surgery: what is cut computes what the masked original computes, and what is written computes what was in memory. */
#include "small_networks.h"

#include "io/model_file.h"
#include "model/edits.h"
#include "model/groups/surgery.h"
#include "onnx_builder.h"
#include "prune/sizes/cost_model.h"
#include "reap/groups.h"
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

static reap_graph *clone(const reap_graph *g) {
  reap_graph *copy = NULL;
  CHECK_OK(reap_graph_clone(g, &copy));
  CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
  return copy;
}

/* ---------------------------------------------------------------- cut against masked */

/* Sets the weights to zero with which the group's consumers read what is not kept. */
static void mask(reap_graph *g, const reap_groups *groups, int index, const bool *keep) {
  const reap_group *group = reap_groups_at(groups, index);
  for (int c = 0; c < group->n_members; c++) {
    const reap_node *node = g->nodes[group->members[c].node];
    if (group->members[c].role != REAP_CONSUMES || (!node->linear && reap_node_int(node, "group", 1) > 1)) continue;
    reap_tensor *w = g->values[node->inputs[1]].constant;
    CHECK_OK(reap_own(&w->f32, w->count, sizeof *w->f32));
    const int64_t rows = node->linear ? w->dims[0] : 1; /* a transposed convolution has its inputs along axis 0 */
    int64_t *entries = NULL, columns = node->linear ? w->dims[1] : w->dims[0], inner = w->count / (rows * columns);
    const int64_t parts = node->linear ? reap_node_int(node, "group", 1) : 1;
    CHECK_OK(reap_alloc(&entries, parts * columns, sizeof *entries));
    int64_t n = reap_groups_entries(groups, node->inputs[0], index, keep, entries);
    CU_ASSERT_TRUE(n >= 0 && n < parts * columns);
    for (int64_t j = 0; j < rows; j++)
      for (int64_t e = 0, k = 0; e < parts * columns; e++) { /* the inputs of all groups of a convolution */
        const bool kept = k < n && entries[k] == e, own = e / columns == j / (rows / parts);
        k += kept;
        for (int64_t t = 0; own && !kept && t < inner; t++) w->f32[(j * columns + e % columns) * inner + t] = 0;
      }
    reap_free(&entries);
  }
}

static int64_t last_kept[64]; /* units of the groups, of the last network that was cut */

/* Keeps about half of every group that can be cut, at random; `masked` (may be NULL) is masked alike. Groups cut. */
static int cut_all(reap_graph *cut, reap_graph *masked, uint64_t seed) {
  reap_groups *groups = NULL, *original = NULL;
  reap_random random = reap_random_init(seed, 0, 0);
  int count = 0;
  CHECK_OK(reap_groups_find(cut, &groups));
  CHECK_OK(reap_groups_find(cut, &original));
  for (int g = 0; groups && g < reap_groups_count(groups); g++) {
    const int64_t channels = reap_groups_at(groups, g)->units;
    if (g < 64) last_kept[g] = channels;
    if (!reap_groups_at(groups, g)->cuttable) continue;
    bool *keep = NULL;
    int64_t *kept = NULL, n = 1 + reap_random_below(&random, channels - 1);
    CHECK_OK(reap_calloc(&keep, channels, sizeof *keep));
    CHECK_OK(reap_alloc(&kept, channels, sizeof *kept));
    reap_random_sample(&random, channels, n, kept);
    if (g < 64) last_kept[g] = n;
    for (int64_t k = 0; k < n; k++) keep[kept[k]] = true;
    if (masked) mask(masked, original, g, keep);
    CHECK_OK(reap_surgery_cut(cut, groups, g, n, kept));
    CU_ASSERT_EQUAL(reap_groups_at(groups, g)->units, n);
    for (int c = 0; c < reap_groups_at(groups, g)->n_members; c++) {
      const reap_member *member = &reap_groups_at(groups, g)->members[c];
      const reap_linear *linear = cut->nodes[member->node]->linear;
      if (member->role == REAP_PRODUCES && linear) CU_ASSERT_TRUE(linear->changed);
    }
    reap_free(&keep);
    reap_free(&kept);
    count++;
  }
  reap_groups_destroy(&groups);
  reap_groups_destroy(&original);
  return count;
}

/* Says whether any constant of a graph was changed: of a clone's and its original's, which share them, none may be. */
static uint64_t constants_digest(const reap_graph *g) {
  uint64_t digest = 14695981039346656037u;
  for (int i = 0; i < g->n_values; i++) {
    const reap_tensor *t = g->values[i].constant;
    for (int64_t k = 0; t && t->dtype == REAP_F32 && k < t->count; k++) {
      uint32_t bits;
      memcpy(&bits, &t->f32[k], sizeof bits);
      digest = (digest ^ bits) * 1099511628211u;
    }
  }
  for (int i = 0; i < g->n_nodes; i++) {
    const reap_linear *linear = g->nodes[i]->linear;
    for (int64_t k = 0; linear && k < linear->n_raw; k++) {
      uint32_t bits;
      memcpy(&bits, &linear->raw_weights[k], sizeof bits);
      digest = (digest ^ bits) * 1099511628211u;
    }
  }
  return digest;
}

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

/* ---------------------------------------------------------------- each kind of coupling */

/* Convolution `name` of size 1 with weights of that shape. */
static void conv1(reap_graph *g, const char *name, const char *in, const char *shape, const char *attributes) {
  char w[64], line[128];
  snprintf(w, sizeof w, "%s.w", name);
  snprintf(line, sizeof line, "%s %s", in, w);
  net_weights(g, w, shape);
  net_node(g, "Conv", name, line, name, attributes);
}

static void shortcut_by_pad(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "a", 4, 8);
  net_ints(g, "pads", "0,1,0,0,0,3,0,0");
  net_node(g, "Pad", "pad", "a pads", "pad", NULL);
  net_node(g, "Add", "sum", "b pad", "sum", NULL);
  net_conv3(g, "c", "sum", 8, 6);
  net_node(g, "Add", "more", "c c", "y", NULL);
}

static void parts_of_channels(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 8);
  net_conv3(g, "b", "x", 3, 4);
  net_node(g, "Concat", "both", "b a", "both", "axis=1");
  net_ints(g, "one", "1");
  net_ints(g, "from", "3");
  net_ints(g, "to", "-2");
  net_node(g, "Slice", "part", "both from to one", "part", NULL);
  net_conv3(g, "c", "part", 7, 6);
  conv1(g, "d", "both", "6,12,1,1", NULL);
  net_node(g, "Add", "sum", "c d", "y", NULL);
}

static void groups_of_a_convolution(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 8);
  conv1(g, "grouped", "a", "12,2,1,1", "group=4");
  net_norm_weights(g, "n", "12");
  net_node(g, "BatchNormalization", "n", "grouped n.scale n.shift n.mean n.var", "n", NULL);
  net_step(g, "Relu", "r", "n");
  conv1(g, "deep", "r", "12,1,1,1", "group=12");
  conv1(g, "twice", "deep", "24,1,1,1", "group=12");
  net_conv3(g, "b", "twice", 24, 6);
  net_step(g, "Relu", "y", "b");
}

/* Convolution groups that are wide: each loses as many channels. */
static void wide_groups_of_a_convolution(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 16);
  net_conv3(g, "b", "x", 3, 8);
  net_node(g, "Concat", "both", "a b", "both", "axis=1");
  conv1(g, "wide", "both", "27,8,1,1", "group=3");
  net_norm_weights(g, "n", "27");
  net_node(g, "BatchNormalization", "n", "wide n.scale n.shift n.mean n.var", "n", NULL);
  net_step(g, "Relu", "r", "n");
  conv1(g, "same", "r", "27,9,1,1", "group=3");
  net_node(g, "Add", "sum", "same r", "sum", NULL);
  conv1(g, "narrow", "sum", "18,3,1,1", "group=9");
  net_conv3(g, "c", "narrow", 18, 24);
  conv1(g, "last", "c", "20,12,1,1", "group=2");
  net_conv3(g, "d", "last", 20, 6);
  net_step(g, "Relu", "y", "d");
}

static void shuffle(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 10);
  net_ints(g, "split", "-1,2,5,4,4");
  net_ints(g, "merge", "2,10,4,4");
  net_node(g, "Reshape", "halves", "a split", "halves", NULL);
  net_step(g, "Relu", "r", "halves");
  net_node(g, "Transpose", "mixed", "r", "mixed", "perm=[0,2,1,3,4]");
  net_node(g, "Reshape", "shuffled", "mixed merge", "shuffled", NULL);
  net_conv3(g, "b", "shuffled", 10, 6);
  net_step(g, "Relu", "y", "b");
}

static void channels_last(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 6);
  net_node(g, "Transpose", "last", "a", "last", "perm=[0,2,3,1]");
  net_weights(g, "w", "6,5");
  net_node(g, "MatMul", "m", "last w", "m", NULL);
  net_weights(g, "scale", "5");
  net_node(g, "Mul", "scaled", "scale m", "scaled", NULL);
  net_step(g, "Relu", "r", "scaled");
  net_node(g, "Transpose", "first", "r", "first", "perm=[0,3,1,2]");
  net_node(g, "Add", "sum", "first first", "sum", NULL);
  net_conv3(g, "b", "sum", 5, 4);
  net_node(g, "Transpose", "again", "b", "again", "perm=[0,2,3,1]");
  net_ints(g, "flat", "0,-1");
  net_node(g, "Reshape", "row", "again flat", "row", NULL);
  net_dense(g, "y", "row", 64, 6);
}

static void gates(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 6);
  net_node(g, "GlobalAveragePool", "gap", "a", "gap", NULL);
  conv1(g, "down", "gap", "4,6,1,1", NULL);
  net_step(g, "Relu", "r", "down");
  conv1(g, "up", "r", "6,4,1,1", NULL);
  net_node(g, "Mul", "gated", "up a", "gated", NULL);
  net_weights(g, "scale", "6,1,1");
  net_node(g, "Mul", "scaled", "gated scale", "scaled", NULL);
  net_node(g, "Add", "sum", "scaled a", "sum", NULL);
  conv1(g, "mask", "sum", "1,6,1,1", NULL);
  net_node(g, "Mul", "masked", "sum mask", "masked", NULL);
  net_conv3(g, "b", "masked", 6, 6);
  net_step(g, "Relu", "y", "b");
}

/* Groups of channels that are normalised together, by an operator and written out, with and without numbers for each
 * channel. */
static void normalised_groups(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 12);
  net_weights(g, "scale", "4");
  net_weights(g, "shift", "4");
  net_node(g, "GroupNormalization", "norm", "a scale shift", "norm", "num_groups=4");
  net_conv3(g, "b", "norm", 12, 8);
  net_ints(g, "split", "0,4,-1");
  net_ints(g, "merge", "2,8,4,4");
  net_node(g, "Reshape", "parts", "b split", "parts", NULL);
  net_node(g, "InstanceNormalization", "inner", "parts scale shift", "inner", NULL);
  net_node(g, "Reshape", "whole", "inner merge", "whole", NULL);
  net_weights(g, "factor", "8,1,1");
  net_node(g, "Mul", "scaled", "whole factor", "scaled", NULL);
  net_weights(g, "slope", "8,1,1");
  net_node(g, "PRelu", "r", "scaled slope", "r", NULL);
  net_weights(g, "own", "8");
  net_node(g, "InstanceNormalization", "single", "r own own", "single", NULL);
  net_conv3(g, "y", "single", 8, 6);
}

/* Parts by sizes, in equal parts and of which one is not read; indices; sizes of images; pixels out of channels. */
static void moved_channels(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 12);
  net_ints(g, "sizes", "5,4,3");
  net_node(g, "Split", "parts", "a sizes", "p q rest", "axis=1");
  net_conv3(g, "b", "p", 5, 8);
  net_node(g, "Split", "halves", "b", "left right", "axis=1");
  net_node(g, "Add", "sum", "left q", "sum", NULL);
  net_node(g, "Concat", "both", "sum right", "both", "axis=1");
  net_ints(g, "order", "-1,5,0,1,2,2");
  net_node(g, "Gather", "picked", "both order", "picked", "axis=1");
  net_ints(g, "larger", "2,6,8,8");
  net_node(g, "Resize", "resized", "picked - - larger", "resized", NULL);
  net_ints(g, "same", "2,6,8,8");
  net_node(g, "Expand", "expanded", "resized same", "expanded", NULL);
  net_conv3(g, "c", "expanded", 6, 8);
  net_node(g, "DepthToSpace", "pixels", "c", "pixels", "blocksize=2");
  net_node(g, "SpaceToDepth", "back", "pixels", "back", "blocksize=2");
  net_conv3(g, "d", "back", 8, 6);
  net_node(g, "MatMul", "y", "d d", "y", NULL); /* multiply-adds of no layer */
}

/* Layers whose weights have the inputs in front, in one and in several groups. */
static void transposed_layers(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 8);
  net_weights(g, "up.w", "8,6,2,2");
  net_weights(g, "up.b", "6");
  net_node(g, "ConvTranspose", "up", "a up.w up.b", "up", "strides=[2,2]");
  net_norm_weights(g, "n", "6");
  net_node(g, "BatchNormalization", "n", "up n.scale n.shift n.mean n.var", "n", NULL);
  net_weights(g, "grouped.w", "6,3,2,2");
  net_weights(g, "grouped.b", "9");
  net_node(g, "ConvTranspose", "grouped", "n grouped.w grouped.b", "grouped", "group=3");
  net_step(g, "Relu", "r", "grouped");
  net_weights(g, "last.w", "9,6,2,2");
  net_node(g, "ConvTranspose", "last", "r last.w", "y", NULL);
}

/* Two branches, weighted for each channel by a soft-max over the two; and a norm along another axis than that of the
 * channels. */
static void selective_kernels(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 8);
  net_conv3(g, "b", "x", 3, 8);
  net_ints(g, "stacked", "2,1,8,4,4");
  net_node(g, "Reshape", "a1", "a stacked", "a1", NULL);
  net_node(g, "Reshape", "b1", "b stacked", "b1", NULL);
  net_node(g, "Concat", "stack", "a1 b1", "stack", "axis=1");
  net_ints(g, "branches", "1");
  net_node(g, "ReduceSum", "sum", "stack branches", "sum", "keepdims=0");
  net_node(g, "GlobalAveragePool", "gap", "sum", "gap", NULL);
  conv1(g, "down", "gap", "4,8,1,1", NULL);
  net_step(g, "Relu", "r", "down");
  conv1(g, "up", "r", "16,4,1,1", NULL);
  net_ints(g, "split", "2,2,8,1,1");
  net_node(g, "Reshape", "both", "up split", "both", NULL);
  net_node(g, "Softmax", "weights", "both", "weights", "axis=1");
  net_node(g, "Mul", "weighted", "stack weights", "weighted", NULL);
  net_node(g, "ReduceSum", "chosen", "weighted branches", "chosen", "keepdims=0");
  net_weights(g, "scale", "4");
  net_node(g, "LayerNormalization", "rows", "chosen scale", "rows", NULL);
  net_conv3(g, "c", "rows", 8, 6);
  net_step(g, "Relu", "y", "c");
}

static void columns_joined(reap_graph *g) {
  net_conv3(g, "a", "x", 3, 4);
  net_node(g, "Flatten", "flat", "a", "flat", NULL);
  net_dense(g, "other", "flat", 64, 64);
  net_node(g, "Add", "sum", "flat other", "sum", NULL);
  net_node(g, "Concat", "both", "sum flat", "both", "axis=1");
  net_dense(g, "y", "both", 128, 6);
}

/* Whether multiply-adds are as many as is foreseen for the sizes of the last cut, and those of the whole. */
static void check_foreseen(const reap_graph *g, const reap_graph *cut) {
  reap_groups *groups = NULL;
  reap_cost_model *costs = NULL;
  bool chosen[64];
  CHECK_OK(reap_groups_find(g, &groups));
  for (int i = 0; i < reap_groups_count(groups); i++) chosen[i] = reap_groups_at(groups, i)->cuttable;
  CHECK_OK(reap_cost_model_flops(g, groups, chosen, &costs));
  CU_ASSERT_EQUAL(reap_cost_model_at(costs, last_kept), (double)reap_graph_flops(cut));
  CU_ASSERT_EQUAL(costs->whole, (double)reap_graph_flops(g));
  reap_cost_model_destroy(&costs);
  reap_groups_destroy(&groups);
}

/* What is cut computes what the masked network does, and costs what the sizes say. */
static void coupled_groups_of_each_kind(void) {
  static const struct {
    void (*make)(reap_graph *g);
    int least; /* groups that can be cut */
  } kinds[] = {{shortcut_by_pad, 2},
               {parts_of_channels, 3},
               {groups_of_a_convolution, 1},
               {shuffle, 1},
               {channels_last, 3},
               {gates, 2},
               {columns_joined, 1},
               {normalised_groups, 2},
               {moved_channels, 4},
               {transposed_layers, 2},
               {wide_groups_of_a_convolution, 4},
               {selective_kernels, 2}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    for (uint64_t seed = 1; seed <= 3; seed++) {
      reap_graph *g = net_begin();
      net_image(g, "x", 3, 4, 4);
      kinds[i].make(g);
      net_finish(g, "y", 2);
      reap_graph *cut = clone(g), *masked = clone(g);
      CU_ASSERT_TRUE(cut_all(cut, masked, seed) >= kinds[i].least);
      check_foreseen(g, cut);
      const double apart = net_difference(masked, cut, REAP_BACKEND_PLAIN);
      if (apart > 1e-5) fprintf(stderr, "kind %zu: cut and masked differ by %.3g\n", i, apart);
      CU_ASSERT_TRUE(apart <= 1e-5);
      CU_ASSERT_TRUE(net_difference(g, masked, REAP_BACKEND_PLAIN) > 1e-4);
      reap_graph_destroy(&g);
      reap_graph_destroy(&cut);
      reap_graph_destroy(&masked);
    }
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
  CHECK_OK(reap_source_apply(network->source, &edits));
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
  CHECK_OK(reap_source_apply(network.source, &edits));
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
    {"coupled groups of each kind", coupled_groups_of_each_kind},
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
