/* Writing the message as an ONNX file, straight from its parts: no second copy of the weights is made.
 *
 * protobuf ends at 2 GB. The data of the initialisers of a larger network go to a second file beside it, one behind the
 * other, each from a multiple of ALIGNMENT on, so that runtimes can map them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/files/durable.h"
#include "io/files/file_identity.h"
#include "onnx_message.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

/* Tensors of fewer bytes stay in the message: shapes and the like, which runtimes want there. */
enum { ALIGNMENT = 4096, SMALL = 1024 };

/* A buffer of protobuf-c that goes to a file. */
typedef struct file_buffer {
  ProtobufCBuffer base; /* first: protobuf-c passes its address */
  FILE *file;
  int error; /* errno of the first failure */
} file_buffer;

static void append_to_file(ProtobufCBuffer *buffer, size_t length, const uint8_t *data) {
  file_buffer *to = (file_buffer *)(void *)buffer;
  if (to->error || length == 0) return;
  errno = 0;
  if (fwrite(data, 1, length, to->file) != length) to->error = errno ? errno : EIO;
}

static int pack_to_file(const ReapOnnx__ModelProto *model, const char *path, const char *temporary) {
  size_t size = protobuf_c_message_get_packed_size(&model->base);
  REAP_TRY(reap_error_prefix(reap_onnx_check_size(size), "%s", path));
  FILE *file = fopen(temporary, "wb");
  if (!file) return reap_durable_error(path, "cannot be created");
  file_buffer buffer = {{append_to_file}, file, 0};
  size_t written = protobuf_c_message_pack_to_buffer(&model->base, &buffer.base);
  if (fclose(file) != 0 && !buffer.error) buffer.error = errno;
  errno = buffer.error;
  if (buffer.error) return reap_durable_error(path, "cannot be written");
  if (written != size) return reap_error(REAP_ERR_INTERNAL, "%s: %zu bytes were packed, not %zu", path, written, size);
  return REAP_OK;
}

/* ------------------------------------------------------------------ data in a second file */

static bool moves_out(const ReapOnnx__TensorProto *tensor) {
  return tensor->has_raw_data && tensor->raw_data.len >= SMALL;
}

static size_t padding(size_t at) { return (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT; }

static int write_data(const ReapOnnx__GraphProto *graph, const char *path, const char *temporary) {
  static const uint8_t zeros[ALIGNMENT];
  FILE *file = fopen(temporary, "wb");
  if (!file) return reap_durable_error(path, "cannot be created");
  file_buffer buffer = {{append_to_file}, file, 0};
  size_t at = 0;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const ReapOnnx__TensorProto *tensor = graph->initializer[i];
    if (!moves_out(tensor)) continue;
    append_to_file(&buffer.base, padding(at), zeros);
    append_to_file(&buffer.base, tensor->raw_data.len, tensor->raw_data.data);
    at += padding(at) + tensor->raw_data.len;
  }
  if (fclose(file) != 0 && !buffer.error) buffer.error = errno;
  errno = buffer.error;
  return buffer.error ? reap_durable_error(path, "cannot be written") : REAP_OK;
}

static int add_entry(ReapOnnx__TensorProto *tensor, const char *key, const char *value) {
  return reap_onnx_append_entry(&tensor->external_data, &tensor->n_external_data, key, value);
}

/* Where the data are is said in place of them. */
static int point_out(ReapOnnx__TensorProto *tensor, const char *location, size_t at) {
  char offset[32], length[32];
  snprintf(offset, sizeof offset, "%zu", at);
  snprintf(length, sizeof length, "%zu", tensor->raw_data.len);
  REAP_TRY(add_entry(tensor, "location", location));
  REAP_TRY(add_entry(tensor, "offset", offset));
  REAP_TRY(add_entry(tensor, "length", length));
  tensor->has_raw_data = 0;
  tensor->has_data_location = 1;
  tensor->data_location = REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  return REAP_OK;
}

static int point_all_out(const ReapOnnx__GraphProto *graph, const char *location) {
  size_t at = 0;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    ReapOnnx__TensorProto *tensor = graph->initializer[i];
    if (!moves_out(tensor)) continue;
    at += padding(at);
    REAP_TRY(point_out(tensor, location, at));
    at += tensor->raw_data.len;
  }
  return REAP_OK;
}

/* The message has its data again. */
static void point_back(const ReapOnnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; i++) {
    ReapOnnx__TensorProto *tensor = graph->initializer[i];
    for (size_t k = 0; k < tensor->n_external_data; k++) reap_onnx_free_part(&tensor->external_data[k]->base);
    reap_free(&tensor->external_data);
    tensor->n_external_data = 0;
    if (!tensor->has_data_location || tensor->data_location != REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
      continue;
    tensor->has_data_location = 0;
    tensor->data_location = REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    tensor->has_raw_data = 1;
  }
}

static int refuse_same(const char *data, const char *read) {
  reap_file_identity a, b;
  bool same = false;
  REAP_TRY(reap_file_identify(data, &a));
  REAP_TRY(reap_file_identify(read, &b));
  REAP_TRY(reap_file_same(data, &a, read, &b, &same));
  if (!same) return REAP_OK;
  return reap_error(REAP_ERR_INPUT,
                    "%s: the network is read from this file, which would have to hold the data of the "
                    "one that is written; give that another name",
                    data);
}

/* Nothing that the network is read from is written over. */
static int check_data_file(const reap_source *source, const char *data) {
  REAP_TRY(refuse_same(data, source->path));
  for (size_t i = 0; i < source->n_external; i++) REAP_TRY(refuse_same(data, source->external[i]));
  return REAP_OK;
}

/* An old network with new data would be a wrong one: it goes first. */
static int commit_both(char **data_temporary, const char *data, char **temporary, const char *path) {
  char *old = NULL;
  REAP_TRY(reap_durable_target(path, &old));
  const bool gone = access(data, F_OK) != 0 || unlink(old) == 0 || errno == ENOENT;
  reap_free(&old);
  if (!gone) return reap_durable_error(path, "cannot be replaced");
  REAP_TRY(reap_durable_commit(data_temporary, data));
  return reap_durable_commit(temporary, path);
}

static int write_in_two(const reap_source *source, const char *path, const char *data) {
  const ReapOnnx__GraphProto *graph = source->model->graph;
  const char *slash = strrchr(data, '/');
  char *temporary = NULL, *data_temporary = NULL;
  REAP_TRY(check_data_file(source, data));
  int status = reap_durable_begin(data, &data_temporary);
  if (status == REAP_OK) status = reap_durable_begin(path, &temporary);
  if (status == REAP_OK) status = write_data(graph, data, data_temporary);
  if (status == REAP_OK) status = point_all_out(graph, slash ? slash + 1 : data);
  if (status == REAP_OK) status = pack_to_file(source->model, path, temporary);
  point_back(graph);
  if (status == REAP_OK) status = commit_both(&data_temporary, data, &temporary, path);
  reap_durable_abandon(&temporary);
  reap_durable_abandon(&data_temporary);
  if (status == REAP_OK)
    reap_log(REAP_LOG_INFO, "%s: the weights are too large for one ONNX file; they are in %s, which belongs to it",
             path, data);
  return status;
}

/* ------------------------------------------------------------------ in one file */

static int write_in_one(const reap_source *source, const char *path) {
  char *temporary = NULL;
  REAP_TRY(reap_durable_begin(path, &temporary));
  int status = pack_to_file(source->model, path, temporary);
  if (status == REAP_OK) return reap_durable_commit(&temporary, path);
  reap_durable_abandon(&temporary);
  return status;
}

int reap_source_write_onnx_within(const reap_source *source, const char *path, int64_t most) {
  char *data = NULL;
  if (protobuf_c_message_get_packed_size(&source->model->base) <= (size_t)most) return write_in_one(source, path);
  REAP_TRY(reap_format(&data, "%s.data", path));
  const int status = write_in_two(source, path, data);
  reap_free(&data);
  return status;
}

int reap_source_write_onnx(const reap_source *source, const char *path) {
  return reap_source_write_onnx_within(source, path, REAP_ONNX_MAX_BYTES);
}
