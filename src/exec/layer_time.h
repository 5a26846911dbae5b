/* Time of single layers and of whole networks with the kernels that reap uses. Local. */
#ifndef REAP_EXEC_LAYER_TIME_H
#define REAP_EXEC_LAYER_TIME_H

#include <stdint.h>

#include "exec/kernels/kernel.h"
#include "reap/graph.h"

/* Seconds that one image takes in linear node `node` alone, were its input `inputs` entries wide and its output
 * `outputs`, in `groups` groups (1 but of a convolution): the fastest of several blocks of graph->batch images of
 * random numbers. */
int reap_layer_seconds(const reap_graph *graph, int node, int64_t inputs, int64_t outputs, int64_t groups,
                       reap_backend backend, double *seconds);

/* The same for the whole network. */
int reap_graph_seconds(const reap_graph *graph, reap_backend backend, double *seconds);

#endif
