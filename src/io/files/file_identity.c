/* Files identified by device and inode.
 *
 * Failure modes: of two names for a file that is not there yet, in one folder, only the same spelling is known to mean
 * the same, also where the file system takes large and small letters for equal.
 */
#include "file_identity.h"

#include <string.h>
#include <sys/stat.h>

#include "durable.h"
#include "durable_names.h"
#include "reap/error.h"
#include "reap/memory.h"

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static reap_file_identity identity_of(const struct stat *about, bool there) {
  return (reap_file_identity){.known = true,
                              .there = there,
                              .device = (uint64_t)about->st_dev,
                              .inode = (uint64_t)about->st_ino,
                              .size = (int64_t)about->st_size,
                              .seconds = (int64_t)about->st_mtim.tv_sec,
                              .nanoseconds = (int64_t)about->st_mtim.tv_nsec};
}

/* Links that lead in a circle lead to no file: that is not known then. */
static int no_target(int status) { return status == REAP_ERR_INPUT ? REAP_OK : status; }

int reap_file_identify(const char *path, reap_file_identity *identity) {
  struct stat about;
  char *target = NULL, *folder = NULL;
  *identity = (reap_file_identity){0};
  if (stat(path, &about) == 0) {
    *identity = identity_of(&about, true);
    return REAP_OK;
  }
  int status = reap_durable_target(path, &target);
  if (status == REAP_OK) status = reap_durable_folder(target, &folder);
  if (status == REAP_OK && stat(folder, &about) == 0) *identity = identity_of(&about, false);
  reap_free(&folder);
  reap_free(&target);
  return no_target(status);
}

/* Names of files that are not there, in one folder. */
static int same_name(const char *a_path, const char *b_path, bool *same) {
  char *a = NULL, *b = NULL;
  int status = reap_durable_target(a_path, &a);
  if (status == REAP_OK) status = reap_durable_target(b_path, &b);
  *same = status == REAP_OK && strcmp(last_part(a), last_part(b)) == 0;
  reap_free(&a);
  reap_free(&b);
  return no_target(status);
}

int reap_file_same(const char *a_path, const reap_file_identity *a, const char *b_path, const reap_file_identity *b,
                   bool *same) {
  *same = strcmp(a_path, b_path) == 0;
  if (*same || !a->known || !b->known || a->there != b->there || a->device != b->device || a->inode != b->inode)
    return REAP_OK;
  *same = a->there;
  return a->there ? REAP_OK : same_name(a_path, b_path, same);
}

reap_file_change reap_file_changed(const char *path, const reap_file_identity *before) {
  struct stat about;
  if (!before->there) return REAP_FILE_SAME;
  if (stat(path, &about) != 0) return REAP_FILE_GONE;
  const reap_file_identity now = identity_of(&about, true);
  if (now.device != before->device || now.inode != before->inode) return REAP_FILE_REPLACED;
  const bool same =
      now.size == before->size && now.seconds == before->seconds && now.nanoseconds == before->nanoseconds;
  return same ? REAP_FILE_SAME : REAP_FILE_MODIFIED;
}
