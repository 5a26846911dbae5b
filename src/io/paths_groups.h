/* Private to src/io: what a file of paths holds, which files of sweeps and checkpoints have as well. Local. */
#ifndef REAP_IO_PATHS_GROUPS_H
#define REAP_IO_PATHS_GROUPS_H

#include "io/hdf5/hdf5_util.h"
#include "model/groups/group_paths.h"

/* Writes `groups/<group>/...` into an open file. */
int reap_paths_write_groups(hid_t file, const reap_group_paths *paths);

/* All that a file of paths holds but its format, into an open file or group, and from there; `path` is what messages
 * name. The caller owns what is read, also after an error. */
int reap_paths_write(hid_t parent, const reap_group_paths *paths);
int reap_paths_read(hid_t parent, const char *path, reap_group_paths **out);

#endif
