/* Files that appear whole or not at all: written beside their name, renamed when complete. Local calls. */
#ifndef REAP_DURABLE_H
#define REAP_DURABLE_H

/* Name to write to, "<path>.tmp", owned by the caller; REAP_ERR_INPUT early and by name if the folder does not exist
 * or cannot be written, or if `path` is a folder. */
int reap_durable_begin(const char *path, char **temporary);

/* fsync, rename over `path`, fsync of the folder. Frees *temporary; removes the file if that fails. */
int reap_durable_commit(char **temporary, const char *path);

/* Removes the temporary file and frees its name; NULL is fine. */
void reap_durable_abandon(char **temporary);

/* Status and message for a failed system call on `path`, from errno: REAP_ERR_RESOURCE for a full disk or quota,
 * REAP_ERR_INPUT otherwise. */
int reap_durable_error(const char *path, const char *action);

#endif
