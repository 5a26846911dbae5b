/* Sources: telling the two kinds of model files apart, and the handle. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/onnx/onnx_dead.h"
#include "io/onnx/onnx_inline.h"
#include "io/onnx/onnx_message.h"
#include "model_format.h"
#include "reap/error.h"
#include "reap/memory.h"

static int open_model(const char *path, int *fd, int64_t *size) {
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) return reap_error_system("%s", path);
  struct stat about;
  const char *reason = NULL;
  if (fstat(*fd, &about) != 0)
    reason = strerror(errno);
  else if (!S_ISREG(about.st_mode))
    reason = "is not a regular file";
  else if (about.st_size == 0)
    reason = "is empty; export or copy it again";
  if (reason) return reap_error(REAP_ERR_INPUT, "%s: %s", path, reason);
  *size = (int64_t)about.st_size;
  return REAP_OK;
}

static bool is_hdf5(int fd) {
  static const uint8_t signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  uint8_t first[8];
  return pread(fd, first, sizeof first, 0) == (ssize_t)sizeof first && memcmp(first, signature, sizeof first) == 0;
}

static int load_onnx(reap_source *source, int fd, int64_t size) {
  if (size > REAP_ONNX_MAX_BYTES)
    return reap_error(REAP_ERR_INPUT, "%s: has %.2f GB, and ONNX files end at 2 GB; store the weights as external data",
                      source->path, (double)size / 1e9);
  reap_hash *hash = NULL;
  int status = reap_onnx_read(fd, size, &hash, &source->model);
  if (status == REAP_OK) status = reap_onnx_load_external(source, hash);
  if (status != REAP_OK) reap_error_prefix(status, "%s", source->path);
  if (status == REAP_OK) status = reap_hash_finish(&hash, source->hash);
  reap_hash_destroy(&hash);
  return status;
}

int reap_source_load(const char *path, reap_source **out) {
  reap_source *source = NULL;
  int fd = -1;
  int64_t size = 0;
  int status = open_model(path, &fd, &size);
  if (status == REAP_OK) status = reap_calloc(&source, 1, sizeof *source);
  if (status == REAP_OK) status = reap_strdup(&source->path, path);
  if (status == REAP_OK) status = is_hdf5(fd) ? reap_model_source_load(source) : load_onnx(source, fd, size);
  if (status == REAP_OK) status = reap_error_prefix(reap_onnx_inline(source->model), "%s", path);
  if (status == REAP_OK) status = reap_onnx_drop_dead(source);
  if (fd >= 0) close(fd);
  if (status == REAP_OK)
    *out = source;
  else if (source)
    reap_source_destroy(&source);
  return status;
}

void reap_source_destroy(reap_source **source) {
  if (!*source) return;
  for (size_t i = 0; i < (*source)->n_dead; i++) reap_free(&(*source)->dead[i]);
  reap_free(&(*source)->dead);
  reap_free(&(*source)->places);
  reap_onnx_free(&(*source)->model);
  for (size_t i = 0; i < (*source)->n_external; i++) reap_free(&(*source)->external[i]);
  reap_free(&(*source)->external);
  reap_free(&(*source)->path);
  reap_free(source);
}

const char *reap_source_path(const reap_source *source) { return source->path; }
const char *reap_source_hash(const reap_source *source) { return source->hash; }

int64_t reap_source_unused_count(const reap_source *source) { return (int64_t)source->n_dead; }
const char *reap_source_unused_node(const reap_source *source, int64_t index) { return source->dead[index]; }

int reap_source_unused_text(const reap_source *source, char **text) {
  const bool several = source->n_dead > 1;
  if (source->n_dead == 0) return REAP_OK;
  return reap_format(text, "%zu node%s that no output of the network needs %s left out: %s%s", source->n_dead,
                     several ? "s" : "", several ? "are" : "is", source->dead[0], several ? ", ..." : "");
}

int64_t reap_source_external_files(const reap_source *source) { return (int64_t)source->n_external; }
const char *reap_source_external_file(const reap_source *source, int64_t index) { return source->external[index]; }

/* Which nodes were left out, and where the others stood. */
static int copy_places(const reap_source *source, reap_source *copy) {
  const size_t nodes = source->model->graph->n_node;
  REAP_TRY(reap_alloc(&copy->places, (int64_t)nodes, sizeof *copy->places));
  if (nodes > 0) memcpy(copy->places, source->places, nodes * sizeof *copy->places);
  REAP_TRY(reap_calloc(&copy->dead, (int64_t)source->n_dead, sizeof *copy->dead));
  for (; copy->n_dead < source->n_dead; copy->n_dead++)
    REAP_TRY(reap_strdup(&copy->dead[copy->n_dead], source->dead[copy->n_dead]));
  return REAP_OK;
}

static int copy_external(const reap_source *source, reap_source *copy) {
  REAP_TRY(reap_calloc(&copy->external, (int64_t)source->n_external, sizeof *copy->external));
  for (; copy->n_external < source->n_external; copy->n_external++)
    REAP_TRY(reap_strdup(&copy->external[copy->n_external], source->external[copy->n_external]));
  return REAP_OK;
}

/* The copy's initialisers share the bytes of their data, which are left out of what is packed. */
static int copy_model(const reap_source *source, reap_source *copy) {
  const ReapOnnx__GraphProto *from = source->model->graph;
  uint8_t *data = NULL;
  size_t size = 0, *lengths = NULL;
  REAP_TRY(reap_alloc(&lengths, (int64_t)from->n_initializer, sizeof *lengths));
  for (size_t i = 0; i < from->n_initializer; i++) {
    lengths[i] = from->initializer[i]->raw_data.len;
    from->initializer[i]->raw_data.len = 0;
  }
  int status = reap_onnx_pack(source->model, &data, &size);
  for (size_t i = 0; i < from->n_initializer; i++) from->initializer[i]->raw_data.len = lengths[i];
  if (status == REAP_OK) status = reap_onnx_unpack(data, size, &copy->model);
  for (size_t i = 0; status == REAP_OK && i < from->n_initializer; i++) {
    ReapOnnx__TensorProto *to = copy->model->graph->initializer[i];
    if (lengths[i] == 0) continue;
    to->raw_data.data = reap_share(from->initializer[i]->raw_data.data);
    to->raw_data.len = lengths[i];
  }
  reap_free(&data);
  reap_free(&lengths);
  return status;
}

int reap_source_copy(const reap_source *source, reap_source **out) {
  reap_source *copy = NULL;
  if (source->edited) return reap_error(REAP_ERR_INTERNAL, "%s: a source is copied after it was edited", source->path);
  REAP_TRY(reap_calloc(&copy, 1, sizeof *copy));
  memcpy(copy->hash, source->hash, sizeof copy->hash);
  int status = reap_strdup(&copy->path, source->path);
  if (status == REAP_OK) status = copy_model(source, copy);
  if (status == REAP_OK) status = copy_places(source, copy);
  if (status == REAP_OK) status = copy_external(source, copy);
  if (status == REAP_OK)
    *out = copy;
  else
    reap_source_destroy(&copy);
  return status;
}
