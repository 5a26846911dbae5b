/* REAP: the channels that the elimination leaves, with their least-squares weights (elimination.c). */
#include <string.h>

#include "methods.h"
#include "reap/error.h"
#include "reap/solver.h"

int reap_choose_reap(const reap_method_input *input, int64_t *kept, reap_path **path) {
  const reap_solve_options options = {input->comm, input->comm ? REAP_SOLVER_SCALAPACK : REAP_SOLVER_LOCAL,
                                      input->ridge, REAP_ROUTE_AUTO};
  REAP_TRY(input->source ? reap_solve_source(input->source, input->n_kept, &options, input->group->name, path)
                         : reap_solve_with(input->moments, input->n_kept, &options, input->group->name, path));
  memcpy(kept, (*path)->kept, (size_t)input->n_kept * sizeof *kept);
  return REAP_OK;
}
