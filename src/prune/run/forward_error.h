/* What a layer's weights do in the network, on images held out; private to src/prune.
 *
 * Weights are solved from rows of inputs and targets, and measured on such rows. Whatever is wrong with the rows is
 * then wrong in both: weights that ruin the layer look like the better ones. So a step that takes new weights over
 * compares what the rows say with the layer run forward, once, when the weights are chosen.
 */
#ifndef REAP_PRUNE_RUN_FORWARD_ERROR_H
#define REAP_PRUNE_RUN_FORWARD_ERROR_H

#include "run.h"

/* Local, the same on all ranks. False without images held out (`rows` has none), and in a trial (trial.h): its
 * weights go nowhere, and looking would take as long as in the run itself. */
bool reap_forward_error_wanted(const run *r, const reap_held_out_error *rows);

typedef struct forward_error {
  int64_t samples;
  double error, square; /* sums of (target - output)^2 and target^2 over the positions that count */
} forward_error;

/* Collective: the same on all ranks. The layer of the step as it is in the pruned network, whose frontier holds its
 * inputs (already cut, if it is cut), with weights [n, m] row-major and bias [m] in place of its own (NULL: its own).
 */
int reap_forward_error_measure(const run *r, const step *s, const double *weights, const double *bias,
                               forward_error *out);

/* Local. True if the rows tell the same: but for what rounding does to a layer, its weights' rounding to a narrow type
 * included. Rows in a wrong order do not, for any weights that tell one row from another. */
bool reap_forward_error_agrees(const forward_error *forward, const reap_held_out_error *rows);

/* Local. Where they do not agree: tells the user what the new weights do (`after`), what they were to do (rows), and
 * what other weights do, called `old` ("the trained ones"); the smaller of the two is what is used. Such a run goes
 * on: with the better of two sets of weights measured in the network itself it is worth more to the user than no
 * result. */
void reap_forward_error_warn(const run *r, const step *s, const reap_held_out_error *rows, double after, double before,
                             const char *old);

#endif
