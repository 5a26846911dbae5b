/* ThiNet: Luo, Wu and Lin, "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression", ICCV 2017.
 *
 * With the contributions Z_c of the channels to the outputs (contributions.h), the channels T that go are to minimise
 *
 *     | sum of Z_c over T |^2                                                                       (their equation 6)
 *
 * greedily: T takes the channel for which it grows least, one after the other. Of channels that cost the same the one
 * of lowest index goes first. Weights of its own: the channels S that stay are scaled, W_c by a_c, to minimise
 * | Z_1 + ... + Z_C - sum of a_c Z_c over S |^2 (equation 7). The paper draws outputs at random; here all that the
 * moments are of count. It sums raw contributions, and so does this: means are not taken out, and the bias stays. The
 * ridge pulls the scales to 1. Of a coupled group the energies in all layers that read it are added up, each relative
 * to that of the layer's outputs.
 *
 * Cost: that of the contributions, channels^2 for the choice, n_kept^3 / 3 for the scales.
 */
#include <string.h>

#include "contributions.h"
#include "linalg/dense.h"
#include "methods.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The channel that goes next; growth[c]: of the energy, if c goes. */
static int64_t find_cheapest(int64_t channels, const double *growth, const bool *gone) {
  int64_t best = -1;
  for (int64_t c = 0; c < channels; c++)
    if (!gone[c] && (best < 0 || growth[c] < growth[best])) best = c;
  return best;
}

static int choose(const reap_contributions *z, int64_t n_removed, int64_t *order) {
  bool *gone = NULL;
  double *growth = NULL;
  int status = reap_calloc(&gone, z->units, sizeof *gone);
  if (status == REAP_OK) status = reap_alloc(&growth, z->units, sizeof *growth);
  for (int64_t c = 0; status == REAP_OK && c < z->units; c++) growth[c] = z->product[c + c * z->units];
  for (int64_t k = 0; status == REAP_OK && k < n_removed; k++) {
    order[k] = find_cheapest(z->units, growth, gone);
    gone[order[k]] = true;
    for (int64_t c = 0; c < z->units; c++) growth[c] += 2 * z->product[c + order[k] * z->units];
  }
  reap_free(&gone);
  reap_free(&growth);
  return status;
}

/* The matrix of the scales a - 1 of the channels kept[n], and their right sides: by how much the sum of the others
 * stands along each. */
static void set_equations(const reap_contributions *z, int64_t n, const int64_t *kept, double ridge, double *matrix,
                          double *right) {
  for (int64_t k = 0; k < n; k++) {
    const double *row = z->product + kept[k] * z->units, square = row[kept[k]];
    right[k] = 0;
    for (int64_t c = 0; c < z->units; c++) right[k] += row[c];
    for (int64_t i = 0; i < n; i++) {
      right[k] -= row[kept[i]];
      matrix[i + k * n] = row[kept[i]];
    }
    matrix[k + k * n] = square > 0 ? square * (1 + ridge) : 1;
  }
}

/* a - 1 of the channels kept[n]; the ridge pulls a to 1. */
static int solve_scales(const reap_contributions *z, int64_t n, const int64_t *kept, double ridge, double *a) {
  double *matrix = NULL;
  int64_t info = 1;
  int status = reap_alloc(&matrix, n * n, sizeof *matrix);
  for (; status == REAP_OK && info != 0 && ridge <= 1; ridge = ridge < 1e-8 ? 1e-7 : 10 * ridge) {
    set_equations(z, n, kept, ridge, matrix, a);
    status = reap_dpotrf_lower(n, matrix, n, &info);
  }
  if (status == REAP_OK) status = reap_dpotrs_lower(n, 1, matrix, n, a, n);
  reap_free(&matrix);
  return status;
}

/* The weights of the channels that `order` leaves, scaled. */
static int scale(const reap_contributions *z, const reap_evidence *e, reap_choice *choice) {
  const int64_t rows = e->gram->block * e->gram->m;
  int64_t *kept = NULL;
  double *a = NULL, *weights = NULL, *bias = NULL;
  int status = reap_reader_weights(e, e->readers, &weights, &bias);
  if (status == REAP_OK) status = reap_alloc(&kept, z->units, sizeof *kept);
  if (status == REAP_OK) status = reap_alloc(&a, e->n_kept, sizeof *a);
  for (int64_t c = 0, n = 0; status == REAP_OK && c < z->units; c++) {
    bool goes = false;
    for (int64_t k = 0; k < z->units - e->n_kept; k++) goes |= choice->order[k] == c;
    if (!goes) kept[n++] = c;
  }
  if (status == REAP_OK) status = solve_scales(z, e->n_kept, kept, e->ridge, a);
  for (int64_t i = 0; status == REAP_OK && i < e->n_kept * rows; i++)
    choice->weights[i] = (1 + a[i / rows]) * weights[kept[i / rows] * rows + i % rows];
  if (status == REAP_OK) memcpy(choice->bias, bias, (size_t)e->gram->m * sizeof *choice->bias);
  reap_free(&kept);
  reap_free(&a);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  reap_contributions z;
  (void)state;
  int status = reap_contributions_make(e, &z);
  if (status == REAP_OK) status = choose(&z, z.units - e->n_kept, choice->order);
  if (status == REAP_OK && e->own_weights) status = scale(&z, e, choice);
  reap_contributions_clear(&z);
  return status;
}

const reap_method reap_method_thinet = {
    .name = "thinet",
    .summary = "greedily, least energy of the summed contributions of the channels that go (Luo et al., ICCV 2017)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_ORDER | REAP_GIVES_WEIGHTS,
    .can = REAP_CAN_COUPLED,
    .score = score};
