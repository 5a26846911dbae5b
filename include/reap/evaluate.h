/* Running a network over a data set: accuracy, loss, stored outputs. */
#ifndef REAP_EVALUATE_H
#define REAP_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/kernel.h"
#include "reap/outputs_file.h"
#include "reap/progress.h"
#include "reap/shard.h"

typedef struct reap_evaluation {
  int64_t images;
  bool classified;         /* the output is [N, classes] and the data set has labels: the next three hold */
  double top1, top5, loss; /* shares in 0 .. 1; mean cross-entropy in nats */
  double seconds;          /* slowest rank, reading included */
  double seconds_forward;  /* of them computing */
} reap_evaluation;

/* Collective. Runs every image of the shard through the prepared graph. With `outputs` (may be NULL) the first output is
 * stored as well. Results are equal on all ranks and do not depend on their number. REAP_ERR_NUMERIC names the first
 * image whose output is not finite. `label` is what progress calls it. */
int reap_evaluate(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                  reap_backend backend, reap_outputs_file *outputs, const reap_progress *progress, const char *label,
                  reap_evaluation *out);

/* Shape of one image's first output. */
void reap_evaluate_output_shape(const reap_graph *graph, int *rank, int64_t *dims);

#endif
