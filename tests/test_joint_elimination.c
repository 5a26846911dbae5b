/* Joint elimination against brute force: at each step every unit's least-squares problems are solved anew for all
 * layers. On any number of ranks, with the systems dealt out in several ways. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "harness.h"
#include "linalg/dense.h"
#include "prune/solver/joint_elimination.h"
#include "reap/memory.h"
#include "reap/solver.h"

const char *const test_suite_name = "joint_elimination";

enum { UNITS = 7, MOST_COLUMNS = 40, MOST_OUTPUTS = 12, MOST_SYSTEMS = 3 };
static const double RIDGE = 1e-6;

/* How the layers of a case read the units. */
typedef enum form {
  ONE_COLUMN,      /* a matrix product: column u is unit u's */
  SEVERAL_COLUMNS, /* a convolution of four taps */
  FOREIGN_COLUMNS, /* every third column is of no unit, units are in another order, the last has no column */
  UNEVEN_COLUMNS,  /* unit u has 1 + u % 3 of them */
  READS_AND_WRITES /* and output u leaves with unit u */
} form;

typedef enum trait { DUPLICATES = 1, DEAD = 2, CONSTANT_TARGET = 4, HALF_WEIGHT = 8, FEW_ROWS = 16 } trait;

typedef struct layer {
  int64_t n, m, unit[MOST_COLUMNS], produced[MOST_OUTPUTS];
  bool produces;
  double weight;
  reap_moments *moments;
  double *gram, *cross, energy; /* centred */
} layer;

static void list_columns(form f, layer *l) {
  for (int64_t u = 0; u < UNITS; u++) {
    const int64_t own = f == FOREIGN_COLUMNS ? UNITS - 1 - u : u;
    const int64_t count = f == SEVERAL_COLUMNS   ? 4
                          : f == UNEVEN_COLUMNS  ? 1 + u % 3
                          : f == FOREIGN_COLUMNS ? (own < UNITS - 1)
                                                 : 1;
    for (int64_t k = 0; k < count; k++) l->unit[l->n++] = own;
    if (f == FOREIGN_COLUMNS && u % 2 == 0) l->unit[l->n++] = -1;
  }
  l->produces = f == READS_AND_WRITES;
  l->m = l->produces ? UNITS + 2 : 5;
  for (int64_t j = 0; j < l->m; j++) l->produced[j] = l->produces && j < UNITS ? j : -1;
}

static void fill_row(const layer *l, int traits, reap_random *r, double *x) {
  double *y = x + l->n, latent[4];
  for (int k = 0; k < 4; k++) latent[k] = reap_random_normal(r);
  for (int64_t i = 0; i < l->n; i++) {
    x[i] = 0.5 * reap_random_normal(r) + latent[i % 4] + 0.4 * latent[(i / 2) % 4];
    if ((traits & DEAD) && l->unit[i] == 2) x[i] = 0;
    if ((traits & DUPLICATES) && i > 0 && l->unit[i] == 5)
      for (int64_t j = 0; j < l->n; j++)
        if (l->unit[j] == 4 || (l->unit[j] == 1 && j < i)) x[i] = x[j];
  }
  for (int64_t j = 0; j < l->m; j++) {
    y[j] = 0.2 * reap_random_normal(r);
    for (int64_t i = 0; i < l->n; i++) y[j] += x[i] * sin((double)(1 + i * 3 + j * 7));
    if (traits & CONSTANT_TARGET) y[j] = 0.25;
  }
}

static void make(form f, int traits, uint64_t seed, layer *l) {
  double x[MOST_COLUMNS + MOST_OUTPUTS];
  reap_random r = reap_random_init(seed, (uint64_t)f, 1);
  memset(l, 0, sizeof *l);
  list_columns(f, l);
  l->weight = traits & HALF_WEIGHT ? 0.5 : 1;
  CHECK_OK(reap_moments_create(l->n, 1, l->m, &l->moments));
  reap_moments *s = l->moments;
  s->samples = traits & FEW_ROWS ? 4 : 300;
  for (int64_t row = 0; row < s->samples; row++) {
    fill_row(l, traits, &r, x);
    for (int64_t i = 0; i < l->n; i++) {
      s->sum_x[i] += x[i];
      for (int64_t j = 0; j < l->n; j++) s->gram[i * l->n + j] += x[i] * x[j];
      for (int64_t j = 0; j < l->m; j++) s->cross[i * l->m + j] += x[i] * x[l->n + j];
    }
    for (int64_t j = 0; j < l->m; j++) {
      s->sum_y[j] += x[l->n + j];
      s->energy += x[l->n + j] * x[l->n + j];
    }
  }
  CHECK_OK(reap_alloc(&l->gram, l->n * l->n, sizeof *l->gram));
  CHECK_OK(reap_alloc(&l->cross, l->n * l->m, sizeof *l->cross));
  reap_moments_centre(s, l->gram, l->cross, &l->energy);
  for (int64_t i = 0; i < l->n; i++) l->gram[i * l->n + i] *= 1 + RIDGE;
}

static void clear(layer *l) {
  reap_moments_destroy(&l->moments);
  reap_free(&l->gram);
  reap_free(&l->cross);
}

/* ------------------------------------------------------------------ brute force */

/* What least squares on the columns of the units that stay explains of the outputs that stay without `unit`. */
static double explained(const layer *l, const bool *alive, int64_t without, const bool *outputs) {
  int64_t columns[MOST_COLUMNS], n = 0, info;
  double a[MOST_COLUMNS * MOST_COLUMNS], b[MOST_COLUMNS], sum = 0;
  for (int64_t i = 0; i < l->n; i++) {
    const bool stays = l->unit[i] < 0 || (alive[l->unit[i]] && l->unit[i] != without);
    if (stays && l->gram[i * l->n + i] > 1e-9) columns[n++] = i;
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) a[i + j * n] = l->gram[columns[i] * l->n + columns[j]];
  CHECK_OK(reap_dpotrf_lower(n, a, n > 0 ? n : 1, &info));
  CU_ASSERT_EQUAL(info, 0);
  for (int64_t j = 0; j < l->m; j++) {
    for (int64_t i = 0; i < n; i++) b[i] = l->cross[columns[i] * l->m + j];
    CHECK_OK(reap_dtrsm('L', 'L', 'N', n, 1, a, n > 0 ? n : 1, b, n > 0 ? n : 1));
    for (int64_t i = 0; outputs[j] && i < n; i++) sum += b[i] * b[i];
  }
  return sum;
}

static double cost(const layer *l, const bool *alive, int64_t unit) {
  bool outputs[MOST_OUTPUTS];
  if (l->energy <= 1e-9) return 0;
  for (int64_t j = 0; j < l->m; j++)
    outputs[j] = l->produced[j] < 0 || (alive[l->produced[j]] && l->produced[j] != unit);
  const double scale = l->weight / l->energy;
  return scale * (explained(l, alive, -1, outputs) - explained(l, alive, unit, outputs));
}

/* Order and what each removal costs. */
static void brute_force(int n_layers, const layer *layers, int64_t n_kept, int64_t *order, double *costs) {
  bool alive[UNITS];
  for (int64_t u = 0; u < UNITS; u++) alive[u] = true;
  for (int64_t k = 0; k < UNITS - n_kept; k++) {
    double each[UNITS], least = INFINITY, tie = 0;
    for (int c = 0; c < n_layers; c++) tie += 1e-9 * layers[c].weight;
    for (int64_t u = 0; u < UNITS; u++) {
      each[u] = 0;
      for (int c = 0; alive[u] && c < n_layers; c++) each[u] += cost(&layers[c], alive, u);
      if (alive[u]) least = fmin(least, each[u]);
    }
    int64_t best = 0;
    while (!alive[best] || each[best] > least + tie) best++;
    order[k] = best;
    costs[k] = each[best];
    alive[best] = false;
  }
}

/* ------------------------------------------------------------------ cases */

/* Which rank has layer c: all by one, in turn, in turn from behind, shared by all, every other one shared. */
enum { WAYS = 5 };

static int owner_of(int way, int c) {
  const int ranks = reap_comm_size(test_comm());
  if (way == 3 || (way == 4 && c % 2 == 0)) return REAP_JOINT_SHARED;
  return way == 0 ? ranks - 1 : way == 2 ? ranks - 1 - c % ranks : c % ranks;
}

static void compare(int n_layers, const layer *layers, int64_t n_kept) {
  reap_joint_system systems[MOST_SYSTEMS];
  reap_gram grams[MOST_SYSTEMS];
  int64_t wanted[UNITS], order[UNITS], kept[UNITS];
  double costs[UNITS], error[UNITS];
  brute_force(n_layers, layers, n_kept, wanted, costs);
  for (int way = 0; way < WAYS; way++) {
    for (int c = 0; c < n_layers; c++) {
      const layer *l = &layers[c];
      const int owner = owner_of(way, c);
      const bool here = owner == REAP_JOINT_SHARED || owner == reap_comm_rank(test_comm());
      grams[c] = reap_gram_of(here ? l->moments : NULL);
      systems[c] = (reap_joint_system){"layer",   l->n,  l->m,     l->unit, l->produces ? l->produced : NULL,
                                       l->weight, owner, &grams[c]};
    }
    CHECK_OK(reap_joint_eliminate(test_comm(), n_layers, systems, UNITS, n_kept, RIDGE, order, error, kept));
    for (int64_t k = 0; k < UNITS - n_kept; k++) {
      CU_ASSERT_EQUAL(order[k], wanted[k]);
      if (k > 0) CU_ASSERT_TRUE(fabs(error[k] - error[k - 1] - costs[k]) <= 1e-9 * (1 + error[k]));
      for (int64_t j = 0; j < n_kept; j++) CU_ASSERT_NOT_EQUAL(kept[j], order[k]);
    }
    for (int64_t j = 1; j < n_kept; j++) CU_ASSERT_TRUE(kept[j] > kept[j - 1]);
  }
}

static void run_case(int n_layers, const form *forms, const int *traits) {
  for (uint64_t seed = 1; seed <= 4; seed++) {
    layer layers[MOST_SYSTEMS];
    for (int c = 0; c < n_layers; c++) make(forms[c], traits[c], 10 * seed + (uint64_t)c, &layers[c]);
    compare(n_layers, layers, 2);
    for (int c = 0; c < n_layers; c++) clear(&layers[c]);
  }
}

static void forms_of_layers(void) {
  for (form f = ONE_COLUMN; f <= READS_AND_WRITES; f++)
    for (form g = ONE_COLUMN; g <= READS_AND_WRITES; g++) run_case(2, (form[]){f, g}, (int[]){0, 0});
}

static void traits_of_layers(void) {
  static const int traits[] = {DUPLICATES, DEAD, DUPLICATES | DEAD, CONSTANT_TARGET, HALF_WEIGHT, FEW_ROWS};
  for (size_t i = 0; i < sizeof traits / sizeof traits[0]; i++) {
    const int t = traits[i], all = t & (DUPLICATES | DEAD);
    run_case(3, (form[]){SEVERAL_COLUMNS, READS_AND_WRITES, FOREIGN_COLUMNS}, (int[]){all, t, all});
    run_case(1, (form[]){UNEVEN_COLUMNS}, (int[]){t & ~(CONSTANT_TARGET | FEW_ROWS)});
  }
}

/* More columns than wait to be taken off at a time, and columns that are dropped. */
static void wide_system(void) {
  enum { WIDE = 60, TAPS = 4, OUTPUTS = 6, ROWS = 700 };
  reap_moments *s = NULL;
  int64_t unit[WIDE * TAPS], order[WIDE], single[WIDE], kept[WIDE];
  double error[WIDE], once[WIDE], x[WIDE * TAPS + OUTPUTS];
  reap_random r = reap_random_init(3, 1, 4);
  CHECK_OK(reap_moments_create(WIDE, TAPS, OUTPUTS, &s));
  s->samples = ROWS;
  for (int row = 0; row < ROWS; row++) {
    for (int i = 0; i < WIDE * TAPS; i++) x[i] = reap_random_normal(&r) + (i > TAPS ? 0.7 * x[i - TAPS] : 0);
    for (int j = 0; j < OUTPUTS; j++) {
      double *y = &x[WIDE * TAPS + j];
      *y = 0.1 * reap_random_normal(&r);
      for (int i = 0; i < WIDE * TAPS; i++) *y += x[i] * cos((double)(i * (j + 2)));
      s->sum_y[j] += *y;
      s->energy += *y * *y;
    }
    for (int i = 0; i < s->n; i++) {
      s->sum_x[i] += x[i];
      for (int j = 0; j < s->n; j++) s->gram[i * s->n + j] += x[i] * x[j];
      for (int j = 0; j < OUTPUTS; j++) s->cross[i * OUTPUTS + j] += x[i] * x[WIDE * TAPS + j];
    }
  }
  for (int i = 0; i < s->n; i++) unit[i] = i / TAPS;
  const reap_gram gram = reap_gram_of(s);
  const reap_joint_system one = {"layer", s->n, OUTPUTS, unit, NULL, 1, 0, &gram},
                          shared = {"layer", s->n, OUTPUTS, unit, NULL, 1, REAP_JOINT_SHARED, &gram},
                          two[] = {one, shared};
  CHECK_OK(reap_joint_eliminate(test_comm(), 1, &one, WIDE, 1, RIDGE, single, once, kept));
  CHECK_OK(reap_joint_eliminate(test_comm(), 2, two, WIDE, 1, RIDGE, order, error, kept));
  reap_path *path = NULL;
  const reap_solve_options options = reap_solver_local(RIDGE);
  CHECK_OK(reap_solve(&gram, 1, &options, "layer", &path));
  for (int k = 0; k < WIDE - 1; k++) {
    CU_ASSERT_EQUAL(single[k], path->order[k]); /* the solver of a single layer */
    CU_ASSERT_EQUAL(order[k], single[k]);
    CU_ASSERT_TRUE(fabs(once[k] - path->error[k] / path->energy) <= 1e-9);
    CU_ASSERT_TRUE(fabs(error[k] - 2 * once[k]) <= 1e-9);
  }
  reap_path_destroy(&path);
  reap_moments_destroy(&s);
}

const test_case test_cases[] = {{"forms of layers", forms_of_layers},
                                {"traits of layers", traits_of_layers},
                                {"a wide system", wide_system},
                                {NULL, NULL}};
