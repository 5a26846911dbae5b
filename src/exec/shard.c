#include "shard.h"

#include "reap/comm.h"
#include "reap/log.h"

reap_shard reap_shard_make(int64_t images, int64_t block, int rank, int ranks) {
  reap_shard s = {.images = images, .block = block, .blocks = (images + block - 1) / block};
  reap_comm_share(s.blocks, rank, ranks, &s.first, &s.last);
  return s;
}

reap_shard reap_shard_of(const reap_comm *comm, const reap_dataset *data, int64_t most, int64_t block) {
  int64_t images = reap_dataset_images(data);
  if (most > 0 && most < images) images = most;
  return reap_shard_make(images, block, reap_comm_rank(comm), reap_comm_size(comm));
}

void reap_shard_block(const reap_shard *shard, int64_t index, int64_t *first, int64_t *count) {
  *first = index * shard->block;
  int64_t left = shard->images - *first;
  *count = left < shard->block ? left : shard->block;
}

void reap_shard_warn_idle(const reap_comm *comm, int64_t blocks) {
  if (blocks < reap_comm_size(comm))
    reap_log(REAP_LOG_WARNING, "%lld of %d ranks stay idle: there are only %lld blocks of images",
             (long long)(reap_comm_size(comm) - blocks), reap_comm_size(comm), (long long)blocks);
}
