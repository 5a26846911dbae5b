/* Reading an ONNX file without a second copy of its weights.
 *
 * protobuf-c unpacks a message from memory and copies what it finds there, so that a file read whole takes twice its
 * size. Here the large tensors' bytes are read from the file straight to where they stay, and protobuf-c unpacks what
 * is left of the file, in which these tensors are empty; then they get their bytes. A file that is not plainly what it
 * should be is read whole, so that what is wrong with it is told as ever.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "onnx_message.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Data of a tensor that are not unpacked by protobuf-c: from so many bytes on. */
enum { LARGE = 1 << 12, CHUNK = 1 << 16 };

/* Field numbers of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data. */
enum { GRAPH, TENSOR_LIST, TENSOR };
static const uint64_t WAY[] = {7, 5, 9};

typedef struct bytes {
  uint8_t *data;
  int64_t size, capacity;
} bytes;

/* Data of initialiser `index`. */
typedef struct large_data {
  int64_t index, length;
  uint8_t *data;
} large_data;

typedef struct stream {
  int fd;
  int64_t at, size; /* bytes taken, bytes of the file */
  uint8_t *chunk;   /* [CHUNK] read ahead, of which chunk[used .. filled-1] are not taken yet */
  int64_t used, filled;
  reap_hash *hash;        /* of all that was read */
  int64_t n_initializers; /* seen so far */
  int64_t n_large, capacity_large;
  large_data *large;
  bool strange; /* not what a sound file looks like */
} stream;

static int read_into(stream *s, uint8_t *to, int64_t count) {
  for (int64_t done = 0; done < count;) {
    ssize_t n = read(s->fd, to + done, (size_t)(count - done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return reap_error_system("cannot be read");
    if (n == 0) return reap_error(REAP_ERR_INPUT, "ended while it was read");
    done += n;
  }
  return reap_hash_add(s->hash, to, (size_t)count);
}

/* The next bytes of the file; there are that many. */
static int take(stream *s, uint8_t *to, int64_t count) {
  const int64_t ahead = s->filled - s->used, first = count < ahead ? count : ahead;
  memcpy(to, s->chunk + s->used, (size_t)first);
  s->used += first;
  s->at += first;
  to += first;
  count -= first;
  if (count == 0) return REAP_OK;
  const int64_t left = s->size - s->at;
  if (count < CHUNK) {
    s->used = 0;
    s->filled = left < CHUNK ? left : CHUNK;
    REAP_TRY(read_into(s, s->chunk, s->filled));
    return take(s, to, count);
  }
  s->at += count;
  return read_into(s, to, count);
}

static int reserve(bytes *b, int64_t more) {
  if (b->size + more <= b->capacity) return REAP_OK;
  const int64_t capacity = 2 * (b->size + more) + 256;
  REAP_TRY(reap_grow(&b->data, b->size, capacity, 1));
  b->capacity = capacity;
  return REAP_OK;
}

static int put_number(bytes *b, uint64_t value) {
  REAP_TRY(reserve(b, 10));
  for (; value >= 0x80; value >>= 7) b->data[b->size++] = (uint8_t)(value | 0x80);
  b->data[b->size++] = (uint8_t)value;
  return REAP_OK;
}

/* Takes bytes and puts them behind `to`. */
static int pass(stream *s, int64_t count, bytes *to) {
  REAP_TRY(reserve(to, count));
  REAP_TRY(take(s, to->data + to->size, count));
  to->size += count;
  return REAP_OK;
}

static int take_number(stream *s, int64_t end, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    uint8_t byte = 0;
    if (s->at == end) break;
    REAP_TRY(take(s, &byte, 1));
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return REAP_OK;
  }
  s->strange = true; /* numbers below zero have ten bytes; they are passed on elsewhere */
  return REAP_OK;
}

/* A number that only has to be passed on, of up to ten bytes. */
static int pass_number(stream *s, int64_t end, bytes *to) {
  for (int k = 0; k < 10; k++) {
    if (s->at == end) break;
    REAP_TRY(pass(s, 1, to));
    if (!(to->data[to->size - 1] & 0x80)) return REAP_OK;
  }
  s->strange = true;
  return REAP_OK;
}

/* The data of the initialiser that is being read. */
static int take_large(stream *s, int64_t length) {
  if (s->n_large == s->capacity_large) {
    const int64_t capacity = 2 * s->capacity_large + 16;
    REAP_TRY(reap_grow(&s->large, s->n_large, capacity, sizeof *s->large));
    s->capacity_large = capacity;
  }
  large_data *last = &s->large[s->n_large];
  *last = (large_data){.index = s->n_initializers, .length = length};
  REAP_TRY(reap_alloc(&last->data, length, 1));
  s->n_large++;
  return take(s, last->data, length);
}

static int pass_message(stream *s, int level, int64_t end, bytes *to);

/* A field with a length, whose key has been passed on. */
static int pass_field(stream *s, int level, uint64_t field, int64_t end, bytes *to) {
  uint64_t length = 0;
  REAP_TRY(take_number(s, end, &length));
  s->strange = s->strange || length > (uint64_t)(end - s->at);
  const bool on_way = field == WAY[level];
  if (on_way && level == TENSOR && s->n_large > 0 && s->large[s->n_large - 1].index == s->n_initializers)
    s->strange = true; /* it has data already, and the last count */
  if (s->strange) return REAP_OK;
  if (on_way && level == TENSOR && length >= LARGE) {
    REAP_TRY(put_number(to, 0));
    return take_large(s, (int64_t)length);
  }
  if (!on_way || level == TENSOR) {
    REAP_TRY(put_number(to, length));
    return pass(s, (int64_t)length, to);
  }
  bytes inner = {NULL, 0, 0};
  int status = pass_message(s, level + 1, s->at + (int64_t)length, &inner);
  if (status == REAP_OK && !s->strange) status = put_number(to, (uint64_t)inner.size);
  if (status == REAP_OK && !s->strange) status = reserve(to, inner.size);
  if (status == REAP_OK && !s->strange && inner.size > 0) {
    memcpy(to->data + to->size, inner.data, (size_t)inner.size);
    to->size += inner.size;
  }
  s->n_initializers += level == TENSOR_LIST;
  reap_free(&inner.data);
  return status;
}

/* Passes a message on that ends at byte `end`, but for the data of large initialisers. */
static int pass_message(stream *s, int level, int64_t end, bytes *to) {
  while (s->at < end && !s->strange) {
    uint64_t key = 0;
    REAP_TRY(take_number(s, end, &key));
    if (s->strange) return REAP_OK;
    const int64_t fixed = (key & 7) == 1 ? 8 : 4;
    REAP_TRY(put_number(to, key));
    switch (key & 7) {
      case 0:
        REAP_TRY(pass_number(s, end, to));
        break;
      case 2:
        REAP_TRY(pass_field(s, level, key >> 3, end, to));
        break;
      case 1:
      case 5:
        s->strange = fixed > end - s->at;
        if (!s->strange) REAP_TRY(pass(s, fixed, to));
        break;
      default:
        s->strange = true;
    }
  }
  return REAP_OK;
}

/* Gives the initialisers their data. */
static int embed(stream *s, ReapOnnx__GraphProto *graph) {
  if ((int64_t)graph->n_initializer != s->n_initializers)
    return reap_error(REAP_ERR_INTERNAL, "%zu initialisers were unpacked, not %lld", graph->n_initializer,
                      (long long)s->n_initializers);
  for (int64_t k = 0; k < s->n_large; k++) {
    ReapOnnx__TensorProto *tensor = graph->initializer[s->large[k].index];
    if (tensor->raw_data.len > 0) reap_free(&tensor->raw_data.data); /* the same numbers in another field: not read */
    tensor->raw_data.data = s->large[k].data;
    tensor->raw_data.len = (size_t)s->large[k].length;
    tensor->has_raw_data = 1;
    s->large[k].data = NULL;
  }
  return REAP_OK;
}

static void close_stream(stream *s) {
  for (int64_t k = 0; k < s->n_large; k++) reap_free(&s->large[k].data);
  reap_free(&s->large);
  reap_free(&s->chunk);
}

/* *out stays NULL if the file is strange. */
static int read_in_parts(int fd, int64_t size, reap_hash *hash, ReapOnnx__ModelProto **out) {
  stream s = {.fd = fd, .size = size, .hash = hash};
  bytes rest = {NULL, 0, 0};
  int status = reap_alloc(&s.chunk, CHUNK, 1);
  if (status == REAP_OK) status = pass_message(&s, GRAPH, size, &rest);
  if (status == REAP_OK && !s.strange) {
    status = reap_onnx_unpack(rest.data, (size_t)rest.size, out);
    if (status == REAP_ERR_INPUT) { /* places in the file are told from the whole of it */
      s.strange = true;
      status = REAP_OK;
    }
  }
  if (status == REAP_OK && !s.strange) status = embed(&s, (*out)->graph);
  reap_free(&rest.data);
  close_stream(&s);
  return status;
}

static int read_whole(int fd, int64_t size, reap_hash *hash, ReapOnnx__ModelProto **out) {
  stream s = {.fd = fd, .size = size, .hash = hash};
  uint8_t *data = NULL;
  if (lseek(fd, 0, SEEK_SET) != 0) return reap_error_system("cannot be read");
  REAP_TRY(reap_alloc(&data, size, 1));
  int status = read_into(&s, data, size);
  if (status == REAP_OK) status = reap_onnx_unpack(data, (size_t)size, out);
  reap_free(&data);
  return status;
}

int reap_onnx_read(int fd, int64_t size, reap_hash **hash, ReapOnnx__ModelProto **out) {
  *out = NULL;
  REAP_TRY(reap_hash_create(hash));
  REAP_TRY(read_in_parts(fd, size, *hash, out));
  if (*out) return REAP_OK;
  reap_hash_destroy(hash);
  REAP_TRY(reap_hash_create(hash));
  return read_whole(fd, size, *hash, out);
}
