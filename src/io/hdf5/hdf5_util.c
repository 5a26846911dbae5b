/* Files, errors, groups. */
#include "hdf5_util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hdf5_driver.h"
#include "hdf5_header.h"
#include "io/files/durable.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { NAME_LENGTH = 512, REASON_LENGTH = 800 };

static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *data) {
  if (n == 0 && error->desc) snprintf(data, REASON_LENGTH, "%s", error->desc);
  return 0;
}

/* Messages about system calls list all arguments, over two lines: of those the system's own words are enough. */
static void condense(char reason[REASON_LENGTH]) {
  static const char key[] = "error message = '";
  char *words = strstr(reason, key);
  char *end = words ? strchr(words + sizeof key - 1, '\'') : NULL;
  if (end) {
    size_t length = (size_t)(end - words) - (sizeof key - 1);
    memmove(reason, words + sizeof key - 1, length);
    reason[length] = '\0';
  }
  for (char *c = reason; *c; c++)
    if (*c == '\n') *c = ' ';
}

/* To be called before any other HDF5 call: each of them clears the stack of messages. */
static int failure(char reason[REASON_LENGTH]) {
  strcpy(reason, "");
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, reason);
  condense(reason);
  bool full = strstr(reason, "No space left") || strstr(reason, "quota") || strstr(reason, "memory allocation failed");
  return full ? REAP_ERR_RESOURCE : REAP_ERR_INPUT;
}

static void file_name(hid_t object, char name[NAME_LENGTH]) {
  if (object < 0 || H5Fget_name(object, name, NAME_LENGTH) < 0) strcpy(name, "HDF5 file");
  reap_durable_final_name(name); /* what is being written is named by what it will be */
}

int reap_h5_path_error(const char *path, const char *what) {
  char reason[REASON_LENGTH];
  int status = failure(reason);
  return reap_error(status, "%s: %s%s%s", path, what, *reason ? ": " : "", reason);
}

/* A system call on what is to be `path` failed in the driver. */
static int system_error(int reason, const char *path, const char *action) {
  errno = reason;
  return reap_durable_error(path, action);
}

int reap_h5_written(hid_t object) {
  char name[NAME_LENGTH];
  const int reason = reap_h5_driver_error(object);
  if (reason == 0) return REAP_OK;
  file_name(object, name);
  return system_error(reason, name, "cannot be written");
}

int reap_h5_error(hid_t object, const char *what) {
  char reason[REASON_LENGTH], name[NAME_LENGTH];
  int status = failure(reason);
  REAP_TRY(reap_h5_written(object)); /* then HDF5 has only met the consequences */
  file_name(object, name);
  return reap_error(status, "%s: %s%s%s", name, what, *reason ? ": " : "", reason);
}

int reap_h5_refuse(hid_t object, const char *format, ...) {
  char name[NAME_LENGTH], text[REAP_ERROR_LENGTH];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  file_name(object, name);
  return reap_error(REAP_ERR_INPUT, "%s: %s", name, text);
}

/* What the system says of the file, before HDF5 sees it: its messages are clearer. What HDF5 reads of it on opening is
 * checked as well. */
static int check_readable(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return reap_error_system("%s", path);
  struct stat about;
  bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  const int status = regular ? reap_h5_check_root(fd) : REAP_OK;
  close(fd);
  if (!regular) return reap_error(REAP_ERR_INPUT, "%s: is not a regular file", path);
  if (about.st_size == 0) return reap_error(REAP_ERR_INPUT, "%s: is empty; write or copy it again", path);
  return reap_error_prefix(status, "%s: the root group", path);
}

int reap_h5_open(const char *path, hid_t *file) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our messages carry what HDF5 would print */
  REAP_TRY(check_readable(path));
  if (H5Fis_hdf5(path) <= 0) return reap_error(REAP_ERR_INPUT, "%s: is not an HDF5 file", path);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access < 0 || !reap_h5_driver_set(access)) {
    reap_h5_close(&access);
    return reap_h5_path_error(path, "cannot be opened");
  }
  /* The driver takes no locks: these files are not written while they are read (they appear by renaming), and some
   * parallel file systems refuse locks. */
  reap_h5_driver_take_error();
  *file = H5Fopen(path, H5F_ACC_RDONLY, access);
  int status = REAP_OK;
  if (*file < 0) {
    status = reap_h5_path_error(path, "cannot be opened; write or copy it again");
    const int reason = reap_h5_driver_take_error();
    if (reason != 0) status = system_error(reason, path, "cannot be opened");
  }
  H5Pclose(access);
  return status;
}

int reap_h5_create(const char *path, const char *temporary, hid_t *file) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  int status = REAP_OK;
  if (access < 0 || !reap_h5_driver_set(access) ||
      H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18) < 0)
    status = reap_h5_path_error(path, "cannot be created");
  if (status == REAP_OK) {
    reap_h5_driver_take_error();
    *file = H5Fcreate(temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (*file < 0) {
      status = reap_h5_path_error(path, "cannot be created");
      const int reason = reap_h5_driver_take_error();
      if (reason != 0) status = system_error(reason, path, "cannot be created");
    }
  }
  reap_h5_close(&access);
  return status;
}

int reap_h5_close_written(hid_t *file, const char *path) {
  reap_h5_driver_take_error();
  const bool closed = reap_h5_close(file);
  const int status = closed ? REAP_OK : reap_h5_path_error(path, "cannot be written");
  const int reason = reap_h5_driver_take_error();
  return reason != 0 ? system_error(reason, path, "cannot be written") : status;
}

bool reap_h5_close(hid_t *id) {
  if (*id < 0) return true;
  herr_t result = -1;
  switch (H5Iget_type(*id)) {
    case H5I_FILE:
      result = H5Fclose(*id);
      break;
    case H5I_GROUP:
      result = H5Gclose(*id);
      break;
    case H5I_DATASET:
      result = H5Dclose(*id);
      break;
    case H5I_DATASPACE:
      result = H5Sclose(*id);
      break;
    case H5I_DATATYPE:
      result = H5Tclose(*id);
      break;
    case H5I_ATTR:
      result = H5Aclose(*id);
      break;
    case H5I_GENPROP_LST:
      result = H5Pclose(*id);
      break;
    default:
      break;
  }
  *id = REAP_H5_NONE;
  return result >= 0;
}

bool reap_h5_has(hid_t parent, const char *name) { return H5Lexists(parent, name, H5P_DEFAULT) > 0; }

int reap_h5_check_object(hid_t parent, const char *name, haddr_t address) {
  char file[NAME_LENGTH];
  unsigned intent = 0;
  const hid_t id = H5Iget_file_id(parent);
  const bool reading = id >= 0 && H5Fget_intent(id, &intent) >= 0 && !(intent & H5F_ACC_RDWR);
  if (id >= 0) H5Fclose(id);
  const int descriptor = reading ? reap_h5_driver_descriptor(parent) : -1;
  if (descriptor < 0) return REAP_OK; /* being written: not all of it is in the file yet */
  const int status = reap_h5_check_header(descriptor, address);
  if (status == REAP_OK) return status;
  file_name(parent, file);
  return reap_error_prefix(status, "%s: \"%s\"", file, name);
}

/* Links to other files, and soft links, could lead anywhere. Damaged objects are refused before they are opened. */
static int check_link(hid_t parent, const char *name) {
  if (!reap_h5_has(parent, name)) return reap_h5_refuse(parent, "has no \"%s\"", name);
  H5L_info_t info;
  if (H5Lget_info(parent, name, &info, H5P_DEFAULT) < 0) return reap_h5_error(parent, name);
  if (info.type != H5L_TYPE_HARD) return reap_h5_refuse(parent, "\"%s\" is a link; store the data themselves", name);
  return reap_h5_check_object(parent, name, info.u.address);
}

int reap_h5_open_dataset(hid_t parent, const char *name, hid_t *dataset) {
  REAP_TRY(check_link(parent, name));
  *dataset = H5Dopen2(parent, name, H5P_DEFAULT);
  return *dataset < 0 ? reap_h5_refuse(parent, "\"%s\" is not a data set", name) : REAP_OK;
}

int reap_h5_open_group(hid_t parent, const char *name, hid_t *group) {
  REAP_TRY(check_link(parent, name));
  *group = H5Gopen2(parent, name, H5P_DEFAULT);
  return *group < 0 ? reap_h5_refuse(parent, "\"%s\" is not a group", name) : REAP_OK;
}

int reap_h5_create_group(hid_t parent, const char *name, hid_t *group) {
  *group = H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  return *group < 0 ? reap_h5_error(parent, name) : REAP_OK;
}

int64_t reap_h5_file_bytes(hid_t object) {
  hsize_t bytes = 0;
  const hid_t file = H5Iget_file_id(object);
  const bool known = file >= 0 && H5Fget_filesize(file, &bytes) >= 0 && bytes < INT64_MAX;
  if (file >= 0) H5Fclose(file);
  return known ? (int64_t)bytes : 0;
}

typedef struct listing {
  int64_t count, found;
  char **names;
  int status;
} listing;

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *about, void *context) {
  (void)group;
  (void)about;
  listing *l = context;
  if (l->found == l->count) return -1;
  l->status = reap_strdup(&l->names[l->found], name);
  l->found += l->status == REAP_OK;
  return l->status == REAP_OK ? 0 : -1;
}

/* One walk: asking for names by their index takes a walk for each. */
int reap_h5_list(hid_t group, int64_t *count, char ***names) {
  H5G_info_t info;
  *names = NULL;
  *count = 0;
  if (H5Gget_info(group, &info) < 0) return reap_h5_error(group, "a group cannot be read");
  if (info.nlinks > INT32_MAX || (int64_t)info.nlinks > reap_h5_file_bytes(group)) /* each takes some bytes */
    return reap_h5_refuse(group, "cannot hold the %llu objects that it tells of", (unsigned long long)info.nlinks);
  listing l = {.count = (int64_t)info.nlinks, .status = REAP_OK};
  REAP_TRY(reap_calloc(&l.names, l.count, sizeof *l.names));
  const herr_t walked = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &l);
  if (l.status == REAP_OK && (walked < 0 || l.found != l.count))
    l.status = reap_h5_error(group, "a name cannot be read");
  *count = l.found;
  *names = l.names;
  if (l.status != REAP_OK) reap_h5_free_names(l.found, names);
  return l.status;
}

void reap_h5_free_names(int64_t count, char ***names) {
  for (int64_t i = 0; *names && i < count; i++) reap_free(&(*names)[i]);
  reap_free(names);
}

bool reap_h5_has_attribute(hid_t object, const char *name) { return H5Aexists(object, name) > 0; }
