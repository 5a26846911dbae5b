/* Two symmetric matrices of one order in one square array, the lower triangle holding one and the upper triangle the
 * other, cut in slots of `block` rows and columns; whole on one rank, or block-cyclic over a grid.
 *
 * The elimination keeps its dual system H below the diagonal and the Gram matrix it came from above: one array serves
 * the recursion, the check of the recursion and the last solve. The diagonal belongs to the lower matrix; the upper
 * one's is a vector that every rank has. Methods are written once on the calls below: a small table of operations has
 * a local and a distributed form of each (symmetric_local.c, symmetric_cyclic.c).
 *
 * `slots` counts the leading slots in use: rows and columns behind slots * block are ignored, so that a matrix shrinks
 * without moving. Columns that all ranks hold ("replicated") are column-major with leading dimension slots * block.
 * Every call is collective over the grid for a distributed matrix and local otherwise; statuses agree.
 */
#ifndef REAP_LINALG_SYMMETRIC_H
#define REAP_LINALG_SYMMETRIC_H

#include <stdbool.h>
#include <stdint.h>

#include "block_cyclic.h"

typedef struct reap_symmetric reap_symmetric;

typedef enum reap_triangle { REAP_LOWER, REAP_UPPER } reap_triangle;

/* Zero matrices of slots * block rows; grid NULL: local. The grid must outlive it. */
int reap_symmetric_create(const reap_grid *grid, int64_t slots, int64_t block, reap_symmetric **out);
void reap_symmetric_destroy(reap_symmetric **matrix);

/* Local. */
bool reap_symmetric_distributed(const reap_symmetric *matrix);

/* The ranks that it lies on; NULL: this one alone. Local. */
const reap_comm *reap_symmetric_comm(const reap_symmetric *matrix);

/* Diagonal of the upper matrix, [slots * block], the same on all ranks and kept so by the caller. */
double *reap_symmetric_upper_diagonal(reap_symmetric *matrix);

/* Sets both triangles and the diagonal from a function that computes rows .. x columns .. into out (column-major,
 * leading dimension ld); called for pieces made of whole slots. */
typedef int (*reap_symmetric_source)(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns,
                                     double *out, int64_t ld);
int reap_symmetric_set(reap_symmetric *matrix, reap_symmetric_source source, void *context);

/* Local. Sets a part of both triangles from a panel that all ranks have: columns of slots first .. first + count and
 * rows from slot `first` on, column-major with leading dimension ld. Panels one after the other make up the matrix; the
 * upper diagonal is the caller's. */
int reap_symmetric_put_panel(reap_symmetric *matrix, int64_t first, int64_t count, const double *columns, int64_t ld);

/* Replicated copy of whole columns of `count` slots of one of the two matrices: out [slots * block, count * block]. */
int reap_symmetric_gather(reap_symmetric *matrix, reap_triangle triangle, int64_t slots, int64_t count,
                          const int64_t *slot, double *out);

/* The same for some rows, scattered: rank r gets the rows of slots row[first[r]] .. row[first[r + 1]], in this order,
 * in its out [.., count * block] with leading dimension ld. All arguments but the last two are the same on all ranks;
 * local: first[0] and first[1]. */
int reap_symmetric_gather_rows(reap_symmetric *matrix, reap_triangle triangle, int64_t count, const int64_t *slot,
                               const int64_t *first, const int64_t *row, double *out, int64_t ld);

/* The reverse: replicated columns into row and column of each slot. */
int reap_symmetric_put(reap_symmetric *matrix, reap_triangle triangle, int64_t slots, int64_t count,
                       const int64_t *slot, const double *columns);

/* Slots from[k], all of them behind the first `slots`, take the places to[k] among those, in ascending order; what
 * stood there is lost. The upper diagonal is the caller's. */
int reap_symmetric_move(reap_symmetric *matrix, reap_triangle triangle, int64_t slots, int64_t count,
                        const int64_t *from, const int64_t *to);

/* Replicated diagonal blocks of the lower matrix: out [slots][block * block], both triangles of each. */
int reap_symmetric_blocks(reap_symmetric *matrix, int64_t slots, double *out);

/* Lower matrix -= V V' with replicated V [slots * block, k], leading dimension ld. */
int reap_symmetric_update(reap_symmetric *matrix, int64_t slots, int64_t k, const double *v, int64_t ld);

/* Lower matrix becomes a copy of the upper one. */
int reap_symmetric_restore(reap_symmetric *matrix, int64_t slots);

/* Cholesky factor of one of the matrices in place of it: L, or U with U'U (the upper matrix's diagonal then overwrites
 * the lower one's). *info as for LAPACK. */
int reap_symmetric_factor(reap_symmetric *matrix, reap_triangle triangle, int64_t slots, int64_t *info);

/* Inverse in place of the lower factor. */
int reap_symmetric_invert(reap_symmetric *matrix, int64_t slots);

/* Inverse H in place of the lower matrix itself, and w = H c in place of this rank's right-hand sides c [slots * block,
 * columns] (columns may be 0), in one pass; *explained is this rank's part of tr(c'H c). *info as for LAPACK's Cholesky
 * factorisation; where it is not 0, lower matrix and c are spoilt. Method and cost: symmetric_sweep.c. */
int reap_symmetric_sweep(reap_symmetric *matrix, int64_t slots, int64_t columns, double *c, int64_t ldc,
                         double *explained, int64_t *info);

/* w = H c for the lower matrix and this rank's columns: c, w [slots * block, columns]. */
int reap_symmetric_multiply(reap_symmetric *matrix, int64_t slots, int64_t columns, const double *c, int64_t ldc,
                            double *w, int64_t ldw);

/* Lower matrix = sum over the ranks of w w' for this rank's columns w [slots * block, columns]. */
int reap_symmetric_outer(reap_symmetric *matrix, int64_t slots, int64_t columns, const double *w, int64_t ldw);

/* Solves with the upper factor U'U = A in place of this rank's columns b [slots * block, columns]; *explained is this
 * rank's part of tr(b'A^-1 b) = |U^-T b|^2. */
int reap_symmetric_solve(reap_symmetric *matrix, int64_t slots, int64_t columns, double *b, int64_t ldb,
                         double *explained);

/* Largest column sum of absolute values of one of the matrices. */
int reap_symmetric_norm(reap_symmetric *matrix, reap_triangle triangle, int64_t slots, double *norm);

/* Largest |sum_j (lower_ij - upper_ij) x_j x_i| over i, off the diagonal, for given x [slots * block]: 0 up to rounding
 * if both matrices are one; signs of x drawn at random leave no other difference unseen (Freivalds' check of a
 * product). *gap is NaN if an element is. */
int reap_symmetric_gap(reap_symmetric *matrix, int64_t slots, const double *x, double *gap);

/* The share [*first, *first + *count) of m columns that this rank multiplies and solves for: all of them if local. */
void reap_symmetric_share(const reap_symmetric *matrix, int64_t m, int64_t *first, int64_t *count);

/* Allgather of row blocks of a matrix of `columns` columns. Rank r owns the rows of slots first[r] .. first[r + 1];
 * first [ranks + 1] is the same on all ranks and first[0] is 0. `pieces` holds the row blocks one after the other,
 * each column-major without gaps:
 *
 *     pieces = [ rows of rank 0 | rows of rank 1 | ... ],  block r: [(first[r + 1] - first[r]) * block, columns]
 *
 * Before the call this rank's own block is filled in, after it all are. No-op if local. */
int reap_symmetric_collect(const reap_symmetric *matrix, const int64_t *first, int64_t columns, double *pieces);

/* Distributed only. Redistribution from columns to rows: the input is this rank's columns [first[ranks] * block,
 * columns] of a matrix of m columns, shared as by reap_symmetric_share(); the output is this rank's rows of all
 * columns, out [(first[rank + 1] - first[rank]) * block, m]. Both without gaps; `first` as above. */
int reap_symmetric_to_rows(const reap_symmetric *matrix, const int64_t *first, int64_t m, const double *columns,
                           double *out);

/* Sums over the ranks in place; nothing if local. */
int reap_symmetric_sum(const reap_symmetric *matrix, double *values, int64_t count);

#endif
