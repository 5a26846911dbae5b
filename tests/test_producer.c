/* producers: a pruned layer and the one that produces its inputs, solved in turn. */
#include "prune_runs.h"

const char *const test_suite_name = "producer";

static void run_rounds(const reap_comm *comm, int rounds, const setting *s, outcome *o) {
  producer_rounds = rounds;
  run(comm, s, o);
  producer_rounds = 0;
}

/* ---------------------------------------------------------------- where the answer is known */

/* Image, 3x3 convolution to 4 channels that a Relu never cuts, 1x1 convolution to 2 outputs: 2 channels are enough for
 * all that comes out, but no 2 of these 4 are. */
static reap_graph *never_cut_network(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 28, 28);
  net_conv3(g, "a", "x", 1, 4);
  net_step(g, "Relu", "r", "a");
  net_weights(g, "b.w", "2,4,1,1");
  net_weights(g, "b.b", "2");
  net_node(g, "Conv", "b", "r b.w b.b", "b", NULL);
  net_step(g, "GlobalAveragePool", "p", "b");
  net_step(g, "Flatten", "f", "p");
  reap_tensor *bias = g->values[g->nodes[0]->inputs[2]].constant;
  for (int64_t i = 0; i < bias->count; i++) bias->f32[i] += 100;
  net_finish(g, "f", 8);
  return g;
}

static void run_never_cut(int rounds, outcome *o) {
  memset(o, 0, sizeof *o);
  o->network.graph = never_cut_network();
  CHECK_OK(reap_graph_clone(o->network.graph, &o->pruned));
  CHECK_OK(reap_groups_find(o->pruned, &o->groups));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &o->images));
  choose_share(o, 0, 0.5);
  o->shard = reap_shard_make(60, 8, test_rank(), reap_comm_size(test_comm()));
  CHECK_OK(reap_calloc(&o->repair, o->pruned->n_nodes, sizeof *o->repair));
  for (int i = 0; i < o->pruned->n_nodes; i++) o->repair[i] = true;
  const reap_prune_options options = {.method = reap_method_find("reap"),
                                      .refit = REAP_REFIT_LEAST_SQUARES,
                                      .chosen = o->chosen,
                                      .counts = o->counts,
                                      .repair = o->repair,
                                      .producer_rounds = rounds,
                                      .ridge = REAP_DEFAULT_RIDGE};
  CHECK_OK(reap_prune(test_comm(), o->network.graph, o->pruned, o->groups, o->images, &o->shard, &options, &o->result));
}

static void a_pair_that_is_linear_becomes_exact(void) {
  outcome alone, joint;
  run_never_cut(0, &alone);
  run_never_cut(20, &joint);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&alone.result, REAP_STEP_PRUNE), 1);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&joint.result, REAP_STEP_PRUNE), 1);
  const reap_step_record *a = reap_prune_record(&alone.result, REAP_STEP_PRUNE, 0),
                         *j = reap_prune_record(&joint.result, REAP_STEP_PRUNE, 0);
  CU_ASSERT_EQUAL(a->n_kept, 2);
  CU_ASSERT_PTR_NULL(a->producer);
  CU_ASSERT_STRING_EQUAL_FATAL(j->producer, "a");
  CU_ASSERT_TRUE(j->producer_changed && j->producer_rounds > 0);
  CU_ASSERT_TRUE(a->relative_error > 1e-3); /* else there would be nothing to see */
  CU_ASSERT_EQUAL(j->alone_error, a->relative_error);
  CU_ASSERT_EQUAL(j->alone_held_out, a->held_out_error);
  CU_ASSERT_TRUE(j->relative_error < 0.01 * a->relative_error);
  CU_ASSERT_TRUE(j->held_out_error < 0.01 * a->held_out_error);
  clear(&alone);
  clear(&joint);
}

/* ---------------------------------------------------------------- on real networks */

/* What is reported of a layer of the finished network is what it does, on images in the moments and on those held out.
 */
static void check_reported(const outcome *o, const reap_step_record *l, double tolerance) {
  const int layer = net_layer(o->pruned, l->layer), before = net_layer(o->network.graph, l->layer);
  int64_t count;
  CU_ASSERT_TRUE_FATAL(layer >= 0 && before >= 0);
  const int value = o->pruned->nodes[layer]->outputs[0];
  const reap_value *v = &o->pruned->values[value];
  float *y = values_of(o->network.graph, o->network.graph->nodes[before]->outputs[0], o, &count);
  float *z = values_of(o->pruned, value, o, &count);
  const int64_t m = v->dims[1], positions = reap_value_count(v) / v->dims[0] / m;
  CHECK_NEAR(measured_error(o, y, z, m, positions, false), l->relative_error, tolerance * l->relative_error);
  CHECK_NEAR(measured_error(o, y, z, m, positions, true), l->held_out_error, tolerance * l->held_out_error);
  reap_free(&y);
  reap_free(&z);
}

static void errors_fall_as_reported(void) {
  outcome o;
  run_rounds(test_comm(), 3, &(setting){RESNET, "reap", true, 120, 0, 1, 1, true, false, 0.3}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0);
  CU_ASSERT_TRUE(l->producer && l->producer_changed);
  CU_ASSERT_TRUE(l->relative_error < 0.99 * l->alone_error);
  CU_ASSERT_TRUE(l->held_out_error < l->alone_held_out);
  check_reported(&o, l, 1e-4);
  clear(&o);
}

/* As many positions are drawn as the whole layer's columns want, of the layer whole, cut and solved with its producer:
 * errors of other rows would be compared otherwise. Between 0.2 (the layers' errors) and a half (of the positions)
 * there is room for chance. */
static void drawn_positions_stay_the_same(void) {
  enum { ROWS = 64, IMAGES = 200 };
  for (int rounds = 0; rounds <= 3; rounds += 3) {
    outcome o;
    run_rounds(test_comm(), rounds, &(setting){RESNET, "reap", true, IMAGES, -ROWS, 1, -1, true, false, 0.4}, &o);
    CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0);
    const int64_t columns = l->channels * 9, drawn = (ROWS * columns + IMAGES - 1) / IMAGES;
    CU_ASSERT_EQUAL(l->samples, drawn * IMAGES * 9 / 10);
    CU_ASSERT_TRUE(rounds == 0 || l->producer_rounds > 0);
    check_reported(&o, l, 0.2);
    clear(&o);
  }
}

/* Layers behind a cut that lose nothing themselves; returns how many were changed with their producers. */
static int check_repaired(const char *model, bool with_drift) {
  outcome o, alone;
  int found = 0;
  const setting s = {model, "reap", true, 120, 0, 1, -1, true, false, 0.2};
  run_rounds(test_comm(), 3, &s, &o);
  run_rounds(test_comm(), 0, &s, &alone);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
  for (int k = 0; k < reap_prune_count(&o.result, REAP_STEP_REPAIR); k++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_REPAIR, k);
    CU_ASSERT_PTR_NULL(reap_prune_record(&alone.result, REAP_STEP_REPAIR, k)->producer);
    if (!l->producer) continue;
    CU_ASSERT_TRUE(l->held_out_error <= l->alone_held_out && l->held_out_error <= l->held_out_before);
    CU_ASSERT_TRUE(l->changed || !l->producer_changed);
    if (!l->producer_changed) CU_ASSERT_EQUAL(l->relative_error, l->alone_error);
    CU_ASSERT_TRUE(!l->repaired_shortcut || with_drift);
    if (l->producer_changed && !with_drift) check_reported(&o, l, 1e-4);
    found += l->producer_changed;
  }
  clear(&o);
  clear(&alone);
  return found;
}

static void repaired_layers_have_producers(void) {
  CU_ASSERT_TRUE(check_repaired(VGG, false) > 0);
  CU_ASSERT_TRUE(check_repaired(RESNET, true) > 0);
}

/* Between conv1_2 and conv2_1 there is a pooling, and conv1_1 has no producer that is pruned with it. */
static void only_neighbours_are_solved_together(void) {
  outcome o;
  int found = 0;
  run_rounds(test_comm(), 1, &(setting){VGG, "reap", true, 64, 4, 1, 0, true, false, 0}, &o);
  for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
    const bool neighbours = strcmp(l->layer, "conv1_2.Conv") == 0 || strcmp(l->layer, "conv2_2.Conv") == 0 ||
                            strcmp(l->layer, "conv3_2.Conv") == 0;
    if (l->producer) CU_ASSERT_STRING_EQUAL(l->producer, l->group);
    found += l->producer && neighbours;
    CU_ASSERT_TRUE(neighbours || !l->producer || strncmp(l->layer, "conv", 4) != 0);
  }
  CU_ASSERT_EQUAL(found, 3);
  clear(&o);
}

/* Whatever few images suggest: those held out do not pay for it; and with none held out few rows change nothing. */
static void images_held_out_never_pay(void) {
  static const int64_t images[] = {9, 10, 40};
  for (int k = 0; k < 3; k++) {
    outcome o, alone;
    const setting s = {RESNET, "reap", true, images[k], 1, 1, 0, true, false, 0};
    run_rounds(test_comm(), 2, &s, &o);
    run_rounds(test_comm(), 0, &s, &alone);
    for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_PRUNE); i++) {
      const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
      CU_ASSERT_PTR_NOT_NULL(l->producer);
      if (images[k] >= 10) CU_ASSERT_TRUE(l->held_out_error <= l->alone_held_out);
      if (images[k] < 10) CU_ASSERT_FALSE(l->producer_changed);
      if (!l->producer_changed) CU_ASSERT_EQUAL(l->relative_error, l->alone_error);
    }
    if (images[k] < 10) check_same_weights(o.pruned, alone.pruned);
    clear(&o);
    clear(&alone);
  }
}

static void excluded_producers_stay(void) {
  outcome o;
  producer_rounds = 2;
  run(test_comm(), &(setting){RESNET, "reap", true, 64, 4, 1, 3, false, false, 0}, &o); /* nothing may be repaired */
  producer_rounds = 0;
  for (int i = 0; i < reap_prune_count(&o.result, REAP_STEP_PRUNE); i++)
    CU_ASSERT_PTR_NULL(reap_prune_record(&o.result, REAP_STEP_PRUNE, i)->producer);
  clear(&o);
}

static void the_result_is_the_same_on_any_ranks(void) {
  producer_rounds = 2;
  check_any_ranks(&(setting){RESNET, "reap", true, 150, 8, 0, 5, true, false, 0});
  check_any_ranks(&(setting){VGG, "reap", true, 70, 0, 1, 2, true, true, 0});
  producer_rounds = 0;
}

const test_case test_cases[] = {{"a pair that is linear becomes exact", a_pair_that_is_linear_becomes_exact},
                                {"errors fall as reported", errors_fall_as_reported},
                                {"drawn positions stay the same", drawn_positions_stay_the_same},
                                {"repaired layers have producers", repaired_layers_have_producers},
                                {"only neighbours are solved together", only_neighbours_are_solved_together},
                                {"images held out never pay", images_held_out_never_pay},
                                {"excluded producers stay", excluded_producers_stay},
                                {"the result is the same on any ranks", the_result_is_the_same_on_any_ranks},
                                {NULL, NULL}};
