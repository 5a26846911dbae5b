/* groups: which channels can leave a network together, and what holds the others. */
#include "small_networks.h"

#include "reap/groups.h"

const char *const test_suite_name = "groups";

static void join_names(const reap_graph *g, const reap_group *group, reap_role role, char *line, size_t size) {
  size_t used = 0;
  line[0] = '\0';
  for (int k = 0; k < group->n_members; k++)
    if (group->members[k].role == role)
      used +=
          (size_t)snprintf(line + used, size - used, "%s%s", used ? " " : "", g->nodes[group->members[k].node]->layer);
}

/* reason NULL: prunable; otherwise words of the reason. */
static void check_group(const reap_graph *g, const reap_groups *groups, int index, const char *name, int64_t channels,
                        const char *producers, const char *consumers, const char *reason) {
  char line[256];
  CU_ASSERT_TRUE_FATAL(index < reap_groups_count(groups));
  const reap_group *group = reap_groups_at(groups, index);
  CU_ASSERT_STRING_EQUAL(group->name, name);
  CU_ASSERT_EQUAL(group->units, channels);
  join_names(g, group, REAP_PRODUCES, line, sizeof line);
  if (strcmp(line, producers) != 0) fprintf(stderr, "group %s: producers %s, not %s\n", name, line, producers);
  CU_ASSERT_STRING_EQUAL(line, producers);
  join_names(g, group, REAP_CONSUMES, line, sizeof line);
  if (strcmp(line, consumers) != 0) fprintf(stderr, "group %s: consumers %s, not %s\n", name, line, consumers);
  CU_ASSERT_STRING_EQUAL(line, consumers);
  CU_ASSERT_EQUAL(group->prunable, reason == NULL);
  CU_ASSERT_EQUAL(group->reason == NULL, reason == NULL);
  if (group->prunable) CU_ASSERT_TRUE(group->inner);
  if (!reason || !group->reason) return;
  if (!strstr(group->reason, reason))
    fprintf(stderr, "group %s: \"%s\" is not in \"%s\"\n", name, reason, group->reason);
  CU_ASSERT_PTR_NOT_NULL(strstr(group->reason, reason));
}

/* Members of a group, one after the other: "node:input/role unit unit ...", "out" for an output, "." for foreign
 * entries. */
static void check_members(const reap_graph *g, const reap_group *group, const char *wanted) {
  static const char roles[] = {'p', 'c', '=', '+'};
  char line[1024];
  int64_t units[64];
  size_t used = 0;
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    const reap_node *node = g->nodes[member->node];
    CU_ASSERT_EQUAL(member->value, member->input < 0 ? node->outputs[0] : node->inputs[member->input]);
    CU_ASSERT_EQUAL(member->axis, g->values[member->value].constant ? 0 : 1);
    used += (size_t)snprintf(line + used, sizeof line - used, "%s%s:", k ? "; " : "", node->layer);
    used += (size_t)snprintf(line + used, sizeof line - used, member->input < 0 ? "out" : "%d", member->input);
    used += (size_t)snprintf(line + used, sizeof line - used, "%c", roles[member->role]);
    const int64_t count = reap_member_units(group, member, units);
    CU_ASSERT_EQUAL(count, g->values[member->value].dims[member->axis]);
    for (int64_t i = 0; i < count; i++)
      used += units[i] < 0 ? (size_t)snprintf(line + used, sizeof line - used, " .")
                           : (size_t)snprintf(line + used, sizeof line - used, " %d", (int)units[i]);
  }
  if (strcmp(line, wanted) != 0) fprintf(stderr, "group %s: members %s\n   not %s\n", group->name, line, wanted);
  CU_ASSERT_STRING_EQUAL(line, wanted);
}

static reap_groups *groups_of(const reap_graph *g, int count) {
  reap_groups *groups = NULL;
  CHECK_OK(reap_groups_find(g, &groups));
  CU_ASSERT_PTR_NOT_NULL_FATAL(groups);
  if (reap_groups_count(groups) != count) fprintf(stderr, "%d groups, wanted %d\n", reap_groups_count(groups), count);
  CU_ASSERT_EQUAL_FATAL(reap_groups_count(groups), count);
  return groups;
}

static void finish(reap_graph *g, reap_groups *groups) {
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
}

/* 1x1 convolution without bias. */
static void conv1(reap_graph *g, const char *name, const char *in, int64_t inputs, int64_t outputs,
                  const char *attributes) {
  char w[64], line[128], shape[64];
  snprintf(w, sizeof w, "%s.w", name);
  snprintf(line, sizeof line, "%s %s", in, w);
  snprintf(shape, sizeof shape, "%lld,%lld,1,1", (long long)outputs, (long long)inputs);
  net_weights(g, w, shape);
  net_node(g, "Conv", name, line, name, attributes);
}

static void plain_chain(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 8, 8);
  net_conv3(g, "a", "x", 3, 6);
  net_norm_weights(g, "n", "6");
  net_node(g, "BatchNormalization", "n", "a n.scale n.shift n.mean n.var", "n", NULL);
  net_step(g, "Relu", "r1", "n");
  net_node(g, "MaxPool", "p", "r1", "p", "kernel_shape=[2,2] strides=[2,2]");
  net_conv3(g, "b", "p", 6, 8);
  net_node(g, "Clip", "r2", "b", "r2", NULL);
  net_step(g, "GlobalAveragePool", "gap", "r2");
  net_node(g, "Flatten", "flat", "gap", "flat", NULL);
  net_dense(g, "fc", "flat", 8, 5);
  net_finish(g, "fc", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 6, "a", "b", NULL);
  check_group(g, groups, 1, "b", 8, "b", "fc", NULL);
  check_group(g, groups, 2, "fc", 5, "fc", "", "the network's output");
  CU_ASSERT_EQUAL(reap_groups_produced_by(groups, net_layer(g, "a")), 0);
  CU_ASSERT_EQUAL(reap_groups_consumed_by(groups, net_layer(g, "a")), -1);
  CU_ASSERT_EQUAL(reap_groups_consumed_by(groups, net_layer(g, "b")), 0);
  CU_ASSERT_EQUAL(reap_groups_consumed_by(groups, net_layer(g, "fc")), 1);
  finish(g, groups);
}

/* Behind a Flatten each channel is height * width columns; shrinking numbers the others anew. */
static void flatten_into_gemm(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 3);
  net_conv3(g, "a", "x", 3, 4);
  net_step(g, "Relu", "r", "a");
  net_node(g, "Flatten", "flat", "r", "flat", NULL);
  net_dense(g, "fc", "flat", 48, 5);
  net_finish(g, "fc", 2);
  reap_groups *groups = groups_of(g, 2);
  check_group(g, groups, 0, "a", 4, "a", "fc", NULL);
  bool keep[4] = {true, false, true, true};
  int64_t entries[48];
  const int conv = reap_graph_find(g, "a"), flat = reap_graph_find(g, "flat");
  CU_ASSERT_EQUAL(reap_groups_entries(groups, conv, 0, keep, entries), 3);
  CU_ASSERT_TRUE(entries[0] == 0 && entries[1] == 2 && entries[2] == 3);
  CU_ASSERT_EQUAL(reap_groups_entries(groups, flat, 0, keep, entries), 36);
  for (int i = 0; i < 36; i++) CU_ASSERT_EQUAL(entries[i], i < 12 ? i : i + 12);
  CU_ASSERT_EQUAL(reap_groups_entries(groups, reap_graph_find(g, "x"), 0, keep, entries), -1);
  CHECK_OK(reap_groups_shrink(groups, 0, keep));
  CU_ASSERT_EQUAL(reap_groups_at(groups, 0)->units, 3);
  bool again[3] = {false, true, false}; /* what was channel 2 */
  CU_ASSERT_EQUAL(reap_groups_entries(groups, flat, 0, again, entries), 12);
  CU_ASSERT_EQUAL(entries[0], 12);
  finish(g, groups);
}

/* x -> stem (4 channels) -> r0 -> conv1 (7) -> r1: the way into a residual block. */
static reap_graph *begin_residual(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "stem", "x", 3, 4);
  net_step(g, "Relu", "r0", "stem");
  net_conv3(g, "conv1", "r0", 4, 7);
  net_step(g, "Relu", "r1", "conv1");
  return g;
}

/* stem -> [conv1 -> conv2] + stem -> head */
static void identity_shortcut_couples(void) {
  reap_graph *g = begin_residual();
  net_conv3(g, "conv2", "r1", 7, 4);
  net_node(g, "Add", "sum", "conv2 r0", "sum", NULL);
  net_step(g, "Relu", "r2", "sum");
  net_conv3(g, "head", "r2", 4, 5);
  net_finish(g, "head", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "stem", 4, "stem conv2", "conv1 head",
              "coupled: stem and conv2 produce it, tied by Add sum; conv1 and head read it");
  check_group(g, groups, 1, "conv1", 7, "conv1", "conv2", NULL);
  check_group(g, groups, 2, "head", 5, "head", "", "the network's output");
  finish(g, groups);
}

static void projected_shortcut_couples(void) {
  reap_graph *g = begin_residual();
  net_conv3(g, "conv2", "r1", 7, 8);
  conv1(g, "shortcut", "r0", 4, 8, NULL);
  net_node(g, "Add", "sum", "shortcut conv2", "sum", NULL);
  net_step(g, "Relu", "r2", "sum");
  net_conv3(g, "head", "r2", 8, 5);
  net_finish(g, "head", 2);
  reap_groups *groups = groups_of(g, 4);
  check_group(g, groups, 0, "stem", 4, "stem", "conv1 shortcut",
              "coupled: stem produces it; conv1 and shortcut read it");
  check_group(g, groups, 1, "conv1", 7, "conv1", "conv2", NULL);
  check_group(g, groups, 2, "conv2", 8, "conv2 shortcut", "head",
              "coupled: conv2 and shortcut produce it, tied by Add sum; head reads it");
  finish(g, groups);
}

/* Option A of He et al.: every other pixel, empty channels around. */
static void padded_shortcut_parts(void) {
  reap_graph *g = begin_residual();
  net_conv3(g, "conv2", "r1", 7, 8);
  net_ints(g, "pads", "0,2,0,0,0,2,0,0");
  net_node(g, "Pad", "pad", "r0 pads", "pad", NULL);
  net_node(g, "Add", "sum", "conv2 pad", "sum", NULL);
  net_conv3(g, "head", "sum", 8, 5);
  net_finish(g, "head", 2);
  reap_groups *groups = groups_of(g, 4);
  check_group(g, groups, 0, "stem", 4, "stem conv2", "conv1 head",
              "coupled: stem and conv2 produce it, tied by Add sum; conv1 and head read it");
  check_group(g, groups, 1, "conv1", 7, "conv1", "conv2", NULL);
  check_group(g, groups, 2, "conv2", 4, "conv2", "head",
              "coupled: conv2 produces it; head reads it together with channels of stem");
  check_members(g, reap_groups_at(groups, 2),
                "conv2:outp 0 1 . . . . 2 3; pad:out= 0 1 . . . . 2 3; sum:0+ 0 1 . . . . 2 3; "
                "sum:1+ 0 1 . . . . 2 3; head:0c 0 1 . . . . 2 3");
  finish(g, groups);
}

static void slices_and_spatial_steps(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 6);
  net_ints(g, "from", "0,0");
  net_ints(g, "to", "9,9");
  net_ints(g, "axes", "2,3");
  net_ints(g, "steps", "2,2");
  net_node(g, "Slice", "thin", "a from to axes steps", "thin", NULL); /* pixels only: channels pass */
  net_conv3(g, "b", "thin", 6, 6);
  net_ints(g, "one", "1");
  net_ints(g, "four", "4");
  net_node(g, "Slice", "part", "b one four one", "part", NULL); /* channels 1 to 3 */
  net_conv3(g, "c", "part", 3, 2);
  net_finish(g, "c", 2);
  reap_groups *groups = groups_of(g, 4);
  check_group(g, groups, 0, "a", 6, "a", "b", NULL);
  check_group(g, groups, 1, "b", 3, "b", "", "no layer consumes it");
  check_group(g, groups, 2, "b:2", 3, "b", "c", "coupled: b produces it; c reads a part of it");
  check_members(g, reap_groups_at(groups, 2), "b:outp . 0 1 2 . .; part:0= . 0 1 2 . .; c:0c 0 1 2");
  finish(g, groups);
}

static void concat_into_one_layer(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "x", 3, 5);
  net_node(g, "Concat", "both", "a b", "both", "axis=1");
  net_step(g, "Relu", "r", "both");
  net_conv3(g, "c", "r", 9, 2);
  net_finish(g, "c", 2);
  reap_groups *groups = groups_of(g, 3);
  /* Each has a producer and a consumer of its own, but the consumer reads others as well. */
  check_group(g, groups, 0, "a", 4, "a", "c", "coupled: a produces it; c reads it together with channels of b");
  check_group(g, groups, 1, "b", 5, "b", "c", "coupled: b produces it; c reads it together with channels of a");
  bool keep[5] = {false, true, false, false, true};
  int64_t entries[9];
  CU_ASSERT_EQUAL(reap_groups_entries(groups, reap_graph_find(g, "both"), 1, keep, entries), 6);
  CU_ASSERT_TRUE(entries[3] == 3 && entries[4] == 5 && entries[5] == 8);
  finish(g, groups);
}

static void grouped_and_depthwise(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  conv1(g, "grouped", "a", 2, 6, "group=2");
  net_conv3(g, "b", "grouped", 6, 4);
  conv1(g, "deep", "b", 1, 4, "group=4");
  net_conv3(g, "c", "deep", 4, 2);
  net_finish(g, "c", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 2, "a grouped", "grouped b",
              "coupled: a and grouped produce it; grouped and b read it");
  check_members(g, reap_groups_at(groups, 0),
                "a:outp 0 0 1 1; grouped:0c 0 0 1 1; grouped:outp 0 0 0 1 1 1; "
                "b:0c 0 0 0 1 1 1");
  check_group(g, groups, 1, "b", 4, "b deep", "deep c", "coupled: b and deep produce it; deep and c read it");
  check_group(g, groups, 2, "c", 2, "c", "", "the network's output");
  finish(g, groups);
}

/* Of wide groups of a convolution each loses as many inputs, and as many outputs, by themselves. */
static void wide_groups(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 16);
  conv1(g, "wide", "a", 8, 18, "group=2");
  net_conv3(g, "b", "wide", 18, 4);
  net_finish(g, "b", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 8, "a", "wide", "coupled: a produces it; wide reads it more than once");
  check_members(g, reap_groups_at(groups, 0),
                "a:outp 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7; wide:0c 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7");
  check_group(g, groups, 1, "wide", 9, "wide", "b", "coupled: wide produces it; b reads it more than once");
  check_members(g, reap_groups_at(groups, 1),
                "wide:outp 0 1 2 3 4 5 6 7 8 0 1 2 3 4 5 6 7 8; b:0c 0 1 2 3 4 5 6 7 8 0 1 2 3 4 5 6 7 8");
  finish(g, groups);
}

static void outputs_and_constants_hold(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "a", 4, 5);
  net_weights(g, "k", "5,1,1");
  net_node(g, "Mul", "scaled", "b k", "scaled", NULL); /* a number for each channel */
  net_conv3(g, "c", "scaled", 5, 6);
  net_weights(g, "half", "1");
  net_node(g, "Mul", "halved", "c half", "halved", NULL); /* one for all of them */
  net_conv3(g, "d", "halved", 6, 2);
  CHECK_OK(reap_graph_add_output(g, "a"));
  net_finish(g, "d", 2);
  reap_groups *groups = groups_of(g, 4);
  check_group(g, groups, 0, "a", 4, "a", "b", "the network's output");
  check_group(g, groups, 1, "b", 5, "b", "c", NULL); /* the numbers go with them */
  check_group(g, groups, 2, "c", 6, "c", "d", NULL);
  check_group(g, groups, 3, "d", 2, "d", "", "the network's output");
  finish(g, groups);
}

static void two_consumers_and_one_channel(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_conv3(g, "b", "a", 4, 1);
  net_conv3(g, "c", "b", 1, 2);
  net_conv3(g, "d", "a", 4, 2);
  net_node(g, "Add", "y", "c d", "y", NULL);
  net_finish(g, "y", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 4, "a", "b d", "coupled: a produces it; b and d read it");
  check_group(g, groups, 1, "b", 1, "b", "c", "a single channel");
  check_group(g, groups, 2, "c", 2, "c d", "", "the network's output");
  finish(g, groups);
}

/* What mixes channels or is applied along another axis keeps all of them. */
static void what_is_not_followed_holds(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_node(g, "Softmax", "soft", "a", "soft", "axis=1");
  net_conv3(g, "b", "soft", 4, 4);
  net_node(g, "Transpose", "turned", "b", "turned", "perm=[0,2,3,1]");
  net_weights(g, "w", "4,5");
  net_node(g, "MatMul", "m", "turned w", "m", NULL); /* channels last: [batch, 6, 6, 5] */
  net_finish(g, "m", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 4, "a", "b", "Softmax soft needs all its channels");
  check_group(g, groups, 1, "b", 4, "b", "m", NULL); /* followed to the last axis */
  CU_ASSERT_EQUAL(reap_groups_axis(groups, reap_graph_find(g, "turned")), 3);
  finish(g, groups);
}

/* Conv -> MatMul along the width -> Conv: axis 1 goes through the product as it is, but nobody follows it there. */
static void products_along_the_width_hold(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 6);
  net_weights(g, "w", "6,6");
  net_node(g, "MatMul", "m", "a w", "m", NULL);
  net_conv3(g, "b", "m", 6, 2);
  net_finish(g, "b", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "a", 6, "a", "",
              "MatMul m is a matrix product along another axis than that of the channels");
  check_group(g, groups, 1, "m", 6, "m", "", "Conv b runs its window over the channels");
  check_group(g, groups, 2, "b", 2, "b", "", "the network's output");
  finish(g, groups);
}

/* The stream of a residual network read by a channel-wise product as well: x * gate(x). */
static void broadcast_joins(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, 4);
  net_step(g, "GlobalAveragePool", "gap", "a");
  conv1(g, "gate", "gap", 4, 4, NULL);
  net_node(g, "Mul", "gated", "a gate", "gated", NULL); /* [b,4,6,6] * [b,4,1,1] */
  net_conv3(g, "b", "gated", 4, 2);
  net_finish(g, "b", 2);
  reap_groups *groups = groups_of(g, 2);
  check_group(g, groups, 0, "a", 4, "a gate", "gate b",
              "coupled: a and gate produce it, tied by Mul gated; gate and b read it");
  finish(g, groups);
}

/* A unit has one entry in a place, several, which need not be adjacent, or none; a cut numbers all places anew. */
static void members_list_all_places(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 1, 2);
  conv1(g, "a", "x", 3, 2, NULL);
  conv1(g, "b", "x", 3, 1, NULL);
  net_step(g, "Relu", "r", "a");
  net_node(g, "Concat", "aba", "r b a", "aba", "axis=1");
  conv1(g, "c", "aba", 5, 5, NULL);
  net_node(g, "Add", "sum", "aba c", "sum", NULL);
  net_step(g, "Flatten", "flat", "r");
  net_dense(g, "fc", "flat", 4, 2);
  conv1(g, "d", "sum", 5, 2, NULL);
  net_step(g, "Flatten", "flat2", "d");
  net_dense(g, "fc2", "flat2", 4, 2);
  net_node(g, "Add", "y", "fc fc2", "y", NULL);
  net_finish(g, "y", 2);
  reap_groups *groups = groups_of(g, 4);
  check_members(g, reap_groups_at(groups, 3), "d:outp 0 1; flat2:0= 0 1; fc2:0c 0 0 1 1");
  const reap_group *group = reap_groups_at(groups, 0);
  CU_ASSERT_EQUAL(group->units, 2);
  check_members(g, group,
                "a:outp 0 1; r:0= 0 1; aba:0= 0 1; aba:2= 0 1; c:0c 0 1 . 0 1; c:outp 0 1 . 0 1; "
                "sum:0+ 0 1 . 0 1; sum:1+ 0 1 . 0 1; flat:0= 0 1; fc:0c 0 0 1 1; d:0c 0 1 . 0 1");
  check_members(g, reap_groups_at(groups, 1),
                "b:outp 0; aba:1= 0; c:0c . . 0 . .; c:outp . . 0 . .; "
                "sum:0+ . . 0 . .; sum:1+ . . 0 . .; d:0c . . 0 . .");
  const bool keep[] = {false, true};
  CHECK_OK(reap_groups_shrink(groups, 0, keep));
  CU_ASSERT_EQUAL(group->units, 1);
  int64_t units[8];
  CU_ASSERT_EQUAL(reap_member_units(group, &group->members[group->n_members - 1], units), 3);
  CU_ASSERT_TRUE(units[0] == 0 && units[1] == -1 && units[2] == 0);
  finish(g, groups);
}

/* Parameters of a normalisation that stays a node are places, too. */
static void parameters_are_members(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 1, 2);
  conv1(g, "a", "x", 3, 2, NULL);
  net_step(g, "Relu", "r", "a");
  net_norm_weights(g, "n", "2");
  net_node(g, "BatchNormalization", "n", "r n.scale n.shift n.mean n.var", "n", NULL);
  conv1(g, "b", "n", 2, 2, NULL);
  net_finish(g, "b", 2);
  reap_groups *groups = groups_of(g, 2);
  check_members(g, reap_groups_at(groups, 0),
                "a:outp 0 1; r:0= 0 1; n:0= 0 1; n:1= 0 1; n:2= 0 1; n:3= 0 1; n:4= 0 1; "
                "b:0c 0 1");
  finish(g, groups);
}

/* Two layers that read parts of one tensor: entries of another group are none of this one's. */
static void foreign_entries_are_told_apart(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 2, 2);
  conv1(g, "a", "x", 3, 2, NULL);
  conv1(g, "b", "x", 3, 1, NULL);
  net_node(g, "Concat", "both", "a b", "both", "axis=1");
  conv1(g, "c", "both", 3, 2, NULL);
  net_finish(g, "c", 2);
  reap_groups *groups = groups_of(g, 3);
  check_members(g, reap_groups_at(groups, 0), "a:outp 0 1; both:0= 0 1; c:0c 0 1 .");
  check_members(g, reap_groups_at(groups, 1), "b:outp 0; both:1= 0; c:0c . . 0");
  CU_ASSERT_EQUAL(reap_group_consumer(reap_groups_at(groups, 0)), net_layer(g, "c"));
  CU_ASSERT_EQUAL(reap_group_producer(reap_groups_at(groups, 2)), net_layer(g, "c"));
  CU_ASSERT_EQUAL(reap_group_consumer(reap_groups_at(groups, 2)), -1);
  CU_ASSERT_EQUAL(reap_groups_consumed_by(groups, net_layer(g, "c")), -1); /* of several */
  CU_ASSERT_EQUAL(reap_groups_produced_by(groups, net_layer(g, "b")), 1);
  finish(g, groups);
}

/* Only the first three of many are named, and each join once. */
static void many_layers_are_counted(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 4, 4);
  for (int i = 0; i < 5; i++) {
    char name[16];
    snprintf(name, sizeof name, "in%d", i);
    conv1(g, name, "x", 3, 4, NULL);
  }
  net_node(g, "Sum", "total", "in0 in1 in2 in3 in4", "s", NULL);
  conv1(g, "a", "s", 4, 2, NULL);
  net_node(g, "Concat", "twice", "a a", "aa", "axis=1");
  conv1(g, "out", "aa", 4, 2, NULL);
  net_finish(g, "out", 2);
  reap_groups *groups = groups_of(g, 3);
  check_group(g, groups, 0, "in0", 4, "in0 in1 in2 in3 in4", "a",
              "coupled: in0, in1, in2 and 2 more produce it, tied by Sum total; a reads it");
  check_group(g, groups, 1, "a", 2, "a", "out", "coupled: a produces it; out reads it more than once");
  finish(g, groups);
}

/* Behind a Flatten each channel is several columns: a matrix that reads them is the only one that does, a convolution
 * reads each several times. */
static void flattened_maps_are_followed(void) {
  static const char *const forms[][2] = {{"Unsqueeze", "axes"}, {"Reshape", "shape"}};
  for (int size = 1; size <= 2; size++)
    for (int form = 0; form < 2; form++) {
      reap_graph *g = net_begin();
      const int64_t columns = 4 * size * size;
      char shape[32];
      snprintf(shape, sizeof shape, "-1,%lld,1,1", (long long)columns);
      net_image(g, "x", 3, size, size);
      net_ints(g, "axes", "2,3");
      net_ints(g, "shape", shape);
      conv1(g, "a", "x", 3, 4, NULL);
      net_step(g, "Flatten", "flat", "a");
      net_node(g, forms[form][0], "image", form == 0 ? "flat axes" : "flat shape", "i", NULL);
      conv1(g, "b", "i", columns, 2, NULL);
      net_finish(g, "b", 2);
      reap_groups *groups = groups_of(g, 2);
      check_group(g, groups, 0, "a", 4, "a", "b",
                  size == 1 ? NULL : "coupled: a produces it; b reads it more than once");
      finish(g, groups);
    }
}

/* Channels of both halves that a shuffle puts side by side leave together; a Reshape of [height, width, channels] to
 * one axis has each channel at every position. */
static void shuffles_and_channels_last(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 3, 2, 2);
  conv1(g, "a", "x", 3, 6, NULL);
  net_ints(g, "split", "0,2,3,2,2");
  net_ints(g, "merge", "0,-1,2,2");
  net_node(g, "Reshape", "halves", "a split", "halves", NULL);
  net_node(g, "Transpose", "mixed", "halves", "mixed", "perm=[0,2,1,3,4]");
  net_node(g, "Reshape", "shuffled", "mixed merge", "shuffled", NULL);
  conv1(g, "b", "shuffled", 6, 2, NULL);
  net_node(g, "Transpose", "last", "b", "last", "perm=[0,2,3,1]");
  net_ints(g, "flat", "-1,8");
  net_node(g, "Reshape", "row", "last flat", "row", NULL);
  net_dense(g, "fc", "row", 8, 3);
  net_finish(g, "fc", 2);
  reap_groups *groups = groups_of(g, 3);
  int64_t units[8];
  const reap_group *group = reap_groups_at(groups, 0);
  check_group(g, groups, 0, "a", 3, "a", "b", "coupled: a produces it; b reads it more than once");
  const reap_member *first = &group->members[0], *last = &group->members[group->n_members - 1];
  CU_ASSERT_EQUAL(reap_member_units(group, first, units), 6);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(units[i], i % 3);
  CU_ASSERT_EQUAL(reap_member_units(group, last, units), 6);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(units[i], i / 2);
  group = reap_groups_at(groups, 1);
  check_group(g, groups, 1, "b", 2, "b", "fc", "coupled: b produces it; fc reads it more than once");
  CU_ASSERT_EQUAL(reap_member_units(group, &group->members[group->n_members - 1], units), 8);
  for (int i = 0; i < 8; i++) CU_ASSERT_EQUAL(units[i], i % 2);
  finish(g, groups);
}

const test_case test_cases[] = {{"plain chain", plain_chain},
                                {"Flatten into Gemm", flatten_into_gemm},
                                {"an identity shortcut couples", identity_shortcut_couples},
                                {"a projected shortcut couples", projected_shortcut_couples},
                                {"a padded shortcut parts a stream", padded_shortcut_parts},
                                {"slices", slices_and_spatial_steps},
                                {"concatenation", concat_into_one_layer},
                                {"grouped and depthwise", grouped_and_depthwise},
                                {"wide convolution groups", wide_groups},
                                {"outputs and constants hold", outputs_and_constants_hold},
                                {"two consumers, one channel", two_consumers_and_one_channel},
                                {"what is not followed holds", what_is_not_followed_holds},
                                {"products along the width hold", products_along_the_width_hold},
                                {"broadcast joins", broadcast_joins},
                                {"members list all places", members_list_all_places},
                                {"parameters are members", parameters_are_members},
                                {"foreign entries are told apart", foreign_entries_are_told_apart},
                                {"many layers are counted", many_layers_are_counted},
                                {"flattened maps are followed", flattened_maps_are_followed},
                                {"shuffles and channels last", shuffles_and_channels_last},
                                {NULL, NULL}};
