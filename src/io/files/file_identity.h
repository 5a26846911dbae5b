/* Which file a name means, however it is spelled, and whether it still means the same. Local. */
#ifndef REAP_IO_FILES_FILE_IDENTITY_H
#define REAP_IO_FILES_FILE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Device and inode tell a file from all others on this host: links, "./", other paths and names in other letters lead
 * to the same. Where there is no file yet, they are those of the folder it would be in. */
typedef struct reap_file_identity {
  bool known; /* device and inode are */
  bool there; /* the file is */
  uint64_t device, inode;
  int64_t size, seconds, nanoseconds; /* the file's, and when it was last written to */
} reap_file_identity;

typedef enum reap_file_change {
  REAP_FILE_SAME,
  REAP_FILE_GONE,
  REAP_FILE_REPLACED,
  REAP_FILE_MODIFIED
} reap_file_change;

/* Links are followed, also one that leads to no file yet. Not known: not even the folder can be examined. Fails for
 * want of memory only. */
int reap_file_identify(const char *path, reap_file_identity *identity);

/* Whether both names mean one file, there or not. Fails for want of memory only. */
int reap_file_same(const char *a_path, const reap_file_identity *a, const char *b_path, const reap_file_identity *b,
                   bool *same);

/* What has become of a file that was there. */
reap_file_change reap_file_changed(const char *path, const reap_file_identity *before);

#endif
