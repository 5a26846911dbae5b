/* Optimal Brain Damage: LeCun, Denker and Solla, "Optimal Brain Damage", NIPS 1989, for whole channels and the layer's
 * own squared error.
 *
 * The saliency of a weight is h w^2 / 2 with the diagonal h of the error's Hessian, which is that of X'X for all
 * outputs of the layer; that of channel c is the sum over its weights,
 *
 *     1/2 sum over its columns i of (X'X)_ii |W_i|^2.
 *
 * Interactions of weights, of a channel or not, are left out: that is what "diagonal" says. The bias is a weight of its
 * own, so the columns are not centred. Cost: one pass over the weights.
 */
#include "methods.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  const reap_gram *s = e->gram;
  double *weights = NULL, *bias = NULL;
  (void)state;
  int status = reap_alloc(&weights, s->n * s->m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, s->m, sizeof *bias);
  if (status == REAP_OK) reap_surgery_get_weights(e->graph, reap_group_consumer(e->group), weights, bias);
  for (int64_t i = 0; status == REAP_OK && i < s->n; i++) {
    double squares = 0;
    for (int64_t j = 0; j < s->m; j++) squares += weights[i * s->m + j] * weights[i * s->m + j];
    choice->scores[i / s->block] += s->diagonal[i * s->diagonal_step] * squares / 2;
  }
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

const reap_method reap_method_obd = {
    .name = "obd",
    .summary = "largest saliency by the diagonal of the layer's Hessian (LeCun et al., 1989)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SCORES,
    .score = score};
