/* The channels of a whole graph; private to src/model. See channel_map.h. */
#ifndef REAP_MODEL_CHANNEL_RULES_H
#define REAP_MODEL_CHANNEL_RULES_H

#include "channel_map.h"

/* Follows the channels of a prepared graph; REAP_ERR_INPUT where they are more than are followed. To be cleared by the
 * caller, not after an error. */
int reap_channel_map_build(const reap_graph *graph, reap_channel_map *map);

#endif
