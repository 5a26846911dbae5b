/* The dual system of the channels still there, and the factor of those that left; private to src/prune. Equations and
 * the scheme are at the top of elimination.c. Calls are collective over the grid if there is one.
 *
 * The matrices H, G and K stand as they were factored and do not change until they are factored afresh: a channel's
 * place in them is its original index. What changes from removal to removal (V, Q, W, the diagonal blocks) stands by
 * active indices, called slots: one for each channel still there, and for those that left since dead rows were last
 * dropped. After channel 2 of 6 left and its rows were dropped, the last slot having taken the gap:
 *
 *     original index, H G K     0 1 2 3 4 5
 *     slot, V Q W               0 1 2 3 4
 *     original[slot]            0 1 5 3 4
 */
#ifndef REAP_PRUNE_SOLVER_DUAL_SYSTEM_H
#define REAP_PRUNE_SOLVER_DUAL_SYSTEM_H

#include <stdbool.h>

#include "channel_blocks.h"
#include "linalg/symmetric.h"
#include "normal_equations.h"
#include "stage.h"

/* How (W W')_:j comes about when channel j is chosen. */
typedef enum dual_route {
  DUAL_ROUTE_AUTO,
  DUAL_ROUTE_WEIGHTS, /* from W, which is carried and updated: 4 n m block per removal */
  DUAL_ROUTE_PRODUCT  /* from K = W W' at the last factorisation: n^2 m at the start, then as for H, twice */
} dual_route;

typedef struct dual_system {
  reap_normal_equations *equations;
  const reap_comm *comm;       /* NULL: local */
  reap_symmetric *dual;        /* below: H of the last factorisation; above: D G D + R */
  reap_symmetric *product;     /* below: K of the last factorisation; NULL on the route by weights */
  int64_t block, n_original;   /* columns of a channel; channels at the last factorisation */
  int64_t slots, rows;         /* rows = slots * block */
  int64_t n_alive;             /* slots whose channel is still there */
  int64_t *channel, *original; /* [slots] channel of each, and its original index */
  bool *alive;                 /* [slots] */
  int64_t m;
  int64_t m_first, m_count; /* this rank's outputs while the system is solved for W */
  int64_t *share;           /* [ranks + 1] rank r works on the rows of slots share[r] .. share[r + 1] */
  int64_t own_first, own_slots;
  int64_t tight_slots; /* slots when `stride` was made */
  int64_t stride;      /* from one column of own rows to the next: cache lines, an odd number */
  double *weights; /* own rows of W [own rows, m] at the start of the stage, leading dimension ldw; NULL by product */
  int64_t n0, ldw;
  int64_t width, k, start; /* columns of a stage; of V in all; of V at the start of the stage */
  double *v, *q;           /* own rows of V [own rows, k] and Q [own rows, k - q_from], leading dimension stride */
  int64_t q_from;          /* 0 by product; by weights the start of the stage */
  double *check;           /* see panel.c */
  stage stage;
  channel_blocks blocks;
  double error;    /* J */
  double rcond;    /* of the first factorisation */
  double residual; /* |H G - I| in the pivots' blocks since the last factorisation, and just after it */
  double residual_fresh;
  double seconds_updates; /* spent in bringing pivot columns and W up to date, stage by stage */
} dual_system;

/* Reserves everything to remove `removed` channels from those of `equations`, which it takes over. grid NULL: local. */
int reap_dual_create(reap_normal_equations *equations, const reap_grid *grid, int64_t removed, dual_route route,
                     dual_system *d);
void reap_dual_clear(dual_system *d);

/* Forms the normal equations and factors them. *singular: not positive definite to working precision, nothing else
 * done. */
int reap_dual_start(dual_system *d, bool *singular);

/* Factors the channels still there afresh from the upper triangle (removed ones dropped before). */
int reap_dual_refresh(dual_system *d, bool *singular);

/* Compacts the upper triangle to the channels still there, whose slots become their original indices: for the last
 * solve, or to be refreshed. V, W and the blocks are not valid any more. In dual_compact.c. */
int reap_dual_compact(dual_system *d);

/* Gives back what only the elimination needs, and drops channels that left: ready for the last solve. In
 * dual_compact.c.
 */
int reap_dual_finish(dual_system *d);

/* cost[slots + 1]: removal cost dJ of every slot, NaN in those that are gone (the last entry is scratch); *squares:
 * |W|^2 of the channels still there. Each cost is computed by one rank, so all ranks have the same bits. */
int reap_dual_costs(dual_system *d, double *cost, double *squares);

/* Takes the channel of `slot` out, where reap_panel_takes() it, in panel.c; *lost: its block is no longer positive
 * definite. cost: removal costs as they stand; left: channels still to go. */
int reap_panel_remove(dual_system *d, int64_t slot, const double *cost, int64_t left, bool *lost);

/* True if all channels that the stage looked ahead to have gone. */
bool reap_panel_full(const dual_system *d);

/* True if the channel of `slot` can go in this stage, being the next one of the look-ahead, or in one that starts with
 * it. */
bool reap_panel_takes(const dual_system *d, int64_t slot);

/* Ends a stage: W takes the delayed update, and dead rows are dropped. In panel.c. */
int reap_panel_apply_delayed(dual_system *d);

/* Costs that differ by less, relative to E, count as equal: exact duplicates do so up to rounding. */
#define DUAL_TIE 1e-9

/* Whole cache lines, an odd number of them, so that a row's entries in neighbouring columns fall into different sets of
 * the cache. */
static inline int64_t whole_lines(int64_t rows) { return ((rows + 7) / 8 | 1) * 8; }

/* Of the grid; one rank without it. */
static inline int dual_ranks(const dual_system *d) { return d->comm ? reap_comm_size(d->comm) : 1; }
static inline int dual_rank(const dual_system *d) { return d->comm ? reap_comm_rank(d->comm) : 0; }

/* Q's column of index j of V; own rows. */
static inline double *dual_q_column(const dual_system *d, int64_t j) { return d->q + (j - d->q_from) * d->stride; }

/* Shares out all slots to the ranks in order. */
void reap_dual_share_slots(dual_system *d);

/* Own slots and stride, from the shares. */
void reap_dual_note_share(dual_system *d);

/* Diagonal blocks of all slots anew: (W W')_jj from W where it is carried, else from K; dual: H_jj too. Those of H and
 * K are the ones of the factorisation. */
int reap_dual_load_blocks(dual_system *d, bool dual);

/* The same of given weights [slots * block, m]: out [slots][block * block]. Local. */
int reap_dual_product_blocks(int64_t slots, int64_t block, int64_t m, const double *weights, int64_t ld, double *out);

#endif
