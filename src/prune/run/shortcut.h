/* Which shortcut a layer's output is added to, and whether the layer may repair its drift; private to src/prune. */
#ifndef REAP_PRUNE_RUN_SHORTCUT_H
#define REAP_PRUNE_RUN_SHORTCUT_H

#include <stdbool.h>

#include "reap/graph.h"

/* The other operand of the Add that alone reads `output`, if the layer has to carry that operand's drift: it differs
 * between the two networks, and nothing it depends on is still to be re-solved; else *shortcut is -1.
 *   resolved[n_nodes]: layers already re-solved; pending[n_nodes]: layers still to be, the present one included. */
int reap_shortcut_of(const reap_graph *graph, int output, const bool *resolved, const bool *pending, int *shortcut);

#endif
