/* Private to src/io: the groups of a file of paths, which a sweep's file has as well. Local. */
#ifndef REAP_IO_PATHS_GROUPS_H
#define REAP_IO_PATHS_GROUPS_H

#include "io/hdf5/hdf5_util.h"
#include "model/groups/group_paths.h"

/* Writes `groups/<group>/...` into an open file. */
int reap_paths_write_groups(hid_t file, const reap_group_paths *paths);

#endif
