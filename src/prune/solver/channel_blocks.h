/* What the choice of the next channel needs of every channel: its diagonal blocks H_jj and (W W')_jj, kept current from
 * one removal to the next; private to src/prune. Local. */
#ifndef REAP_PRUNE_SOLVER_CHANNEL_BLOCKS_H
#define REAP_PRUNE_SOLVER_CHANNEL_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct channel_blocks {
  int64_t slots, block;
  double *dual;    /* H_jj */
  double *product; /* K_jj = (W W')_jj */
  double *scratch;
} channel_blocks;

int reap_channel_blocks_create(int64_t slots, int64_t block, channel_blocks *out);
void reap_channel_blocks_clear(channel_blocks *blocks);

/* Takes new blocks of `slots` channels: dual, product [slots][block * block], symmetric; NULL: they stay. */
void reap_channel_blocks_load(channel_blocks *blocks, int64_t slots, const double *dual, const double *product);

/* Drops all but `count` slots, which become 0 .. count - 1 in the order given: slot[k] >= k, and what is taken from
 * further behind is not wanted where it stood. */
void reap_channel_blocks_keep(channel_blocks *blocks, int64_t count, const int64_t *slot);

/* Two slots change places. */
void reap_channel_blocks_swap(channel_blocks *blocks, int64_t slot, int64_t other);

/* Both blocks of one slot, [block, block], both triangles. */
void reap_channel_blocks_get(const channel_blocks *blocks, int64_t slot, double *dual, double *product);

/* H_jj -= V_j V_j' and K_jj -= Q_j V_j' + V_j Q_j' for all slots; v, q [slots * block, block] column-major. */
int reap_channel_blocks_update(channel_blocks *blocks, const double *v, int64_t ldv, const double *q, int64_t ldq);

/* Removal costs: cost[j] = tr(H_jj^-1 K_jj) of all slots; NaN where H_jj is not positive definite. */
int reap_channel_blocks_costs(channel_blocks *blocks, double *cost);

/* Sum of tr(K_jj) over the slots where alive[slot]: |W|^2. */
double reap_channel_blocks_squares(const channel_blocks *blocks, const bool *alive);

/* The slot of smallest cost among those alive; of several within `tie` of the smallest that of the lowest channel. -1
 * if a cost is no number. */
int64_t reap_channel_blocks_cheapest(int64_t slots, const bool *alive, const int64_t *channel, const double *cost,
                                     double tie);

#endif
