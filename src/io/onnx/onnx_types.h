/* Private to src/io: element types of what a graph computes. Local calls. */
#ifndef REAP_IO_ONNX_ONNX_TYPES_H
#define REAP_IO_ONNX_ONNX_TYPES_H

#include "onnx_message.h"

/* Element type of a tensor of the graph, found by going back to an initialiser, an input, a Constant or a Cast; 0 where
 * that leads nowhere. */
int32_t reap_onnx_element_type(const ReapOnnx__GraphProto *graph, const char *tensor);

/* Element type for input `slot` of a node: of what is there; otherwise, as for a bias that is added, of the node's
 * weights (input 1) or else of its first input. */
int32_t reap_onnx_input_type(const ReapOnnx__GraphProto *graph, const ReapOnnx__NodeProto *node, size_t slot);

#endif
