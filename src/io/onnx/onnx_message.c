#include "onnx_message.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

static void *allocate(void *data, size_t size) {
  void *block = NULL;
  if (size > INT64_MAX || reap_alloc(&block, (int64_t)size, 1) != REAP_OK) {
    *(bool *)data = true;
    return NULL;
  }
  return block;
}

static void release(void *data, void *block) {
  (void)data;
  reap_free(&block);
}

ProtobufCAllocator reap_onnx_allocator(bool *failed) {
  *failed = false;
  ProtobufCAllocator allocator = {allocate, release, failed};
  return allocator;
}

void reap_onnx_free_part(ProtobufCMessage *message) {
  if (!message) return;
  bool failed;
  ProtobufCAllocator allocator = reap_onnx_allocator(&failed);
  protobuf_c_message_free_unpacked(message, &allocator);
}

void reap_onnx_free(ReapOnnx__ModelProto **model) {
  if (*model) reap_onnx_free_part(&(*model)->base);
  *model = NULL;
}

bool reap_onnx_default_domain(const char *domain) { return !domain || !*domain || strcmp(domain, "ai.onnx") == 0; }

bool reap_onnx_opset(const ReapOnnx__ModelProto *model, int64_t *version) {
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const ReapOnnx__OperatorSetIdProto *opset = model->opset_import[i];
    if (!reap_onnx_default_domain(opset->domain) || !opset->has_version) continue;
    *version = opset->version;
    return true;
  }
  return false;
}

const char *reap_onnx_text(const char *text) { return text ? text : ""; }

int reap_onnx_append(void *array, size_t *count, void *item) {
  REAP_TRY(reap_grow(array, (int64_t)*count, (int64_t)*count + 1, sizeof item));
  void **items;
  memcpy(&items, array, sizeof items);
  items[(*count)++] = item;
  return REAP_OK;
}

int reap_onnx_append_entry(void *entries, size_t *count, const char *key, const char *value) {
  ReapOnnx__StringStringEntryProto *entry = NULL;
  REAP_TRY(reap_alloc(&entry, 1, sizeof *entry));
  reap_onnx__string_string_entry_proto__init(entry);
  int status = reap_strdup(&entry->key, key);
  if (status == REAP_OK) status = reap_strdup(&entry->value, value);
  if (status == REAP_OK) status = reap_onnx_append(entries, count, entry);
  if (status != REAP_OK) reap_onnx_free_part(&entry->base);
  return status;
}

int reap_onnx_check_size(size_t bytes) {
  if (bytes <= (size_t)REAP_ONNX_MAX_BYTES) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "the ONNX message would have %.2f GB, and ONNX files end at 2 GB; prune more",
                    (double)bytes / 1e9);
}

int reap_onnx_pack(const ReapOnnx__ModelProto *model, uint8_t **out, size_t *size) {
  size_t bytes = protobuf_c_message_get_packed_size(&model->base);
  REAP_TRY(reap_onnx_check_size(bytes));
  REAP_TRY(reap_alloc(out, (int64_t)bytes, 1));
  *size = protobuf_c_message_pack(&model->base, *out);
  return REAP_OK;
}
