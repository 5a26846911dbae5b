/* Files that appear whole or not at all. */
#include "reap/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reap/error.h"
#include "reap/memory.h"

int reap_durable_error(const char *path, const char *action) {
  int reason = errno;
  bool full = reason == ENOSPC || reason == EDQUOT || reason == ENOMEM;
  return reap_error(full ? REAP_ERR_RESOURCE : REAP_ERR_INPUT, "%s: %s: %s", path, action, strerror(reason));
}

static int folder_of(const char *path, char **folder) {
  const char *slash = strrchr(path, '/');
  if (!slash) return reap_strdup(folder, ".");
  return reap_strndup(folder, path, slash == path ? 1 : (size_t)(slash - path));
}

static int check_folder(const char *path) {
  char *folder = NULL;
  REAP_TRY(folder_of(path, &folder));
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

int reap_durable_begin(const char *path, char **temporary) {
  struct stat about;
  if (!*path) return reap_error(REAP_ERR_INPUT, "an output file has an empty name");
  if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
    return reap_error(REAP_ERR_INPUT, "%s: is a folder; give the name of a file", path);
  REAP_TRY(check_folder(path));
  REAP_TRY(reap_format(temporary, "%s.tmp", path));
  /* A file left by a run that was killed, or a link that would lead the new one elsewhere. */
  if (unlink(*temporary) != 0 && errno != ENOENT) {
    int status = reap_durable_error(*temporary, "is in the way and cannot be removed");
    reap_free(temporary);
    return status;
  }
  return REAP_OK;
}

/* Brings a file's contents (or a folder's entries) to the disk. */
static int synchronise(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) return -1;
  int result = fsync(fd);
  /* Some file systems cannot do this for folders: then the name is as safe as they make it. */
  if (result != 0 && (flags & O_DIRECTORY) && (errno == EINVAL || errno == EROFS)) result = 0;
  int reason = errno;
  if (close(fd) != 0 && result == 0) return -1;
  errno = reason;
  return result;
}

int reap_durable_commit(char **temporary, const char *path) {
  char *folder = NULL;
  int status = folder_of(path, &folder);
  if (status == REAP_OK && synchronise(*temporary, O_RDWR) != 0)
    status = reap_durable_error(path, "cannot be brought to the disk");
  if (status == REAP_OK && rename(*temporary, path) != 0)
    status = reap_durable_error(path, "cannot be renamed into place");
  if (status != REAP_OK) {
    reap_durable_abandon(temporary);
  } else if (synchronise(folder, O_RDONLY | O_DIRECTORY) != 0) {
    status = reap_durable_error(path, "its folder cannot be brought to the disk");
  }
  reap_free(temporary);
  reap_free(&folder);
  return status;
}

void reap_durable_abandon(char **temporary) {
  if (!*temporary) return;
  int reason = errno;
  unlink(*temporary);
  errno = reason;
  reap_free(temporary);
}
