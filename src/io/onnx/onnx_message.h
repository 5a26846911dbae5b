/* Private to src/io: the ONNX message of a source, and what its readers and writers share. Local calls.
 *
 * All parts of a message live in blocks from reap_alloc() (protobuf-c is given an allocator that calls it). So parts
 * may be added with reap_alloc/reap_strdup and dropped with reap_free, memory is counted like all other, and a failed
 * allocation can be distinguished from a malformed message.
 */
#ifndef REAP_IO_ONNX_ONNX_MESSAGE_H
#define REAP_IO_ONNX_ONNX_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "onnx.pb-c.h"
#include "source.h"

/* protobuf counts the bytes of a message with a signed 32-bit integer. */
#define REAP_ONNX_MAX_BYTES ((int64_t)INT32_MAX)

struct reap_source {
  char *path;
  char hash[REAP_HASH_LENGTH];
  ReapOnnx__ModelProto *model;
  size_t *places; /* [n_node] of the nodes that are left: place in the file's list */
  char **dead;    /* [n_dead] titles of those that were left out, owned; see onnx_dead.h */
  size_t n_dead;
  bool edited;     /* reap_source_apply() was called */
  char **external; /* [n_external] names of the files that external data were read from */
  size_t n_external;
};

/* The message as a graph, unprepared; see reap_source_graph(). places[nodes]: of the nodes in the file; NULL: as they
 * stand. Errors are without the file's name. */
int reap_onnx_graph(const ReapOnnx__ModelProto *model, const size_t *places, reap_graph **out);

/* Names reap as the maker of an edited network, and notes who was before. */
int reap_source_note_maker(reap_source *source);

/* The allocator for protobuf-c calls; *failed is set when memory runs out. */
ProtobufCAllocator reap_onnx_allocator(bool *failed);

/* Checks the frame of an encoded message before protobuf-c unpacks it: lengths, wire types, nesting that would
 * exhaust the stack, singular fields that appear twice. REAP_ERR_INPUT without the file's name. */
int reap_onnx_scan(const uint8_t *data, size_t size);

/* REAP_ERR_INPUT if the message or a part of it has a field that is not known here and may bear on what is computed. */
int reap_onnx_check_fields(const ProtobufCMessage *message);

/* Unpacks and validates a message of `size` bytes; errors are without the file's name. */
int reap_onnx_unpack(const uint8_t *data, size_t size, ReapOnnx__ModelProto **out);
void reap_onnx_free(ReapOnnx__ModelProto **model);

/* Reads, unpacks and validates a file of `size` bytes, each of which goes to a new hash: see onnx_stream.c. On failure
 * there may be a message or a hash to be freed as well; errors are without the file's name. */
int reap_onnx_read(int fd, int64_t size, reap_hash **hash, ReapOnnx__ModelProto **out);

void reap_onnx_free_part(ProtobufCMessage *message);

/* Reads external data, files below the source's folder, into the tensors; adds what was read to `hash`, the files to
 * the source. */
int reap_onnx_load_external(reap_source *source, reap_hash *hash);

/* Version of the default domain; false if the model names none. */
bool reap_onnx_opset(const ReapOnnx__ModelProto *model, int64_t *version);
bool reap_onnx_default_domain(const char *domain);

/* Bytes of a tensor's elements as raw_data; REAP_ERR_INPUT for a bad shape or a type without a fixed size. */
int reap_onnx_tensor_bytes(const ReapOnnx__TensorProto *proto, int64_t *bytes);

/* Converts a tensor; errors name the tensor. The caller owns the result. */
int reap_onnx_read_tensor(const ReapOnnx__TensorProto *proto, const char *name, reap_tensor **out);

/* Moves float_data of FLOAT tensors and int64_data of INT64 tensors into raw_data. */
void reap_onnx_normalise(ReapOnnx__TensorProto *proto);

/* A new tensor message with the data in raw_data; owned by the caller (reap_onnx_free_part) or what it is put into. */
int reap_onnx_make_tensor(const reap_tensor *tensor, const char *name, ReapOnnx__TensorProto **out);

/* True for float16 and bfloat16. Such tensors are read as float32. */
bool reap_onnx_is_half(int32_t type);

/* Converts a float32 tensor of reap_onnx_make_tensor() to `type` if that is float16 or bfloat16. REAP_ERR_NUMERIC
 * (without the tensor's name) if a number is too large for it. */
int reap_onnx_to_half(ReapOnnx__TensorProto *proto, int32_t type);

/* Name of an element type for messages: "float16". */
const char *reap_onnx_type_name(int32_t type);

/* "" for NULL. */
const char *reap_onnx_text(const char *text);

/* Appends to a repeated field, growing its array by one. */
int reap_onnx_append(void *array, size_t *count, void *item);

/* The same for a new entry of a key and a value, which are copied. */
int reap_onnx_append_entry(void *entries, size_t *count, const char *key, const char *value);

/* REAP_ERR_INPUT if a message of that size is larger than protobuf allows. */
int reap_onnx_check_size(size_t bytes);

/* Encoded message of a model in a new block. */
int reap_onnx_pack(const ReapOnnx__ModelProto *model, uint8_t **out, size_t *size);

#endif
