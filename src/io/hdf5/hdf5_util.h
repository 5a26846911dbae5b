/* Private to src/io: the few HDF5 calls that all files need, with checks and messages. Local calls.
 *
 * Files are not trusted: types, shapes and the space really occupied are checked before anything is allocated, and
 * links out of the file are not followed. Messages name the file and the object.
 */
#ifndef REAP_IO_HDF5_HDF5_UTIL_H
#define REAP_IO_HDF5_HDF5_UTIL_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

/* An identifier of HDF5 that is not there. */
#define REAP_H5_NONE ((hid_t)-1)

/* Opens for reading: REAP_ERR_INPUT tells a missing file, one that is not HDF5 and one cut short apart. */
int reap_h5_open(const char *path, hid_t *file);

/* Creates (truncates) a file that any HDF5 since 1.8 reads. `path` is what the message names, `temporary` what is
 * created. */
int reap_h5_create(const char *path, const char *temporary, hid_t *file);

/* A write that failed does not show in HDF5's own calls (hdf5_driver.h): REAP_OK if all writes so far to the file that
 * `object` lies in went well, else their error in the words of the system. REAP_ERR_RESOURCE for a full disk. */
int reap_h5_written(hid_t object);

/* Closes a file written, sets it to REAP_H5_NONE, and tells whether all of it went to the system. Objects in it have to
 * be closed before. */
int reap_h5_close_written(hid_t *file, const char *path);

/* A file being written beside its name (durable.h) by one process, and a group of it that others may be put into. */
typedef struct reap_h5_output {
  char *path, *temporary;
  hid_t file, layers;
} reap_h5_output;
#define REAP_H5_NO_OUTPUT \
  (reap_h5_output) { NULL, NULL, REAP_H5_NONE, REAP_H5_NONE }

/* Creates it with that format, in place of REAP_H5_NO_OUTPUT. To be abandoned in the end, whatever happens: that closes
 * it, and removes it unless it was committed. Committing closes it and gives it its name. */
int reap_h5_output_begin(const char *path, const char *format, reap_h5_output *output);
int reap_h5_output_commit(reap_h5_output *output);
void reap_h5_output_abandon(reap_h5_output *output);

/* A whole file of that kind: fill() writes what is in it. */
int reap_h5_write_file(const char *path, const char *format, int (*fill)(hid_t file, const void *context),
                       const void *context);

/* Closes any other identifier (or a file whose contents do not matter any more) and sets it to REAP_H5_NONE, which is
 * fine too; false if HDF5 reports a failure. */
bool reap_h5_close(hid_t *id);

/* Status and message for the HDF5 call that just failed: the file's name (of the file that `object` lies in, or
 * `path`), `what`, and the innermost message of HDF5. REAP_ERR_RESOURCE for a full disk, else REAP_ERR_INPUT. */
int reap_h5_error(hid_t object, const char *what);
int reap_h5_path_error(const char *path, const char *what);

/* REAP_ERR_INPUT with the file's name in front of a message in printf style. */
int reap_h5_refuse(hid_t object, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* REAP_ERR_INPUT if the header of the object at `address` is damaged (hdf5_header.h); a file being written is not
 * checked. To be called before the object is opened. */
int reap_h5_check_object(hid_t parent, const char *name, haddr_t address);

/* Objects directly below `parent`; only hard links are followed. */
bool reap_h5_has(hid_t parent, const char *name);
int reap_h5_open_dataset(hid_t parent, const char *name, hid_t *dataset);
int reap_h5_open_group(hid_t parent, const char *name, hid_t *group);
int reap_h5_create_group(hid_t parent, const char *name, hid_t *group);

/* Names directly below `group`, in their alphabetical order: an array from reap_alloc of strings, all owned by the
 * caller; see reap_h5_free_names. */
int reap_h5_list(hid_t group, int64_t *count, char ***names);
void reap_h5_free_names(int64_t count, char ***names);

/* Shape of a data set: refused unless its rank is between min_rank and max_rank. dims[max_rank]. */
int reap_h5_shape(hid_t dataset, const char *name, int min_rank, int max_rank, int *rank, int64_t *dims);

/* Class, size in bytes and sign of the elements. */
int reap_h5_type(hid_t dataset, const char *name, H5T_class_t *type_class, size_t *bytes, bool *is_signed);

/* Whether a type's numbers fill their bytes as every machine's do. HDF5 has types with unused bits before and behind,
 * and does not check that those of a file lie inside the number. True for types of other classes. */
bool reap_h5_is_plain(hid_t type);

/* Size in bytes of the file that `object` lies in, 0 if HDF5 does not tell. */
int64_t reap_h5_file_bytes(hid_t object);

/* Refused unless the elements are of `type_class` and the file holds them all, in chunks that fit them, so that a few
 * bytes cannot ask for terabytes of memory. */
int reap_h5_check_stored(hid_t dataset, const char *name, H5T_class_t type_class);

/* Opens a data set that has to have this class and shape, and checks that it is stored. */
int reap_h5_expect(hid_t parent, const char *name, H5T_class_t type_class, int rank, const int64_t *dims,
                   hid_t *dataset);

/* Reads all of a data set as memory type `type`. */
int reap_h5_read(hid_t dataset, const char *name, hid_t type, void *out);

/* Creates and writes a contiguous data set of dims[rank]; zero-length ones are legal. The identifier goes to *dataset
 * for attributes, or is closed if that is NULL. */
int reap_h5_write(hid_t parent, const char *name, hid_t file_type, hid_t memory_type, int rank, const int64_t *dims,
                  const void *data, hid_t *dataset);

/* The same for a vector of `count` elements of the memory's type. */
int reap_h5_write_vector(hid_t parent, const char *name, hid_t type, int64_t count, const void *data);

/* Attributes. Strings may have fixed or variable length (hdf5_strings.h) and are written with fixed length; the result
 * is owned by the caller. */
bool reap_h5_has_attribute(hid_t object, const char *name);
int reap_h5_read_string(hid_t object, const char *name, char **out);
int reap_h5_read_integer(hid_t object, const char *name, int64_t *out);
/* Exactly `count` numbers of any integer or float type, as a vector or (count 1) a scalar. */
int reap_h5_read_numbers(hid_t object, const char *name, int64_t count, double *out);
int reap_h5_write_string(hid_t object, const char *name, const char *value);
int reap_h5_write_strings(hid_t object, const char *name, int64_t count, const char *const *values); /* a vector */
int reap_h5_write_integer(hid_t object, const char *name, int64_t value);
int reap_h5_write_double(hid_t object, const char *name, double value);
int reap_h5_write_attributes(hid_t object, const char *name, hid_t type, int64_t count,
                             const void *values); /* a vector */

/* Root attributes `format` and `version` 1, required on reading. */
int reap_h5_check_format(hid_t file, const char *format);
int reap_h5_write_format(hid_t file, const char *format);

#endif
