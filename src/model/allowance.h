/* Memory that the constants of a graph may take; private to src/model.
 *
 * A file of a few bytes can ask for constants of any size. What a graph holds beyond the constants of its file is
 * therefore limited for the graph as a whole: to a fixed allowance (masks, tables of positions), and to a multiple of
 * the file's own constants (weights that are cast, transposed, shared or scaled). So is what is computed and dropped
 * again, which costs time.
 */
#ifndef REAP_MODEL_ALLOWANCE_H
#define REAP_MODEL_ALLOWANCE_H

#include "reap/graph.h"

int64_t reap_tensor_bytes(const reap_tensor *tensor);

/* Counts constants of the file. */
void reap_graph_note_file(reap_graph *graph, int64_t bytes);

/* Takes `bytes` from the allowance, before they are allocated; REAP_ERR_INPUT names the node, the size and the limit.
 */
int reap_graph_charge(reap_graph *graph, const reap_node *node, int64_t bytes);

/* The same for bytes that are read and not held: they take time only. */
int reap_graph_charge_work(reap_graph *graph, const reap_node *node, int64_t bytes);

/* Frees the constant of a value, if it has one, and gives its bytes back. */
void reap_graph_drop_constant(reap_graph *graph, int value);

#endif
