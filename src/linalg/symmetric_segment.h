/* Where the blocks of a distributed pair of matrices are kept, and how they are read and written; private to
 * src/linalg. Local. */
#ifndef REAP_LINALG_SYMMETRIC_SEGMENT_H
#define REAP_LINALG_SYMMETRIC_SEGMENT_H

#include "symmetric_table.h"

/* What of one slot's columns lies in one block of the layout: `count` slots of rows from slot `row`, all on one rank.
 */
typedef struct symmetric_segment {
  int64_t row, count;
  int owner;
  bool mirrored; /* kept as rows, being on the other side of the diagonal */
} symmetric_segment;

/* Where block (i, j) of the triangle is kept: the rank, and (if it is here) the address. *mirrored: as its transpose.
 */
int reap_symmetric_owner_of(const reap_symmetric *s, reap_triangle triangle, int64_t i, int64_t j, bool *mirrored);
double *reap_symmetric_block_at(const reap_symmetric *s, int64_t i, int64_t j, bool mirrored);

/* The segment of slot j's columns that starts at slot i; within the slot's own block of the layout single slots. */
symmetric_segment reap_symmetric_segment_at(const reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t i,
                                            int64_t j);

/* The segment as columns, out [count * b, b] with leading dimension `to`; of the diagonal block one triangle gives
 * both. */
void reap_symmetric_segment_read(const reap_symmetric *s, reap_triangle triangle, const symmetric_segment *segment,
                                 int64_t j, double *out, int64_t to);

/* Fetches block (i, j) into the cache ahead of a read, if this rank keeps it: blocks are far from each other, and often
 * in no order that the processor prefetches. */
void reap_symmetric_block_prefetch(const reap_symmetric *s, reap_triangle triangle, int64_t i, int64_t j);

/* Writes it back from columns with leading dimension ld; the other triangle and its diagonal stay. */
void reap_symmetric_segment_write(reap_symmetric *s, reap_triangle triangle, const symmetric_segment *segment,
                                  int64_t j, const double *columns, int64_t ld);

/* Rows of one own column within a block of the layout: `count` of them from `row`, those before `above` above the
 * diagonal, those from `below` on below it, perhaps one on it in between. */
typedef struct symmetric_stretch {
  int64_t column, row, count, above, below;
  double *values;
} symmetric_stretch;

typedef void (*symmetric_visitor)(void *context, const symmetric_stretch *stretch);

/* All that this rank keeps of the leading slots, column by column. */
void reap_symmetric_cyclic_walk(const reap_symmetric *s, int64_t slots, symmetric_visitor visit, void *context);

#endif
