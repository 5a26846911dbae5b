/* Channels behind a Reshape; private to src/model. See channel_map.h. */
#ifndef REAP_MODEL_CHANNEL_RESHAPE_H
#define REAP_MODEL_CHANNEL_RESHAPE_H

#include "channel_map.h"

/* Output 0 of a node that gives the elements of input 0 another shape, in the same row-major order. An axis of channels
 * that is split goes on along the part that leaves the most of them: what lies at one place of it can leave together
 * only. Holds what cannot be followed. */
int reap_channel_reshape(const reap_graph *graph, const reap_node *node, reap_channel_map *map);

#endif
