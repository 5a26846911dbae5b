/* Columns of H and K = W W' as of the start of the stage, of the channels that are likely to go next; private to src/prune. */
#ifndef REAP_PRUNE_PIVOT_COLUMNS_H
#define REAP_PRUNE_PIVOT_COLUMNS_H

#include "dual_system.h"

/* Room for `rows` rows. m: outputs of this rank where K is formed from W, 0 where it is carried. Local. */
int pivot_columns_create(int64_t rows, int64_t slots, int64_t block, int64_t m, pivot_columns *out);
void pivot_columns_clear(pivot_columns *columns);

/* None is at hand any more: the system was factored. Local. */
void pivot_columns_forget(dual_system *d);

/* This rank's rows of one slot's columns, [own_slots * block, block] each, valid until the next call. growth: costs as they stand,
 * of which ranks take those of the first one; left: channels still to go. Collective. */
int pivot_columns_get(dual_system *d, int64_t slot, const double *growth, int64_t left, const double **dual,
                      const double **product);

/* At the end of a stage, while its Q is there: brings them up to date. Collective. */
int pivot_columns_advance(dual_system *d);

/* Drops those of channels that left; slots old[0 .. count), old[s] >= s, become 0 .. count - 1. The rows are the caller's concern.
 * Local. */
void pivot_columns_renumber(dual_system *d, int64_t count, const int64_t *old);

#endif
