/* The columns of one block of the layout of a distributed lower matrix, outside the block's own rows; private to
 * src/linalg.
 *
 * Every rank works on its own rows, a column-major matrix, and then all rows go to all ranks. */
#ifndef REAP_LINALG_SYMMETRIC_PANEL_H
#define REAP_LINALG_SYMMETRIC_PANEL_H

#include "symmetric_table.h"

typedef struct symmetric_panel {
  reap_symmetric *s;
  int64_t rows;      /* of the matrix */
  int64_t at, size;  /* first column and number of columns */
  int64_t own_count; /* rows that this rank keeps */
  double *own;       /* [own_count, size] */
  double *square;    /* the block on the diagonal [size, size], lower triangle, leading dimension size */
  int64_t most;
  int64_t *count, *elements, *offset; /* [ranks] rows of each, their elements, and where those start in pieces */
  double *pieces;                     /* [rows, most] the rows of all ranks, one rank's after the other */
} symmetric_panel;

/* Columns of a panel at most: those of a block of the layout. `slots` leading ones of the matrix count. Collective. */
int reap_symmetric_panel_open(reap_symmetric *s, int64_t slots, symmetric_panel *panel);
void reap_symmetric_panel_close(symmetric_panel *panel);

/* Takes the panel that starts at row and column `at`; the square goes to all. Collective. */
int reap_symmetric_panel_read(symmetric_panel *panel, int64_t at);

/* Allgather: the rows of all ranks, as they are in `own`, into out [rows, size]; zero in the panel's own rows.
 * Collective. */
int reap_symmetric_panel_share(symmetric_panel *panel, double *out);

/* Own rows, and the square from the rank that keeps it, back into the matrix. Local. */
void reap_symmetric_panel_write(const symmetric_panel *panel);

#endif
