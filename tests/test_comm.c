/* comm: agreement on errors, sums, broadcasts, shares and grids. */
#include <string.h>

#include "comm/counter.h"
#include "harness.h"
#include "reap/memory.h"

const char *const test_suite_name = "comm";

static void agreement_takes_the_lowest_failing_rank(void) {
  CHECK_OK(reap_comm_agree(test_comm(), REAP_OK));
  int last = test_ranks() - 1;
  int mine = REAP_OK;
  if (test_rank() == last) mine = reap_error(REAP_ERR_NUMERIC, "rank %d has a NaN", last);
  char text[64];
  snprintf(text, sizeof text, "rank %d has a NaN", last);
  CHECK_FAILS(reap_comm_agree(test_comm(), mine), REAP_ERR_NUMERIC, text);
  mine = reap_error(REAP_ERR_INPUT, "all fail, I am %d", test_rank());
  CHECK_FAILS(reap_comm_agree(test_comm(), mine), REAP_ERR_INPUT, "I am 0");
}

/* Every number below the limit is drawn by exactly one rank, whoever is quicker. */
static void a_counter_deals_each_number_once(void) {
  enum { NUMBERS = 200 };
  int64_t drawn[NUMBERS] = {0}, wrong = 0;
  reap_counter *counter = NULL, *other = NULL;
  CHECK_OK(reap_counter_create(test_comm(), &counter));
  CHECK_OK(reap_counter_create(test_comm(), &other));
  for (int64_t i; (i = reap_counter_add(counter, 1)) < NUMBERS;) drawn[i]++;
  reap_counter_add(other, 5);
  CHECK_OK(reap_comm_sum_int64(test_comm(), drawn, NUMBERS));
  for (int i = 0; i < NUMBERS; i++) wrong += drawn[i] != 1;
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(reap_counter_add(counter, 0), NUMBERS + test_ranks());
  CU_ASSERT_EQUAL(reap_counter_add(other, 0), 5 * test_ranks());
  reap_counter_destroy(&counter);
  reap_counter_destroy(&other);
  reap_counter_destroy(&other);
}

static void sums_and_maxima(void) {
  double values[3] = {test_rank(), 1, -test_rank()};
  CHECK_OK(reap_comm_sum(test_comm(), values, 3));
  int p = test_ranks();
  CU_ASSERT_EQUAL(values[0], p * (p - 1) / 2);
  CU_ASSERT_EQUAL(values[1], p);
  int64_t counts[1] = {test_rank()};
  CHECK_OK(reap_comm_max_int64(test_comm(), counts, 1));
  CU_ASSERT_EQUAL(counts[0], p - 1);
}

/* Several slabs of whole numbers, so that any order of adding gives the same: for all, and for each rank alone. */
static void sums_under_way_arrive(void) {
  enum { COUNT = (2 << 20) + 17 };
  const int size = test_ranks();
  double *values = NULL, *others = NULL;
  CHECK_OK(reap_alloc(&values, COUNT, sizeof *values));
  CHECK_OK(reap_alloc(&others, COUNT, sizeof *others));
  for (int root = -1; root < size; root++) {
    reap_comm_pending *pending[2] = {NULL, NULL};
    for (int64_t i = 0; i < COUNT; i++) values[i] = others[i] = (double)(i % 1000 + test_rank());
    CHECK_OK(reap_comm_sum_begin(test_comm(), values, COUNT, root, &pending[0]));
    CHECK_OK(reap_comm_sum_begin(test_comm(), others, COUNT, root, &pending[1])); /* two at a time */
    for (int k = 0; k < 3; k++) reap_comm_sum_advance(pending[0]);
    int64_t marks = 1; /* other collectives pass by */
    CHECK_OK(reap_comm_sum_int64(test_comm(), &marks, 1));
    CU_ASSERT_EQUAL(marks, size);
    for (int k = 0; k < 2; k++) reap_comm_sum_finish(&pending[k]);
    CU_ASSERT_PTR_NULL(pending[0]);
    const bool mine = root < 0 || root == test_rank();
    int64_t wrong = 0;
    for (int64_t i = 0; i < COUNT; i++) {
      const double sum = (double)(i % 1000 * size + size * (size - 1) / 2), own = (double)(i % 1000 + test_rank());
      wrong += values[i] != (mine ? sum : own) || others[i] != (mine ? sum : own);
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
  reap_comm_pending *none = NULL;
  reap_comm_sum_advance(none);
  reap_comm_sum_finish(&none);
  reap_free(&values);
  reap_free(&others);
}

static void broadcast_reaches_everybody(void) {
  char text[32] = "";
  if (test_rank() == test_ranks() - 1) strcpy(text, "from the last rank");
  CHECK_OK(reap_comm_broadcast(test_comm(), text, sizeof text, test_ranks() - 1));
  CU_ASSERT_STRING_EQUAL(text, "from the last rank");
}

static void differences_are_noticed(void) {
  CHECK_OK(reap_comm_same(test_comm(), "same", 4, "the model"));
  if (test_ranks() > 1)
    CHECK_FAILS(reap_comm_same(test_comm(), test_rank() ? "a" : "b", 1, "the model"), REAP_ERR_INPUT,
                "the model differs");
}

static void splitting_gives_working_groups(void) {
  reap_comm *half = NULL;
  CHECK_OK(reap_comm_split(test_comm(), test_rank() % 2, &half));
  double one = 1;
  CHECK_OK(reap_comm_sum(half, &one, 1));
  CU_ASSERT_EQUAL(one, reap_comm_size(half));
  CU_ASSERT_EQUAL(reap_comm_live(), 2);
  reap_comm_destroy(&half);
  CU_ASSERT_PTR_NULL(half);
  reap_comm_destroy(&half);
}

static void shares_cover_everything_once(void) {
  for (int64_t count = 0; count < 12; count++)
    for (int size = 1; size < 6; size++) {
      int64_t next = 0, smallest = count + 1, largest = 0;
      for (int r = 0; r < size; r++) {
        int64_t first, last;
        reap_comm_share(count, r, size, &first, &last);
        CU_ASSERT_EQUAL(first, next);
        next = last;
        if (last - first < smallest) smallest = last - first;
        if (last - first > largest) largest = last - first;
      }
      CU_ASSERT_EQUAL(next, count);
      CU_ASSERT_TRUE(largest - smallest <= 1);
    }
}

static void grids_are_as_square_as_can_be(void) {
  const int sizes[][3] = {{1, 1, 1}, {2, 1, 2}, {3, 1, 3}, {4, 2, 2}, {6, 2, 3}, {7, 1, 7}, {12, 3, 4}, {36, 6, 6}};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    int rows, columns;
    reap_comm_grid(sizes[i][0], &rows, &columns);
    CU_ASSERT_EQUAL(rows, sizes[i][1]);
    CU_ASSERT_EQUAL(columns, sizes[i][2]);
  }
}

const test_case test_cases[] = {{"agreement_takes_the_lowest_failing_rank", agreement_takes_the_lowest_failing_rank},
                                {"sums_and_maxima", sums_and_maxima},
                                {"sums_under_way_arrive", sums_under_way_arrive},
                                {"a counter deals each number once", a_counter_deals_each_number_once},
                                {"broadcast_reaches_everybody", broadcast_reaches_everybody},
                                {"differences_are_noticed", differences_are_noticed},
                                {"splitting_gives_working_groups", splitting_gives_working_groups},
                                {"shares_cover_everything_once", shares_cover_everything_once},
                                {"grids_are_as_square_as_can_be", grids_are_as_square_as_can_be},
                                {NULL, NULL}};
