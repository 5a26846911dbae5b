/* The ridge of a layer with few rows, for its path and for its weights at the measured sizes.
 *
 * Without it such a layer fits its rows and nothing else, moves the outputs far on images held out, and is given more
 * than its share (run/ridge.c has the equations). The ridge is chosen for half of the channels, those that the standard
 * one keeps: with all of them the trained weights have no error, which any pull towards them would win by. Moments that
 * no rank holds, and those in a file, stay with the options' ridge.
 *
 * Cost: one elimination on rank 0 and what run/ridge.c takes.
 */
#include "model/groups/surgery.h"
#include "path_work.h"
#include "prune/run/ridge.h"
#include "reap/error.h"
#include "reap/memory.h"

/* kept[n_kept]: by the standard ridge, on rank 0. */
static int halve(const reap_layer_gram *gram, double ridge, const char *what, int64_t n_kept, int64_t *kept) {
  const reap_solve_options options = reap_solver_local(ridge);
  reap_path *path = NULL;
  const int status = reap_solve(&gram->view, n_kept, &options, what, &path);
  for (int64_t k = 0; status == REAP_OK && k < n_kept; k++) kept[k] = path->kept[k];
  reap_path_destroy(&path);
  return status;
}

/* Collective. */
static int choose(const reap_comm *comm, const reap_layer_gram *gram, const double *trained, const ridge_choice *given,
                  path_work *w, ridge_choice *best) {
  const int64_t n_kept = (w->layer.channels + 1) / 2;
  int64_t *kept = NULL;
  double error = 0;
  REAP_TRY(reap_comm_alloc(comm, &kept, n_kept, sizeof *kept));
  int status = reap_comm_rank(comm) == 0 ? halve(gram, given->ridge, w->path->group, n_kept, kept) : REAP_OK;
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_comm_broadcast(comm, kept, (size_t)n_kept * sizeof *kept, 0);
  if (status == REAP_OK)
    status = reap_ridge_choose(comm, &gram->samples, gram->moments, trained, n_kept, kept, RIDGE_FEW_ROWS, given, best,
                               &error);
  reap_free(&kept);
  return status;
}

/* Local. */
static int pull(double ridge, const double *trained, reap_layer_gram *gram) {
  reap_moments *pulled = NULL;
  REAP_TRY(reap_ridge_pull(gram->moments, ridge, trained, &pulled));
  reap_moments_destroy(&gram->moments);
  gram->moments = pulled;
  gram->view = reap_gram_of(pulled);
  return REAP_OK;
}

int reap_path_work_choose_ridge(const reap_comm *comm, const reap_graph *graph, const reap_paths_options *o,
                                reap_layer_gram *gram, path_work *w) {
  const ridge_choice given = {o->ridge, false};
  const reap_layer *l = &w->layer;
  ridge_choice best = given;
  double *weights = NULL, *bias = NULL;
  if (!gram->view.moments || o->ridge_rule == REAP_RIDGE_GIVEN ||
      !reap_ridge_looks(REAP_RIDGE_FEW_ROWS, gram->view.samples, l->n))
    return REAP_OK;
  int status = reap_alloc(&weights, l->n * l->m, sizeof *weights);
  if (status == REAP_OK) status = reap_alloc(&bias, l->m, sizeof *bias);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) {
    reap_surgery_get_weights(graph, l->node, weights, bias);
    status = choose(comm, gram, weights, &given, w, &best);
  }
  if (status == REAP_OK && best.trained) status = reap_comm_agree(comm, pull(best.ridge, weights, gram));
  w->ridge = best.ridge;
  reap_free(&weights);
  reap_free(&bias);
  return status;
}
