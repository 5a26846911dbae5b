/* A network and images so small that a command is done with them in milliseconds, written to files; for tests that run
 * whole commands many times. By one rank.
 *
 * The network has what commands treat in ways of their own: a shortcut (Add), an inner group of convolutions with a
 * batch norm, one of matrix products, and scores at its end.
 */
#ifndef TESTS_TINY_FILES_H
#define TESTS_TINY_FILES_H

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "onnx_builder.h"

enum { TINY_IMAGES = 40, TINY_CHANNELS = 2, TINY_SIDE = 5, TINY_CLASSES = 4 };

static inline void tiny_weights(const char *name, int rank, const int64_t *dims, bool positive) {
  ReapOnnx__TensorProto *t = add_weights(name, rank, dims);
  reap_random random = reap_random_init(3, reap_random_key(name), 0);
  for (size_t at = 0; at < t->raw_data.len; at += sizeof(float)) {
    float value = 0.4f * (float)reap_random_normal(&random);
    if (positive) value = 0.5f + value * value;
    memcpy(t->raw_data.data + at, &value, sizeof value);
  }
}

static inline void tiny_attribute(ReapOnnx__NodeProto *node, const char *name, size_t n, const int64_t *values) {
  ReapOnnx__AttributeProto *a = take(sizeof *a);
  reap_onnx__attribute_proto__init(a);
  a->name = text(name);
  a->has_type = 1;
  a->type = n == 0 ? REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT : REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  a->has_i = n == 0;
  a->i = n == 0 ? values[0] : 0;
  a->n_ints = n;
  a->ints = take((n + 1) * sizeof *a->ints);
  if (n > 0) memcpy(a->ints, values, n * sizeof *values);
  node->attribute = take(sizeof a);
  node->attribute[0] = a;
  node->n_attribute = 1;
}

/* 3 x 3, so padded that the map keeps its size. Weights NAME.w, bias NAME.b. */
static inline void tiny_conv(const char *name, int64_t from, int64_t to, const char *in, const char *out) {
  const int64_t dims[] = {to, from, 3, 3}, pads[] = {1, 1, 1, 1};
  char words[64], tensor[32];
  snprintf(tensor, sizeof tensor, "%s.w", name);
  tiny_weights(tensor, 4, dims, false);
  snprintf(tensor, sizeof tensor, "%s.b", name);
  tiny_weights(tensor, 1, dims, false);
  snprintf(words, sizeof words, "%s %s.w %s.b", in, name, name);
  tiny_attribute(add_node("Conv", name, words, out), "pads", 4, pads);
}

static inline void tiny_gemm(const char *name, int64_t from, int64_t to, const char *in, const char *out) {
  const int64_t dims[] = {to, from}, one = 1;
  char words[64], tensor[32];
  snprintf(tensor, sizeof tensor, "%s.w", name);
  tiny_weights(tensor, 2, dims, false);
  snprintf(tensor, sizeof tensor, "%s.b", name);
  tiny_weights(tensor, 1, dims, false);
  snprintf(words, sizeof words, "%s %s.w %s.b", in, name, name);
  tiny_attribute(add_node("Gemm", name, words, out), "transB", 0, &one);
}

static inline void tiny_network(const char *file) {
  const int64_t image[] = {-1, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}, scores[] = {-1, TINY_CLASSES}, width[] = {6};
  begin_model(8);
  tiny_conv("first", TINY_CHANNELS, 5, "x", "a");
  add_node("Relu", "relu1", "a", "b");
  tiny_conv("inner", 5, 6, "b", "c");
  tiny_weights("norm.scale", 1, width, true);
  tiny_weights("norm.shift", 1, width, false);
  tiny_weights("norm.mean", 1, width, false);
  tiny_weights("norm.var", 1, width, true);
  add_node("BatchNormalization", "norm", "c norm.scale norm.shift norm.mean norm.var", "d");
  add_node("Relu", "relu2", "d", "e");
  tiny_conv("last", 6, 5, "e", "f");
  add_node("Add", "add", "f b", "g");
  add_node("Relu", "relu3", "g", "h");
  add_node("GlobalAveragePool", "pool", "h", "i");
  add_node("Flatten", "flatten", "i", "j");
  tiny_gemm("hidden", 5, 7, "j", "k");
  add_node("Relu", "relu4", "k", "l");
  tiny_gemm("scores", 7, TINY_CLASSES, "l", "y");
  inputs[graph.n_input++] = make_info("x", 4, image);
  outputs[graph.n_output++] = make_info("y", 2, scores);
  store_model(file);
}

static inline void tiny_data(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims,
                             const void *values) {
  hid_t space = H5Screate_simple(rank, dims, NULL);
  hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE(H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(data);
  H5Sclose(space);
}

static inline void tiny_number(hid_t data, const char *name, hid_t space, float value) {
  const float values[TINY_CHANNELS] = {value, value};
  hid_t attribute = H5Acreate2(data, name, H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE(H5Awrite(attribute, H5T_NATIVE_FLOAT, values) >= 0);
  H5Aclose(attribute);
}

/* What byte images need besides: their layout and how they become numbers. */
static inline void tiny_attributes(hid_t file) {
  const hsize_t channels = TINY_CHANNELS;
  hid_t data = H5Dopen2(file, "images", H5P_DEFAULT), text_type = H5Tcopy(H5T_C_S1);
  hid_t scalar = H5Screate(H5S_SCALAR), vector = H5Screate_simple(1, &channels, NULL);
  H5Tset_size(text_type, 4);
  hid_t layout = H5Acreate2(data, "layout", text_type, scalar, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE(H5Awrite(layout, text_type, "NCHW") >= 0);
  H5Aclose(layout);
  tiny_number(data, "scale", scalar, 1.0f / 255);
  tiny_number(data, "mean", vector, 0.5f);
  tiny_number(data, "std", vector, 0.25f);
  H5Sclose(vector);
  H5Sclose(scalar);
  H5Tclose(text_type);
  H5Dclose(data);
}

static inline void tiny_images(const char *path, uint64_t seed) {
  static const hsize_t dims[] = {TINY_IMAGES, TINY_CHANNELS, TINY_SIDE, TINY_SIDE};
  static unsigned char pixels[TINY_IMAGES * TINY_CHANNELS * TINY_SIDE * TINY_SIDE];
  int labels[TINY_IMAGES];
  reap_random random = reap_random_init(seed, 0, 0);
  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)reap_random_below(&random, 256);
  for (int i = 0; i < TINY_IMAGES; i++) labels[i] = i % TINY_CLASSES;
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  CU_ASSERT_TRUE_FATAL(file >= 0);
  tiny_data(file, "images", H5T_NATIVE_UCHAR, 4, dims, pixels);
  tiny_attributes(file);
  tiny_data(file, "labels", H5T_NATIVE_INT, 1, dims, labels);
  H5Fclose(file);
}

#endif
