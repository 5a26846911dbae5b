/* The state of a run in HDF5 (format "reap-checkpoint", version 1): named values in groups, single ones as attributes,
 * lists as data sets. What they are is up to who writes and reads them (prune/session/checkpoint.h). Local calls.
 *
 * Values are put into, and taken from, the group entered last; at first that is the root.
 */
#ifndef REAP_IO_CHECKPOINT_FILE_H
#define REAP_IO_CHECKPOINT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/groups/group_paths.h"

typedef struct reap_checkpoint_file reap_checkpoint_file;

/* Written beside its name; it appears, and replaces one that is there, when it is committed. Closed without that it
 * leaves nothing. */
int reap_checkpoint_begin(const char *path, reap_checkpoint_file **out);
int reap_checkpoint_commit(reap_checkpoint_file *file);
int reap_checkpoint_open(const char *path, reap_checkpoint_file **out);
void reap_checkpoint_close(reap_checkpoint_file **file);

/* A group in the present one, made if the file is being written. */
int reap_checkpoint_enter(reap_checkpoint_file *file, const char *group);
void reap_checkpoint_leave(reap_checkpoint_file *file);

/* Whether the present group has a value or a group of that name. */
bool reap_checkpoint_has(const reap_checkpoint_file *file, const char *name);

int reap_checkpoint_put_text(reap_checkpoint_file *file, const char *name, const char *text);
int reap_checkpoint_put_integer(reap_checkpoint_file *file, const char *name, int64_t value);
int reap_checkpoint_put_number(reap_checkpoint_file *file, const char *name, double value);
int reap_checkpoint_put_integers(reap_checkpoint_file *file, const char *name, int64_t count, const int64_t *values);
int reap_checkpoint_put_numbers(reap_checkpoint_file *file, const char *name, int64_t count, const double *values);
int reap_checkpoint_put_floats(reap_checkpoint_file *file, const char *name, int64_t count, const float *values);

/* The present group is one of paths (paths_file.h). */
int reap_checkpoint_put_paths(reap_checkpoint_file *file, const reap_group_paths *paths);

/* REAP_ERR_INPUT names the file and the value if it is missing or of another kind. Lists have to have `count` elements;
 * texts, lists and paths belong to the caller. */
int reap_checkpoint_get_text(const reap_checkpoint_file *file, const char *name, char **text);
int reap_checkpoint_get_integer(const reap_checkpoint_file *file, const char *name, int64_t *value);
int reap_checkpoint_get_number(const reap_checkpoint_file *file, const char *name, double *value);
int reap_checkpoint_get_integers(const reap_checkpoint_file *file, const char *name, int64_t count, int64_t **values);
int reap_checkpoint_get_numbers(const reap_checkpoint_file *file, const char *name, int64_t count, double **values);
int reap_checkpoint_get_floats(const reap_checkpoint_file *file, const char *name, int64_t count, float **values);
int reap_checkpoint_get_paths(const reap_checkpoint_file *file, reap_group_paths **paths);

#endif
