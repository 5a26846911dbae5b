/* See hdf5_strings.h. HDF5 has no call for the place of a variable-length string. But it converts between types with
 * functions of the program where it has none of its own: one from such strings to opaque bytes gets to see the
 * reference. */
#include "hdf5_strings.h"

#include <stdbool.h>
#include <string.h>

#include "hdf5_driver.h"
#include "hdf5_heap.h"
#include "hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Longer attributes do not occur in our files. */
enum { MOST_BYTES = 1 << 20 };

/* ------------------------------------------------------------------ references */

/* References stay the bytes that they are: in place, source and target of one size. */
static herr_t keep_bytes(hid_t from, hid_t to, H5T_cdata_t *data, size_t count, size_t stride, size_t stride_back,
                         void *values, void *back, hid_t transfer) {
  (void)count, (void)stride, (void)stride_back, (void)values, (void)back, (void)transfer;
  if (data->command == H5T_CONV_INIT) data->need_bkg = H5T_BKG_NO;
  if (data->command != H5T_CONV_INIT) return 0;
  return H5Tis_variable_str(from) > 0 && H5Tget_size(to) == HEAP_REFERENCE_BYTES ? 0 : -1;
}

/* A type that variable-length strings are read as, to get their references; REAP_H5_NONE on failure. */
static hid_t reference_type(void) {
  hid_t reference = H5Tcreate(H5T_OPAQUE, HEAP_REFERENCE_BYTES), text = reap_h5_string_type(H5T_VARIABLE);
  const bool ready = reference >= 0 && text >= 0 && H5Tset_tag(reference, "heap reference") >= 0 &&
                     H5Tregister(H5T_PERS_SOFT, "reap-heap-reference", text, reference, keep_bytes) >= 0;
  reap_h5_close(&text);
  if (!ready) reap_h5_close(&reference);
  return reference;
}

/* Files with addresses of other than 8 bytes are legal; they are not written in practice. Addresses count from the end
 * of the user block. */
static bool addresses(hid_t object, uint64_t *base) {
  const hid_t file = H5Iget_file_id(object);
  hid_t list = file < 0 ? REAP_H5_NONE : H5Fget_create_plist(file);
  size_t address = 0, size = 0;
  hsize_t block = 0;
  const bool known = list >= 0 && H5Pget_sizes(list, &address, &size) >= 0 && H5Pget_userblock(list, &block) >= 0;
  reap_h5_close(&list);
  if (file >= 0) H5Fclose(file);
  *base = block;
  return known && address == 8 && size == 8;
}

/* ------------------------------------------------------------------ reading */

static int follow_all(hid_t object, const char *name, const unsigned char *references, int64_t count, char **out) {
  const int descriptor = reap_h5_driver_descriptor(object);
  heap_cache cache = {0, 0, NULL};
  uint64_t base = 0;
  if (descriptor < 0 || !addresses(object, &base))
    return reap_h5_refuse(object,
                          "attribute \"%s\": strings of variable length cannot be read from a file of this kind", name);
  int status = REAP_OK;
  for (int64_t i = 0; status == REAP_OK && i < count; i++) {
    heap_reference r = reap_heap_reference_decode(references + i * HEAP_REFERENCE_BYTES);
    if (r.length > MOST_BYTES)
      status = reap_h5_refuse(object, "attribute \"%s\" is too long: %u bytes", name, (unsigned)r.length);
    if (status != REAP_OK) break;
    r.heap += base;
    status = reap_heap_read_string(descriptor, r, &cache, &out[i]);
    if (status == REAP_ERR_INPUT) status = reap_h5_refuse(object, "attribute \"%s\": %s", name, reap_error_message());
  }
  reap_heap_cache_clear(&cache);
  return status;
}

static int read_variable(hid_t object, const char *name, hid_t attribute, int64_t count, char **out) {
  unsigned char *references = NULL;
  hid_t type = reference_type();
  int status = type < 0 ? reap_h5_error(object, name) : reap_calloc(&references, count, HEAP_REFERENCE_BYTES);
  if (status == REAP_OK && H5Aread(attribute, type, references) < 0) status = reap_h5_error(object, name);
  if (status == REAP_OK) status = follow_all(object, name, references, count, out);
  reap_h5_close(&type);
  reap_free(&references);
  return status;
}

static void strip_spaces(char *text) {
  for (size_t end = strlen(text); end > 0 && text[end - 1] == ' '; end--) text[end - 1] = '\0';
}

static int read_fixed(hid_t object, const char *name, hid_t attribute, hid_t type, int64_t count, char **out) {
  const size_t size = H5Tget_size(type);
  char *texts = NULL;
  if (size > (size_t)(MOST_BYTES / count)) return reap_h5_refuse(object, "attribute \"%s\" is too long", name);
  REAP_TRY(reap_calloc(&texts, count, size));
  int status = H5Aread(attribute, type, texts) < 0 ? reap_h5_error(object, name) : REAP_OK;
  for (int64_t i = 0; status == REAP_OK && i < count; i++) {
    status = reap_strndup(&out[i], texts + (size_t)i * size, size);
    if (status == REAP_OK && H5Tget_strpad(type) == H5T_STR_SPACEPAD) strip_spaces(out[i]);
  }
  reap_free(&texts);
  return status;
}

static int read_all(hid_t object, const char *name, hid_t attribute, hid_t type, int64_t count, char ***out) {
  REAP_TRY(reap_calloc(out, count, sizeof **out));
  const int status = H5Tis_variable_str(type) > 0 ? read_variable(object, name, attribute, count, *out)
                                                  : read_fixed(object, name, attribute, type, count, *out);
  if (status != REAP_OK) reap_h5_free_names(count, out);
  return status;
}

int reap_h5_read_strings(hid_t object, const char *name, int64_t most, int64_t *count, char ***out) {
  if (!reap_h5_has_attribute(object, name)) return reap_h5_refuse(object, "attribute \"%s\" is missing", name);
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  hid_t type = attribute < 0 ? REAP_H5_NONE : H5Aget_type(attribute);
  hid_t space = attribute < 0 ? REAP_H5_NONE : H5Aget_space(attribute);
  const hssize_t found = space < 0 || H5Sget_simple_extent_ndims(space) > 1 ? -1 : H5Sget_simple_extent_npoints(space);
  int status;
  *count = (int64_t)found;
  if (type < 0 || space < 0)
    status = reap_h5_error(object, name);
  else if (H5Tget_class(type) != H5T_STRING)
    status = reap_h5_refuse(object, "attribute \"%s\" is not a string", name);
  else if (found < 1 || found > most)
    status = reap_h5_refuse(object, "attribute \"%s\" has %lld elements, wanted %s%lld", name, (long long)found,
                            most > 1 ? "1 to " : "", (long long)most);
  else
    status = read_all(object, name, attribute, type, *count, out);
  reap_h5_close(&space);
  reap_h5_close(&type);
  reap_h5_close(&attribute);
  return status;
}

/* ------------------------------------------------------------------ writing */

hid_t reap_h5_string_type(size_t length) {
  hid_t type = H5Tcopy(H5T_C_S1);
  if (type < 0 || H5Tset_size(type, length) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0 ||
      (length != H5T_VARIABLE && H5Tset_strpad(type, H5T_STR_NULLPAD) < 0))
    reap_h5_close(&type);
  return type;
}

int reap_h5_pack_strings(int64_t count, const char *const *strings, size_t *length, char **out) {
  *length = 1;
  for (int64_t i = 0; i < count; i++)
    if (strings[i] && strlen(strings[i]) > *length) *length = strlen(strings[i]);
  REAP_TRY(reap_calloc(out, count, *length));
  for (int64_t i = 0; i < count; i++)
    if (strings[i]) memcpy(*out + (size_t)i * *length, strings[i], strlen(strings[i]));
  return REAP_OK;
}
