/* See probe.h. The child touches what readers touch: every object, attribute and chunk index, and two elements of each
 * data set. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/hdf5/hdf5_strings.h"
#include "io/hdf5/hdf5_util.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Processor time of a second, and one more for every quarter of a megabyte of the file: a file of small objects takes a
 * fortieth of that, ten times as much with the sanitizers. */
enum { SECOND_BYTES = 1 << 18, MOST_SECONDS = 60 };

/* Memory that looking may take, beside eight times the bytes of the file: what HDF5 keeps of small objects. */
static const int64_t MOST_BYTES = (int64_t)160 << 20;

/* Indices of more chunks are not walked through: a sound one of so many takes longer than it is worth. Chunks of more
 * elements are not unpacked. */
static const double MOST_CHUNKS = 1e5, MOST_ELEMENTS = 4e6;

enum { TOO_MUCH_MEMORY = 3, NOT_LISTED = 4, VALUE_BYTES = 1 << 16, MOST_STRINGS = 1 << 12 };

/* ------------------------------------------------------------------ the child */

/* A type of memory for numbers; other classes are read as they lie. */
static hid_t number_type(hid_t type) {
  const H5T_class_t found = H5Tget_class(type);
  if (!reap_h5_is_plain(type)) return REAP_H5_NONE; /* refused by readers */
  if (found == H5T_FLOAT) return H5T_NATIVE_DOUBLE;
  return found == H5T_INTEGER ? H5T_NATIVE_INT64 : REAP_H5_NONE;
}

static void look_at_value(hid_t attribute, hid_t object, const char *name) {
  char values[VALUE_BYTES], **strings = NULL;
  int64_t count = 0;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  const hssize_t elements = space < 0 ? 0 : H5Sget_simple_extent_npoints(space);
  const hid_t number = type < 0 ? REAP_H5_NONE : number_type(type);
  if (type >= 0 && H5Tget_class(type) == H5T_STRING) {
    if (reap_h5_read_strings(object, name, MOST_STRINGS, &count, &strings) == REAP_OK)
      reap_h5_free_names(count, &strings);
  } else if (number >= 0 && elements > 0 && elements <= (hssize_t)(sizeof values / sizeof(double))) {
    H5Aread(attribute, number, values);
  }
  reap_h5_close(&space);
  reap_h5_close(&type);
}

static herr_t look_at_attribute(hid_t object, const char *name, const H5A_info_t *about, void *context) {
  (void)about;
  (void)context;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute >= 0) look_at_value(attribute, object, name);
  reap_h5_close(&attribute);
  return 0;
}

static void read_element(hid_t dataset, hid_t number, hid_t space, const hsize_t *at) {
  double value;
  hid_t memory = H5Screate(H5S_SCALAR);
  if (memory >= 0 && H5Sselect_elements(space, H5S_SELECT_SET, 1, at) >= 0)
    H5Dread(dataset, number, memory, space, H5P_DEFAULT, &value);
  reap_h5_close(&memory);
}

static void read_ends(hid_t dataset, hid_t number, hid_t space) {
  hsize_t dims[H5S_MAX_RANK], first[H5S_MAX_RANK] = {0};
  const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
  for (int i = 0; i < rank; i++)
    if (dims[i]-- == 0) return;
  if (rank < 1) return;
  read_element(dataset, number, space, first);
  read_element(dataset, number, space, dims);
}

/* Walks through the index of the chunks; returns whether they are small enough for one to be unpacked here. */
static bool walk_chunks(hid_t dataset, hid_t list, hid_t space) {
  hsize_t dims[H5S_MAX_RANK], chunk[H5S_MAX_RANK], count = 0;
  const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
  if (H5Pget_layout(list) != H5D_CHUNKED) return true;
  if (H5Pget_chunk(list, H5S_MAX_RANK, chunk) != rank) return false;
  double chunks = 1, elements = 1;
  for (int i = 0; i < rank; i++) {
    chunks *= (double)(dims[i] / chunk[i] + 1);
    elements *= (double)chunk[i];
  }
  if (chunks <= MOST_CHUNKS) H5Dget_num_chunks(dataset, space, &count);
  return elements <= MOST_ELEMENTS;
}

static void look_at_dataset(hid_t dataset) {
  hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset), list = H5Dget_create_plist(dataset);
  const hid_t number = type < 0 ? REAP_H5_NONE : number_type(type);
  const bool sound =
      space >= 0 && list >= 0 && number >= 0 && reap_h5_check_stored(dataset, "", H5Tget_class(type)) == REAP_OK;
  if (sound && walk_chunks(dataset, list, space)) read_ends(dataset, number, space);
  reap_h5_close(&list);
  reap_h5_close(&space);
  reap_h5_close(&type);
}

/* context: whether a header was found to be damaged. */
static herr_t look_at_object(hid_t root, const char *name, const H5O_info_t *about, void *context) {
  if (reap_h5_check_object(root, name, about->addr) != REAP_OK) { /* refused by readers, by its name */
    *(bool *)context = true;
    return 0;
  }
  hid_t object = H5Oopen(root, name, H5P_DEFAULT);
  if (object < 0) return 0;
  if (about->type == H5O_TYPE_DATASET) look_at_dataset(object);
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, look_at_attribute, NULL);
  reap_h5_close(&object);
  return 0;
}

/* False if not all objects can be found, and no reader would say why: one that looks for a name in such a group may
 * crash where this walk fails. */
static bool look(const char *path) {
  hid_t file = REAP_H5_NONE;
  char **names = NULL;
  int64_t count = 0;
  bool told = false;
  if (reap_h5_open(path, &file) != REAP_OK) return true;
  bool all = reap_h5_list(file, &count, &names) == REAP_OK;
  if (all) all = H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, look_at_object, &told, H5O_INFO_BASIC) >= 0 || told;
  reap_h5_free_names(count, &names);
  reap_h5_close(&file);
  return all;
}

/* What the C library and MPI print of a crash is no use to anyone here. */
static void set_limits(int64_t bytes) {
  const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGPROF};
  const int64_t seconds = 1 + bytes / SECOND_BYTES;
  const struct itimerval time = {{0, 0}, {seconds < MOST_SECONDS ? seconds : MOST_SECONDS, 0}};
  const struct rlimit none = {0, 0};
  const int nowhere = open("/dev/null", O_WRONLY);
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) signal(fatal[i], SIG_DFL);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
  setrlimit(RLIMIT_CORE, &none);
  setitimer(ITIMER_PROF, &time, NULL);
}

static int child(const char *path, int64_t bytes) {
  set_limits(bytes);
  const int64_t before = reap_memory_peak_resident();
  const bool all = look(path);
  if (reap_memory_peak_resident() - before - MOST_BYTES > 8 * bytes) return TOO_MUCH_MEMORY;
  return all ? 0 : NOT_LISTED;
}

/* ------------------------------------------------------------------ the parent */

static bool is_hdf5(const char *path, int64_t *bytes) {
  char begin[8] = "";
  struct stat about;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  const bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  const bool signature =
      regular && pread(fd, begin, sizeof begin, 0) == sizeof begin && memcmp(begin, "\211HDF\r\n\032\n", 8) == 0;
  close(fd);
  *bytes = regular ? (int64_t)about.st_size : 0;
  return signature;
}

static int judge(const char *path, int ended) {
  const char *what = NULL;
  if (WIFSIGNALED(ended)) what = WTERMSIG(ended) == SIGPROF ? "does not come to an end with" : "crashes on";
  if (WIFEXITED(ended) && WEXITSTATUS(ended) == TOO_MUCH_MEMORY) what = "takes far too much memory for";
  if (WIFEXITED(ended) && WEXITSTATUS(ended) == NOT_LISTED) what = "cannot find all objects of";
  if (!what) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: is damaged: the HDF5 library %s it%s%s; copy or write it again", path, what,
                    WIFSIGNALED(ended) && WTERMSIG(ended) != SIGPROF ? ": " : "",
                    WIFSIGNALED(ended) && WTERMSIG(ended) != SIGPROF ? strsignal(WTERMSIG(ended)) : "");
}

int reap_probe_file(const char *path) {
  int64_t bytes = 0;
  int ended = 0;
  if (!is_hdf5(path, &bytes)) return REAP_OK;
  const pid_t process = fork();
  if (process == 0) _exit(child(path, bytes));
  if (process < 0) return REAP_OK; /* no room for a process: then the file is read unseen */
  while (waitpid(process, &ended, 0) < 0)
    if (errno != EINTR) return REAP_OK;
  return judge(path, ended);
}
