/* Channel pruning by LASSO: He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017.
 *
 * With the contributions Z_c of the channels to the outputs (contributions.h) and what the outputs are to be less the
 * bias, Y - 1 b',
 *
 *     minimise 1/2 | Y - 1 b' - sum of beta_c Z_c |^2 + penalty * sum of |beta_c|          (the subproblem of beta)
 *
 * and the channels with beta_c other than zero stay. Y are outputs of the original network, Z those of the pruned one
 * so far, as in their whole-model pruning. Only inner products of the Z_c and of Z_c and Y - 1 b' matter, so that the
 * problem is one of as many unknowns as channels. It is solved by coordinate descent, and the penalty found by
 * bisection of its logarithm until as many channels are left as wanted. Where no penalty leaves just as many, those
 * with the largest |beta_c| stay at the largest penalty found that leaves more, as in the authors' program. The weights
 * of the other subproblem are least squares, common to all methods. Of a coupled group the outputs of all layers that
 * read it are approximated with the same beta, each relative to its energy.
 *
 * Cost: that of the contributions; channels^2 for each round of coordinate descent. Failure mode: contributions that
 * are nearly collinear take many rounds; after ROUNDS the result is taken as it is.
 */
#include <math.h>
#include <string.h>

#include "contributions.h"
#include "methods.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { ROUNDS = 1000, HALVINGS = 40 };

typedef struct lasso {
  int64_t channels;
  const double *product; /* [channels, channels] */
  double *beta;          /* [channels] */
  double *gradient;      /* [channels] target - product * beta */
  double tolerance;      /* of |beta_c Z_c| from round to round */
} lasso;

static double shrink(double x, double by) { return x > by ? x - by : x < -by ? x + by : 0; }

/* One coordinate; returns how far |beta_c Z_c| has moved. */
static double descend(lasso *l, int64_t c, double penalty) {
  const double *row = l->product + c * l->channels, square = row[c], before = l->beta[c];
  if (square <= 0) return 0;
  const double after = shrink(l->gradient[c] + square * before, penalty) / square, change = after - before;
  if (change == 0) return 0;
  l->beta[c] = after;
  for (int64_t d = 0; d < l->channels; d++) l->gradient[d] -= change * row[d];
  return fabs(change) * sqrt(square);
}

/* One round over all channels, or over those that are not zero. */
static double descend_all(lasso *l, double penalty, bool present_only) {
  double moved = 0;
  for (int64_t c = 0; c < l->channels; c++)
    if (!present_only || l->beta[c] != 0) moved = fmax(moved, descend(l, c, penalty));
  return moved;
}

/* From beta as it is; returns the number of channels that are not zero. */
static int64_t solve(lasso *l, double penalty) {
  int64_t count = 0;
  for (int round = 0; round < ROUNDS && descend_all(l, penalty, false) > l->tolerance; round++)
    while (round < ROUNDS && descend_all(l, penalty, true) > l->tolerance) round++;
  for (int64_t c = 0; c < l->channels; c++) count += l->beta[c] != 0;
  return count;
}

/* At one more penalty, e^logarithm: its channels counted, and |beta| into out unless that has `wanted` channels or more
 * already and these are fewer. *most: those that out has. */
static int64_t attempt(lasso *l, double logarithm, int64_t wanted, int64_t *most, double *out) {
  const int64_t count = solve(l, exp(logarithm));
  for (int64_t c = 0; c < l->channels && (count >= wanted || count > *most); c++) out[c] = fabs(l->beta[c]);
  if (count >= wanted || count > *most) *most = count;
  return count;
}

/* |beta| into out: at a penalty that leaves `wanted` channels; else at the largest one found that leaves more; else,
 * where even the smallest leaves fewer, of the most. Small penalties take many rounds, so they are come to from above,
 * each from the solution of the one before. */
static void search(lasso *l, double highest, int64_t wanted, double *out) {
  const double STEP = log(0.8);
  double high = log(highest), low = high;
  int64_t count = 0, most = 0;
  while (count < wanted && low > log(highest) - log(1e12)) {
    high = low;
    low += STEP;
    count = attempt(l, low, wanted, &most, out);
  }
  for (int k = 0; k < HALVINGS && count != wanted && most > wanted; k++) {
    const double middle = (low + high) / 2;
    count = attempt(l, middle, wanted, &most, out);
    *(count > wanted ? &low : &high) = middle;
  }
}

static int choose(const reap_contributions *z, int64_t wanted, double *scores) {
  lasso l = {.channels = z->units, .product = z->product};
  double highest = 0;
  int status = reap_calloc(&l.beta, z->units, sizeof *l.beta);
  if (status == REAP_OK) status = reap_alloc(&l.gradient, z->units, sizeof *l.gradient);
  if (status == REAP_OK) {
    memcpy(l.gradient, z->target, (size_t)z->units * sizeof *l.gradient);
    for (int64_t c = 0; c < z->units; c++) {
      highest = fmax(highest, fabs(z->target[c]));
      l.tolerance = fmax(l.tolerance, 1e-8 * sqrt(fmax(z->product[c + c * z->units], 0)));
    }
    if (highest > 0) search(&l, highest, wanted, scores);
  }
  reap_free(&l.beta);
  reap_free(&l.gradient);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  reap_contributions z;
  (void)state;
  int status = reap_contributions_make(e, &z);
  if (status == REAP_OK) status = choose(&z, e->n_kept, choice->scores);
  reap_contributions_clear(&z);
  return status;
}

const reap_method reap_method_cp = {
    .name = "cp",
    .summary = "LASSO over the channels' contributions to the outputs (He et al., ICCV 2017)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
