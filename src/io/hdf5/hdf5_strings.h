/* Private to src/io: strings in attributes, of fixed and of variable length. Local calls.
 *
 * reap writes strings of fixed length. Those of variable length, which h5py and older files have, lie in heaps of the
 * file; HDF5 1.10 believes every length and number in a heap, and one wrong byte makes it crash or loop. So it is asked
 * for no more than where a string lies, and the heap is read here.
 */
#ifndef REAP_IO_HDF5_HDF5_STRINGS_H
#define REAP_IO_HDF5_HDF5_STRINGS_H

#include <hdf5.h>
#include <stdint.h>

/* A scalar or vector attribute of 1 to `most` strings: an array and strings that the caller owns (reap_h5_free_names).
 */
int reap_h5_read_strings(hid_t object, const char *name, int64_t most, int64_t *count, char ***out);

/* A type for UTF-8 strings of `length` bytes, ended by a zero where they are shorter, or of H5T_VARIABLE; REAP_H5_NONE
 * if HDF5 refuses. */
hid_t reap_h5_string_type(size_t length);

/* `count` strings one behind the other in an array of equal places, as that type wants them: owned by the caller.
 * *length: of the longest, at least 1. NULL counts as empty. */
int reap_h5_pack_strings(int64_t count, const char *const *strings, size_t *length, char **out);

#endif
