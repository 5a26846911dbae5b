/* group paths: look-ups along a path, interpolation between measured sizes, and what cannot be a path. */
#include <math.h>
#include <string.h>

#include "model/groups/group_paths.h"
#include "small_networks.h"

const char *const test_suite_name = "group paths";

enum { CHANNELS = 8 };

/* One group of 8 channels down to 1, error 2^-6 .. 1, measured at 6, 4 and 2 channels. */
static reap_group_paths *example(void) {
  static const int64_t order[] = {3, 1, 7, 0, 2, 6, 5}, sizes[] = {6, 4, 2};
  reap_group_paths *p = NULL;
  CHECK_OK(reap_group_paths_create(1, &p));
  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  CHECK_OK(reap_group_path_allocate(&p->paths[0], "a", "b", CHANNELS, CHANNELS - 1, 3));
  reap_group_path *path = &p->paths[0];
  path->block = 9;
  path->m = 4;
  for (int i = 0; i < CHANNELS - 1; i++) path->error[i] = ldexp(1, i - 6);
  memcpy(path->order, order, sizeof order);
  memcpy(path->sizes, sizes, sizeof sizes);
  path->moved[0] = 0.01; /* error 1/32 */
  path->moved[1] = 0.09; /* error 1/8 */
  path->moved[2] = 0.36; /* error 1/2 */
  return p;
}

static void paths_are_looked_up(void) {
  reap_group_paths *p = example();
  CHECK_OK(reap_group_paths_check(p, "example"));
  CU_ASSERT_PTR_EQUAL(reap_group_paths_find(p, "a"), &p->paths[0]);
  CU_ASSERT_PTR_NULL(reap_group_paths_find(p, "b"));
  const reap_group_path *path = &p->paths[0];
  CU_ASSERT_EQUAL(reap_group_path_least(path), 1);
  CU_ASSERT_EQUAL(reap_group_path_error(path, 8), 0);
  CU_ASSERT_EQUAL(reap_group_path_error(path, 9), 0);
  CU_ASSERT_EQUAL(reap_group_path_error(path, 7), 1.0 / 64);
  CU_ASSERT_EQUAL(reap_group_path_error(path, 1), 1);
  bool kept[CHANNELS];
  reap_group_path_mask(path, 5, kept);
  for (int c = 0; c < CHANNELS; c++) CU_ASSERT_EQUAL(kept[c], c != 3 && c != 1 && c != 7);
  reap_group_paths_destroy(&p);
  CU_ASSERT_PTR_NULL(p);
}

static void moved_passes_through_what_was_measured(void) {
  reap_group_paths *p = example();
  const reap_group_path *path = &p->paths[0];
  CU_ASSERT_EQUAL(reap_group_path_moved(path, 8), 0);
  for (int i = 0; i < 3; i++) CHECK_NEAR(reap_group_path_moved(path, path->sizes[i]), path->moved[i], 1e-15);
  CHECK_NEAR(reap_group_path_moved(path, 7), 0.005, 1e-15); /* in proportion to the error */
  CHECK_NEAR(reap_group_path_moved(path, 5), 0.03, 1e-15);  /* geometric mean, half-way in log error */
  CHECK_NEAR(reap_group_path_moved(path, 3), 0.18, 1e-15);
  CHECK_NEAR(reap_group_path_moved(path, 1), 0.72, 1e-14); /* last power: 1 */
  for (int64_t k = 8; k > 1; k--) CU_ASSERT_TRUE(reap_group_path_moved(path, k - 1) >= reap_group_path_moved(path, k));
  reap_group_paths_destroy(&p);
}

static void noise_is_made_ascending(void) {
  reap_group_paths *p = example();
  reap_group_path *path = &p->paths[0];
  path->moved[0] = 0.05; /* above the next one: both become 0.03 */
  path->moved[1] = 0.01;
  CHECK_NEAR(reap_group_path_moved(path, 6), 0.03, 1e-15);
  CHECK_NEAR(reap_group_path_moved(path, 4), 0.03, 1e-15);
  CHECK_NEAR(reap_group_path_moved(path, 2), 0.36, 1e-15);
  for (int64_t k = 8; k > 1; k--) CU_ASSERT_TRUE(reap_group_path_moved(path, k - 1) >= reap_group_path_moved(path, k));
  reap_group_paths_destroy(&p);
}

/* Dead channels go for nothing; what was measured may be exactly 0; one size alone; none at all. */
static void zeros_do_no_harm(void) {
  reap_group_paths *p = example();
  reap_group_path *path = &p->paths[0];
  path->error[0] = path->error[1] = 0;
  path->moved[0] = 0;
  CHECK_OK(reap_group_paths_check(p, "example"));
  CU_ASSERT_EQUAL(reap_group_path_moved(path, 7), 0);
  CU_ASSERT_EQUAL(reap_group_path_moved(path, 6), 0);
  CHECK_NEAR(reap_group_path_moved(path, 5), 0.045, 1e-15); /* by a straight line from 0 */
  path->n_sizes = 1;
  path->sizes[0] = 4;
  path->moved[0] = 0.5;
  CHECK_NEAR(reap_group_path_moved(path, 1), 4, 1e-14);
  path->moved[0] = 0;
  CU_ASSERT_EQUAL(reap_group_path_moved(path, 1), 0);
  path->n_sizes = 0;
  CU_ASSERT_EQUAL(reap_group_path_moved(path, 1), 0);
  reap_group_paths_destroy(&p);
}

static void what_cannot_be_a_path_is_refused(void) {
  reap_group_paths *p = example();
  reap_group_path *path = &p->paths[0], sound = *path;
#define REFUSED(change, words)                                             \
  do {                                                                     \
    change;                                                                \
    CHECK_FAILS(reap_group_paths_check(p, "x.h5"), REAP_ERR_INPUT, words); \
  } while (0)
  REFUSED(path->order[2] = 3, "x.h5: group \"a\": its order names a channel twice");
  REFUSED(path->order[2] = 8, "does not have");
  REFUSED(path->order[2] = -1, "does not have");
  path->order[2] = 7;
  REFUSED(path->error[3] = NAN, "errors");
  REFUSED(path->error[3] = 0, "errors");
  path->error[3] = 1.0 / 8;
  REFUSED(path->sizes[1] = 6, "sizes do not descend");
  REFUSED(path->sizes[1] = 0, "sizes do not descend");
  path->sizes[1] = 4;
  REFUSED(path->moved[1] = -1, "negative");
  REFUSED(path->moved[1] = INFINITY, "not finite");
  path->moved[1] = 0.09;
  REFUSED(path->channels = 7, "not those of a layer");
  *path = sound;
  REFUSED(path->n_removed = -1, "not those of a layer");
  *path = sound;
  CHECK_OK(reap_group_paths_check(p, "x.h5"));
  reap_group_paths_destroy(&p);
}

static void names_are_not_there_twice(void) {
  reap_group_paths *p = NULL;
  CHECK_OK(reap_group_paths_create(2, &p));
  for (int i = 0; i < 2; i++) {
    CHECK_OK(reap_group_path_allocate(&p->paths[i], "same", "layer", 3, 0, 0));
    p->paths[i].block = p->paths[i].m = 1;
  }
  CHECK_FAILS(reap_group_paths_check(p, "x.h5"), REAP_ERR_INPUT, "there twice");
  CU_ASSERT_EQUAL(reap_group_path_error(&p->paths[0], 1), 0);
  reap_group_paths_destroy(&p);
  reap_group_paths_destroy(&p);
}

static void paths_of_other_networks_are_refused(void) {
  reap_graph *g = net_begin();
  reap_groups *groups = NULL;
  reap_group_paths *p = example();
  net_image(g, "x", 3, 6, 6);
  net_conv3(g, "a", "x", 3, CHANNELS);
  net_step(g, "Relu", "r", "a");
  net_conv3(g, "b", "r", CHANNELS, 4);
  net_finish(g, "b", 2);
  CHECK_OK(reap_groups_find(g, &groups));
  CHECK_OK(reap_group_paths_match(p, groups, "x.h5"));
  p->paths[0].channels = CHANNELS + 1;
  CHECK_FAILS(reap_group_paths_match(p, groups, "x.h5"), REAP_ERR_INPUT,
              "x.h5: group \"a\" has 9 channels there and 8");
  strcpy(p->paths[0].group, "b"); /* an output of the network */
  CHECK_FAILS(reap_group_paths_match(p, groups, "x.h5"), REAP_ERR_INPUT, "no group \"b\"");
  strcpy(p->paths[0].group, "c");
  CHECK_FAILS(reap_group_paths_match(p, groups, "x.h5"), REAP_ERR_INPUT, "no group \"c\"");
  reap_group_paths_destroy(&p);
  reap_groups_destroy(&groups);
  reap_graph_destroy(&g);
}

const test_case test_cases[] = {{"paths are looked up", paths_are_looked_up},
                                {"moved passes through what was measured", moved_passes_through_what_was_measured},
                                {"noise is made ascending", noise_is_made_ascending},
                                {"zeros do no harm", zeros_do_no_harm},
                                {"what cannot be a path is refused", what_cannot_be_a_path_is_refused},
                                {"names are not there twice", names_are_not_there_twice},
                                {"paths of other networks are refused", paths_of_other_networks_are_refused},
                                {NULL, NULL}};
