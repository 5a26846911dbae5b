/* Attributes: strings and numbers. */
#include <stdio.h>
#include <string.h>

#include "hdf5_strings.h"
#include "hdf5_util.h"
#include "reap/api.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_BYTES = 60000, FORMAT_VERSION = 1 };

/* Opens an attribute of `count` elements with its type. */
static int open_attribute(hid_t object, const char *name, int64_t count, hid_t *attribute, hid_t *type) {
  if (!reap_h5_has_attribute(object, name)) return reap_h5_refuse(object, "attribute \"%s\" is missing", name);
  *attribute = H5Aopen(object, name, H5P_DEFAULT);
  *type = *attribute < 0 ? REAP_H5_NONE : H5Aget_type(*attribute);
  hid_t space = *attribute < 0 ? REAP_H5_NONE : H5Aget_space(*attribute);
  hssize_t found = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  if (space >= 0 && H5Sget_simple_extent_ndims(space) > 1) found = -1;
  reap_h5_close(&space);
  if (*type >= 0 && found == (hssize_t)count) return REAP_OK;
  reap_h5_close(type);
  reap_h5_close(attribute);
  return reap_h5_refuse(object, "attribute \"%s\" has %lld elements, wanted %lld", name, (long long)found,
                        (long long)count);
}

int reap_h5_read_string(hid_t object, const char *name, char **out) {
  char **list = NULL;
  int64_t count = 0;
  REAP_TRY(reap_h5_read_strings(object, name, 1, &count, &list));
  *out = list[0];
  list[0] = NULL;
  reap_h5_free_names(count, &list);
  return REAP_OK;
}

static int read_numbers(hid_t object, const char *name, int64_t count, bool integer, hid_t memory_type, void *out) {
  hid_t attribute = REAP_H5_NONE, type = REAP_H5_NONE;
  REAP_TRY(open_attribute(object, name, count, &attribute, &type));
  H5T_class_t found = H5Tget_class(type);
  int status = REAP_OK;
  if (found != H5T_INTEGER && (integer || found != H5T_FLOAT))
    status = reap_h5_refuse(object, "attribute \"%s\" is not %s", name, integer ? "an integer" : "a number");
  else if (!reap_h5_is_plain(type))
    status = reap_h5_refuse(object, "attribute \"%s\" is a number of an unusual form", name);
  else if (H5Aread(attribute, memory_type, out) < 0)
    status = reap_h5_error(object, name);
  reap_h5_close(&type);
  reap_h5_close(&attribute);
  return status;
}

int reap_h5_read_integer(hid_t object, const char *name, int64_t *out) {
  return read_numbers(object, name, 1, true, H5T_NATIVE_INT64, out);
}

int reap_h5_read_numbers(hid_t object, const char *name, int64_t count, double *out) {
  return read_numbers(object, name, count, false, H5T_NATIVE_DOUBLE, out);
}

static int write_in(hid_t object, const char *name, hid_t type, hid_t space, const void *values) {
  hid_t attribute = space < 0 ? REAP_H5_NONE : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  bool done = attribute >= 0 && H5Awrite(attribute, type, values) >= 0;
  int status = done ? REAP_OK : reap_h5_error(object, name);
  reap_h5_close(&attribute);
  return status;
}

static int write_attribute(hid_t object, const char *name, hid_t type, const void *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  const int status = write_in(object, name, type, space, value);
  reap_h5_close(&space);
  return status;
}

int reap_h5_write_attributes(hid_t object, const char *name, hid_t type, int64_t count, const void *values) {
  const hsize_t size = (hsize_t)count;
  hid_t space = H5Screate_simple(1, &size, NULL);
  const int status = write_in(object, name, type, space, values);
  reap_h5_close(&space);
  return status;
}

static int write_fixed_strings(hid_t object, const char *name, hid_t space, int64_t count, const char *const *values) {
  char *texts = NULL;
  size_t length = 0;
  int status = reap_h5_pack_strings(count, values, &length, &texts);
  hid_t type = status == REAP_OK ? reap_h5_string_type(length) : REAP_H5_NONE;
  if (status == REAP_OK) status = type >= 0 ? write_in(object, name, type, space, texts) : reap_h5_error(object, name);
  reap_h5_close(&type);
  reap_free(&texts);
  return status;
}

/* An attribute has to fit the head of its object, where 64 kB are the most: more go into a heap, with variable length.
 */
static int write_strings(hid_t object, const char *name, hid_t space, int64_t count, const char *const *values) {
  size_t longest = 1;
  for (int64_t i = 0; i < count; i++)
    if (strlen(values[i]) > longest) longest = strlen(values[i]);
  if (longest <= MOST_BYTES / (size_t)count) return write_fixed_strings(object, name, space, count, values);
  hid_t type = reap_h5_string_type(H5T_VARIABLE);
  int status = type >= 0 ? write_in(object, name, type, space, values) : reap_h5_error(object, name);
  reap_h5_close(&type);
  return status;
}

int reap_h5_write_string(hid_t object, const char *name, const char *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  const int status = write_strings(object, name, space, 1, &value);
  reap_h5_close(&space);
  return status;
}

int reap_h5_write_strings(hid_t object, const char *name, int64_t count, const char *const *values) {
  const hsize_t size = (hsize_t)count;
  hid_t space = H5Screate_simple(1, &size, NULL);
  const int status = write_strings(object, name, space, count, values);
  reap_h5_close(&space);
  return status;
}

int reap_h5_write_integer(hid_t object, const char *name, int64_t value) {
  return write_attribute(object, name, H5T_NATIVE_INT64, &value);
}

int reap_h5_write_double(hid_t object, const char *name, double value) {
  return write_attribute(object, name, H5T_NATIVE_DOUBLE, &value);
}

int reap_h5_check_format(hid_t file, const char *format) {
  char *found = NULL;
  int64_t version = 0;
  int status = REAP_OK;
  if (!reap_h5_has_attribute(file, "format"))
    return reap_h5_refuse(file, "has no attribute \"format\"; it is not a %s file", format);
  REAP_TRY_OR(reap_h5_read_string(file, "format", &found), done);
  if (strcmp(found, format) != 0) {
    status = reap_h5_refuse(file, "is a \"%s\" file; a %s file is wanted", found, format);
    goto done;
  }
  REAP_TRY_OR(reap_h5_read_integer(file, "version", &version), done);
  if (version != FORMAT_VERSION)
    status = reap_h5_refuse(file, "has version %lld of %s; this is reap %s, which reads version %d", (long long)version,
                            format, REAP_VERSION, FORMAT_VERSION);
done:
  reap_free(&found);
  return status;
}

int reap_h5_write_format(hid_t file, const char *format) {
  REAP_TRY(reap_h5_write_string(file, "format", format));
  REAP_TRY(reap_h5_write_integer(file, "version", FORMAT_VERSION));
  return reap_h5_write_string(file, "reap_version", REAP_VERSION);
}
