/* classifier: outputs of a pruned classifier scaled to the original's class probabilities. */
#include "prune_runs.h"

#include "exec/divergence.h"
#include "exec/output_set.h"
#include "prune/repair/temperature.h"

const char *const test_suite_name = "classifier";

/* ---------------------------------------------------------------- divergence and scale */

enum { ROWS = 60, M = 4 };

static void make(double *logits, uint64_t seed) {
  reap_random random = reap_random_init(seed, 0, 0);
  for (int i = 0; i < ROWS * M; i++) logits[i] = 3 * reap_random_normal(&random);
}

/* By the definition, in plain loops. */
static double divergence(const double *y, const double *z, double scale) {
  double total = 0;
  for (int i = 0; i < ROWS; i++) {
    double all_y = 0, all_z = 0;
    for (int j = 0; j < M; j++) {
      all_y += exp(y[i * M + j]);
      all_z += exp(scale * z[i * M + j]);
    }
    for (int j = 0; j < M; j++) {
      const double p = exp(y[i * M + j]) / all_y, q = exp(scale * z[i * M + j]) / all_z;
      total += p * log(p / q);
    }
  }
  return total / ROWS;
}

static void the_divergence_is_that_of_the_definition(void) {
  double y[ROWS * M], z[ROWS * M];
  make(y, 1);
  make(z, 2);
  CHECK_NEAR(reap_softmax_divergence(ROWS, M, y, z, 0.7), divergence(y, z, 0.7), 1e-12);
  CHECK_NEAR(reap_softmax_divergence(ROWS, M, y, y, 1), 0, 1e-14);
  for (int i = 0; i < ROWS * M; i++) z[i] *= 1000; /* overflows no exponential */
  CU_ASSERT_TRUE(isfinite(reap_softmax_divergence(ROWS, M, y, z, 1)));
}

static void the_best_scale_is_found(void) {
  double y[ROWS * M], z[ROWS * M];
  make(y, 1);
  for (int i = 0; i < ROWS * M; i++) z[i] = 2.5 * y[i]; /* right, and too sure of it */
  CHECK_NEAR(reap_softmax_scale(ROWS, M, y, z), 0.4, 1e-6);
  for (int i = 0; i < ROWS * M; i++) z[i] = 0.5 * y[i]; /* never above one */
  CHECK_NEAR(reap_softmax_scale(ROWS, M, y, z), 1, 1e-6);
  make(z, 2);
  for (int i = 0; i < ROWS * M; i++) z[i] = y[i] + 0.7 * z[i]; /* wrong at times */
  const double best = reap_softmax_scale(ROWS, M, y, z);
  CU_ASSERT_TRUE(best > 0.2 && best < 0.95);
  for (double scale = 0.125; scale <= 1; scale += 0.005)
    CU_ASSERT_TRUE(divergence(y, z, best) <= divergence(y, z, scale) + 1e-9);
}

/* ---------------------------------------------------------------- whole runs */

/* KL to the original on the images held out, over all ranks. */
static double measured_kl(const outcome *o) {
  int64_t count;
  const reap_output_kind kind = reap_output_kind_of(o->pruned, o->pruned->outputs[0]);
  float *y = values_of(o->network.graph, o->network.graph->outputs[0], o, &count);
  float *z = values_of(o->pruned, o->pruned->outputs[0], o, &count);
  reap_divergence sums = {0};
  double parts[2] = {0, 0};
  for (int64_t b = o->shard.first; b < o->shard.last; b++) {
    int64_t first, images;
    reap_shard_block(&o->shard, b, &first, &images);
    for (int64_t i = 0; i < images; i++) {
      const int64_t at = ((b - o->shard.first) * o->shard.block + i) * 10;
      if (!reap_split_holds_out(REAP_SPLIT_TENTH, first + i)) continue;
      reap_divergence_add(kind, y + at, kind, z + at, 1, 10, &sums);
      parts[1] += 1;
    }
  }
  parts[0] = sums.kl;
  CHECK_OK(reap_comm_sum(test_comm(), parts, 2));
  reap_free(&y);
  reap_free(&z);
  return parts[0] / parts[1];
}

/* Outputs on mixtures of the images held out, row by row on every rank. */
static void mixed_outputs_of(const reap_graph *g, const outcome *o, int64_t rows, float *out) {
  const int64_t batch = o->shard.block, size = reap_value_count(&g->values[g->inputs[0]]) / batch;
  float *one = NULL, *other = NULL;
  CHECK_OK(reap_alloc(&one, size, sizeof *one));
  CHECK_OK(reap_alloc(&other, size, sizeof *other));
  for (int64_t i = 0; i < rows; i++) {
    reap_frontier *front = NULL;
    float *storage = NULL;
    const int output = g->outputs[0];
    CHECK_OK(reap_dataset_read(o->images, 0, 10 * i + 9, 1, true, one));
    CHECK_OK(reap_dataset_read(o->images, 0, 10 * ((i + 1) % rows) + 9, 1, true, other));
    CHECK_OK(reap_frontier_create(g, 1, REAP_BACKEND_AUTO, &front));
    CHECK_OK(reap_frontier_input(front, 0, 0, &storage));
    memset(storage, 0, (size_t)(batch * size) * sizeof *storage);
    for (int64_t k = 0; k < size; k++) storage[k] = 0.8F * one[k] + 0.2F * other[k];
    CHECK_OK(reap_frontier_advance(front, &output, 1));
    memcpy(out + i * 10, reap_frontier_value(front, output, 0), 10 * sizeof *out);
    reap_frontier_destroy(&front);
  }
  reap_free(&one);
  reap_free(&other);
}

static double measured_mixed_kl(const outcome *o) {
  enum { HELD_OUT = 60 };
  float y[HELD_OUT * 10], z[HELD_OUT * 10];
  const reap_output_kind kind = reap_output_kind_of(o->pruned, o->pruned->outputs[0]);
  reap_divergence sums = {0};
  mixed_outputs_of(o->network.graph, o, HELD_OUT, y);
  mixed_outputs_of(o->pruned, o, HELD_OUT, z);
  reap_divergence_add(kind, y, kind, z, HELD_OUT, 10, &sums);
  return sums.kl / HELD_OUT;
}

/* A network that lost three quarters of its last groups by chance is wrong, and sure of it. */
static void divergence_falls_as_reported(void) {
  outcome with, without;
  setting s = {.model = RESNET,
               .method = "random",
               .refit = REAP_REFIT_LEAST_SQUARES,
               .images = 600,
               .positions = 2,
               .seed = 1,
               .repair = true,
               .keep = 0.15};
  run(test_comm(), &s, &without);
  s.classifier = REAP_SCALE_ALL;
  judged_views = REAP_VIEW_MIXES;
  run(test_comm(), &s, &with);
  judged_views = 0;
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&with.result, REAP_STEP_SCALE), 1);
  const reap_step_record *c = reap_prune_record(&with.result, REAP_STEP_SCALE, 0);
  CU_ASSERT_EQUAL(reap_prune_count(&without.result, REAP_STEP_SCALE), 0);
  CU_ASSERT_PTR_NOT_NULL_FATAL(c->layer);
  CU_ASSERT_STRING_EQUAL(c->layer, with.pruned->nodes[with.pruned->values[with.pruned->outputs[0]].producer]->layer);
  CU_ASSERT_TRUE(c->changed);
  CU_ASSERT_EQUAL(c->images, 60);
  /* Up to the last layer both runs are one. */
  CHECK_NEAR(measured_kl(&without), c->held_out_kl_before, 1e-4 * c->held_out_kl_before);
  CU_ASSERT_TRUE(c->factor > 0.125 && c->factor < 1);
  CHECK_NEAR(measured_kl(&with), c->held_out_kl, 1e-4 * c->held_out_kl);
  CHECK_NEAR(measured_mixed_kl(&without), c->view_kl_before, 1e-4 * c->view_kl_before);
  CHECK_NEAR(measured_mixed_kl(&with), c->view_kl, 1e-4 * c->view_kl);
  CU_ASSERT_TRUE(c->view_kl < 0.9 * c->view_kl_before);
  CU_ASSERT_STRING_EQUAL(c->view, "mixes");
  clear(&with);
  clear(&without);
}

/* A last layer that lost inputs itself. */
static void a_pruned_last_layer_is_scaled_too(void) {
  outcome o;
  run(test_comm(),
      &(setting){.model = VGG,
                 .method = "random",
                 .refit = REAP_REFIT_LEAST_SQUARES,
                 .images = 600,
                 .positions = 2,
                 .seed = 1,
                 .repair = true,
                 .classifier = REAP_SCALE_ALL,
                 .keep = 0.1},
      &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_SCALE), 1);
  const reap_step_record *c = reap_prune_record(&o.result, REAP_STEP_SCALE, 0);
  CU_ASSERT_PTR_NOT_NULL_FATAL(c->layer);
  CU_ASSERT_STRING_EQUAL(
      c->layer, reap_prune_record(&o.result, REAP_STEP_PRUNE, reap_prune_count(&o.result, REAP_STEP_PRUNE) - 1)->layer);
  CU_ASSERT_TRUE(c->changed);
  CHECK_NEAR(measured_kl(&o), c->held_out_kl, 1e-4 * c->held_out_kl);
  CU_ASSERT_STRING_EQUAL(c->view, "none");
  CU_ASSERT_EQUAL(c->view_kl, c->held_out_kl);
  clear(&o);
}

/* Too few images held out, or weights that are not re-solved: nothing is done. */
static void it_is_left_alone_where_nothing_speaks_for_it(void) {
  setting s = {.model = RESNET,
               .method = "reap",
               .refit = REAP_REFIT_LEAST_SQUARES,
               .images = 400,
               .positions = 2,
               .seed = 1,
               .last = 3,
               .repair = true,
               .classifier = REAP_SCALE_ALL};
  for (int k = 0; k < 2; k++) {
    outcome o, plain;
    if (k == 1)
      s = (setting){.model = RESNET,
                    .method = "l1",
                    .images = 600,
                    .positions = 2,
                    .last = 3,
                    .repair = true,
                    .classifier = REAP_SCALE_ALL};
    run(test_comm(), &s, &o);
    CU_ASSERT_EQUAL(reap_prune_count(&o.result, REAP_STEP_SCALE), 0);
    s.classifier = REAP_SCALE_NONE;
    run(test_comm(), &s, &plain);
    check_same_weights(o.pruned, plain.pruned);
    clear(&o);
    clear(&plain);
  }
}

static void it_is_the_same_on_any_ranks(void) {
  judged_views = REAP_VIEWS_ALL;
  check_any_ranks(&(setting){.model = RESNET,
                             .method = "random",
                             .refit = REAP_REFIT_LEAST_SQUARES,
                             .images = 600,
                             .positions = 1,
                             .seed = 1,
                             .last = 4,
                             .repair = true,
                             .classifier = REAP_SCALE_ALL,
                             .keep = 0.15});
  judged_views = 0;
}

const test_case test_cases[] = {
    {"the divergence is that of the definition", the_divergence_is_that_of_the_definition},
    {"the best scale is found", the_best_scale_is_found},
    {"divergence falls as reported", divergence_falls_as_reported},
    {"a pruned last layer is scaled too", a_pruned_last_layer_is_scaled_too},
    {"it is left alone where nothing speaks for it", it_is_left_alone_where_nothing_speaks_for_it},
    {"it is the same on any ranks", it_is_the_same_on_any_ranks},
    {NULL, NULL}};
