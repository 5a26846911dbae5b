/* What every test program shares: CUnit under mpirun, with failures summed over the ranks.
 *
 * A test file defines `const char *test_suite_name` and a zero-ended `const test_case test_cases[]`; main() is in
 * harness.c. All ranks run all cases in the same order. Cases may use test_comm(), which is a reap_comm over all ranks.
 * After each case all memory and communicators of reap have to be given back.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdint.h>

#include "reap/comm.h"
#include "reap/error.h"

typedef struct test_case {
  const char *name;
  void (*run)(void);
} test_case;

extern const char *const test_suite_name;
extern const test_case test_cases[];

/* The communicator of the run; owned by the harness. */
const reap_comm *test_comm(void);
int test_rank(void);
int test_ranks(void);

/* Path under the source tree, the optional data folder or the scratch folder (made per program and rank count, the same
 * on all ranks). The result is in a static buffer that the fourth call after it reuses. */
const char *test_source_path(const char *relative);
const char *test_data_path(const char *relative);
const char *test_scratch_path(const char *relative);

/* The same, of this rank alone: for cases that all ranks run with files of their own. */
const char *test_own_path(const char *name);

/* True if the file can be opened. */
bool test_file_exists(const char *path);

/* True if a temporary file of `path` lies beside it. */
bool test_left_behind(const char *path);

/* Prints "SKIPPED name: reason" once, so that nobody takes a skip for a pass. */
void test_skip(const char *name, const char *reason);

/* Asserts that `status` is REAP_OK and shows the message otherwise. */
#define CHECK_OK(call)                                                                       \
  do {                                                                                       \
    int check_status_ = (call);                                                              \
    if (check_status_ != REAP_OK) test_show_error(__FILE__, __LINE__, #call, check_status_); \
    CU_ASSERT_EQUAL(check_status_, REAP_OK);                                                 \
  } while (0)

/* Asserts that the call fails with `status` and that the message contains `text`. */
#define CHECK_FAILS(call, wanted, text)                                         \
  do {                                                                          \
    int check_status_ = (call);                                                 \
    CU_ASSERT_EQUAL(check_status_, wanted);                                     \
    if (check_status_ != REAP_OK) test_check_message(__FILE__, __LINE__, text); \
  } while (0)

void test_show_error(const char *file, int line, const char *call, int status);
void test_check_message(const char *file, int line, const char *text);

/* |a - b| <= tolerance, with both numbers shown on failure; NaN fails. */
#define CHECK_NEAR(a, b, tolerance) \
  test_check_near(__FILE__, __LINE__, #a, (double)(a), (double)(b), (double)(tolerance))
void test_check_near(const char *file, int line, const char *what, double a, double b, double tolerance);

/* Largest |a[i] - b[i]|; NaN anywhere gives infinity. */
double test_max_difference(const double *a, const double *b, int64_t count);
double test_max_difference_f(const float *a, const float *b, int64_t count);

#endif
