/* One layer of a joint elimination; see joint_state.h.
 *
 * H is not updated at each removal: the Z of the last removals stand beside it, and are taken off at level 3 when there
 * are enough of them; columns that left are dropped then. Diagonal blocks and W are kept current.
 *
 * On a grid only H is distributed, and keeps all its columns. Diagonal blocks, Z and a removal's columns of H are on
 * every rank, and a rank has the rows of W of its share of the outputs.
 */
#include "joint_state.h"

#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "normal_equations.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { PENDING = 96 }; /* columns of Z that wait */

static int64_t width_of(const joint_state *s, int64_t u) { return s->first[u + 1] - s->first[u]; }

void reap_joint_state_clear(joint_state *s, int64_t units) {
  for (int64_t u = 0; s->blocks && u < units; u++) reap_free(&s->blocks[u]);
  reap_free(&s->blocks);
  reap_free(&s->h);
  reap_symmetric_destroy(&s->matrix);
  reap_free(&s->w);
  reap_free(&s->z);
  reap_free(&s->first);
  reap_free(&s->column);
  reap_free(&s->scratch);
  reap_free(&s->gone);
  *s = (joint_state){.system = NULL};
}

/* ------------------------------------------------------------------ setting up */

/* The columns of each unit, ascending. */
static int list_columns(joint_state *s, int64_t units, int64_t *widest) {
  const reap_joint_system *y = s->system;
  REAP_TRY(reap_calloc(&s->first, units + 2, sizeof *s->first));
  REAP_TRY(reap_alloc(&s->column, y->n, sizeof *s->column));
  for (int64_t i = 0; i < y->n; i++)
    if (y->unit[i] >= 0) s->first[y->unit[i] + 2]++;
  *widest = 1;
  for (int64_t u = 0; u < units; u++) {
    if (s->first[u + 2] > *widest) *widest = s->first[u + 2];
    s->first[u + 2] += s->first[u + 1];
  }
  for (int64_t i = 0; i < y->n; i++)
    if (y->unit[i] >= 0) s->column[s->first[y->unit[i] + 1]++] = i;
  return REAP_OK;
}

/* H_:u as it stood when Z was last taken off, into out [n, b]. */
static int read_columns(const joint_state *s, int64_t u, double *out) {
  const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
  if (s->matrix) return reap_symmetric_gather(s->matrix, REAP_LOWER, s->n, b, columns, out);
  for (int64_t j = 0; j < b; j++) memcpy(out + j * s->n, s->h + columns[j] * s->n, (size_t)s->n * sizeof *out);
  return REAP_OK;
}

static int allocate_blocks(joint_state *s, int64_t units) {
  REAP_TRY(reap_calloc(&s->blocks, units, sizeof *s->blocks));
  for (int64_t u = 0; u < units; u++)
    if (width_of(s, u) > 0) REAP_TRY(reap_alloc(&s->blocks[u], width_of(s, u) * width_of(s, u), sizeof **s->blocks));
  return REAP_OK;
}

static int load_blocks(joint_state *s, int64_t units) {
  double *read = s->scratch;
  for (int64_t u = 0; u < units; u++) {
    const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
    if (b > 0) REAP_TRY(read_columns(s, u, read));
    for (int64_t j = 0; j < b; j++)
      for (int64_t i = 0; i < b; i++) s->blocks[u][i + j * b] = read[columns[i] + j * s->n];
  }
  return REAP_OK;
}

/* Inverse and weights in place of the matrix and the cross moments; s->h from a local one. */
static int sweep(const reap_normal_equations *e, joint_state *s, reap_symmetric *matrix, bool *singular) {
  int64_t *slots = NULL, info = 0;
  double explained = 0;
  REAP_TRY(reap_symmetric_sweep(matrix, e->slots, s->m, s->w, s->n, &explained, &info));
  *singular = info != 0;
  if (info != 0) return REAP_OK;
  s->factor = e->energy > 0 ? s->system->weight / e->energy : 0;
  s->error = ((s->m_first == 0 ? e->energy : 0) - explained) * s->factor; /* the first outputs are of one rank */
  if (s->matrix) return REAP_OK;
  REAP_TRY(reap_alloc(&slots, e->slots, sizeof *slots));
  for (int64_t k = 0; k < e->slots; k++) slots[k] = k;
  const int status = reap_symmetric_gather(matrix, REAP_LOWER, e->slots, e->slots, slots, s->h);
  reap_free(&slots);
  return status;
}

static int invert_local(const reap_normal_equations *e, joint_state *s, bool *singular) {
  reap_symmetric *matrix = NULL;
  int status = reap_symmetric_create(NULL, e->slots, e->gram.block, &matrix);
  if (status == REAP_OK) status = reap_normal_set(e, matrix);
  if (status == REAP_OK) status = reap_symmetric_restore(matrix, e->slots);
  if (status == REAP_OK) status = reap_normal_cross(e, e->slots, e->channel, 0, s->m, s->w);
  if (status == REAP_OK) status = sweep(e, s, matrix, singular);
  reap_symmetric_destroy(&matrix);
  return status;
}

/* Collective. */
static int invert_shared(const reap_normal_equations *e, joint_state *s, bool *singular) {
  REAP_TRY(reap_normal_set(e, s->matrix));
  REAP_TRY(reap_symmetric_restore(s->matrix, e->slots));
  const int status = reap_normal_cross(e, e->slots, e->channel, s->m_first, s->m, s->w);
  REAP_TRY(reap_comm_agree(reap_symmetric_comm(s->matrix), status));
  return sweep(e, s, s->matrix, singular);
}

/* Columns one by one: a unit's need not be neighbours. */
static reap_gram by_columns(const reap_gram *gram) {
  reap_gram g = *gram;
  g.channels = g.n;
  g.block = 1;
  return g;
}

/* All but the matrices' contents. Local. */
static int prepare(const reap_joint_system *y, int64_t units, double ridge, joint_state *s, reap_normal_equations **e) {
  const reap_gram gram = by_columns(y->gram);
  int64_t widest;
  if (gram.moments) REAP_TRY(reap_moments_check(gram.moments));
  REAP_TRY(list_columns(s, units, &widest));
  s->capacity = PENDING > widest ? PENDING : widest;
  if (!s->matrix) REAP_TRY(reap_alloc(&s->h, y->n * y->n, sizeof *s->h));
  REAP_TRY(reap_alloc(&s->w, y->n * s->m, sizeof *s->w));
  REAP_TRY(reap_alloc(&s->z, y->n * s->capacity, sizeof *s->z));
  REAP_TRY(reap_alloc(&s->scratch, widest * (widest + s->m + y->n + s->capacity), sizeof *s->scratch));
  REAP_TRY(reap_calloc(&s->gone, y->m, sizeof *s->gone));
  REAP_TRY(allocate_blocks(s, units));
  return reap_normal_create(s->matrix ? &gram : y->gram, 0, NULL, ridge, e);
}

int reap_joint_state_create(const reap_joint_system *y, int64_t units, double ridge, const reap_grid *grid,
                            joint_state *s, bool *singular) {
  reap_normal_equations *e = NULL;
  *s = (joint_state){.system = y, .n = y->n, .m = y->m};
  if (grid) REAP_TRY(reap_symmetric_create(grid, y->n, 1, &s->matrix));
  if (grid) reap_symmetric_share(s->matrix, y->m, &s->m_first, &s->m);
  int status = reap_comm_agree(reap_grid_comm(grid), prepare(y, units, ridge, s, &e));
  if (status == REAP_OK) status = grid ? invert_shared(e, s, singular) : invert_local(e, s, singular);
  reap_normal_destroy(&e);
  return status == REAP_OK && !*singular ? load_blocks(s, units) : status;
}

/* ------------------------------------------------------------------ costs */

/* L of H_uu into l [b, b]. */
static int factor_block(const joint_state *s, int64_t u, double *l, int64_t *info) {
  const int64_t b = width_of(s, u);
  memcpy(l, s->blocks[u], (size_t)(b * b) * sizeof *l);
  return reap_dpotrf_lower(b, l, b, info);
}

/* L^-1 W_u into v [b, m]. */
static int weights_of(const joint_state *s, int64_t u, const double *l, double *v) {
  const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
  for (int64_t j = 0; j < s->m; j++)
    for (int64_t i = 0; i < b; i++) v[i + j * b] = s->w[columns[i] + j * s->n];
  return reap_dtrsm('L', 'L', 'N', b, s->m, l, b, v, b);
}

/* Squares of v over the outputs that stay when unit u goes. */
static double squares_left(const joint_state *s, int64_t u, const double *v) {
  const int64_t b = width_of(s, u);
  double sum = 0;
  for (int64_t j = 0; j < s->m; j++) {
    const int64_t output = s->m_first + j;
    if (s->gone[output] || (s->system->produced && s->system->produced[output] == u)) continue;
    for (int64_t i = 0; i < b; i++) sum += v[i + j * b] * v[i + j * b];
  }
  return sum;
}

int reap_joint_state_cost(joint_state *s, int64_t u, double *cost) {
  const int64_t b = width_of(s, u);
  double *l = s->scratch, *v = l + b * b;
  int64_t info;
  *cost = 0;
  if (s->lost) *cost = NAN;
  if (s->lost || b == 0 || s->factor == 0) return REAP_OK;
  REAP_TRY(factor_block(s, u, l, &info));
  if (info != 0) {
    s->lost = true;
    *cost = NAN;
    return REAP_OK;
  }
  REAP_TRY(weights_of(s, u, l, v));
  *cost = s->factor * squares_left(s, u, v);
  return REAP_OK;
}

/* ------------------------------------------------------------------ removal */

/* Takes what waits off H, and drops columns that left from a local one. */
static int settle(joint_state *s, const bool *alive, int64_t units) {
  int64_t *place = NULL, left = 0;
  if (s->matrix) {
    const int64_t waiting = s->pending;
    s->pending = 0;
    return reap_symmetric_update(s->matrix, s->n, waiting, s->z, s->n);
  }
  REAP_TRY(reap_dsyrk_lower('N', s->n, s->pending, -1, s->z, s->n, 1, s->h, s->n));
  reap_mirror_lower(s->n, s->h, s->n);
  s->pending = 0;
  REAP_TRY(reap_alloc(&place, s->n, sizeof *place));
  for (int64_t i = 0; i < s->n; i++) place[i] = 0;
  for (int64_t u = 0; u < units; u++)
    for (int64_t k = s->first[u]; !alive[u] && k < s->first[u + 1]; k++)
      if (s->column[k] >= 0) place[s->column[k]] = -1;
  for (int64_t i = 0; i < s->n; i++)
    if (place[i] == 0) place[i] = left++;
  for (int64_t j = 0; j < s->n; j++) /* never ahead of what is still to be read */
    for (int64_t i = 0; place[j] >= 0 && i < s->n; i++)
      if (place[i] >= 0) s->h[place[i] + place[j] * left] = s->h[i + j * s->n];
  for (int64_t j = 0; j < s->m; j++)
    for (int64_t i = 0; i < s->n; i++)
      if (place[i] >= 0) s->w[place[i] + j * left] = s->w[i + j * s->n];
  for (int64_t k = 0; k < s->first[units]; k++)
    if (s->column[k] >= 0) s->column[k] = place[s->column[k]];
  s->n = left;
  reap_free(&place);
  return REAP_OK;
}

int reap_joint_state_make_room(joint_state *s, int64_t units, const bool *alive, int64_t u) {
  return !s->lost && s->pending + width_of(s, u) > s->capacity ? settle(s, alive, units) : REAP_OK;
}

/* H_:u as it is now, into out [n, b]. */
static int form_columns(const joint_state *s, int64_t u, double *rows, double *out) {
  const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
  REAP_TRY(read_columns(s, u, out));
  for (int64_t j = 0; j < b; j++)
    for (int64_t q = 0; q < s->pending; q++) rows[j + q * b] = s->z[columns[j] + q * s->n];
  return s->pending == 0 ? REAP_OK : reap_dgemm('N', 'T', s->n, b, s->pending, -1, s->z, s->n, rows, b, 1, out, s->n);
}

/* H_vv -= Z_v Z_v' for all units that are there. */
static void update_blocks(joint_state *s, int64_t units, const bool *alive, int64_t b, const double *z) {
  for (int64_t u = 0; u < units; u++) {
    const int64_t c = width_of(s, u), *columns = s->column + s->first[u];
    for (int64_t j = 0; alive[u] && j < c; j++)
      for (int64_t i = 0; i < c; i++) {
        double sum = 0;
        for (int64_t t = 0; t < b; t++) sum += z[columns[i] + t * s->n] * z[columns[j] + t * s->n];
        s->blocks[u][i + j * c] -= sum;
      }
  }
}

/* With H_:u as it is now in `columns`. Local. */
static int take_out(joint_state *s, int64_t units, const bool *alive, int64_t u, double *columns) {
  const int64_t b = width_of(s, u);
  double *l = s->scratch, *v = l + b * b;
  int64_t info = 0;
  REAP_TRY(factor_block(s, u, l, &info));
  s->lost = info != 0;
  if (s->lost) return REAP_OK;
  REAP_TRY(weights_of(s, u, l, v));
  REAP_TRY(reap_dtrsm('R', 'L', 'T', s->n, b, l, b, columns, s->n));
  REAP_TRY(reap_dgemm('N', 'N', s->n, s->m, b, -1, columns, s->n, v, b, 1, s->w, s->n));
  update_blocks(s, units, alive, b, columns);
  memcpy(s->z + s->pending * s->n, columns, (size_t)(s->n * b) * sizeof *columns);
  s->pending += b;
  return REAP_OK;
}

/* Lost on one rank, lost on all: the last bits of replicated numbers may differ where processors do. */
static int agree(joint_state *s, int status) {
  int64_t lost = s->lost;
  if (!s->matrix) return status;
  REAP_TRY(reap_comm_agree(reap_symmetric_comm(s->matrix), status));
  REAP_TRY(reap_comm_max_int64(reap_symmetric_comm(s->matrix), &lost, 1));
  s->lost = lost != 0;
  return REAP_OK;
}

int reap_joint_state_remove(joint_state *s, int64_t units, const bool *alive, int64_t u) {
  const int64_t b = width_of(s, u);
  double *columns = s->scratch + b * b + b * s->m, *rows = columns + b * s->n;
  for (int64_t j = 0; s->system->produced && j < s->system->m; j++) s->gone[j] |= s->system->produced[j] == u;
  if (b == 0 || s->lost) return REAP_OK;
  int status = form_columns(s, u, rows, columns);
  if (status == REAP_OK) status = take_out(s, units, alive, u, columns);
  return agree(s, status);
}
