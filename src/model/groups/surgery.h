/* Cutting channels out of a graph, putting re-solved weights in, and what follows for the user's file. Local. */
#ifndef REAP_MODEL_SURGERY_H
#define REAP_MODEL_SURGERY_H

#include "model/edits.h"
#include "reap/graph.h"
#include "reap/groups.h"

/* Keeps of `group` the units kept[n_kept] (ascending, at least one) only: rows of producers, columns of consumers,
 * parameters of what lies between, numbers of channels in attributes and shapes. Weights that stay are unchanged.
 * Shapes are inferred again and `groups` follows. Nothing may hold the group's units (cuttable). Cost: the group's
 * members. */
int reap_surgery_cut(reap_graph *graph, reap_groups *groups, int group, int64_t n_kept, const int64_t *kept);

/* New weights [n, m] (row-major, n = input channels, of a grouped convolution those of a group, * block, row = channel
 * * block + t) and bias [m] of a linear layer, as they act on the computation: a batch norm folded into the layer keeps
 * its scale (a channel of scale zero gets scale one) and takes the bias up in its own. */
int reap_surgery_set_weights(reap_graph *graph, int node, const double *weights, const double *bias);

/* The weights and the norm of the same layer in another graph, bit for bit: of its `channels` input channels
 * kept[n_kept]. (Through the computation's weights a folded norm would cost them their last digits.) */
int reap_surgery_copy_weights(reap_graph *graph, int node, const reap_graph *from, int from_node, int64_t channels,
                              int64_t n_kept, const int64_t *kept);

/* Present weights of such a layer, in the same form (float32 widened). */
void reap_surgery_get_weights(const reap_graph *graph, int node, double *weights, double *bias);

/* Appends what has to change in the file for all that was cut or set. */
int reap_surgery_edits(const reap_graph *graph, reap_edits *edits);

#endif
