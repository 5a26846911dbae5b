/* One layer's choice: the channels and weights that all ranks go on with; private to src/prune. */
#ifndef REAP_PRUNE_RUN_DECISION_H
#define REAP_PRUNE_RUN_DECISION_H

#include "prune/methods/methods.h"
#include "reap/comm.h"
#include "ridge.h"
#include "stats/gram.h"
#include "types.h"

/* Everything that follows from a layer's moments. */
typedef struct decision {
  int64_t block, m;
  const int64_t *given; /* [n_kept] channels to keep, borrowed; NULL: the method chooses */
  reap_step_record record;
  double *weights; /* [n_kept * block, m] row-major */
  double *bias;    /* [m] */
} decision;

int reap_decision_create(int64_t channels, int64_t block, int64_t m, int64_t n_kept, decision *out);
void reap_decision_clear(decision *d);

/* Collective: other weights for the channels already chosen. what: named in messages. */
int reap_decision_refit(const reap_comm *comm, const char *what, const reap_moments *moments, const ridge_choice *ridge,
                        const double *present_weights, decision *d);

#endif
