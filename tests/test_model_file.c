/* model_file: models in HDF5 come back as they were stored, and spoiled ones are refused. */
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "harness.h"
#include "io/model_file.h"
#include "reap/memory.h"

const char *const test_suite_name = "model_file";

static bool same_files(const char *a, const char *b) {
  char digest[2][REAP_HASH_LENGTH] = {"a", "b"};
  CHECK_OK(reap_hash_file(a, digest[0]));
  CHECK_OK(reap_hash_file(b, digest[1]));
  return strcmp(digest[0], digest[1]) == 0;
}

static int write_model(const reap_source *source, const char *path) {
  const int64_t removed[2] = {3, 0}, kept[2] = {1, 2};
  const double error[2] = {0.1, 0.2};
  const reap_group_record groups[3] = {{"conv/1", "conv", 4, 2, removed, error, 2, kept},
                                       {"conv/1", "conv", 4, 2, removed, NULL, 2, kept},
                                       {"whole", "conv", 2, 0, NULL, NULL, 2, kept}};
  const reap_provenance_entry provenance[2] = {{"command", "reap prune"}, {"seed", "1"}};
  const reap_model_record record = {3, groups, 2, provenance};
  return reap_model_file_write(source, &record, path);
}

/* What ONNX is written from a model file is what would have been written from the source it was stored from. */
static void survives(const char *path) {
  char stored[1100], direct[1100], back[1100];
  snprintf(stored, sizeof stored, "%s", test_own_path("model.h5"));
  snprintf(direct, sizeof direct, "%s", test_own_path("direct.onnx"));
  snprintf(back, sizeof back, "%s", test_own_path("back.onnx"));
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(path, &source));
  if (!source) return;
  CHECK_OK(write_model(source, stored));
  CU_ASSERT_FALSE(test_left_behind(stored));
  CHECK_OK(reap_source_write_onnx(source, direct));
  reap_source_destroy(&source);
  CHECK_OK(reap_source_load(stored, &source));
  if (!source) return;
  CHECK_OK(reap_source_write_onnx(source, back));
  char digest[REAP_HASH_LENGTH];
  CHECK_OK(reap_hash_file(stored, digest));
  CU_ASSERT_STRING_EQUAL(reap_source_hash(source), digest);
  CU_ASSERT_STRING_EQUAL(reap_source_path(source), stored);
  reap_source_destroy(&source);
  bool same = same_files(direct, back);
  if (!same) fprintf(stderr, "%s was changed by storing it\n", path);
  CU_ASSERT_TRUE(same);
}

/* A network past the limit of one file comes back from two as it was. */
static void large_networks_are_two_files(void) {
  static const char *const names[] = {"datasets/fashion/vgg-fashion.onnx",
                                      "tests/references/kernels/network_vgg_batchnorm.onnx"};
  char first[512], data[600], once[512], again[512];
  snprintf(first, sizeof first, "%s", test_own_path("two.onnx"));
  snprintf(data, sizeof data, "%s.data", first);
  snprintf(once, sizeof once, "%s", test_own_path("one.onnx"));
  snprintf(again, sizeof again, "%s", test_own_path("again.onnx"));
  for (int k = 0; k < 2; k++) { /* the second one replaces the first */
    reap_source *source = NULL, *copy = NULL;
    CHECK_OK(reap_source_load(test_source_path(names[k]), &source));
    CHECK_OK(reap_source_write_onnx(source, once));
    CHECK_OK(reap_source_write_onnx_within(source, first, 1000));
    CHECK_OK(reap_source_write_onnx(source, again)); /* the source has its data as before */
    CU_ASSERT_TRUE(same_files(once, again));
    reap_source_destroy(&source);
    CU_ASSERT_FALSE(test_left_behind(first));
    CU_ASSERT_FALSE(test_left_behind(data));
    CHECK_OK(reap_source_load(first, &source));
    CU_ASSERT_EQUAL(reap_source_external_files(source), 1);
    CHECK_OK(reap_source_write_onnx(source, again));
    CU_ASSERT_TRUE(same_files(once, again));
    CHECK_OK(reap_source_copy(source, &copy));
    CHECK_FAILS(reap_source_write_onnx_within(copy, first, 1000), REAP_ERR_INPUT, "two.onnx.data: the network is read");
    CHECK_OK(reap_source_write_onnx(copy, again));
    CU_ASSERT_TRUE(same_files(once, again));
    reap_source_destroy(&copy);
    reap_source_destroy(&source);
  }
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(first, &source));
  CHECK_FAILS(reap_source_write_onnx_within(source, "/no/such/folder/m.onnx", 1000), REAP_ERR_INPUT, "/no/such/folder");
  reap_source_destroy(&source);
}

static void models_survive_storing(void) {
  char line[256], name[512];
  FILE *file = fopen(test_source_path("tests/references/kernels/cases.txt"), "r");
  CU_ASSERT_PTR_NOT_NULL(file);
  /* Each case once, whatever the number of ranks. */
  for (int i = 0; file && fgets(line, sizeof line, file); i++) {
    line[strcspn(line, "\t\n")] = '\0';
    snprintf(name, sizeof name, "tests/references/kernels/%s.onnx", line);
    if (i % test_ranks() == test_rank()) survives(test_source_path(name));
  }
  if (file) fclose(file);
  survives(test_source_path("datasets/fashion/resnet-fashion.onnx"));
}

static bool has_object(hid_t file, const char *name) {
  hid_t object = H5Oopen(file, name, H5P_DEFAULT);
  if (object >= 0) H5Oclose(object);
  return object >= 0;
}

static void model_files_have_the_documented_form(void) {
  const char *path = test_own_path("form.h5");
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(test_source_path("datasets/fashion/vgg-fashion.onnx"), &source));
  if (source) CHECK_OK(write_model(source, path));
  reap_source_destroy(&source);
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(file >= 0);
  const char *const names[] = {"graph",        "weights",         "groups/conv.1/removed", "groups/conv.1/error",
                               "groups/whole", "groups/conv.1_2", "groups/whole/removed",  "groups/whole/kept",
                               "provenance"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) CU_ASSERT_TRUE(has_object(file, names[i]));
  CU_ASSERT_FALSE(has_object(file, "groups/conv.1_2/error"));
  CU_ASSERT_TRUE(H5Aexists_by_name(file, "provenance", "command", H5P_DEFAULT) > 0);
  CU_ASSERT_TRUE(H5Aexists(file, "reap_version") > 0);
  H5Fclose(file);
}

/* Stores the VGG, lets `spoil` do its work, and loads the result. */
static void spoiled_model(void (*spoil)(hid_t file), const char *words) {
  const char *path = test_own_path("spoiled.h5");
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(test_source_path("datasets/fashion/vgg-fashion.onnx"), &source));
  if (source) CHECK_OK(write_model(source, path));
  reap_source_destroy(&source);
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  spoil(file);
  H5Fclose(file);
  reap_graph *graph = NULL;
  int status = reap_source_load(path, &source);
  if (status == REAP_OK) status = reap_source_graph(source, &graph);
  CU_ASSERT_EQUAL(status, REAP_ERR_INPUT);
  test_check_message(__FILE__, __LINE__, words);
  test_check_message(__FILE__, __LINE__, path);
  reap_graph_destroy(&graph);
  reap_source_destroy(&source);
}

static void drop_graph(hid_t file) { H5Ldelete(file, "graph", H5P_DEFAULT); }
static void drop_weights(hid_t file) { H5Ldelete(file, "weights", H5P_DEFAULT); }
static void drop_format(hid_t file) { H5Adelete(file, "format"); }

/* Name of the first thing in a group. */
static void first_name(hid_t file, const char *group, char *name, size_t size) {
  H5Lget_name_by_idx(file, group, H5_INDEX_NAME, H5_ITER_INC, 0, name, size, H5P_DEFAULT);
}

static void drop_layer(hid_t file) {
  char layer[256], name[300];
  first_name(file, "weights", layer, sizeof layer);
  snprintf(name, sizeof name, "weights/%s", layer);
  H5Ldelete(file, name, H5P_DEFAULT);
}

/* A layer's weights twice, under two names. */
static void double_layer(hid_t file) {
  char layer[256], name[300];
  first_name(file, "weights", layer, sizeof layer);
  snprintf(name, sizeof name, "weights/%s", layer);
  H5Lcreate_hard(file, name, file, "weights/zzz", H5P_DEFAULT, H5P_DEFAULT);
}

static void spoil_graph(hid_t file) {
  const hsize_t size = 100;
  const uint8_t junk[100] = {8, 7, 58, 200, 1};
  H5Ldelete(file, "graph", H5P_DEFAULT);
  hid_t space = H5Screate_simple(1, &size, NULL);
  hid_t set = H5Dcreate2(file, "graph", H5T_NATIVE_UINT8, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, junk);
  H5Dclose(set);
  H5Sclose(space);
}

static void spoiled_models_are_refused(void) {
  spoiled_model(drop_graph, "has no \"graph\"");
  spoiled_model(drop_weights, "has no \"weights\"");
  spoiled_model(drop_format, "\"format\"");
  spoiled_model(drop_layer, "tensor \"");
  spoiled_model(double_layer, "has data already");
  spoiled_model(spoil_graph, "\"graph\": is not an ONNX file, or damaged");
}

static void models_that_cannot_be_written_are_named(void) {
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(test_source_path("datasets/fashion/vgg-fashion.onnx"), &source));
  if (!source) return;
  CHECK_FAILS(write_model(source, "/no/such/folder/m.h5"), REAP_ERR_INPUT, "/no/such/folder");
  CHECK_FAILS(reap_source_write_onnx(source, "/no/such/folder/m.onnx"), REAP_ERR_INPUT, "/no/such/folder");
  reap_source_destroy(&source);
}

const test_case test_cases[] = {{"models_survive_storing", models_survive_storing},
                                {"large_networks_are_two_files", large_networks_are_two_files},
                                {"model_files_have_the_documented_form", model_files_have_the_documented_form},
                                {"spoiled_models_are_refused", spoiled_models_are_refused},
                                {"models_that_cannot_be_written_are_named", models_that_cannot_be_written_are_named},
                                {NULL, NULL}};
