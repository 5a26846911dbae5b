/* The REAP solver: which channels of one layer go, in which order, and the weights of those that stay. Local.
 *
 * Equations and costs are at the top of src/prune/elimination.c.
 */
#ifndef REAP_SOLVER_H
#define REAP_SOLVER_H

#include "reap/moments.h"
#include "reap/path.h"

/* Relative ridge that is taken where nothing else is asked for. */
#define REAP_DEFAULT_RIDGE 1e-6

/* Removes channels greedily until n_kept are left (1 <= n_kept <= channels). Order, errors after every removal, and
 * least-squares weights and bias of the channels kept. A ridge too small for the factorisation is raised until it
 * serves; path->ridge tells. REAP_ERR_NUMERIC only for moments that are not numbers. */
int reap_solve(const reap_moments *moments, int64_t n_kept, double ridge, const char *what, reap_path **out);

/* Weights and bias for given channels kept[n_kept] (ascending): no elimination, order and errors empty but for the
 * last: path->n_removed entries of the order are the channels not in kept, ascending. */
int reap_refit(const reap_moments *moments, int64_t n_kept, const int64_t *kept, double ridge, const char *what,
               reap_path **out);

#endif
