/* Locks on files by fcntl(): they reach over hosts on NFS, Lustre and their like, where flock() may not.
 *
 * The holder of the lock removes the file before releasing the lock. So a process that has waited for the lock may
 * hold one on a file that has no name any more: it looks, and tries again. What the file says (host and process) is
 * for people; only the lock counts, and a file that a killed process leaves is not locked.
 *
 * Failure modes: some file systems have no locks, or not between hosts; then two processes do not notice each other.
 * Closing any other descriptor of the file would drop the lock: no other part of the process may open it.
 */
#include "lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "durable.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

struct reap_lock_file {
  char *path;
  int fd;
};

enum { TRIES = 25, TEXT_LENGTH = 160 };

static bool has_name(int fd, const char *path) {
  struct stat open_one, named;
  return fstat(fd, &open_one) == 0 && stat(path, &named) == 0 && open_one.st_dev == named.st_dev &&
         open_one.st_ino == named.st_ino;
}

/* 0: *fd is locked; EAGAIN: another process has it; other errno: the file system has no locks. */
static int try_to_lock(const char *path, int *fd) {
  const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (*fd < 0) return errno;
  int reason = fcntl(*fd, F_SETLK, &whole) == 0 ? 0 : errno == EACCES ? EAGAIN : errno;
  if (reason == 0 && !has_name(*fd, path)) reason = EAGAIN;
  if (reason == 0) return 0;
  close(*fd);
  *fd = -1;
  return reason;
}

static void sign(int fd) {
  char host[64] = "", text[TEXT_LENGTH];
  gethostname(host, sizeof host - 1);
  const int length = snprintf(text, sizeof text, "process %ld on host %s", (long)getpid(), host);
  if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)length) != length)
    errno = 0; /* then messages cannot name the holder */
}

static int refuse(const char *path, const char *what) {
  char holder[TEXT_LENGTH] = "", since[64] = "";
  struct stat about;
  struct tm local;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0) {
    const ssize_t length = read(fd, holder, sizeof holder - 1);
    holder[length > 0 ? length : 0] = '\0';
    if (fstat(fd, &about) == 0 && localtime_r(&about.st_mtim.tv_sec, &local))
      strftime(since, sizeof since, " since %F %T", &local);
    close(fd);
  }
  return reap_error(REAP_ERR_INPUT, "%s is in use: %s holds %s%s", what, holder[0] ? holder : "another process", path,
                    since);
}

/* A process that was killed a moment ago may still exist. */
static int wait_and_lock(const char *path, int *fd) {
  const struct timespec moment = {.tv_nsec = 200000000};
  int reason = try_to_lock(path, fd);
  for (int i = 0; reason == EAGAIN && i < TRIES; i++) {
    nanosleep(&moment, NULL);
    reason = try_to_lock(path, fd);
  }
  return reason;
}

static bool has_no_locks(int reason) {
  return reason == ENOLCK || reason == ENOSYS || reason == EOPNOTSUPP || reason == EINVAL;
}

int reap_lock_file_take(const char *path, const char *what, reap_lock_file **out) {
  reap_lock_file *lock = NULL;
  int fd = -1;
  *out = NULL;
  const int reason = wait_and_lock(path, &fd);
  if (reason == EAGAIN) return refuse(path, what);
  if (has_no_locks(reason)) {
    unlink(path);
    reap_log(REAP_LOG_WARNING, "%s: files cannot be locked here; make sure that no other run works on %s", path, what);
    return REAP_OK;
  }
  errno = reason;
  if (reason != 0) return reap_durable_error(path, "cannot be locked");
  sign(fd);
  int status = reap_calloc(&lock, 1, sizeof *lock);
  if (status == REAP_OK) {
    lock->fd = fd;
    status = reap_strdup(&lock->path, path);
  }
  if (status == REAP_OK) {
    *out = lock;
    return REAP_OK;
  }
  reap_free(&lock);
  unlink(path);
  close(fd);
  return status;
}

void reap_lock_file_release(reap_lock_file **handle) {
  reap_lock_file *lock = *handle;
  if (!lock) return;
  unlink(lock->path);
  close(lock->fd);
  reap_free(&lock->path);
  reap_free(handle);
}
