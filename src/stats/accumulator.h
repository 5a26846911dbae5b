/* From activations to moments: sums over this rank's blocks, then over ranks.
 *
 * The result does not depend on the number of ranks, to the last bit. Every block's contribution is computed alone
 * and rounded to a grid that is coarse enough for all sums of grid points to be exact in float64, in any order; the
 * grid is derived from the columns' energies (largest over blocks, times the number of blocks), hence the two passes:
 *
 *   scan every block;  fix the grid (collective);  add every block;  reduce (collective).
 *
 * The rounding costs at most 2^-50 of sqrt(E_i E_j) for each block and element, the order of the rounding that plain
 * summation has anyway.
 */
#ifndef REAP_STATS_ACCUMULATOR_H
#define REAP_STATS_ACCUMULATOR_H

#include <stdint.h>

#include "held_out.h"
#include "reap/comm.h"
#include "reap/moments.h"
#include "samples.h"

typedef struct reap_accumulator reap_accumulator;

/* Local. The samples are copied; what they borrow must outlive the accumulator. */
int reap_accumulator_create(const reap_samples *samples, reap_accumulator **out);
void reap_accumulator_destroy(reap_accumulator **accumulator);

/* Collective: both passes over the blocks that count, i.e. the next three functions. */
int reap_accumulator_sum(reap_accumulator *accumulator, const reap_comm *comm);

/* Local: the first pass over local block b. */
int reap_accumulator_scan(reap_accumulator *accumulator, int64_t b);

/* Collective. */
int reap_accumulator_fix_grid(reap_accumulator *accumulator, const reap_comm *comm);

/* Local. Adds the images of local block b that are not held out to the moments. */
int reap_accumulator_add(reap_accumulator *accumulator, int64_t b);

/* Collective. The moments, the same on all ranks; the caller owns them. */
int reap_accumulator_reduce(reap_accumulator *accumulator, const reap_comm *comm, reap_moments **out);

/* Multiply-adds that the moments of so many rows take in the form chosen (a symmetric product counts half), without
 * padding and other overhead: what the products would cost at best. Local. */
double reap_accumulator_multiply_adds(const reap_accumulator *accumulator, int64_t samples);

/* What the moments of a layer take on a rank, before anything is computed: bytes at most, the moments that come out
 * included, and multiply-adds of an image. Nothing is read. Local. */
int reap_accumulator_cost(const reap_samples *samples, double *bytes, double *multiply_adds);

/* Collective, after the moments are reduced, as often as wanted; the same on all ranks. weights [n_kept * block, m]
 * row-major on the channels kept[n_kept], bias [m]. */
int reap_accumulator_residual(reap_accumulator *accumulator, const reap_comm *comm, int64_t n_kept, const int64_t *kept,
                              const double *weights, const double *bias, reap_held_out_error *out);

#endif
