/* Statistics and paths in HDF5 (formats "reap-stats" and reap's path files); see datasets/README.md for the layout.
 * Local calls: one rank reads or writes. */
#ifndef REAP_STATS_FILE_H
#define REAP_STATS_FILE_H

#include <stdint.h>

#include "reap/moments.h"
#include "reap/path.h"

typedef struct reap_stats_file reap_stats_file;

/* Opens a statistics file and lists its layers. REAP_ERR_INPUT names the file and the reason. */
int reap_stats_file_open(const char *path, reap_stats_file **out);
void reap_stats_file_close(reap_stats_file **file);
int reap_stats_file_layers(const reap_stats_file *file);
const char *reap_stats_file_layer_name(const reap_stats_file *file, int layer);

/* Reads and checks the moments of one layer; the caller owns them. */
int reap_stats_file_read(reap_stats_file *file, int layer, reap_moments **out);

/* A path file: one group per layer. Created beside its name; complete when committed, nothing if destroyed before. */
typedef struct reap_path_file reap_path_file;
int reap_path_file_create(const char *path, reap_path_file **out);
int reap_path_file_write(reap_path_file *file, const char *layer, const reap_path *path);
int reap_path_file_commit(reap_path_file **file);
void reap_path_file_destroy(reap_path_file **file);

#endif
