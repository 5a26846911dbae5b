/* REAP: the channels that the elimination leaves, with their least-squares weights (elimination.c). */
#include "methods.h"
#include "reap/solver.h"

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  (void)state;
  const reap_solve_options options = {
      .comm = e->comm, .solver = e->comm ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL, .ridge = e->ridge};
  return reap_solve(e->gram, e->n_kept, &options, e->group->name, &choice->path);
}

const reap_method reap_method_reap = {
    .name = "reap",
    .summary = "least reconstruction error of the consumer's outputs, weights re-solved (Kamma and Wada, 2019)",
    .needs = REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_PATH,
    .can = REAP_CAN_COUPLED | REAP_CAN_DISTRIBUTED | REAP_CAN_SIZES,
    .score = score};
