/* The table of operations behind reap/symmetric.h; private to src/linalg. */
#ifndef REAP_LINALG_SYMMETRIC_TABLE_H
#define REAP_LINALG_SYMMETRIC_TABLE_H

#include "symmetric.h"

typedef struct symmetric_table {
  void (*destroy)(reap_symmetric *s);
  int (*set)(reap_symmetric *s, reap_symmetric_source source, void *context);
  void (*put_panel)(reap_symmetric *s, int64_t first, int64_t count, const double *columns, int64_t ld);
  int (*gather)(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
                double *out);
  int (*gather_rows)(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot,
                     const int64_t *first, const int64_t *row, double *out, int64_t ld);
  int (*put)(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *slot,
             const double *columns);
  int (*move)(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count, const int64_t *from,
              const int64_t *to);
  int (*blocks)(reap_symmetric *s, int64_t slots, double *out);
  int (*update)(reap_symmetric *s, int64_t slots, int64_t k, const double *v, int64_t ld);
  int (*factor)(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t *info);
  int (*invert)(reap_symmetric *s, int64_t slots);
  int (*sweep)(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc, double *explained,
               int64_t *info);
  int (*multiply)(reap_symmetric *s, int64_t slots, int64_t columns, const double *c, int64_t ldc, double *w,
                  int64_t ldw);
  int (*outer)(reap_symmetric *s, int64_t slots, int64_t columns, const double *w, int64_t ldw);
  int (*solve)(reap_symmetric *s, int64_t slots, int64_t columns, double *b, int64_t ldb, double *explained);
  /* Sums of absolute values of the columns, diagonal left out, into sums[slots * block]. */
  int (*column_sums)(reap_symmetric *s, reap_triangle triangle, int64_t slots, double *sums);
  /* (lower - upper) x, diagonal left out, added to sums[slots * block]. */
  int (*difference)(reap_symmetric *s, int64_t slots, const double *x, double *sums);
} symmetric_table;

struct reap_symmetric {
  const symmetric_table *table;
  const reap_grid *grid; /* NULL: local */
  int64_t slots, block;
  double *upper_diagonal;
  double *data; /* this rank's part, column-major */
  int64_t ld, local_columns;
  reap_block_cyclic *cyclic; /* distributed only */
  int64_t piece;             /* rows of a block of the layout, a multiple of `block` */
  int grid_columns;
  int *row_owner, *column_owner;     /* [slots] place in the grid */
  int64_t *local_row, *local_column; /* [slots] first row and column on the rank that owns them */
};

int reap_symmetric_local_create(reap_symmetric *s);
int reap_symmetric_cyclic_create(reap_symmetric *s);

/* Distributed only. In symmetric_gather.c: reap_symmetric_gather() and others of its kind, and rows of all ranks to all
 * (reap_symmetric_collect). */
int reap_symmetric_cyclic_gather(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                                 const int64_t *slot, double *out);
int reap_symmetric_cyclic_gather_rows(reap_symmetric *s, reap_triangle triangle, int64_t count, const int64_t *slot,
                                      const int64_t *first, const int64_t *row, double *out, int64_t ld);
int reap_symmetric_cyclic_put(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                              const int64_t *slot, const double *columns);
void reap_symmetric_cyclic_put_panel(reap_symmetric *s, int64_t first, int64_t count, const double *columns,
                                     int64_t ld);
/* Allgather of packed parts: rank r's counts[r] doubles start at offsets[r], which is set here; this rank's part is in
 * place. */
int reap_symmetric_cyclic_exchange(const reap_symmetric *s, const int64_t *counts, int64_t *offsets, double *all);
int reap_symmetric_cyclic_collect(const reap_symmetric *s, const int64_t *first, int64_t columns, double *pieces);

/* reap_symmetric_move() (symmetric_move.c); reap_symmetric_sweep() (symmetric_sweep.c). */
int reap_symmetric_cyclic_move(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                               const int64_t *from, const int64_t *to);
int reap_symmetric_cyclic_sweep(reap_symmetric *s, int64_t slots, int64_t columns, double *c, int64_t ldc,
                                double *explained, int64_t *info);

#endif
