/* The dual system of the channels still there, and the panel of those that just left; private to src/prune. Equations
 * and the panel scheme are at the top of elimination.c. Calls are collective over the grid if there is one. */
#ifndef REAP_PRUNE_DUAL_SYSTEM_H
#define REAP_PRUNE_DUAL_SYSTEM_H

#include <stdbool.h>

#include "channel_blocks.h"
#include "normal_equations.h"
#include "reap/symmetric.h"

/* How (W W')_:j comes about when channel j is chosen. */
typedef enum dual_route {
  DUAL_ROUTE_AUTO,
  DUAL_ROUTE_WEIGHTS, /* from W, which is carried and updated: 4 n m block per removal */
  DUAL_ROUTE_PRODUCT  /* from K = W W', carried like H: n^2 m at the start and twice H's update */
} dual_route;

/* See pivot_columns.h. */
typedef struct pivot_columns {
  int64_t block, most, count;
  int64_t *slot, *place;  /* [most] slots at hand; [slots] where each stands, or -1 */
  double *dual, *product; /* this rank's rows of the columns, [own rows, (most + 1) * block] */
  double *strip;          /* rows of W, [most * block, m] */
} pivot_columns;

typedef struct dual_system {
  reap_normal_equations *equations;
  const reap_comm *comm;               /* NULL: local */
  reap_symmetric *dual;                /* below: H as of the last flush; above: D G D + R */
  reap_symmetric *product;             /* below: K as of the last flush; NULL on the route by weights */
  int64_t block, slots, n_alive, rows; /* slots of the last flush; rows = slots * block */
  int64_t *channel;                    /* [slots] in any order */
  bool *alive;                         /* [slots] */
  int64_t m_first, m_count;            /* this rank's outputs */
  int64_t own_first, own_slots;        /* the slots whose rows of a pivot's columns and whose blocks this rank keeps */
  double *weights; /* [rows, m_count] column-major, leading dimension ldw: W as of the last flush; NULL by product */
  int64_t n0, ldw;
  int64_t width, k; /* columns of the panel, and how many are in use */
  double *v, *q;    /* [rows, width] V and Q, leading dimension n0; own rows only until the flush */
  int64_t *gone;    /* slots in the panel, in their order */
  double *work, *check; /* see panel.c */
  double *pivot;        /* L, Z_s Z_s', V_s' and Q_s' of the pivot, on all ranks; see panel.c */
  pivot_columns columns;
  channel_blocks blocks;
  double error;    /* J */
  double rcond;    /* of the first factorisation */
  double residual; /* |H G - I| in the pivots' blocks since the last factorisation, and just after it */
  double residual_fresh;
  double seconds_updates; /* spent in the trailing updates */
} dual_system;

/* Reserves everything for the channels of `equations`, which it takes over. grid NULL: local. */
int dual_create(reap_normal_equations *equations, const reap_grid *grid, dual_route route, dual_system *d);
void dual_clear(dual_system *d);

/* Forms the normal equations and factors them. *singular: not positive definite to working precision, nothing else
 * done. */
int dual_start(dual_system *d, bool *singular);

/* Factors the channels still there afresh from the upper triangle (flushed before). */
int dual_refresh(dual_system *d, bool *singular);

/* growth[slots + 1]: dJ of every slot, NaN in those that are gone (the last entry is scratch); *squares: |W|^2 of the
 * channels still there. Each cost is computed by one rank, so all ranks have the same bits. */
int dual_growth(dual_system *d, double *growth, double *squares);

/* Takes the channel of `slot` out, in panel.c; *lost: its block is no longer positive definite. growth: as it stands;
 * left: channels still to go. */
int panel_remove(dual_system *d, int64_t slot, const double *growth, int64_t left, bool *lost);

/* True if the panel has no room for another channel. */
bool panel_full(const dual_system *d);

/* Applies the panel to the trailing matrix and drops the channels that left; last: only what the last solve needs. */
int panel_flush(dual_system *d, bool last);

/* Fresh diagonal blocks from the flushed matrices. */
int dual_load_blocks(dual_system *d);

/* (W W')_jj of all slots from W [slots * block, m]: out [slots][block * block]. Local. */
int dual_product_blocks(int64_t slots, int64_t block, int64_t m, const double *weights, int64_t ld, double *out);

#endif
