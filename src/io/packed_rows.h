/* Private to src/io: rows of a chunked and compressed data set that all ranks have and one of them stores.
 *
 * Every rank packs the chunks that it holds in full, with HDF5's own filters in a file in memory; rank 0 takes them as
 * they are and is the only one to touch the file. So packing, which takes most of the time, runs on all ranks, and a
 * write that fails is one rank's error to agree on. (In HDF5's parallel files it leaves the others waiting for ever.)
 */
#ifndef REAP_IO_PACKED_ROWS_H
#define REAP_IO_PACKED_ROWS_H

#include <hdf5.h>
#include <stdint.h>

#include "reap/comm.h"

typedef struct packed_rows {
  const char *name, *path; /* of the data set; of the file, for messages */
  hid_t file_type, memory_type;
  int rank; /* 1 (width 1) or 2 */
  int64_t rows, width;
  int64_t chunk_rows; /* set by reap_packed_rows_create */
  hid_t dataset;      /* rank 0's; REAP_H5_NONE elsewhere */
} packed_rows;

/* Chooses the chunks, on every rank, and creates the data set in `parent` where that is not REAP_H5_NONE. Local. */
int reap_packed_rows_create(hid_t parent, packed_rows *p);

/* Collective: rows [first, first + count) of every rank, [count, width] of memory_type; below 1 GB on each. Ranks agree
 * on the status. Cost: one pass of the filters over the rows; memory: the rows once more, packed and not. */
int reap_packed_rows_write(const reap_comm *comm, const packed_rows *p, int64_t first, int64_t count,
                           const void *values);

#endif
