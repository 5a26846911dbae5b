/* Data sets: shapes, types, reading and writing whole ones. */
#include <stdio.h>
#include <string.h>

#include "hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MAX_RANK = 32 };

int reap_h5_shape(hid_t dataset, const char *name, int min_rank, int max_rank, int *rank, int64_t *dims) {
  hid_t space = H5Dget_space(dataset);
  if (space < 0) return reap_h5_error(dataset, name);
  hsize_t sizes[MAX_RANK];
  int n = H5Sget_simple_extent_ndims(space);
  bool null = H5Sget_simple_extent_type(space) == H5S_NULL;
  int status = REAP_OK;
  if (null || n < min_rank || n > max_rank)
    status = reap_h5_refuse(dataset, "\"%s\" has %d dimensions, wanted %d", name, null ? 0 : n, min_rank);
  else if (H5Sget_simple_extent_dims(space, sizes, NULL) < 0)
    status = reap_h5_error(dataset, name);
  for (int i = 0; status == REAP_OK && i < n; i++) {
    dims[i] = (int64_t)sizes[i];
    if (sizes[i] > INT64_MAX / 2) status = reap_h5_refuse(dataset, "\"%s\" has an impossible size", name);
  }
  if (rank) *rank = n;
  reap_h5_close(&space);
  return status;
}

int reap_h5_type(hid_t dataset, const char *name, H5T_class_t *type_class, size_t *bytes, bool *is_signed) {
  hid_t type = H5Dget_type(dataset);
  if (type < 0) return reap_h5_error(dataset, name);
  *type_class = H5Tget_class(type);
  *bytes = H5Tget_size(type);
  if (is_signed) *is_signed = *type_class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
  reap_h5_close(&type);
  return REAP_OK;
}

bool reap_h5_is_plain(hid_t type) {
  const H5T_class_t type_class = H5Tget_class(type);
  size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;
  if (type_class != H5T_INTEGER && type_class != H5T_FLOAT) return true;
  const size_t size = H5Tget_size(type), bits = 8 * size;
  if (size > 8 || H5Tget_precision(type) != bits || H5Tget_offset(type) != 0) return false;
  if (type_class == H5T_INTEGER) return true;
  return H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 && sign == bits - 1 &&
         mantissa == 0 && mantissa_bits == exponent && exponent_bits >= 1 && exponent_bits < bits &&
         exponent + exponent_bits == sign;
}

/* Up to this size a data set or a chunk is taken as it is, however well it is packed. */
static const int64_t SMALL_BYTES = (int64_t)64 << 20;

/* Deflate packs 1032 equal bytes into one; what claims to be packed better is not data. The first holds for small ones.
 */
enum { BEST_FACTOR_SMALL = 1 << 16, BEST_FACTOR = 1100 };

/* How a data set is kept. */
typedef struct storage {
  int64_t bytes, chunk; /* unpacked: of all elements, of a chunk (0: there are none) */
  int64_t kept;         /* in the file */
  int filters;
} storage;

/* Virtual data sets and external storage are further ways to name other files; packing twice serves bombs alone. */
static int check_list(hid_t dataset, const char *name, hid_t list) {
  const int filters = H5Pget_nfilters(list);
  if (H5Pget_layout(list) == H5D_VIRTUAL || H5Pget_external_count(list) > 0)
    return reap_h5_refuse(dataset, "\"%s\" is kept in another file; store the data themselves", name);
  for (int i = 0, deflate = 0; i < filters; i++) {
    unsigned flags = 0;
    size_t values = 0;
    deflate += H5Pget_filter2(list, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL) == H5Z_FILTER_DEFLATE;
    if (deflate > 1) return reap_h5_refuse(dataset, "\"%s\" is packed twice over; pack it once", name);
  }
  return REAP_OK;
}

static int chunk_bytes(hid_t dataset, const char *name, hid_t list, int64_t element, int64_t *bytes) {
  hsize_t sizes[MAX_RANK];
  *bytes = element;
  if (H5Pget_layout(list) != H5D_CHUNKED) {
    *bytes = 0;
    return REAP_OK;
  }
  const int rank = H5Pget_chunk(list, MAX_RANK, sizes);
  if (rank < 1 || rank > MAX_RANK) return reap_h5_refuse(dataset, "\"%s\" has no usable chunks", name);
  for (int i = 0; i < rank; i++)
    if (sizes[i] > INT64_MAX / 2 || reap_multiply(*bytes, (int64_t)sizes[i], bytes) != REAP_OK)
      return reap_h5_refuse(dataset, "\"%s\" has chunks of an impossible size", name);
  return REAP_OK;
}

static int find_storage(hid_t dataset, const char *name, size_t element, storage *s) {
  int64_t dims[MAX_RANK], count = 0;
  int rank = 0;
  REAP_TRY(reap_h5_shape(dataset, name, 0, MAX_RANK, &rank, dims));
  if (reap_product(dims, rank, &count) != REAP_OK || reap_multiply(count, (int64_t)element, &s->bytes) != REAP_OK)
    return reap_h5_refuse(dataset, "\"%s\" has an impossible size", name);
  hid_t list = H5Dget_create_plist(dataset);
  if (list < 0) return reap_h5_error(dataset, name);
  int status = check_list(dataset, name, list);
  if (status == REAP_OK) status = chunk_bytes(dataset, name, list, (int64_t)element, &s->chunk);
  s->filters = H5Pget_nfilters(list);
  reap_h5_close(&list);
  const hsize_t kept = H5Dget_storage_size(dataset);
  s->kept = kept < INT64_MAX ? (int64_t)kept : INT64_MAX;
  return status;
}

/* Whole chunks are unpacked, whatever is read of them: one that is far larger than the data would take memory for
 * nothing. */
static int check_chunk(hid_t dataset, const char *name, const storage *s) {
  if (s->chunk <= SMALL_BYTES) return REAP_OK;
  if ((double)s->chunk <= 2.0 * (double)s->bytes &&
      (s->filters == 0 || (double)s->chunk <= (double)s->kept * BEST_FACTOR))
    return REAP_OK;
  return reap_h5_refuse(
      dataset, "\"%s\" has chunks of %.1f MB for %.3g MB of data, kept in %lld bytes; store it with smaller chunks",
      name, (double)s->chunk / 1e6, (double)s->bytes / 1e6, (long long)s->kept);
}

static int check_plain(hid_t dataset, const char *name) {
  hid_t type = H5Dget_type(dataset);
  const bool plain = type >= 0 && reap_h5_is_plain(type);
  reap_h5_close(&type);
  return plain ? REAP_OK
               : reap_h5_refuse(dataset, "\"%s\" has numbers of an unusual form; store usual integers or floats", name);
}

int reap_h5_check_stored(hid_t dataset, const char *name, H5T_class_t type_class) {
  H5T_class_t found = H5T_NO_CLASS;
  size_t element = 0;
  storage s = {0};
  REAP_TRY(reap_h5_type(dataset, name, &found, &element, NULL));
  if (found != type_class)
    return reap_h5_refuse(dataset, "\"%s\" does not hold %s", name,
                          type_class == H5T_FLOAT    ? "floats"
                          : type_class == H5T_STRING ? "strings"
                                                     : "integers");
  REAP_TRY(check_plain(dataset, name));
  REAP_TRY(find_storage(dataset, name, element, &s));
  REAP_TRY(check_chunk(dataset, name, &s));
  const int64_t file = reap_h5_file_bytes(dataset);
  if (s.kept > file)
    return reap_h5_refuse(dataset, "\"%s\" takes %lld bytes of a file of %lld; copy or write it again", name,
                          (long long)s.kept, (long long)file);
  const double factor = s.filters == 0 ? 1 : s.bytes <= SMALL_BYTES ? BEST_FACTOR_SMALL : BEST_FACTOR;
  if ((double)s.kept * factor < (double)s.bytes)
    return reap_h5_refuse(dataset, "\"%s\" is not complete: the file holds only part of it", name);
  return REAP_OK;
}

static int expect_shape(hid_t dataset, const char *name, int rank, const int64_t *dims) {
  int64_t found[MAX_RANK];
  REAP_TRY(reap_h5_shape(dataset, name, rank, rank, NULL, found));
  for (int i = 0; i < rank; i++)
    if (found[i] != dims[i])
      return reap_h5_refuse(dataset, "\"%s\" has size %lld along dimension %d, wanted %lld", name, (long long)found[i],
                            i, (long long)dims[i]);
  return REAP_OK;
}

int reap_h5_expect(hid_t parent, const char *name, H5T_class_t type_class, int rank, const int64_t *dims,
                   hid_t *dataset) {
  REAP_TRY(reap_h5_open_dataset(parent, name, dataset));
  int status = expect_shape(*dataset, name, rank, dims);
  if (status == REAP_OK) status = reap_h5_check_stored(*dataset, name, type_class);
  if (status != REAP_OK) reap_h5_close(dataset);
  return status;
}

int reap_h5_read(hid_t dataset, const char *name, hid_t type, void *out) {
  if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0) return REAP_OK;
  char what[256];
  snprintf(what, sizeof what, "\"%s\" cannot be read", name);
  return reap_h5_error(dataset, what);
}

int reap_h5_write(hid_t parent, const char *name, hid_t file_type, hid_t memory_type, int rank, const int64_t *dims,
                  const void *data, hid_t *out) {
  hsize_t sizes[MAX_RANK];
  int64_t count = 0;
  REAP_TRY(reap_product(dims, rank, &count));
  for (int i = 0; i < rank; i++) sizes[i] = (hsize_t)dims[i];
  hid_t space = rank > 0 ? H5Screate_simple(rank, sizes, NULL) : H5Screate(H5S_SCALAR), dataset = REAP_H5_NONE;
  int status = REAP_OK;
  if (space >= 0) dataset = H5Dcreate2(parent, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  bool done = dataset >= 0 && (count == 0 || H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  if (!done) {
    char what[256];
    snprintf(what, sizeof what, "\"%s\" cannot be written", name);
    status = reap_h5_error(parent, what);
  }
  if (status == REAP_OK) status = reap_h5_written(parent);
  reap_h5_close(&space);
  if (status == REAP_OK && out)
    *out = dataset;
  else if (!reap_h5_close(&dataset) && status == REAP_OK)
    status = reap_h5_error(parent, name);
  return status;
}

int reap_h5_write_vector(hid_t parent, const char *name, hid_t type, int64_t count, const void *data) {
  return reap_h5_write(parent, name, type, type, 1, &count, data, NULL);
}
