/* Interpolative decomposition: Chee, Flynn, Damle and De Sa, "Model Preserving Compression for Neural Networks",
 * NeurIPS 2022.
 *
 * The activations are approximated by those of some channels, A ~ A_S T, with S from a QR factorisation of A with
 * column pivoting: each step takes the channel with the largest part that those taken before do not explain. T
 * interpolates: its columns of S are the unit ones. Weights of its own: T goes into the layer that reads the channels,
 *
 *     W'_k = sum over c of T_kc W_c
 *
 * for each place in its kernel; the bias stays. The decomposition does not know the layer's weights.
 *
 * A has a column for each channel and a row for each sample and place t in a channel's columns, so that A'A is the sum
 * of the blocks (X'X) over equal t, and the factorisation the Cholesky one of A'A with diagonal pivoting: of a
 * convolution, activations count as often as patches read them. Channels behind the numerical rank (a residual of 1e-12
 * of the first pivot) explain nothing; of them those of lowest index fill up S. Of a coupled group A has the rows of
 * all layers that read it, one below the other.
 *
 * Cost: channels * n for A'A, channels * n_kept^2, and n_kept * n * m for the weights. Failure mode: squared, the
 * condition of A; directions below 1e-6 of the largest column are lost.
 */
#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "methods.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double RANK = 1e-12;

typedef struct factor {
  int64_t channels, n_kept;
  double *product;  /* [channels, channels] A'A */
  double *lower;    /* [channels, n_kept] column-major; rows of pivots: a lower triangle in their order */
  double *residual; /* [channels] of |A_c|^2 what is not explained; -1 for pivots */
  double *triangle; /* [n_kept, n_kept] rows of pivots in their order */
} factor;

/* What one layer that reads the channels adds to A'A. */
static int add_products(const reap_reader *reader, factor *f) {
  const reap_moments *s = reader->gram->moments;
  int64_t each = 0, *columns = NULL;
  const int status = reap_reader_columns(reader, f->channels, &each, &columns);
  for (int64_t d = 0; status == REAP_OK && d < f->channels; d++)
    for (int64_t c = 0; c < f->channels; c++)
      for (int64_t t = 0; t < each; t++) {
        const int64_t row = columns[c * each + t], column = columns[d * each + t];
        if (row >= 0 && column >= 0) f->product[c + d * f->channels] += s->gram[row + column * s->n];
      }
  reap_free(&columns);
  return status;
}

static int create(const reap_evidence *e, factor *f) {
  const int64_t channels = e->group->units, n_kept = e->n_kept;
  *f = (factor){.channels = channels, .n_kept = n_kept};
  REAP_TRY(reap_calloc(&f->product, channels * channels, sizeof *f->product));
  REAP_TRY(reap_calloc(&f->lower, channels * n_kept, sizeof *f->lower));
  REAP_TRY(reap_alloc(&f->residual, channels, sizeof *f->residual));
  REAP_TRY(reap_alloc(&f->triangle, n_kept * n_kept, sizeof *f->triangle));
  for (int k = 0; k < e->n_readers; k++) REAP_TRY(add_products(&e->readers[k], f));
  for (int64_t c = 0; c < channels; c++) f->residual[c] = f->product[c + c * channels];
  return REAP_OK;
}

static void clear(factor *f) {
  reap_free(&f->product);
  reap_free(&f->lower);
  reap_free(&f->residual);
  reap_free(&f->triangle);
}

/* Column k of the factor for the pivot with residual `square`. */
static int add_column(factor *f, int64_t k, int64_t pivot, double square) {
  double *column = f->lower + k * f->channels;
  for (int64_t c = 0; c < f->channels; c++) column[c] = f->product[c + pivot * f->channels];
  REAP_TRY(reap_dgemm('N', 'T', f->channels, 1, k, -1, f->lower, f->channels, f->lower + pivot, f->channels, 1, column,
                      f->channels));
  for (int64_t c = 0; c < f->channels; c++) {
    column[c] = f->residual[c] < 0 ? 0 : column[c] / sqrt(square);
    if (f->residual[c] >= 0) f->residual[c] = fmax(f->residual[c] - column[c] * column[c], 0);
  }
  column[pivot] = sqrt(square);
  return REAP_OK;
}

/* The pivots, in their order. */
static int pivot(factor *f, int64_t *pivots) {
  double first = 0;
  for (int64_t k = 0; k < f->n_kept; k++) {
    int64_t best = -1;
    for (int64_t c = 0; c < f->channels; c++)
      if (f->residual[c] >= 0 && (best < 0 || f->residual[c] > f->residual[best])) best = c;
    if (k == 0) first = f->residual[best];
    pivots[k] = best;
    if (f->residual[best] > RANK * first) {
      REAP_TRY(add_column(f, k, best, f->residual[best]));
    } else { /* explains itself alone */
      for (int64_t c = f->channels - 1; c >= 0; c--)
        if (f->residual[c] >= 0) pivots[k] = c;
      f->lower[pivots[k] + k * f->channels] = 1;
    }
    f->residual[pivots[k]] = -1;
  }
  return REAP_OK;
}

/* T' [channels, n_kept] in place of the factor: L times the inverse of its rows of pivots. */
static int interpolate(factor *f, const int64_t *pivots) {
  for (int64_t k = 0; k < f->n_kept; k++)
    for (int64_t i = 0; i < f->n_kept; i++) f->triangle[i + k * f->n_kept] = f->lower[pivots[i] + k * f->channels];
  return reap_dtrsm('R', 'L', 'N', f->channels, f->n_kept, f->triangle, f->n_kept, f->lower, f->channels);
}

/* Where each pivot stands among them. */
static int64_t rank_of(const factor *f, const int64_t *pivots, int64_t k) {
  int64_t rank = 0;
  for (int64_t i = 0; i < f->n_kept; i++) rank += pivots[i] < pivots[k];
  return rank;
}

/* W' = T W, a pivot's rows at the place of its channel. */
static int apply(const factor *f, const reap_evidence *e, const int64_t *pivots, reap_choice *choice) {
  const int64_t rows = e->gram->block * e->gram->m;
  double *weights = NULL, *bias = NULL;
  int status = reap_reader_weights(e, e->readers, &weights, &bias);
  if (status == REAP_OK) memcpy(choice->bias, bias, (size_t)e->gram->m * sizeof *bias);
  for (int64_t k = 0; status == REAP_OK && k < f->n_kept; k++)
    status = reap_dgemm('N', 'N', rows, 1, f->channels, 1, weights, rows, f->lower + k * f->channels, f->channels, 0,
                        choice->weights + rank_of(f, pivots, k) * rows, rows);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  factor f = {0};
  (void)state;
  int status = create(e, &f);
  if (status == REAP_OK) status = pivot(&f, choice->kept);
  if (status == REAP_OK && e->own_weights) status = interpolate(&f, choice->kept);
  if (status == REAP_OK && e->own_weights) status = apply(&f, e, choice->kept, choice);
  clear(&f);
  return status;
}

const reap_method reap_method_id = {
    .name = "id",
    .summary = "interpolative decomposition of the activations (Chee et al., NeurIPS 2022)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SET | REAP_GIVES_WEIGHTS,
    .can = REAP_CAN_COUPLED,
    .score = score};
