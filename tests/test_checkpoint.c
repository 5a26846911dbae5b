/* checkpoint: a session that is stopped, or given up, and one that goes on where it was. */
#include <unistd.h>

#include "prune_runs.h"

#include "prune/session/session_info.h"
#include "reap/session.h"

const char *const test_suite_name = "checkpoint";

static reap_network network;
static reap_dataset *images;
static char file[4096];
static volatile sig_atomic_t stop;

static reap_session_settings few(void) {
  reap_session_settings s = reap_session_defaults();
  s.ratios = REAP_RATIOS_UNIFORM;
  s.amount = 0.6;
  s.images = 70;
  s.positions = 2;
  s.producer_rounds = 1;
  s.checkpoint = file;
  s.stop = &stop;
  return s;
}

/* Coupled groups are cut first, then all behind them is re-solved. */
static reap_session_settings coupled(void) {
  reap_session_settings s = few();
  s.scope = REAP_SCOPE_ALL;
  return s;
}

/* Sizes by losses, which are measured in several stages. The groups are so alike that uniform shares have to be tried.
 */
static reap_session_settings measured(void) {
  reap_session_settings s = few();
  s.ratios = REAP_RATIOS_OUTPUT;
  s.images = 40;
  s.path_sizes = 2;
  s.ridge_rule = REAP_RIDGE_GIVEN; /* losses that call for trials, however few the rows */
  s.repair = false;
  s.exclude =
      "stage1.stage1.0.conv1.Conv,stage1.stage1.1.conv1.Conv,stage3.stage3.0.conv1.Conv,stage3.stage3.1.conv1.Conv";
  return s;
}

static void begin(void) {
  reap_log_set_level(REAP_LOG_QUIET);
  stop = 0;
  snprintf(file, sizeof file, "%s", test_scratch_path("state.h5"));
  if (test_rank() == 0) unlink(file);
  CHECK_OK(reap_network_load(test_comm(), test_source_path(RESNET), &network));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &images));
}

static void end(void) {
  reap_dataset_close(&images);
  reap_network_clear(&network);
}

static reap_session *create_on(const reap_comm *comm, const reap_session_settings *settings) {
  reap_session *session = NULL;
  CHECK_OK(reap_session_create(comm, &network, images, settings, &session));
  CU_ASSERT_PTR_NOT_NULL_FATAL(session);
  return session;
}

static reap_session *create(const reap_session_settings *settings) { return create_on(test_comm(), settings); }

static void finish(reap_session *session) {
  bool more = true;
  CHECK_OK(reap_session_plan(session));
  while (more) CHECK_OK(reap_session_step(session, NULL, &more));
  CHECK_OK(reap_session_finish(session));
}

static reap_session *whole(reap_session_settings settings) {
  settings.checkpoint = NULL;
  settings.resume = false;
  reap_session *session = create(&settings);
  finish(session);
  return session;
}

/* Records too, times aside. */
static void check_same(const reap_session *a, const reap_session *b) {
  const reap_prune_result *x = &reap_session_get_info(a)->result, *y = &reap_session_get_info(b)->result;
  check_same_weights(reap_session_graph(a), reap_session_graph(b));
  CU_ASSERT_EQUAL_FATAL(x->n, y->n);
  for (int k = 0; k < x->n; k++) {
    CU_ASSERT_EQUAL_FATAL(x->steps[k].kind, y->steps[k].kind);
    CU_ASSERT_EQUAL(x->steps[k].few_samples, y->steps[k].few_samples);
    if (x->steps[k].kind == REAP_STEP_PRUNE) check_same_layer(&x->steps[k], &y->steps[k]);
    if (x->steps[k].kind == REAP_STEP_REPAIR) check_same_repair(&x->steps[k], &y->steps[k]);
    CU_ASSERT_EQUAL(x->steps[k].producer_changed, y->steps[k].producer_changed);
  }
}

static bool is_there(void) {
  int there = test_rank() == 0 && access(file, F_OK) == 0;
  CHECK_OK(reap_comm_broadcast(test_comm(), &there, sizeof there, 0));
  return there;
}

static void remove_file(const reap_session *session) {
  reap_session_remove_checkpoint(session);
  CU_ASSERT_FALSE(is_there());
}

/* Asked on one rank, after so many steps: all ranks stop. The number of steps done then. */
static int stop_after(const reap_session_settings *settings, int steps) {
  reap_session *session = create(settings);
  reap_session_record record = {0};
  bool more = true;
  int done = 0, status = REAP_OK;
  CHECK_OK(reap_session_plan(session));
  for (; status == REAP_OK && more; done++) {
    if (done + 1 >= steps) stop = test_rank() == test_ranks() - 1;
    status = reap_session_step(session, &record, &more);
  }
  CU_ASSERT_EQUAL(status, REAP_STOPPED);
  CU_ASSERT_PTR_NOT_NULL(strstr(reap_error_message(), file));
  stop = 0;
  reap_session_destroy(&session);
  CU_ASSERT_TRUE(is_there());
  return done;
}

/* ---------------------------------------------------------------- cases */

static void check_any_step(reap_session_settings settings, int stride) {
  reap_session *unbroken = whole(settings);
  const int steps = reap_session_get_info(unbroken)->result.n;
  settings.resume = true;
  for (int k = 1; k < steps; k += stride) {
    k = stop_after(&settings, k);
    reap_session *second = create(&settings);
    finish(second);
    check_same(unbroken, second);
    remove_file(second);
    reap_session_destroy(&second);
  }
  reap_session_destroy(&unbroken);
}

static void steps_are_repeated_bit_for_bit(void) {
  begin();
  check_any_step(few(), 7);
  end();
}

static void coupled_groups_too(void) {
  begin();
  check_any_step(coupled(), 11);
  end();
}

/* A second stop, of a run that was resumed, loses nothing either. */
static void stopped_twice(void) {
  begin();
  reap_session_settings settings = few();
  settings.resume = true;
  reap_session *unbroken = whole(settings);
  CU_ASSERT_EQUAL(stop_after(&settings, 2), 2);
  CU_ASSERT_EQUAL(stop_after(&settings, 5), 5);
  reap_session *third = create(&settings);
  finish(third);
  check_same(unbroken, third);
  remove_file(third);
  reap_session_destroy(&third);
  reap_session_destroy(&unbroken);
  end();
}

/* Each stage of measuring is written, and within the losses of single groups each round of the teams; what is there is
 * not measured again. */
static void measuring_goes_on(void) {
  begin();
  reap_session_settings settings = measured();
  reap_session *unbroken = whole(settings), *session = NULL;
  int stops = 0, groups = 0, status = REAP_STOPPED;
  for (int g = 0; g < reap_session_get_info(unbroken)->plan.n_groups; g++)
    groups += reap_session_get_info(unbroken)->plan.chosen[g];
  settings.resume = true;
  enum { MOST = 40 };
  int stages = 1 + 1 + 1; /* losses; how they combine; sizes; and each trial */
  for (int i = 0; i < REAP_PATHS_TRIALS; i++) stages += reap_session_get_info(unbroken)->paths->trials[i].moved > 0;
  CU_ASSERT_TRUE(stages >= 5);
  for (stop = 1; status == REAP_STOPPED && stops < MOST; stops++) {
    session = create(&settings);
    status = reap_session_plan(session);
    stop = !reap_session_get_info(session)->plan.complete;
    if (stop) CHECK_FAILS(status, REAP_STOPPED, "before the first step");
    if (status == REAP_STOPPED) reap_session_destroy(&session);
  }
  stops--;
  CHECK_OK(status);
  CU_ASSERT_TRUE(stops >= stages + (groups + test_ranks() - 1) / test_ranks());
  CU_ASSERT_TRUE(stops <= stages + groups);
  bool more = true;
  while (more) CHECK_OK(reap_session_step(session, NULL, &more));
  CHECK_OK(reap_session_finish(session));
  check_same(unbroken, session);
  remove_file(session);
  reap_session_destroy(&session);
  reap_session_destroy(&unbroken);
  end();
}

/* What all ranks began, the first goes on with alone. */
static void on_another_number_of_ranks(void) {
  begin();
  reap_session_settings settings = few();
  settings.resume = true;
  reap_session *unbroken = whole(settings);
  stop_after(&settings, 4);
  reap_comm *alone = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank() == 0 ? 0 : 1, &alone));
  if (test_rank() == 0) {
    reap_session *second = create_on(alone, &settings);
    finish(second);
    check_same(unbroken, second);
    reap_session_remove_checkpoint(second);
    reap_session_destroy(&second);
  }
  reap_comm_destroy(&alone);
  CU_ASSERT_FALSE(is_there());
  reap_session_destroy(&unbroken);
  end();
}

static void refuse(reap_session_settings settings, const char *text) {
  reap_session *session = create(&settings);
  CHECK_FAILS(reap_session_plan(session), REAP_ERR_INPUT, text);
  reap_session_destroy(&session);
}

static void refuse_at_once(reap_session_settings settings, const char *text) {
  reap_session *session = NULL;
  CHECK_FAILS(reap_session_create(test_comm(), &network, images, &settings, &session), REAP_ERR_USAGE, text);
}

static void what_is_not_resumed(void) {
  begin();
  reap_session_settings s = few();
  s.resume = true;
  stop_after(&s, 2); /* there was none: it started afresh */
  refuse((s.ridge = 1e-3, s), "ridge was");
  s.ridge = few().ridge;
  refuse((s.images = 80, s), "images was \"70\" there, and is \"80\" here");
  s.images = few().images;
  refuse((s.amount = 0.7, s), "amount was");
  refuse_at_once(few(), "there is a checkpoint already");
  s = few();
  refuse_at_once((s.checkpoint = NULL, s.resume = true, s), "none is named");
  s = few();
  s.resume = true;
  refuse_at_once((s.save_stats = "moments.h5", s), "moments");
  s.save_stats = NULL;
  if (test_rank() == 0) CU_ASSERT_EQUAL(truncate(file, 2000), 0);
  CHECK_OK(reap_comm_agree(test_comm(), REAP_OK));
  refuse(s, file);
  if (test_rank() == 0) unlink(file);
  CHECK_OK(reap_comm_agree(test_comm(), REAP_OK));
  end();
}

const test_case test_cases[] = {{"steps are repeated bit for bit", steps_are_repeated_bit_for_bit},
                                {"coupled groups too", coupled_groups_too},
                                {"stopped twice", stopped_twice},
                                {"measuring goes on", measuring_goes_on},
                                {"on another number of ranks", on_another_number_of_ranks},
                                {"what is not resumed", what_is_not_resumed},
                                {NULL, NULL}};
