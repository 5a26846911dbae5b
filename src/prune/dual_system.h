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
  DUAL_ROUTE_WEIGHTS, /* from W, which is carried: 2 n m block per removal at matrix-times-few-columns speed */
  DUAL_ROUTE_PRODUCT  /* from K = W W', carried like H: n^2 m at the start and twice H's update, all level 3 */
} dual_route;

typedef struct dual_system {
  reap_normal_equations *equations;
  const reap_comm *comm;               /* NULL: local */
  reap_symmetric *dual;                /* below: H as of the last flush; above: D G D + R */
  reap_symmetric *product;             /* below: K as of the last flush; NULL on the route by weights */
  int64_t block, slots, n_alive, rows; /* slots of the last flush; rows = slots * block */
  int64_t *channel;                    /* [slots] in any order */
  bool *alive;                         /* [slots] */
  int64_t m_first, m_count;            /* this rank's outputs */
  double *weights; /* [rows, m_count] column-major, leading dimension n0: W as of the last flush; NULL by product */
  int64_t n0;
  int64_t width, k; /* columns of the panel, and how many are in use */
  double *v, *q;    /* [rows, width] V; and Q on the route by product */
  double *z;        /* [m_count, width] Z' on the route by weights */
  double *work, *own_q, *pivot, *right;
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

/* growth[slots]: dJ of every slot; NaN in slots that are gone. */
int dual_growth(dual_system *d, double *growth);

/* Takes the channel of `slot` out, panel_remove() in panel.c; *lost: its block is no longer positive definite. */
int panel_remove(dual_system *d, int64_t slot, bool *lost);

/* True if the panel has no room for another channel. */
bool panel_full(const dual_system *d);

/* Applies the panel to the trailing matrix and drops the channels that left; last: only what the last solve needs. */
int panel_flush(dual_system *d, bool last);

/* Fresh diagonal blocks from the flushed matrices. */
int dual_load_blocks(dual_system *d);

/* (W W')_jj of all slots from W [slots * block, m]: out [slots][block * block]. Local. */
int dual_product_blocks(int64_t slots, int64_t block, int64_t m, const double *weights, int64_t ld, double *out);

/* |W|^2 of the channels still there. */
double dual_squares(const dual_system *d);

#endif
