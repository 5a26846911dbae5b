/* Views by strides; private to src/model. */
#ifndef REAP_MODEL_STRIDED_H
#define REAP_MODEL_STRIDED_H

#include "reap/graph.h"

/* PyTorch exports some views as a Reshape to a list of all numbers and a Gather of this list in its order. Such a
 * Gather becomes a Reshape of what the list was made of, through which channels can be followed; see reap_node.gathers.
 * Shapes have to be known. The Reshape to a list is left without a reader. */
int reap_strided_collect(reap_graph *graph);

#endif
