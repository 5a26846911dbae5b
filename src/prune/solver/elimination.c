/* Greedy elimination of channels with the biorthogonal system: REAP's own step, at level 3.
 *
 * Method (Kamma and Wada, ISVC 2019). With H = (G + R)^-1 the columns of D = X H are the dual basis of the columns of
 * X, W = H C are the least-squares weights, and J = E - tr(W'C) is the squared error plus the ridge term. For channel j
 * with its `block` columns, H_jj the block of H and W_j the rows of W,
 *
 *     dJ_j = tr( W_j' H_jj^-1 W_j )           removal cost: exact growth of J if channel j goes
 *     W  <-  W - H_:j H_jj^-1 W_j             weights of the rest, already re-solved
 *     H  <-  H - H_:j H_jj^-1 H_j:            dual system of the rest
 *     J  <-  J + dJ_j
 *
 * The channel with the smallest dJ_j goes, the lowest index among those within 1e-9 E of the smallest (exact duplicates
 * tie, and a rule makes all routes and rank counts choose alike). One elimination gives the whole path of smaller and
 * smaller layers.
 *
 * Equivalence. This is Optimal Brain Surgeon (Hassibi and Stork, NeurIPS 1992) with the mask made of whole blocks of
 * inputs and shared by all outputs: the layer's squared error is quadratic in W with the Hessian 2 (G + R) for each of
 * them, so that OBS's cost w_j' [(H / 2)_jj]^-1 w_j / 2 summed over the outputs is dJ_j, its weight update is the
 * second line and its update of the inverse Hessian the third; so do block-OBS in OBC (Frantar and Alistarh, NeurIPS
 * 2022) and structured pruning in ZipLM (Kurtic et al., NeurIPS 2023). The starting point is the least-squares W,
 * not the trained one.
 *
 * Scheme. The recursion (plain_recursion.c) streams all of H through memory for every channel. But eliminating is block
 * Cholesky of H with greedy pivoting: with H_jj = L L' and V_j = H_:j L^-T the third line is H - V_j V_j', and after
 * any number of removals H is what it was at the factorisation, less V V' with all columns of V so far. So H itself is
 * never touched again:
 *
 *  1. Which channels go next, and in which order, depends for a while on a few of them alone. A stage
 *     (stage_candidates.c) takes two to three times as many candidates as may go in it, the cheapest at its start,
 *     forms what H and W W' hold between them, and looks ahead to the order by eliminating there, in the cache
 *     (stage_lookahead.c).
 *  2. The columns of V and of Q, which does for W W' what V does for H, are formed for all channels of the look-ahead
 * at once, level 3, and for them alone (stage_columns.c): of the trailing matrix nothing is computed that is not used.
 *  3. Then they go one by one (panel.c). The block of every channel, H_jj and (W W')_jj, takes what each removal means
 *     for it (channel_blocks.c), and every removal is the cheapest channel of all, not of the candidates: one that was
 *     not looked ahead to ends the stage, whose columns so far stand, and starts the next. The choice is exactly
 *     greedy whatever the look-ahead.
 *  4. At the end of a stage W takes the delayed update, and dead rows are dropped (panel.c).
 *
 * Nearly all work is level 3, and of the n^2 entries of the trailing matrix those of channels that stay are never
 * computed: with the share f of the columns removed H costs (f^2 - 2 f^3 / 3) n^3, half of what keeping all of the
 * trailing matrix current costs at f = 1/2 (LAPACK's right-looking DPSTRF does that).
 *
 * W enters dJ only by W W', whose columns at the pivots are wanted, and two routes are open: carry W and form the
 * columns of W W' with those of H, 2 (n^2 - r^2) m; or form K = W W' once and treat it like H, n^2 m + 2 (f^2 - 2 f^3 /
 * 3) n^3. Counted cost decides (dual_system.c). The last weights come from a fresh factorisation of G (fit.c) either
 * way. Nothing here knows whether the matrix is local or block-cyclic: symmetric.h. On several ranks each keeps the
 * rows of V, Q and W, the diagonal blocks and the costs of its own channels. For a stage the candidates' rows of V and
 * W travel, and the first rank's look-ahead among them; for a removal the costs. As H does not change, nothing moves in
 * the block-cyclic matrix until the end.
 *
 * In the code (paper): dual (H), weights (W), product (W W'), cost (dJ), error (J). All in the scaled system of
 * normal_equations.h, whose traces are those of the unscaled one.
 *
 * Cost: n^3 for H, 2 n^2 m for W, (f^2 - 2 f^3 / 3) n^3 for the pivots' columns and one of the routes above, r^3 / 3 +
 * 2 r^2 m for the last weights; memory n^2 + n m, at most n^2 / 4 for V, and a stage's columns; by product 2 n^2 and V
 * twice.
 *
 * Failure modes. Rounding builds up along the recursion, at worst with the condition number of G + R: G stays in the
 * upper triangle, and the block (H_j: G_:j)_j - 1 of pivots at both ends of every stage tells how far H has left its
 * inverse; beyond 1e-6, and a hundred times what it was after the factorisation, the system is factored afresh. At the
 * end J is compared with that of the fresh weights: path->drift is the difference over E; above 1e-9 solver.c repeats
 * the elimination with regular factorisations. Where one rank's channels go and another's stay, work is uneven. Where
 * channels depend on each other so that costs jump, stages end early, and the look-ahead is shorter for a while: the
 * work lost is at most the columns that were not used, never the order. A matrix that is not positive definite to
 * working precision gets a larger ridge from solver.c.
 */
#include "elimination.h"

#include <math.h>

#include "reap/error.h"
#include "reap/memory.h"

static const double DRIFT = 1e-6, WORSE = 100;

static bool drifted(const dual_system *d) { return d->residual > DRIFT && d->residual > WORSE * d->residual_fresh; }

/* Ends the stage or, where needed, factors afresh. */
static int renew(dual_system *d, bool fresh, reap_path *path, bool *singular) {
  int64_t again = fresh || drifted(d);
  if (d->comm) REAP_TRY(reap_comm_broadcast(d->comm, &again, sizeof again, 0));
  if (!again) return reap_panel_apply_delayed(d);
  path->refreshes++;
  REAP_TRY(reap_dual_compact(d));
  return reap_dual_refresh(d, singular);
}

/* Costs of all channels, and the slot of the cheapest. */
static int choose(dual_system *d, double *cost, double *squares, int64_t *slot) {
  REAP_TRY(reap_dual_costs(d, cost, squares));
  *slot = reap_channel_blocks_cheapest(d->slots, d->alive, d->channel, cost, DUAL_TIE * d->equations->energy);
  return REAP_OK;
}

/* Removes the next channel; one out of the order looked ahead to starts a new stage; a block that has lost its
 * definiteness, or costs that are no numbers, call for a fresh system. |W|^2, hence the error without the ridge term,
 * is known of the step before; the last solve has the last one. */
static int step(dual_system *d, double *cost, int64_t at, reap_path *path, bool *singular) {
  for (int attempt = 0; attempt < 2; attempt++) {
    bool lost = true;
    double squares = 0;
    int64_t slot;
    REAP_TRY(choose(d, cost, &squares, &slot));
    if (slot >= 0 && !reap_panel_takes(d, slot)) {
      REAP_TRY(reap_panel_apply_delayed(d));
      REAP_TRY(choose(d, cost, &squares, &slot));
    }
    const int64_t channel = slot >= 0 ? d->channel[slot] : -1; /* slots change at the start of a stage */
    if (at > 0) path->error_plain[at - 1] = fmax(d->error - d->equations->ridge * squares, 0);
    if (slot >= 0) REAP_TRY(reap_panel_remove(d, slot, cost, path->n_removed - at, &lost));
    if (!lost) {
      path->order[at] = channel;
      path->error[at] = d->error;
      return REAP_OK;
    }
    REAP_TRY(renew(d, true, path, singular));
    if (*singular) return REAP_OK;
  }
  *singular = true;
  return REAP_OK;
}

static void list_kept(const dual_system *d, reap_path *path) {
  int64_t count = 0;
  for (int64_t s = 0; s < d->slots; s++) { /* insertion keeps them ascending */
    if (!d->alive[s]) continue;
    int64_t at = count++;
    for (; at > 0 && path->kept[at - 1] > d->channel[s]; at--) path->kept[at] = path->kept[at - 1];
    path->kept[at] = d->channel[s];
  }
}

int reap_elimination_run(dual_system *d, int64_t interval, reap_path *path, bool *singular) {
  double *cost = NULL;
  int status = reap_alloc(&cost, d->slots + 1, sizeof *cost);
  status = reap_comm_agree(d->comm, status);
  *singular = false;
  for (int64_t at = 0; status == REAP_OK && !*singular && at < path->n_removed; at++) {
    const bool due = interval > 0 && at > 0 && at % interval == 0;
    if (due || reap_panel_full(d)) status = renew(d, due, path, singular);
    if (status == REAP_OK && !*singular) status = step(d, cost, at, path, singular);
  }
  reap_free(&cost);
  if (status == REAP_OK && !*singular) list_kept(d, path);
  return status;
}
