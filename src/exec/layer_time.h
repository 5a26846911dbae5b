/* Time of single layers and of whole networks with the kernels that reap uses. Local. */
#ifndef REAP_EXEC_LAYER_TIME_H
#define REAP_EXEC_LAYER_TIME_H

#include <stdint.h>

#include "exec/kernels/kernel.h"
#include "reap/graph.h"

/* Seconds that one image takes in linear node `node` alone, were its input `inputs` entries wide and its output
 * `outputs`: the fastest of several blocks of graph->batch images of random numbers. Grouped convolutions only at
 * their own size. */
int reap_layer_seconds(const reap_graph *graph, int node, int64_t inputs, int64_t outputs, reap_backend backend,
                       double *seconds);

/* The same for the whole network. */
int reap_graph_seconds(const reap_graph *graph, reap_backend backend, double *seconds);

#endif
