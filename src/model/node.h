/* Copying and releasing nodes and what they own, and errors that name one; private to src/model. Look-ups are in
 * reap/graph.h. */
#ifndef REAP_MODEL_NODE_H
#define REAP_MODEL_NODE_H

#include "reap/graph.h"

/* REAP_ERR_INPUT "Op name: <format>". */
int reap_node_error(const reap_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));

void reap_node_destroy(reap_node **node);
int reap_node_clone(const reap_node *from, reap_node **out);

/* An array of attributes with all they own. */
void reap_attributes_destroy(reap_attribute **attributes, int count);

int reap_norm_clone(const reap_norm *from, reap_norm **out);

/* Counts the readers of all values anew (graph.c). */
void reap_graph_note_readers(reap_graph *graph);

/* Appends a value without a shape to the graph (graph.c). */
int reap_graph_new_value(reap_graph *graph, const char *name, int *index);

/* Copies of arrays, owned by the caller; NULL floats stay NULL. */
int reap_copy_indices(int **out, const int *from, int count);
int reap_copy_floats(float **out, const float *from, int64_t count);

#endif
