/* External data: tensors kept in files beside the model. Names and ranges come from the model and are not trusted. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name_table.h"
#include "onnx_message.h"
#include "onnx_unused.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Most models keep all tensors in one file: it stays open from one tensor to the next. */
typedef struct folder {
  reap_source *source;
  int fd;              /* of the model's folder */
  int data;            /* open data file, or -1 */
  int64_t size;        /* of the data file */
  char *location;      /* its name */
  reap_name_list seen; /* names of all data files opened */
  reap_name_table *known;
  int64_t files;  /* their bytes, each counted once */
  int64_t loaded; /* bytes of all tensors read */
} folder;

/* Tensors may share a stretch of a file, but not any number of them: bytes read at most, fixed and for each byte of the
 * files. */
static const int64_t LOADED = (int64_t)64 << 20, LOADED_SHARE = 4;

static int open_folder(const char *path, folder *f) {
  char *name = NULL;
  const char *slash = strrchr(path, '/');
  if (slash)
    REAP_TRY(reap_strndup(&name, path, slash == path ? 1 : (size_t)(slash - path)));
  else
    REAP_TRY(reap_strdup(&name, "."));
  f->fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int status = REAP_OK;
  if (f->fd < 0) status = reap_error_system("its folder %s cannot be opened", name);
  reap_free(&name);
  return status;
}

static void close_data(folder *f) {
  if (f->data >= 0) close(f->data);
  f->data = -1;
  reap_free(&f->location);
}

static int refuse(const char *location, const char *reason) {
  return reap_error(REAP_ERR_INPUT, "external data \"%s\": %s", location, reason);
}

static int open_error(const char *location) {
  if (errno == ELOOP || errno == ENOTDIR || errno == EMLINK)
    return refuse(location, "is reached through a symbolic link; put the file itself beside the model");
  if (errno == ENOENT) return refuse(location, "the file does not exist; copy it with the model");
  return reap_error_system("external data \"%s\"", location);
}

/* Walks down from the model's folder, one component at a time, following no link. */
static int open_below(folder *f, const char *location, int *out) {
  int at = f->fd, status = REAP_OK;
  for (const char *part = location; status == REAP_OK;) {
    size_t length = strcspn(part, "/");
    char name[NAME_MAX + 1];
    if (length == 0 || length > NAME_MAX || (length == 2 && memcmp(part, "..", 2) == 0)) {
      status = refuse(location, "only names below the model's folder are read");
      break;
    }
    memcpy(name, part, length);
    name[length] = '\0';
    bool last = part[length] == '\0';
    int next = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY));
    if (next < 0) status = open_error(location);
    if (at != f->fd) close(at);
    at = next;
    if (last) break;
    part += length + 1;
  }
  if (status == REAP_OK)
    *out = at;
  else if (at >= 0 && at != f->fd)
    close(at);
  return status;
}

/* Its name, from where the program is. */
static int remember_file(reap_source *source, const char *location) {
  const char *slash = strrchr(source->path, '/');
  char *name = NULL;
  REAP_TRY(reap_format(&name, "%.*s%s", slash ? (int)(slash + 1 - source->path) : 0, source->path, location));
  int status = reap_onnx_append(&source->external, &source->n_external, name);
  if (status != REAP_OK) reap_free(&name);
  return status;
}

static int note_file(folder *f, const char *location) {
  if (reap_name_table_find(f->known, location) >= 0) return REAP_OK;
  if (!f->known) REAP_TRY(reap_name_table_create(&f->known));
  REAP_TRY(reap_name_list_add(&f->seen, location));
  REAP_TRY(remember_file(f->source, location));
  f->files += f->size;
  return reap_name_table_set(f->known, f->seen.names[f->seen.count - 1], 0);
}

static int check_room(folder *f, const char *location, int64_t bytes) {
  const int64_t most = LOADED + LOADED_SHARE * f->files;
  if (bytes > most - f->loaded)
    return reap_error(REAP_ERR_INPUT,
                      "external data \"%s\": %.3g MB and the tensors before are more than %lld times the size of the "
                      "data files; export the model again, each tensor with data of its own",
                      location, (double)bytes / 1e6, (long long)LOADED_SHARE);
  f->loaded += bytes;
  return REAP_OK;
}

static int open_data(folder *f, const char *location) {
  if (f->location && strcmp(f->location, location) == 0) return REAP_OK;
  close_data(f);
  REAP_TRY(open_below(f, location, &f->data));
  struct stat about;
  if (fstat(f->data, &about) != 0 || !S_ISREG(about.st_mode)) return refuse(location, "is not a regular file");
  f->size = (int64_t)about.st_size;
  REAP_TRY(note_file(f, location));
  return reap_strdup(&f->location, location);
}

static int parse_number(const char *location, const char *key, const char *text, int64_t *out) {
  int64_t value = 0;
  for (const char *c = text; *c; c++)
    if (*c < '0' || *c > '9' || __builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, *c - '0', &value))
      return reap_error(REAP_ERR_INPUT, "external data \"%s\": %s \"%s\" is not a count of bytes", location, key, text);
  *out = value;
  return REAP_OK;
}

static const char *find_entry(const ReapOnnx__TensorProto *proto, const char *key) {
  for (size_t i = 0; i < proto->n_external_data; i++)
    if (strcmp(reap_onnx_text(proto->external_data[i]->key), key) == 0)
      return reap_onnx_text(proto->external_data[i]->value);
  return NULL;
}

static int read_range(folder *f, int64_t offset, int64_t bytes, uint8_t *to) {
  for (int64_t done = 0; done < bytes;) {
    ssize_t n = pread(f->data, to + done, (size_t)(bytes - done), (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return reap_error_system("external data \"%s\"", f->location);
    if (n == 0) return refuse(f->location, "ended while it was read");
    done += n;
  }
  return REAP_OK;
}

/* The data are in raw_data now: the message says so from here on. */
static void embed(ReapOnnx__TensorProto *proto, uint8_t *data, int64_t bytes) {
  if (proto->has_raw_data) reap_free(&proto->raw_data.data);
  proto->has_raw_data = 1;
  proto->raw_data.data = data;
  proto->raw_data.len = (size_t)bytes;
  for (size_t i = 0; i < proto->n_external_data; i++) reap_onnx_free_part(&proto->external_data[i]->base);
  reap_free(&proto->external_data);
  proto->n_external_data = 0;
  proto->has_data_location = 0;
  proto->data_location = REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
}

static int load_tensor(folder *f, ReapOnnx__TensorProto *proto, reap_hash *hash) {
  const char *location = find_entry(proto, "location");
  if (!location || !*location) return reap_error(REAP_ERR_INPUT, "its external data have no location");
  if (*location == '/') return refuse(location, "only names below the model's folder are read");
  int64_t bytes = 0, offset = 0, length = 0;
  REAP_TRY(reap_onnx_tensor_bytes(proto, &bytes));
  const char *offset_text = find_entry(proto, "offset"), *length_text = find_entry(proto, "length");
  if (offset_text) REAP_TRY(parse_number(location, "offset", offset_text, &offset));
  length = bytes;
  if (length_text) REAP_TRY(parse_number(location, "length", length_text, &length));
  if (length != bytes)
    return reap_error(REAP_ERR_INPUT, "external data \"%s\": length %lld, but the dimensions need %lld bytes", location,
                      (long long)length, (long long)bytes);
  REAP_TRY(open_data(f, location));
  if (offset > f->size || bytes > f->size - offset)
    return reap_error(REAP_ERR_INPUT,
                      "external data \"%s\": %lld bytes from byte %lld are wanted, the file ends at %lld", location,
                      (long long)bytes, (long long)offset, (long long)f->size);
  uint8_t *data = NULL;
  REAP_TRY(check_room(f, location, bytes));
  REAP_TRY(reap_alloc(&data, bytes, 1));
  int status = read_range(f, offset, bytes, data);
  if (status == REAP_OK) status = reap_hash_add(hash, data, (size_t)bytes);
  if (status == REAP_OK)
    embed(proto, data, bytes);
  else
    reap_free(&data);
  return status;
}

static int load_if_external(folder *f, ReapOnnx__TensorProto *proto, const char *name, reap_hash *hash) {
  if (!proto->has_data_location || proto->data_location != REAP_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return REAP_OK;
  if (f->fd < 0) REAP_TRY(open_folder(f->source->path, f));
  return reap_error_prefix(load_tensor(f, proto, hash), "tensor \"%s\"", reap_onnx_text(name));
}

int reap_onnx_load_external(reap_source *source, reap_hash *hash) {
  folder f = {.source = source, .fd = -1, .data = -1};
  ReapOnnx__GraphProto *graph = source->model->graph;
  int status = REAP_OK;
  for (size_t i = 0; i < graph->n_initializer; i++)
    REAP_TRY_OR(load_if_external(&f, graph->initializer[i], graph->initializer[i]->name, hash), done);
  for (size_t i = 0; i < graph->n_node; i++) {
    const ReapOnnx__NodeProto *node = graph->node[i];
    for (size_t a = 0; a < node->n_attribute; a++)
      if (node->attribute[a]->t) REAP_TRY_OR(load_if_external(&f, node->attribute[a]->t, node->name, hash), done);
  }
done:
  close_data(&f);
  reap_name_table_destroy(&f.known);
  reap_name_list_clear(&f.seen);
  if (f.fd >= 0) close(f.fd);
  return status;
}
