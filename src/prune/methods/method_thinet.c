/* ThiNet: Luo, Wu and Lin, "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression", ICCV 2017.
 *
 * With the contributions Z_c of the channels to the outputs (contributions.h), the channels T that go are to minimise
 *
 *     | sum of Z_c over T |^2                                                                       (their equation 6)
 *
 * greedily: T takes the channel for which it grows least, one after the other. Of channels that cost the same the one
 * of lowest index goes first. Weights of its own: the channels S that stay are scaled, W_c by a_c, to minimise
 * | Z_1 + ... + Z_C - sum of a_c Z_c over S |^2 (equation 7). The paper draws outputs at random; here all that the
 * moments are of count. It sums raw contributions, and so does this: means are not taken out, and the bias stays.
 *
 * Cost: that of the contributions, channels^2 for the choice, n_kept^3 / 3 for the scales.
 */
#include <math.h>

#include "contributions.h"
#include "methods.h"
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
  int status = reap_calloc(&gone, z->channels, sizeof *gone);
  if (status == REAP_OK) status = reap_alloc(&growth, z->channels, sizeof *growth);
  for (int64_t c = 0; status == REAP_OK && c < z->channels; c++) growth[c] = z->product[c + c * z->channels];
  for (int64_t k = 0; status == REAP_OK && k < n_removed; k++) {
    order[k] = find_cheapest(z->channels, growth, gone);
    gone[order[k]] = true;
    for (int64_t c = 0; c < z->channels; c++) growth[c] += 2 * z->product[c + order[k] * z->channels];
  }
  reap_free(&gone);
  reap_free(&growth);
  return status;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  reap_contributions z;
  (void)state;
  int status = reap_contributions_make(e, &z);
  if (status == REAP_OK) status = choose(&z, z.channels - e->n_kept, choice->order);
  reap_contributions_clear(&z);
  return status;
}

const reap_method reap_method_thinet = {
    .name = "thinet",
    .summary = "greedily, least energy of the summed contributions of the channels that go (Luo et al., ICCV 2017)",
    .needs = REAP_NEEDS_WEIGHTS | REAP_NEEDS_GRAM,
    .gives = REAP_GIVES_ORDER,
    .score = score};
