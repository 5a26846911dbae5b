/* How many nodes read each value, counted in one pass; private to src/model. */
#ifndef REAP_MODEL_READERS_H
#define REAP_MODEL_READERS_H

#include "reap/graph.h"

typedef struct reap_readers {
  int *count; /* [n_values] nodes that read the value, each once */
  int *first; /* [n_values] the first of them, or -1 */
} reap_readers;

/* Owned by the caller; holds as long as no node changes what it reads. */
int reap_readers_count(const reap_graph *graph, reap_readers *out);
void reap_readers_clear(reap_readers *readers);

#endif
