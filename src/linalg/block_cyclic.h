/* Matrices distributed over ranks in ScaLAPACK's block-cyclic layout.
 *
 * A context is a process grid over the first rows * columns ranks of a
 * communicator; all ranks of the communicator make every collective call here,
 * ranks outside the grid (rows * columns < size) hold nothing. A matrix is
 * [rows, columns] doubles, cut in blocks of `row_block` x `column_block`; block
 * (I, J) belongs to process (I mod grid rows, J mod grid columns). Local parts
 * are column-major.
 */
#ifndef REAP_LINALG_BLOCK_CYCLIC_H
#define REAP_LINALG_BLOCK_CYCLIC_H

#include <stdint.h>

#include "reap/comm.h"

typedef struct reap_grid reap_grid;

/* Collective. The most nearly square grid over all ranks of `comm`, which must outlive the grid. */
int reap_grid_create(const reap_comm *comm, reap_grid **out);

/* Collective; NULL is fine. */
void reap_grid_destroy(reap_grid **grid);

/* Local: shape of the grid and this rank's place in it. */
void reap_grid_shape(const reap_grid *grid, int *rows, int *columns, int *row, int *column);

/* Local: the communicator it was made over; NULL without a grid. */
const reap_comm *reap_grid_comm(const reap_grid *grid);

typedef struct reap_block_cyclic reap_block_cyclic;

/* Collective. Zero-filled; the grid must outlive the matrix. */
int reap_block_cyclic_create(const reap_grid *grid, int64_t rows, int64_t columns, int64_t row_block,
                             int64_t column_block, reap_block_cyclic **out);

/* Local; NULL is fine. */
void reap_block_cyclic_destroy(reap_block_cyclic **matrix);

/* Local: this rank's part, column-major [*rows, *columns] with leading dimension *ld, owned by the matrix. */
double *reap_block_cyclic_local(reap_block_cyclic *matrix, int64_t *rows, int64_t *columns, int64_t *ld);

/* Local: global row of local row i, global column of local column j. */
int64_t reap_block_cyclic_row(const reap_block_cyclic *matrix, int64_t i);
int64_t reap_block_cyclic_column(const reap_block_cyclic *matrix, int64_t j);

/* Collective: Cholesky factor of the lower ('L') or upper ('U': U'U) triangle of the leading rows and columns, in place
 * (PDPOTRF); the other triangle stays. *info as for reap_dpotrf_lower and equal on all ranks. */
int reap_block_cyclic_potrf(reap_block_cyclic *a, char uplo, int64_t order, int64_t *info);
int reap_block_cyclic_potrf_lower(reap_block_cyclic *a, int64_t *info);

/* Collective: solves A X = B in place of B with that factor (PDPOTRS). */
int reap_block_cyclic_potrs_lower(reap_block_cyclic *a, reap_block_cyclic *b);

/* Collective: the inverse's triangle from the factor of the leading rows and columns, in place (PDPOTRI). */
int reap_block_cyclic_potri(reap_block_cyclic *a, char uplo, int64_t order);

/* Collective: lower triangle of C -= V V' (PDSYRK), V [rows of C, k] with C's row block; the upper triangle stays. */
int reap_block_cyclic_syrk_lower(reap_block_cyclic *v, reap_block_cyclic *c);

#endif
