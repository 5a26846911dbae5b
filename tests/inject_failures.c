/* A library to be loaded before the program (LD_PRELOAD) that lets its file calls fail: the k-th call of one rank on
 * files below a folder and, if wanted, all later ones.
 *
 *   INJECT_FOLDER   a part of the paths that count; without it nothing happens
 *   INJECT_RANK     the rank concerned (default 0)
 *   INJECT_AT       the call that fails first, counted from 1; 0: none
 *   INJECT_ERRNO    ENOSPC (as on a full disk, all later calls fail as well), EIO (this one alone), or HANG: it never
 * returns INJECT_COUNT    a file that gets the number of calls when the process ends
 *
 * Calls: write, writev, pwrite, pwritev (64 as well), fsync, fdatasync, ftruncate, close of what was written to,
 * rename.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The compiler sees what the C library declares, not what is defined here. */
#define REAL(result, name, ...)       \
  static result (*real)(__VA_ARGS__); \
  if (!real) *(void **)(&real) = dlsym(RTLD_NEXT, name)

enum { MOST_DESCRIPTORS = 4096 };

static const char *folder, *count_file;
static long at, calls;
static int reason;
static bool hangs;
static bool written[MOST_DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
  const char *wanted = getenv("INJECT_RANK"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  const char *first = getenv("INJECT_AT"), *error = getenv("INJECT_ERRNO");
  char program[256] = "";
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 5 || strcmp(program + length - 5, "/reap") != 0) return; /* mpirun itself, or a shell */
  if (strcmp(wanted ? wanted : "0", rank ? rank : "0") != 0) return;
  folder = getenv("INJECT_FOLDER");
  count_file = getenv("INJECT_COUNT");
  at = first ? atol(first) : 0;
  reason = error && strcmp(error, "EIO") == 0 ? EIO : ENOSPC;
  hangs = error && strcmp(error, "HANG") == 0;
}

__attribute__((destructor)) static void end(void) {
  FILE *f = count_file && folder ? fopen(count_file, "w") : NULL;
  if (!f) return;
  folder = NULL;
  fprintf(f, "%ld\n", calls);
  fclose(f);
}

/* Whether this call on `path` has to fail. Files without a name hold nothing that is to stay, nor does a lock. */
static bool fails(const char *path) {
  if (!folder || !strstr(path, folder) || strstr(path, " (deleted)") || strstr(path, "/lock")) return false;
  calls++;
  while (hangs && calls == at) pause();
  if (at == 0 || calls < at || (reason == EIO && calls > at)) return false;
  errno = reason;
  return true;
}

static bool fails_on(int descriptor) {
  char link[64], path[512];
  if (!folder) return false;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = '\0';
  if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS && strstr(path, folder)) written[descriptor] = true;
  return fails(path);
}

ssize_t write(int fd, const void *bytes, size_t count) {
  REAL(ssize_t, "write", int, const void *, size_t);
  return fails_on(fd) ? -1 : real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  return fails_on(fd) ? -1 : real(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t place) {
  REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
  return fails_on(fd) ? -1 : real(fd, bytes, count, place);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t place) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  return fails_on(fd) ? -1 : real(fd, bytes, count, place);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t place) {
  REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
  return fails_on(fd) ? -1 : real(fd, parts, count, place);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t place) {
  REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
  return fails_on(fd) ? -1 : real(fd, parts, count, place);
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  return fails_on(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return fails_on(fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size) {
  REAL(int, "ftruncate", int, off_t);
  return fails_on(fd) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  return fails_on(fd) ? -1 : real(fd, size);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  return fails(to) ? -1 : real(from, to);
}

/* As the system does, it closes the file and then tells that it failed. */
int close(int fd) {
  REAL(int, "close", int);
  const bool counts = fd >= 0 && fd < MOST_DESCRIPTORS && written[fd];
  const bool failed = counts && fails_on(fd);
  if (counts) written[fd] = false;
  const int result = real(fd);
  if (failed) errno = reason;
  return failed ? -1 : result;
}
