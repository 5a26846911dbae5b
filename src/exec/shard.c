#include "reap/shard.h"

#include "reap/comm.h"

reap_shard reap_shard_make(int64_t images, int64_t block, int rank, int ranks) {
  reap_shard s = {.images = images, .block = block, .blocks = (images + block - 1) / block};
  reap_comm_share(s.blocks, rank, ranks, &s.first, &s.last);
  return s;
}

void reap_shard_block(const reap_shard *shard, int64_t index, int64_t *first, int64_t *count) {
  *first = index * shard->block;
  int64_t left = shard->images - *first;
  *count = left < shard->block ? left : shard->block;
}
