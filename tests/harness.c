#include "harness.h"

#include <CUnit/Basic.h>
#include <glob.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "linalg/dense.h"
#include "reap/comm.h"
#include "reap/log.h"
#include "reap/memory.h"

static reap_comm *comm;

const reap_comm *test_comm(void) { return comm; }
int test_rank(void) { return reap_comm_rank(comm); }
int test_ranks(void) { return reap_comm_size(comm); }

static const char *join(const char *folder, const char *relative) {
  static char buffers[4][1024];
  static int next;
  char *buffer = buffers[next++ % 4];
  snprintf(buffer, sizeof buffers[0], "%s/%s", folder, relative);
  return buffer;
}

const char *test_source_path(const char *relative) { return join(TEST_SOURCE_DIR, relative); }
const char *test_data_path(const char *relative) { return join(TEST_DATA_DIR, relative); }

const char *test_scratch_path(const char *relative) {
  char folder[512];
  snprintf(folder, sizeof folder, "%s/%s-%d", TEST_SCRATCH_DIR, test_suite_name, test_ranks());
  mkdir(TEST_SCRATCH_DIR, 0777);
  mkdir(folder, 0777);
  return join(folder, relative);
}

const char *test_own_path(const char *name) {
  char text[320];
  snprintf(text, sizeof text, "%d-%s", test_rank(), name);
  return test_scratch_path(text);
}

bool test_file_exists(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file) fclose(file);
  return file != NULL;
}

bool test_left_behind(const char *path) {
  glob_t found;
  char pattern[1200];
  snprintf(pattern, sizeof pattern, "%s*.tmp", path);
  const bool any = glob(pattern, 0, NULL, &found) == 0;
  if (any) globfree(&found);
  return any;
}

void test_skip(const char *name, const char *reason) {
  if (test_rank() == 0) printf("SKIPPED %s: %s\n", name, reason);
}

void test_show_error(const char *file, int line, const char *call, int status) {
  fprintf(stderr, "%s:%d: rank %d: %s: status %d: %s\n", file, line, test_rank(), call, status, reap_error_message());
}

void test_check_message(const char *file, int line, const char *text) {
  bool found = strstr(reap_error_message(), text) != NULL;
  if (!found) fprintf(stderr, "%s:%d: \"%s\" is not in \"%s\"\n", file, line, text, reap_error_message());
  CU_ASSERT_TRUE(found);
}

void test_check_near(const char *file, int line, const char *what, double a, double b, double tolerance) {
  bool near = fabs(a - b) <= tolerance;
  if (!near)
    fprintf(stderr, "%s:%d: rank %d: %s = %.17g, wanted %.17g (difference %.3g, tolerance %.3g)\n", file, line,
            test_rank(), what, a, b, fabs(a - b), tolerance);
  CU_ASSERT_TRUE(near);
}

double test_max_difference(const double *a, const double *b, int64_t count) {
  double worst = 0;
  for (int64_t i = 0; i < count; i++) {
    double d = fabs(a[i] - b[i]);
    if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
  }
  return worst;
}

double test_max_difference_f(const float *a, const float *b, int64_t count) {
  double worst = 0;
  for (int64_t i = 0; i < count; i++) {
    double d = fabs((double)a[i] - (double)b[i]);
    if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
  }
  return worst;
}

/* Runs after every case: what a case allocates it has to give back. */
static void check_leaks(void) {
  if (reap_memory_live_blocks() != 1 || reap_comm_live() != 1) {
    fprintf(stderr, "rank %d: %lld blocks (%lld bytes) and %d communicators were not given back\n", test_rank(),
            (long long)reap_memory_live_blocks() - 1, (long long)reap_memory_live_bytes(), reap_comm_live() - 1);
    CU_FAIL("leak");
  }
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  if (reap_comm_create(MPI_COMM_WORLD, &comm) != REAP_OK) return EXIT_FAILURE;
  reap_blas_set_threads(1);
  if (test_rank() != 0) {
    reap_log_set_level(REAP_LOG_QUIET);
    if (!freopen("/dev/null", "w", stdout)) return EXIT_FAILURE;
  }
  int registered = CU_initialize_registry() == CUE_SUCCESS;
  CU_pSuite suite =
      registered ? CU_add_suite_with_setup_and_teardown(test_suite_name, NULL, NULL, NULL, check_leaks) : NULL;
  for (const test_case *c = test_cases; suite && c->name; c++)
    if (argc < 2 || strcmp(argv[1], c->name) == 0) CU_add_test(suite, c->name, c->run);
  CU_basic_set_mode(CU_BRM_VERBOSE);
  if (suite) CU_basic_run_tests();
  /* CUnit returns 0 even after failures, and a failure on one rank must fail the run. */
  int failures = suite ? (int)CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0) : 1;
  CU_cleanup_registry();
  MPI_Allreduce(MPI_IN_PLACE, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (test_rank() == 0) printf("%s on %d ranks: %d failures\n", test_suite_name, test_ranks(), failures);
  reap_comm_destroy(&comm);
  MPI_Finalize();
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
