/* Which numbered items (images) are held out of all that is fitted, so that errors can be measured on them. Local. */
#ifndef REAP_BASE_SPLIT_H
#define REAP_BASE_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

/* Items whose index is `place` modulo `every` are held out, or all others; every 0: none. */
typedef struct reap_split {
  int64_t every, place;
  bool others;
} reap_split;

/* How calibration images are split; and what is fitted and what is held out exchanged. */
static const reap_split REAP_SPLIT_TENTH = {10, 9, false};
static inline reap_split reap_split_exchanged(reap_split split) {
  split.others = !split.others;
  return split;
}

/* Fewer images held out say too little of a whole network. */
enum { REAP_HELD_OUT_LEAST = 50 };

static inline bool reap_split_holds_out(reap_split split, int64_t item) {
  return split.every > 0 && (item % split.every == split.place) != split.others;
}

/* Items held out among the first `items`; this and the list not of an exchanged split. */
static inline int64_t reap_split_count(reap_split split, int64_t items) {
  return split.every > 0 ? (items + split.every - 1 - split.place) / split.every : 0;
}

/* Of the items held out among the first `items` at most `most`, evenly spaced, ascending, into indices[] (NULL: to
 * count them). Returns their number. */
int64_t reap_split_list(reap_split split, int64_t items, int64_t most, int64_t *indices);

#endif
