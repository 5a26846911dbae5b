/* The ridge of one layer, picked by the error on images held out; private to src/prune. */
#ifndef REAP_PRUNE_RUN_RIDGE_H
#define REAP_PRUNE_RUN_RIDGE_H

#include <stdbool.h>

#include "reap/comm.h"
#include "reap/moments.h"
#include "reap/solver.h"
#include "stats/samples.h"

typedef struct ridge_choice {
  double ridge;
  bool trained; /* pulls towards the trained weights, not towards zero */
} ridge_choice;

/* Which ridges are tried: 1e-8 ... 10 towards zero and towards the trained weights; every tenth of them where rows are
 * few, large ones alone; or a few, towards the trained weights. */
typedef enum ridge_candidates { RIDGE_ALL, RIDGE_FEW_ROWS, RIDGE_PULLS } ridge_candidates;
enum { RIDGE_MOST_CANDIDATES = 21 };

/* Whether a layer of `columns` columns and so many rows looks for its ridge. */
bool reap_ridge_looks(reap_ridge_rule rule, int64_t rows, int64_t columns);

/* Columns up to which a layer's moments are held whole under this rule, however few its rows: it looks then. */
int64_t reap_ridge_columns(reap_ridge_rule rule);

/* The candidates, of which there are RIDGE_MOST_CANDIDATES at most, into the list: the standard one first, so that it
 * stays where others are no better. Their number. */
int reap_ridge_list(ridge_candidates kind, const ridge_choice *standard, ridge_choice *list);

/* Collective. Compares candidates on the channels kept[n_kept], as chosen with `standard`, and returns the best on all
 * ranks: `standard` unless another one is better by more than a thousandth (or nothing is held out). samples: of the
 * layer; trained [n, m] are the weights the layer has now. moments, trained: looked at on rank 0. error: that of the
 * best, as reap_ridge_measure gives it. */
int reap_ridge_choose(const reap_comm *comm, const reap_samples *samples, const reap_moments *moments,
                      const double *trained, int64_t n_kept, const int64_t *kept, ridge_candidates kind,
                      const ridge_choice *standard, ridge_choice *out, double *error);

/* Collective. Squared error of weights [n_kept * block, m] and bias [m] on the rows that candidates are compared on. */
int reap_ridge_measure(const reap_comm *comm, const reap_samples *samples, int64_t n_kept, const int64_t *kept,
                       const double *weights, const double *bias, double *error);

/* Local. Moments whose solution with this ridge is pulled towards the trained weights; the caller owns them. Their
 * energy, and errors derived from it, hold the ridge term: plain errors have to be taken from the original moments. */
int reap_ridge_pull(const reap_moments *moments, double ridge, const double *trained, reap_moments **out);

#endif
