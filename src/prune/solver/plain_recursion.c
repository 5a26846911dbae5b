/* The recursion as in the paper, unblocked: what elimination.c is compared with and measured against.
 *
 * For every removal one full update of W and one of H by a matrix product of rank `block`; nothing is compacted, the
 * costs of all channels come from W as it stands, and there is one factorisation, at the start. The equations are those
 * at the top of elimination.c.
 *
 * Cost per removal: 2 n^2 block + 2 n m block for the updates, n m block for the costs. Failure mode: no protection
 * from drift; for tests and measurements only.
 */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "dual_system.h"
#include "fit.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

typedef struct recursion {
  reap_normal_equations *equations;
  reap_symmetric *matrix;
  int64_t n, m, block, channels;
  bool *alive;
  double *dual, *weights; /* [n, n] and [n, m], column-major */
  double *panel, *strip;  /* [n, b] H_:j H_jj^-1; copies of H_:j or W_j */
  double *pivot, *products, *duals, *cost;
  channel_blocks blocks;
  double error;
} recursion;

static void clear(recursion *r) {
  reap_normal_destroy(&r->equations);
  reap_symmetric_destroy(&r->matrix);
  reap_free(&r->alive);
  reap_free(&r->dual);
  reap_free(&r->weights);
  reap_free(&r->panel);
  reap_free(&r->strip);
  reap_free(&r->pivot);
  reap_free(&r->products);
  reap_free(&r->duals);
  reap_free(&r->cost);
  reap_channel_blocks_clear(&r->blocks);
}

static int create(const reap_gram *gram, double ridge, recursion *r) {
  const int64_t n = gram->n, m = gram->m, b = gram->block, c = gram->channels;
  *r = (recursion){.n = n, .m = m, .block = b, .channels = c};
  REAP_TRY(reap_normal_create(gram, 0, NULL, ridge, &r->equations));
  REAP_TRY(reap_symmetric_create(NULL, c, b, &r->matrix));
  REAP_TRY(reap_alloc(&r->alive, c, sizeof *r->alive));
  REAP_TRY(reap_alloc(&r->dual, n * n, sizeof *r->dual));
  REAP_TRY(reap_alloc(&r->weights, n * m, sizeof *r->weights));
  REAP_TRY(reap_alloc(&r->panel, n * b, sizeof *r->panel));
  REAP_TRY(reap_alloc(&r->strip, (n > m ? n : m) * b, sizeof *r->strip));
  REAP_TRY(reap_alloc(&r->pivot, b * b, sizeof *r->pivot));
  REAP_TRY(reap_alloc(&r->products, c * b * b, sizeof *r->products));
  REAP_TRY(reap_alloc(&r->duals, c * b * b, sizeof *r->duals));
  REAP_TRY(reap_alloc(&r->cost, c, sizeof *r->cost));
  return reap_channel_blocks_create(c, b, &r->blocks);
}

/* H, W and J from the normal equations. */
static int start(recursion *r, bool *singular) {
  int64_t info = 0, *slot = NULL;
  double *cross = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_normal_set(r->equations, r->matrix), done);
  REAP_TRY_OR(reap_symmetric_factor(r->matrix, REAP_LOWER, r->channels, &info), done);
  *singular = info != 0;
  if (*singular) goto done;
  REAP_TRY_OR(reap_symmetric_invert(r->matrix, r->channels), done);
  REAP_TRY_OR(reap_alloc(&slot, r->channels, sizeof *slot), done);
  for (int64_t c = 0; c < r->channels; c++) slot[c] = c;
  for (int64_t c = 0; c < r->channels; c++) r->alive[c] = true;
  REAP_TRY_OR(reap_symmetric_gather(r->matrix, REAP_LOWER, r->channels, r->channels, slot, r->dual), done);
  REAP_TRY_OR(reap_alloc(&cross, r->n * r->m, sizeof *cross), done);
  REAP_TRY_OR(reap_normal_cross(r->equations, r->channels, slot, 0, r->m, cross), done);
  REAP_TRY_OR(reap_dgemm('N', 'N', r->n, r->m, r->n, 1, r->dual, r->n, cross, r->n, 0, r->weights, r->n), done);
  r->error = r->equations->energy;
  for (int64_t i = 0; i < r->n * r->m; i++) r->error -= r->weights[i] * cross[i];
done:
  reap_free(&slot);
  reap_free(&cross);
  return status;
}

static int choose(recursion *r, int64_t *channel) {
  const int64_t b = r->block;
  double least = INFINITY;
  for (int64_t c = 0; c < r->channels; c++)
    for (int64_t j = 0; j < b; j++)
      memcpy(r->duals + c * b * b + j * b, r->dual + c * b + (c * b + j) * r->n, (size_t)b * sizeof *r->duals);
  REAP_TRY(reap_dual_product_blocks(r->channels, b, r->m, r->weights, r->n, r->products));
  reap_channel_blocks_load(&r->blocks, r->channels, r->duals, r->products);
  REAP_TRY(reap_channel_blocks_costs(&r->blocks, r->cost));
  for (int64_t c = 0; c < r->channels; c++)
    if (r->alive[c] && r->cost[c] < least) least = r->cost[c];
  for (int64_t c = 0; c < r->channels; c++)
    if (r->alive[c] && r->cost[c] <= least + DUAL_TIE * r->equations->energy) {
      *channel = c;
      return REAP_OK;
    }
  return reap_error(REAP_ERR_NUMERIC, "the costs of the channels are not numbers");
}

static int eliminate(recursion *r, int64_t channel) {
  const int64_t b = r->block, m = r->m, n = r->n, at = channel * b;
  int64_t info = 0;
  for (int64_t j = 0; j < b; j++) memcpy(r->pivot + j * b, r->dual + at + (at + j) * n, (size_t)b * sizeof *r->pivot);
  REAP_TRY(reap_dpotrf_lower(b, r->pivot, b, &info));
  if (info != 0) return reap_error(REAP_ERR_NUMERIC, "the dual system lost its positive definiteness");
  REAP_TRY(reap_dpotri_lower(b, r->pivot, b));
  reap_mirror_lower(b, r->pivot, b);
  REAP_TRY(reap_dgemm('N', 'N', n, b, b, 1, r->dual + at * n, n, r->pivot, b, 0, r->panel, n));
  for (int64_t j = 0; j < m; j++) memcpy(r->strip + j * b, r->weights + at + j * n, (size_t)b * sizeof *r->strip);
  REAP_TRY(reap_dgemm('N', 'N', n, m, b, -1, r->panel, n, r->strip, b, 1, r->weights, n));
  memcpy(r->strip, r->dual + at * n, (size_t)(b * n) * sizeof *r->strip); /* H_:j, and H_j: by symmetry */
  REAP_TRY(reap_dgemm('N', 'T', n, n, b, -1, r->panel, n, r->strip, n, 1, r->dual, n));
  for (int64_t j = 0; j < m; j++)
    memset(r->weights + at + j * n, 0, (size_t)b * sizeof *r->weights); /* zero but for rounding */
  r->alive[channel] = false;
  r->error += r->cost[channel];
  return REAP_OK;
}

static int walk(recursion *r, reap_path *path) {
  const double begin = reap_seconds();
  for (int64_t at = 0; at < path->n_removed; at++) {
    int64_t channel = -1;
    REAP_TRY(choose(r, &channel));
    const double before = reap_seconds();
    REAP_TRY(eliminate(r, channel));
    path->seconds.updates += reap_seconds() - before;
    path->order[at] = channel;
    path->error[at] = r->error;
  }
  path->seconds.eliminate = reap_seconds() - begin;
  for (int64_t c = 0, k = 0; c < r->channels; c++)
    if (r->alive[c]) path->kept[k++] = c;
  return REAP_OK;
}

/* Weights of the path by the fresh solve of the other route, so that paths compare. */
static int finish(const reap_gram *gram, recursion *r, const char *what, reap_path *path) {
  reap_path *fresh = NULL;
  const int64_t last = path->n_removed - 1;
  const reap_solve_options options = reap_solver_local(r->equations->ridge);
  REAP_TRY(reap_refit(gram, path->n_kept, path->kept, &options, what, &fresh));
  memcpy(path->weights, fresh->weights, (size_t)(path->n_kept * path->block * path->m) * sizeof *path->weights);
  memcpy(path->bias, fresh->bias, (size_t)path->m * sizeof *path->bias);
  if (last >= 0 && fresh->energy > 0) path->drift = fabs(path->error[last] - fresh->error[last]) / fresh->energy;
  if (last >= 0) path->error_plain[last] = fresh->error_plain[last];
  reap_path_destroy(&fresh);
  reap_fit_facts(r->equations, path);
  return REAP_OK;
}

int reap_solve_plain(const reap_gram *gram, int64_t n_kept, double ridge, const char *what, reap_path **out) {
  recursion r = {0};
  reap_path *path = NULL;
  const double begin = reap_seconds();
  bool singular = false;
  int status = REAP_OK;
  *out = NULL;
  if (n_kept < 1 || n_kept > gram->channels) return reap_error(REAP_ERR_USAGE, "%s: no such number of channels", what);
  if (gram->moments) REAP_TRY_OR(reap_moments_check(gram->moments), done);
  REAP_TRY_OR(reap_path_create(gram->channels, gram->block, gram->m, n_kept, &path), done);
  REAP_TRY_OR(create(gram, ridge, &r), done);
  while ((status = start(&r, &singular)) == REAP_OK && singular && r.equations->ridge < 1)
    r.equations->ridge = reap_normal_raise(r.equations->ridge);
  if (status == REAP_OK && singular) status = reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not that of any data");
  if (status != REAP_OK) goto done;
  path->seconds.factor = reap_seconds() - begin;
  REAP_TRY_OR(walk(&r, path), done);
  status = finish(gram, &r, what, path);
done:
  clear(&r);
  if (status != REAP_OK) reap_path_destroy(&path);
  *out = path;
  return reap_error_prefix(status, "%s", what);
}
