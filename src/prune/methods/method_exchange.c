/* Local search by exchanges after the elimination: Meng, Ibrahim, Behdin, Hazimeh, Ponomareva and Mazumder, "OSSCAR:
 * One-Shot Structured Pruning in Vision and Language Models with Combinatorial Optimization", ICML 2024.
 *
 * From the channels S that reap's elimination leaves, the pair of a channel i in S and a channel j that went is
 * exchanged which lowers the squared error J (with the ridge term) most, until no pair lowers it by more than 1e-9 of
 * the outputs' energy. S is then a local optimum: no single exchange improves it.
 *
 * All pairs are judged exactly from one tableau, the symmetric matrix [G + R, C; C', E] after its sweep on S, with
 * blocks T of channels and R of the outputs' columns:
 *
 *     i, k in S:  T_ik = -H_ik       R_i = W_i, the weights
 *     j, k not:   T_jk, what S does not explain of (G + R)_jk;  R_j, what it does not of C_j
 *     between:    T_ij = H_i: (G + R)_:j
 *
 * Taking i out costs tr(H_ii^-1 K_ii) with K = R R', and changes what j gains:
 *
 *     S_j = T_jj + V_j V_j'    K_j = K_jj + V_j Q_j' + Q_j V_j'    gain tr(S_j^-1 K_j)
 *
 * with V = T_:i L^-T, Q = K_:i L^-T + V M / 2, M = L^-1 K_ii L^-T, H_ii = L L'. An exchange is two sweeps.
 *
 * Cost: that of the elimination; n^2 (n + m) to sweep S in; for each exchange n^2 m for K, and for each pair some
 * 10 block^3: minutes for a layer of 512 channels with 9 columns each. Memory: two matrices [n, n] and one [n, m]
 * beside the moments. Failure mode: rounding of the sweeps grows with the condition of G + R; the last weights come
 * from a fresh solve.
 */
#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "methods.h"
#include "prune/solver/normal_equations.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"

static const double WORTHWHILE = 1e-9;

typedef struct tableau {
  int64_t channels, block, n, m;
  double energy;
  double *t;     /* [n, n] column-major, both triangles */
  double *r;     /* [n, m] column-major */
  double *k;     /* [n, n] R R' */
  bool *kept;    /* [channels] */
  double *v, *q; /* [n, block] each */
  double *rows;  /* [block, n or m] a copy of rows */
  double *a, *b; /* [block, block] each */
} tableau;

static void clear(tableau *x) {
  double **all[] = {&x->t, &x->r, &x->k, &x->v, &x->q, &x->rows, &x->a, &x->b};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) reap_free(all[i]);
  reap_free(&x->kept);
}

static int allocate(tableau *x) {
  const int64_t n = x->n, b = x->block;
  int64_t size = 0;
  REAP_TRY(reap_multiply(n, n, &size));
  REAP_TRY(reap_alloc(&x->t, size, sizeof *x->t));
  REAP_TRY(reap_alloc(&x->k, size, sizeof *x->k));
  REAP_TRY(reap_alloc(&x->r, n * x->m, sizeof *x->r));
  REAP_TRY(reap_alloc(&x->v, n * b, sizeof *x->v));
  REAP_TRY(reap_alloc(&x->q, n * b, sizeof *x->q));
  REAP_TRY(reap_alloc(&x->rows, b * (n > x->m ? n : x->m), sizeof *x->rows));
  REAP_TRY(reap_alloc(&x->a, b * b, sizeof *x->a));
  REAP_TRY(reap_alloc(&x->b, b * b, sizeof *x->b));
  return reap_calloc(&x->kept, x->channels, sizeof *x->kept);
}

/* G + R and C, scaled to a unit diagonal (normal_equations.c). */
static int fill(const reap_normal_equations *e, tableau *x) {
  reap_symmetric *matrix = NULL;
  int64_t *slot = NULL;
  int status = reap_symmetric_create(NULL, x->channels, x->block, &matrix);
  if (status == REAP_OK) status = reap_normal_set(e, matrix);
  if (status == REAP_OK) status = reap_alloc(&slot, x->channels, sizeof *slot);
  for (int64_t c = 0; status == REAP_OK && c < x->channels; c++) slot[c] = c;
  if (status == REAP_OK) status = reap_symmetric_gather(matrix, REAP_LOWER, x->channels, x->channels, slot, x->t);
  if (status == REAP_OK) status = reap_normal_cross(e, x->channels, slot, 0, x->m, x->r);
  reap_free(&slot);
  reap_symmetric_destroy(&matrix);
  return status;
}

static void copy_block(const tableau *x, const double *from, int64_t c, double factor, double *to) {
  const int64_t b = x->block;
  for (int64_t j = 0; j < b; j++)
    for (int64_t i = 0; i < b; i++) to[i + j * b] = factor * from[c * b + i + (c * b + j) * x->n];
}

static int lose(int64_t info) {
  return info == 0 ? REAP_OK
                   : reap_error(REAP_ERR_NUMERIC, "the exchange of channels lost its precision; take a larger ridge");
}

/* Columns of channel c of a matrix times L^-T, into out [n, block]; L in x->a. */
static int scale_columns(const tableau *x, const double *from, int64_t c, double *out) {
  memcpy(out, from + c * x->block * x->n, (size_t)(x->block * x->n) * sizeof *out);
  return reap_dtrsm('R', 'L', 'T', x->n, x->block, x->a, x->block, out, x->n);
}

/* Sweeps channel c into S, or out of it. */
static int sweep(tableau *x, int64_t c) {
  const int64_t n = x->n, m = x->m, b = x->block, at = c * b;
  const double sign = x->kept[c] ? -1 : 1;
  int64_t info = 0;
  copy_block(x, x->t, c, sign, x->a);
  REAP_TRY(reap_dpotrf_lower(b, x->a, b, &info));
  REAP_TRY(lose(info));
  REAP_TRY(reap_dpotri_lower(b, x->a, b));
  reap_mirror_lower(b, x->a, b); /* the inverse, but for its sign */
  REAP_TRY(reap_dgemm('N', 'N', n, b, b, 1, x->t + at * n, n, x->a, b, 0, x->v, n));
  for (int64_t j = 0; j < m; j++) memcpy(x->rows + j * b, x->r + at + j * n, (size_t)b * sizeof *x->rows);
  REAP_TRY(reap_dgemm('N', 'N', n, m, b, -sign, x->v, n, x->rows, b, 1, x->r, n));
  REAP_TRY(reap_dgemm('N', 'N', b, m, b, 1, x->a, b, x->rows, b, 0, x->r + at, n));
  for (int64_t j = 0; j < n; j++) memcpy(x->rows + j * b, x->t + at + j * n, (size_t)b * sizeof *x->rows);
  REAP_TRY(reap_dgemm('N', 'N', n, n, b, -sign, x->v, n, x->rows, b, 1, x->t, n));
  for (int64_t j = 0; j < b; j++)
    for (int64_t i = 0; i < n; i++) x->t[i + (at + j) * n] = x->t[at + j + i * n] = x->v[i + j * n];
  for (int64_t j = 0; j < b; j++)
    for (int64_t i = 0; i < b; i++) x->t[at + i + (at + j) * n] = -sign * x->a[i + j * b];
  x->kept[c] = !x->kept[c];
  return REAP_OK;
}

static int form_products(tableau *x) {
  REAP_TRY(reap_dsyrk_lower('N', x->n, x->m, 1, x->r, x->n, 0, x->k, x->n));
  reap_mirror_lower(x->n, x->k, x->n);
  return REAP_OK;
}

static double trace(const double *a, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i + i * n];
  return sum;
}

/* V and Q for channel i of S, and what it costs to take it out. */
static int take_out(tableau *x, int64_t i, double *cost) {
  const int64_t b = x->block;
  int64_t info = 0;
  copy_block(x, x->t, i, -1, x->a);
  REAP_TRY(reap_dpotrf_lower(b, x->a, b, &info));
  REAP_TRY(lose(info));
  REAP_TRY(scale_columns(x, x->t, i, x->v));
  REAP_TRY(scale_columns(x, x->k, i, x->q));
  for (int64_t j = 0; j < b; j++) memcpy(x->b + j * b, x->q + i * b + j * x->n, (size_t)b * sizeof *x->b);
  REAP_TRY(reap_dtrsm('L', 'L', 'N', b, b, x->a, b, x->b, b)); /* M */
  *cost = trace(x->b, b);
  return reap_dgemm('N', 'N', x->n, b, b, 0.5, x->v, x->n, x->b, b, 1, x->q, x->n);
}

/* What channel j then gains. */
static int put_in(tableau *x, int64_t j, double *gain) {
  const int64_t b = x->block;
  const double *v = x->v + j * b, *q = x->q + j * b;
  int64_t info = 0;
  copy_block(x, x->t, j, 1, x->a);
  copy_block(x, x->k, j, 1, x->b);
  for (int64_t s = 0; s < b; s++)
    for (int64_t r = 0; r < b; r++)
      for (int64_t p = 0; p < b; p++) {
        const double vr = v[r + p * x->n], vs = v[s + p * x->n];
        x->a[r + s * b] += vr * vs;
        x->b[r + s * b] += vr * q[s + p * x->n] + q[r + p * x->n] * vs;
      }
  REAP_TRY(reap_dpotrf_lower(b, x->a, b, &info));
  REAP_TRY(lose(info));
  REAP_TRY(reap_dpotrs_lower(b, b, x->a, b, x->b, b));
  *gain = trace(x->b, b);
  return REAP_OK;
}

/* The exchange that lowers J most; *out is -1 if none is worth it. */
static int find_exchange(tableau *x, int64_t *out, int64_t *in) {
  double best = WORTHWHILE * x->energy;
  *out = -1;
  for (int64_t i = 0; i < x->channels; i++) {
    double cost = 0, gain = 0;
    if (!x->kept[i]) continue;
    REAP_TRY(take_out(x, i, &cost));
    for (int64_t j = 0; j < x->channels; j++) {
      if (x->kept[j]) continue;
      REAP_TRY(put_in(x, j, &gain));
      if (gain - cost <= best) continue;
      best = gain - cost;
      *out = i;
      *in = j;
    }
  }
  return REAP_OK;
}

static int search(tableau *x) {
  int64_t out = 0, in = 0;
  while (out >= 0) {
    REAP_TRY(form_products(x));
    REAP_TRY(find_exchange(x, &out, &in));
    if (out < 0) break;
    REAP_TRY(sweep(x, out));
    REAP_TRY(sweep(x, in));
  }
  return REAP_OK;
}

/* From the channels kept[n_kept] to those of the local optimum. */
static int improve(const reap_gram *gram, double ridge, int64_t n_kept, int64_t *kept) {
  reap_normal_equations *e = NULL;
  tableau x = {.channels = gram->channels, .block = gram->block, .n = gram->n, .m = gram->m};
  REAP_TRY(reap_normal_create(gram, 0, NULL, ridge, &e));
  x.energy = e->energy;
  int status = allocate(&x);
  if (status == REAP_OK) status = fill(e, &x);
  for (int64_t k = 0; status == REAP_OK && k < n_kept; k++) status = sweep(&x, kept[k]);
  if (status == REAP_OK) status = search(&x);
  for (int64_t c = 0, k = 0; status == REAP_OK && c < x.channels; c++)
    if (x.kept[c]) kept[k++] = c;
  clear(&x);
  reap_normal_destroy(&e);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  const reap_solve_options options = reap_solver_local(e->ridge);
  reap_path *path = NULL;
  (void)state;
  REAP_TRY(reap_solve(e->gram, e->n_kept, &options, e->group->name, &path));
  memcpy(choice->kept, path->kept, (size_t)e->n_kept * sizeof *choice->kept);
  const int status = improve(e->gram, path->ridge, e->n_kept, choice->kept);
  reap_path_destroy(&path);
  return reap_error_prefix(status, "group %s", e->group->name);
}

const reap_method reap_method_exchange = {
    .name = "exchange",
    .summary = "reap's choice improved by exchanging single channels (Meng et al., ICML 2024: OSSCAR)",
    .needs = REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_SET,
    .score = score};
