#include "shard.h"

#include "reap/comm.h"
#include "reap/log.h"

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

int64_t reap_held_out_images(int64_t images, int64_t most, int64_t *indices) {
  int64_t all = 0, taken = 0;
  for (int64_t i = 0; i < images; i++) all += reap_held_out(i);
  const int64_t wanted = most < all ? most : all;
  for (int64_t i = 0, seen = 0; i < images && wanted > 0; i++) {
    if (!reap_held_out(i)) continue;
    /* The k-th of them is the first whose place reaches k / wanted of the way. */
    if (seen++ * wanted >= taken * all && taken < wanted) {
      if (indices) indices[taken] = i;
      taken++;
    }
  }
  return wanted > 0 ? wanted : 0;
}

void reap_shard_warn_idle(const reap_comm *comm, int64_t blocks) {
  if (blocks < reap_comm_size(comm))
    reap_log(REAP_LOG_WARNING, "%lld of %d ranks stay idle: there are only %lld blocks of images",
             (long long)(reap_comm_size(comm) - blocks), reap_comm_size(comm), (long long)blocks);
}
