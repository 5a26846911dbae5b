/* Running a network over a data set: accuracy, loss, stored outputs, distance to another network's outputs. */
#ifndef REAP_EXEC_EVALUATE_H
#define REAP_EXEC_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "divergence.h"
#include "exec/kernels/kernel.h"
#include "io/outputs_file.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "reap/log.h"
#include "shard.h"

/* One output against that of another network. */
typedef struct reap_output_figure {
  const char *name;      /* the graph's, borrowed */
  reap_output_kind kind; /* REAP_OUTPUT_OTHER unless both networks' are scores */
  double kl; /* mean over images of KL(other || this one) of the soft-max, in nats; NaN if it is no classifier's */
  double output_error; /* squared difference over the other network's squared output */
  double share;        /* see divergence.h */
} reap_output_figure;

typedef struct reap_evaluation {
  int64_t images;
  bool classified;    /* an output is [N, classes] and the data set has labels: the next ones hold */
  const char *judged; /* of several outputs, the one that they are of; the graph's, borrowed. NULL: there is but one */
  int64_t classes;
  double top1, top5, loss; /* shares in 0 .. 1; mean cross-entropy in nats */
  int64_t lost, gained;    /* compared: images that the other network has right and this one has not; the reverse */
  bool compared;           /* with the outputs of another network: the next ones hold */
  double kl,
      output_error; /* of several outputs the largest or the sum of each; kl: of those that have one, NaN if none has */
  double moved;     /* KL or error of one output, or the shares of several combined (reap_measure_moved) */
  int n_outputs;    /* and all of them, owned */
  reap_output_figure *outputs;
  double seconds;         /* slowest rank, reading included */
  double seconds_forward; /* of them computing */
} reap_evaluation;

void reap_evaluation_clear(reap_evaluation *evaluation);

/* A network's outputs for this rank's images, kept in memory for others to be compared with. */
typedef struct reap_reference reap_reference;
void reap_reference_destroy(reap_reference **reference);

/* Collective over `comm`, by whose ranks the outputs were kept. Replaces *reference, kept for the shard `from`, by the
 * outputs of `to`, any shard of the same images and blocks: that of a smaller communicator, say. */
int reap_reference_redeal(const reap_comm *comm, const reap_shard *from, const reap_shard *to,
                          reap_reference **reference);

/* All but the backend may be left out. */
typedef struct reap_evaluate_options {
  reap_backend backend;
  reap_outputs_file *outputs;    /* takes the outputs of every image: reap_evaluate_create_file */
  reap_reference **keep;         /* gets the outputs; the caller's to destroy */
  const reap_reference *against; /* outputs of another network for the same shard of the same images */
  reap_measure measure;          /* of several outputs */
  const reap_progress *progress;
  const char *label; /* what progress calls the network */
} reap_evaluate_options;

/* Collective. Runs every image of the shard through the prepared graph. Results are equal on all ranks and do not
 * depend on their number; out->outputs is the caller's to clear. Of several outputs, the labels judge the first
 * classifier's with as many classes as there are labels, or else with more. REAP_ERR_NUMERIC names the first image
 * whose output is not finite, REAP_ERR_INPUT tells that the outputs to compare with have another shape. */
int reap_evaluate_with(const reap_comm *comm, const reap_graph *graph, reap_dataset *images, const reap_shard *shard,
                       const reap_evaluate_options *options, reap_evaluation *out);

/* Collective. A file for all outputs that the network lists, named where there are several. */
int reap_evaluate_create_file(const reap_comm *comm, const reap_graph *graph, const char *path, int64_t images,
                              reap_outputs_file **out);

#endif
