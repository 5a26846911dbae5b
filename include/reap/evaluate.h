/* Running a network over a data set: accuracy, loss, stored outputs, distance to another network's outputs. */
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
  bool compared;           /* with the outputs of another network: the next two hold */
  double kl;               /* mean over images of KL(other || this one) of the soft-max, in nats; NaN if no classifiers */
  double output_error;     /* squared difference of all outputs over the other network's squared outputs */
  double seconds;          /* slowest rank, reading included */
  double seconds_forward;  /* of them computing */
} reap_evaluation;

/* A network's first outputs for this rank's images, kept in memory for others to be compared with. */
typedef struct reap_reference reap_reference;
void reap_reference_destroy(reap_reference **reference);

/* Collective over `comm`, by whose ranks the outputs were kept. Replaces *reference, kept for the shard `from`, by the outputs of
 * `to`, any shard of the same images and blocks: that of a smaller communicator, say. */
int reap_reference_redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to, reap_reference **reference);

/* All but the backend may be left out. */
typedef struct reap_evaluate_options {
  reap_backend backend;
  reap_outputs_file *outputs;      /* takes the first output of every image */
  reap_reference **keep;           /* gets the outputs; the caller's to destroy */
  const reap_reference *against;   /* outputs of another network for the same shard of the same images */
  const reap_progress *progress;
  const char *label;               /* what progress calls the network */
} reap_evaluate_options;

/* Collective. Runs every image of the shard through the prepared graph. Results are equal on all ranks and do not depend on
 * their number. REAP_ERR_NUMERIC names the first image whose output is not finite, REAP_ERR_INPUT tells that the outputs to
 * compare with have another shape. */
int reap_evaluate_with(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                       const reap_evaluate_options *options, reap_evaluation *out);

/* Shape of one image's first output. */
void reap_evaluate_output_shape(const reap_graph *graph, int *rank, int64_t *dims);

#endif
