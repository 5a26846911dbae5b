/* Which numbers that a file computes from shapes count images; private to src/model, and to who reads networks. */
#ifndef REAP_MODEL_BATCH_SIZES_H
#define REAP_MODEL_BATCH_SIZES_H

#include "reap/graph.h"

/* True if a node has a constant that the file computes from shapes. */
bool reap_graph_measures(const reap_graph *graph);

/* Compares these constants of a prepared graph with those of `other`, the same file's graph as read, of which
 * reap_graph_infer() was tried for another batch, whether it came to its end or not: fills in batch_known and
 * batch_entries. */
void reap_graph_note_batch(reap_graph *graph, const reap_graph *other);

/* True if constant input `slot` of a node is the shape of a Reshape, or one real number, that the file computes from
 * shapes: it may follow from the width of any tensor. */
bool reap_is_computed_size(const reap_graph *graph, const reap_node *node, int slot);

/* True if constant input `slot` of a node, which the file computes from shapes, can be written as numbers that serve
 * any batch: a shape with one size at most that counts images, or numbers of which none does. */
bool reap_batch_is_free(const reap_graph *graph, const reap_node *node, int slot);

#endif
