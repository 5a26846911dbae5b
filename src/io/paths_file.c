/* Files of all groups' paths; see paths_file.h. Groups come by name in HDF5: `index` tells their order. */
#include "paths_file.h"

#include <stdlib.h>
#include <string.h>

#include "io/hdf5/hdf5_util.h"
#include "paths_groups.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *const FORMAT = "reap-paths";

/* ------------------------------------------------------------------ writing */

static int write_members(hid_t group, const reap_group_path *p, int index) {
  REAP_TRY(reap_h5_write_string(group, "layer", p->layer));
  REAP_TRY(reap_h5_write_integer(group, "index", index));
  REAP_TRY(reap_h5_write_integer(group, "channels", p->channels));
  REAP_TRY(reap_h5_write_integer(group, "block", p->block));
  REAP_TRY(reap_h5_write_integer(group, "columns", p->channels * p->block));
  REAP_TRY(reap_h5_write_integer(group, "outputs", p->m));
  REAP_TRY(reap_h5_write_integer(group, "samples", p->samples));
  REAP_TRY(reap_h5_write_double(group, "energy", p->energy));
  REAP_TRY(reap_h5_write_double(group, "ridge", p->ridge));
  REAP_TRY(reap_h5_write_vector(group, "order", H5T_NATIVE_INT64, p->n_removed, p->order));
  REAP_TRY(reap_h5_write_vector(group, "error", H5T_NATIVE_DOUBLE, p->n_removed, p->error));
  REAP_TRY(reap_h5_write_vector(group, "sizes", H5T_NATIVE_INT64, p->n_sizes, p->sizes));
  return reap_h5_write_vector(group, "moved", H5T_NATIVE_DOUBLE, p->n_sizes, p->moved);
}

static int write_root(hid_t file, const reap_group_paths *paths) {
  REAP_TRY(reap_h5_write_string(file, "model_sha256", paths->model_hash));
  REAP_TRY(reap_h5_write_string(file, "calibration_sha256", paths->calibration_hash));
  REAP_TRY(reap_h5_write_integer(file, "images", paths->images));
  REAP_TRY(reap_h5_write_integer(file, "measured_images", paths->measured_images));
  REAP_TRY(reap_h5_write_string(file, "measure", reap_path_measure_name(paths->measure)));
  REAP_TRY(reap_h5_write_integer(file, "positions", paths->positions));
  REAP_TRY(reap_h5_write_integer(file, "seed", (int64_t)paths->seed));
  REAP_TRY(reap_h5_write_double(file, "ridge", paths->ridge));
  REAP_TRY(reap_h5_write_double(file, "power", paths->power));
  return reap_h5_write_double(file, "tilt", paths->tilt);
}

int reap_paths_write_groups(hid_t file, const reap_group_paths *paths) {
  hid_t groups = REAP_H5_NONE;
  int status = reap_h5_create_group(file, "groups", &groups);
  for (int i = 0; status == REAP_OK && i < paths->n; i++) {
    hid_t group = REAP_H5_NONE;
    status = reap_h5_create_group(groups, paths->paths[i].group, &group);
    if (status == REAP_OK) status = write_members(group, &paths->paths[i], i);
    reap_h5_close(&group);
  }
  reap_h5_close(&groups);
  return status;
}

int reap_paths_write(hid_t parent, const reap_group_paths *paths) {
  REAP_TRY(write_root(parent, paths));
  return reap_paths_write_groups(parent, paths);
}

static int write_all(hid_t file, const void *context) { return reap_paths_write(file, context); }

int reap_paths_file_write(const char *path, const reap_group_paths *paths) {
  return reap_h5_write_file(path, FORMAT, write_all, paths);
}

/* ------------------------------------------------------------------ reading */

/* A vector's length, once its type is known to fit and it is stored in full. */
static int open_vector(hid_t group, const char *name, H5T_class_t type_class, int64_t *length, hid_t *out) {
  REAP_TRY(reap_h5_open_dataset(group, name, out));
  REAP_TRY(reap_h5_shape(*out, name, 1, 1, NULL, length));
  return reap_h5_check_stored(*out, name, type_class);
}

typedef struct vectors {
  hid_t order, error, sizes, moved;
} vectors;

static int open_vectors(hid_t group, vectors *v, int64_t *removed, int64_t *sizes) {
  int64_t errors, moved;
  REAP_TRY(open_vector(group, "order", H5T_INTEGER, removed, &v->order));
  REAP_TRY(open_vector(group, "error", H5T_FLOAT, &errors, &v->error));
  REAP_TRY(open_vector(group, "sizes", H5T_INTEGER, sizes, &v->sizes));
  REAP_TRY(open_vector(group, "moved", H5T_FLOAT, &moved, &v->moved));
  if (errors != *removed)
    return reap_h5_refuse(group, "\"order\" has %lld entries and \"error\" %lld", (long long)*removed,
                          (long long)errors);
  if (moved != *sizes)
    return reap_h5_refuse(group, "\"sizes\" has %lld entries and \"moved\" %lld", (long long)*sizes, (long long)moved);
  return REAP_OK;
}

/* Sizes that the attributes tell and the arrays have to agree with; *index: place among the groups. */
static int read_sizes(hid_t group, int64_t removed, int64_t sizes, reap_group_path *p, int64_t *index) {
  int64_t columns = 0, product = 0;
  REAP_TRY(reap_h5_read_integer(group, "index", index));
  REAP_TRY(reap_h5_read_integer(group, "channels", &p->channels));
  REAP_TRY(reap_h5_read_integer(group, "block", &p->block));
  REAP_TRY(reap_h5_read_integer(group, "columns", &columns));
  REAP_TRY(reap_h5_read_integer(group, "outputs", &p->m));
  if (p->channels < 1 || p->block < 1 || p->m < 1 || reap_multiply(p->channels, p->block, &product) != REAP_OK ||
      product != columns)
    return reap_h5_refuse(group, "%lld channels, %lld columns and %lld outputs make no sense", (long long)p->channels,
                          (long long)columns, (long long)p->m);
  if (removed >= p->channels || sizes >= p->channels)
    return reap_h5_refuse(group, "%lld channels cannot be removed, nor %lld sizes measured, of %lld channels",
                          (long long)removed, (long long)sizes, (long long)p->channels);
  return REAP_OK;
}

static int read_vectors(hid_t group, const vectors *v, reap_group_path *p) {
  REAP_TRY(reap_h5_read_integer(group, "samples", &p->samples));
  REAP_TRY(reap_h5_read_numbers(group, "energy", 1, &p->energy));
  REAP_TRY(reap_h5_read_numbers(group, "ridge", 1, &p->ridge));
  REAP_TRY(reap_h5_read(v->order, "order", H5T_NATIVE_INT64, p->order));
  REAP_TRY(reap_h5_read(v->error, "error", H5T_NATIVE_DOUBLE, p->error));
  REAP_TRY(reap_h5_read(v->sizes, "sizes", H5T_NATIVE_INT64, p->sizes));
  return reap_h5_read(v->moved, "moved", H5T_NATIVE_DOUBLE, p->moved);
}

static int read_group(hid_t group, const char *name, reap_group_path *out, int64_t *index) {
  vectors v = {REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE, REAP_H5_NONE};
  reap_group_path sizes = {0};
  int64_t removed = 0, measured = 0;
  char *layer = NULL;
  int status = open_vectors(group, &v, &removed, &measured);
  if (status == REAP_OK) status = read_sizes(group, removed, measured, &sizes, index);
  if (status == REAP_OK) status = reap_h5_read_string(group, "layer", &layer);
  if (status == REAP_OK) status = reap_group_path_allocate(out, name, layer, sizes.channels, removed, (int)measured);
  if (status == REAP_OK) {
    out->block = sizes.block;
    out->m = sizes.m;
    status = read_vectors(group, &v, out);
  }
  reap_free(&layer);
  reap_h5_close(&v.order);
  reap_h5_close(&v.error);
  reap_h5_close(&v.sizes);
  reap_h5_close(&v.moved);
  return status;
}

/* The string into a fixed place for a hash, or for none. */
static int read_hash(hid_t file, const char *name, char hash[65]) {
  char *text = NULL;
  REAP_TRY(reap_h5_read_string(file, name, &text));
  const size_t length = strlen(text);
  const bool good = length == 0 || (length == 64 && strspn(text, "0123456789abcdef") == 64);
  if (good) memcpy(hash, text, length + 1);
  reap_free(&text);
  return good ? REAP_OK : reap_h5_refuse(file, "attribute \"%s\" is no SHA-256", name);
}

static int read_root(hid_t file, reap_group_paths *paths) {
  char *measure = NULL;
  int64_t seed = 0;
  REAP_TRY(read_hash(file, "model_sha256", paths->model_hash));
  REAP_TRY(read_hash(file, "calibration_sha256", paths->calibration_hash));
  REAP_TRY(reap_h5_read_integer(file, "images", &paths->images));
  REAP_TRY(reap_h5_read_integer(file, "measured_images", &paths->measured_images));
  REAP_TRY(reap_h5_read_integer(file, "positions", &paths->positions));
  REAP_TRY(reap_h5_read_integer(file, "seed", &seed));
  REAP_TRY(reap_h5_read_numbers(file, "ridge", 1, &paths->ridge));
  REAP_TRY(reap_h5_read_numbers(file, "power", 1, &paths->power));
  REAP_TRY(reap_h5_read_numbers(file, "tilt", 1, &paths->tilt));
  if (!(paths->power >= 0 && paths->power < 100) || !(paths->tilt > -100 && paths->tilt < 100))
    return reap_h5_refuse(file, "attributes \"power\" and \"tilt\" are out of range");
  REAP_TRY(reap_h5_read_string(file, "measure", &measure));
  paths->seed = (uint64_t)seed;
  int status = REAP_OK;
  if (!reap_path_measure_named(measure, &paths->measure))
    status = reap_h5_refuse(file, "attribute \"measure\" is \"%.60s\", which this version does not know", measure);
  reap_free(&measure);
  return status;
}

/* An error in a group names the group; errors of the layers below begin with the file's. */
static int name_group(const char *path, const char *name, int status) {
  char text[REAP_ERROR_LENGTH];
  const size_t length = strlen(path);
  if (status == REAP_OK) return REAP_OK;
  strcpy(text, reap_error_message());
  const bool named = strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0;
  return reap_error(status, "%s: group \"%s\": %s", path, name, named ? text + length + 2 : text);
}

/* Every group at its place: the indices are 0 .. count - 1, each once. */
static int read_groups(hid_t groups, const char *path, int64_t count, char **names, reap_group_paths *paths) {
  for (int64_t i = 0; i < count; i++) {
    hid_t group = REAP_H5_NONE;
    reap_group_path p = {0};
    int64_t index = -1;
    int status = reap_h5_open_group(groups, names[i], &group);
    if (status == REAP_OK) status = read_group(group, names[i], &p, &index);
    if (status == REAP_OK && (index < 0 || index >= count || paths->paths[index].group))
      status = reap_error(REAP_ERR_INPUT, "its index %lld is out of range or taken", (long long)index);
    reap_h5_close(&group);
    if (status != REAP_OK) {
      reap_group_path_clear(&p);
      return name_group(path, names[i], status);
    }
    paths->paths[index] = p;
  }
  return REAP_OK;
}

int reap_paths_read(hid_t parent, const char *path, reap_group_paths **out) {
  hid_t groups = REAP_H5_NONE;
  char **names = NULL;
  int64_t count = 0;
  int status = reap_h5_open_group(parent, "groups", &groups);
  if (status == REAP_OK) status = reap_h5_list(groups, &count, &names);
  if (status == REAP_OK && (count == 0 || count > INT32_MAX))
    status = reap_error(REAP_ERR_INPUT, "%s: holds no groups", path);
  if (status == REAP_OK) status = reap_group_paths_create((int)count, out);
  if (status == REAP_OK) status = read_root(parent, *out);
  if (status == REAP_OK) status = read_groups(groups, path, count, names, *out);
  if (status == REAP_OK) status = reap_group_paths_check(*out, path);
  reap_h5_free_names(count, &names);
  reap_h5_close(&groups);
  return status;
}

int reap_paths_file_read(const char *path, reap_group_paths **out) {
  hid_t file = REAP_H5_NONE;
  *out = NULL;
  REAP_TRY(reap_h5_open(path, &file));
  int status = reap_h5_check_format(file, FORMAT);
  if (status == REAP_OK) status = reap_paths_read(file, path, out);
  reap_h5_close(&file);
  if (status != REAP_OK) reap_group_paths_destroy(out);
  return status;
}
