/* Which units of coupled groups stay: by the method, reap's being joint elimination over all layers that read them,
 * from moments of the original network; private to src/prune. */
#ifndef REAP_PRUNE_RUN_COUPLED_CHOICE_H
#define REAP_PRUNE_RUN_COUPLED_CHOICE_H

#include "types.h"

/* One group's path. */
typedef struct reap_coupled_choice {
  int64_t units, n_kept;
  int64_t samples;       /* fewest rows of a layer that had a say */
  int64_t *order, *kept; /* [units - n_kept], [n_kept] ascending; NULL: nothing was chosen */
  double *error;         /* [units - n_kept] sum of the layers' relative errors; 0 if the method knows none */
} reap_coupled_choice;

/* Collective: choices[groups] (zero before) of the coupled groups that the options choose and that lose units (with
 * cut_only, of inner ones too), from one pass over the shard's images through `graph`. The method of the options needs
 * moments or gives a path; method_state: from its prepare. The same on all ranks. */
int reap_coupled_choose(const reap_comm *comm, const reap_graph *graph, const reap_groups *groups, reap_dataset *images,
                        const reap_shard *shard, const reap_prune_options *options, void *method_state,
                        reap_coupled_choice *choices);

/* Local. Whether a member's layer has a least-squares problem of its own: it reads the units, and is no grouped and no
 * transposed convolution. */
bool reap_coupled_votes(const reap_graph *graph, const reap_member *member);

void reap_coupled_choice_clear(reap_coupled_choice *choice);

#endif
