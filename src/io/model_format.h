/* Private to src/io: what the writer and the reader of reap model files share. See model_file.h.
 *
 *   /                        attributes format = "reap-model", version = 1, reap_version
 *   /graph                   uint8 [bytes]: the ONNX message without the raw_data of its initialisers
 *   /weights/<layer>/<input> one data set per initialiser that has raw_data, attribute `initializer` = its name
 *   /groups/<group>          what was removed
 *   /provenance              string attributes
 */
#ifndef REAP_IO_MODEL_FORMAT_H
#define REAP_IO_MODEL_FORMAT_H

#include "io/onnx/onnx_message.h"

#define REAP_MODEL_FORMAT "reap-model"
#define REAP_MODEL_NAME_ATTRIBUTE "initializer"

/* How a tensor's data are kept: as numbers with the tensor's shape, or as plain bytes. */
typedef enum reap_model_form { REAP_MODEL_FLOATS, REAP_MODEL_INTEGERS, REAP_MODEL_RAW } reap_model_form;

/* Follows from type and shape alone, so that the reader finds what the writer chose. */
reap_model_form reap_model_tensor_form(const ReapOnnx__TensorProto *tensor);

/* Fills hash and model of a source whose path is set. */
int reap_model_source_load(reap_source *source);

#endif
