/* Private to src/io: functions of the model's own. Local calls. */
#ifndef REAP_IO_ONNX_ONNX_INLINE_H
#define REAP_IO_ONNX_ONNX_INLINE_H

#include "onnx_message.h"

/* Puts the nodes of functions that the model defines itself in the place of the nodes that call them, and drops the
 * functions; nothing changes where none is called. REAP_ERR_INPUT names the function: defaults of attributes, another
 * opset than the model's, subgraphs, calls without end, and more nodes than such a file may become. */
int reap_onnx_inline(ReapOnnx__ModelProto *model);

#endif
