/* Joint elimination; see joint_elimination.h.
 *
 * Method. Layer c has the dual system H = (G + R)^-1 and the weights W = H C over its whole input. Without the columns
 * of unit u, and without the outputs that leave with it, its squared error grows by
 *
 *     |L^-1 W_u|^2 over the outputs that stay,   H_uu = L L',
 *
 * and what is left is H - Z Z' and W - Z L^-1 W_u with Z = H_:u L^-T. The cost of a unit is the sum of this over the
 * layers, in their order, each weighted and divided by its target's energy. The matrices themselves are never added:
 * the inverse of a sum is not the sum of inverses, and they differ in size. The cheapest unit leaves all systems at
 * once; of units whose costs differ by less than DUAL_TIE that of the lowest index.
 *
 * A system stays on the rank that owns it. Only costs are shared: one number for each layer and unit, each computed by
 * one rank and added up in one order on all.
 *
 * H is not updated at each removal: the Z of the last removals stand beside it, and are taken off at level 3 when there
 * are enough of them; columns that left are dropped then. Diagonal blocks and W are kept current.
 *
 * Cost for a layer of n columns, m outputs and b columns a unit: n^3 to invert; for each removal 4 n m b for W and the
 * costs, and 2 n^2 b for H, with n falling. Memory of a layer: n^2 + n m + n * PENDING doubles, on its owner.
 *
 * Failure modes: a block H_uu that is not positive definite to working precision, and an order that hangs on rounding.
 * The first begins anew with a larger ridge for this layer.
 */
#include "joint_elimination.h"

#include <math.h>
#include <string.h>

#include "dual_system.h"
#include "linalg/dense.h"
#include "linalg/symmetric.h"
#include "normal_equations.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

enum { PENDING = 96 }; /* columns of Z that wait */

/* One layer on its owner. */
typedef struct state {
  const reap_joint_system *system;
  int64_t n, m;  /* columns still held; outputs */
  double *h, *w; /* [n, n], [n, m], column-major */
  double *z;     /* [n, PENDING or the largest unit's columns] not yet taken off h */
  int64_t pending, capacity;
  int64_t *first;  /* [units + 1] columns of unit u: column[first[u]] .. column[first[u + 1]] */
  int64_t *column; /* present places */
  double **blocks; /* [units] H_uu, symmetric; NULL without columns */
  double *scratch; /* of costs and removals */
  bool *gone;      /* [m] outputs that left */
  bool lost;       /* a block is not positive definite */
  double factor;   /* weight / energy */
  double error;    /* of all units, times factor */
} state;

typedef struct elimination {
  const reap_comm *comm;
  int n_systems;
  const reap_joint_system *systems;
  int64_t units;
  state *states;  /* [n_systems]; empty where another rank is the owner */
  bool *alive;    /* [units] */
  double *costs;  /* [n_systems, units] */
  double *ridges; /* [n_systems] */
  int singular;   /* a system whose ridge is too small; -1: none */
} elimination;

static int64_t width_of(const state *s, int64_t u) { return s->first[u + 1] - s->first[u]; }

static void state_clear(state *s, int64_t units) {
  for (int64_t u = 0; s->blocks && u < units; u++) reap_free(&s->blocks[u]);
  reap_free(&s->blocks);
  reap_free(&s->h);
  reap_free(&s->w);
  reap_free(&s->z);
  reap_free(&s->first);
  reap_free(&s->column);
  reap_free(&s->scratch);
  reap_free(&s->gone);
  *s = (state){.system = NULL};
}

/* ------------------------------------------------------------------ setting up */

/* The columns of each unit, ascending. */
static int list_columns(state *s, int64_t units, int64_t *widest) {
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

static int load_blocks(state *s, int64_t units) {
  REAP_TRY(reap_calloc(&s->blocks, units, sizeof *s->blocks));
  for (int64_t u = 0; u < units; u++) {
    const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
    if (b == 0) continue;
    REAP_TRY(reap_alloc(&s->blocks[u], b * b, sizeof **s->blocks));
    for (int64_t j = 0; j < b; j++)
      for (int64_t i = 0; i < b; i++) s->blocks[u][i + j * b] = s->h[columns[i] + columns[j] * s->n];
  }
  return REAP_OK;
}

/* H and W from the moments; *singular: the ridge is too small. */
static int invert(const reap_normal_equations *e, state *s, bool *singular) {
  reap_symmetric *matrix = NULL;
  int64_t *slots = NULL, info = 0;
  double explained = 0;
  int status = reap_symmetric_create(NULL, e->slots, e->gram.block, &matrix);
  if (status == REAP_OK) status = reap_normal_set(e, matrix);
  if (status == REAP_OK) status = reap_symmetric_restore(matrix, e->slots);
  if (status == REAP_OK) status = reap_normal_cross(e, e->slots, e->channel, 0, s->m, s->w);
  if (status == REAP_OK) status = reap_symmetric_sweep(matrix, e->slots, s->m, s->w, s->n, &explained, &info);
  *singular = info != 0;
  if (status == REAP_OK && info == 0) status = reap_alloc(&slots, e->slots, sizeof *slots);
  for (int64_t k = 0; slots && k < e->slots; k++) slots[k] = k;
  if (slots) status = reap_symmetric_gather(matrix, REAP_LOWER, e->slots, e->slots, slots, s->h);
  reap_free(&slots);
  reap_symmetric_destroy(&matrix);
  if (status != REAP_OK || info != 0) return status;
  s->factor = e->energy > 0 ? s->system->weight / e->energy : 0;
  s->error = fmax(e->energy - explained, 0) * s->factor;
  return REAP_OK;
}

static int state_create(const reap_joint_system *y, int64_t units, double ridge, state *s, bool *singular) {
  reap_normal_equations *e = NULL;
  int64_t widest;
  *s = (state){.system = y, .n = y->n, .m = y->m};
  if (y->gram->moments) REAP_TRY(reap_moments_check(y->gram->moments));
  REAP_TRY(list_columns(s, units, &widest));
  s->capacity = PENDING > widest ? PENDING : widest;
  REAP_TRY(reap_alloc(&s->h, y->n * y->n, sizeof *s->h));
  REAP_TRY(reap_alloc(&s->w, y->n * y->m, sizeof *s->w));
  REAP_TRY(reap_alloc(&s->z, y->n * s->capacity, sizeof *s->z));
  REAP_TRY(reap_alloc(&s->scratch, widest * (widest + y->m + y->n + s->capacity), sizeof *s->scratch));
  REAP_TRY(reap_calloc(&s->gone, y->m, sizeof *s->gone));
  REAP_TRY(reap_normal_create(y->gram, 0, NULL, ridge, &e));
  const int status = invert(e, s, singular);
  reap_normal_destroy(&e);
  return status == REAP_OK && !*singular ? load_blocks(s, units) : status;
}

/* ------------------------------------------------------------------ costs */

/* L of H_uu into l [b, b]. */
static int factor_block(const state *s, int64_t u, double *l, int64_t *info) {
  const int64_t b = width_of(s, u);
  memcpy(l, s->blocks[u], (size_t)(b * b) * sizeof *l);
  return reap_dpotrf_lower(b, l, b, info);
}

/* L^-1 W_u into v [b, m]. */
static int weights_of(const state *s, int64_t u, const double *l, double *v) {
  const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
  for (int64_t j = 0; j < s->m; j++)
    for (int64_t i = 0; i < b; i++) v[i + j * b] = s->w[columns[i] + j * s->n];
  return reap_dtrsm('L', 'L', 'N', b, s->m, l, b, v, b);
}

/* Squares of v over the outputs that stay when unit u goes. */
static double squares_left(const state *s, int64_t u, const double *v) {
  const int64_t b = width_of(s, u);
  double sum = 0;
  for (int64_t j = 0; j < s->m; j++) {
    if (s->gone[j] || (s->system->produced && s->system->produced[j] == u)) continue;
    for (int64_t i = 0; i < b; i++) sum += v[i + j * b] * v[i + j * b];
  }
  return sum;
}

/* *lost: H_uu is not positive definite. */
static int cost_of(const state *s, int64_t u, double *cost, bool *lost) {
  const int64_t b = width_of(s, u);
  double *l = s->scratch, *v = l + b * b;
  int64_t info;
  *cost = 0;
  if (b == 0 || s->factor == 0) return REAP_OK;
  REAP_TRY(factor_block(s, u, l, &info));
  if (info != 0) {
    *lost = true;
    return REAP_OK;
  }
  REAP_TRY(weights_of(s, u, l, v));
  *cost = s->factor * squares_left(s, u, v);
  return REAP_OK;
}

/* ------------------------------------------------------------------ removal */

/* Takes what waits off H, and drops columns that left. */
static int settle(state *s, const bool *alive, int64_t units) {
  int64_t *place = NULL, left = 0;
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

/* H_:u as it is now, into out [n, b]. */
static int form_columns(const state *s, int64_t u, double *rows, double *out) {
  const int64_t b = width_of(s, u), *columns = s->column + s->first[u];
  for (int64_t j = 0; j < b; j++) {
    memcpy(out + j * s->n, s->h + columns[j] * s->n, (size_t)s->n * sizeof *out);
    for (int64_t q = 0; q < s->pending; q++) rows[j + q * b] = s->z[columns[j] + q * s->n];
  }
  return s->pending == 0 ? REAP_OK : reap_dgemm('N', 'T', s->n, b, s->pending, -1, s->z, s->n, rows, b, 1, out, s->n);
}

/* H_vv -= Z_v Z_v' for all units that are there. */
static void update_blocks(state *s, int64_t units, const bool *alive, int64_t b, const double *z) {
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

/* There is room for the columns of Z of unit u (settle() before). alive: without u. */
static int remove_unit(state *s, int64_t units, const bool *alive, int64_t u) {
  const int64_t b = width_of(s, u);
  double *l = s->scratch, *v = l + b * b, *columns = v + b * s->m, *rows = columns + b * s->n;
  int64_t info = 0;
  for (int64_t j = 0; s->system->produced && j < s->m; j++) s->gone[j] |= s->system->produced[j] == u;
  if (b == 0) return REAP_OK;
  REAP_TRY(form_columns(s, u, rows, columns));
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

/* ------------------------------------------------------------------ all systems */

static bool owns(const elimination *e, int c) { return e->systems[c].owner == reap_comm_rank(e->comm); }

static void clear_states(elimination *e) {
  for (int c = 0; e->states && c < e->n_systems; c++) state_clear(&e->states[c], e->units);
}

/* Sets up this rank's systems; errors[n_systems] as they are at the start, NaN of one whose ridge is too small. Local.
 */
static int create_states(elimination *e, double *errors) {
  for (int c = 0; c < e->n_systems; c++) {
    bool singular = false;
    errors[c] = 0;
    if (!owns(e, c)) continue;
    const int status = state_create(&e->systems[c], e->units, e->ridges[c], &e->states[c], &singular);
    REAP_TRY(reap_error_prefix(status, "%s", e->systems[c].name));
    errors[c] = singular ? NAN : e->states[c].error;
  }
  return REAP_OK;
}

/* The first system with a number that is none; -1: there is none. */
static int find_lost(int n_systems, int64_t count, const double *numbers) {
  for (int c = 0; c < n_systems; c++)
    for (int64_t u = 0; u < count; u++)
      if (isnan(numbers[c * count + u])) return c;
  return -1;
}

/* Of this rank's systems. Local. */
static int fill_costs(elimination *e) {
  for (int64_t i = 0; i < e->n_systems * e->units; i++) e->costs[i] = 0;
  for (int c = 0; c < e->n_systems; c++) {
    state *s = &e->states[c];
    for (int64_t u = 0; owns(e, c) && u < e->units; u++) {
      double *cost = &e->costs[c * e->units + u];
      if (e->alive[u] && !s->lost) REAP_TRY(cost_of(s, u, cost, &s->lost));
      if (s->lost) *cost = NAN;
    }
  }
  return REAP_OK;
}

/* Layers count in their order. */
static double total(const elimination *e, int64_t u) {
  double sum = 0;
  for (int c = 0; c < e->n_systems; c++) sum += e->costs[c * e->units + u];
  return sum;
}

static int64_t cheapest(const elimination *e) {
  double least = INFINITY, tie = 0;
  for (int c = 0; c < e->n_systems; c++) tie += DUAL_TIE * e->systems[c].weight;
  for (int64_t u = 0; u < e->units; u++)
    if (e->alive[u]) least = fmin(least, total(e, u));
  int64_t u = 0; /* numbers are none where a system is lost, which comes before this */
  while (!e->alive[u] || total(e, u) > least + tie) u++;
  return u;
}

/* Local. */
static int remove_everywhere(elimination *e, int64_t u) {
  for (int c = 0; c < e->n_systems; c++) {
    state *s = &e->states[c];
    if (owns(e, c) && !s->lost && s->pending + width_of(s, u) > s->capacity) REAP_TRY(settle(s, e->alive, e->units));
  }
  e->alive[u] = false;
  for (int c = 0; c < e->n_systems; c++)
    if (owns(e, c) && !e->states[c].lost) REAP_TRY(remove_unit(&e->states[c], e->units, e->alive, u));
  return REAP_OK;
}

/* One try with the ridges as they are; e->singular: whose is too small. */
static int attempt(elimination *e, int64_t removed, int64_t *order, double *error) {
  double sum = 0;
  clear_states(e);
  for (int64_t u = 0; u < e->units; u++) e->alive[u] = true;
  REAP_TRY(reap_comm_agree(e->comm, create_states(e, e->costs)));
  REAP_TRY(reap_comm_sum(e->comm, e->costs, e->n_systems)); /* each number has one owner: exact */
  e->singular = find_lost(e->n_systems, 1, e->costs);
  for (int c = 0; c < e->n_systems; c++) sum += e->costs[c];
  for (int64_t k = 0; e->singular < 0 && k < removed; k++) {
    REAP_TRY(reap_comm_agree(e->comm, fill_costs(e)));
    REAP_TRY(reap_comm_sum(e->comm, e->costs, e->n_systems * e->units));
    e->singular = find_lost(e->n_systems, e->units, e->costs);
    if (e->singular >= 0) break;
    order[k] = cheapest(e);
    error[k] = sum += total(e, order[k]);
    REAP_TRY(reap_comm_agree(e->comm, remove_everywhere(e, order[k])));
  }
  return REAP_OK;
}

static int raise(elimination *e) {
  const char *name = e->systems[e->singular].name;
  double *ridge = &e->ridges[e->singular];
  if (*ridge >= 1)
    return reap_error(REAP_ERR_NUMERIC, "%s: the Gram matrix is not that of any data, even with a ridge of %g", name,
                      *ridge);
  *ridge = reap_normal_raise(*ridge);
  reap_log(REAP_LOG_DEBUG, "%s: the Gram matrix is not positive definite: ridge raised to %g", name, *ridge);
  return REAP_OK;
}

static int allocate(elimination *e, double ridge) {
  REAP_TRY(reap_calloc(&e->states, e->n_systems, sizeof *e->states));
  REAP_TRY(reap_alloc(&e->alive, e->units, sizeof *e->alive));
  REAP_TRY(reap_alloc(&e->costs, e->n_systems * e->units, sizeof *e->costs));
  REAP_TRY(reap_alloc(&e->ridges, e->n_systems, sizeof *e->ridges));
  for (int c = 0; c < e->n_systems; c++) e->ridges[c] = ridge;
  return REAP_OK;
}

int reap_joint_eliminate(const reap_comm *comm, int n_systems, const reap_joint_system *systems, int64_t units,
                         int64_t n_kept, double ridge, int64_t *order, double *error, int64_t *kept) {
  elimination e = {.comm = comm, .n_systems = n_systems, .systems = systems, .units = units, .singular = -1};
  int64_t left = 0;
  int status = reap_comm_agree(comm, allocate(&e, ridge));
  if (status == REAP_OK) status = attempt(&e, units - n_kept, order, error);
  while (status == REAP_OK && e.singular >= 0) {
    status = raise(&e);
    if (status == REAP_OK) status = attempt(&e, units - n_kept, order, error);
  }
  for (int64_t u = 0; status == REAP_OK && u < units; u++)
    if (e.alive[u]) kept[left++] = u;
  clear_states(&e);
  reap_free(&e.states);
  reap_free(&e.alive);
  reap_free(&e.costs);
  reap_free(&e.ridges);
  return status;
}
