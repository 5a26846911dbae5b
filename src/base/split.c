#include "split.h"

int64_t reap_split_list(reap_split split, int64_t items, int64_t most, int64_t *indices) {
  const int64_t all = reap_split_count(split, items), wanted = most < all ? most : all;
  int64_t taken = 0;
  for (int64_t seen = 0; taken < wanted; seen++) {
    /* The k-th of them is the first whose place reaches k / wanted of the way. */
    if (seen * wanted < taken * all) continue;
    if (indices) indices[taken] = seen * split.every + split.place;
    taken++;
  }
  return taken;
}
