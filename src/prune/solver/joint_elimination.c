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
 * one rank and added up in one order on all. A large system lies on all ranks (joint_state.c), each of which has the
 * costs of some outputs.
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
#include "joint_state.h"
#include "normal_equations.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

typedef struct elimination {
  const reap_comm *comm;
  reap_grid *grid; /* NULL where no system is shared */
  int n_systems;
  const reap_joint_system *systems;
  int64_t units;
  joint_state *states; /* [n_systems]; empty where another rank is the owner */
  bool *alive;         /* [units] */
  double *costs;       /* [n_systems, units] */
  double *ridges;      /* [n_systems] */
  int singular;        /* a system whose ridge is too small; -1: none */
} elimination;

static bool is_shared(const elimination *e, int c) { return e->systems[c].owner == REAP_JOINT_SHARED; }

static bool owns(const elimination *e, int c) { return e->systems[c].owner == reap_comm_rank(e->comm); }

static void clear_states(elimination *e) {
  for (int c = 0; e->states && c < e->n_systems; c++) reap_joint_state_clear(&e->states[c], e->units);
}

static int create_state(elimination *e, int c, double *error) {
  bool singular = false;
  const reap_grid *grid = is_shared(e, c) ? e->grid : NULL;
  const int status = reap_joint_state_create(&e->systems[c], e->units, e->ridges[c], grid, &e->states[c], &singular);
  *error = singular ? NAN : e->states[c].error;
  return reap_error_prefix(status, "%s", e->systems[c].name);
}

/* Sets up this rank's systems, then those of all; errors[n_systems] as they are at the start, this rank's part, NaN of
 * one whose ridge is too small. Collective. */
static int create_states(elimination *e, double *errors) {
  int status = REAP_OK;
  for (int c = 0; c < e->n_systems; c++) errors[c] = 0;
  for (int c = 0; status == REAP_OK && c < e->n_systems; c++)
    if (owns(e, c)) status = create_state(e, c, &errors[c]);
  REAP_TRY(reap_comm_agree(e->comm, status));
  for (int c = 0; c < e->n_systems; c++)
    if (is_shared(e, c)) REAP_TRY(create_state(e, c, &errors[c]));
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
  for (int c = 0; c < e->n_systems; c++)
    for (int64_t u = 0; e->states[c].system && u < e->units; u++)
      if (e->alive[u]) REAP_TRY(reap_joint_state_cost(&e->states[c], u, &e->costs[c * e->units + u]));
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

/* From this rank's systems. Local. */
static int remove_from_own(elimination *e, int64_t u) {
  for (int c = 0; c < e->n_systems; c++)
    if (owns(e, c)) REAP_TRY(reap_joint_state_make_room(&e->states[c], e->units, e->alive, u));
  e->alive[u] = false;
  for (int c = 0; c < e->n_systems; c++)
    if (owns(e, c)) REAP_TRY(reap_joint_state_remove(&e->states[c], e->units, e->alive, u));
  return REAP_OK;
}

/* Collective. */
static int remove_everywhere(elimination *e, int64_t u) {
  REAP_TRY(reap_comm_agree(e->comm, remove_from_own(e, u)));
  for (int c = 0; c < e->n_systems; c++) {
    if (!is_shared(e, c)) continue;
    REAP_TRY(reap_joint_state_make_room(&e->states[c], e->units, e->alive, u));
    REAP_TRY(reap_joint_state_remove(&e->states[c], e->units, e->alive, u));
  }
  return REAP_OK;
}

/* One try with the ridges as they are; e->singular: whose is too small. */
static int attempt(elimination *e, int64_t removed, int64_t *order, double *error) {
  double sum = 0;
  clear_states(e);
  for (int64_t u = 0; u < e->units; u++) e->alive[u] = true;
  REAP_TRY(create_states(e, e->costs));
  REAP_TRY(reap_comm_sum(e->comm, e->costs, e->n_systems)); /* of systems with one owner: exact */
  e->singular = find_lost(e->n_systems, 1, e->costs);
  for (int c = 0; c < e->n_systems; c++) sum += fmax(e->costs[c], 0);
  for (int64_t k = 0; e->singular < 0 && k < removed; k++) {
    REAP_TRY(reap_comm_agree(e->comm, fill_costs(e)));
    REAP_TRY(reap_comm_sum(e->comm, e->costs, e->n_systems * e->units));
    e->singular = find_lost(e->n_systems, e->units, e->costs);
    if (e->singular >= 0) break;
    order[k] = cheapest(e);
    error[k] = sum += total(e, order[k]);
    REAP_TRY(remove_everywhere(e, order[k]));
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

static int open_grid(elimination *e) {
  bool some = false;
  for (int c = 0; c < e->n_systems; c++) some |= is_shared(e, c);
  return some ? reap_grid_create(e->comm, &e->grid) : REAP_OK;
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
  if (status == REAP_OK) status = open_grid(&e);
  if (status == REAP_OK) status = attempt(&e, units - n_kept, order, error);
  while (status == REAP_OK && e.singular >= 0) {
    status = raise(&e);
    if (status == REAP_OK) status = attempt(&e, units - n_kept, order, error);
  }
  for (int64_t u = 0; status == REAP_OK && u < units; u++)
    if (e.alive[u]) kept[left++] = u;
  clear_states(&e);
  reap_grid_destroy(&e.grid);
  reap_free(&e.states);
  reap_free(&e.alive);
  reap_free(&e.costs);
  reap_free(&e.ridges);
  return status;
}
