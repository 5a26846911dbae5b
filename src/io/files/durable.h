/* Files that appear whole or not at all: written beside their name, renamed when complete. Local calls, but for one.
 *
 * Every run writes under a name of its own, "<path>.<host>.<process>.tmp": of two runs with one output the later one
 * wins, and the file is whole and of one run. (A lock would refuse the second run, but what a lock means differs
 * between file systems, and a rename means the same on all of them.) A symbolic link is followed: what it points to is
 * replaced, the link stays.
 */
#ifndef REAP_IO_FILES_DURABLE_H
#define REAP_IO_FILES_DURABLE_H

#include "reap/comm.h"

/* Creates an empty file to write to, and its name, owned by the caller. REAP_ERR_INPUT early and by name if the folder
 * does not exist or cannot be written, or if `path` is no regular file. */
int reap_durable_begin(const char *path, char **temporary);

/* Collective. Rank 0's temporary name on all ranks: a copy that the caller owns (reap_free). `temporary` matters on
 * rank 0. */
int reap_durable_share(const reap_comm *comm, const char *temporary, char **copy);

/* fsync, rename over `path` (over what it points to), fsync of the folder. Frees *temporary; removes the file if that
 * fails. */
int reap_durable_commit(char **temporary, const char *path);

/* Removes the temporary file and frees its name; NULL is fine. */
void reap_durable_abandon(char **temporary);

/* Cuts a temporary name back to the name of the file that it will be, for messages; any other name stays. */
void reap_durable_final_name(char *name);

/* Removes what killed runs have left for `path`: temporary files whose process, of this host, is gone. Warns of those
 * whose process cannot be looked for from here. Only a lack of memory is a failure: the names do not clash with
 * others. */
int reap_durable_tidy(const char *path);

/* The same for all temporary files in a folder. */
int reap_durable_tidy_folder(const char *folder);

/* The file that `path` leads to, in a new string: links are followed, also where they lead to nothing yet. */
int reap_durable_target(const char *path, char **target);

/* What a file is that is neither regular nor missing ("a folder", "a device", ...); NULL: it is one of these. */
const char *reap_durable_other_kind(const char *path);

/* Status and message for a failed system call on `path`, from errno: see reap_error_system(). */
int reap_durable_error(const char *path, const char *action);

#endif
