/* Private to src/io: the header of an object in an HDF5 file, checked before the library reads it. Local calls.
 *
 * The library (1.10) trusts the lengths in the messages of a header and reads beyond its memory if they are wrong. So
 * every object that is opened for reading is checked here first: all messages of its header, those continued elsewhere
 * and the types shared with other objects, from the bytes of the file. Messages kept in a heap ("dense" attributes and
 * links, and a file's heap of shared messages) are left to the library.
 *
 * REAP_ERR_INPUT with a message that names neither file nor object: the byte at which the header begins, the attribute
 * if it is one, and what is damaged. A file that is no HDF5 file, or cut short, is left to the library, which refuses
 * it.
 */
#ifndef REAP_IO_HDF5_HDF5_HEADER_H
#define REAP_IO_HDF5_HDF5_HEADER_H

#include <stdint.h>

/* The headers that the library reads when it opens a file: of the root group, and of the file's own extension. */
int reap_h5_check_root(int descriptor);

/* The header of an object at that address, as H5Lget_info() tells it. */
int reap_h5_check_header(int descriptor, uint64_t address);

#endif
