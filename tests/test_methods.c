/* methods: those that a program registers, what they may give, and sets made of it. */
#include "prune_runs.h"

#include "prune/methods/methods.h"
#include "reap/session.h"

const char *const test_suite_name = "methods";

enum { CHANNELS = 6, KEPT = 3 };

/* What the methods of this test give, turn by turn. */
static double given_scores[CHANNELS];
static int64_t given_list[CHANNELS];
static int prepared, finished, asked;

static int give_scores(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  CU_ASSERT_PTR_NULL(choice->order);
  memcpy(choice->scores, given_scores, (size_t)e->group->units * sizeof *choice->scores);
  return REAP_OK;
}

static int give_order(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  memcpy(choice->order, given_list, (size_t)(e->group->units - e->n_kept) * sizeof *choice->order);
  return REAP_OK;
}

static int give_set(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  memcpy(choice->kept, given_list, (size_t)e->n_kept * sizeof *choice->kept);
  return REAP_OK;
}

static int give_nothing(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  (void)e;
  (void)choice;
  return REAP_OK;
}

static const reap_method by_scores = {.name = "scores", .gives = REAP_GIVES_SCORES, .score = give_scores};
static const reap_method by_order = {.name = "order", .gives = REAP_GIVES_ORDER, .score = give_order};
static const reap_method by_set = {.name = "set", .gives = REAP_GIVES_SET, .score = give_set};
static const reap_method by_path = {.name = "path", .gives = REAP_GIVES_PATH, .score = give_nothing};

/* Channels kept and removed, "0 1 2 | 3 4 5"; or the words of the refusal. */
static void check_choice(const reap_method *method, const char *wanted, int status) {
  const reap_group group = {.name = (char *)(uintptr_t) "g", .units = CHANNELS};
  const reap_evidence evidence = {.group = &group, .n_kept = KEPT};
  int64_t kept[KEPT] = {0}, removed[CHANNELS - KEPT] = {0};
  reap_path *path = NULL;
  char got[64];
  if (status != REAP_OK) {
    CHECK_FAILS(reap_method_select(method, NULL, &evidence, kept, removed, &path), status, wanted);
    return;
  }
  CHECK_OK(reap_method_select(method, NULL, &evidence, kept, removed, &path));
  CU_ASSERT_PTR_NULL(path);
  snprintf(got, sizeof got, "%d %d %d | %d %d %d", (int)kept[0], (int)kept[1], (int)kept[2], (int)removed[0],
           (int)removed[1], (int)removed[2]);
  CU_ASSERT_STRING_EQUAL(got, wanted);
}

static void sets_come_from_scores(void) {
  memcpy(given_scores, (double[]){1, 5, 3, 3, -2, 3}, sizeof given_scores);
  check_choice(&by_scores, "1 2 3 | 0 4 5", REAP_OK);
  memcpy(given_scores, (double[]){0, 0, 0, 0, 0, 0}, sizeof given_scores);
  check_choice(&by_scores, "0 1 2 | 3 4 5", REAP_OK);
  given_scores[2] = NAN;
  check_choice(&by_scores, "group g: method scores gives scores that are no numbers", REAP_ERR_NUMERIC);
}

static void sets_come_from_orders_and_lists(void) {
  memcpy(given_list, (int64_t[]){5, 0, 3, 9, 9, 9}, sizeof given_list);
  check_choice(&by_order, "1 2 4 | 5 0 3", REAP_OK);
  check_choice(&by_set, "0 3 5 | 1 2 4", REAP_OK);
  given_list[1] = 5;
  check_choice(&by_order, "method order gives channels twice", REAP_ERR_INTERNAL);
  check_choice(&by_set, "method set gives channels twice", REAP_ERR_INTERNAL);
  given_list[1] = CHANNELS;
  check_choice(&by_order, "or such as there are not", REAP_ERR_INTERNAL);
  given_list[1] = -1;
  check_choice(&by_set, "or such as there are not", REAP_ERR_INTERNAL);
  check_choice(&by_path, "method path gives no path to 3 channels", REAP_ERR_INTERNAL);
}

static void unfit_methods_are_not_registered(void) {
  CHECK_FAILS(reap_method_register(&(reap_method){.name = "l1", .gives = 1, .score = give_set}), REAP_ERR_USAGE,
              "there is a method l1 already");
  CHECK_FAILS(reap_method_register(&(reap_method){.name = "a|b", .gives = 1, .score = give_set}), REAP_ERR_USAGE,
              "letters, digits and '-', not \"a|b\"");
  const unsigned wrong[] = {0, REAP_GIVES_WEIGHTS, REAP_GIVES_SET | REAP_GIVES_ORDER,
                            REAP_GIVES_PATH | REAP_GIVES_WEIGHTS, 32};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK_FAILS(reap_method_register(&(reap_method){.name = "wrong", .gives = wrong[i], .score = give_set}),
                REAP_ERR_USAGE, "has to give one of");
  CHECK_FAILS(reap_method_register(&(reap_method){.name = "wrong", .gives = REAP_GIVES_SET}), REAP_ERR_USAGE,
              "has to give one of");
  CHECK_FAILS(reap_method_register(&(reap_method){
                  .name = "wrong", .gives = REAP_GIVES_SET, .can = REAP_CAN_DISTRIBUTED, .score = give_set}),
              REAP_ERR_USAGE, "a path if it can be distributed");
  CU_ASSERT_PTR_NULL(reap_method_find("wrong"));
}

static void what_a_run_lacks_is_named(void) {
  const reap_method method = {.name = "hungry", .needs = REAP_NEEDS_GRAM | REAP_NEEDS_GRADIENTS};
  CHECK_FAILS(reap_method_check(&method, REAP_NEEDS_GRAM | REAP_NEEDS_LABELS), REAP_ERR_USAGE,
              "method hungry needs gradients, which this run does not have");
  CHECK_OK(reap_method_check(&method, REAP_NEEDS_GRAM | REAP_NEEDS_GRADIENTS));
}

/* ------------------------------------------------------------------ whole runs */

static int prepare(const reap_method_context *context, void **state) {
  CU_ASSERT_EQUAL(reap_comm_size(context->comm), test_ranks());
  CU_ASSERT_TRUE(context->original && context->groups && context->images && context->seed == 7);
  prepared++;
  *state = &prepared;
  return REAP_OK;
}

static void finish(void *state) {
  CU_ASSERT_PTR_EQUAL(state, &prepared);
  finished++;
}

/* The last channels go first. */
static int score_backwards(void *state, const reap_evidence *e, reap_choice *choice) {
  CU_ASSERT_PTR_EQUAL(state, &prepared);
  CU_ASSERT_PTR_NULL(e->comm);
  asked++;
  for (int64_t k = 0; k < e->group->units - e->n_kept; k++) choice->order[k] = e->group->units - 1 - k;
  return REAP_OK;
}

/* No input counts: the outputs are their bias, 0, whose error is their whole energy and that of their means. */
static int score_nothing(void *state, const reap_evidence *e, reap_choice *choice) {
  CU_ASSERT_PTR_NULL(state);
  for (int64_t k = 0; k < e->n_kept; k++) choice->kept[k] = e->n_kept - 1 - k;
  return REAP_OK;
}

static const reap_method backwards = {
    .name = "backwards", .gives = REAP_GIVES_ORDER, .prepare = prepare, .score = score_backwards, .finish = finish};
static const reap_method nothing = {
    .name = "nothing", .gives = REAP_GIVES_SET | REAP_GIVES_WEIGHTS, .score = score_nothing};

static void a_run_takes_a_registered_method(void) {
  outcome o, reference;
  if (!reap_method_find("backwards")) CHECK_OK(reap_method_register(&backwards));
  run(test_comm(), &(setting){VGG, "backwards", true, 100, 4, 7, 2, false, false, 0}, &o);
  run(test_comm(), &(setting){VGG, "backwards", false, 100, 4, 7, 2, false, false, 0}, &reference);
  CU_ASSERT_TRUE(prepared == 2 && finished == 2);
  CU_ASSERT_EQUAL(asked, test_rank() == 0 ? 4 : 0);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 2);
  for (int i = 0; i < 2; i++) {
    const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, i);
    for (int64_t k = 0; k < l->n_kept; k++) CU_ASSERT_EQUAL(l->kept[k], k);
    for (int64_t k = 0; k < l->n_removed; k++) CU_ASSERT_EQUAL(l->removed[k], l->channels - 1 - k);
    CU_ASSERT_TRUE(l->path == NULL && isnan(l->predicted_relative_error));
    CU_ASSERT_TRUE(l->relative_error <
                   reap_prune_record(&reference.result, REAP_STEP_PRUNE, i)->relative_error); /* it was re-solved */
  }
  clear(&o);
  clear(&reference);
}

static void a_methods_own_weights_are_taken(void) {
  outcome o;
  if (!reap_method_find("nothing")) CHECK_OK(reap_method_register(&nothing));
  run(test_comm(), &(setting){VGG, "nothing", REAP_REFIT_LEAST_SQUARES, 100, 4, 7, 1, false, false, 0}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
  CU_ASSERT_TRUE(reap_prune_record(&o.result, REAP_STEP_PRUNE, 0)->relative_error < 1);
  clear(&o);
  run(test_comm(), &(setting){VGG, "nothing", REAP_REFIT_METHOD, 100, 4, 7, 1, false, false, 0}, &o);
  CU_ASSERT_EQUAL_FATAL(reap_prune_count(&o.result, REAP_STEP_PRUNE), 1);
  const reap_step_record *l = reap_prune_record(&o.result, REAP_STEP_PRUNE, 0);
  CU_ASSERT_TRUE(l->relative_error > 1);
  for (int64_t k = 0; k < l->n_kept; k++) CU_ASSERT_EQUAL(l->kept[k], k);
  const reap_tensor *w = reap_node_constant(o.pruned, o.pruned->nodes[net_layer(o.pruned, l->layer)], 1);
  for (int64_t i = 0; i < w->count; i++) CU_ASSERT_EQUAL(w->f32[i], 0);
  clear(&o);
}

/* Before any work: when the session is made. */
static void check_session(const char *model, const char *method, reap_scope scope, const char *refusal) {
  reap_network network = {0};
  reap_dataset *images = NULL;
  reap_session *session = NULL;
  reap_session_settings settings = reap_session_defaults();
  settings.method = reap_method_find(method);
  settings.scope = scope;
  settings.images = 70;
  CHECK_OK(reap_network_load(test_comm(), test_source_path(model), &network));
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &images));
  if (refusal)
    CHECK_FAILS(reap_session_create(test_comm(), &network, images, &settings, &session), REAP_ERR_USAGE, refusal);
  else
    CHECK_OK(reap_session_create(test_comm(), &network, images, &settings, &session));
  reap_session_destroy(&session);
  reap_dataset_close(&images);
  reap_network_clear(&network);
}

static void groups_that_a_method_cannot_choose_for_are_refused_before_any_work(void) {
  check_session(RESNET, "bn-scale", REAP_SCOPE_INNER, NULL);
  check_session(VGG, "bn-scale", REAP_SCOPE_INNER, "group conv1_1.Conv: method bn-scale goes by scales");
  check_session(RESNET, "exchange", REAP_SCOPE_INNER, NULL);
  check_session(RESNET, "exchange", REAP_SCOPE_ALL, "which several layers share");
}

const test_case test_cases[] = {{"sets come from scores", sets_come_from_scores},
                                {"sets come from orders and lists", sets_come_from_orders_and_lists},
                                {"unfit methods are not registered", unfit_methods_are_not_registered},
                                {"what a run lacks is named", what_a_run_lacks_is_named},
                                {"a run takes a registered method", a_run_takes_a_registered_method},
                                {"a method's own weights are taken", a_methods_own_weights_are_taken},
                                {"groups that a method cannot choose for are refused before any work",
                                 groups_that_a_method_cannot_choose_for_are_refused_before_any_work},
                                {NULL, NULL}};
