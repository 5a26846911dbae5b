/* See read_ahead.h. HDF5's own reads are synchronous; the library tells where rows or chunks lie in the file, and
 * POSIX_FADV_WILLNEED starts their way into the page cache without waiting for them. Chunks that split a row are
 * announced with the first of them. */
#include "read_ahead.h"

#include <fcntl.h>
#include <unistd.h>

/* Rows of a chunk, 0 if the rows lie in one piece, -1 if neither is known. */
static int64_t chunk_rows(hid_t data_set, int *rank) {
  hsize_t sizes[H5S_MAX_RANK];
  int64_t rows = -1;
  const hid_t list = H5Dget_create_plist(data_set);
  if (list < 0) return -1;
  const H5D_layout_t layout = H5Pget_layout(list);
  if (layout == H5D_CONTIGUOUS) rows = 0;
  if (layout == H5D_CHUNKED && (*rank = H5Pget_chunk(list, H5S_MAX_RANK, sizes)) > 0) rows = (int64_t)sizes[0];
  H5Pclose(list);
  return rows;
}

read_ahead reap_read_ahead_open(const char *path, hid_t data_set, int64_t rows, int64_t row) {
  read_ahead ahead = {.descriptor = -1, .data_set = data_set, .row = row, .rows = rows};
  ahead.chunk_rows = chunk_rows(data_set, &ahead.rank);
  if (ahead.chunk_rows < 0) return ahead;
  if (ahead.chunk_rows == 0) {
    const haddr_t offset = H5Dget_offset(data_set);
    if (offset == HADDR_UNDEF) return ahead;
    ahead.start = (int64_t)offset;
  }
  ahead.descriptor = open(path, O_RDONLY | O_CLOEXEC);
  return ahead;
}

void reap_read_ahead_close(read_ahead *ahead) {
  if (ahead->descriptor >= 0) close(ahead->descriptor);
  ahead->descriptor = -1;
}

static void advise_bytes(const read_ahead *ahead, int64_t start, int64_t bytes) {
  (void)posix_fadvise(ahead->descriptor, (off_t)start, (off_t)bytes, POSIX_FADV_WILLNEED);
}

void reap_read_ahead_advise(const read_ahead *ahead, int64_t first, int64_t count) {
  if (ahead->descriptor < 0 || first >= ahead->rows) return;
  if (count > ahead->rows - first) count = ahead->rows - first;
  if (ahead->chunk_rows == 0) {
    advise_bytes(ahead, ahead->start + first * ahead->row, count * ahead->row);
    return;
  }
  for (int64_t r = first - first % ahead->chunk_rows; r < first + count; r += ahead->chunk_rows) {
    hsize_t at[H5S_MAX_RANK] = {(hsize_t)r}, bytes = 0;
    haddr_t address = HADDR_UNDEF;
    unsigned filters;
    if (H5Dget_chunk_info_by_coord(ahead->data_set, at, &filters, &address, &bytes) < 0 || address == HADDR_UNDEF)
      return;
    advise_bytes(ahead, (int64_t)address, (int64_t)bytes);
  }
}
