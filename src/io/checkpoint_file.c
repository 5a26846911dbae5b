#include "checkpoint_file.h"

#include "io/hdf5/hdf5_util.h"
#include "paths_groups.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *const FORMAT = "reap-checkpoint";
enum { MOST_GROUPS = 4 }; /* within one another */

struct reap_checkpoint_file {
  char *path;
  reap_h5_output output; /* of a file being written */
  hid_t read;            /* of one being read */
  hid_t groups[MOST_GROUPS];
  int n;
};

static bool is_written(const reap_checkpoint_file *f) { return f->output.file != REAP_H5_NONE; }

/* The present group. */
static hid_t here(const reap_checkpoint_file *f) {
  if (f->n > 0) return f->groups[f->n - 1];
  return is_written(f) ? f->output.file : f->read;
}

static int create(const char *path, reap_checkpoint_file **out) {
  REAP_TRY(reap_alloc(out, 1, sizeof **out));
  **out = (reap_checkpoint_file){.output = REAP_H5_NO_OUTPUT, .read = REAP_H5_NONE};
  return reap_strdup(&(*out)->path, path);
}

int reap_checkpoint_begin(const char *path, reap_checkpoint_file **out) {
  *out = NULL;
  int status = create(path, out);
  if (status == REAP_OK) status = reap_h5_output_begin(path, FORMAT, &(*out)->output);
  if (status != REAP_OK) reap_checkpoint_close(out);
  return status;
}

int reap_checkpoint_commit(reap_checkpoint_file *f) {
  while (f->n > 0) reap_checkpoint_leave(f);
  return reap_h5_output_commit(&f->output);
}

int reap_checkpoint_open(const char *path, reap_checkpoint_file **out) {
  *out = NULL;
  int status = create(path, out);
  if (status == REAP_OK) status = reap_h5_open(path, &(*out)->read);
  if (status == REAP_OK) status = reap_h5_check_format((*out)->read, FORMAT);
  if (status != REAP_OK) reap_checkpoint_close(out);
  return status;
}

void reap_checkpoint_close(reap_checkpoint_file **file) {
  reap_checkpoint_file *f = *file;
  if (!f) return;
  while (f->n > 0) reap_checkpoint_leave(f);
  reap_h5_output_abandon(&f->output);
  reap_h5_close(&f->read);
  reap_free(&f->path);
  reap_free(file);
}

int reap_checkpoint_enter(reap_checkpoint_file *f, const char *group) {
  hid_t entered = REAP_H5_NONE;
  if (f->n == MOST_GROUPS) return reap_error(REAP_ERR_INTERNAL, "group %s lies too deep", group);
  REAP_TRY(is_written(f) ? reap_h5_create_group(here(f), group, &entered)
                         : reap_h5_open_group(here(f), group, &entered));
  f->groups[f->n++] = entered;
  return REAP_OK;
}

void reap_checkpoint_leave(reap_checkpoint_file *f) { reap_h5_close(&f->groups[--f->n]); }

bool reap_checkpoint_has(const reap_checkpoint_file *f, const char *name) {
  return reap_h5_has_attribute(here(f), name) || reap_h5_has(here(f), name);
}

/* ------------------------------------------------------------------ values */

int reap_checkpoint_put_text(reap_checkpoint_file *f, const char *name, const char *text) {
  return reap_h5_write_string(here(f), name, text);
}

int reap_checkpoint_put_integer(reap_checkpoint_file *f, const char *name, int64_t value) {
  return reap_h5_write_integer(here(f), name, value);
}

int reap_checkpoint_put_number(reap_checkpoint_file *f, const char *name, double value) {
  return reap_h5_write_double(here(f), name, value);
}

int reap_checkpoint_put_integers(reap_checkpoint_file *f, const char *name, int64_t count, const int64_t *values) {
  return reap_h5_write_vector(here(f), name, H5T_NATIVE_INT64, count, values);
}

int reap_checkpoint_put_numbers(reap_checkpoint_file *f, const char *name, int64_t count, const double *values) {
  return reap_h5_write_vector(here(f), name, H5T_NATIVE_DOUBLE, count, values);
}

int reap_checkpoint_put_floats(reap_checkpoint_file *f, const char *name, int64_t count, const float *values) {
  return reap_h5_write_vector(here(f), name, H5T_NATIVE_FLOAT, count, values);
}

int reap_checkpoint_put_paths(reap_checkpoint_file *f, const reap_group_paths *paths) {
  return reap_paths_write(here(f), paths);
}

int reap_checkpoint_get_text(const reap_checkpoint_file *f, const char *name, char **text) {
  return reap_h5_read_string(here(f), name, text);
}

int reap_checkpoint_get_integer(const reap_checkpoint_file *f, const char *name, int64_t *value) {
  return reap_h5_read_integer(here(f), name, value);
}

int reap_checkpoint_get_number(const reap_checkpoint_file *f, const char *name, double *value) {
  return reap_h5_read_numbers(here(f), name, 1, value);
}

/* A list of `count` elements of `size` bytes. */
static int get_list(const reap_checkpoint_file *f, const char *name, H5T_class_t type_class, hid_t type, int64_t count,
                    size_t size, void *out) {
  hid_t dataset = REAP_H5_NONE;
  void *values = NULL;
  int status = reap_h5_expect(here(f), name, type_class, 1, &count, &dataset);
  if (status == REAP_OK) status = reap_alloc(&values, count, size);
  if (status == REAP_OK) status = reap_h5_read(dataset, name, type, values);
  reap_h5_close(&dataset);
  if (status != REAP_OK) reap_free(&values);
  *(void **)out = values;
  return status;
}

int reap_checkpoint_get_integers(const reap_checkpoint_file *f, const char *name, int64_t count, int64_t **values) {
  return get_list(f, name, H5T_INTEGER, H5T_NATIVE_INT64, count, sizeof **values, values);
}

int reap_checkpoint_get_numbers(const reap_checkpoint_file *f, const char *name, int64_t count, double **values) {
  return get_list(f, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, count, sizeof **values, values);
}

int reap_checkpoint_get_floats(const reap_checkpoint_file *f, const char *name, int64_t count, float **values) {
  return get_list(f, name, H5T_FLOAT, H5T_NATIVE_FLOAT, count, sizeof **values, values);
}

int reap_checkpoint_get_paths(const reap_checkpoint_file *f, reap_group_paths **paths) {
  return reap_paths_read(here(f), f->path, paths);
}
