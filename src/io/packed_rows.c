/* See packed_rows.h. Chunks that a rank holds in part go to rank 0 as plain rows: at most two for each rank and call.
 */
#include "packed_rows.h"

#include <stdbool.h>

#include "comm/waiting.h"
#include "io/hdf5/hdf5_util.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Chunks of about this size: large enough to pack well, small enough to be shared out among ranks. */
static const int64_t CHUNK_BYTES = (int64_t)1 << 20;

/* Rank 0 keeps chunks open that several ranks fill. */
static const size_t CACHE_BYTES = (size_t)16 << 20;

/* Floats are shuffled first; higher levels cost several times as much for a few per cent. */
enum { DEFLATE_LEVEL = 1, CACHE_SLOTS = 521 };

static int fail(const packed_rows *p) { return reap_h5_path_error(p->path, p->name); }

static int64_t row_bytes(const packed_rows *p) { return p->width * (int64_t)H5Tget_size(p->memory_type); }

static int create_in(hid_t parent, const packed_rows *p, int64_t rows, H5D_fill_time_t fill, hid_t *dataset) {
  const hsize_t dims[2] = {(hsize_t)rows, (hsize_t)p->width}, chunk[2] = {(hsize_t)p->chunk_rows, (hsize_t)p->width};
  hid_t space = H5Screate_simple(p->rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE),
        access = H5Pcreate(H5P_DATASET_ACCESS);
  if (space >= 0 && list >= 0 && access >= 0 && H5Pset_chunk(list, p->rank, chunk) >= 0 && H5Pset_shuffle(list) >= 0 &&
      H5Pset_deflate(list, DEFLATE_LEVEL) >= 0 && H5Pset_fill_time(list, fill) >= 0 &&
      H5Pset_chunk_cache(access, CACHE_SLOTS, CACHE_BYTES, 1) >= 0)
    *dataset = H5Dcreate2(parent, p->name, p->file_type, space, H5P_DEFAULT, list, access);
  int status = *dataset < 0 ? fail(p) : REAP_OK;
  reap_h5_close(&access);
  reap_h5_close(&list);
  reap_h5_close(&space);
  return status;
}

int reap_packed_rows_create(hid_t parent, packed_rows *p) {
  int64_t rows = CHUNK_BYTES / row_bytes(p);
  if (rows > p->rows) rows = p->rows;
  p->chunk_rows = rows < 1 ? 1 : rows;
  p->dataset = REAP_H5_NONE;
  return parent == REAP_H5_NONE ? REAP_OK : create_in(parent, p, p->rows, H5D_FILL_TIME_NEVER, &p->dataset);
}

/* ------------------------------------------------------------------ what a rank holds */

/* Rows before, in and behind the chunks that are held in full; the last one of the data set may be short. */
typedef struct parts {
  int64_t head, chunks, full, tail; /* full: rows of all `chunks` */
} parts;

static parts divide(const packed_rows *p, int64_t first, int64_t count) {
  const int64_t end = first + count, chunk = p->chunk_rows, from = (first + chunk - 1) / chunk * chunk;
  const int64_t to = end == p->rows ? end : end / chunk * chunk;
  if (from >= to) { /* none in full: the rows lie in one chunk, or in two neighbours */
    const int64_t head = from < end ? from - first : count;
    return (parts){head, 0, 0, count - head};
  }
  return (parts){from - first, (to - from + chunk - 1) / chunk, to - from, end - to};
}

/* Chunks as they go into the file, one behind the other. */
typedef struct pack {
  int64_t *sizes; /* [2 * chunks] bytes of each, and which filters were left out */
  unsigned char *bytes;
} pack;

static void pack_clear(pack *k) {
  reap_free(&k->sizes);
  reap_free(&k->bytes);
}

static int take_chunks(const packed_rows *p, hid_t dataset, int64_t chunks, pack *k) {
  int64_t total = 0;
  REAP_TRY(reap_alloc(&k->sizes, 2 * chunks, sizeof *k->sizes));
  for (int64_t i = 0; i < chunks; i++) {
    const hsize_t at[2] = {(hsize_t)(i * p->chunk_rows), 0};
    hsize_t bytes = 0;
    if (H5Dget_chunk_storage_size(dataset, at, &bytes) < 0) return fail(p);
    k->sizes[2 * i] = (int64_t)bytes;
    total += (int64_t)bytes;
  }
  REAP_TRY(reap_alloc(&k->bytes, total, 1));
  unsigned char *to = k->bytes;
  for (int64_t i = 0; i < chunks; i++) {
    const hsize_t at[2] = {(hsize_t)(i * p->chunk_rows), 0};
    uint32_t left_out = 0;
    if (H5Dread_chunk(dataset, H5P_DEFAULT, at, &left_out, to) < 0) return fail(p);
    k->sizes[2 * i + 1] = left_out;
    to += k->sizes[2 * i];
  }
  return REAP_OK;
}

static int write_rows(const packed_rows *p, hid_t dataset, int64_t first, int64_t count, const void *values) {
  const hsize_t start[2] = {(hsize_t)first, 0}, sizes[2] = {(hsize_t)count, (hsize_t)p->width};
  hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(p->rank, sizes, NULL);
  const bool done = space >= 0 && memory >= 0 &&
                    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
                    H5Dwrite(dataset, p->memory_type, memory, space, H5P_DEFAULT, values) >= 0;
  const int status = done ? REAP_OK : fail(p);
  reap_h5_close(&memory);
  reap_h5_close(&space);
  return status;
}

/* Packs `rows` rows that begin with a chunk's first; where the last chunk is short, zeros fill it. */
static int pack_rows(const packed_rows *p, int64_t rows, int64_t chunks, const void *values, pack *k) {
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = REAP_H5_NONE, dataset = REAP_H5_NONE;
  int status = REAP_OK;
  if (chunks == 0) goto done;
  if (access >= 0 && H5Pset_fapl_core(access, (size_t)CHUNK_BYTES, false) >= 0)
    file = H5Fcreate("/dev/null/memory", H5F_ACC_TRUNC, H5P_DEFAULT, access); /* a name that no file can have */
  if (file < 0) status = fail(p);
  if (status == REAP_OK) status = create_in(file, p, chunks * p->chunk_rows, H5D_FILL_TIME_ALLOC, &dataset);
  if (status == REAP_OK) status = write_rows(p, dataset, 0, rows, values);
  if (status == REAP_OK && H5Dflush(dataset) < 0) status = fail(p);
  if (status == REAP_OK) status = take_chunks(p, dataset, chunks, k);
done:
  reap_h5_close(&dataset);
  reap_h5_close(&file);
  reap_h5_close(&access);
  return status;
}

/* ------------------------------------------------------------------ into the file, on rank 0 */

static int reap_store_rows(const packed_rows *p, int64_t first, int64_t count, const void *values) {
  const int status = count > 0 ? write_rows(p, p->dataset, first, count, values) : REAP_OK;
  const int written = reap_h5_written(p->dataset); /* the cause, if it failed */
  return written != REAP_OK ? written : status;
}

static int store_chunk(const packed_rows *p, int64_t first, const int64_t size[2], const void *bytes) {
  const hsize_t at[2] = {(hsize_t)first, 0};
  if (H5Dwrite_chunk(p->dataset, H5P_DEFAULT, (uint32_t)size[1], at, (size_t)size[0], bytes) < 0)
    return reap_h5_error(p->dataset, p->name);
  return reap_h5_written(p->dataset);
}

/* ------------------------------------------------------------------ from the others to rank 0 */

/* Head and tail as rows, chunks packed: no message is larger than this. */
static int64_t largest_message(const packed_rows *p) {
  const int64_t chunk = p->chunk_rows * row_bytes(p);
  return chunk + chunk / 256 + (1 << 12); /* what cannot be packed grows a little */
}

static int send(const reap_comm *comm, const void *bytes, int64_t count) {
  return REAP_COMM_CALL("what is to be written", MPI_Send, bytes, (int)count, MPI_BYTE, 0, 0, reap_comm_mpi(comm));
}

static int receive(const reap_comm *comm, int from, void *bytes, int64_t count) {
  return REAP_COMM_CALL("what is to be written", MPI_Recv, bytes, (int)count, MPI_BYTE, from, 0, reap_comm_mpi(comm),
                        MPI_STATUS_IGNORE);
}

static int send_all(const reap_comm *comm, const packed_rows *p, int64_t first, const parts *at, const char *values,
                    const pack *k) {
  const int64_t row = row_bytes(p), head[4] = {first, at->head, at->chunks, at->tail};
  REAP_TRY(send(comm, head, sizeof head));
  if (at->head > 0) REAP_TRY(send(comm, values, at->head * row));
  const unsigned char *next = k->bytes;
  for (int64_t i = 0; i < at->chunks; i++) {
    REAP_TRY(send(comm, &k->sizes[2 * i], 2 * sizeof *k->sizes));
    REAP_TRY(send(comm, next, k->sizes[2 * i]));
    next += k->sizes[2 * i];
  }
  return at->tail > 0 ? send(comm, values + (at->head + at->full) * row, at->tail * row) : REAP_OK;
}

/* Takes everything that a rank sends, also when it can no longer be stored: the sender waits. `stored`: the status so
 * far of storing. */
static int receive_all(const reap_comm *comm, const packed_rows *p, int from, void *message, int stored) {
  int64_t head[4], size[2];
  REAP_TRY(receive(comm, from, head, sizeof head));
  int64_t at = head[0];
  if (head[1] > 0) {
    REAP_TRY(receive(comm, from, message, head[1] * row_bytes(p)));
    if (stored == REAP_OK) stored = reap_store_rows(p, at, head[1], message);
    at += head[1];
  }
  for (int64_t i = 0; i < head[2]; i++, at += p->chunk_rows) {
    REAP_TRY(receive(comm, from, size, sizeof size));
    REAP_TRY(receive(comm, from, message, size[0]));
    if (stored == REAP_OK) stored = store_chunk(p, at, size, message);
  }
  if (head[3] > 0) {
    REAP_TRY(receive(comm, from, message, head[3] * row_bytes(p)));
    if (stored == REAP_OK) stored = reap_store_rows(p, at, head[3], message);
  }
  return stored;
}

int reap_packed_rows_write(const reap_comm *comm, const packed_rows *p, int64_t first, int64_t count,
                           const void *values) {
  const bool writer = reap_comm_rank(comm) == 0;
  const parts at = divide(p, first, count);
  unsigned char *message = NULL;
  pack k = {NULL, NULL};
  int status = REAP_OK;
  if (writer) {
    status = reap_alloc(&message, largest_message(p), 1);
    if (status == REAP_OK) status = reap_store_rows(p, first, count, values); /* packs while the others do */
  } else {
    status = pack_rows(p, at.full, at.chunks, (const char *)values + at.head * row_bytes(p), &k);
  }
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && !writer) status = send_all(comm, p, first, &at, values, &k);
  const int senders = status == REAP_OK && writer ? reap_comm_size(comm) - 1 : 0;
  for (int r = 1; r <= senders; r++) status = receive_all(comm, p, r, message, status);
  pack_clear(&k);
  reap_free(&message);
  return reap_comm_agree(comm, status);
}
