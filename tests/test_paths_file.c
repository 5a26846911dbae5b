/* paths files: what is written comes back, and files that were tampered with are refused. */
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "io/paths_file.h"
#include "reap/memory.h"

const char *const test_suite_name = "paths file";

static reap_group_paths *example(void) {
  reap_group_paths *paths = NULL;
  CHECK_OK(reap_group_paths_create(3, &paths));
  CU_ASSERT_PTR_NOT_NULL_FATAL(paths);
  const char *const names[] = {"z.Conv", "a.Conv", "m.Gemm"}; /* not in the order of the alphabet */
  for (int i = 0; i < 3; i++) {
    reap_group_path *p = &paths->paths[i];
    CHECK_OK(reap_group_path_allocate(p, names[i], "next", 4 + i, i == 2 ? 0 : 2 + i, i == 2 ? 0 : 2));
    p->block = 9;
    p->m = 5;
    p->samples = 1000 + i;
    p->energy = 3.5;
    p->ridge = 1e-6;
    for (int64_t k = 0; k < p->n_removed; k++) {
      p->order[k] = p->channels - 1 - k;
      p->error[k] = 0.125 * (double)(k + i);
    }
    for (int k = 0; k < p->n_sizes; k++) {
      p->sizes[k] = p->channels - 1 - k;
      p->moved[k] = 0.01 * (k + 1);
    }
  }
  paths->measure = REAP_PATH_SOFT_KL;
  paths->images = 400;
  paths->measured_images = 40;
  paths->positions = 7;
  paths->seed = 3;
  paths->ridge = 1e-6;
  memset(paths->model_hash, 'a', 64);
  return paths;
}

static void what_is_written_comes_back(void) {
  const char *path = test_scratch_path("paths.h5");
  for (int measure = 0; measure < 4; measure++) {
    reap_group_paths *a = example(), *b = NULL;
    a->measure = (reap_path_measure)measure;
    CHECK_OK(reap_paths_file_write(path, a));
    CHECK_OK(reap_paths_file_read(path, &b));
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    CU_ASSERT_EQUAL_FATAL(b->n, 3);
    CU_ASSERT_EQUAL(b->measure, a->measure);
    CU_ASSERT_EQUAL(b->images, 400);
    CU_ASSERT_EQUAL(b->measured_images, 40);
    CU_ASSERT_EQUAL(b->positions, 7);
    CU_ASSERT_EQUAL(b->seed, 3);
    CU_ASSERT_EQUAL(b->ridge, 1e-6);
    CU_ASSERT_STRING_EQUAL(b->model_hash, a->model_hash);
    CU_ASSERT_STRING_EQUAL(b->calibration_hash, "");
    for (int i = 0; i < 3; i++) {
      const reap_group_path *p = &a->paths[i], *q = &b->paths[i];
      CU_ASSERT_STRING_EQUAL(p->group, q->group);
      CU_ASSERT_STRING_EQUAL(p->layer, q->layer);
      CU_ASSERT_EQUAL_FATAL(p->n_removed, q->n_removed);
      CU_ASSERT_EQUAL_FATAL(p->n_sizes, q->n_sizes);
      CU_ASSERT_TRUE(p->channels == q->channels && p->block == q->block && p->m == q->m && p->samples == q->samples);
      CU_ASSERT_TRUE(p->energy == q->energy && p->ridge == q->ridge);
      CU_ASSERT_EQUAL(memcmp(p->order, q->order, (size_t)p->n_removed * sizeof *p->order), 0);
      CU_ASSERT_EQUAL(memcmp(p->error, q->error, (size_t)p->n_removed * sizeof *p->error), 0);
      CU_ASSERT_EQUAL(memcmp(p->sizes, q->sizes, (size_t)p->n_sizes * sizeof *p->sizes), 0);
      CU_ASSERT_EQUAL(memcmp(p->moved, q->moved, (size_t)p->n_sizes * sizeof *p->moved), 0);
    }
    reap_group_paths_destroy(&a);
    reap_group_paths_destroy(&b);
  }
}

static void places_that_cannot_be_written_are_named(void) {
  reap_group_paths *paths = example();
  CHECK_FAILS(reap_paths_file_write("/no/such/folder/p.h5", paths), REAP_ERR_INPUT, "/no/such/folder");
  /* A group that is there twice fails half-way: what was there stays. */
  const char *path = test_scratch_path("stays.h5");
  reap_group_paths *back = NULL;
  CHECK_OK(reap_paths_file_write(path, paths));
  strcpy(paths->paths[1].group, "z.Conv");
  CHECK_FAILS(reap_paths_file_write(path, paths), REAP_ERR_INPUT, "z.Conv");
  CHECK_OK(reap_paths_file_read(path, &back));
  reap_group_paths_destroy(&back);
  reap_group_paths_destroy(&paths);
  CHECK_FAILS(reap_paths_file_read(test_scratch_path("nosuch.h5"), &back), REAP_ERR_INPUT, "No such file");
  CU_ASSERT_PTR_NULL(back);
}

/* ------------------------------------------------------------------ tampering */

static void put_integer(hid_t object, const char *name, long long value) {
  H5Adelete(object, name);
  hid_t space = H5Screate(H5S_SCALAR),
        attribute = H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE(H5Awrite(attribute, H5T_NATIVE_LLONG, &value) >= 0);
  H5Aclose(attribute);
  H5Sclose(space);
}

static void put_text(hid_t object, const char *name, const char *text) {
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Adelete(object, name);
  H5Tset_size(type, strlen(text));
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE(H5Awrite(attribute, type, text) >= 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

/* A vector of `length` numbers, all `value`; `stored` false: nothing of it is in the file. */
static void put_vector(hid_t group, const char *name, hid_t type, hsize_t length, double value, bool stored) {
  hid_t space = H5Screate_simple(1, &length, NULL);
  H5Ldelete(group, name, H5P_DEFAULT);
  hid_t data = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  double values[16];
  for (int i = 0; i < 16; i++) values[i] = value;
  if (stored) CU_ASSERT_TRUE(H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(data);
  H5Sclose(space);
}

typedef enum flaw {
  OTHER_FORMAT,
  OTHER_VERSION,
  NO_MODEL,
  NO_HASH,
  OTHER_MEASURE,
  NO_GROUPS,
  EMPTY,
  NO_ORDER,
  FLOAT_ORDER,
  LONG_ERROR,
  LONG_MOVED,
  SIZES_NOT_STORED,
  ALL_REMOVED,
  NEGATIVE_CHANNELS,
  VAST_CHANNELS,
  OTHER_COLUMNS,
  INDEX_TAKEN,
  INDEX_OUTSIDE,
  NAN_ERROR,
  REPEATED_ORDER,
  ASCENDING_SIZES,
  NEGATIVE_MOVED,
  LINK_OUTSIDE,
  FLAWS
} flaw;

static const char *const words[FLAWS] = {
    "\"reap-stats\" file", "version 2",     "model_sha256",           "no SHA-256",    "\"nats\"",    "groups",
    "holds no groups",     "order",         "does not hold integers", "\"error\" 5",   "\"moved\" 5", "sizes",
    "cannot be removed",   "make no sense", "make no sense",          "make no sense", "index 1",     "index 3",
    "not finite",          "twice",         "do not descend",         "negative",      "z.Conv"};

static void spoil_group(flaw f, hid_t group) {
  switch (f) {
    case NO_ORDER:
      H5Ldelete(group, "order", H5P_DEFAULT);
      break;
    case FLOAT_ORDER:
      put_vector(group, "order", H5T_IEEE_F64LE, 2, 1, true);
      break;
    case LONG_ERROR:
      put_vector(group, "error", H5T_IEEE_F64LE, 5, 1, true);
      break;
    case LONG_MOVED:
      put_vector(group, "moved", H5T_IEEE_F64LE, 5, 1, true);
      break;
    case SIZES_NOT_STORED:
      put_vector(group, "sizes", H5T_STD_I64LE, (hsize_t)1 << 40, 0, false);
      break;
    case ALL_REMOVED:
      put_integer(group, "channels", 2);
      put_integer(group, "columns", 18);
      break;
    case NEGATIVE_CHANNELS:
      put_integer(group, "channels", -4);
      break;
    case VAST_CHANNELS:
      put_integer(group, "channels", (long long)1 << 62);
      break;
    case OTHER_COLUMNS:
      put_integer(group, "columns", 35);
      break;
    case INDEX_TAKEN:
      put_integer(group, "index", 1);
      break;
    case INDEX_OUTSIDE:
      put_integer(group, "index", 3);
      break;
    case NAN_ERROR:
      put_vector(group, "error", H5T_IEEE_F64LE, 2, 0.0 / 0.0, true);
      break;
    case REPEATED_ORDER:
      put_vector(group, "order", H5T_STD_I64LE, 2, 1, true);
      break;
    case ASCENDING_SIZES:
      put_vector(group, "sizes", H5T_STD_I64LE, 2, 3, true);
      break;
    case NEGATIVE_MOVED:
      put_vector(group, "moved", H5T_IEEE_F64LE, 2, -1, true);
      break;
    default:
      break;
  }
}

static void spoil(flaw f, hid_t file) {
  hid_t group = H5Gopen2(file, "groups/z.Conv", H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(group >= 0);
  spoil_group(f, group);
  H5Gclose(group);
  switch (f) {
    case OTHER_FORMAT:
      put_text(file, "format", "reap-stats");
      break;
    case OTHER_VERSION:
      put_integer(file, "version", 2);
      break;
    case NO_MODEL:
      H5Adelete(file, "model_sha256");
      break;
    case NO_HASH:
      put_text(file, "model_sha256", "0123");
      break;
    case OTHER_MEASURE:
      put_text(file, "measure", "nats");
      break;
    case NO_GROUPS:
      H5Ldelete(file, "groups", H5P_DEFAULT);
      break;
    case EMPTY:
      H5Ldelete(file, "groups", H5P_DEFAULT);
      H5Gclose(H5Gcreate2(file, "groups", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
      break;
    case LINK_OUTSIDE:
      H5Ldelete(file, "groups/z.Conv", H5P_DEFAULT);
      H5Lcreate_external("elsewhere.h5", "/groups/z.Conv", file, "groups/z.Conv", H5P_DEFAULT, H5P_DEFAULT);
      break;
    default:
      break;
  }
}

static void tampered_files_are_refused(void) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* what is not there cannot be deleted */
  for (int f = 0; f < FLAWS; f++) {
    const char *path = test_scratch_path("spoilt.h5");
    reap_group_paths *paths = example(), *back = NULL;
    CHECK_OK(reap_paths_file_write(path, paths));
    reap_group_paths_destroy(&paths);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    CU_ASSERT_TRUE_FATAL(file >= 0);
    spoil((flaw)f, file);
    H5Fclose(file);
    const int status = reap_paths_file_read(path, &back);
    CU_ASSERT_EQUAL(status, REAP_ERR_INPUT);
    if (status == REAP_OK) printf("\n    flaw %d (%s) was taken ", f, words[f]);
    if (status != REAP_OK) {
      test_check_message(__FILE__, __LINE__, words[f]);
      test_check_message(__FILE__, __LINE__, "spoilt.h5");
    }
    CU_ASSERT_PTR_NULL(back);
    reap_group_paths_destroy(&back);
  }
}

static void files_cut_short_are_refused(void) {
  const char *path = test_scratch_path("short.h5");
  reap_group_paths *paths = example(), *back = NULL;
  struct stat about;
  CHECK_OK(reap_paths_file_write(path, paths));
  reap_group_paths_destroy(&paths);
  CU_ASSERT_EQUAL_FATAL(stat(path, &about), 0);
  for (int share = 1; share < 8; share++) {
    CU_ASSERT_EQUAL(truncate(path, about.st_size * (8 - share) / 8), 0);
    CHECK_FAILS(reap_paths_file_read(path, &back), REAP_ERR_INPUT, "short.h5");
    CU_ASSERT_PTR_NULL(back);
  }
}

const test_case test_cases[] = {{"what is written comes back", what_is_written_comes_back},
                                {"places that cannot be written are named", places_that_cannot_be_written_are_named},
                                {"tampered files are refused", tampered_files_are_refused},
                                {"files cut short are refused", files_cut_short_are_refused},
                                {NULL, NULL}};
