/* Private to src/io: names in ONNX graphs. Local calls; look-ups are linear, which models are small enough for. */
#ifndef REAP_IO_ONNX_ONNX_NAMES_H
#define REAP_IO_ONNX_ONNX_NAMES_H

#include "base/name_table.h"
#include "onnx_message.h"

/* The node's name without its leading "/", other "/" as "."; <op>_<index> where that leaves nothing. Owned by the
 * caller. */
int reap_onnx_layer_name(const ReapOnnx__NodeProto *node, size_t index, char **out);

/* "weight", "scale", ... for the known inputs of an operator, else NULL. */
const char *reap_onnx_input_name(const char *op, size_t slot);

/* First node and input that read the tensor; false if none does. */
bool reap_onnx_first_user(const ReapOnnx__GraphProto *graph, const char *tensor, size_t *node, size_t *slot);

/* Node inputs and network outputs of that name. */
int reap_onnx_uses(const ReapOnnx__GraphProto *graph, const char *tensor);

/* The same numbers for all names that are used, counted in one pass. The table is owned by the caller; it borrows the
 * names of the graph. */
int reap_onnx_count_uses(const ReapOnnx__GraphProto *graph, reap_name_table **out);

/* Position, or -1. */
int64_t reap_onnx_find_initializer(const ReapOnnx__GraphProto *graph, const char *name);
int64_t reap_onnx_find_input(const ReapOnnx__GraphProto *graph, const char *name);
int64_t reap_onnx_find_producer(const ReapOnnx__GraphProto *graph, const char *name);

/* `wish`, or with a number behind it, as no tensor or node is called yet. Owned by the caller. */
int reap_onnx_fresh_name(const ReapOnnx__GraphProto *graph, const char *wish, char **out);

#endif
