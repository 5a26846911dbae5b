/* Moments of a layer over blocks and ranks, bit for bit the same on any number of ranks; see accumulator.h.
 *
 * Per block: G_b = X'X, C_b = X'Y, column sums. For convolutions of stride 1 at all positions from shifted correlations
 * (shift_gram.c), G_b then standing as a list of terms of which the Gram matrix is made up at the end; else from
 * patches, by DSYRK and DGEMM; whichever takes fewer operations. Each sum is then added on the grid: with
 * a_i = 2^e_i >= sqrt(E_i), an element (i, j) is rounded to a multiple of q = 2^-50 a_i a_j, by adding and
 * subtracting 1.5 * 2^52 q = 6 a_i a_j. All partial sums are multiples of q below 2^53 q, hence exact. A column of ones
 * (for the sums) has the energy "number of rows".
 *
 * Failure modes: activations that overflow give moments that are not finite; reap_moments_check says so.
 */
#include "accumulator.h"

#include <math.h>
#include <string.h>

#include "columns.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rows.h"
#include "shift_gram.h"

struct reap_accumulator {
  reap_samples samples;
  reap_rows rows;              /* unused in the shift form */
  reap_shift *shift;           /* NULL: by patches */
  int64_t gram_count;          /* numbers in gram: n * n, or those of the shift form's terms */
  double *energy_x, *energy_y; /* [channels or n], [m] largest over blocks; see scan_columns */
  bool scan_by_rows;           /* energies of the rows that count: positions are sampled, or rows have gaps */
  int64_t scan_columns;        /* channels of a convolution at all positions, else n */
  double *grid_x, *grid_y;     /* [n], [m] powers of two a_i; grid_one for the column of ones */
  double grid_one;
  int64_t samples_taken;
  double *gram, *cross, *sum_x, *sum_y, energy;                               /* sums on the grid, tap-major */
  double *block_gram, *block_cross, *block_sum_x, *block_sum_y, block_energy; /* of the block at hand */
  bool block_empty;
  /* held-out images */
  double *weights, *bias, *product; /* [n, m] tap-major with zero rows for channels not kept; [m]; [capacity, m] */
  reap_held_out_sums held;          /* sums of Y on the grid */
  double *held_block_sum;           /* [m] of Y, of the block at hand */
};

static int allocate(reap_accumulator *a) {
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  int64_t square = 0, cross = 0;
  REAP_TRY(reap_multiply(n, n, &square)); /* the terms of the shift form are at most four times as many */
  if (a->shift) square = reap_shift_count(a->shift);
  a->gram_count = square;
  REAP_TRY(reap_multiply(n, m, &cross));
  REAP_TRY(reap_calloc(&a->energy_x, a->scan_columns, sizeof(double)));
  REAP_TRY(reap_calloc(&a->energy_y, m, sizeof(double)));
  REAP_TRY(reap_alloc(&a->grid_x, n, sizeof(double)));
  REAP_TRY(reap_alloc(&a->grid_y, m, sizeof(double)));
  REAP_TRY(reap_calloc(&a->gram, square, sizeof(double)));
  REAP_TRY(reap_calloc(&a->cross, cross, sizeof(double)));
  REAP_TRY(reap_calloc(&a->sum_x, n, sizeof(double)));
  REAP_TRY(reap_calloc(&a->sum_y, m, sizeof(double)));
  REAP_TRY(reap_alloc(&a->block_gram, square, sizeof(double)));
  REAP_TRY(reap_alloc(&a->block_cross, cross, sizeof(double)));
  REAP_TRY(reap_alloc(&a->block_sum_x, n, sizeof(double)));
  return reap_alloc(&a->block_sum_y, m, sizeof(double));
}

static const int64_t CHUNK_BYTES = 8 << 20; /* of X: its products then run at level-3 speed from near the cache */

/* The form that takes fewer operations. */
static int choose_form(reap_accumulator *a) {
  const reap_layer *layer = &a->samples.layer;
  bool shifts = false;
  if (!reap_samples_some(&a->samples)) REAP_TRY(reap_shift_pays(layer, &shifts));
  if (shifts) return reap_shift_create(&a->samples, &a->shift);
  return reap_rows_create(&a->samples, 0, NULL, layer->m, reap_rows_capacity(CHUNK_BYTES, layer->n, 64), &a->rows);
}

int reap_accumulator_create(const reap_samples *samples, reap_accumulator **out) {
  const reap_layer *layer = &samples->layer;
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_accumulator *a = *out;
  a->samples = *samples;
  a->scan_by_rows =
      reap_samples_some(samples) || reap_rows_have_gaps(&layer->rows_x) || reap_rows_have_gaps(&layer->rows_y);
  a->scan_columns = layer->convolution && !a->scan_by_rows ? layer->channels : layer->n;
  int status = choose_form(a);
  if (status == REAP_OK) status = allocate(a);
  if (status != REAP_OK) reap_accumulator_destroy(out);
  return status;
}

static void free_block(reap_accumulator *a) {
  reap_free(&a->block_gram);
  reap_free(&a->block_cross);
  reap_free(&a->block_sum_x);
  reap_free(&a->block_sum_y);
}

void reap_accumulator_destroy(reap_accumulator **accumulator) {
  reap_accumulator *a = *accumulator;
  if (!a) return;
  double **arrays[] = {&a->energy_x, &a->energy_y, &a->grid_x,  &a->grid_y, &a->gram,    &a->cross,
                       &a->sum_x,    &a->sum_y,    &a->weights, &a->bias,   &a->product, &a->held_block_sum};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) reap_free(arrays[i]);
  reap_held_out_clear(&a->held);
  free_block(a);
  reap_rows_clear(&a->rows);
  reap_shift_destroy(&a->shift);
  reap_free(accumulator);
}

/* ---- first pass: energies */

static void raise(double *largest, const double *sums, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!(sums[i] <= largest[i])) largest[i] = sums[i]; /* a NaN is taken over */
}

static int scan_all(reap_accumulator *a, int64_t b) {
  const reap_layer *layer = &a->samples.layer;
  const int64_t block = a->samples.shard.block, rows = block * reap_samples_input_size(layer) / a->scan_columns;
  const float *x = NULL, *y = NULL;
  REAP_TRY(a->samples.read(a->samples.context, b, &x, &y));
  reap_add_squares(x, rows, a->scan_columns, a->block_sum_x);
  reap_add_squares(y, block * layer->positions, layer->m, a->block_sum_y);
  return REAP_OK;
}

/* Row by row. Of sampled positions these alone: all of them may have a hundred times the energy, and the grid would be
 * that much coarser. */
static int scan_rows(reap_accumulator *a, int64_t b) {
  const reap_walk walk = {.part = REAP_ALL_IMAGES, .begin = b, .end = b + 1, .y_count = a->samples.layer.m};
  int64_t count = 0;
  reap_rows_start(&a->rows, &walk);
  do {
    REAP_TRY(reap_rows_next(&a->rows, &count));
    reap_add_columns(a->rows.x, count, a->samples.layer.n, NULL, a->block_sum_x);
    reap_add_columns(a->rows.y, count, a->samples.layer.m, NULL, a->block_sum_y);
  } while (count > 0);
  return REAP_OK;
}

int reap_accumulator_scan(reap_accumulator *a, int64_t b) {
  memset(a->block_sum_x, 0, (size_t)a->samples.layer.n * sizeof(double));
  memset(a->block_sum_y, 0, (size_t)a->samples.layer.m * sizeof(double));
  REAP_TRY(a->scan_by_rows ? scan_rows(a, b) : scan_all(a, b));
  raise(a->energy_x, a->block_sum_x, a->scan_columns);
  raise(a->energy_y, a->block_sum_y, a->samples.layer.m);
  return REAP_OK;
}

/* Power of two at or above the square root of an energy. Energies of zero get one so small that products stay normal.
 * */
static double grid_of(double energy) {
  int exponent;
  if (!(energy > 0) || !isfinite(energy)) return ldexp(1, -400);
  frexp(sqrt(energy), &exponent);
  if (exponent < -400) exponent = -400;
  return ldexp(1, exponent);
}

/* Place of tap t of channel c in the energies: rows are tap-major, matrices in the file's order. */
static int64_t scanned_column(const reap_accumulator *a, int64_t t, int64_t c) {
  if (a->scan_by_rows) return t * a->samples.layer.channels + c;
  return a->samples.layer.convolution ? c : c * a->samples.layer.block + t;
}

int reap_accumulator_fix_grid(reap_accumulator *a, const reap_comm *comm) {
  const reap_layer *layer = &a->samples.layer;
  const double blocks = (double)a->samples.shard.blocks;
  REAP_TRY(reap_comm_max(comm, a->energy_x, a->scan_columns));
  REAP_TRY(reap_comm_max(comm, a->energy_y, layer->m));
  for (int64_t t = 0; t < layer->block; t++)
    for (int64_t c = 0; c < layer->channels; c++) {
      const int64_t column = t * layer->channels + c;
      a->grid_x[column] = grid_of(blocks * a->energy_x[scanned_column(a, t, c)]);
    }
  for (int64_t j = 0; j < layer->m; j++) a->grid_y[j] = grid_of(blocks * a->energy_y[j]);
  a->grid_one = grid_of((double)a->samples.shard.images * (double)reap_samples_per_image(&a->samples));
  return REAP_OK;
}

/* ---- second pass: sums */

/* sum[j] += values[j] rounded to the grid of `row` times columns[j]. */
static void add_on_grid(double *restrict sum, const double *restrict values, double row, const double *restrict columns,
                        int64_t count) {
  const double scale = 6 * row;
  for (int64_t j = 0; j < count; j++) {
    double magic = scale * columns[j];
    sum[j] += (values[j] + magic) - magic;
  }
}

/* Row-major rows [count, n] are the column-major matrix [n, count]. */
static int use_rows(reap_accumulator *a, int64_t count) {
  const reap_rows *rows = &a->rows;
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  const double beta = a->block_empty ? 0 : 1;
  if (a->block_empty) {
    memset(a->block_sum_x, 0, (size_t)n * sizeof(double));
    memset(a->block_sum_y, 0, (size_t)m * sizeof(double));
    a->block_energy = 0;
    a->block_empty = false;
  }
  if (!a->samples.cross_only) REAP_TRY(reap_dsyrk_lower('N', n, count, 1, rows->x, n, beta, a->block_gram, n));
  REAP_TRY(reap_dgemm('N', 'T', m, n, count, 1, rows->y, m, rows->x, n, beta, a->block_cross, m));
  for (int64_t r = 0; r < count; r++) {
    for (int64_t i = 0; i < n; i++) a->block_sum_x[i] += rows->x[r * n + i];
    for (int64_t j = 0; j < m; j++) a->block_sum_y[j] += rows->y[r * m + j];
    for (int64_t j = 0; j < m; j++) a->block_energy += rows->y[r * m + j] * rows->y[r * m + j];
  }
  a->samples_taken += count;
  return REAP_OK;
}

static double energy_grid(const reap_accumulator *a) {
  double sum = 0;
  for (int64_t j = 0; j < a->samples.layer.m; j++) sum += a->grid_y[j] * a->grid_y[j];
  return grid_of(sum); /* its square is at or above the energy */
}

/* The sums of one block by patches. */
static int sum_rows(reap_accumulator *a, int64_t b) {
  const reap_walk walk = {.begin = b, .end = b + 1, .y_count = a->samples.layer.m};
  a->block_empty = true;
  reap_rows_start(&a->rows, &walk);
  for (int64_t count = 0;;) {
    REAP_TRY(reap_rows_next(&a->rows, &count));
    if (count == 0) return REAP_OK;
    REAP_TRY(use_rows(a, count));
  }
}

/* The same in the shift form. */
static int sum_shifts(reap_accumulator *a, int64_t b) {
  reap_shift_sums sums = {
      .terms = a->block_gram, .cross = a->block_cross, .sum_x = a->block_sum_x, .sum_y = a->block_sum_y};
  const float *x = NULL, *y = NULL;
  REAP_TRY(a->samples.read(a->samples.context, b, &x, &y));
  REAP_TRY(reap_shift_moments(a->shift, a->samples.shard.first + b, x, y, &sums));
  a->block_energy = sums.energy;
  a->samples_taken += sums.samples;
  a->block_empty = sums.samples == 0;
  return REAP_OK;
}

static void add_gram(reap_accumulator *a) {
  const int64_t n = a->samples.layer.n, channels = a->samples.layer.channels;
  if (a->samples.cross_only) return;
  if (a->shift) { /* every term is a matrix [channels, channels]; all taps of a channel have its grid */
    for (int64_t k = 0; k < a->gram_count; k += channels)
      add_on_grid(a->gram + k, a->block_gram + k, a->grid_x[k / channels % channels], a->grid_x, channels);
  } else { /* column-major lower triangle: column i, rows i and below */
    for (int64_t i = 0; i < n; i++)
      add_on_grid(a->gram + i * n + i, a->block_gram + i * n + i, a->grid_x[i], a->grid_x + i, n - i);
  }
}

int reap_accumulator_add(reap_accumulator *a, int64_t b) {
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  REAP_TRY(a->shift ? sum_shifts(a, b) : sum_rows(a, b));
  if (a->block_empty) return REAP_OK;
  add_gram(a);
  for (int64_t i = 0; i < n; i++) add_on_grid(a->cross + i * m, a->block_cross + i * m, a->grid_x[i], a->grid_y, m);
  add_on_grid(a->sum_x, a->block_sum_x, a->grid_one, a->grid_x, n);
  add_on_grid(a->sum_y, a->block_sum_y, a->grid_one, a->grid_y, m);
  double grid = energy_grid(a);
  add_on_grid(&a->energy, &a->block_energy, grid, &grid, 1);
  return REAP_OK;
}

int reap_accumulator_sum(reap_accumulator *a, const reap_comm *comm) {
  const int64_t blocks = reap_samples_blocks(&a->samples);
  int status = REAP_OK;
  for (int64_t b = 0; status == REAP_OK && b < blocks; b++)
    if (reap_samples_counts(&a->samples, b)) status = reap_accumulator_scan(a, b);
  REAP_TRY(reap_comm_agree(comm, status));
  REAP_TRY(reap_accumulator_fix_grid(a, comm));
  for (int64_t b = 0; status == REAP_OK && b < blocks; b++)
    if (reap_samples_counts(&a->samples, b)) status = reap_accumulator_add(a, b);
  return reap_comm_agree(comm, status);
}

/* Place, in the file's column order, of tap-major column i. */
static int64_t file_column(const reap_layer *layer, int64_t i) {
  return i % layer->channels * layer->block + i / layer->channels;
}

static void reorder(const reap_accumulator *a, reap_moments *out) {
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  const bool gram = !a->samples.cross_only;
  if (a->shift && gram) reap_shift_assemble(a->shift, a->gram, out->gram);
  for (int64_t i = 0; i < n; i++) {
    int64_t fi = file_column(&a->samples.layer, i);
    for (int64_t k = i; k < n && !a->shift && gram; k++) {
      int64_t fk = file_column(&a->samples.layer, k);
      out->gram[fi * n + fk] = out->gram[fk * n + fi] = a->gram[i * n + k];
    }
    memcpy(out->cross + fi * m, a->cross + i * m, (size_t)m * sizeof(double));
    out->sum_x[fi] = a->sum_x[i];
  }
  memcpy(out->sum_y, a->sum_y, (size_t)m * sizeof(double));
  out->energy = a->energy;
  out->samples = a->samples_taken;
}

int reap_accumulator_reduce(reap_accumulator *a, const reap_comm *comm, reap_moments **out) {
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  *out = NULL;
  free_block(a);
  if (!a->samples.cross_only) REAP_TRY(reap_comm_sum(comm, a->gram, a->gram_count));
  REAP_TRY(reap_comm_sum(comm, a->cross, n * m));
  REAP_TRY(reap_comm_sum(comm, a->sum_x, n));
  REAP_TRY(reap_comm_sum(comm, a->sum_y, m));
  REAP_TRY(reap_comm_sum(comm, &a->energy, 1));
  REAP_TRY(reap_comm_sum_int64(comm, &a->samples_taken, 1));
  const int status =
      reap_comm_agree(comm, reap_moments_create(a->samples.layer.channels, a->samples.layer.block, m, out));
  if (status != REAP_OK) {
    reap_moments_destroy(out);
    return status;
  }
  reorder(a, *out);
  reap_free(&a->gram);
  reap_free(&a->cross);
  return REAP_OK;
}

double reap_accumulator_multiply_adds(const reap_accumulator *a, int64_t samples) {
  const double n = (double)a->samples.layer.n, m = (double)a->samples.layer.m;
  if (a->samples.cross_only) return (double)samples * n * m;
  if (!a->shift) return (double)samples * n * (0.5 * n + m);
  return (double)samples / (double)a->samples.layer.positions * reap_shift_multiply_adds(a->shift);
}

int reap_accumulator_cost(const reap_samples *samples, double *bytes, double *multiply_adds) {
  const double n = (double)samples->layer.n, m = (double)samples->layer.m;
  reap_accumulator a = {.samples = *samples};
  const int64_t before = reap_memory_live_bytes();
  const int status = choose_form(&a);
  const double sums = a.shift ? (double)reap_shift_count(a.shift) : n * n, cross = n * m, moments = n * n + n * m;
  const double buffers =
      (double)(reap_memory_live_bytes() - before); /* taken from the system only as they are filled */
  if (status == REAP_OK) *multiply_adds = reap_accumulator_multiply_adds(&a, reap_samples_per_image(samples));
  *bytes = buffers + 8 * fmax(2 * sums + 2 * cross, sums + cross + moments);
  reap_rows_clear(&a.rows);
  reap_shift_destroy(&a.shift);
  return status;
}

/* ---- held-out images */

static int residual_begin(reap_accumulator *a, int64_t n_kept, const int64_t *kept, const double *weights,
                          const double *bias) {
  const int64_t m = a->samples.layer.m, taps = a->samples.layer.block;
  double **arrays[] = {&a->held_block_sum, &a->weights, &a->bias, &a->product};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) reap_free(arrays[i]); /* of weights measured before */
  REAP_TRY(reap_held_out_begin(a->samples.shard.blocks, m, &a->held));
  REAP_TRY(reap_calloc(&a->held_block_sum, m, sizeof(double)));
  if (a->shift) return reap_shift_residual_begin(a->shift, n_kept, kept, weights, bias);
  REAP_TRY(reap_calloc(&a->weights, a->samples.layer.n * m, sizeof(double)));
  REAP_TRY(reap_alloc(&a->bias, m, sizeof(double)));
  REAP_TRY(reap_alloc(&a->product, a->rows.capacity * m, sizeof(double)));
  for (int64_t k = 0; k < n_kept; k++)
    for (int64_t t = 0; t < taps; t++)
      memcpy(a->weights + (t * a->samples.layer.channels + kept[k]) * m, weights + (k * taps + t) * m,
             (size_t)m * sizeof(double));
  memcpy(a->bias, bias, (size_t)m * sizeof(double));
  return REAP_OK;
}

static int use_held_rows(reap_accumulator *a, int64_t block, int64_t count) {
  const reap_rows *rows = &a->rows;
  const int64_t n = a->samples.layer.n, m = a->samples.layer.m;
  REAP_TRY(reap_dgemm('N', 'N', m, count, n, 1, a->weights, m, rows->x, n, 0, a->product, m));
  double error = 0, square = 0;
  for (int64_t r = 0; r < count; r++)
    for (int64_t j = 0; j < m; j++) {
      double y = rows->y[r * m + j], d = y - a->product[r * m + j] - a->bias[j];
      error += d * d;
      square += y * y;
      a->held_block_sum[j] += y;
    }
  a->held.errors[block] += error;
  a->held.squares[block] += square;
  a->held.samples += count;
  return REAP_OK;
}

static int residual_rows(reap_accumulator *a, int64_t b) {
  const reap_walk walk = {.part = REAP_HELD_OUT, .begin = b, .end = b + 1, .y_count = a->samples.layer.m};
  reap_rows_start(&a->rows, &walk);
  for (int64_t count = 0;;) {
    REAP_TRY(reap_rows_next(&a->rows, &count));
    if (count == 0) return REAP_OK;
    REAP_TRY(use_held_rows(a, a->samples.shard.first + b, count));
  }
}

static int residual_shifts(reap_accumulator *a, int64_t b) {
  const int64_t block = a->samples.shard.first + b;
  reap_shift_residual sums = {.sum_y = a->held_block_sum};
  const float *x = NULL, *y = NULL;
  REAP_TRY(a->samples.read(a->samples.context, b, &x, &y));
  REAP_TRY(reap_shift_residual_add(a->shift, block, x, y, &sums));
  a->held.errors[block] = sums.error;
  a->held.squares[block] = sums.square;
  a->held.samples += sums.samples;
  return REAP_OK;
}

static int residual_add(reap_accumulator *a, int64_t b) {
  memset(a->held_block_sum, 0, (size_t)a->samples.layer.m * sizeof(double));
  REAP_TRY(a->shift ? residual_shifts(a, b) : residual_rows(a, b));
  add_on_grid(a->held.y, a->held_block_sum, a->grid_one, a->grid_y, a->samples.layer.m);
  return REAP_OK;
}

int reap_accumulator_residual(reap_accumulator *a, const reap_comm *comm, int64_t n_kept, const int64_t *kept,
                              const double *weights, const double *bias, reap_held_out_error *out) {
  int status = residual_begin(a, n_kept, kept, weights, bias);
  for (int64_t b = 0; status == REAP_OK && b < reap_samples_blocks(&a->samples); b++) status = residual_add(a, b);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_held_out_finish(comm, &a->held, out);
}
