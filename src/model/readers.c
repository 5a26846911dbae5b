#include "readers.h"

#include "reap/error.h"
#include "reap/memory.h"

static void count_all(const reap_graph *graph, reap_readers *readers, int *last) {
  for (int v = 0; v < graph->n_values; v++) readers->first[v] = last[v] = -1;
  for (int i = 0; i < graph->n_nodes; i++)
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++) {
      const int v = graph->nodes[i]->inputs[k];
      if (v < 0 || last[v] == i) continue;
      if (readers->count[v]++ == 0) readers->first[v] = i;
      last[v] = i;
    }
}

int reap_readers_count(const reap_graph *graph, reap_readers *out) {
  int *last = NULL; /* [n_values] the last node that was counted */
  *out = (reap_readers){NULL, NULL};
  int status = reap_calloc(&out->count, graph->n_values + 1, sizeof *out->count);
  if (status == REAP_OK) status = reap_alloc(&out->first, graph->n_values + 1, sizeof *out->first);
  if (status == REAP_OK) status = reap_alloc(&last, graph->n_values + 1, sizeof *last);
  if (status == REAP_OK)
    count_all(graph, out, last);
  else
    reap_readers_clear(out);
  reap_free(&last);
  return status;
}

void reap_readers_clear(reap_readers *readers) {
  reap_free(&readers->count);
  reap_free(&readers->first);
}
