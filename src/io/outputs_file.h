/* The network's outputs for every image in one HDF5 file, written by all ranks in parallel: `outputs` [N, ...] float32
 * is the first, `outputs_1`, `outputs_2`, ... are the others in the network's order, each with its name in the
 * attribute `name`. */
#ifndef REAP_IO_OUTPUTS_FILE_H
#define REAP_IO_OUTPUTS_FILE_H

#include <stdint.h>

#include "reap/comm.h"

typedef struct reap_outputs_file reap_outputs_file;

/* One output: dims[rank] is its shape for one image. All borrowed. */
typedef struct reap_outputs_shape {
  const char *name; /* NULL: not in the file */
  int rank;
  const int64_t *dims;
} reap_outputs_shape;

/* Collective: creates the file beside its name, for `count` outputs (at least 1). `comm` has to outlive the file. */
int reap_outputs_file_create(const reap_comm *comm, const char *path, int64_t images, int count,
                             const reap_outputs_shape *shapes, reap_outputs_file **out);

/* Local: output number `output` of images [first, first + count), row-major. */
int reap_outputs_file_write(reap_outputs_file *file, int output, int64_t first, int64_t count, const float *outputs);

/* Collective: closes, makes durable and renames. After a failure anywhere call destroy instead, on all ranks. */
int reap_outputs_file_commit(reap_outputs_file **file);

/* Local; NULL is fine. Removes what was written. */
void reap_outputs_file_destroy(reap_outputs_file **file);

#endif
