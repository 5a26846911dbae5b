/* Names of temporary files, and where a name leads.
 *
 * Failure modes: a process that has got the number of a killed one keeps its file from being removed, and so does
 * another host: the file then stays, and a warning asks the user to remove it. A file that is being written is never
 * removed.
 */
#include "durable_names.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "durable.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

static const char *const SUFFIX = ".tmp";

enum { HOST_LENGTH = 64, NAME_LENGTH = NAME_MAX + 1 };

int reap_durable_error(const char *path, const char *action) { return reap_error_system("%s: %s", path, action); }

/* Process numbers mean something only beside the host's name and, in a container, the number of its process namespace.
 */
static void get_host(char host[HOST_LENGTH]) {
  const ino_t first = 0xEFFFFFFCU; /* of the host itself (Linux: PROC_PID_INIT_INO) */
  struct stat about;
  host[0] = '\0';
  gethostname(host, HOST_LENGTH - 24);
  host[HOST_LENGTH - 25] = '\0';
  for (char *c = host; *c; c++)
    if (*c == '.' || *c == '/') *c = '-';
  if (!host[0]) strcpy(host, "host");
  if (stat("/proc/self/ns/pid", &about) != 0 || about.st_ino == first) return;
  const size_t used = strlen(host);
  snprintf(host + used, HOST_LENGTH - used, "~%llu", (unsigned long long)about.st_ino);
}

/* What all temporary names of a file begin with: as much of its name as leaves room for the longest addition. */
static void get_stem(const char *path, char stem[NAME_LENGTH]) {
  enum { MOST = NAME_MAX - HOST_LENGTH - 16 };
  const char *slash = strrchr(path, '/');
  snprintf(stem, NAME_LENGTH, "%.*s.", MOST, slash ? slash + 1 : path);
}

int reap_durable_folder(const char *path, char **folder) {
  const char *slash = strrchr(path, '/');
  if (!slash) return reap_strdup(folder, ".");
  return reap_strndup(folder, path, slash == path ? 1 : (size_t)(slash - path));
}

int reap_durable_name(const char *path, char **temporary) {
  char host[HOST_LENGTH], stem[NAME_LENGTH];
  const char *slash = strrchr(path, '/');
  get_host(host);
  get_stem(path, stem);
  return reap_format(temporary, "%.*s%s%s.%ld%s", slash ? (int)(slash + 1 - path) : 0, path, stem, host, (long)getpid(),
                     SUFFIX);
}

/* "<host>.<process>.tmp": *host_length characters of host, and the process. */
static bool parse_owner(const char *text, size_t *host_length, long *process) {
  char *end = NULL;
  *host_length = strcspn(text, ".");
  if (*host_length == 0 || text[*host_length] != '.') return false;
  const char *number = text + *host_length + 1;
  if (*number < '1' || *number > '9') return false;
  errno = 0;
  *process = strtol(number, &end, 10);
  return errno == 0 && *process <= INT_MAX && strcmp(end, SUFFIX) == 0;
}

/* The owner is what follows the third dot from the end. NULL: no temporary name. */
static const char *find_owner(const char *name) {
  size_t host_length = 0;
  long process = 0;
  const char *at = name + strlen(name);
  for (int dots = 0; dots < 3; dots += *at == '.')
    if (at == name || *--at == '/') return NULL;
  return parse_owner(at + 1, &host_length, &process) ? at + 1 : NULL;
}

void reap_durable_final_name(char *name) {
  const char *owner = find_owner(name);
  if (owner) name[owner - 1 - name] = '\0';
}

static int look_at(const char *folder, const char *name, const char *owner, const char *here) {
  size_t host_length = 0;
  long process = 0;
  char *path = NULL;
  if (!parse_owner(owner, &host_length, &process)) return REAP_OK;
  const bool mine = strlen(here) == host_length && strncmp(owner, here, host_length) == 0;
  if (mine && (kill((pid_t)process, 0) == 0 || errno != ESRCH)) return REAP_OK;
  REAP_TRY(reap_format(&path, "%s/%s", folder, name));
  if (!mine)
    reap_log(REAP_LOG_WARNING,
             "%s: process %ld on %.*s writes this, or has left it when it was killed; remove it if that run is over",
             path, process, (int)host_length, owner);
  else if (unlink(path) == 0)
    reap_log(REAP_LOG_INFO, "removed %s, left by a run that was killed", path);
  reap_free(&path);
  return REAP_OK;
}

/* Entries that begin with `stem` (NULL: all). A folder that cannot be read is left as it is. */
static int tidy(const char *folder, const char *stem) {
  char here[HOST_LENGTH];
  DIR *entries = opendir(folder);
  int status = entries ? REAP_OK : reap_durable_error(folder, "cannot be read");
  if (!entries) return status == REAP_ERR_RESOURCE ? status : REAP_OK;
  get_host(here);
  for (const struct dirent *entry; status == REAP_OK && (entry = readdir(entries));) {
    const char *owner = stem ? entry->d_name + strlen(stem) : find_owner(entry->d_name);
    if (owner && (!stem || strncmp(entry->d_name, stem, strlen(stem)) == 0))
      status = look_at(folder, entry->d_name, owner, here);
  }
  closedir(entries);
  return status;
}

int reap_durable_tidy(const char *path) {
  char stem[NAME_LENGTH], *target = NULL, *folder = NULL;
  int status = reap_durable_target(path, &target);
  if (status == REAP_OK) status = reap_durable_folder(target, &folder);
  if (status == REAP_OK) {
    get_stem(target, stem);
    status = tidy(folder, stem);
  }
  reap_free(&folder);
  reap_free(&target);
  return status == REAP_ERR_RESOURCE ? status : REAP_OK;
}

int reap_durable_tidy_folder(const char *folder) { return tidy(folder, NULL); }

/* ------------------------------------------------------------------ where a name leads */

/* One link further: *path becomes what it points to. */
static int follow(char **path, const char *link) {
  char *next = NULL, *folder = NULL;
  int status = REAP_OK;
  if (link[0] == '/') {
    status = reap_strdup(&next, link);
  } else {
    status = reap_durable_folder(*path, &folder);
    if (status == REAP_OK) status = reap_format(&next, "%s/%s", folder, link);
    reap_free(&folder);
  }
  if (status != REAP_OK) return status;
  reap_free(path);
  *path = next;
  return REAP_OK;
}

int reap_durable_target(const char *path, char **target) {
  enum { MOST_LINKS = 40 };
  char link[PATH_MAX];
  REAP_TRY(reap_strdup(target, path));
  int status = REAP_OK;
  for (int i = 0; status == REAP_OK; i++) {
    const ssize_t length = readlink(*target, link, sizeof link - 1);
    if (length < 0) return REAP_OK;
    link[length] = '\0';
    status = i < MOST_LINKS ? follow(target, link)
                            : reap_error(REAP_ERR_INPUT, "%s: its symbolic links lead in a circle", path);
  }
  reap_free(target);
  return status;
}
