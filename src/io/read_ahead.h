/* Reading ahead: the system learns which bytes of a file come next and fetches them while this rank computes; private
 * to src/io. Local. Advice only: where it cannot be given, nothing happens. */
#ifndef REAP_IO_READ_AHEAD_H
#define REAP_IO_READ_AHEAD_H

#include <hdf5.h>
#include <stdint.h>

typedef struct read_ahead {
  int descriptor; /* -1: no advice */
  hid_t data_set; /* borrowed */
  int64_t start;  /* in the file, if the rows lie in one piece */
  int64_t row;    /* bytes of one row */
  int64_t rows;
  int64_t chunk_rows; /* rows of a chunk; 0: one piece */
  int rank;
} read_ahead;

/* For a data set of `rows` rows of `row` bytes, which is to stay open; `path` is its file. */
read_ahead reap_read_ahead_open(const char *path, hid_t data_set, int64_t rows, int64_t row);
void reap_read_ahead_close(read_ahead *ahead);

/* Rows [first, first + count), clipped to those there are, will be read soon. */
void reap_read_ahead_advise(const read_ahead *ahead, int64_t first, int64_t count);

#endif
