/* Number of channels of a share. Local. */
#ifndef REAP_PRUNE_SIZES_BUDGET_H
#define REAP_PRUNE_SIZES_BUDGET_H

#include <stdint.h>

/* floor(share * channels + 0.5), at least 1, at most `channels`. */
int64_t reap_budget_round(double share, int64_t channels);

#endif
