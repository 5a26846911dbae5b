/* Columns of H and K = W W' as of the last flush, of the channels that are likely to go next; private to src/prune. */
#ifndef REAP_PRUNE_PIVOT_COLUMNS_H
#define REAP_PRUNE_PIVOT_COLUMNS_H

#include "dual_system.h"

/* Room for `rows` rows of the channels of a panel of `room` channels and those that may come instead. m: outputs of this rank where
 * K is formed from W, 0 where it is carried. Local. */
int pivot_columns_create(int64_t rows, int64_t slots, int64_t block, int64_t room, int64_t m, pivot_columns *out);
void pivot_columns_clear(pivot_columns *columns);

/* Forms those of the cheapest channels at the start of a panel, of which `left` at most will go. Collective over the
 * grid. */
int pivot_columns_prepare(dual_system *d, const double *growth, int64_t left);

/* This rank's rows of one slot's columns, [own_slots * block, block] each, valid until the next call. Collective. */
int pivot_columns_get(dual_system *d, int64_t slot, const double **dual, const double **product);

#endif
