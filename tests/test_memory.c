/* Memory limits: scratch files, frontiers that park or compute again what exceeds them, and runs that come out the
 * same. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "small_networks.h"

#include "io/scratch_file.h"
#include "model/groups/surgery.h"
#include "prune/prune.h"
#include "prune/sizes/budget.h"
#include "reap/dataset.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/method.h"
#include "reap/network.h"

const char *const test_suite_name = "memory";

static const char *const RESNET = "datasets/fashion/resnet-fashion.onnx", *const IMAGES =
                                                                              "datasets/fashion/fashion-calib.h5";

/* A folder of this rank's own. */
static void make_folder(char *path, size_t size) {
  snprintf(path, size, "%s-%d", test_scratch_path("parked"), test_rank());
  mkdir(path, 0777);
}

static int files_in(const char *path) {
  int count = 0;
  DIR *folder = opendir(path);
  CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
  for (const struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

/* ---------------------------------------------------------------- scratch files */

static void fill(float *values, int64_t count, int64_t key) {
  for (int64_t i = 0; i < count; i++) values[i] = (float)(key * 1000 + i);
}

static void arrays_come_back_as_they_were(void) {
  enum { ARRAYS = 12, MOST = 40000 };
  char folder[512];
  int64_t slots[ARRAYS];
  float *out = NULL, *in = NULL;
  reap_scratch_file *file = NULL;
  make_folder(folder, sizeof folder);
  CHECK_OK(reap_alloc(&out, MOST, sizeof *out));
  CHECK_OK(reap_alloc(&in, MOST, sizeof *in));
  CHECK_OK(reap_scratch_file_create(folder, &file));
  CU_ASSERT_EQUAL(files_in(folder), 0); /* its name is gone from the start */
  for (int k = 0; k < ARRAYS; k++) {
    fill(out, MOST / (k + 1), k);
    CHECK_OK(reap_scratch_file_write(file, MOST / (k + 1), out, &slots[k]));
  }
  for (int k = ARRAYS - 1; k >= 0; k--) {
    fill(out, MOST / (k + 1), k);
    CHECK_OK(reap_scratch_file_read(file, slots[k], MOST / (k + 1), in));
    CU_ASSERT_EQUAL(memcmp(in, out, (size_t)(MOST / (k + 1)) * sizeof *in), 0);
  }
  CHECK_FAILS(reap_scratch_file_read(file, slots[1], 7, in), REAP_ERR_INPUT, folder);
  reap_scratch_file_destroy(&file);
  CU_ASSERT_EQUAL(files_in(folder), 0);
  reap_free(&out);
  reap_free(&in);
}

/* A run writes and drops many times what is in the file at a time. */
static void space_is_used_again(void) {
  enum { COUNT = 50000, AT_A_TIME = 5, ROUNDS = 200 };
  char folder[512];
  int64_t slots[AT_A_TIME];
  float *values = NULL;
  reap_scratch_file *file = NULL;
  make_folder(folder, sizeof folder);
  CHECK_OK(reap_alloc(&values, COUNT, sizeof *values));
  CHECK_OK(reap_scratch_file_create(folder, &file));
  for (int k = 0; k < ROUNDS; k++) {
    const int64_t count = k / AT_A_TIME % 2 ? COUNT / 2 : COUNT; /* cut values are smaller */
    if (k >= AT_A_TIME) reap_scratch_file_drop(file, slots[k % AT_A_TIME]);
    fill(values, count, k);
    CHECK_OK(reap_scratch_file_write(file, count, values, &slots[k % AT_A_TIME]));
  }
  CU_ASSERT_TRUE(reap_scratch_file_size(file) < 3 * AT_A_TIME * (int64_t)COUNT * 4);
  reap_scratch_file_destroy(&file);
  reap_free(&values);
}

static void unusable_folders_are_named(void) {
  reap_scratch_file *file = NULL;
  CHECK_FAILS(reap_scratch_file_create("", &file), REAP_ERR_INPUT, "empty");
  CHECK_FAILS(reap_scratch_file_create("/nowhere/at/all", &file), REAP_ERR_INPUT, "/nowhere/at/all: No such file");
  CHECK_FAILS(reap_scratch_file_create(test_source_path(RESNET), &file), REAP_ERR_INPUT, "is not a folder");
  CU_ASSERT_PTR_NULL(file);
}

/* ---------------------------------------------------------------- frontiers */

/* x -> a -> r -> b -> (+ r) -> s -> c: `a` has many channels for few inputs, so that it is cheap to compute again. */
static reap_graph *wide_residual(void) {
  reap_graph *g = net_begin();
  net_image(g, "x", 1, 8, 8);
  net_conv3(g, "a", "x", 1, 16);
  net_step(g, "Relu", "r", "a");
  net_conv3(g, "b", "r", 16, 16);
  net_node(g, "Add", "sum", "b r", "sum", NULL);
  net_step(g, "Relu", "s", "sum");
  net_conv3(g, "c", "s", 16, 8);
  net_finish(g, "c", 2);
  return g;
}

enum { BLOCKS = 20 };

static void set_input(reap_frontier *f, const reap_graph *g) {
  for (int64_t b = 0; b < BLOCKS; b++) {
    float *x = NULL;
    reap_random random = reap_random_init(3, (uint64_t)b, (uint64_t)test_rank());
    CHECK_OK(reap_frontier_input(f, 0, b, &x));
    for (int64_t i = 0; i < reap_value_count(&g->values[g->inputs[0]]); i++) x[i] = (float)reap_random_normal(&random);
  }
}

/* Appends the value's blocks, walked twice. */
static void take(const reap_frontier *f, const reap_graph *g, const char *name, float **at) {
  const int value = reap_graph_find(g, name);
  const size_t bytes = (size_t)reap_value_count(&g->values[value]) * sizeof(float);
  for (int twice = 0; twice < 2; twice++)
    for (int64_t b = 0; b < BLOCKS; b++) {
      const float *data = NULL;
      CHECK_OK(reap_frontier_read(f, value, b, &data));
      CU_ASSERT_PTR_NOT_NULL_FATAL(data);
      if (twice) CU_ASSERT_EQUAL(memcmp(*at + b * (int64_t)(bytes / 4), data, bytes), 0);
      if (!twice) memcpy(*at + b * (int64_t)(bytes / 4), data, bytes);
    }
  *at += BLOCKS * (int64_t)(bytes / 4);
}

enum { TAKEN = 1 << 19 };

/* Two networks side by side, the second one cut: all that a run does with frontiers. Everything it reads goes to
 * out[TAKEN]. */
static void walk(int64_t limit, const char *folder, float *out, reap_frontier_use *use) {
  reap_graph *g = wide_residual(), *copy = NULL;
  reap_groups *groups = NULL;
  reap_frontier *first = NULL, *second = NULL;
  float *at = out;
  bool keep[16];
  CHECK_OK(reap_graph_clone(g, &copy));
  CHECK_OK(reap_groups_find(copy, &groups));
  for (int k = 0; k < 16; k++) keep[k] = k % 3 != 0;
  const int r = reap_graph_find(g, "r"), b = reap_graph_find(g, "b"), c = reap_graph_find(g, "c"),
            s = reap_graph_find(g, "s");
  CHECK_OK(reap_frontier_create(g, BLOCKS, REAP_BACKEND_PLAIN, &first));
  reap_frontier_limit(first, limit, folder);
  set_input(first, g);
  CHECK_OK(reap_frontier_advance(first, &r, 1));
  CHECK_OK(reap_frontier_fork(first, copy, &second));
  take(second, copy, "r", &at);
  CHECK_OK(reap_frontier_advance(first, &b, 1));
  take(first, g, "b", &at);
  take(first, g, "r", &at);
  const int group = reap_groups_produced_by(groups, net_layer(copy, "a"));
  int64_t kept[16], count = 0;
  for (int k = 0; k < 16; k++)
    if (keep[k]) kept[count++] = k;
  CHECK_OK(reap_frontier_cut(second, groups, group, keep));
  CHECK_OK(reap_surgery_cut(copy, groups, group, count, kept));
  take(second, copy, "r", &at);
  take(first, g, "r", &at);
  CHECK_OK(reap_frontier_advance(second, &s, 1));
  take(second, copy, "s", &at);
  CHECK_OK(reap_frontier_advance(first, &c, 1));
  CHECK_OK(reap_frontier_advance(second, &c, 1));
  take(first, g, "c", &at);
  take(second, copy, "c", &at);
  CU_ASSERT_TRUE(at - out <= TAKEN);
  reap_frontier_get_use(first, use);
  reap_frontier_destroy(&first);
  reap_frontier_destroy(&second);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
  reap_graph_destroy(&copy);
}

static void frontiers_keep_to_their_limit(void) {
  char folder[512];
  float *free_run = NULL, *limited = NULL;
  reap_frontier_use all, least, use;
  make_folder(folder, sizeof folder);
  reap_log_set_level(REAP_LOG_QUIET);
  CHECK_OK(reap_calloc(&free_run, TAKEN, sizeof *free_run));
  CHECK_OK(reap_calloc(&limited, TAKEN, sizeof *limited));
  walk(0, folder, free_run, &all);
  CU_ASSERT_TRUE(all.peak > 0 && all.spilled == 0 && all.read_back == 0 && all.recomputed == 0);
  walk(1, folder, limited, &least); /* the values of a block and the buffers alone, with a warning */
  CU_ASSERT_TRUE(least.peak < all.peak / 2);
  int computed_again = 0, spilled = 0;
  for (int64_t limit = all.peak; limit > 1000; limit = limit * 4 / 5) {
    memset(limited, 0, TAKEN * sizeof *limited);
    walk(limit, folder, limited, &use);
    CU_ASSERT_EQUAL(memcmp(limited, free_run, TAKEN * sizeof *limited), 0);
    CU_ASSERT_TRUE(use.peak <= (limit > least.peak ? limit : least.peak));
    if (limit == all.peak) CU_ASSERT_TRUE(use.spilled == 0 && use.recomputed == 0);
    if (limit < all.peak / 2) CU_ASSERT_TRUE(use.spilled > 0 && use.read_back >= use.spilled);
    computed_again += use.recomputed > 0;
    spilled += use.spilled > 0;
  }
  CU_ASSERT_TRUE(computed_again > 0 && spilled > 0);
  CU_ASSERT_EQUAL(files_in(folder), 0);
  reap_free(&free_run);
  reap_free(&limited);
}

static void a_scratch_folder_that_is_gone_is_an_error(void) {
  reap_graph *g = wide_residual();
  reap_frontier *f = NULL;
  const int b = reap_graph_find(g, "b");
  reap_log_set_level(REAP_LOG_QUIET);
  CHECK_OK(reap_frontier_create(g, BLOCKS, REAP_BACKEND_PLAIN, &f));
  reap_frontier_limit(f, 100000, "/nowhere/at/all");
  set_input(f, g);
  CHECK_FAILS(reap_frontier_advance(f, &b, 1), REAP_ERR_INPUT, "/nowhere/at/all");
  reap_frontier_destroy(&f);
  reap_graph_destroy(&g);
}

/* ---------------------------------------------------------------- runs */

typedef struct outcome {
  reap_network network;
  reap_graph *pruned;
  reap_prune_result result;
} outcome;

static void run(int64_t memory, const char *folder, outcome *o) {
  reap_groups *groups = NULL;
  reap_dataset *images = NULL;
  bool chosen[64] = {false};
  int64_t counts[64] = {0};
  memset(o, 0, sizeof *o);
  CHECK_OK(reap_network_load(test_comm(), test_source_path(RESNET), &o->network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(o->network.graph);
  CHECK_OK(reap_graph_clone(o->network.graph, &o->pruned));
  CHECK_OK(reap_groups_find(o->pruned, &groups));
  CHECK_OK(reap_dataset_open(test_source_path(IMAGES), &images));
  for (int g = 0; g < reap_groups_count(groups); g++) {
    chosen[g] = reap_groups_at(groups, g)->prunable;
    counts[g] = reap_budget_round(0.5, reap_groups_at(groups, g)->units);
  }
  const reap_shard shard = reap_shard_make(600, o->network.graph->batch, test_rank(), test_ranks());
  const reap_prune_options options = {.method = reap_method_find("reap"),
                                      .refit = REAP_REFIT_LEAST_SQUARES,
                                      .chosen = chosen,
                                      .counts = counts,
                                      .positions = 5,
                                      .ridge = 1e-6,
                                      .backend = REAP_BACKEND_AUTO,
                                      .memory = memory,
                                      .scratch = folder};
  reap_log_set_level(REAP_LOG_QUIET);
  CHECK_OK(reap_prune(test_comm(), o->network.graph, o->pruned, groups, images, &shard, &options, &o->result));
  reap_dataset_close(&images);
  reap_groups_destroy(&groups);
}

static void clear(outcome *o) {
  reap_prune_result_clear(&o->result);
  reap_graph_destroy(&o->pruned);
  reap_network_clear(&o->network);
}

static void check_same(const outcome *a, const outcome *b) {
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&a->result, REAP_STEP_PRUNE), reap_prune_count(&b->result, REAP_STEP_PRUNE));
  for (int i = 0; i < reap_prune_count(&a->result, REAP_STEP_PRUNE); i++) {
    const reap_step_record *x = reap_prune_record(&a->result, REAP_STEP_PRUNE, i),
                           *y = reap_prune_record(&b->result, REAP_STEP_PRUNE, i);
    CU_ASSERT_EQUAL(memcmp(x->kept, y->kept, (size_t)x->n_kept * sizeof *x->kept), 0);
    CU_ASSERT_EQUAL(memcmp(&x->relative_error, &y->relative_error, sizeof(double)), 0);
    CU_ASSERT_EQUAL(memcmp(&x->held_out_error, &y->held_out_error, sizeof(double)), 0);
  }
  for (int v = 0; v < a->pruned->n_values; v++) {
    const reap_tensor *x = a->pruned->values[v].constant, *y = b->pruned->values[v].constant;
    if (!x || x->dtype != REAP_F32) continue;
    CU_ASSERT_EQUAL_FATAL(x->count, y->count);
    CU_ASSERT_EQUAL(memcmp(x->f32, y->f32, (size_t)x->count * sizeof *x->f32), 0);
  }
}

static void runs_are_the_same_with_any_limit(void) {
  char folder[512];
  outcome all, some;
  make_folder(folder, sizeof folder);
  run(0, folder, &all);
  CU_ASSERT_TRUE(reap_prune_count(&all.result, REAP_STEP_PRUNE) > 0 && all.result.use.peak > 0 &&
                 all.result.use.spilled == 0);
  const int64_t blocks = (600 + 63) / 64 / test_ranks(); /* of a rank, at least */
  for (int k = 2; k <= 32; k *= 4) {
    run(all.result.use.peak / k, folder, &some);
    check_same(&all, &some);
    if (blocks >= 3 && k >= 2) CU_ASSERT_TRUE(some.result.use.spilled > 0);
    clear(&some);
  }
  clear(&all);
  CU_ASSERT_EQUAL(files_in(folder), 0);
}

const test_case test_cases[] = {
    {"arrays come back as they were", arrays_come_back_as_they_were},
    {"space is used again", space_is_used_again},
    {"unusable folders are named", unusable_folders_are_named},
    {"frontiers keep to their limit", frontiers_keep_to_their_limit},
    {"a scratch folder that is gone is an error", a_scratch_folder_that_is_gone_is_an_error},
    {"runs are the same with any limit", runs_are_the_same_with_any_limit},
    {NULL, NULL}};
