/* make_cli_files FOLDER: small HDF5 files, sound and unsound, for test_cli.sh. No test itself. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static const char *folder;
static int failures;

static hid_t create(const char *name) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  failures += file < 0;
  return file;
}

static void write_data(hid_t place, const char *name, hid_t type, int rank, const hsize_t *dims, const void *values) {
  hid_t space = H5Screate_simple(rank, dims, NULL);
  hid_t data = H5Dcreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  failures += H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0;
  H5Dclose(data);
  H5Sclose(space);
}

static void write_text(hid_t place, const char *name, const char *text) {
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, strlen(text));
  hid_t attribute = H5Acreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  failures += H5Awrite(attribute, type, text) < 0;
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void write_number(hid_t place, const char *name, hid_t type, const void *value) {
  hid_t space = H5Screate(H5S_SCALAR), attribute = H5Acreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  failures += H5Awrite(attribute, type, value) < 0;
  H5Aclose(attribute);
  H5Sclose(space);
}

/* Normal float images [count, channels, side, side]; one pixel of image `bad` is `value`. */
static void write_images(const char *name, hsize_t count, hsize_t channels, hsize_t side, long bad, float value,
                         int labels) {
  const hsize_t dims[] = {count, channels, side, side};
  const size_t size = channels * side * side;
  float *images = malloc(count * size * sizeof *images);
  long long *classes = malloc(count * sizeof *classes);
  reap_random random = reap_random_init(1, 0, 0);
  for (size_t i = 0; i < count * size; i++) images[i] = (float)reap_random_normal(&random);
  for (size_t i = 0; i < count; i++) classes[i] = (long long)(i % 10);
  if (bad >= 0) images[(size_t)bad * size + size / 2] = value;
  hid_t file = create(name);
  write_data(file, "images", H5T_NATIVE_FLOAT, 4, dims, images);
  hid_t data = H5Dopen2(file, "images", H5P_DEFAULT);
  write_text(data, "layout", "NCHW");
  H5Dclose(data);
  if (labels) write_data(file, "labels", H5T_NATIVE_LLONG, 1, dims, classes);
  H5Fclose(file);
  free(images);
  free(classes);
}

/* Moments of `samples` random rows; the last channel repeats the first, the second is always zero. */
static void write_layer(hid_t layers, const char *name, long long channels, long long block, int m, long long samples,
                        double spoil) {
  const int n = (int)(channels * block);
  double *gram = calloc((size_t)(n * n), sizeof *gram), *cross = calloc((size_t)(n * m), sizeof *cross);
  double *sum_x = calloc((size_t)n, sizeof *sum_x), *sum_y = calloc((size_t)m, sizeof *sum_y), energy = 0;
  double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)m * sizeof *y);
  reap_random random = reap_random_init(2, (uint64_t)n, 0);
  for (long long s = 0; s < samples; s++) {
    for (int i = 0; i < n; i++) x[i] = 0.5 + reap_random_normal(&random);
    for (int t = 0; t < block; t++) {
      x[block + t] = 0;
      x[n - block + t] = x[t];
    }
    for (int j = 0; j < m; j++) {
      y[j] = 0.1 * reap_random_normal(&random);
      for (int i = 0; i < n; i++) y[j] += x[i] * sin(1 + i * 3 + j * 7) / (1 + i);
    }
    for (int i = 0; i < n; i++) {
      sum_x[i] += x[i];
      for (int k = 0; k < n; k++) gram[i * n + k] += x[i] * x[k];
      for (int j = 0; j < m; j++) cross[i * m + j] += x[i] * y[j];
    }
    for (int j = 0; j < m; j++) {
      sum_y[j] += y[j];
      energy += y[j] * y[j];
    }
  }
  gram[n + 3] += spoil;
  hid_t group = H5Gcreate2(layers, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  write_data(group, "gram", H5T_NATIVE_DOUBLE, 2, (hsize_t[]){(hsize_t)n, (hsize_t)n}, gram);
  write_data(group, "cross", H5T_NATIVE_DOUBLE, 2, (hsize_t[]){(hsize_t)n, (hsize_t)m}, cross);
  write_data(group, "sum_x", H5T_NATIVE_DOUBLE, 1, (hsize_t[]){(hsize_t)n}, sum_x);
  write_data(group, "sum_y", H5T_NATIVE_DOUBLE, 1, (hsize_t[]){(hsize_t)m}, sum_y);
  write_number(group, "channels", H5T_NATIVE_LLONG, &channels);
  write_number(group, "block", H5T_NATIVE_LLONG, &block);
  write_number(group, "samples", H5T_NATIVE_LLONG, &samples);
  write_number(group, "energy", H5T_NATIVE_DOUBLE, &energy);
  H5Gclose(group);
  free(gram);
  free(cross);
  free(sum_x);
  free(sum_y);
  free(x);
  free(y);
}

static void write_stats(const char *name, double spoil) {
  hid_t file = create(name);
  write_text(file, "format", "reap-stats");
  write_number(file, "version", H5T_NATIVE_INT, &(int){1});
  hid_t layers = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  write_layer(layers, "dense", 12, 1, 5, 400, 0);
  write_layer(layers, "small", 9, 4, 3, 500, spoil);
  write_layer(layers, "three", 7, 9, 6, 900, 0);
  write_layer(layers, "wide", 3, 49, 2, 700, 0);
  H5Gclose(layers);
  H5Fclose(file);
}

int main(int argc, char **argv) {
  if (argc != 2) return EXIT_FAILURE;
  folder = argv[1];
  write_images("sound.h5", 130, 1, 28, -1, 0, 1);
  write_images("few.h5", 40, 1, 28, -1, 0, 1);
  write_images("nolabels.h5", 130, 1, 28, -1, 0, 0);
  write_images("many.h5", 500, 1, 28, -1, 0, 0);
  write_images("nan.h5", 130, 1, 28, 101, NAN, 1);
  write_images("infinite.h5", 130, 1, 28, 3, INFINITY, 1);
  write_images("shape.h5", 10, 3, 32, -1, 0, 1);
  write_stats("stats.h5", 0);
  write_stats("skewed.h5", 5);
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
