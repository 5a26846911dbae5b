/* What runs are expected to hold: layers that one rank holds whole, and those that lie on all ranks. */
#include "prune/estimate/memory_estimate.h"
#include "prune/estimate/run_estimate.h"
#include "prune/sensitivity/paths.h"
#include "reap/solver.h"
#include "small_networks.h"
#include "stats/collect.h"
#include "stats/moments_panels.h"

const char *const test_suite_name = "estimate";

/* 25,088 columns behind a Flatten, as in VGG's first matrix product, with few outputs; and a plain convolution. */
enum { LARGE = 512 * 49, OUTPUTS = 10, MANY = 5000 /* images: too many for few rows */ };

typedef struct subject {
  reap_graph *graph;
  reap_groups *groups;
  reap_layer *layers;
  int count;
} subject;

static subject subject_make(void) {
  subject s = {.graph = net_begin()};
  net_image(s.graph, "x", 3, 7, 7);
  net_conv3(s.graph, "a", "x", 3, 16);
  net_step(s.graph, "Relu", "a.relu", "a");
  net_conv3(s.graph, "b", "a.relu", 16, 512);
  net_step(s.graph, "Relu", "b.relu", "b");
  net_step(s.graph, "Flatten", "flat", "b.relu");
  net_weights(s.graph, "c.w", "10,25088");
  net_node(s.graph, "Gemm", "c", "flat c.w", "c", "transB=1");
  net_finish(s.graph, "c", 5);
  CHECK_OK(reap_groups_find(s.graph, &s.groups));
  CHECK_OK(reap_collect_layers(s.graph, s.groups, false, &s.count, &s.layers));
  CU_ASSERT_EQUAL_FATAL(s.count, 2);
  CU_ASSERT_EQUAL_FATAL(s.layers[1].n, LARGE);
  return s;
}

static void subject_clear(subject *s) {
  reap_free(&s->layers);
  reap_groups_destroy(&s->groups);
  reap_graph_destroy(&s->graph);
}

static const double WHOLE = 8.0 * LARGE * (double)LARGE;

static reap_memory_estimate of_paths(const subject *s, int64_t images, const reap_paths_options *options) {
  reap_memory_estimate f;
  CHECK_OK(reap_estimate_paths(test_comm(), s->graph, s->groups, images, options, &f));
  CU_ASSERT_PTR_NOT_NULL_FATAL(f.layer);
  CU_ASSERT_STRING_EQUAL(f.layer, s->graph->nodes[s->layers[1].node]->layer);
  CU_ASSERT_EQUAL(f.columns, LARGE);
  return f;
}

/* Systems of all layers that read a coupled group stand side by side: four of 144 columns and 8 outputs. */
static void coupled_systems_stand_side_by_side(void) {
  static const char *const readers[] = {"p", "q", "r", "s"};
  const reap_estimate_images images = {.count = MANY};
  const double system = 8.0 * (2 * 144.0 * 144 + 2 * 144.0 * 8);
  reap_graph *g = net_begin();
  reap_groups *groups = NULL;
  bool chosen[8] = {false};
  net_image(g, "x", 3, 7, 7);
  net_conv3(g, "a", "x", 3, 16);
  for (int k = 0; k < 4; k++) net_conv3(g, readers[k], "a", 16, 8);
  net_node(g, "Sum", "y", "p q r s", "y", NULL);
  net_finish(g, "y", 5);
  CHECK_OK(reap_groups_find(g, &groups));
  CU_ASSERT_TRUE(reap_groups_at(groups, 0)->cuttable && !reap_groups_at(groups, 0)->prunable);
  chosen[0] = true;
  for (int ranks = 1; ranks <= 4; ranks++) {
    reap_memory_estimate found;
    CHECK_OK(reap_estimate_prune(g, groups, chosen, &images, NULL, ranks, &found));
    const double together = system * (1 + 4.0 / ranks), alone = system * 1.5;
    CU_ASSERT_TRUE((double)(found.every_rank + found.deciding_rank) >= fmax(together, alone) - 1);
    CU_ASSERT_EQUAL(found.columns, 144);
  }
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
}

/* Left to choose, paths of a layer that large need a share of one matrix and some panels, on one rank as well. */
static void paths_of_large_layers_are_distributed(void) {
  subject s = subject_make();
  reap_paths_options options = {.sizes = 4, .measured_images = 500};
  const reap_memory_estimate distributed = of_paths(&s, MANY, &options);
  options.solver = REAP_SOLVER_LOCAL;
  const reap_memory_estimate whole = of_paths(&s, MANY, &options);
  CU_ASSERT_TRUE((double)whole.every_rank > 2 * WHOLE);
  CU_ASSERT_TRUE((double)whole.deciding_rank > 3 * WHOLE);
  CU_ASSERT_TRUE((double)distributed.every_rank > WHOLE / test_ranks());
  CU_ASSERT_TRUE((double)distributed.every_rank <
                 1.5 * WHOLE / test_ranks() + 1e9); /* a quarter more for the factor of channels that left */
  CU_ASSERT_EQUAL(distributed.deciding_rank, 0);
  CU_ASSERT_EQUAL(whole.frontier, distributed.frontier);
  subject_clear(&s);
}

/* Four sizes, evenly distributed, are two layers' weights on the team that measures them; without images held out there
 * is none. */
static void weights_that_are_measured_count(void) {
  subject s = subject_make();
  reap_paths_options options = {.sizes = 4, .measured_images = 500};
  const double large = 2.0 * 8 * LARGE * OUTPUTS, small = 2.0 * 8 * 16 * 9 * 512;
  const reap_memory_estimate measured = of_paths(&s, MANY, &options), unmeasured = of_paths(&s, 9, &options);
  CU_ASSERT_TRUE((double)measured.weights == large || (double)measured.weights == large + small);
  if (test_ranks() == 1) CU_ASSERT_EQUAL((double)measured.weights, large + small);
  /* A team that every rank is in, or one team for each. */
  const double all = (double)measured.all_weights;
  CU_ASSERT_TRUE(all == large + small || all == test_ranks() * (large + small));
  CU_ASSERT_TRUE(measured.all_weights >= measured.weights && unmeasured.all_weights == 0);
  CU_ASSERT_EQUAL(unmeasured.weights, 0);
  options.sizes = 0;
  CU_ASSERT_EQUAL(of_paths(&s, MANY, &options).every_rank, measured.every_rank);
  subject_clear(&s);
}

/* Of the ten images held out every team keeps the network's outputs twice. */
static void outputs_that_are_kept_count(void) {
  subject s = subject_make();
  reap_paths_options options = {.sizes = 4, .measured_images = 500};
  const reap_value *y = &s.graph->values[s.graph->outputs[0]];
  const int64_t image = 2 * (int64_t)sizeof(float) * (reap_value_count(y) / s.graph->batch);
  for (int64_t images = 10; images >= 5; images -= 5) { /* on one team of all ranks, or one for each */
    options.measured_images = images;
    const int64_t outputs = of_paths(&s, MANY, &options).outputs;
    CU_ASSERT_TRUE(outputs == images * image || outputs == test_ranks() * images * image);
  }
  CU_ASSERT_EQUAL(of_paths(&s, 9, &options).outputs, 0);
  subject_clear(&s);
}

static void moments_that_are_stored_take_less(void) {
  subject s = subject_make();
  const reap_gram_place place[] = {REAP_GRAM_WHOLE, REAP_GRAM_DISTRIBUTED}, none[] = {REAP_GRAM_WHOLE, REAP_GRAM_WHOLE};
  const reap_estimate_images images = {.count = MANY};
  reap_memory_estimate panels, whole;
  CHECK_OK(reap_estimate_layers(s.graph, s.layers, 2, &images, REAP_ESTIMATE_STORE, place, 2, &panels));
  CHECK_OK(reap_estimate_layers(s.graph, s.layers, 2, &images, REAP_ESTIMATE_STORE, none, 2, &whole));
  CU_ASSERT_TRUE((double)whole.every_rank > 2 * WHOLE && whole.deciding_rank == 0);
  CU_ASSERT_EQUAL(panels.every_rank, (int64_t)reap_moments_panels_bytes(&s.layers[1], 2));
  CU_ASSERT_TRUE((double)panels.every_rank < WHOLE / 4);
  subject_clear(&s);
}

/* The estimate of a pruning run counts panels too: it would be 2 n^2 numbers otherwise. */
static void runs_with_panels(void) {
  subject s = subject_make();
  bool chosen[16] = {false};
  int64_t counts[16] = {0};
  for (int g = 0; g < reap_groups_count(s.groups); g++) {
    chosen[g] = reap_groups_at(s.groups, g)->prunable;
    counts[g] = reap_groups_at(s.groups, g)->units / 2;
  }
  for (int ranks = 1; ranks <= 4; ranks *= 2) {
    const reap_run_setting setting = {.graph = s.graph,
                                      .groups = s.groups,
                                      .chosen = chosen,
                                      .counts = counts,
                                      .shard = reap_shard_make(MANY, 5, 0, ranks),
                                      .ranks = ranks};
    reap_run_estimate f;
    const reap_estimate_images images = {.count = MANY};
    int64_t every = 0, deciding = 0;
    CHECK_OK(reap_estimate_run(&setting, 0, &f));
    CHECK_OK(reap_estimate_matrices(&s.layers[1], &images, REAP_ESTIMATE_PRUNE, REAP_GRAM_DISTRIBUTED, ranks, &every,
                                    &deciding));
    CU_ASSERT_EQUAL(f.matrices, (double)every);
    CU_ASSERT_TRUE(f.matrices < 1.5 * WHOLE / ranks + 1e9);
    CU_ASSERT_TRUE(f.moments_work > 0.9 * (double)(setting.shard.last * 5) * LARGE * (0.5 * LARGE));
  }
  subject_clear(&s);
}

/* A hundred images, which are ninety rows of the product, take a hundredth of a matrix. */
static void few_rows_take_little(void) {
  subject s = subject_make();
  reap_paths_options options = {.sizes = 4, .measured_images = 500};
  const reap_memory_estimate paths = of_paths(&s, 100, &options);
  CU_ASSERT_TRUE((double)paths.every_rank > 8.0 * 2 * 90 * LARGE && (double)paths.every_rank < WHOLE / 50);
  CU_ASSERT_EQUAL(paths.deciding_rank, 0);
  subject_clear(&s);
}

const test_case test_cases[] = {{"paths of large layers are distributed", paths_of_large_layers_are_distributed},
                                {"weights that are measured count", weights_that_are_measured_count},
                                {"outputs that are kept count", outputs_that_are_kept_count},
                                {"moments that are stored take less", moments_that_are_stored_take_less},
                                {"runs with panels", runs_with_panels},
                                {"few rows take little", few_rows_take_little},
                                {"coupled systems stand side by side", coupled_systems_stand_side_by_side},
                                {NULL, NULL}};
