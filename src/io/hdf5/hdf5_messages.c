/* See hdf5_messages.h. Every number that says how much is to be read is held against the bytes that there are, as the
 * format's specification lays them out; values that the library checks by itself are left to it. Cost: one pass over
 * the message. A message of an unknown kind or version counts as sound: the library does not read it. */
#include "hdf5_messages.h"

#include <stddef.h>
#include <string.h>

enum { MOST_DEPTH = 32, MOST_RANK = 32, MOST_FILTERS = 32 };

/* ------------------------------------------------------------------ bytes */

static uint64_t left(const message_bytes *b) { return (uint64_t)(b->end - b->at); }

bool reap_message_skip(message_bytes *b, uint64_t count) {
  if (count > left(b)) {
    b->lacks = true;
    count = left(b);
  }
  b->at += count;
  return !b->lacks;
}

uint64_t reap_message_take(message_bytes *b, int count) {
  const unsigned char *from = b->at;
  uint64_t value = 0;
  if (!reap_message_skip(b, (uint64_t)count)) return 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | from[i];
  return value;
}

uint64_t reap_message_take_address(message_bytes *b) {
  const int width = b->widths.address;
  const uint64_t value = reap_message_take(b, width), none = width < 8 ? ((uint64_t)1 << 8 * width) - 1 : UINT64_MAX;
  return value == none ? 0 : value;
}

static uint64_t padded(uint64_t count) { return (count + 7) / 8 * 8; }

/* A name up to its zero, and to the next multiple of 8 bytes if `pads`. */
static void skip_name(message_bytes *b, bool pads) {
  const unsigned char *zero = memchr(b->at, 0, (size_t)left(b));
  const uint64_t count = zero ? (uint64_t)(zero - b->at) + 1 : left(b) + 1;
  reap_message_skip(b, pads ? padded(count) : count);
}

/* ------------------------------------------------------------------ types */

/* Bytes that HDF5 takes for an offset in a compound of so many bytes. */
static int offset_width(uint64_t size) {
  int width = 1;
  while (size >>= 8) width++;
  return width;
}

static uint64_t take_type(message_bytes *b, int depth);

static void skip_members(message_bytes *b, int version, uint64_t count, uint64_t size, int depth) {
  for (uint64_t i = 0; i < count && !b->lacks; i++) {
    skip_name(b, version < 3);
    reap_message_skip(b, version < 3 ? 4 : (uint64_t)offset_width(size));
    if (version == 1) reap_message_skip(b, 4 + 4 + 4 + 4 * 4); /* rank, permutation, reserved, dimensions */
    take_type(b, depth + 1);
  }
}

static void skip_enumeration(message_bytes *b, int version, uint64_t count, int depth) {
  const uint64_t size = take_type(b, depth + 1);
  for (uint64_t i = 0; i < count && !b->lacks; i++) skip_name(b, version < 3);
  reap_message_skip(b, count * size);
}

static void skip_array(message_bytes *b, int version, int depth) {
  const uint64_t rank = reap_message_take(b, 1);
  if (rank > MOST_RANK) b->lacks = true;
  reap_message_skip(b, version < 3 ? 3 + rank * 8 : rank * 4); /* reserved, dimensions, permutation; or dimensions */
  take_type(b, depth + 1);
}

/* HDF5 always gives variable-length data the size of a reference (length, address, number). */
static void skip_variable(message_bytes *b, uint64_t size, int depth) {
  if (size != 8 + (uint64_t)b->widths.address) b->lacks = true;
  take_type(b, depth + 1);
}

/* Skips a type and returns the bytes of an element. */
static uint64_t take_type(message_bytes *b, int depth) {
  const uint64_t head = reap_message_take(b, 4), size = reap_message_take(b, 4), bits = head >> 8;
  const int version = (int)(head >> 4 & 15);
  if (depth == MOST_DEPTH) b->lacks = true;
  if (b->lacks) return 0;
  switch (head & 15) {
    case 0: /* integer: bit offset, precision */
    case 4: /* bits */
      reap_message_skip(b, 4);
      break;
    case 1: /* float */
      reap_message_skip(b, 12);
      break;
    case 2: /* time: precision */
      reap_message_skip(b, 2);
      break;
    case 5: /* opaque: tag */
      reap_message_skip(b, bits & 255);
      break;
    case 6:
      skip_members(b, version, bits & 65535, size, depth);
      break;
    case 8:
      skip_enumeration(b, version, bits & 65535, depth);
      break;
    case 9:
      skip_variable(b, size, depth);
      break;
    case 10:
      skip_array(b, version, depth);
      break;
    default: /* strings and references have nothing more */
      break;
  }
  return b->lacks ? 0 : size;
}

/* ------------------------------------------------------------------ parts of messages */

/* What stands in place of a message, or of a part of it, that lies elsewhere. Those in the file's own heap of messages
 * have no address. */
static void take_shared(message_bytes *b, message_facts *facts) {
  const uint64_t version = reap_message_take(b, 1), kind = reap_message_take(b, 1);
  if (version == 1) reap_message_skip(b, 6 + (uint64_t)b->widths.length);
  if (version >= 3 && kind == 1)
    reap_message_skip(b, 8);
  else
    facts->shared = reap_message_take_address(b);
}

static uint64_t times(uint64_t a, uint64_t b) { return a && b > UINT64_MAX / a ? UINT64_MAX : a * b; }

/* Skips a shape and returns the number of elements. */
static uint64_t take_space(message_bytes *b) {
  const uint64_t version = reap_message_take(b, 1), rank = reap_message_take(b, 1), flags = reap_message_take(b, 1);
  const uint64_t kind = reap_message_take(b, 1);
  uint64_t count = 1;
  if (version == 1) reap_message_skip(b, 4);
  if (rank > MOST_RANK) b->lacks = true;
  for (uint64_t i = 0; i < rank && !b->lacks; i++) count = times(count, reap_message_take(b, b->widths.length));
  if (flags & 1) reap_message_skip(b, rank * (uint64_t)b->widths.length);
  return version > 1 && kind == 2 ? 0 : count; /* 2: no elements */
}

/* The next `count` bytes, by themselves. */
static message_bytes take_part(message_bytes *b, uint64_t count, bool pads) {
  message_bytes part = *b;
  part.end = part.at + count;
  reap_message_skip(b, pads ? padded(count) : count);
  return part;
}

bool reap_message_elements_fit(const message_facts *facts, uint64_t element) {
  return element == 0 || facts->elements <= facts->room / element;
}

static const char *check_attribute(message_bytes *b, message_facts *facts) {
  const uint64_t version = reap_message_take(b, 1), flags = reap_message_take(b, 1);
  const uint64_t name = reap_message_take(b, 2), type = reap_message_take(b, 2), space = reap_message_take(b, 2);
  const bool pads = version == 1;
  if (version < 1 || version > 3) return "it has an unknown version";
  if (version == 3) reap_message_skip(b, 1);
  if (name <= left(b) && memchr(b->at, 0, (size_t)name)) facts->attribute = (const char *)b->at;
  if (b->lacks || (pads ? padded(name) + padded(type) + padded(space) : name + type + space) > left(b))
    return "its parts are longer than the message";
  if (!facts->attribute) return "its name does not end";
  take_part(b, name, pads);
  message_bytes part = take_part(b, type, pads);
  if (!pads && flags & 1)
    take_shared(&part, facts);
  else
    facts->element = take_type(&part, 0);
  if (part.lacks) return "its type is longer than the bytes for it";
  part = take_part(b, space, pads);
  facts->room = left(b);
  if (!pads && flags & 2)
    reap_message_skip(&part, 2);
  else
    facts->elements = take_space(&part);
  if (part.lacks) return "its shape is longer than the bytes for it, or has more than 32 dimensions";
  return reap_message_elements_fit(facts, facts->element) ? NULL : "its values are longer than the message";
}

static const char *check_fill(message_bytes *b) {
  const uint64_t version = reap_message_take(b, 1);
  bool has_value;
  if (!b->lacks && (version < 1 || version > 3)) return NULL;
  if (version == 3) {
    has_value = reap_message_take(b, 1) & 0x20;
  } else {
    reap_message_skip(b, 2);
    has_value = reap_message_take(b, 1) != 0;
  }
  const uint64_t size = has_value ? reap_message_take(b, 4) : 0;
  if (size <= INT32_MAX) reap_message_skip(b, size); /* otherwise: -1, there is none */
  return b->lacks ? "the fill value is longer than the message" : NULL;
}

static void skip_old_layout(message_bytes *b) {
  const uint64_t rank = reap_message_take(b, 1), kind = reap_message_take(b, 1);
  reap_message_skip(b, 5);
  if (kind != 0) reap_message_take_address(b);
  reap_message_skip(b, rank * 4);
  if (kind == 0) reap_message_skip(b, reap_message_take(b, 4));
}

/* The index of the chunks. */
static void skip_index(message_bytes *b, uint64_t flags) {
  static const int bytes[] = {0, 0, 0, 1, 5, 6};
  const uint64_t kind = reap_message_take(b, 1);
  if (kind == 1 && flags & 2)
    reap_message_skip(b, (uint64_t)b->widths.length + 4);
  else if (kind < sizeof bytes / sizeof bytes[0])
    reap_message_skip(b, (uint64_t)bytes[kind]);
}

static void skip_chunks(message_bytes *b, uint64_t version) {
  if (version == 3) {
    const uint64_t rank = reap_message_take(b, 1);
    reap_message_skip(b, (uint64_t)b->widths.address + rank * 4);
    return;
  }
  const uint64_t flags = reap_message_take(b, 1), rank = reap_message_take(b, 1), width = reap_message_take(b, 1);
  reap_message_skip(b, rank * width);
  skip_index(b, flags);
  reap_message_take_address(b);
}

static const char *check_layout(message_bytes *b) {
  const uint64_t version = reap_message_take(b, 1);
  if (version == 1 || version == 2) skip_old_layout(b);
  if (version == 3 || version == 4) {
    const uint64_t kind = reap_message_take(b, 1);
    if (kind == 0) reap_message_skip(b, reap_message_take(b, 2));
    if (kind == 1) reap_message_skip(b, (uint64_t)b->widths.address + (uint64_t)b->widths.length);
    if (kind == 2) skip_chunks(b, version);
    if (kind == 3) reap_message_skip(b, (uint64_t)b->widths.address + 4);
  }
  return b->lacks ? "the layout is longer than the message" : NULL;
}

static const char *check_filters(message_bytes *b) {
  const uint64_t version = reap_message_take(b, 1), count = reap_message_take(b, 1);
  if (version == 1) reap_message_skip(b, 6);
  if (count > MOST_FILTERS) return "it has too many filters";
  for (uint64_t i = 0; i < count && !b->lacks; i++) {
    const uint64_t filter = reap_message_take(b, 2), name = version == 1 || filter >= 256 ? reap_message_take(b, 2) : 0;
    reap_message_skip(b, 2); /* flags */
    const uint64_t values = reap_message_take(b, 2);
    if (name > left(b)) return "a filter's name is longer than the message";
    if (name > 0 && !memchr(b->at, 0, (size_t)name)) return "a filter's name does not end";
    reap_message_skip(b, name);
    reap_message_skip(b, 4 * (version == 1 ? values + values % 2 : values));
  }
  return b->lacks ? "the filters are longer than the message" : NULL;
}

static const char *check_link(message_bytes *b) {
  reap_message_skip(b, 1); /* version */
  const uint64_t flags = reap_message_take(b, 1), kind = flags & 8 ? reap_message_take(b, 1) : 0;
  if (flags & 4) reap_message_skip(b, 8);
  if (flags & 16) reap_message_skip(b, 1);
  reap_message_skip(b, reap_message_take(b, 1 << (flags & 3)));
  if (kind == 0)
    reap_message_take_address(b);
  else
    reap_message_skip(b, reap_message_take(b, 2));
  return b->lacks ? "a link is longer than the message" : NULL;
}

/* Files that hold the data. */
static const char *check_external(message_bytes *b) {
  reap_message_skip(b, 1 + 3 + 2);
  const uint64_t used = reap_message_take(b, 2);
  reap_message_take_address(b);
  reap_message_skip(b, used * 3 * (uint64_t)b->widths.length);
  return b->lacks ? "the list of files is longer than the message" : NULL;
}

/* Flags decide which of the addresses and numbers are there. */
static const char *check_group(int kind, message_bytes *b) {
  const uint64_t address = (uint64_t)b->widths.address;
  if (kind == 0x11) {
    reap_message_skip(b, 2 * address);
  } else {
    reap_message_skip(b, 1); /* version */
    const uint64_t flags = reap_message_take(b, 1);
    const uint64_t first = kind == 0x0A ? 4 : kind == 0x02 ? 8 : 2, second = kind == 0x0A ? 4 : address;
    reap_message_skip(b, (flags & 1 ? first : 0) + (flags & 2 ? second : 0) + (kind == 0x0A ? 0 : 2 * address));
  }
  return b->lacks ? "a message about links or attributes is too short" : NULL;
}

/* ------------------------------------------------------------------ a message */

const char *reap_message_check(int kind, int flags, message_bytes bytes, message_facts *facts) {
  message_bytes *b = &bytes;
  *facts = (message_facts){NULL, 0, 0, 0, 0};
  if (flags & 2) {
    take_shared(b, facts);
    return b->lacks ? "a reference to a message elsewhere is too short" : NULL;
  }
  switch (kind) {
    case 0x01:
      take_space(b);
      return b->lacks ? "the shape is longer than the message, or has more than 32 dimensions" : NULL;
    case MESSAGE_TYPE:
      facts->element = take_type(b, 0);
      return b->lacks ? "the type is longer than the message" : NULL;
    case 0x04:
      reap_message_skip(b, reap_message_take(b, 4));
      return b->lacks ? "the fill value is longer than the message" : NULL;
    case 0x05:
      return check_fill(b);
    case 0x06:
      return check_link(b);
    case 0x07:
      return check_external(b);
    case 0x08:
      return check_layout(b);
    case 0x0B:
      return check_filters(b);
    case 0x0C:
      return check_attribute(b, facts);
    case 0x02: /* links */
    case 0x0A: /* a group */
    case 0x11: /* a group of the old form */
    case 0x15: /* attributes */
      return check_group(kind, b);
    default:
      return NULL;
  }
}
