/* One removal: the blocks of all channels take what it means for them; see elimination.c for the scheme,
 * stage_columns.c for the pivot's columns of V and Q, panel_settle.c for the end of a stage.
 *
 * Channels that left keep their rows until the end of the stage. On several ranks each keeps its share of the slots,
 * their rows of V, Q and W and their blocks: a removal takes one sum, of the costs.
 *
 * Cost of a removal: 6 rows block^2 over the ranks.
 */
#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "linalg/dense.h"
#include "reap/error.h"

bool panel_full(const dual_system *d) { return d->k > d->start && d->stage.next == d->stage.count; }

bool panel_takes(const dual_system *d, int64_t slot) {
  return d->k == d->start || d->stage.slot[d->stage.next] == slot;
}

/* Own rows of G_:s in the order of the slots, zero where the channel left before. */
static int own_gram(dual_system *d, int64_t slot, double *out) {
  const int64_t b = d->block, rows = d->own_slots * b;
  REAP_TRY(reap_symmetric_gather_rows(d->dual, REAP_UPPER, 1, &d->home[slot], d->share, d->home, out, rows));
  for (int64_t q = 0; q < b; q++)
    for (int64_t s = 0; s < d->own_slots; s++)
      if (!d->alive[d->own_first + s]) memset(out + s * b + q * rows, 0, (size_t)b * sizeof *out);
  return REAP_OK;
}

/* Largest entry of H_:s' G_:s - I, with H_:s = V_new L': how well the recursion still inverts the matrix it came from.
 */
static int check_pivot(dual_system *d, int64_t slot) {
  const int64_t b = d->block, rows = d->own_slots * b, ld = d->stage.width;
  const double *lower = d->stage.triangle + (d->k - d->start) * (ld + 1);
  double *gram = d->check, *inner = gram + rows * b, *sums = inner + b * b, worst = 0;
  REAP_TRY(own_gram(d, slot, gram));
  REAP_TRY(reap_dgemm('T', 'N', b, b, rows, 1, d->v + d->k * d->stride, d->stride, gram, rows, 0, inner, b));
  for (int64_t q = 0; q < b; q++)
    for (int64_t p = 0; p < b; p++) {
      sums[p + q * b] = 0;
      for (int64_t j = 0; j <= p; j++) sums[p + q * b] += lower[p + j * ld] * inner[j + q * b];
    }
  REAP_TRY(reap_symmetric_sum(d->dual, sums, b * b));
  for (int64_t i = 0; i < b * b; i++) {
    const double gap = fabs(sums[i] - (i % (b + 1) == 0 ? 1 : 0));
    if (!(gap <= worst)) worst = isnan(gap) ? INFINITY : gap;
  }
  if (d->residual_fresh == 0) d->residual_fresh = worst;
  d->residual = worst;
  return REAP_OK;
}

int panel_remove(dual_system *d, int64_t slot, const double *growth, int64_t left, bool *lost) {
  stage *g = &d->stage;
  d->error += growth[slot];
  if (d->k == d->start) REAP_TRY(stage_begin(d, slot, growth, left));
  *lost = g->count == 0;
  if (*lost) return REAP_OK;
  slot = g->slot[g->next]; /* candidates have moved */
  REAP_TRY(channel_blocks_update(&d->blocks, d->v + d->k * d->stride, d->stride, dual_q_column(d, d->k), d->stride));
  if (g->next == 0 || g->next == g->count - 1) REAP_TRY(check_pivot(d, slot));
  d->alive[slot] = false;
  d->n_alive--;
  d->k += d->block;
  g->next++;
  return REAP_OK;
}
