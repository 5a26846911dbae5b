/* Which images are whose: fixed blocks of images, dealt out to ranks in contiguous runs. Local.
 *
 * A block is the unit of kernel calls and of summation. Blocks are the same for any number of ranks; the last one may
 * be short of images, and is then padded by repeating its last image, which counts for nothing.
 */
#ifndef REAP_EXEC_SHARD_H
#define REAP_EXEC_SHARD_H

#include <stdint.h>

#include "base/split.h"
#include "reap/comm.h"
#include "reap/dataset.h"

typedef struct reap_shard {
  int64_t images;      /* in all */
  int64_t block;       /* images per block */
  int64_t blocks;      /* in all */
  int64_t first, last; /* blocks [first, last) are this rank's */
} reap_shard;

reap_shard reap_shard_make(int64_t images, int64_t block, int rank, int ranks);

/* This rank's share of a data set's images, or of the first `most` of them (0: all). */
reap_shard reap_shard_of(const reap_comm *comm, const reap_dataset *data, int64_t most, int64_t block);

/* Images [*first, *first + *count) of block `index` (0 .. blocks-1). */
void reap_shard_block(const reap_shard *shard, int64_t index, int64_t *first, int64_t *count);

/* Warns if some ranks have none of so many blocks. */
void reap_shard_warn_idle(const reap_comm *comm, int64_t blocks);

#endif
