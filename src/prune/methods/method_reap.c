/* REAP: the channels that the elimination leaves, with their least-squares weights (elimination.c). */
#include "methods.h"
#include "reap/solver.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  const reap_solve_options options = {e->comm, e->comm ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL, e->ridge,
                                      REAP_ROUTE_AUTO};
  return e->source ? reap_solve_source(e->source, e->n_kept, &options, e->group->name, &choice->path)
                   : reap_solve_with(e->moments, e->n_kept, &options, e->group->name, &choice->path);
}

const reap_method reap_method_reap = {
    .name = "reap",
    .summary = "least reconstruction error of the consumer's outputs, weights re-solved (Kamma and Wada, 2019)",
    .needs = REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_PATH,
    .can = REAP_CAN_DISTRIBUTED | REAP_CAN_SIZES,
    .score = score};
