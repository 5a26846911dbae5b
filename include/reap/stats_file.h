/* Statistics and paths in HDF5 (formats "reap-stats" and reap's path files); layouts in datasets/formats.md.
 * Local calls (one rank reads or writes), but for the writer of statistics. */
#ifndef REAP_STATS_FILE_H
#define REAP_STATS_FILE_H

#include <stdint.h>

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/moments.h"
#include "reap/path.h"

REAP_API_BEGIN

typedef struct reap_origin reap_origin; /* see io/origin.h */
typedef struct reap_stats_file reap_stats_file;

/* Opens a statistics file and lists its layers. REAP_ERR_INPUT names the file and the reason. */
int reap_stats_file_open(const char *path, reap_stats_file **out);
void reap_stats_file_close(reap_stats_file **file);
int reap_stats_file_layers(const reap_stats_file *file);
const char *reap_stats_file_layer_name(const reap_stats_file *file, int layer);

/* Reads and checks the moments of one layer; the caller owns them. */
int reap_stats_file_read(reap_stats_file *file, int layer, reap_moments **out);

/* Layer of that name, or -1. */
int reap_stats_file_find(const reap_stats_file *file, const char *name);

const char *reap_stats_file_path(const reap_stats_file *file);

/* Name of the layer's node in the ONNX file, owned by the caller; "" where the file does not tell. */
int reap_stats_file_node(reap_stats_file *file, int layer, char **node);

/* Where the moments come from; REAP_ERR_INPUT for files that do not tell. The caller clears *origin. */
int reap_stats_file_origin(reap_stats_file *file, reap_origin *origin);

/* A statistics file being written: rank 0 writes it, all ranks take part in every call and get the same status. Created
 * beside its name; complete when committed, nothing if destroyed before (destroy is local). */
typedef struct reap_stats_writer reap_stats_writer;
int reap_stats_writer_create(const reap_comm *comm, const char *path, const reap_origin *origin,
                             reap_stats_writer **out);

/* node: the ONNX node's name. Of moments in memory rank 0's are written. Of those that no rank holds (gram_panels is
 * set) rank 0 writes panel after panel; files are alike to the last digits that plain sums over the ranks leave open.
 * Memory: then one panel, and some columns of X'Y. */
int reap_stats_writer_add(reap_stats_writer *writer, const char *layer, const char *node, const reap_gram *gram);
int reap_stats_writer_commit(reap_stats_writer **writer);
void reap_stats_writer_destroy(reap_stats_writer **writer);

/* Sizes of one layer, without reading its matrices. */
int reap_stats_file_shape(reap_stats_file *file, int layer, int64_t *channels, int64_t *block, int64_t *m);

/* The moments of one layer piece by piece: every rank opens the file and reads its own part of a distributed matrix,
 * side by side. The file must outlive the source. */
typedef struct reap_stats_source reap_stats_source;
int reap_stats_source_open(reap_stats_file *file, int layer, reap_stats_source **out);
void reap_stats_source_close(reap_stats_source **source);
const reap_gram *reap_stats_source_gram(const reap_stats_source *source);

/* A path file: one group per layer. Created beside its name; complete when committed, nothing if destroyed before. */
typedef struct reap_path_file reap_path_file;
int reap_path_file_create(const char *path, reap_path_file **out);
int reap_path_file_write(reap_path_file *file, const char *layer, const reap_path *path);
int reap_path_file_commit(reap_path_file **file);
void reap_path_file_destroy(reap_path_file **file);

REAP_API_END

#endif
