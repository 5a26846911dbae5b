/* One layer's choice: made by rank 0, known to all; private to src/prune. */
#ifndef REAP_PRUNE_RUN_DECISION_H
#define REAP_PRUNE_RUN_DECISION_H

#include "prune/methods/methods.h"
#include "reap/comm.h"
#include "ridge.h"
#include "types.h"

/* Everything that follows from a layer's moments. */
typedef struct decision {
  int64_t block, m;
  const int64_t *given; /* [n_kept] channels to keep, borrowed; NULL: the method chooses */
  reap_step_record record;
  double *weights; /* [n_kept * block, m] row-major */
  double *bias;    /* [m] */
} decision;

int decision_create(int64_t channels, int64_t block, int64_t m, int64_t n_kept, decision *out);
void decision_clear(decision *d);

/* Who decides about what. Borrowed. */
typedef struct decision_setting {
  const reap_comm *comm;
  const reap_prune_options *options;
  void *state; /* the method's own */
  const reap_graph *graph;
  const reap_group *group;
} decision_setting;

/* Local, or collective over evidence->comm: the channels, those given or the method's. *path: as from
 * reap_method_select. */
int decision_choose(const decision_setting *by, const reap_evidence *evidence, decision *d, reap_path **path);

/* Local: what is predicted, and the errors along the path where the method gives them. */
void decision_take_path(const reap_path *path, bool eliminated, decision *d);

/* Collective: chooses and re-solves from moments that no rank holds, all ranks together; everybody gets the result.
 * Weights and relative error are the re-solved ones', also where options->refit is false. */
int decision_make_together(const decision_setting *by, const reap_moments_source *source, decision *d);

/* Collective: rank 0 chooses from the moments (the same on all ranks) and solves; everybody gets the result. present:
 * weights [channels * block, m] and bias [m] the layer has now, used where they are not re-solved. ridge: in place of
 * the options' one. */
int decision_make(const decision_setting *by, const reap_moments *moments, const ridge_choice *ridge,
                  const double *present_weights, const double *present_bias, decision *d);

/* Collective: other weights for the channels already chosen. what: named in messages. */
int decision_refit(const reap_comm *comm, const char *what, const reap_moments *moments, const ridge_choice *ridge,
                   const double *present_weights, decision *d);

#endif
