/* L1 norm of filters: Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters for Efficient ConvNets", ICLR 2017.
 *
 * The score of channel j is the sum of |w| over the filter that produces it, with the batch norm behind it folded in, so that
 * networks exported with and without folding give the same choice. Cost: one pass over the weights.
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

int reap_choose_l1(const reap_method_input *input, int64_t *kept, reap_path **path) {
  (void)path;
  const reap_node *producer = input->graph->nodes[input->group->producers[0]];
  const reap_tensor *weights = reap_node_constant(input->graph, producer, 1);
  const int64_t m = weights->dims[0], n = weights->count / m;
  double *scores = NULL;
  REAP_TRY(reap_calloc(&scores, m, sizeof *scores));
  for (int64_t j = 0; j < m; j++)
    for (int64_t i = 0; i < n; i++) scores[j] += fabs((double)weights->f32[j * n + i]);
  int status = reap_keep_largest(scores, m, input->n_kept, kept);
  reap_free(&scores);
  return status;
}
