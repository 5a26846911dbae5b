/* Where moments come from: in memory, and in the attributes of a file. */
#include "origin_attributes.h"

#include <stdio.h>
#include <string.h>

#include "base/split.h"
#include "io/hdf5/hdf5_strings.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Attributes have to stay small; neighbouring stretches become one, so that many are rare. */
enum { MAX_STRETCHES = 2048 };

/* The split of images in words. */
static void describe_split(char text[64]) {
  snprintf(text, 64, "index %% %d == %d", (int)REAP_SPLIT_TENTH.every, (int)REAP_SPLIT_TENTH.place);
}

/* ------------------------------------------------------------------ in memory */

int reap_origin_make(const char *model, bool pruned, int64_t positions, int64_t seed, const char *data, int64_t first,
                     int64_t count, reap_origin *out) {
  *out = (reap_origin){.pruned = pruned, .positions = positions, .seed = seed, .n_images = 1};
  strncpy(out->model, model, sizeof out->model - 1);
  REAP_TRY(reap_calloc(&out->images, 1, sizeof *out->images));
  out->images[0].first = first;
  out->images[0].count = count;
  strncpy(out->images[0].data, data, sizeof out->images[0].data - 1);
  return REAP_OK;
}

int reap_origin_copy(const reap_origin *origin, reap_origin *out) {
  *out = *origin;
  out->images = NULL;
  REAP_TRY(reap_calloc(&out->images, origin->n_images, sizeof *out->images));
  memcpy(out->images, origin->images, (size_t)origin->n_images * sizeof *out->images);
  return REAP_OK;
}

void reap_origin_clear(reap_origin *origin) {
  reap_free(&origin->images);
  origin->n_images = 0;
}

int64_t reap_origin_count(const reap_origin *origin) {
  int64_t count = 0;
  for (int i = 0; i < origin->n_images; i++) count += origin->images[i].count;
  return count;
}

static int check_mergeable(const reap_origin *a, const char *a_path, const reap_origin *b, const char *b_path) {
  if (a->pruned || b->pruned)
    return reap_error(REAP_ERR_INPUT,
                      "%s: holds moments of a network as pruned so far; only those of the original network add up",
                      a->pruned ? a_path : b_path);
  if (strcmp(a->model, b->model) != 0)
    return reap_error(REAP_ERR_INPUT, "%s and %s are of different models (sha256 %.12s and %.12s)", a_path, b_path,
                      a->model, b->model);
  if (a->positions != b->positions)
    return reap_error(REAP_ERR_INPUT, "%s and %s differ in sampling: %lld and %lld positions of an image (0: all)",
                      a_path, b_path, (long long)a->positions, (long long)b->positions);
  if (a->positions != 0 && a->seed != b->seed)
    return reap_error(REAP_ERR_INPUT, "%s and %s differ in sampling: seeds %lld and %lld", a_path, b_path,
                      (long long)a->seed, (long long)b->seed);
  for (int i = 0; i < a->n_images; i++)
    for (int k = 0; k < b->n_images; k++) {
      const reap_origin_images *x = &a->images[i], *y = &b->images[k];
      int64_t first = x->first > y->first ? x->first : y->first;
      int64_t end = x->first + x->count < y->first + y->count ? x->first + x->count : y->first + y->count;
      if (strcmp(x->data, y->data) == 0 && first < end)
        return reap_error(REAP_ERR_INPUT,
                          "%s and %s share images: %lld to %lld of the data file with sha256 %.12s are in both", a_path,
                          b_path, (long long)first, (long long)(end - 1), x->data);
    }
  return REAP_OK;
}

/* Appends a stretch, or makes one it touches longer. */
static void append(reap_origin *origin, const reap_origin_images *images) {
  for (int i = 0; i < origin->n_images; i++) {
    reap_origin_images *known = &origin->images[i];
    if (strcmp(known->data, images->data) != 0) continue;
    bool behind = known->first + known->count == images->first, before = images->first + images->count == known->first;
    if (!behind && !before) continue;
    known->count += images->count;
    if (before) known->first = images->first;
    return;
  }
  origin->images[origin->n_images++] = *images;
}

int reap_origin_merge(const reap_origin *a, const char *a_path, const reap_origin *b, const char *b_path,
                      reap_origin *out) {
  REAP_TRY(check_mergeable(a, a_path, b, b_path));
  *out = *a;
  out->n_images = 0;
  out->images = NULL;
  REAP_TRY(reap_calloc(&out->images, a->n_images + b->n_images, sizeof *out->images));
  for (int i = 0; i < a->n_images; i++) append(out, &a->images[i]);
  for (int i = 0; i < b->n_images; i++) append(out, &b->images[i]);
  if (out->n_images <= MAX_STRETCHES) return REAP_OK;
  reap_origin_clear(out);
  return reap_error(REAP_ERR_INPUT, "%s and %s: more than %d separate stretches of images", a_path, b_path,
                    MAX_STRETCHES);
}

/* ------------------------------------------------------------------ in a file */

static int write_images(hid_t file, const reap_origin *origin) {
  const int n = origin->n_images;
  int64_t *firsts = NULL, *counts = NULL;
  const char **hashes = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&firsts, n, sizeof *firsts), done);
  REAP_TRY_OR(reap_alloc(&counts, n, sizeof *counts), done);
  REAP_TRY_OR(reap_alloc(&hashes, n, sizeof *hashes), done);
  for (int i = 0; i < n; i++) {
    firsts[i] = origin->images[i].first;
    counts[i] = origin->images[i].count;
    hashes[i] = origin->images[i].data;
  }
  REAP_TRY_OR(reap_h5_write_attributes(file, "images_first", H5T_NATIVE_INT64, n, firsts), done);
  REAP_TRY_OR(reap_h5_write_attributes(file, "images_count", H5T_NATIVE_INT64, n, counts), done);
  status = reap_h5_write_strings(file, "images_sha256", n, hashes);
done:
  reap_free(&firsts);
  reap_free(&counts);
  reap_free(&hashes);
  return status;
}

int reap_h5_write_origin(hid_t file, const reap_origin *origin) {
  char held_out[64];
  describe_split(held_out);
  REAP_TRY(reap_h5_write_string(file, "model_sha256", origin->model));
  REAP_TRY(reap_h5_write_string(file, "inputs", origin->pruned ? "pruned" : "original"));
  REAP_TRY(reap_h5_write_string(file, "held_out", held_out));
  REAP_TRY(reap_h5_write_integer(file, "positions", origin->positions));
  REAP_TRY(reap_h5_write_integer(file, "seed", origin->seed));
  REAP_TRY(reap_h5_write_integer(file, "images", reap_origin_count(origin)));
  return write_images(file, origin);
}

static int read_hash(hid_t file, const char *name, const char *text, char hash[REAP_HASH_LENGTH]) {
  if (strlen(text) != REAP_HASH_LENGTH - 1)
    return reap_h5_refuse(file, "attribute \"%s\" is not a SHA-256 of 64 digits", name);
  strcpy(hash, text);
  return REAP_OK;
}

/* Opens a vector attribute of integers. */
static int open_integers(hid_t file, const char *name, hid_t *attribute, int64_t *count) {
  if (!reap_h5_has_attribute(file, name)) return reap_h5_refuse(file, "attribute \"%s\" is missing", name);
  *attribute = H5Aopen(file, name, H5P_DEFAULT);
  hid_t type = *attribute < 0 ? REAP_H5_NONE : H5Aget_type(*attribute);
  hid_t space = *attribute < 0 ? REAP_H5_NONE : H5Aget_space(*attribute);
  const bool fits = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_INTEGER && reap_h5_is_plain(type) &&
                    H5Sget_simple_extent_ndims(space) <= 1;
  *count = fits ? (int64_t)H5Sget_simple_extent_npoints(space) : -1;
  reap_h5_close(&type);
  reap_h5_close(&space);
  return fits ? REAP_OK : reap_h5_refuse(file, "attribute \"%s\" is no list of images as reap writes it", name);
}

static int read_integers(hid_t file, const char *name, int64_t count, int64_t *out) {
  hid_t attribute = REAP_H5_NONE;
  int64_t found = 0;
  int status = open_integers(file, name, &attribute, &found);
  if (status == REAP_OK && found != count)
    status = reap_h5_refuse(file, "attribute \"%s\" has %lld elements, wanted %lld", name, (long long)found,
                            (long long)count);
  if (status == REAP_OK && H5Aread(attribute, H5T_NATIVE_INT64, out) < 0) status = reap_h5_error(file, name);
  reap_h5_close(&attribute);
  return status;
}

/* Sets the number of stretches as well. */
static int read_hashes(hid_t file, reap_origin *out) {
  static const char name[] = "images_sha256";
  char **hashes = NULL;
  int64_t count = 0;
  REAP_TRY(reap_h5_read_strings(file, name, MAX_STRETCHES, &count, &hashes));
  int status = reap_calloc(&out->images, count, sizeof *out->images);
  if (status == REAP_OK) out->n_images = (int)count;
  for (int i = 0; status == REAP_OK && i < out->n_images; i++)
    status = read_hash(file, name, hashes[i], out->images[i].data);
  reap_h5_free_names(count, &hashes);
  return status;
}

static int read_images(hid_t file, reap_origin *out) {
  int64_t *firsts = NULL, *counts = NULL;
  int status = REAP_OK;
  REAP_TRY(read_hashes(file, out));
  REAP_TRY_OR(reap_alloc(&firsts, out->n_images, sizeof *firsts), done);
  REAP_TRY_OR(reap_alloc(&counts, out->n_images, sizeof *counts), done);
  REAP_TRY_OR(read_integers(file, "images_first", out->n_images, firsts), done);
  REAP_TRY_OR(read_integers(file, "images_count", out->n_images, counts), done);
  for (int i = 0; i < out->n_images; i++) {
    out->images[i].first = firsts[i];
    out->images[i].count = counts[i];
    if (firsts[i] < 0 || counts[i] < 1 || firsts[i] > INT64_MAX / 2 || counts[i] > INT64_MAX / 2 / MAX_STRETCHES)
      status = reap_h5_refuse(file, "images %lld and on, %lld of them: makes no sense", (long long)firsts[i],
                              (long long)counts[i]);
  }
done:
  reap_free(&firsts);
  reap_free(&counts);
  return status;
}

static int read_words(hid_t file, reap_origin *out) {
  char *model = NULL, *inputs = NULL, *held_out = NULL, wanted[64];
  int status = REAP_OK;
  REAP_TRY_OR(reap_h5_read_string(file, "model_sha256", &model), done);
  REAP_TRY_OR(reap_h5_read_string(file, "inputs", &inputs), done);
  REAP_TRY_OR(reap_h5_read_string(file, "held_out", &held_out), done);
  REAP_TRY_OR(read_hash(file, "model_sha256", model, out->model), done);
  describe_split(wanted);
  out->pruned = strcmp(inputs, "pruned") == 0;
  if (!out->pruned && strcmp(inputs, "original") != 0)
    status = reap_h5_refuse(file, "attribute \"inputs\" is \"%s\"; it has to be \"original\" or \"pruned\"", inputs);
  else if (strcmp(held_out, wanted) != 0)
    status = reap_h5_refuse(file, "holds out images by another rule: \"%s\", not \"%s\"", held_out, wanted);
done:
  reap_free(&model);
  reap_free(&inputs);
  reap_free(&held_out);
  return status;
}

int reap_h5_read_origin(hid_t file, reap_origin *out) {
  memset(out, 0, sizeof *out);
  REAP_TRY(read_words(file, out));
  REAP_TRY(reap_h5_read_integer(file, "positions", &out->positions));
  REAP_TRY(reap_h5_read_integer(file, "seed", &out->seed));
  return read_images(file, out);
}
