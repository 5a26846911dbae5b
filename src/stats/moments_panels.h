/* Moments of a layer that no rank could hold: reduced panel by panel from the images that the ranks have.
 *
 * X'X is never stored here. The solver, or a file, receives it as a stream of panels: columns of a few
 * channels, each summed over the ranks while the next one's product is formed. X'Y is kept, every rank a share of the
 * outputs (reap_comm_share). What all ranks hold are sums of length n and m, and two panels. Sums are plain ones: their
 * last digits depend on the number of ranks (those of accumulator.h do not).
 */
#ifndef REAP_STATS_MOMENTS_PANELS_H
#define REAP_STATS_MOMENTS_PANELS_H

#include "accumulator.h"
#include "reap/comm.h"
#include "reap/moments.h"

typedef struct reap_moments_panels reap_moments_panels;

/* Columns of a panel for a matrix of n columns that lies on `ranks` ranks: 64 MB, or a sixteenth of a rank's share of
 * the matrix where that is more. Local. */
int64_t reap_moments_panels_width(int64_t n, int ranks);

/* Collective. Goes over the images that are not held out for the diagonal, the sums and X'Y. The samples are copied;
 * what they borrow must outlive the panels. width: columns of a panel, 0: reap_moments_panels_width. */
int reap_moments_panels_create(const reap_comm *comm, const reap_samples *samples, int64_t width,
                               reap_moments_panels **out);
void reap_moments_panels_destroy(reap_moments_panels **panels);

/* Local: the moments for the solver (gram_panels is set, gram is not), valid as long as the panels. */
const reap_gram *reap_moments_panels_gram(const reap_moments_panels *panels);

/* Bytes that a rank holds for panels and sums, and of rows at a time, at most. Local. */
double reap_moments_panels_bytes(const reap_layer *layer, int ranks);

/* Multiply-adds of the moments of all ranks, X'X taken once. Local. */
double reap_moments_panels_multiply_adds(const reap_moments_panels *panels);

#endif
