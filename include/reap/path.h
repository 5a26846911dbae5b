/* Where a layer is solved, and the result of eliminating its channels: order, errors, and the weights of those kept.
 * Local. */
#ifndef REAP_PATH_H
#define REAP_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

/* On one rank, or by ScaLAPACK on all; AUTO: by size and memory. */
typedef enum reap_solver { REAP_SOLVER_AUTO, REAP_SOLVER_LOCAL, REAP_SOLVER_SCALAPACK } reap_solver;

typedef struct reap_path {
  int64_t channels, block, m;
  int64_t n_removed, n_kept; /* n_removed + n_kept == channels */
  int64_t *order;            /* [n_removed] channels in the order in which they went */
  double *error;             /* [n_removed] J (squared error and ridge term) after each removal */
  double *error_plain;       /* [n_removed] squared error without the ridge term after each; NaN where not computed */
  int64_t *kept;             /* [n_kept] ascending */
  double *weights;           /* [n_kept * block, m] row-major; NULL where the rank does not hold them */
  double *bias;              /* [m] */
  double energy;             /* centred energy of the target */
  double ridge;              /* relative ridge used in the end */
  double rcond;              /* estimated reciprocal condition number of the scaled, ridged Gram matrix; 0 if unknown */
  double drift;              /* |J of the recursion - J of a fresh solve| / energy, at the end */
  int64_t dead;              /* channels whose columns are all zero or constant */
  int64_t refreshes;         /* times the recursion was found to drift and factored afresh */
  bool distributed;          /* solved by all ranks */
  struct {
    double set_up, factor, eliminate, updates, weights; /* updates: of pivots' columns and W, part of eliminate */
  } seconds;
} reap_path;

/* Zero-filled arrays for the given counts; the caller owns the path. */
int reap_path_create_bare(int64_t channels, int64_t block, int64_t m, int64_t n_kept,
                          reap_path **out); /* without weights */
int reap_path_create(int64_t channels, int64_t block, int64_t m, int64_t n_kept, reap_path **out);

/* Room for the weights of a path that has none, zero-filled. */
int reap_path_add_weights(reap_path *path);

void reap_path_destroy(reap_path **path);

REAP_API_END

#endif
