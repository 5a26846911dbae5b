/* Writing the message as an ONNX file, straight from its parts: no second copy of the weights is made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/files/durable.h"
#include "onnx_message.h"
#include "reap/error.h"
#include "reap/memory.h"

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

int reap_source_write_onnx(const reap_source *source, const char *path) {
  char *temporary = NULL;
  REAP_TRY(reap_durable_begin(path, &temporary));
  int status = pack_to_file(source->model, path, temporary);
  if (status == REAP_OK) return reap_durable_commit(&temporary, path);
  reap_durable_abandon(&temporary);
  return status;
}
