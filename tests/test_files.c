/* files: outputs written in parallel, statistics and paths. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "io/outputs_file.h"
#include "reap/memory.h"
#include "reap/stats_file.h"

const char *const test_suite_name = "files";

/* ------------------------------------------------------------------ outputs */

enum { IMAGES = 23, CLASSES = 5 };

static float output_at(int64_t image, int64_t k) { return (float)image + 0.125f * (float)k; }

static void fill_outputs(int64_t first, int64_t count, float *outputs) {
  for (int64_t i = 0; i < count; i++)
    for (int64_t k = 0; k < CLASSES; k++) outputs[i * CLASSES + k] = output_at(first + i, k);
}

static int create_outputs(const char *path, int64_t images, int rank, const int64_t *dims, reap_outputs_file **file) {
  const reap_outputs_shape shape = {NULL, rank, dims};
  return reap_outputs_file_create(test_comm(), path, images, 1, &shape, file);
}

static int write_share(reap_outputs_file *file) {
  float outputs[IMAGES * CLASSES];
  int64_t first, last;
  reap_comm_share(IMAGES, test_rank(), test_ranks(), &first, &last);
  int status = REAP_OK;
  for (int64_t at = first; at < last && status == REAP_OK; at += 4) {
    int64_t n = last - at < 4 ? last - at : 4;
    fill_outputs(at, n, outputs);
    status = reap_outputs_file_write(file, 0, at, n, outputs);
  }
  return reap_comm_agree(test_comm(), status);
}

static void check_outputs(const char *path) {
  float outputs[IMAGES * CLASSES] = {0};
  hsize_t dims[2] = {0, 0};
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(file >= 0);
  hid_t set = H5Dopen2(file, "outputs", H5P_DEFAULT), space = H5Dget_space(set);
  CU_ASSERT_EQUAL(H5Sget_simple_extent_ndims(space), 2);
  H5Sget_simple_extent_dims(space, dims, NULL);
  CU_ASSERT_TRUE(dims[0] == IMAGES && dims[1] == CLASSES);
  H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, outputs);
  float wanted[IMAGES * CLASSES];
  fill_outputs(0, IMAGES, wanted);
  CU_ASSERT_EQUAL(test_max_difference_f(outputs, wanted, IMAGES * CLASSES), 0);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
}

static void outputs_are_written_by_all_ranks(void) {
  const char *path = test_scratch_path("outputs.h5");
  const int64_t dims[1] = {CLASSES};
  reap_outputs_file *file = NULL;
  CHECK_OK(create_outputs(path, IMAGES, 1, dims, &file));
  if (!file) return;
  CHECK_OK(write_share(file));
  float beyond[CLASSES] = {0};
  CHECK_FAILS(reap_outputs_file_write(file, 0, IMAGES, 1, beyond), REAP_ERR_INTERNAL, "of 23");
  CHECK_OK(reap_outputs_file_commit(&file));
  CU_ASSERT_PTR_NULL(file);
  CU_ASSERT_FALSE(test_left_behind(path));
  check_outputs(path);
  CHECK_OK(reap_comm_barrier(test_comm()));
}

static void outputs_of_any_shape(void) {
  const char *path = test_scratch_path("shapes.h5");
  reap_outputs_file *file = NULL;
  const int64_t map[3] = {2, 3, 4}, none[1] = {0};
  float one[24] = {0};
  CHECK_OK(create_outputs(path, 7, 0, NULL, &file));
  if (file && test_rank() == 0) CHECK_OK(reap_outputs_file_write(file, 0, 6, 1, one));
  CHECK_OK(reap_outputs_file_commit(&file));
  CHECK_OK(create_outputs(path, 7, 3, map, &file));
  if (file && test_rank() == 0) CHECK_OK(reap_outputs_file_write(file, 0, 6, 1, one));
  CHECK_OK(reap_outputs_file_commit(&file));
  CHECK_OK(create_outputs(path, 7, 1, none, &file));
  if (file) CHECK_OK(reap_outputs_file_write(file, 0, 0, 7, one));
  CHECK_OK(reap_outputs_file_commit(&file));
}

/* Output k of image i holds 100 i + k everywhere. */
static void several_outputs_have_data_sets_of_their_own(void) {
  enum { OUTPUTS = 3, MOST = 6 };
  const char *path = test_scratch_path("several.h5"), *const sets[] = {"outputs", "outputs_1", "outputs_2"};
  const int64_t class_dims[] = {4}, map[] = {1, 2, 3}, sizes[] = {4, 6, 1};
  const reap_outputs_shape shapes[OUTPUTS] = {{"classes", 1, class_dims}, {"map", 3, map}, {NULL, 0, NULL}};
  reap_outputs_file *file = NULL;
  int64_t begin, end;
  float rows[MOST], all[IMAGES * MOST];
  CHECK_OK(reap_outputs_file_create(test_comm(), path, IMAGES, OUTPUTS, shapes, &file));
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  reap_comm_share(IMAGES, test_rank(), test_ranks(), &begin, &end);
  for (int64_t i = begin; i < end; i++)
    for (int k = 0; k < OUTPUTS; k++) {
      for (int j = 0; j < MOST; j++) rows[j] = (float)(100 * i + k);
      CHECK_OK(reap_outputs_file_write(file, k, i, 1, rows));
    }
  CHECK_OK(reap_outputs_file_commit(&file));
  hid_t stored = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(stored >= 0);
  for (int k = 0; k < OUTPUTS; k++) {
    hid_t set = H5Dopen2(stored, sets[k], H5P_DEFAULT);
    CU_ASSERT_TRUE_FATAL(set >= 0);
    CU_ASSERT_EQUAL(H5Aexists(set, "name") > 0, shapes[k].name != NULL);
    CU_ASSERT_EQUAL(H5Sget_simple_extent_npoints(H5Dget_space(set)), IMAGES * sizes[k]);
    CU_ASSERT_TRUE(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    for (int64_t i = 0; i < IMAGES * sizes[k]; i++) CU_ASSERT_EQUAL(all[i], (float)(100 * (i / sizes[k]) + k));
    H5Dclose(set);
  }
  H5Fclose(stored);
  CHECK_OK(reap_comm_barrier(test_comm()));
}

static void outputs_given_up_leave_nothing(void) {
  const char *path = test_scratch_path("given-up.h5");
  const int64_t dims[1] = {CLASSES};
  reap_outputs_file *file = NULL;
  if (test_rank() == 0) unlink(path);
  CHECK_OK(reap_comm_barrier(test_comm()));
  CHECK_OK(create_outputs(path, IMAGES, 1, dims, &file));
  CHECK_OK(write_share(file));
  reap_outputs_file_destroy(&file);
  CU_ASSERT_PTR_NULL(file);
  CHECK_OK(reap_comm_barrier(test_comm()));
  CU_ASSERT_FALSE(test_file_exists(path));
  CU_ASSERT_FALSE(test_left_behind(path));
  reap_outputs_file_destroy(&file);
}

static void outputs_that_cannot_be_written_fail_everywhere(void) {
  const int64_t dims[1] = {CLASSES}, vast[2] = {INT64_MAX / 2, 3};
  reap_outputs_file *file = NULL;
  CHECK_FAILS(create_outputs("/no/such/folder/o.h5", IMAGES, 1, dims, &file), REAP_ERR_INPUT, "/no/such/folder");
  CU_ASSERT_PTR_NULL(file);
  CHECK_FAILS(create_outputs(test_scratch_path("vast.h5"), IMAGES, 2, vast, &file), REAP_ERR_RESOURCE, "out of range");
  CU_ASSERT_PTR_NULL(file);
}

/* ------------------------------------------------------------------ paths */

static void put_path(reap_path_file *file, const char *layer, int64_t removed) {
  reap_path *path = NULL;
  CHECK_OK(reap_path_create(6, 2, 3, 6 - removed, &path));
  if (!path) return;
  for (int64_t i = 0; i < removed; i++) {
    path->order[i] = 5 - i;
    path->error[i] = 0.5 * (double)i;
    path->error_plain[i] = i + 1 < removed ? NAN : 0.25;
  }
  for (int64_t i = 0; i < 6 - removed; i++) path->kept[i] = i;
  for (int64_t i = 0; i < (6 - removed) * 2 * 3; i++) path->weights[i] = (double)i;
  for (int64_t i = 0; i < 3; i++) path->bias[i] = -(double)i;
  path->ridge = 1e-6;
  CHECK_OK(reap_path_file_write(file, layer, path));
  reap_path_destroy(&path);
}

static hsize_t extent(hid_t file, const char *name, int axis) {
  hsize_t dims[4] = {0, 0, 0, 0};
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = set < 0 ? set : H5Dget_space(set);
  CU_ASSERT_TRUE(space >= 0);
  if (space < 0) return 0;
  H5Sget_simple_extent_dims(space, dims, NULL);
  H5Sclose(space);
  H5Dclose(set);
  return dims[axis];
}

static void check_path_layer(hid_t file) {
  int64_t order[4] = {0};
  double weights[12] = {0};
  hid_t set = H5Dopen2(file, "layers/conv/order", H5P_DEFAULT);
  H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, order);
  H5Dclose(set);
  CU_ASSERT_TRUE(order[0] == 5 && order[3] == 2);
  set = H5Dopen2(file, "layers/conv/weights", H5P_DEFAULT);
  H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, weights);
  H5Dclose(set);
  CU_ASSERT_TRUE(weights[0] == 0 && weights[11] == 11);
  CU_ASSERT_TRUE(extent(file, "layers/conv/weights", 0) == 4 && extent(file, "layers/conv/weights", 1) == 3);
  CU_ASSERT_EQUAL(extent(file, "layers/conv/error_plain", 0), 4);
}

static void paths_are_written(void) {
  const char *path = test_own_path("path.h5");
  reap_path_file *file = NULL;
  CHECK_OK(reap_path_file_create(path, &file));
  if (!file) return;
  put_path(file, "conv", 4);
  put_path(file, "untouched", 0);
  put_path(file, "gone", 6);
  reap_path *again = NULL;
  CHECK_OK(reap_path_create(1, 1, 1, 1, &again));
  CHECK_FAILS(reap_path_file_write(file, "conv", again), REAP_ERR_INPUT, "conv");
  reap_path_destroy(&again);
  CHECK_OK(reap_path_file_commit(&file));
  CU_ASSERT_PTR_NULL(file);
  CU_ASSERT_FALSE(test_left_behind(path));
  hid_t read = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(read >= 0);
  check_path_layer(read);
  CU_ASSERT_EQUAL(extent(read, "layers/untouched/order", 0), 0);
  CU_ASSERT_EQUAL(extent(read, "layers/untouched/kept", 0), 6);
  CU_ASSERT_EQUAL(extent(read, "layers/gone/weights", 0), 0);
  H5Fclose(read);
}

static void paths_given_up_leave_nothing(void) {
  const char *path = test_own_path("no-path.h5");
  reap_path_file *file = NULL;
  unlink(path);
  CHECK_OK(reap_path_file_create(path, &file));
  if (file) put_path(file, "conv", 4);
  reap_path_file_destroy(&file);
  CU_ASSERT_PTR_NULL(file);
  CU_ASSERT_FALSE(test_file_exists(path));
  CU_ASSERT_FALSE(test_left_behind(path));
  CHECK_FAILS(reap_path_file_create("/no/such/folder/p.h5", &file), REAP_ERR_INPUT, "/no/such/folder");
}

/* ------------------------------------------------------------------ statistics */

/* What write_stats() leaves out or spoils. */
typedef struct stats_flaws {
  const char *format;
  int64_t version, channels, block, samples;
  hsize_t gram_columns, cross_rows;
  const char *left_out;
  bool integer_gram, nan;
} stats_flaws;

static const stats_flaws SOUND = {"reap-stats", 1, 3, 2, 40, 6, 6, "", false, false};

static void put_integer(hid_t object, const char *name, int64_t value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_INT64, &value);
  H5Aclose(attribute);
  H5Sclose(space);
}

static void put_double(hid_t object, const char *name, double value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_DOUBLE, &value);
  H5Aclose(attribute);
  H5Sclose(space);
}

static void put_string(hid_t object, const char *name, const char *value) {
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, H5T_VARIABLE);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, &value);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_array(const stats_flaws *f, hid_t layer, const char *name, hid_t type, hsize_t rows, hsize_t columns,
                      const double *values) {
  if (strcmp(f->left_out, name) == 0) return;
  const hsize_t dims[2] = {rows, columns};
  hid_t space = H5Screate_simple(columns ? 2 : 1, dims, NULL);
  hid_t set = H5Dcreate2(layer, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(set);
  H5Sclose(space);
}

static void put_layer(const stats_flaws *f, hid_t layers, const char *name) {
  double gram[64] = {0}, cross[64] = {0}, sum[8] = {0};
  for (int i = 0; i < 6; i++) gram[i * 6 + i] = 50 + i;
  for (int i = 0; i < 12; i++) cross[i] = i;
  if (f->nan) gram[7] = NAN;
  hid_t layer = H5Gcreate2(layers, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  put_array(f, layer, "gram", f->integer_gram ? H5T_NATIVE_INT : H5T_NATIVE_DOUBLE, 6, f->gram_columns, gram);
  put_array(f, layer, "cross", H5T_NATIVE_DOUBLE, f->cross_rows, 2, cross);
  put_array(f, layer, "sum_x", H5T_NATIVE_DOUBLE, 6, 0, sum);
  put_array(f, layer, "sum_y", H5T_NATIVE_DOUBLE, 2, 0, sum);
  put_integer(layer, "channels", f->channels);
  put_integer(layer, "block", f->block);
  put_integer(layer, "samples", f->samples);
  put_double(layer, "energy", 1000);
  H5Gclose(layer);
}

static const char *write_stats(const stats_flaws *f) {
  const char *path = test_own_path("stats.h5");
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (f->format) put_string(file, "format", f->format);
  put_integer(file, "version", f->version);
  hid_t layers = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  put_layer(f, layers, "second");
  put_layer(f, layers, "first");
  H5Gclose(layers);
  H5Fclose(file);
  return path;
}

static void statistics_are_read(void) {
  reap_stats_file *file = NULL;
  reap_moments *moments = NULL;
  CHECK_OK(reap_stats_file_open(write_stats(&SOUND), &file));
  if (!file) return;
  CU_ASSERT_EQUAL(reap_stats_file_layers(file), 2);
  CU_ASSERT_STRING_EQUAL(reap_stats_file_layer_name(file, 0), "first");
  CU_ASSERT_STRING_EQUAL(reap_stats_file_layer_name(file, 1), "second");
  CHECK_OK(reap_stats_file_read(file, 1, &moments));
  if (moments) {
    CU_ASSERT_TRUE(moments->channels == 3 && moments->block == 2 && moments->n == 6 && moments->m == 2);
    CU_ASSERT_TRUE(moments->samples == 40 && moments->energy == 1000);
    CU_ASSERT_TRUE(moments->gram[35] == 55 && moments->cross[11] == 11);
  }
  reap_moments_destroy(&moments);
  reap_stats_file_close(&file);
}

static void stats_refused(const stats_flaws *f, int wanted, const char *words) {
  reap_stats_file *file = NULL;
  reap_moments *moments = NULL;
  const char *path = write_stats(f);
  int status = reap_stats_file_open(path, &file);
  if (status == REAP_OK) status = reap_stats_file_read(file, 0, &moments);
  CU_ASSERT_EQUAL(status, wanted);
  test_check_message(__FILE__, __LINE__, words);
  test_check_message(__FILE__, __LINE__, path);
  CU_ASSERT_PTR_NULL(moments);
  reap_stats_file_close(&file);
}

static void statistics_are_checked(void) {
  stats_flaws f = SOUND;
  f.format = NULL;
  stats_refused(&f, REAP_ERR_INPUT, "no attribute \"format\"");
  f.format = "reap-model";
  stats_refused(&f, REAP_ERR_INPUT, "\"reap-model\" file");
  f = SOUND;
  f.version = 2;
  stats_refused(&f, REAP_ERR_INPUT, "version 2");
  f = SOUND;
  f.channels = 4;
  stats_refused(&f, REAP_ERR_INPUT, "layer \"first\"");
  f.channels = INT32_MAX;
  f.block = INT32_MAX;
  stats_refused(&f, REAP_ERR_INPUT, "layer \"first\"");
  f.channels = -3;
  stats_refused(&f, REAP_ERR_INPUT, "make no sense");
  f = SOUND;
  f.gram_columns = 5;
  stats_refused(&f, REAP_ERR_INPUT, "\"gram\" has size 5");
  f = SOUND;
  f.cross_rows = 5;
  stats_refused(&f, REAP_ERR_INPUT, "\"cross\" has size 5");
  f = SOUND;
  f.integer_gram = true;
  stats_refused(&f, REAP_ERR_INPUT, "\"gram\" does not hold floats");
  const char *const names[] = {"gram", "cross", "sum_x", "sum_y"};
  for (int i = 0; i < 4; i++) {
    f = SOUND;
    f.left_out = names[i];
    stats_refused(&f, REAP_ERR_INPUT, names[i]);
  }
}

static void statistics_of_no_data_are_refused(void) {
  stats_flaws f = SOUND;
  f.nan = true;
  stats_refused(&f, REAP_ERR_NUMERIC, "first");
  f = SOUND;
  f.samples = 0;
  stats_refused(&f, REAP_ERR_NUMERIC, "first");
}

const test_case test_cases[] = {
    {"outputs_are_written_by_all_ranks", outputs_are_written_by_all_ranks},
    {"outputs_of_any_shape", outputs_of_any_shape},
    {"several outputs have data sets of their own", several_outputs_have_data_sets_of_their_own},
    {"outputs_given_up_leave_nothing", outputs_given_up_leave_nothing},
    {"outputs_that_cannot_be_written_fail_everywhere", outputs_that_cannot_be_written_fail_everywhere},
    {"paths_are_written", paths_are_written},
    {"paths_given_up_leave_nothing", paths_given_up_leave_nothing},
    {"statistics_are_read", statistics_are_read},
    {"statistics_are_checked", statistics_are_checked},
    {"statistics_of_no_data_are_refused", statistics_of_no_data_are_refused},
    {NULL, NULL}};
