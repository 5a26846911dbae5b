/* Optimal Brain Damage: LeCun, Denker and Solla, "Optimal Brain Damage", NIPS 1989, for whole channels and the layer's
 * own squared error.
 *
 * The saliency of a weight is h w^2 / 2 with the diagonal h of the error's Hessian, which is that of X'X for all
 * outputs of the layer; that of channel c is the sum over its weights,
 *
 *     1/2 sum over its columns i of (X'X)_ii |W_i|^2.
 *
 * Interactions of weights, of a channel or not, are left out: that is what "diagonal" says. The bias is a weight of its
 * own, so the columns are not centred. Of a coupled group the saliencies in all layers that read it are added up, each
 * relative to the energy of the layer's outputs. Cost: one pass over the weights.
 */
#include "methods.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"

static int add(const reap_evidence *e, const reap_reader *reader, double *scores) {
  const reap_gram *s = reader->gram;
  const double scale = reap_reader_scale(reader);
  double *weights = NULL, *bias = NULL;
  const int status = reap_reader_weights(e, reader, &weights, &bias);
  for (int64_t i = 0; status == REAP_OK && i < s->n; i++) {
    const int64_t unit = reap_reader_unit(reader, i);
    double squares = 0;
    for (int64_t j = 0; j < s->m; j++) squares += weights[i * s->m + j] * weights[i * s->m + j];
    if (unit >= 0) scores[unit] += scale * s->diagonal[i * s->diagonal_step] * squares / 2;
  }
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  for (int k = 0; k < e->n_readers; k++) REAP_TRY(add(e, &e->readers[k], choice->scores));
  return REAP_OK;
}

const reap_method reap_method_obd = {
    .name = "obd",
    .summary = "largest saliency by the diagonal of the layer's Hessian (LeCun et al., 1989)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
