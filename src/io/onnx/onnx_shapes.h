/* Private to src/io: shapes of tensors that the file tells besides what it needs (value_info), after edits. Local. */
#ifndef REAP_IO_ONNX_ONNX_SHAPES_H
#define REAP_IO_ONNX_ONNX_SHAPES_H

#include "onnx_message.h"

/* Infers the shapes of an edited network and writes them over those told. Sizes that stand under a name, as that of a
 * free batch does, keep it. graph: the same network prepared, for what its inputs leave free. Tensors of which nothing
 * is known are no longer told; that are all of them with a NULL for `graph`, or if the shapes cannot be inferred. */
int reap_onnx_update_shapes(ReapOnnx__ModelProto *model, const reap_graph *graph);

#endif
