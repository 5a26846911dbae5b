/* session: pruning step by step, as a C program does it through reap/session.h. */
#include "prune_runs.h"

#include "prune/session/session_info.h"
#include "reap/session.h"

const char *const test_suite_name = "session";

/* ---------------------------------------------------------------- a session and what it borrows */

static reap_network network;
static reap_dataset *images;

static reap_session_settings few(void) {
  reap_session_settings settings = reap_session_defaults();
  settings.ratios = REAP_RATIOS_UNIFORM;
  settings.amount = 0.6;
  settings.repair = false;
  settings.images = 70;
  settings.positions = 2;
  return settings;
}

static void begin(void) {
  reap_log_set_level(REAP_LOG_QUIET);
  CHECK_OK(reap_network_load(test_comm(), test_source_path(RESNET), &network));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &images));
}

static void end(void) {
  reap_dataset_close(&images);
  reap_network_clear(&network);
}

static reap_session *create(const reap_session_settings *settings) {
  reap_session *session = NULL;
  CHECK_OK(reap_session_create(test_comm(), &network, images, settings, &session));
  CU_ASSERT_PTR_NOT_NULL_FATAL(session);
  return session;
}

static void run_all(reap_session *session) {
  CHECK_OK(reap_session_plan(session));
  for (bool more = true; more;) CHECK_OK(reap_session_step(session, NULL, &more));
  CHECK_OK(reap_session_finish(session));
}

/* ---------------------------------------------------------------- cases */

/* Records tell what becomes of the network; the original stays as it is, and the file holds the pruned one. */
static void test_steps(void) {
  begin();
  const reap_session_settings settings = few();
  reap_session *session = create(&settings);
  const int64_t whole = reap_graph_flops(network.graph);
  reap_session_record r;
  int steps = 0;
  bool more = true;
  CHECK_OK(reap_session_plan(session));
  while (more) {
    CHECK_OK(reap_session_step(session, &r, &more));
    CU_ASSERT_EQUAL(r.index, steps++);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.group);
    CU_ASSERT_TRUE(r.n_kept < r.channels && r.error >= 0 && r.held_out_error >= 0 && r.seconds >= 0);
    for (int g = 0; g < reap_groups_count(reap_session_groups(session)); g++) {
      const reap_group *group = reap_groups_at(reap_session_groups(session), g);
      if (strcmp(group->name, r.group) != 0) continue;
      CU_ASSERT_EQUAL(r.n_kept, reap_session_sizes(session)[g]);
      CU_ASSERT_EQUAL(r.n_kept, group->units);
    }
  }
  CU_ASSERT_EQUAL(r.count, steps);
  CHECK_OK(reap_session_finish(session));
  const int64_t left = reap_graph_flops(reap_session_graph(session));
  CU_ASSERT_TRUE((double)left <= 0.6 * (double)whole && (double)left > 0.5 * (double)whole);
  CU_ASSERT_EQUAL(reap_graph_flops(network.graph), whole);
  reap_network again = {0};
  const char *path = test_scratch_path("pruned.onnx");
  CHECK_OK(reap_comm_agree(test_comm(), test_rank() == 0 ? reap_session_write_onnx(session, path) : REAP_OK));
  CHECK_OK(reap_network_load(test_comm(), path, &again));
  CU_ASSERT_EQUAL(reap_graph_flops(again.graph), left);
  CU_ASSERT_EQUAL(reap_graph_params(again.graph), reap_graph_params(reap_session_graph(session)));
  reap_network_clear(&again);
  reap_session_destroy(&session);
  CU_ASSERT_PTR_NULL(session);
  end();
}

/* Weights solved along the way and weights solved anew differ by rounding. */
static void check_close_weights(const reap_graph *a, const reap_graph *b) {
  CU_ASSERT_EQUAL_FATAL(a->n_values, b->n_values);
  for (int v = 0; v < a->n_values; v++) {
    const reap_tensor *x = a->values[v].constant, *y = b->values[v].constant;
    if (!x || x->dtype != REAP_F32) continue;
    CU_ASSERT_EQUAL_FATAL(x->count, y->count);
    CHECK_NEAR(test_max_difference_f(x->f32, y->f32, x->count), 0, 1e-4);
  }
}

/* The sizes and channels of one session, given to another, prune the same. */
static void test_sizes_given(void) {
  begin();
  reap_session_settings settings = few();
  settings.ridge_rule = REAP_RIDGE_GIVEN; /* the ridge that images held out prefer may differ for channels given */
  reap_session *first = create(&settings);
  const reap_groups *groups = reap_session_groups(first);
  const int n = reap_groups_count(groups);
  int64_t **kept = NULL;
  reap_session_record r;
  CHECK_OK(reap_calloc(&kept, n, sizeof *kept));
  CHECK_OK(reap_session_plan(first));
  for (bool more = true; more;) {
    CHECK_OK(reap_session_step(first, &r, &more));
    for (int g = 0; g < n; g++)
      if (strcmp(reap_groups_at(groups, g)->name, r.group) == 0) kept[g] = (int64_t *)(uintptr_t)r.kept; /* read only */
  }
  CHECK_OK(reap_session_finish(first));
  settings.budget = REAP_BUDGET_SIZES;
  settings.method = reap_method_find("random"); /* nothing is left for it to choose */
  reap_session *second = create(&settings);
  CHECK_OK(reap_session_set_sizes(second, reap_session_sizes(first), kept));
  run_all(second);
  check_close_weights(reap_session_graph(first), reap_session_graph(second));
  reap_free(&kept);
  reap_session_destroy(&second);
  reap_session_destroy(&first);
  end();
}

/* Losses measured by one session serve another, which measures nothing. */
static void test_losses_lent(void) {
  begin();
  reap_session_settings settings = few();
  settings.ratios = REAP_RATIOS_PATH;
  reap_session *first = create(&settings);
  CHECK_OK(reap_session_plan(first));
  reap_group_paths *paths = reap_session_take_paths(first);
  CU_ASSERT_PTR_NOT_NULL_FATAL(paths);
  CU_ASSERT_PTR_NULL(reap_session_take_paths(first));
  reap_session *second = create(&settings);
  reap_session_lend(second, paths, NULL);
  CHECK_OK(reap_session_plan(second));
  CU_ASSERT_PTR_NULL(reap_session_take_paths(second));
  for (int g = 0; g < reap_groups_count(reap_session_groups(first)); g++)
    CU_ASSERT_EQUAL(reap_session_sizes(first)[g], reap_session_sizes(second)[g]);
  reap_session_destroy(&second);
  reap_session_destroy(&first);
  reap_group_paths_destroy(&paths);
  end();
}

/* Given up between two steps: all memory comes back. */
static void test_given_up(void) {
  begin();
  const reap_session_settings settings = few();
  reap_session *session = create(&settings);
  bool more = false;
  CHECK_OK(reap_session_plan(session));
  CHECK_OK(reap_session_step(session, NULL, &more));
  CU_ASSERT_TRUE(more);
  CHECK_FAILS(reap_session_finish(session), REAP_ERR_USAGE, "steps left");
  reap_session_destroy(&session);
  end();
}

static void refuse(reap_session_settings settings, int status, const char *text) {
  reap_session *session = NULL;
  CHECK_FAILS(reap_session_create(test_comm(), &network, images, &settings, &session), status, text);
  CU_ASSERT_PTR_NULL(session);
}

static void test_refusals(void) {
  begin();
  reap_session_settings s = few();
  refuse((s.amount = 1.5, s), REAP_ERR_USAGE, "budget flops: 1.5 is not a share");
  refuse((s.amount = 1e-5, s), REAP_ERR_USAGE, "flops 1e-05 cannot be reached");
  s = few();
  refuse((s.exclude = "nosuchlayer", s), REAP_ERR_USAGE, "\"nosuchlayer\" is to be excluded");
  s = few();
  refuse((s.ridge = -1, s), REAP_ERR_USAGE, "ridge");
  s = few();
  s.memory = 1 << 30;
  refuse((s.scratch = "/no/such/folder", s), REAP_ERR_INPUT, "scratch folder /no/such/folder");
  s = few();
  reap_session *session = NULL;
  CHECK_FAILS(reap_session_create(test_comm(), &network, NULL, &s, &session), REAP_ERR_USAGE, "images");
  s.budget = REAP_BUDGET_SIZES;
  session = create(&s);
  bool more = false;
  const int n = reap_groups_count(reap_session_groups(session));
  int64_t *counts = NULL;
  CHECK_OK(reap_calloc(&counts, n, sizeof *counts));
  CHECK_FAILS(reap_session_plan(session), REAP_ERR_USAGE, "sizes are to be given");
  CHECK_FAILS(reap_session_set_sizes(session, counts, NULL), REAP_ERR_USAGE, "keeps from 1 to");
  for (int g = 0; g < n; g++) counts[g] = reap_groups_at(reap_session_groups(session), g)->units;
  int64_t **kept = NULL, twice[] = {1, 1};
  CHECK_OK(reap_calloc(&kept, n, sizeof *kept));
  kept[0] = twice;
  CHECK_FAILS(reap_session_set_sizes(session, counts, kept), REAP_ERR_USAGE, "ascend");
  reap_free(&kept);
  for (int g = 0; g < n; g++) counts[g] = 1;
  CHECK_FAILS(reap_session_set_sizes(session, counts, NULL), REAP_ERR_USAGE, "cannot be pruned");
  CHECK_FAILS(reap_session_step(session, NULL, &more), REAP_ERR_USAGE, "no plan");
  reap_free(&counts);
  reap_session_destroy(&session);
  end();
}

const test_case test_cases[] = {{"steps and their records", test_steps},    {"sizes that are given", test_sizes_given},
                                {"losses that are lent", test_losses_lent}, {"given up between steps", test_given_up},
                                {"settings refused", test_refusals},        {NULL, NULL}};
