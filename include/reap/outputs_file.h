/* The network's outputs for every image, `outputs` [N, ...] float32 in one HDF5 file, written by all ranks in parallel. */
#ifndef REAP_OUTPUTS_FILE_H
#define REAP_OUTPUTS_FILE_H

#include <stdint.h>

#include "reap/comm.h"

typedef struct reap_outputs_file reap_outputs_file;

/* Collective: creates the file beside its name; `dims` [rank] is the shape of one image's output. `comm` has to outlive
 * the file. */
int reap_outputs_file_create(const reap_comm *comm, const char *path, int64_t images, int rank, const int64_t *dims,
                             reap_outputs_file **out);

/* Local: outputs of images [first, first + count), row-major. */
int reap_outputs_file_write(reap_outputs_file *file, int64_t first, int64_t count, const float *outputs);

/* Collective: closes, makes durable and renames. After a failure anywhere call destroy instead, on all ranks. */
int reap_outputs_file_commit(reap_outputs_file **file);

/* Collective; NULL is fine. Removes what was written. */
void reap_outputs_file_destroy(reap_outputs_file **file);

#endif
