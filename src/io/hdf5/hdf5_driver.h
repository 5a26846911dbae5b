/* Private to src/io: the driver through which HDF5 reads and writes its files. Local calls.
 *
 * HDF5 1.10 does not survive a write that fails: it keeps what it could not flush, cannot close the file and ends the
 * process in its exit handler. This driver keeps the first failure to itself, drops what is written afterwards, and
 * lets HDF5 close the file as if all was well. So writers must ask it for the error: after each transfer
 * (reap_h5_written) and when the file is closed (reap_h5_close_written).
 */
#ifndef REAP_IO_HDF5_HDF5_DRIVER_H
#define REAP_IO_HDF5_HDF5_DRIVER_H

#include <hdf5.h>
#include <stdbool.h>

/* Sets the driver on a list of file access properties; false if HDF5 refuses. */
bool reap_h5_driver_set(hid_t access);

/* The errno of the first write that failed in the file that `object` lies in; 0 if none did. */
int reap_h5_driver_error(hid_t object);

/* The file's descriptor, owned by the driver; -1 if there is none. */
int reap_h5_driver_descriptor(hid_t object);

/* The errno of the last failure to open, or of the first failed write of the file closed last; 0 if all went well.
 * Asking forgets it. */
int reap_h5_driver_take_error(void);

#endif
