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

#include "exec/shard.h"
#include "model/operators/layer.h"
#include "reap/comm.h"
#include "reap/moments.h"

typedef struct reap_accumulator reap_accumulator;

/* Which positions of an image count: all, or `positions` of them drawn from (seed, layer's name, image). */
typedef struct reap_sampling {
  int64_t positions; /* 0: all */
  uint64_t seed;
} reap_sampling;

/* Local. `name` is the layer's name; the layer is copied. */
int reap_accumulator_create(const reap_layer *layer, const char *name, const reap_sampling *sampling,
                            const reap_shard *shard, reap_accumulator **out);
void reap_accumulator_destroy(reap_accumulator **accumulator);

/* Local. From now on targets are y + (before - now), both of y's shape; NULL, NULL: y alone. To be called before every
 * block that is scanned, added or measured, since blocks lie in different places. */
void reap_accumulator_set_drift(reap_accumulator *accumulator, const float *before, const float *now);

/* Local. x: the layer's input of block `block` (of all blocks), in storage order; y: the target, likewise. */
int reap_accumulator_scan(reap_accumulator *accumulator, int64_t block, const float *x, const float *y);

/* Collective. */
int reap_accumulator_fix_grid(reap_accumulator *accumulator, const reap_comm *comm);

/* Local. Adds the images of a block that are not held out to the moments. */
int reap_accumulator_add(reap_accumulator *accumulator, int64_t block, const float *x, const float *y);

/* Collective. The moments, the same on all ranks; the caller owns them. */
int reap_accumulator_reduce(reap_accumulator *accumulator, const reap_comm *comm, reap_moments **out);

/* Multiply-adds that the moments of so many rows take in the form chosen (a symmetric product counts half), without
 * padding and other overhead: what the products would cost at best. Local. */
double reap_accumulator_multiply_adds(const reap_accumulator *accumulator, int64_t samples);

/* What the moments of a layer take on a rank, before anything is computed: bytes at most, the moments that come out
 * included, and multiply-adds of an image. Local. */
int reap_accumulator_cost(const reap_layer *layer, const reap_sampling *sampling, const reap_shard *shard,
                          double *bytes, double *multiply_adds);

/* Squared error and centred energy on the images that are held out, for weights on the channels kept. */
typedef struct reap_held_out_error {
  int64_t samples;
  double error, energy;
} reap_held_out_error;

/* Local, for every block between begin and end, after which other weights may begin; end is collective and gives the
 * same result on all ranks. weights [n_kept * block, m] row-major on the channels kept[n_kept], bias [m]. */
int reap_accumulator_residual_begin(reap_accumulator *accumulator, int64_t n_kept, const int64_t *kept,
                                    const double *weights, const double *bias);
int reap_accumulator_residual_add(reap_accumulator *accumulator, int64_t block, const float *x, const float *y);
int reap_accumulator_residual_end(reap_accumulator *accumulator, const reap_comm *comm, reap_held_out_error *out);

#endif
