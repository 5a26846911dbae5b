/* Does the HDF5 library survive a file? Damage in a file's structure, a single byte of it, can make HDF5 1.10 crash or
 * loop. A separate process reads everything that this one would read, before it does. */
#ifndef REAP_IO_PROBE_H
#define REAP_IO_PROBE_H

/* REAP_ERR_INPUT, naming the file, if that process crashed, took too much time of the processor or too much memory, or
 * did not get to all objects of the file; REAP_OK in all other cases: a file that is not HDF5, or that HDF5 refuses, is
 * for its reader to explain. Local. It forks: to be called before MPI is initialised and while there is one thread.
 * Cost: some milliseconds; the data themselves are not read, but for the first and last element of each data set. */
int reap_probe_file(const char *path);

#endif
