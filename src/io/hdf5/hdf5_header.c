/* See hdf5_header.h. A header is a prefix and chunks of messages; version 1 has neither signatures nor checksums.
 * A continuation message names a further chunk: these are put into a list and read one by one. Sound chunks do not
 * overlap, so that their sum is at most the bytes of the file; this ends loops. Cost: one read of the file's head,
 * one of the prefix and one for each chunk. */
#include "hdf5_header.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "hdf5_messages.h"
#include "io/files/file_bytes.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { HEAD = 128, PREFIX = 64, MOST_CHUNKS = 1 << 16, CHECKSUM = 4, SIGNATURE = 4 };

/* What the file's head ("superblock") tells. */
typedef struct file_head {
  int descriptor;
  uint64_t bytes, base; /* base: all addresses count from here */
  message_widths widths;
  uint64_t root, extension; /* 0: none */
  bool usable;              /* false: the library refuses the file */
} file_head;

typedef struct chunk {
  uint64_t begin, bytes; /* of messages; `begin` counts from the base */
} chunk;

typedef struct walk {
  const file_head *file;
  uint64_t header; /* address */
  int version, message_head;
  chunk *chunks;
  int64_t count, capacity;
  uint64_t seen;    /* bytes of all chunks */
  bool follows;     /* types shared with other objects are checked, too */
  uint64_t element; /* bytes of an element of the object's type, once it is known */
} walk;

/* ------------------------------------------------------------------ the file's head */

static bool find_head(file_head *f, unsigned char bytes[HEAD]) {
  static const char signature[8] = "\211HDF\r\n\032\n";
  struct stat about;
  if (fstat(f->descriptor, &about) != 0) return false;
  f->bytes = (uint64_t)about.st_size;
  for (f->base = 0; f->base < f->bytes; f->base = f->base ? 2 * f->base : 512) {
    if (reap_bytes_read(f->descriptor, bytes, HEAD, (int64_t)f->base) != 0) return false;
    if (memcmp(bytes, signature, sizeof signature) == 0) return true;
  }
  return false;
}

static bool is_width(int width) { return width == 2 || width == 4 || width == 8; }

static int read_head(int descriptor, file_head *f) {
  unsigned char bytes[HEAD] = {0};
  *f = (file_head){.descriptor = descriptor};
  if (!find_head(f, bytes) || bytes[8] > 3) return REAP_OK;
  const bool old = bytes[8] < 2;
  const unsigned char *widths = bytes + (old ? 13 : 9);
  f->widths = (message_widths){widths[0], widths[1]};
  if (!is_width(widths[0]) || !is_width(widths[1]))
    return reap_error(REAP_ERR_INPUT, "its head is damaged: addresses of %d bytes and lengths of %d", widths[0],
                      widths[1]);
  message_bytes b = {bytes + (old ? 24 + 4 * (bytes[8] == 1) : 12), bytes + HEAD, f->widths, false};
  const uint64_t base =
      reap_message_take_address(&b); /* HDF5 goes by the place of the signature, too, if they differ */
  f->extension = reap_message_take_address(&b);
  if (old) f->extension = 0; /* a list of free space */
  const uint64_t end = reap_message_take_address(&b);
  if (old) reap_message_skip(&b, (uint64_t)widths[0] + (uint64_t)widths[1]); /* driver, offset of a name */
  f->root = reap_message_take_address(&b);
  f->usable = end - base + f->base <= f->bytes;
  return REAP_OK;
}

/* ------------------------------------------------------------------ chunks */

static int damaged(const walk *w, const char *what) {
  return reap_error(REAP_ERR_INPUT, "its header at byte %llu is damaged: %s; copy or write the file again",
                    (unsigned long long)(w->file->base + w->header), what);
}

static int damaged_message(const walk *w, const char *attribute, const char *what) {
  if (!attribute) return damaged(w, what);
  return reap_error(REAP_ERR_INPUT,
                    "its header at byte %llu is damaged: attribute \"%s\": %s; copy or write the file again",
                    (unsigned long long)(w->file->base + w->header), attribute, what);
}

static bool lies_inside(const file_head *f, uint64_t begin, uint64_t bytes) {
  const uint64_t room = f->bytes - f->base;
  return begin < room && bytes <= room - begin;
}

static int add_chunk(walk *w, uint64_t begin, uint64_t bytes) {
  if (!lies_inside(w->file, begin, bytes)) return damaged(w, "a part of it lies outside the file");
  w->seen += bytes;
  if (w->seen > w->file->bytes || w->count == MOST_CHUNKS) return damaged(w, "its parts overlap");
  if (w->count == w->capacity) {
    const int64_t more = w->capacity ? 2 * w->capacity : 4;
    REAP_TRY(reap_grow(&w->chunks, w->capacity, more, sizeof *w->chunks));
    w->capacity = more;
  }
  w->chunks[w->count++] = (chunk){begin, bytes};
  return REAP_OK;
}

static int add_continuation(walk *w, message_bytes b) {
  uint64_t begin = reap_message_take_address(&b), bytes = reap_message_take(&b, w->file->widths.length);
  const uint64_t around = w->version == 1 ? 0 : SIGNATURE + CHECKSUM;
  if (b.lacks || begin == 0 || bytes <= around) return damaged(w, "a part of it has no place or size");
  return add_chunk(w, begin + (w->version == 1 ? 0 : SIGNATURE), bytes - around);
}

/* ------------------------------------------------------------------ messages */

static int check_object(const file_head *f, uint64_t header, bool follows, uint64_t *element);

/* The type lies in the header of another object. */
static int check_shared(const walk *w, const message_facts *facts) {
  uint64_t element = 0;
  if (!w->follows || facts->shared == 0) return REAP_OK;
  REAP_TRY(check_object(w->file, facts->shared, false, &element));
  if (reap_message_elements_fit(facts, element)) return REAP_OK;
  return damaged_message(w, facts->attribute, "its values are longer than the message");
}

static int check_message(walk *w, int kind, int flags, message_bytes bytes) {
  message_facts facts;
  if (kind == MESSAGE_CONTINUATION) return add_continuation(w, bytes);
  const char *what = reap_message_check(kind, flags, bytes, &facts);
  if (what) return damaged_message(w, facts.attribute, what);
  if (kind == MESSAGE_TYPE) w->element = facts.element;
  return check_shared(w, &facts);
}

static int check_messages(walk *w, message_bytes b) {
  while (b.end - b.at >= w->message_head) {
    const int kind = (int)reap_message_take(&b, w->version == 1 ? 2 : 1);
    const uint64_t size = reap_message_take(&b, 2);
    const int flags = (int)reap_message_take(&b, 1);
    reap_message_skip(&b, (uint64_t)w->message_head - (w->version == 1 ? 5 : 4));
    message_bytes body = b;
    if (!reap_message_skip(&b, size)) return damaged(w, "a message is longer than its part of the header");
    body.end = b.at;
    REAP_TRY(check_message(w, kind, flags, body));
  }
  return REAP_OK;
}

static int check_chunk(walk *w, chunk c) {
  unsigned char *bytes = NULL;
  REAP_TRY(reap_alloc(&bytes, (int64_t)c.bytes, 1));
  int status = REAP_OK;
  if (reap_bytes_read(w->file->descriptor, bytes, (size_t)c.bytes, (int64_t)(w->file->base + c.begin)) != 0)
    status = damaged(w, "it cannot be read");
  if (status == REAP_OK) status = check_messages(w, (message_bytes){bytes, bytes + c.bytes, w->file->widths, false});
  reap_free(&bytes);
  return status;
}

/* ------------------------------------------------------------------ an object */

static int begin_version_1(walk *w, message_bytes b) {
  reap_message_skip(&b, 1 + 1 + 2 + 4); /* version, reserved, numbers of messages and of links */
  w->version = 1;
  w->message_head = 8;
  return add_chunk(w, w->header + 16, reap_message_take(&b, 4));
}

static int begin_version_2(walk *w, message_bytes b) {
  const unsigned char *begin = b.at;
  reap_message_skip(&b, SIGNATURE + 1);
  const uint64_t flags = reap_message_take(&b, 1);
  if (flags & 0x20) reap_message_skip(&b, 4 * 4); /* times */
  if (flags & 0x10) reap_message_skip(&b, 2 * 2); /* numbers of attributes at which their storage changes */
  const uint64_t bytes = reap_message_take(&b, 1 << (flags & 3));
  w->version = 2;
  w->message_head = flags & 4 ? 6 : 4; /* with the order of creation */
  return add_chunk(w, w->header + (uint64_t)(b.at - begin), bytes);
}

static int begin(walk *w) {
  unsigned char bytes[PREFIX];
  const message_bytes b = {bytes, bytes + PREFIX, w->file->widths, false};
  if (!lies_inside(w->file, w->header, 16)) return damaged(w, "it lies outside the file");
  if (reap_bytes_read(w->file->descriptor, bytes, PREFIX, (int64_t)(w->file->base + w->header)) != 0)
    return damaged(w, "it cannot be read");
  if (memcmp(bytes, "OHDR\2", 5) == 0) return begin_version_2(w, b);
  return bytes[0] == 1 ? begin_version_1(w, b) : damaged(w, "it does not begin as one");
}

static int check_object(const file_head *f, uint64_t header, bool follows, uint64_t *element) {
  walk w = {.file = f, .header = header, .follows = follows};
  int status = begin(&w);
  for (int64_t i = 0; status == REAP_OK && i < w.count; i++) status = check_chunk(&w, w.chunks[i]);
  *element = w.element;
  reap_free(&w.chunks);
  return status;
}

int reap_h5_check_root(int descriptor) {
  file_head f;
  uint64_t element;
  REAP_TRY(read_head(descriptor, &f));
  if (!f.usable) return REAP_OK;
  if (f.extension != 0) REAP_TRY(check_object(&f, f.extension, true, &element));
  return check_object(&f, f.root, true, &element);
}

int reap_h5_check_header(int descriptor, uint64_t address) {
  file_head f;
  uint64_t element;
  REAP_TRY(read_head(descriptor, &f));
  return f.usable ? check_object(&f, address, true, &element) : REAP_OK;
}
