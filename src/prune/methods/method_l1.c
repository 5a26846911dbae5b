/* L1 norms of weights, in two readings of "largest L1 norm".
 *
 *   l1         of the weights that read the channel (the consumer's): the "max response" baseline of He, Zhang and Sun,
 *              "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017
 *   l1-filter  of the filter that makes it (the producer's): Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters
 *              for Efficient ConvNets", ICLR 2017; greedy in their terms: inputs of the filter that are gone already
 *              do not count
 *
 * Batch norms behind the layers are folded in, so that networks exported with and without folding give the same choice.
 * Without re-solved weights the first is the stronger of the two on the networks tried, hence the short name. Cost: one
 * pass over the weights.
 */
#include <math.h>

#include "methods.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_keep_largest(const double *scores, int64_t n, int64_t count, int64_t *kept) {
  bool *taken = NULL;
  REAP_TRY(reap_calloc(&taken, n, sizeof *taken));
  for (int64_t k = 0; k < count; k++) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
      if (!taken[i] && (best < 0 || scores[i] > scores[best])) best = i;
    taken[best] = true;
  }
  for (int64_t i = 0, k = 0; i < n; i++)
    if (taken[i]) kept[k++] = i;
  reap_free(&taken);
  return REAP_OK;
}

/* Sums of |w| over each channel's runs of `run` weights; the channels' runs follow each other in turn. */
static void slice_norms(const reap_tensor *weights, int64_t channels, int64_t run, double *scores) {
  for (int64_t i = 0; i < weights->count; i++) scores[i / run % channels] += fabs((double)weights->f32[i]);
}

static int choose(const reap_method_input *input, bool of_filter, int64_t *kept) {
  const int64_t channels = input->group->channels;
  const int node = of_filter ? input->group->producers[0] : input->group->consumers[0];
  const reap_tensor *weights = reap_node_constant(input->graph, input->graph->nodes[node], 1);
  const int64_t row = weights->count / weights->dims[0]; /* of one output */
  double *scores = NULL;
  REAP_TRY(reap_calloc(&scores, channels, sizeof *scores));
  slice_norms(weights, channels, of_filter ? row : row / channels, scores);
  int status = reap_keep_largest(scores, channels, input->n_kept, kept);
  reap_free(&scores);
  return status;
}

int reap_choose_l1(const reap_method_input *input, int64_t *kept, reap_path **path) {
  (void)path;
  return choose(input, false, kept);
}

int reap_choose_l1_filter(const reap_method_input *input, int64_t *kept, reap_path **path) {
  (void)path;
  return choose(input, true, kept);
}
