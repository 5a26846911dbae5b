/* A layer with fewer rows than columns, solved by a matrix of as many rows as there are samples; private to src/prune.
 * Equations, cost and failure modes are at the top of sample_space.c. */
#ifndef REAP_PRUNE_SOLVER_SAMPLE_SPACE_H
#define REAP_PRUNE_SOLVER_SAMPLE_SPACE_H

#include <stdbool.h>

#include "normal_equations.h"
#include "reap/comm.h"
#include "reap/path.h"

typedef struct sample_space {
  const reap_normal_equations *equations;
  int64_t rows, columns; /* N; of the channels last taken in */
  int64_t live;          /* of the columns, those that are not dead */
  double *z;             /* [N, columns] column-major: centred and scaled */
  double *y;             /* [m, N] column-major: centred outputs, one column for each row of Y */
  double *matrix;        /* [N, N] M, both triangles; after the factorisation L below */
  double rcond;          /* of Z'Z + R, estimated */
} sample_space;

/* Whether a system of so many columns of the layer is smaller in sample space. */
static inline bool sample_space_serves(const reap_gram *gram, int64_t columns) {
  return gram->rows_x && columns >= gram->samples;
}

/* Room for `slots` channels; the equations must outlive it. To be cleared also after an error. Local. */
int reap_sample_space_create(const reap_normal_equations *equations, int64_t slots, sample_space *out);
void reap_sample_space_clear(sample_space *s);

/* Takes in channel[slots], ascending, and factors M = L L'. *singular: not positive definite to working precision, or
 * the ridge is too small for it. Local. */
int reap_sample_space_factor(sample_space *s, int64_t slots, const int64_t *channel, bool *singular);

/* Weights (where path->weights is there) and bias of the channels path->kept, J and the plain error without the ridge
 * term. *singular as above, nothing else done then. Local. */
int reap_sample_space_fit(const reap_normal_equations *equations, reap_path *path, double *error, double *plain,
                          bool *singular);

/* Removes channels greedily, path->n_removed at most, as long as no fewer columns than rows are left; *count of them
 * into the path: order, errors, refreshes, drift, rcond. M is formed afresh after every `interval` removals if that is
 * not 0. equations: of all channels. Collective over comm (NULL: local), the same on all ranks. */
int reap_sample_space_eliminate(const reap_normal_equations *equations, const reap_comm *comm, int64_t interval,
                                reap_path *path, int64_t *count, bool *singular);

#endif
