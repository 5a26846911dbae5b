/* A driver for files of one process; see hdf5_driver.h. HDF5 is not thread-safe, so neither is this. */
#include "hdf5_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/waiting.h"
#include "io/files/file_bytes.h"
#include "reap/error.h"
#include "reap/memory.h"

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

/* HDF5 takes a pointer to `common` for the file. */
typedef struct driver_file {
  H5FD_t common;
  int descriptor, error; /* error: errno of the first failed write */
  haddr_t allocated, end;
  dev_t device;
  ino_t inode;
} driver_file;

static int last_error;

static const char A_FILE[] = "a file"; /* on a file system that may hang */

static driver_file *file_of(const H5FD_t *common) { return (driver_file *)(uintptr_t)common; }

static int flags_of(unsigned flags) {
  int result = O_CLOEXEC | (flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY);
  if (flags & H5F_ACC_TRUNC) result |= O_TRUNC;
  if (flags & H5F_ACC_CREAT) result |= O_CREAT;
  if (flags & H5F_ACC_EXCL) result |= O_EXCL;
  return result;
}

static H5FD_t *open_file(const char *name, unsigned flags, hid_t access, haddr_t most) {
  driver_file *f = NULL;
  struct stat about;
  (void)access;
  (void)most;
  if (last_error == ENOMEM) return NULL; /* HDF5 tries several ways to open a file: here none of them is to blame */
  const int descriptor = open(name, flags_of(flags), 0666);
  last_error = descriptor < 0 || fstat(descriptor, &about) != 0 ? errno : 0;
  if (last_error == 0 && reap_calloc(&f, 1, sizeof *f) != REAP_OK) last_error = ENOMEM;
  if (last_error != 0) {
    if (descriptor >= 0) close(descriptor);
    return NULL;
  }
  f->descriptor = descriptor;
  f->end = (haddr_t)about.st_size;
  f->device = about.st_dev;
  f->inode = about.st_ino;
  return &f->common;
}

static herr_t close_file(H5FD_t *common) {
  driver_file *f = file_of(common);
  if (close(f->descriptor) != 0 && f->error == 0) f->error = errno; /* some systems tell of a full disk here */
  last_error = f->error;
  reap_free(&f);
  return 0;
}

static int compare(const H5FD_t *a, const H5FD_t *b) {
  const driver_file *f = file_of(a), *g = file_of(b);
  if (f->device != g->device) return f->device < g->device ? -1 : 1;
  return f->inode == g->inode ? 0 : f->inode < g->inode ? -1 : 1;
}

static herr_t query(const H5FD_t *common, unsigned long *flags) {
  (void)common;
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_POSIX_COMPAT_HANDLE | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

static haddr_t get_allocated(const H5FD_t *common, H5FD_mem_t type) {
  (void)type;
  return file_of(common)->allocated;
}

static herr_t set_allocated(H5FD_t *common, H5FD_mem_t type, haddr_t address) {
  (void)type;
  file_of(common)->allocated = address;
  return 0;
}

static haddr_t get_end(const H5FD_t *common, H5FD_mem_t type) {
  (void)type;
  return file_of(common)->end;
}

static herr_t get_handle(H5FD_t *common, hid_t access, void **handle) {
  (void)access;
  *handle = &file_of(common)->descriptor;
  return 0;
}

/* HDF5 passes on the innermost message: this one. */
static herr_t complain(const char *text) {
  H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_IO, H5E_READERROR, "%s", text);
  return -1;
}

static herr_t read_bytes(H5FD_t *common, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes, void *out) {
  (void)type;
  (void)transfer;
  reap_comm_enter("read", A_FILE);
  const int error = reap_bytes_read(file_of(common)->descriptor, out, bytes, (int64_t)at);
  reap_comm_leave(MPI_SUCCESS);
  return error == 0 ? 0 : complain(strerror(error));
}

static herr_t write_bytes(H5FD_t *common, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes, const void *from) {
  driver_file *f = file_of(common);
  (void)type;
  (void)transfer;
  reap_comm_enter("write", A_FILE);
  if (f->error == 0) f->error = reap_bytes_write(f->descriptor, from, bytes, (int64_t)at);
  reap_comm_leave(MPI_SUCCESS);
  if (at + bytes > f->end) f->end = at + bytes;
  return 0;
}

static herr_t truncate_file(H5FD_t *common, hid_t transfer, hbool_t closing) {
  driver_file *f = file_of(common);
  (void)transfer;
  (void)closing;
  if (f->allocated == f->end) return 0;
  if (f->error == 0 && ftruncate(f->descriptor, (off_t)f->allocated) != 0) f->error = errno;
  f->end = f->allocated;
  return 0;
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)511, /* of those left to applications */
#endif
    .name = "reap",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = open_file,
    .close = close_file,
    .cmp = compare,
    .query = query,
    .get_eoa = get_allocated,
    .set_eoa = set_allocated,
    .get_eof = get_end,
    .get_handle = get_handle,
    .read = read_bytes,
    .write = write_bytes,
    .truncate = truncate_file,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static hid_t registered = -1;

/* HDF5 forgets its drivers when it is closed as a whole. */
bool reap_h5_driver_set(hid_t access) {
  if (H5Iget_type(registered) != H5I_VFL) registered = H5FDregister(&driver);
  return registered >= 0 && H5Pset_driver(access, registered, NULL) >= 0;
}

static bool is_ours(hid_t file) {
  const hid_t access = H5Fget_access_plist(file);
  const bool ours = access >= 0 && H5Pget_driver(access) == registered;
  if (access >= 0) H5Pclose(access);
  return ours;
}

static const driver_file *file_with(hid_t object) {
  void *handle = NULL;
  const hid_t file = H5Iget_file_id(object);
  if (file < 0) return NULL;
  const bool found = is_ours(file) && H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) >= 0 && handle;
  H5Fclose(file);
  return found ? (const driver_file *)(const void *)((const char *)handle - offsetof(driver_file, descriptor)) : NULL;
}

int reap_h5_driver_error(hid_t object) {
  const driver_file *f = file_with(object);
  return f ? f->error : 0;
}

int reap_h5_driver_descriptor(hid_t object) {
  const driver_file *f = file_with(object);
  return f ? f->descriptor : -1;
}

int reap_h5_driver_take_error(void) {
  const int error = last_error;
  last_error = 0;
  return error;
}
