/* A network on its way through the graph, for this rank's blocks of images.
 *
 * Some nodes have been computed; the frontier holds, for every block, the values that were computed and are still to
 * be read: the tensors that cross the present cut. advance() moves the cut forward just as far as the values asked for
 * need. A whole run thus computes every node once. Local.
 *
 * With a limit on memory, values beyond it are written to a file of the scratch folder, or computed again when they
 * are read if that is cheaper. Results are the same to the last bit. Walks should go through the blocks in order.
 */
#ifndef REAP_EXEC_FRONTIER_H
#define REAP_EXEC_FRONTIER_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/kernels/kernel.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "shard.h"

typedef struct reap_frontier reap_frontier;

/* The graph is borrowed; nodes not yet computed may be changed (surgery) between calls of advance. */
int reap_frontier_create(const reap_graph *graph, int64_t n_blocks, reap_backend backend, reap_frontier **out);
void reap_frontier_destroy(reap_frontier **frontier);

/* Before anything is held: most bytes that the values held and the buffers of computing them may take, in this frontier
 * and all forks of it together; `scratch` is the folder (borrowed) for what exceeds them. Where the values of one block
 * of images alone exceed it, they are held nonetheless, with a warning. 0: no limit. */
void reap_frontier_limit(reap_frontier *frontier, int64_t bytes, const char *scratch);

/* What a frontier and all its forks have used so far. */
typedef struct reap_frontier_use {
  int64_t peak;                    /* bytes: most that was held at a time, buffers included */
  int64_t spilled, read_back;      /* bytes to and from the scratch file */
  int64_t images_read;             /* bytes of images, as float32 */
  int64_t recomputed;              /* bytes of what was computed again, */
  double recomputed_multiply_adds; /* and what that took */
  double seconds_scratch, seconds_images;
} reap_frontier_use;

void reap_frontier_get_use(const reap_frontier *frontier, reap_frontier_use *out);

/* Input 0 comes from a data set (borrowed): this rank's blocks are read when they are needed, again if need be. A tail
 * is padded with its last image. */
int reap_frontier_images(reap_frontier *frontier, reap_dataset *images, const reap_shard *shard);

/* Memory for input `input` of block `block` (storage order), to be filled by the caller before the first advance. */
int reap_frontier_input(reap_frontier *frontier, int input, int64_t block, float **storage);

/* A frontier at the same cut for `graph`, a clone of the first one's graph whose computed nodes still are the same.
 * Both share the memory of what is held, and go their own ways from here on. */
int reap_frontier_fork(const reap_frontier *frontier, const reap_graph *graph, reap_frontier **out);

/* From now on values[n], as soon as they are computed (or now, if they are held), are held until the end, in this
 * frontier and in forks made of it: network outputs, say, which nothing has to read. */
void reap_frontier_keep(reap_frontier *frontier, const int *values, int n);

/* Computes, for all blocks, the nodes that values[n] need and that have not been computed. Afterwards these are held,
 * and values that are neither asked for nor kept nor read by any node still to be computed are given back. */
int reap_frontier_advance(reap_frontier *frontier, const int *values, int n);

/* Value of a block, in storage order. Stays where it is until a value of another block is asked for, or the frontier or
 * a fork is advanced or cut. REAP_ERR_RESOURCE or _INPUT if it cannot be brought back to memory. */
int reap_frontier_read(const reap_frontier *frontier, int value, int64_t block, const float **out);

/* The same; NULL if it is not held, or cannot be brought back. */
const float *reap_frontier_value(const reap_frontier *frontier, int value, int64_t block);

/* True if node `node` has been computed. */
bool reap_frontier_done(const reap_frontier *frontier, int node);

/* Drops channels of `group` from all values held, just before surgery does so in the graph. */
int reap_frontier_cut(reap_frontier *frontier, const reap_groups *groups, int group, const bool *keep);

/* Bytes of values held in memory now; blocks that are shared count in parts. */
int64_t reap_frontier_bytes(const reap_frontier *frontier);

#endif
