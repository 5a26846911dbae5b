/* Optimal Brain Surgeon without its updates, as in the layer-wise OBS of Dong, Chen and Pan, "Learning to Prune Deep
 * Neural Networks via Layer-wise Optimal Brain Surgeon", NIPS 2017, for whole channels.
 *
 * With H = (G + R)^-1 and the least-squares weights W = H C of all channels, those of smallest removal cost
 *
 *     tr(W_j' H_jj^-1 W_j) = | L^-1 W_j |^2  with H_jj = L L'
 *
 * go, all at once: neither H nor W follows the removals. It is what reap's elimination begins with
 * (solver/elimination.c), so that the difference between the two is what its updates bring: of two channels that stand
 * in for each other, both look superfluous. Of a coupled group the costs in all layers that read it are added up, each
 * relative to the energy of the layer's outputs.
 *
 * Cost: one factorisation and inverse, n^2 m for the weights. Memory: two matrices [n, n] and two [n, m] beside the
 * moments.
 */
#include "linalg/dense.h"
#include "methods.h"
#include "prune/solver/normal_equations.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Of one layer, scaled (normal_equations.c), column-major. */
typedef struct dual {
  int64_t n, m;
  double *inverse, *weights, *cross; /* H [n, n]; W, C [n, m] */
} dual;

static void clear(dual *d) {
  reap_free(&d->inverse);
  reap_free(&d->weights);
  reap_free(&d->cross);
}

/* *singular: the ridge is too small for the factorisation. */
static int invert(const reap_normal_equations *e, reap_symmetric *matrix, const int64_t *slot, dual *d,
                  bool *singular) {
  int64_t info = 0;
  REAP_TRY(reap_normal_set(e, matrix));
  REAP_TRY(reap_symmetric_factor(matrix, REAP_LOWER, e->slots, &info));
  *singular = info != 0;
  if (*singular) return REAP_OK;
  REAP_TRY(reap_symmetric_invert(matrix, e->slots));
  REAP_TRY(reap_symmetric_gather(matrix, REAP_LOWER, e->slots, e->slots, slot, d->inverse));
  REAP_TRY(reap_normal_cross(e, e->slots, slot, 0, d->m, d->cross));
  return reap_dgemm('N', 'N', d->n, d->m, d->n, 1, d->inverse, d->n, d->cross, d->n, 0, d->weights, d->n);
}

static int solve(const reap_gram *gram, double ridge, dual *d) {
  reap_normal_equations *e = NULL;
  reap_symmetric *matrix = NULL;
  int64_t *slot = NULL, size = 0;
  bool singular = true;
  *d = (dual){.n = gram->n, .m = gram->m};
  int status = reap_normal_create(gram, 0, NULL, ridge, &e);
  if (status == REAP_OK) status = reap_symmetric_create(NULL, gram->channels, gram->block, &matrix);
  if (status == REAP_OK) status = reap_multiply(d->n, d->n, &size);
  if (status == REAP_OK) status = reap_alloc(&d->inverse, size, sizeof *d->inverse);
  if (status == REAP_OK) status = reap_alloc(&d->weights, d->n * d->m, sizeof *d->weights);
  if (status == REAP_OK) status = reap_alloc(&d->cross, d->n * d->m, sizeof *d->cross);
  if (status == REAP_OK) status = reap_alloc(&slot, gram->channels, sizeof *slot);
  for (int64_t c = 0; status == REAP_OK && c < gram->channels; c++) slot[c] = c;
  for (; status == REAP_OK && singular && e->ridge <= 1; e->ridge = reap_normal_raise(e->ridge))
    status = invert(e, matrix, slot, d, &singular);
  if (status == REAP_OK && singular)
    status = reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not that of any data, even with a ridge of 1");
  reap_free(&slot);
  reap_symmetric_destroy(&matrix);
  reap_normal_destroy(&e);
  return status;
}

/* The cost of the unit with those columns, of which there are at most `each` (-1: none). block [each, each], rows
 * [each, m]: scratch. */
static int find_cost(const dual *d, const int64_t *columns, int64_t each, double *block, double *rows, double *cost) {
  int64_t count = 0, info = 0;
  while (count < each && columns[count] >= 0) count++;
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < count; i++) block[i + j * count] = d->inverse[columns[i] + columns[j] * d->n];
  for (int64_t j = 0; j < d->m; j++)
    for (int64_t i = 0; i < count; i++) rows[i + j * count] = d->weights[columns[i] + j * d->n];
  *cost = 0;
  if (count == 0) return REAP_OK;
  REAP_TRY(reap_dpotrf_lower(count, block, count, &info));
  if (info != 0) return reap_error(REAP_ERR_NUMERIC, "the dual system is not positive definite; take a larger ridge");
  REAP_TRY(reap_dtrsm('L', 'L', 'N', count, d->m, block, count, rows, count));
  *cost = reap_sum_of_squares(count, d->m, rows, count);
  return REAP_OK;
}

static int add_costs(const reap_reader *reader, const dual *d, int64_t units, double *scores) {
  const double scale = reap_reader_scale(reader);
  double *block = NULL, *rows = NULL, cost = 0;
  int64_t each = 0, *columns = NULL;
  int status = reap_reader_columns(reader, units, &each, &columns);
  if (status == REAP_OK) status = reap_alloc(&block, each * each, sizeof *block);
  if (status == REAP_OK) status = reap_alloc(&rows, each * d->m, sizeof *rows);
  for (int64_t u = 0; status == REAP_OK && u < units; u++) {
    status = find_cost(d, columns + u * each, each, block, rows, &cost);
    scores[u] += scale * cost;
  }
  reap_free(&columns);
  reap_free(&block);
  reap_free(&rows);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  int status = REAP_OK;
  (void)state;
  for (int k = 0; status == REAP_OK && k < e->n_readers; k++) {
    dual d;
    status = solve(e->readers[k].gram, e->ridge, &d);
    if (status == REAP_OK) status = add_costs(&e->readers[k], &d, e->group->units, choice->scores);
    clear(&d);
  }
  return reap_error_prefix(status, "group %s", e->group->name);
}

const reap_method reap_method_obs_frozen = {
    .name = "obs-frozen",
    .summary = "reap's removal costs without updates between removals (Dong et al., NIPS 2017: layer-wise OBS)",
    .needs = REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
