/* dataset: reading images as the network sees them, and refusing files that are not what they should be. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "io/probe.h"
#include "reap/dataset.h"
#include "reap/memory.h"

const char *const test_suite_name = "dataset";

enum { N = 5, C = 3, H = 4, W = 2, SIZE = C * H * W, BATCHES = N * SIZE };

/* What write_file() leaves out or spoils. */
typedef struct flaws {
  const char *layout; /* NULL: none */
  bool fixed_string, on_root, no_scale;
  int means; /* entries of mean; 0: C */
  double std;
  bool labels, float_labels;
  int n_labels, label_sign;
} flaws;

static const flaws SOUND = {"NCHW", false, false, false, 0, 0.25, true, false, 0, 1};

static void put_string(hid_t object, const char *name, const char *value, bool fixed) {
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, fixed ? strlen(value) : H5T_VARIABLE);
  if (fixed) H5Tset_strpad(type, H5T_STR_NULLPAD);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, fixed ? (const void *)value : (const void *)&value);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_numbers(hid_t object, const char *name, int count, const double *values, hid_t type) {
  hsize_t size = (hsize_t)count;
  hid_t space = count ? H5Screate_simple(1, &size, NULL) : H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_DOUBLE, values);
  H5Aclose(attribute);
  H5Sclose(space);
}

static void put_attributes(hid_t owner, const flaws *f) {
  const double scale = 1.0 / 255, mean[8] = {0.485, 0.456, 0.406, 0.5, 0.5, 0.5, 0.5, 0.5};
  const double std[8] = {0.229, f->std, 0.225, 1, 1, 1, 1, 1};
  if (f->layout) put_string(owner, "layout", f->layout, f->fixed_string);
  if (!f->no_scale) put_numbers(owner, "scale", 0, &scale, H5T_NATIVE_FLOAT);
  put_numbers(owner, "mean", f->means ? f->means : C, mean, H5T_NATIVE_FLOAT);
  put_numbers(owner, "std", C, std, H5T_NATIVE_FLOAT);
}

static hid_t put_data(hid_t file, const char *name, hid_t file_type, hid_t type, int rank, const hsize_t *dims,
                      const hsize_t *chunk, const void *data) {
  hid_t space = H5Screate_simple(rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  if (chunk) {
    H5Pset_chunk(list, rank, chunk);
    H5Pset_deflate(list, 4);
  }
  hid_t set = H5Dcreate2(file, name, file_type, space, H5P_DEFAULT, list, H5P_DEFAULT);
  if (data) H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
  H5Pclose(list);
  H5Sclose(space);
  return set;
}

static void put_labels(hid_t file, const flaws *f) {
  int labels[16];
  for (int i = 0; i < 16; i++) labels[i] = f->label_sign * (i + 1);
  const hsize_t count = (hsize_t)(f->n_labels ? f->n_labels : N);
  H5Dclose(put_data(file, "labels", f->float_labels ? H5T_NATIVE_FLOAT : H5T_STD_U16BE, H5T_NATIVE_INT, 1, &count, NULL,
                    labels));
}

static const hsize_t IMAGE_DIMS[4] = {N, C, H, W};

static uint8_t byte_at(int64_t i) { return (uint8_t)(i * 37 % 256); }

/* A file of bytes, or of `floats` if not NULL, stored as `type`. */
static const char *write_file(const char *name, const flaws *f, const float *floats, hid_t type) {
  const char *path = test_own_path(name);
  const hsize_t chunk[4] = {2, C, H, W};
  uint8_t bytes[BATCHES];
  for (int i = 0; i < BATCHES; i++) bytes[i] = byte_at(i);
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t images = put_data(file, "images", type, floats ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT8, 4, IMAGE_DIMS, chunk,
                          floats ? (const void *)floats : (const void *)bytes);
  put_attributes(f->on_root ? file : images, f);
  if (f->labels) put_labels(file, f);
  H5Dclose(images);
  H5Fclose(file);
  return path;
}

static void check_bytes(const char *path) {
  reap_dataset *data = NULL;
  CHECK_OK(reap_dataset_open(path, &data));
  if (!data) return;
  int64_t shape[REAP_MAX_RANK];
  CU_ASSERT_EQUAL_FATAL(reap_dataset_shape(data, 0, shape), 4);
  CU_ASSERT_TRUE(shape[0] == N && shape[1] == C && shape[2] == H && shape[3] == W);
  const float mean[C] = {0.485f, 0.456f, 0.406f}, std[C] = {0.229f, 0.25f, 0.225f};
  float images[3 * SIZE];
  CHECK_OK(reap_dataset_read(data, 0, 1, 3, true, images));
  int wrong = 0;
  for (int i = 0; i < 3 * SIZE; i++) {
    int c = i % C, w = i / C % W, h = i / C / W % H, n = 1 + i / SIZE;
    volatile float scaled = (float)byte_at(((n * C + c) * H + h) * W + w) * (float)(1.0 / 255);
    volatile float centred = scaled - mean[c];
    wrong += images[i] != centred / std[c]; /* the very same float32 numbers */
  }
  CU_ASSERT_EQUAL(wrong, 0);
  int64_t labels[2];
  CU_ASSERT_TRUE(reap_dataset_has_labels(data));
  CHECK_OK(reap_dataset_read_labels(data, 3, 2, labels));
  CU_ASSERT_TRUE(labels[0] == 4 && labels[1] == 5);
  CU_ASSERT_STRING_EQUAL(reap_dataset_path(data), path);
  reap_dataset_close(&data);
  CU_ASSERT_PTR_NULL(data);
}

static void bytes_are_normalised(void) {
  check_bytes(write_file("bytes.h5", &SOUND, NULL, H5T_NATIVE_UINT8));
  flaws f = SOUND;
  f.fixed_string = true;
  check_bytes(write_file("fixed.h5", &f, NULL, H5T_NATIVE_UINT8));
  f.on_root = true;
  check_bytes(write_file("root.h5", &f, NULL, H5T_NATIVE_UINT8));
}

static void check_floats(const char *path, const float *values) {
  reap_dataset *data = NULL;
  CHECK_OK(reap_dataset_open(path, &data));
  if (!data) return;
  CU_ASSERT_FALSE(reap_dataset_has_labels(data));
  int64_t label;
  CHECK_FAILS(reap_dataset_read_labels(data, 0, 1, &label), REAP_ERR_INPUT, "no labels");
  float images[BATCHES];
  CHECK_OK(reap_dataset_read(data, 0, 0, N, true, images));
  int wrong = 0;
  for (int i = 0; i < BATCHES; i++) {
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / SIZE;
    wrong += images[i] != values[((n * C + c) * H + h) * W + w];
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CHECK_FAILS(reap_dataset_read(data, 0, 4, 2, true, images), REAP_ERR_INTERNAL, "4 to 6 of 5");
  reap_dataset_close(&data);
}

static void floats_come_as_they_are(void) {
  float values[BATCHES];
  for (int i = 0; i < BATCHES; i++) values[i] = 0.37f * (float)i - 9;
  flaws f = SOUND;
  f.labels = false;
  check_floats(write_file("floats.h5", &f, values, H5T_IEEE_F32LE), values);
  check_floats(write_file("big-endian.h5", &f, values, H5T_IEEE_F32BE), values);
  check_floats(write_file("doubles.h5", &f, values, H5T_IEEE_F64LE), values);
}

static void images_that_are_not_finite_are_named(void) {
  float values[BATCHES] = {0};
  reap_dataset *data = NULL;
  float images[BATCHES];
  const float bad[2] = {NAN, -INFINITY};
  for (int k = 0; k < 2; k++) {
    values[3 * SIZE + 7] = bad[k];
    CHECK_OK(reap_dataset_open(write_file("nan.h5", &SOUND, values, H5T_IEEE_F32LE), &data));
    CHECK_OK(reap_dataset_read(data, 0, 0, 3, true, images));
    CHECK_FAILS(reap_dataset_read(data, 0, 2, 3, true, images), REAP_ERR_INPUT, "image 3");
    reap_dataset_close(&data);
  }
}

/* Opening fails with these words and the file's name. */
static void refused(const char *path, const char *words) {
  reap_dataset *data = NULL;
  CHECK_FAILS(reap_dataset_open(path, &data), REAP_ERR_INPUT, words);
  test_check_message(__FILE__, __LINE__, path);
  CU_ASSERT_PTR_NULL(data);
  reap_dataset_close(&data);
}

static void attributes_are_checked(void) {
  flaws f = SOUND;
  f.layout = NULL;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"layout\" is missing");
  f.layout = "NHWC";
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"NHWC\"");
  f = SOUND;
  f.no_scale = true;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"scale\" is missing");
  f = SOUND;
  f.means = 4;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"mean\" has 4 elements, wanted 3");
  const double bad[3] = {0, -1, NAN};
  for (int i = 0; i < 3; i++) {
    f = SOUND;
    f.std = bad[i];
    refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"std\"");
  }
}

static void types_and_labels_are_checked(void) {
  flaws f = SOUND;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_INT8), "uint8 or float32");
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT16), "uint8 or float32");
  f.n_labels = 4;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"labels\" has size 4");
  f = SOUND;
  f.float_labels = true;
  refused(write_file("bad.h5", &f, NULL, H5T_NATIVE_UINT8), "\"labels\" does not hold integers");
}

static void negative_labels_are_refused(void) {
  const char *path = test_own_path("negative.h5");
  int labels[N] = {0, 1, -1, 2, 3};
  const hsize_t count = N;
  write_file("negative.h5", &SOUND, NULL, H5T_NATIVE_UINT8);
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "labels", H5P_DEFAULT);
  H5Dclose(put_data(file, "labels", H5T_STD_I32LE, H5T_NATIVE_INT, 1, &count, NULL, labels));
  H5Fclose(file);
  reap_dataset *data = NULL;
  int64_t read[N];
  CHECK_OK(reap_dataset_open(path, &data));
  CHECK_OK(reap_dataset_read_labels(data, 0, 2, read));
  CHECK_FAILS(reap_dataset_read_labels(data, 0, N, read), REAP_ERR_INPUT, "image 2 is -1");
  reap_dataset_close(&data);
}

/* A file with one data set "images" of that shape and nothing in it. */
static const char *write_empty(int rank, const hsize_t *dims, const hsize_t *chunk) {
  const char *path = test_own_path("empty.h5");
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t images = put_data(file, "images", H5T_NATIVE_UINT8, H5T_NATIVE_UINT8, rank, dims, chunk, NULL);
  put_attributes(images, &SOUND);
  H5Dclose(images);
  H5Fclose(file);
  return path;
}

static void shapes_are_checked(void) {
  const hsize_t line[1] = {N}, none[4] = {0, C, H, W}, vast[4] = {(hsize_t)1 << 30, C, 1024, 1024};
  const hsize_t absurd[4] = {(hsize_t)1 << 62, 1 << 20, 1 << 20, 1 << 20}, chunk[4] = {1, C, 16, 16};
  refused(write_empty(1, line, NULL), "\"images\" has 1 dimensions, wanted");
  refused(write_empty(4, none, NULL), "empty");
  refused(write_empty(4, vast, chunk), "not complete");
  refused(write_empty(4, absurd, chunk), "impossible size");
}

/* Vectors, sequences and volumes, floats and bytes, in both orders. */
static void other_ranks_are_read(void) {
  const hsize_t dims[5] = {N, C, 2, 3, 2};
  const int ranks[] = {2, 3, 5};
  float numbers[N * C * 12], images[N * C * 12];
  for (int i = 0; i < N * C * 12; i++) numbers[i] = (float)(i % 251);
  for (int k = 0; k < 6; k++) {
    const int rank = ranks[k % 3], bytes = k / 3;
    int64_t found[REAP_MAX_RANK], positions = 1, wrong = 0;
    const char *path = test_own_path("ranks.h5");
    reap_dataset *data = NULL;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t set =
        put_data(file, "images", bytes ? H5T_STD_U8LE : H5T_NATIVE_FLOAT, H5T_NATIVE_FLOAT, rank, dims, NULL, numbers);
    const double one = 1, means[C] = {0}, stds[C] = {1, 1, 1};
    put_numbers(set, "scale", 0, &one, H5T_NATIVE_FLOAT);
    put_numbers(set, "mean", C, means, H5T_NATIVE_FLOAT);
    put_numbers(set, "std", C, stds, H5T_NATIVE_FLOAT);
    H5Dclose(set);
    H5Fclose(file);
    CHECK_OK(reap_dataset_open(path, &data));
    if (!data) return;
    CU_ASSERT_EQUAL_FATAL(reap_dataset_shape(data, 0, found), rank);
    CU_ASSERT_EQUAL(reap_dataset_is_raw(data, 0), bytes != 0);
    for (int i = 0; i < rank; i++) CU_ASSERT_EQUAL(found[i], (int64_t)dims[i]);
    for (int i = 2; i < rank; i++) positions *= (int64_t)dims[i];
    for (int last = 0; last < 2; last++) {
      CHECK_OK(reap_dataset_read(data, 0, 0, N, last, images));
      for (int64_t i = 0; i < N * C * positions; i++) {
        const int64_t p = i % positions, c = i / positions % C, n = i / positions / C;
        wrong += images[last ? (n * positions + p) * C + c : i] != numbers[i];
      }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    reap_dataset_close(&data);
  }
}

static void links_are_not_followed(void) {
  const char *target = write_file("target.h5", &SOUND, NULL, H5T_NATIVE_UINT8), *path = test_own_path("link.h5");
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external(target, "images", file, "images", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  refused(path, "\"images\" is a link");
  file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t group = H5Gcreate2(file, "images", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Gclose(group);
  H5Fclose(file);
  refused(path, "\"images\" is not a data set");
}

static void data_in_other_files_are_refused(void) {
  const char *path = test_own_path("elsewhere.h5");
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t space = H5Screate_simple(4, IMAGE_DIMS, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(list, "/etc/passwd", 0, BATCHES);
  hid_t images = H5Dcreate2(file, "images", H5T_NATIVE_UINT8, space, H5P_DEFAULT, list, H5P_DEFAULT);
  put_attributes(images, &SOUND);
  H5Dclose(images);
  H5Pclose(list);
  H5Sclose(space);
  H5Fclose(file);
  refused(path, "kept in another file");
}

static void files_that_are_none_are_refused(void) {
  const char *path = test_own_path("broken.h5");
  unlink(path);
  refused(path, "No such file");
  refused(test_scratch_path("."), "not a regular file; datasets/convert.py");
  FILE *file = fopen(path, "wb");
  fclose(file);
  refused(path, "is empty");
  file = fopen(path, "wb");
  fputs("image,label\n1,2\n", file);
  fclose(file);
  refused(path, "not an HDF5 file");
}

/* Cut anywhere, a file is refused or read without harm. */
static void truncated_files_are_refused(void) {
  const char *path = write_file("cut.h5", &SOUND, NULL, H5T_NATIVE_UINT8);
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  fclose(file);
  for (long at = size - 1; at > 0; at = at * 3 / 4) {
    CU_ASSERT_EQUAL(truncate(path, at), 0);
    reap_dataset *data = NULL;
    int status = reap_dataset_open(path, &data);
    CU_ASSERT_EQUAL(status, REAP_ERR_INPUT);
    reap_dataset_close(&data);
  }
}

static void embedded_example(void) {
  const char *path = test_source_path("datasets/fashion/fashion-test.h5");
  reap_dataset *data = NULL;
  CHECK_OK(reap_dataset_open(path, &data));
  if (!data) return;
  int64_t labels[10], dims[REAP_MAX_RANK];
  CU_ASSERT_EQUAL_FATAL(reap_dataset_shape(data, 0, dims), 4);
  const int64_t n = reap_dataset_images(data), h = dims[2], w = dims[3];
  CU_ASSERT_TRUE(n >= 500 && n == dims[0] && dims[1] == 1 && h == 28 && w == 28);
  float *images = NULL;
  CHECK_OK(reap_alloc(&images, 10 * h * w, sizeof *images));
  CHECK_OK(reap_dataset_read(data, 0, n - 10, 10, true, images));
  CHECK_OK(reap_dataset_read_labels(data, n - 10, 10, labels));
  for (int i = 0; i < 10; i++) CU_ASSERT_TRUE(labels[i] >= 0 && labels[i] < 10);
  for (int64_t i = 0; i < 10 * h * w; i++) CU_ASSERT_TRUE(fabsf(images[i]) < 3);
  reap_free(&images);
  reap_dataset_close(&data);
}

/* A file of images with chunks of so many images, packed so many times over; at most `count` of them ever. */
static const char *write_chunks(hsize_t count, hsize_t chunk_images, int packed) {
  const char *path = test_own_path("chunks.h5");
  const hsize_t dims[4] = {count, C, H, W}, most[4] = {H5S_UNLIMITED, C, H, W}, chunk[4] = {chunk_images, C, H, W};
  static const float zeros[BATCHES];
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t space = H5Screate_simple(4, dims, most), list = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(list, 4, chunk);
  for (int i = 0; i < packed; i++) H5Pset_deflate(list, 1);
  hid_t images = H5Dcreate2(file, "images", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
  put_string(images, "layout", "NCHW", true);
  if (count == N) H5Dwrite(images, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros);
  H5Dclose(images);
  H5Pclose(list);
  H5Sclose(space);
  H5Fclose(file);
  return path;
}

static void chunks_fit_their_data(void) {
  reap_dataset *data = NULL;
  CHECK_FAILS(reap_dataset_open(write_chunks(N, 1 << 20, 1), &data), REAP_ERR_INPUT,
              "chunks of 100.7 MB for 0.00048 MB");
  CHECK_FAILS(reap_dataset_open(write_chunks(N, 2, 2), &data), REAP_ERR_INPUT, "packed twice");
  CHECK_FAILS(reap_dataset_open(write_chunks(1 << 26, 2, 1), &data), REAP_ERR_INPUT, "not complete");
  CHECK_OK(reap_dataset_open(write_chunks(N, 1 << 18, 1), &data)); /* 25 MB of zeros */
  reap_dataset_close(&data);
}

/* Where a part of the file with that signature begins; -1: there is none. */
static long find_part(FILE *file, const char *signature) {
  char bytes[1 << 15];
  rewind(file);
  const size_t count = fread(bytes, 1, sizeof bytes, file);
  for (size_t i = 0; i + 4 < count; i++)
    if (memcmp(bytes + i, signature, 4) == 0) return (long)i;
  return -1;
}

static void put_byte(FILE *file, long at, int value) {
  fseek(file, at, SEEK_SET);
  fputc(value, file);
  fflush(file);
}

/* Every byte of the heap's head and of its first object's: the string is read, or refused by name, and nothing else
 * happens. */
static void damaged_heaps_are_refused(void) {
  const char *path = write_file("heap.h5", &SOUND, NULL, H5T_NATIVE_UINT8);
  const int values[] = {0, 1, 16, 127, 255};
  FILE *file = fopen(path, "r+b");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  const long heap = find_part(file, "GCOL"); /* of variable-length strings */
  int refused = 0;
  CU_ASSERT_FATAL(heap >= 0);
  for (long at = heap; at < heap + 36; at++)
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
      reap_dataset *data = NULL;
      fseek(file, at, SEEK_SET);
      const int before = fgetc(file);
      put_byte(file, at, values[v]);
      const int status = reap_dataset_open(path, &data);
      put_byte(file, at, before);
      reap_dataset_close(&data);
      refused += status == REAP_ERR_INPUT;
      CU_ASSERT(status == REAP_OK || (status == REAP_ERR_INPUT && strstr(reap_error_message(), "layout") != NULL));
    }
  CU_ASSERT(refused > 50);
  fclose(file);
  check_bytes(path);
}

/* Where the name of the attribute "layout" begins in a header of version 1: behind its version and three lengths. */
static long find_layout(FILE *file) {
  char bytes[1 << 15];
  rewind(file);
  const size_t count = fread(bytes, 1, sizeof bytes, file);
  for (size_t i = 8; i + 8 < count; i++)
    if (memcmp(bytes + i, "layout", 7) == 0 && bytes[i - 8] == 1 && bytes[i - 6] == 7) return (long)i;
  return -1;
}

static void refused_with_byte(const char *path, FILE *file, long at, int value, const char *message) {
  fseek(file, at, SEEK_SET);
  const int before = fgetc(file);
  put_byte(file, at, value);
  refused(path, message);
  put_byte(file, at, before);
}

/* The lengths of an attribute's name, type and shape, its end of name, and the shape's rank. */
static void damaged_attributes_are_refused(void) {
  flaws f = SOUND;
  f.fixed_string = true;
  for (int root = 0; root < 2; root++) {
    f.on_root = root;
    const char *path = write_file("lengths.h5", &f, NULL, H5T_NATIVE_UINT8);
    FILE *file = fopen(path, "r+b");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    const long name = find_layout(file);
    CU_ASSERT_FATAL(name >= 8);
    refused_with_byte(path, file, name - 5, 0xAF, "is damaged: its parts are longer than the message");
    for (long at = name - 3; at < name; at += 2)
      refused_with_byte(path, file, at, 0xAF, "attribute \"layout\": its parts are longer than the message");
    refused_with_byte(path, file, name - 3, 0xAF, root ? "the root group: its header" : "\"images\": its header");
    refused_with_byte(path, file, name + 6, 'x', "its name does not end");
    refused_with_byte(path, file, name + 8 + 8 + 1, 33, "attribute \"layout\": its shape");
    fclose(file);
    check_bytes(path);
  }
}

/* Names, the tree and a node of the root group. A reader that looks for a name there may crash in the library. */
static void groups_that_cannot_be_listed_are_refused(void) {
  static const char *const parts[] = {"HEAP", "TREE", "SNOD"};
  const char *path = write_file("listed.h5", &SOUND, NULL, H5T_NATIVE_UINT8);
  FILE *file = fopen(path, "r+b");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CHECK_OK(reap_probe_file(path));
  for (int i = 0; i < 3; i++) {
    const long at = find_part(file, parts[i]);
    CU_ASSERT_FATAL(at >= 0);
    put_byte(file, at, 'x');
    CHECK_FAILS(reap_probe_file(path), REAP_ERR_INPUT, "cannot find all objects");
    put_byte(file, at, parts[i][0]);
  }
  fclose(file);
  CHECK_OK(reap_probe_file(path));
}

/* However many objects a sound file has: each takes its time. */
static void sound_files_of_many_objects_are_served(void) {
  const char *path = test_scratch_path("many.h5");
  char name[32];
  if (test_rank() == 0) {
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    for (int i = 0; i < 40000; i++) {
      snprintf(name, sizeof name, "%05d", i);
      H5Dclose(H5Dcreate2(file, name, H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    }
    H5Sclose(space);
    CU_ASSERT_TRUE(H5Fclose(file) >= 0);
    CHECK_OK(reap_probe_file(path));
    remove(path);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

const test_case test_cases[] = {{"bytes_are_normalised", bytes_are_normalised},
                                {"floats_come_as_they_are", floats_come_as_they_are},
                                {"images_that_are_not_finite_are_named", images_that_are_not_finite_are_named},
                                {"attributes_are_checked", attributes_are_checked},
                                {"types_and_labels_are_checked", types_and_labels_are_checked},
                                {"negative_labels_are_refused", negative_labels_are_refused},
                                {"shapes_are_checked", shapes_are_checked},
                                {"other_ranks_are_read", other_ranks_are_read},
                                {"links_are_not_followed", links_are_not_followed},
                                {"data_in_other_files_are_refused", data_in_other_files_are_refused},
                                {"files_that_are_none_are_refused", files_that_are_none_are_refused},
                                {"truncated_files_are_refused", truncated_files_are_refused},
                                {"chunks_fit_their_data", chunks_fit_their_data},
                                {"damaged_heaps_are_refused", damaged_heaps_are_refused},
                                {"damaged_attributes_are_refused", damaged_attributes_are_refused},
                                {"groups_that_cannot_be_listed_are_refused", groups_that_cannot_be_listed_are_refused},
                                {"sound_files_of_many_objects_are_served", sound_files_of_many_objects_are_served},
                                {"embedded_example", embedded_example},
                                {NULL, NULL}};
