/* Private to src/io: names of temporary files, "<file>.<host>.<process>.tmp". They tell whose a file is, so that what a
 * killed run has left can be told from what a living one is writing. Local. */
#ifndef REAP_IO_FILES_DURABLE_NAMES_H
#define REAP_IO_FILES_DURABLE_NAMES_H

/* This process's temporary name for `path`, owned by the caller. A file name too long for the addition is cut. */
int reap_durable_name(const char *path, char **temporary);

/* The folder that `path` lies in, in a new string. */
int reap_durable_folder(const char *path, char **folder);

#endif
