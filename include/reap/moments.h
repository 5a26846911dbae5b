/* Second moments of one linear layer: the method needs nothing else of the images.
 *
 * X [samples, n] are the layer's input patches (n = channels * block, column = channel * block + t), Y [samples, m]
 * the outputs it is to produce. Sums are float64 and not centred, so that they add up over images, ranks and days.
 * Local.
 */
#ifndef REAP_MOMENTS_H
#define REAP_MOMENTS_H

#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

typedef struct reap_moments {
  int64_t channels, block; /* n = channels * block */
  int64_t n, m;
  int64_t samples;
  double *gram;  /* [n, n] X'X, both triangles */
  double *cross; /* [n, m] row-major, X'Y */
  double *sum_x; /* [n] */
  double *sum_y; /* [m] */
  double energy; /* sum of Y squared */
} reap_moments;

/* Receives a panel of X'X of some channels: columns of slots first .. first + count, rows from slot `first` down to
 * the last, column-major with leading dimension ld; the function may change them. */
typedef int (*reap_panel_visitor)(void *context, int64_t first, int64_t count, double *columns, int64_t ld);

/* The moments of one layer wherever they are: in memory, in a file, or distributed over all ranks and formed anew
 * whenever they are wanted. The caller that makes the handle decides which. Solvers read it piece by piece, so that a
 * matrix that no rank can hold goes straight to its place in the layout. The maker owns the arrays. */
typedef struct reap_gram {
  int64_t channels, block, n, m, samples;
  double energy;
  const double *diagonal; /* [n] of the Gram matrix, uncentred: element i is diagonal[i * diagonal_step] */
  int64_t diagonal_step;
  const double *sum_x, *sum_y;
  const reap_moments *moments; /* all of them, in this rank's memory; NULL: there are only pieces */
  /* The rows that they are of, [samples, n] and [samples, m] row-major, the same on all ranks; NULL: there are none. A
   * layer with fewer rows than columns is solved from them. */
  const double *rows_x, *rows_y;
  void *context;
  /* Rows row .. row + rows and columns column .. of X'X or X'Y into out, COLUMN-major with leading dimension ld. */
  int (*gram)(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out, int64_t ld);
  int (*cross)(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out, int64_t ld);
  /* NULL, or replaces gram (then NULL) if no rank can compute a piece alone. Collective over the ranks that hold the
   * images; statuses agree.
   *
   *   before: all ranks pass the same `slots` channels, ascending
   *   after:  every rank has received every panel, from the first on
   *
   * `cross` then serves only the outputs that reap_comm_share() assigns to the rank. With rows_x every rank forms all
   * pieces from its own copy: local. */
  int (*gram_panels)(void *context, int64_t slots, const int64_t *channel, reap_panel_visitor visit, void *visitor);
} reap_gram;

/* The handle of moments in memory, which must outlive it; all zero for NULL, on a rank that has none. */
reap_gram reap_gram_of(const reap_moments *moments);

/* Zero moments; the caller owns them. */
int reap_moments_create(int64_t channels, int64_t block, int64_t m, reap_moments **out);
void reap_moments_destroy(reap_moments **moments);

/* REAP_ERR_NUMERIC if the moments cannot be those of any data: not finite, negative energies, no samples, a Gram matrix
 * that is not symmetric. */
int reap_moments_check(const reap_moments *moments);

/* Centred moments about the mean, the bias solved out: gram [n, n] (symmetric), cross [n, m] and the energy of Y,
 * written to the caller's arrays. G = X'X - N x x', C = X'Y - N x y', E = |Y|^2 - N |y|^2 (means x, y). */
void reap_moments_centre(const reap_moments *moments, double *gram, double *cross, double *energy);

/* Plain squared error sum |Y - X_S W - 1 b'|^2 of given weights [kept * block, m] (row-major) and bias [m] on the
 * channels kept[n_kept], from the moments alone; never negative. */
int reap_moments_error(const reap_moments *moments, int64_t n_kept, const int64_t *kept, const double *weights,
                       const double *bias, double *error);

/* Centred energy of Y, what errors are divided by. */
double reap_moments_centred_energy(const reap_moments *moments);

/* The same from sum |Y|^2 and the part of it that the means have. Never negative; zero where at most 1e-12 of it is
 * left, which is rounding: the outputs are constant. */
double reap_centred_energy(double energy, double of_means);

REAP_API_END

#endif
