/* One layer of a joint elimination: its dual system and weights, what a unit costs it, and a unit's removal; private to
 * src/prune. Equations are at the top of joint_elimination.c.
 *
 * A system of one rank is local. One of all ranks lies block-cyclic on a grid, and each rank has the weights of some
 * outputs; create, make_room and remove are then collective and their statuses agree. */
#ifndef REAP_PRUNE_SOLVER_JOINT_STATE_H
#define REAP_PRUNE_SOLVER_JOINT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "joint_elimination.h"
#include "linalg/symmetric.h"

typedef struct joint_state {
  const reap_joint_system *system;
  int64_t n;              /* columns still held */
  int64_t m_first, m;     /* outputs first .. first + m are this rank's: all of a local system */
  double *h;              /* [n, n] column-major; NULL: on the grid */
  reap_symmetric *matrix; /* H there, all columns to the end */
  double *w;              /* [n, m] column-major */
  double *z;              /* [n, 96 or the largest unit's columns] not yet taken off H */
  int64_t pending, capacity;
  int64_t *first;  /* [units + 1] columns of unit u: column[first[u]] .. column[first[u + 1]] */
  int64_t *column; /* present places */
  double **blocks; /* [units] H_uu, symmetric; NULL without columns */
  double *scratch; /* of costs and removals */
  bool *gone;      /* [m] outputs that left */
  bool lost;       /* a block is not positive definite */
  double factor;   /* weight / energy */
  double error;    /* this rank's part of the error with all units, times factor */
} joint_state;

/* grid: of all ranks; NULL: local. To be cleared also after an error. *singular: the ridge is too small. */
int reap_joint_state_create(const reap_joint_system *system, int64_t units, double ridge, const reap_grid *grid,
                            joint_state *out, bool *singular);
void reap_joint_state_clear(joint_state *state, int64_t units);

/* Local. What the removal of unit u costs this rank's outputs, weighted and relative to the target's energy; NaN, and
 * state->lost, where its block is not positive definite. */
int reap_joint_state_cost(joint_state *state, int64_t u, double *cost);

/* Makes room for the columns of unit u beside H; alive[units], u among them. */
int reap_joint_state_make_room(joint_state *state, int64_t units, const bool *alive, int64_t u);

/* Takes unit u out; alive: without it. There is room. */
int reap_joint_state_remove(joint_state *state, int64_t units, const bool *alive, int64_t u);

#endif
