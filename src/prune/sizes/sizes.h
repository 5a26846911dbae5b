/* The sizes that each group may take, with their losses; private to src/prune. Local. */
#ifndef REAP_PRUNE_SIZES_SIZES_H
#define REAP_PRUNE_SIZES_SIZES_H

#include "ratios.h"

typedef struct group_sizes {
  int n;         /* sizes, at least one */
  int64_t *kept; /* [n] ascending; the last one is all channels */
  double *loss;  /* [n]; zeros without losses */
} group_sizes;

/* All sizes allowed; of a group with more than `most` (at least 2) of them about so many, evenly spaced. */
int reap_group_sizes_create(const reap_ratio_problem *problem, int most, group_sizes **out);
void reap_group_sizes_destroy(group_sizes **sizes, int n_groups);

/* The next allowed size above (direction > 0) or below `kept`, 0 if there is none. */
int64_t reap_group_size_next(const reap_ratio_problem *problem, int group, int64_t kept, int direction);

/* The allowed size nearest below `kept`, the smallest one if there is none. */
int64_t reap_group_size_at_most(const reap_ratio_problem *problem, int group, int64_t kept);

#endif
