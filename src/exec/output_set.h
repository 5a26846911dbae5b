/* The outputs of a network that pruning can move, and what they are. Local. */
#ifndef REAP_EXEC_OUTPUT_SET_H
#define REAP_EXEC_OUTPUT_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "divergence.h"
#include "reap/graph.h"

typedef struct reap_output {
  const char *name; /* the graph's */
  int value;
  reap_output_kind kind;
  int64_t size;  /* elements for one image */
  int64_t first; /* elements of the outputs before it */
} reap_output;

/* Outputs of m images are kept one after the other: those of output k, [m, size], begin at element m * first.
 * In the network's order. A value that the network lists twice is there once; the network's own input, passed on, is
 * not. */
typedef struct reap_output_set {
  int n;
  reap_output *list; /* [n] */
  int *values;       /* [n] the same values */
  int64_t size;      /* elements of all of them for one image */
} reap_output_set;

/* REAP_ERR_INPUT if there is none. A set borrows the graph's names. */
int reap_output_set_create(const reap_graph *graph, reap_output_set *out);
void reap_output_set_clear(reap_output_set *set);

/* Whether there is more than one of them. */
bool reap_output_set_several(const reap_graph *graph);

/* Scores are [N, classes] with two classes or more: behind a Softmax or LogSoftmax probabilities or their logarithms,
 * else logits. In a network of several outputs, logits that other nodes than a Softmax or LogSoftmax read on are none:
 * they are features (an embedding). What the user says of an output goes before all that, but for its shape. */
reap_output_kind reap_output_kind_of(const reap_graph *graph, int value);

/* "logits", "probabilities", "log-probabilities" or "values". */
const char *reap_output_kind_name(reap_output_kind kind);

#endif
