/* Which numbered items (images) are held out of all that is fitted, so that errors can be measured on them. Local. */
#ifndef REAP_BASE_SPLIT_H
#define REAP_BASE_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

/* Items whose index is `place` modulo `every` are held out; every 0: none. */
typedef struct reap_split {
  int64_t every, place;
} reap_split;

/* How calibration images are split. */
static const reap_split REAP_SPLIT_TENTH = {10, 9};

/* Fewer images held out say too little of a whole network. */
enum { REAP_HELD_OUT_LEAST = 50 };

static inline bool reap_split_holds_out(reap_split split, int64_t item) {
  return split.every > 0 && item % split.every == split.place;
}

/* Items held out among the first `items`. */
static inline int64_t reap_split_count(reap_split split, int64_t items) {
  return split.every > 0 ? (items + split.every - 1 - split.place) / split.every : 0;
}

/* Of the items held out among the first `items` at most `most`, evenly spaced, ascending, into indices[] (NULL: to
 * count them). Returns their number. */
int64_t reap_split_list(reap_split split, int64_t items, int64_t most, int64_t *indices);

#endif
