/* Optimal Brain Surgeon without its updates, as in the layer-wise OBS of Dong, Chen and Pan, "Learning to Prune Deep
 * Neural Networks via Layer-wise Optimal Brain Surgeon", NIPS 2017, for whole channels.
 *
 * With H = (G + R)^-1 and the least-squares weights W = H C of all channels, those of smallest removal cost
 *
 *     tr(W_j' H_jj^-1 W_j)
 *
 * go, all at once: neither H nor W follows the removals. It is what reap's elimination begins with
 * (solver/elimination.c), so that the difference between the two is what its updates bring: of two channels that stand
 * in for each other, both look superfluous. Cost: one factorisation and inverse, n^2 m for the weights.
 */
#include "methods.h"
#include "prune/solver/dual_system.h"
#include "reap/error.h"
#include "reap/memory.h"

/* *singular: the ridge is too small for the factorisation. */
static int find_costs(const reap_evidence *e, double ridge, double *cost, bool *singular) {
  reap_normal_equations *equations = NULL;
  dual_system d = {0};
  double squares = 0;
  REAP_TRY(reap_normal_create(e->gram, 0, NULL, ridge, &equations));
  int status = reap_dual_create(equations, NULL, 1, DUAL_ROUTE_AUTO, &d);
  if (status == REAP_OK) status = reap_dual_start(&d, singular);
  if (status == REAP_OK && !*singular) status = reap_dual_costs(&d, cost, &squares);
  reap_dual_clear(&d);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  double *cost = NULL; /* one longer than the scores */
  bool singular = true;
  (void)state;
  REAP_TRY(reap_alloc(&cost, e->gram->channels + 1, sizeof *cost));
  int status = REAP_OK;
  for (double ridge = e->ridge; status == REAP_OK && singular && ridge <= 1; ridge = reap_normal_raise(ridge))
    status = find_costs(e, ridge, cost, &singular);
  if (status == REAP_OK && singular)
    status = reap_error(REAP_ERR_NUMERIC, "group %s: the Gram matrix is not that of any data", e->group->name);
  for (int64_t c = 0; status == REAP_OK && c < e->gram->channels; c++) choice->scores[c] = cost[c];
  reap_free(&cost);
  return status;
}

const reap_method reap_method_obs_frozen = {
    .name = "obs-frozen",
    .summary = "reap's removal costs without updates between removals (Dong et al., NIPS 2017: layer-wise OBS)",
    .needs = REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SCORES,
    .score = score};
