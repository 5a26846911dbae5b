/* Whole pruning runs on the networks and images in datasets/fashion, and what is checked of all of them; for the tests
 * of src/prune. */
#ifndef TESTS_PRUNE_RUNS_H
#define TESTS_PRUNE_RUNS_H

#include "small_networks.h"

#include "exec/shard.h"
#include "prune/prune.h"
#include "prune/sizes/budget.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/method.h"
#include "reap/network.h"
#include "reap/solver.h"

static const char *const VGG = "datasets/fashion/vgg-fashion.onnx", *const RESNET =
                                                                        "datasets/fashion/resnet-fashion.onnx";

/* ---------------------------------------------------------------- one run and all that belongs to it */

typedef struct setting {
  const char *model, *method;
  reap_refit_kind refit;
  int64_t images, positions;
  uint64_t seed;
  int last;    /* > 0: only the last so many prunable groups; -1: only the first */
  bool repair; /* of every layer */
  reap_scaled_outputs classifier;
  double keep; /* 0: half */
} setting;

/* Rounds with the producer, of all runs to come. */
static int producer_rounds = 0;

/* Views that a classifier's factor is chosen by, of all runs to come. */
static unsigned judged_views = 0;

typedef struct outcome {
  reap_network network;
  reap_graph *pruned;
  reap_groups *groups;
  bool *chosen, *repair;
  int64_t *counts;
  reap_dataset *images;
  reap_shard shard;
  reap_prune_result result;
} outcome;

static inline void choose_share(outcome *o, int last, double keep) {
  const int n = reap_groups_count(o->groups);
  CHECK_OK(reap_calloc(&o->chosen, n, sizeof *o->chosen));
  CHECK_OK(reap_calloc(&o->counts, n, sizeof *o->counts));
  int found = 0, all = 0;
  for (int g = 0; g < n; g++) all += reap_groups_at(o->groups, g)->prunable;
  for (int g = n - 1; g >= 0; g--) {
    const reap_group *group = reap_groups_at(o->groups, g);
    o->chosen[g] = group->prunable && (last == 0 || (last > 0 ? found < last : found == all - 1));
    found += group->prunable;
    o->counts[g] = o->chosen[g] ? reap_budget_round(keep, group->units) : group->units;
  }
}

/* Collective over `comm`. */
static inline void run_with(const reap_comm *comm, const setting *s, reap_solver solver, outcome *o) {
  memset(o, 0, sizeof *o);
  CHECK_OK(reap_network_load(comm, test_source_path(s->model), &o->network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(o->network.graph);
  CHECK_OK(reap_graph_clone(o->network.graph, &o->pruned));
  CHECK_OK(reap_groups_find(o->pruned, &o->groups));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &o->images));
  choose_share(o, s->last, s->keep > 0 ? s->keep : 0.5);
  o->shard = reap_shard_make(s->images, o->network.graph->batch, reap_comm_rank(comm), reap_comm_size(comm));
  CHECK_OK(reap_alloc(&o->repair, o->pruned->n_nodes, sizeof *o->repair));
  for (int i = 0; i < o->pruned->n_nodes; i++) o->repair[i] = true;
  const reap_prune_options options = {.method = reap_method_find(s->method ? s->method : "reap"),
                                      .refit = s->refit,
                                      .chosen = o->chosen,
                                      .counts = o->counts,
                                      .repair = s->repair ? o->repair : NULL,
                                      .classifier = s->classifier,
                                      .views = judged_views,
                                      .producer_rounds = producer_rounds,
                                      .positions = s->positions,
                                      .solver = solver,
                                      .ridge = REAP_DEFAULT_RIDGE,
                                      .seed = s->seed,
                                      .backend = REAP_BACKEND_AUTO};
  CU_ASSERT_PTR_NOT_NULL_FATAL(options.method);
  reap_log_set_level(REAP_LOG_QUIET); /* few rows for fc, and that is as meant */
  CHECK_OK(reap_prune(comm, o->network.graph, o->pruned, o->groups, o->images, &o->shard, &options, &o->result));
}

static inline void run(const reap_comm *comm, const setting *s, outcome *o) { run_with(comm, s, REAP_SOLVER_AUTO, o); }

static inline void clear(outcome *o) {
  reap_prune_result_clear(&o->result);
  reap_dataset_close(&o->images);
  reap_free(&o->chosen);
  reap_free(&o->repair);
  reap_free(&o->counts);
  reap_groups_destroy(&o->groups);
  reap_graph_destroy(&o->pruned);
  reap_network_clear(&o->network);
}

/* ---------------------------------------------------------------- the same on any number of ranks */

/* Bit for bit; NaN counts as equal to itself. */
static inline void check_same_layer(const reap_step_record *a, const reap_step_record *b) {
  CU_ASSERT_STRING_EQUAL_FATAL(a->layer, b->layer);
  CU_ASSERT_EQUAL_FATAL(a->n_kept, b->n_kept);
  CU_ASSERT_EQUAL(a->samples, b->samples);
  CU_ASSERT_EQUAL(memcmp(a->kept, b->kept, (size_t)a->n_kept * sizeof *a->kept), 0);
  CU_ASSERT_EQUAL(memcmp(a->removed, b->removed, (size_t)a->n_removed * sizeof *a->removed), 0);
  CU_ASSERT_EQUAL_FATAL(a->path == NULL, b->path == NULL);
  if (a->path) CU_ASSERT_EQUAL(memcmp(a->path, b->path, (size_t)a->n_removed * sizeof *a->path), 0);
  const double x[] = {a->relative_error, a->held_out_error, a->predicted_relative_error, a->ridge};
  const double y[] = {b->relative_error, b->held_out_error, b->predicted_relative_error, b->ridge};
  if (memcmp(x, y, sizeof x) != 0)
    fprintf(stderr, "%s: errors %.17g %.17g %.17g, on one rank %.17g %.17g %.17g\n", a->layer, x[0], x[1], x[2], y[0],
            y[1], y[2]);
  CU_ASSERT_EQUAL(memcmp(x, y, sizeof x), 0);
  CU_ASSERT_EQUAL(a->repaired_shortcut, b->repaired_shortcut);
}

static inline void check_same_repair(const reap_step_record *a, const reap_step_record *b) {
  CU_ASSERT_STRING_EQUAL_FATAL(a->layer, b->layer);
  const double x[] = {a->error_before, a->relative_error, a->held_out_before, a->held_out_error, a->ridge};
  const double y[] = {b->error_before, b->relative_error, b->held_out_before, b->held_out_error, b->ridge};
  CU_ASSERT_EQUAL(memcmp(x, y, sizeof x), 0);
  CU_ASSERT_TRUE(a->changed == b->changed && a->ridge_trained == b->ridge_trained && a->samples == b->samples);
}

static inline void check_same_weights(const reap_graph *a, const reap_graph *b) {
  CU_ASSERT_EQUAL_FATAL(a->n_values, b->n_values);
  for (int v = 0; v < a->n_values; v++) {
    const reap_tensor *x = a->values[v].constant, *y = b->values[v].constant;
    CU_ASSERT_EQUAL_FATAL(x == NULL, y == NULL);
    if (!x || x->dtype != REAP_F32) continue;
    CU_ASSERT_EQUAL_FATAL(x->count, y->count);
    CU_ASSERT_EQUAL(memcmp(x->f32, y->f32, (size_t)x->count * sizeof *x->f32), 0);
  }
}

/* All ranks together, then rank 0 by itself; and the result is the same on every rank. */
static inline void check_any_ranks(const setting *s) {
  outcome together, alone;
  reap_comm *one = NULL;
  run(test_comm(), s, &together);
  CU_ASSERT_TRUE(reap_prune_count(&together.result, REAP_STEP_PRUNE) > 0);
  CHECK_OK(reap_comm_split(test_comm(), test_rank() == 0 ? 0 : 1, &one));
  if (test_rank() == 0) {
    run(one, s, &alone);
    CU_ASSERT_EQUAL_FATAL(reap_prune_count(&together.result, REAP_STEP_PRUNE),
                          reap_prune_count(&alone.result, REAP_STEP_PRUNE));
    for (int i = 0; i < reap_prune_count(&alone.result, REAP_STEP_PRUNE); i++)
      check_same_layer(reap_prune_record(&together.result, REAP_STEP_PRUNE, i),
                       reap_prune_record(&alone.result, REAP_STEP_PRUNE, i));
    CU_ASSERT_EQUAL_FATAL(reap_prune_count(&together.result, REAP_STEP_REPAIR),
                          reap_prune_count(&alone.result, REAP_STEP_REPAIR));
    CU_ASSERT_EQUAL_FATAL(reap_prune_count(&together.result, REAP_STEP_SCALE),
                          reap_prune_count(&alone.result, REAP_STEP_SCALE));
    for (int i = 0; i < reap_prune_count(&alone.result, REAP_STEP_SCALE); i++) {
      const reap_step_record *a = reap_prune_record(&together.result, REAP_STEP_SCALE, i),
                             *b = reap_prune_record(&alone.result, REAP_STEP_SCALE, i);
      CU_ASSERT_TRUE(a->changed == b->changed && a->held_out_kl == b->held_out_kl && a->view_kl == b->view_kl);
    }
    for (int i = 0; i < reap_prune_count(&alone.result, REAP_STEP_REPAIR); i++)
      check_same_repair(reap_prune_record(&together.result, REAP_STEP_REPAIR, i),
                        reap_prune_record(&alone.result, REAP_STEP_REPAIR, i));
    check_same_weights(together.pruned, alone.pruned);
    clear(&alone);
  }
  reap_comm_destroy(&one);
  for (int i = 0; i < reap_prune_count(&together.result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *l = reap_prune_record(&together.result, REAP_STEP_PRUNE, i);
    CHECK_OK(reap_comm_same(test_comm(), l->kept, (size_t)l->n_kept * sizeof *l->kept, l->layer));
    CHECK_OK(reap_comm_same(test_comm(), &l->relative_error, sizeof l->relative_error, l->layer));
    CHECK_OK(reap_comm_same(test_comm(), &l->held_out_error, sizeof l->held_out_error, l->layer));
  }
  for (int v = 0; v < together.pruned->n_values; v++) {
    const reap_tensor *t = together.pruned->values[v].constant;
    if (t && t->dtype == REAP_F32)
      CHECK_OK(reap_comm_same(test_comm(), t->f32, (size_t)t->count * sizeof *t->f32, "weights"));
  }
  clear(&together);
}

/* ---------------------------------------------------------------- the errors, measured on the finished networks */

/* Values of a network for the images of the shard, all of this rank's blocks behind each other, in storage order. */
static inline float *values_of(const reap_graph *g, int value, const outcome *o, int64_t *count) {
  reap_frontier *frontier = NULL;
  float *all = NULL;
  const int64_t blocks = o->shard.last - o->shard.first, size = reap_value_count(&g->values[value]);
  CHECK_OK(reap_frontier_create(g, blocks, REAP_BACKEND_AUTO, &frontier));
  CHECK_OK(reap_alloc(&all, blocks * size, sizeof *all));
  for (int64_t b = 0; b < blocks; b++) {
    float *storage = NULL;
    int64_t first_image, images;
    CHECK_OK(reap_frontier_input(frontier, 0, b, &storage));
    memset(storage, 0, (size_t)reap_value_count(&g->values[g->inputs[0]]) * sizeof *storage);
    reap_shard_block(&o->shard, o->shard.first + b, &first_image, &images);
    CHECK_OK(reap_dataset_read(o->images, 0, first_image, images, true, storage));
  }
  CHECK_OK(reap_frontier_advance(frontier, &value, 1));
  for (int64_t b = 0; b < blocks; b++)
    memcpy(all + b * size, reap_frontier_value(frontier, value, b), (size_t)size * sizeof *all);
  reap_frontier_destroy(&frontier);
  *count = blocks * size;
  return all;
}

/* Sums over ranks: squared error, sums and squares of the target per output, on images held out or not. */
static inline double measured_error(const outcome *o, const float *target, const float *got, int64_t m,
                                    int64_t positions, bool held_out) {
  double sums[3 * 256] = {0}, rows = 0; /* error, sum, squares */
  CU_ASSERT_TRUE_FATAL(m <= 256);
  for (int64_t b = o->shard.first; b < o->shard.last; b++) {
    int64_t first_image, images;
    reap_shard_block(&o->shard, b, &first_image, &images);
    for (int64_t i = 0; i < images; i++) {
      if (reap_split_holds_out(REAP_SPLIT_TENTH, first_image + i) != held_out) continue;
      int64_t at = ((b - o->shard.first) * o->shard.block + i) * positions * m;
      for (int64_t k = 0; k < positions * m; k++) {
        double y = (double)target[at + k], e = y - (double)got[at + k];
        sums[k % m] += e * e;
        sums[256 + k % m] += y;
        sums[512 + k % m] += y * y;
      }
      rows += (double)positions;
    }
  }
  CHECK_OK(reap_comm_sum(test_comm(), sums, 3 * 256));
  CHECK_OK(reap_comm_sum(test_comm(), &rows, 1));
  double error = 0, energy = 0;
  for (int64_t j = 0; j < m; j++) {
    error += sums[j];
    energy += sums[512 + j] - sums[256 + j] * sums[256 + j] / rows;
  }
  return error / energy;
}

#endif
