/* Loops over short rows; see columns.h.
 *
 * Columns go in tiles that fit in vector registers, so that the compiler knows the length of the inner loops and sums
 * stay in registers over all rows. Cost: one reading of the data, and rows are taken in chunks that stay in the cache
 * while their tiles are done. The order of every sum is fixed by rows and columns alone.
 */
#include "columns.h"

#include <stddef.h>

#include "base/each_width.h"

enum { TILE = 16, CHUNK = 256 }; /* columns, rows */

FOR_EACH_WIDTH void reap_widen(double *restrict to, int64_t pitch, const float *restrict from, int64_t rows,
                               int64_t columns) {
  for (int64_t r = 0; r < rows; r++, to += pitch, from += columns) {
    int64_t c = 0;
    for (; c + TILE <= columns; c += TILE)
      for (int k = 0; k < TILE; k++) to[c + k] = (double)from[c + k];
    for (; c < columns; c++) to[c] = (double)from[c];
  }
}

FOR_EACH_WIDTH void reap_widen_kept(double *restrict to, int64_t pitch, const float *restrict from, int64_t rows,
                                    int64_t columns, int64_t n_kept, const int64_t *restrict kept) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < n_kept; k++) to[r * pitch + k] = (double)from[r * columns + kept[k]];
}

/* Sums over `rows` rows of `count` columns, which is TILE except at the end. */
INLINED void add_tile(const double *restrict from, int64_t rows, int64_t pitch, int64_t count, double *restrict sum,
                      double *restrict square) {
  double sums[TILE] = {0}, squares[TILE] = {0};
  for (int64_t r = 0; r < rows; r++, from += pitch)
    for (int64_t k = 0; k < count; k++) {
      sums[k] += from[k];
      squares[k] += from[k] * from[k];
    }
  for (int64_t k = 0; k < count && sum; k++) sum[k] += sums[k];
  for (int64_t k = 0; k < count && square; k++) square[k] += squares[k];
}

FOR_EACH_WIDTH void reap_add_columns(const double *from, int64_t rows, int64_t columns, double *sum, double *square) {
  for (int64_t r = 0; r < rows; r += CHUNK) {
    const double *chunk = from + r * columns;
    const int64_t here = rows - r < CHUNK ? rows - r : CHUNK;
    int64_t c = 0;
    for (; c + TILE <= columns; c += TILE)
      add_tile(chunk + c, here, columns, TILE, sum ? sum + c : NULL, square ? square + c : NULL);
    if (c < columns) add_tile(chunk + c, here, columns, columns - c, sum ? sum + c : NULL, square ? square + c : NULL);
  }
}

INLINED void squares_tile(const float *restrict y, int64_t rows, int64_t pitch, int64_t count,
                          double *restrict square) {
  double squares[TILE] = {0};
  for (int64_t r = 0; r < rows; r++, y += pitch)
    for (int64_t k = 0; k < count; k++) squares[k] += (double)y[k] * (double)y[k];
  for (int64_t k = 0; k < count; k++) square[k] += squares[k];
}

FOR_EACH_WIDTH void reap_add_squares(const float *from, int64_t rows, int64_t columns, double *square) {
  for (int64_t r = 0; r < rows; r += CHUNK) {
    const float *chunk = from + r * columns;
    const int64_t here = rows - r < CHUNK ? rows - r : CHUNK;
    int64_t c = 0;
    for (; c + TILE <= columns; c += TILE) squares_tile(chunk + c, here, columns, TILE, square + c);
    if (c < columns) squares_tile(chunk + c, here, columns, columns - c, square + c);
  }
}

INLINED void differences_tile(const double *restrict value, const double *restrict prediction, int64_t rows,
                              int64_t pitch, int64_t count, double *restrict error) {
  double errors[TILE] = {0};
  for (int64_t r = 0; r < rows; r++, value += pitch, prediction += pitch)
    for (int64_t k = 0; k < count; k++) {
      double d = value[k] - prediction[k];
      errors[k] += d * d;
    }
  for (int64_t k = 0; k < count; k++) error[k] += errors[k];
}

FOR_EACH_WIDTH void reap_add_differences(const double *value, const double *prediction, int64_t rows, int64_t columns,
                                         double *error) {
  int64_t c = 0;
  for (; c + TILE <= columns; c += TILE) differences_tile(value + c, prediction + c, rows, columns, TILE, error + c);
  if (c < columns) differences_tile(value + c, prediction + c, rows, columns, columns - c, error + c);
}
