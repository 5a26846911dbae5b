/* The frame of an encoded ONNX message. protobuf-c recurses once per nested message without a limit, merges singular
 * messages that appear twice, and makes blocks of a hundred bytes of empty messages of two; all this is decided here,
 * before it sees a file from a stranger. */
#include <string.h>

#include "onnx_message.h"
#include "reap/error.h"

/* Deeper than any model: a subgraph within a subgraph adds four levels. */
enum { MAX_DEPTH = 64 };

/* Bytes that the message may take unpacked: a fixed amount, and a multiple of the file; and what a block costs besides.
 */
static const int64_t ROOM = (int64_t)48 << 20, ROOM_SHARE = 8, BLOCK = 48;

typedef struct cursor {
  const uint8_t *start, *at, *end; /* of the file, within it, of the present message */
  int64_t *room;                   /* bytes left to unpacked parts */
} cursor;

static int damaged(const cursor *c, const char *reason) {
  return reap_error(REAP_ERR_INPUT, "is not an ONNX file, or damaged (%s at byte %lld); export or copy it again",
                    reason, (long long)(c->at - c->start));
}

static int read_varint(cursor *c, uint64_t *out) {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (c->at == c->end) return damaged(c, "cut short");
    uint8_t byte = *c->at++;
    value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
    if (!(byte & 0x80)) {
      *out = value;
      return REAP_OK;
    }
  }
  return damaged(c, "a number without an end");
}

/* Steps over a value; *length is its size if the wire type carries one. */
static int skip_value(cursor *c, unsigned wire, uint64_t *length) {
  uint64_t number = 0;
  switch (wire) {
    case 0:
      return read_varint(c, &number);
    case 1:
      *length = 8;
      break;
    case 2:
      REAP_TRY(read_varint(c, length));
      break;
    case 5:
      *length = 4;
      break;
    default:
      return damaged(c, "an unknown wire type");
  }
  if (*length > (uint64_t)(c->end - c->at)) return damaged(c, "cut short");
  c->at += *length;
  return REAP_OK;
}

/* Takes what a field of `length` bytes becomes from the room. A repeated one is a pointer in an array, too; numbers
 * grow to eight bytes. */
static int take_room(cursor *c, const ProtobufCFieldDescriptor *field, uint64_t length) {
  if (field->type == PROTOBUF_C_TYPE_MESSAGE)
    *c->room -= BLOCK + (int64_t)sizeof(void *) +
                (int64_t)((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message;
  else if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES)
    *c->room -= BLOCK + (int64_t)sizeof(void *) + (int64_t)length;
  if (*c->room >= 0) return REAP_OK;
  return reap_error(
      REAP_ERR_INPUT,
      "has so many parts that they would take %lld times the size of the file and %lld MB (at byte %lld); "
      "simplify the model (onnxsim, say)",
      (long long)ROOM_SHARE, (long long)(ROOM >> 20), (long long)(c->at - c->start));
}

/* Recursion is bounded by MAX_DEPTH. */
static int scan_message(const ProtobufCMessageDescriptor *type, cursor *c, int depth) {
  if (depth > MAX_DEPTH) return damaged(c, "messages nested too deeply");
  uint64_t seen = 0;
  while (c->at < c->end) {
    uint64_t key = 0, length = 0;
    REAP_TRY(read_varint(c, &key));
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff) return damaged(c, "an impossible field number");
    REAP_TRY(skip_value(c, (unsigned)(key & 7), &length));
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
    if (field) REAP_TRY(take_room(c, field, length));
    if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
    if ((key & 7) != 2) return damaged(c, "a field of the wrong type");
    uint64_t bit = (uint64_t)1 << ((size_t)(field - type->fields) % 64);
    if (field->label != PROTOBUF_C_LABEL_REPEATED && (seen & bit)) return damaged(c, "a field that appears twice");
    seen |= bit;
    cursor inner = {c->start, c->at - length, c->at, c->room};
    REAP_TRY(scan_message(field->descriptor, &inner, depth + 1));
  }
  return REAP_OK;
}

int reap_onnx_scan(const uint8_t *data, size_t size) {
  int64_t room = ROOM + ROOM_SHARE * (int64_t)size;
  cursor all = {data, data, data + size, &room};
  return scan_message(&reap_onnx__model_proto__descriptor, &all, 0);
}
