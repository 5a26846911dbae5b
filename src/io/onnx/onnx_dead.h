/* Private to src/io: nodes that no output of the network follows from. Local calls. */
#ifndef REAP_IO_ONNX_ONNX_DEAD_H
#define REAP_IO_ONNX_ONNX_DEAD_H

#include "onnx_message.h"

/* Takes such nodes out of the source's message, with the initialisers that they alone read and what the file says about
 * their outputs; fills source->places and source->dead. What a node's subgraphs read counts as read by the node. */
int reap_onnx_drop_dead(reap_source *source);

#endif
