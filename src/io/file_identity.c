/* Files told apart by device and inode.
 *
 * Failure modes: of two names for a file that is not there yet, in one folder, only the same spelling is known to mean the same, also where
 * the file system takes large and small letters for equal.
 */
#include "reap/file_identity.h"

#include <string.h>
#include <sys/stat.h>

#include "durable_names.h"
#include "reap/durable.h"
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

reap_file_identity reap_file_identify(const char *path) {
  struct stat about;
  char *target = NULL, *folder = NULL;
  if (stat(path, &about) == 0) return identity_of(&about, true);
  reap_file_identity identity = {0};
  int status = reap_durable_target(path, &target);
  if (status == REAP_OK) status = reap_durable_folder(target, &folder);
  if (status == REAP_OK && stat(folder, &about) == 0) identity = identity_of(&about, false);
  reap_free(&folder);
  reap_free(&target);
  return identity;
}

/* Names of files that are not there, in one folder. */
static bool same_name(const char *a_path, const char *b_path) {
  char *a = NULL, *b = NULL;
  int status = reap_durable_target(a_path, &a);
  if (status == REAP_OK) status = reap_durable_target(b_path, &b);
  const bool same = status == REAP_OK && strcmp(last_part(a), last_part(b)) == 0;
  reap_free(&a);
  reap_free(&b);
  return same;
}

bool reap_file_same(const char *a_path, const reap_file_identity *a, const char *b_path, const reap_file_identity *b) {
  if (strcmp(a_path, b_path) == 0) return true;
  if (!a->known || !b->known || a->there != b->there || a->device != b->device || a->inode != b->inode) return false;
  return a->there || same_name(a_path, b_path);
}

reap_file_change reap_file_changed(const char *path, const reap_file_identity *before) {
  const reap_file_identity now = reap_file_identify(path);
  if (!before->there) return REAP_FILE_SAME;
  if (!now.there) return REAP_FILE_GONE;
  if (now.device != before->device || now.inode != before->inode) return REAP_FILE_REPLACED;
  const bool same = now.size == before->size && now.seconds == before->seconds && now.nanoseconds == before->nanoseconds;
  return same ? REAP_FILE_SAME : REAP_FILE_MODIFIED;
}
