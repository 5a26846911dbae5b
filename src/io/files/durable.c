/* Files that appear whole or not at all. */
#include "durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/waiting.h"
#include "durable_names.h"
#include "reap/error.h"
#include "reap/memory.h"

const char *reap_durable_other_kind(const char *path) {
  struct stat about;
  if (stat(path, &about) != 0 || S_ISREG(about.st_mode)) return NULL;
  if (S_ISDIR(about.st_mode)) return "a folder";
  if (S_ISFIFO(about.st_mode)) return "a pipe";
  if (S_ISSOCK(about.st_mode)) return "a socket";
  return "a device";
}

/* ------------------------------------------------------------------ beginning */

static int check_folder(const char *path) {
  char *folder = NULL;
  REAP_TRY(reap_durable_folder(path, &folder));
  struct stat about;
  int status = REAP_OK;
  if (stat(folder, &about) != 0)
    status = reap_error(REAP_ERR_INPUT, "%s: cannot be written: folder %s: %s", path, folder, strerror(errno));
  else if (!S_ISDIR(about.st_mode))
    status = reap_error(REAP_ERR_INPUT, "%s: cannot be written: %s is not a folder", path, folder);
  else if (access(folder, W_OK | X_OK) != 0)
    status = reap_error(REAP_ERR_INPUT, "%s: cannot be written: folder %s: %s", path, folder, strerror(errno));
  reap_free(&folder);
  return status;
}

static int check_kind(const char *path) {
  const char *kind = reap_durable_other_kind(path);
  if (!*path) return reap_error(REAP_ERR_INPUT, "an output file has an empty name");
  return kind ? reap_error(REAP_ERR_INPUT, "%s: is %s; give the name of a file", path, kind) : REAP_OK;
}

/* Never through a link: whatever bears the name of this very process is not in use. */
static int create(const char *path, const char *temporary) {
  if (unlink(temporary) != 0 && errno != ENOENT)
    return reap_durable_error(temporary, "is in the way and cannot be removed");
  const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return reap_durable_error(path, "cannot be written");
  close(fd);
  return REAP_OK;
}

int reap_durable_begin(const char *path, char **temporary) {
  char *target = NULL;
  *temporary = NULL;
  REAP_TRY(check_kind(path));
  REAP_TRY(reap_durable_target(path, &target));
  int status = check_folder(target);
  if (status == REAP_OK) status = reap_durable_name(target, temporary);
  if (status == REAP_OK) status = create(path, *temporary);
  if (status != REAP_OK) reap_free(temporary);
  reap_free(&target);
  return status;
}

int reap_durable_share(const reap_comm *comm, const char *temporary, char **copy) {
  int64_t length = temporary ? (int64_t)strlen(temporary) + 1 : 0;
  REAP_TRY(reap_comm_broadcast(comm, &length, sizeof length, 0));
  int status = reap_alloc(copy, length, 1);
  if (status == REAP_OK && reap_comm_rank(comm) == 0) memcpy(*copy, temporary, (size_t)length);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_comm_broadcast(comm, *copy, (size_t)length, 0);
  if (status != REAP_OK) reap_free(copy);
  return status;
}

/* ------------------------------------------------------------------ the end */

/* Brings a file's contents (or a folder's entries) to the disk. */
static int synchronise(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) return -1;
  reap_comm_enter("fsync", "a file");
  int result = fsync(fd);
  int reason = errno;
  reap_comm_leave(MPI_SUCCESS);
  /* Some file systems cannot do this for folders: then the name is as safe as they make it. */
  if (result != 0 && (flags & O_DIRECTORY) && (reason == EINVAL || reason == EROFS)) result = 0;
  if (close(fd) != 0 && result == 0) return -1;
  errno = reason;
  return result;
}

int reap_durable_commit(char **temporary, const char *path) {
  char *folder = NULL, *target = NULL;
  int status = reap_durable_target(path, &target);
  if (status == REAP_OK) status = reap_durable_folder(target, &folder);
  if (status == REAP_OK && synchronise(*temporary, O_RDWR) != 0)
    status = reap_durable_error(path, "cannot be brought to the disk");
  if (status == REAP_OK && rename(*temporary, target) != 0)
    status = reap_durable_error(path, "cannot be renamed into place");
  if (status != REAP_OK) {
    reap_durable_abandon(temporary);
  } else if (synchronise(folder, O_RDONLY | O_DIRECTORY) != 0) {
    status = reap_durable_error(path, "its folder cannot be brought to the disk");
  }
  reap_free(temporary);
  reap_free(&folder);
  reap_free(&target);
  return status;
}

void reap_durable_abandon(char **temporary) {
  if (!*temporary) return;
  int reason = errno;
  unlink(*temporary);
  errno = reason;
  reap_free(temporary);
}
