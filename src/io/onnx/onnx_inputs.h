/* Private to src/io: initialisers that are listed as inputs of the network too, as all are up to IR version 3. */
#ifndef REAP_IO_ONNX_ONNX_INPUTS_H
#define REAP_IO_ONNX_ONNX_INPUTS_H

#include "onnx_message.h"

/* Gives the listed input of that name, if there is one, the tensor's shape. */
int reap_onnx_update_input(const ReapOnnx__GraphProto *graph, const ReapOnnx__TensorProto *tensor);

/* Lists a new initialiser as an input if the model's version asks for it. */
int reap_onnx_list_input(const ReapOnnx__ModelProto *model, const ReapOnnx__TensorProto *tensor);

#endif
