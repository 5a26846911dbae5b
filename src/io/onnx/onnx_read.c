/* From encoded bytes to a message that the rest of reap can rely on. */
#include <stdio.h>
#include <string.h>

#include "onnx_message.h"
#include "reap/error.h"
#include "reap/memory.h"

/* What this version supports. A newer IR version is read as long as the file makes no use of what is new in it; a
 * newer opset may give known operators another meaning. */
enum { MIN_IR = 3, KNOWN_IR = 13, MIN_OPSET = 7, MAX_OPSET = 24 };

static int check_versions(const ReapOnnx__ModelProto *model) {
  if (!model->has_ir_version) return reap_error(REAP_ERR_INPUT, "is not an ONNX model: it has no ir_version");
  if (model->ir_version < MIN_IR)
    return reap_error(REAP_ERR_INPUT, "has ONNX ir_version %lld; versions from %d on are read: export the model again",
                      (long long)model->ir_version, MIN_IR);
  if (model->ir_version > KNOWN_IR)
    REAP_TRY(reap_error_prefix(reap_onnx_check_fields(&model->base),
                               "has ONNX ir_version %lld (export it with %d or less) and uses what is new in it",
                               (long long)model->ir_version, KNOWN_IR));
  int64_t opset = 0;
  if (!reap_onnx_opset(model, &opset))
    return reap_error(REAP_ERR_INPUT, "has no opset_import of the default domain; export the model again");
  if (opset < MIN_OPSET || opset > MAX_OPSET)
    return reap_error(REAP_ERR_INPUT,
                      "uses opset %lld; opsets %d to %d are read: export it so, or use onnx.version_converter",
                      (long long)opset, MIN_OPSET, MAX_OPSET);
  return REAP_OK;
}

/* Names are repeated in files, reports and messages: a few thousand bytes are more than any exporter makes of a path of
 * modules. */
enum { MOST_NAME = 4096 };

static int check_name(const char *what, size_t index, const char *name) {
  const size_t length = strlen(reap_onnx_text(name));
  if (length <= MOST_NAME) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s %zu has a name of %zu bytes (\"%.40s...\"); at most %d are read: rename it",
                    what, index, length, name, MOST_NAME);
}

static int check_names(const ReapOnnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; i++) REAP_TRY(check_name("initializer", i, graph->initializer[i]->name));
  for (size_t i = 0; i < graph->n_input; i++) REAP_TRY(check_name("input", i, graph->input[i]->name));
  for (size_t i = 0; i < graph->n_output; i++) REAP_TRY(check_name("output", i, graph->output[i]->name));
  for (size_t i = 0; i < graph->n_node; i++) {
    const ReapOnnx__NodeProto *node = graph->node[i];
    REAP_TRY(check_name("node", i, node->name));
    REAP_TRY(check_name("the operator of node", i, node->op_type));
    for (size_t k = 0; k < node->n_input; k++) REAP_TRY(check_name("an input of node", i, node->input[k]));
    for (size_t k = 0; k < node->n_output; k++) REAP_TRY(check_name("an output of node", i, node->output[k]));
  }
  return REAP_OK;
}

static int check_graph(const ReapOnnx__ModelProto *model) {
  const ReapOnnx__GraphProto *graph = model->graph;
  if (!graph) return reap_error(REAP_ERR_INPUT, "is not an ONNX model: it has no graph");
  if (graph->n_sparse_initializer > 0) {
    const ReapOnnx__TensorProto *values = graph->sparse_initializer[0]->values;
    return reap_error(REAP_ERR_INPUT, "initializer \"%s\" is sparse; store it dense",
                      values ? reap_onnx_text(values->name) : "");
  }
  if (graph->n_node > INT32_MAX / 2 || graph->n_initializer > INT32_MAX / 2)
    return reap_error(REAP_ERR_INPUT, "has too many nodes");
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (!*reap_onnx_text(graph->initializer[i]->name))
      return reap_error(REAP_ERR_INPUT, "initializer %zu has no name; export the model again", i);
  return check_names(graph);
}

static void normalise_tensors(ReapOnnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; i++) reap_onnx_normalise(graph->initializer[i]);
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t a = 0; a < graph->node[i]->n_attribute; a++)
      if (graph->node[i]->attribute[a]->t) reap_onnx_normalise(graph->node[i]->attribute[a]->t);
}

int reap_onnx_unpack(const uint8_t *data, size_t size, ReapOnnx__ModelProto **out) {
  REAP_TRY(reap_onnx_scan(data, size));
  bool failed;
  ProtobufCAllocator allocator = reap_onnx_allocator(&failed);
  ReapOnnx__ModelProto *model = reap_onnx__model_proto__unpack(&allocator, size, data);
  if (!model && failed) return REAP_ERR_RESOURCE; /* the message is reap_alloc's */
  if (!model) return reap_error(REAP_ERR_INPUT, "is not an ONNX file, or damaged: it cannot be unpacked");
  int status = REAP_OK;
  REAP_TRY_OR(check_versions(model), fail);
  REAP_TRY_OR(check_graph(model), fail);
  normalise_tensors(model->graph);
  *out = model;
  return REAP_OK;
fail:
  reap_onnx_free(&model);
  return status;
}
