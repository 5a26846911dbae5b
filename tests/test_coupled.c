/* coupled: of each kind of coupled groups a small network, cut: it computes what the masked original computes, and
 * costs what was foreseen. */
#include "cut_networks.h"

#include "prune/sizes/cost_model.h"

const char *const test_suite_name = "coupled";

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

/* Conv a, whose second half of outputs is the first again, a norm over all of them, Conv b. */
static void normalised_as_one(reap_graph *g, bool written_out) {
  net_conv3(g, "a", "x", 3, 12);
  for (int slot = 1; slot < 3; slot++) {
    const reap_tensor *t = g->values[g->nodes[0]->inputs[slot]].constant;
    memcpy(t->f32 + t->count / 2, t->f32, (size_t)(t->count / 2) * sizeof *t->f32);
  }
  net_weights(g, "scale", written_out ? "1" : "12");
  net_weights(g, "shift", written_out ? "1" : "12");
  net_ints(g, "join", "0,1,-1");
  net_ints(g, "part", "2,12,4,4");
  if (written_out) {
    net_node(g, "Reshape", "joined", "a join", "joined", NULL);
    net_node(g, "InstanceNormalization", "norm", "joined scale shift", "norm", NULL);
    net_node(g, "Reshape", "whole", "norm part", "whole", NULL);
  } else {
    net_node(g, "GroupNormalization", "norm", "a scale shift", "whole", "num_groups=1");
  }
  net_step(g, "Relu", "r", "whole");
  net_conv3(g, "b", "r", 12, 6);
  net_node(g, "AveragePool", "y", "b", "y", "kernel_shape=[2,2]");
}

/* Mean and variance are those of the channels that stay. The half that stays has those of all, so that the cut network
 * computes what the masked one does. */
static void norm_over_all_channels(void) {
  static const int64_t kept[] = {0, 1, 2, 3, 4, 5};
  const bool keep[12] = {true, true, true, true, true, true};
  for (int written_out = 0; written_out < 2; written_out++) {
    reap_groups *groups = NULL;
    reap_graph *g = net_begin();
    g->opset = 21;
    net_image(g, "x", 3, 4, 4);
    normalised_as_one(g, written_out);
    net_finish(g, "y", 2);
    reap_graph *cut = clone(g), *masked = clone(g);
    CHECK_OK(reap_groups_find(cut, &groups));
    const reap_group *group = reap_groups_at(groups, 0);
    CU_ASSERT_TRUE(group->cuttable && !group->inner && !group->prunable);
    CU_ASSERT_PTR_NOT_NULL(strstr(group->reason, "normalises over all of it"));
    mask(masked, groups, 0, keep);
    CHECK_OK(reap_surgery_cut(cut, groups, 0, 6, kept));
    CU_ASSERT_TRUE(net_difference(masked, cut, REAP_BACKEND_PLAIN) <= 1e-5);
    CU_ASSERT_TRUE(net_difference(g, masked, REAP_BACKEND_PLAIN) > 1e-4);
    reap_groups_destroy(&groups);
    reap_graph_destroy(&g);
    reap_graph_destroy(&cut);
    reap_graph_destroy(&masked);
  }
}

const test_case test_cases[] = {{"coupled groups of each kind", coupled_groups_of_each_kind},
                                {"a norm over all channels of an image", norm_over_all_channels},
                                {NULL, NULL}};
