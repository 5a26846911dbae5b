/* Fields of a message that this version does not define: protobuf keeps them apart, by number. */
#include <string.h>

#include "onnx_message.h"
#include "reap/error.h"

/* Fields of newer ONNX versions than the description that reap is built with may have, and that change nothing in what
 * is computed here: metadata, and what belongs to functions and to the distribution over devices. */
static const struct {
  const char *message;
  uint32_t field;
} harmless[] = {{"ModelProto", 26},    {"ValueInfoProto", 4}, {"NodeProto", 8},     {"NodeProto", 9},
                {"NodeProto", 10},     {"GraphProto", 16},    {"TensorProto", 16},  {"FunctionProto", 11},
                {"FunctionProto", 12}, {"FunctionProto", 13}, {"FunctionProto", 14}};

static bool is_harmless(const char *message, uint32_t field) {
  for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
    if (harmless[i].field == field && strcmp(harmless[i].message, message) == 0) return true;
  return false;
}

/* Messages in a field: *count of them at the address given back, or none. */
static ProtobufCMessage *const *messages_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                            size_t *count) {
  const char *base = (const char *)message;
  void *const *at = (void *const *)(const void *)(base + field->offset);
  *count = 0;
  if (field->type != PROTOBUF_C_TYPE_MESSAGE) return NULL;
  if (field->label == PROTOBUF_C_LABEL_REPEATED) {
    memcpy(count, base + field->quantifier_offset, sizeof *count);
    return (ProtobufCMessage *const *)*at;
  }
  int chosen = (int)field->id;
  if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) memcpy(&chosen, base + field->quantifier_offset, sizeof chosen);
  *count = chosen == (int)field->id && *at;
  return (ProtobufCMessage *const *)at;
}

/* Nesting is bounded: see reap_onnx_scan(). */
int reap_onnx_check_fields(const ProtobufCMessage *message) {
  const ProtobufCMessageDescriptor *type = message->descriptor;
  for (unsigned i = 0; i < message->n_unknown_fields; i++)
    if (!is_harmless(type->short_name, message->unknown_fields[i].tag))
      return reap_error(REAP_ERR_INPUT, "field %u of %s, which this version of reap does not know",
                        message->unknown_fields[i].tag, type->short_name);
  for (unsigned i = 0; i < type->n_fields; i++) {
    size_t count = 0;
    ProtobufCMessage *const *inner = messages_of(message, &type->fields[i], &count);
    for (size_t k = 0; k < count; k++) REAP_TRY(reap_onnx_check_fields(inner[k]));
  }
  return REAP_OK;
}
