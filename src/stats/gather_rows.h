/* All rows of a layer on every rank, where they are few. */
#ifndef REAP_STATS_GATHER_ROWS_H
#define REAP_STATS_GATHER_ROWS_H

#include "linalg/few_rows.h"
#include "samples.h"

/* Whether a layer has so few rows in the sums that it is better solved from the rows than from its moments: at most an
 * eighth as many as columns. The same on all ranks. Local. */
bool reap_rows_are_few(int64_t rows, int64_t columns);

/* Rows in the sums that all ranks have. Local. */
int64_t reap_samples_rows(const reap_samples *samples);

/* Collective: the rows in the sums, in the order of images and positions, the same on all ranks whatever their number;
 * the caller owns them. */
int reap_gather_rows(const reap_comm *comm, const reap_samples *samples, reap_few_rows **out);

#endif
