#include "onnx_types.h"

#include <string.h>

#include "onnx_names.h"

static const ReapOnnx__AttributeProto *attribute(const ReapOnnx__NodeProto *node, const char *name) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (strcmp(reap_onnx_text(node->attribute[i]->name), name) == 0) return node->attribute[i];
  return NULL;
}

static int32_t constant_type(const ReapOnnx__NodeProto *node) {
  const ReapOnnx__AttributeProto *value = attribute(node, "value");
  if (value && value->t) return value->t->data_type;
  if (attribute(node, "value_float") || attribute(node, "value_floats"))
    return REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  return 0;
}

static int32_t input_type(const ReapOnnx__GraphProto *graph, const char *tensor) {
  int64_t index = reap_onnx_find_input(graph, tensor);
  const ReapOnnx__TypeProto *type = index < 0 ? NULL : graph->input[index]->type;
  bool known = type && type->value_case == REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type;
  return known ? type->tensor_type->elem_type : 0;
}

/* All operators that layers are built of give what their first input is, but for Constant and Cast. */
int32_t reap_onnx_element_type(const ReapOnnx__GraphProto *graph, const char *tensor) {
  for (size_t steps = 0; steps <= graph->n_node && *tensor; steps++) { /* no longer than a cycle would be */
    int64_t at = reap_onnx_find_initializer(graph, tensor);
    if (at >= 0) return graph->initializer[at]->data_type;
    at = reap_onnx_find_producer(graph, tensor);
    if (at < 0) return input_type(graph, tensor);
    const ReapOnnx__NodeProto *node = graph->node[at];
    const char *op = reap_onnx_text(node->op_type);
    if (strcmp(op, "Constant") == 0) return constant_type(node);
    if (strcmp(op, "Cast") == 0) {
      const ReapOnnx__AttributeProto *to = attribute(node, "to");
      return to ? (int32_t)to->i : 0;
    }
    if (node->n_input == 0) return 0;
    tensor = node->input[0];
  }
  return 0;
}

int32_t reap_onnx_input_type(const ReapOnnx__GraphProto *graph, const ReapOnnx__NodeProto *node, size_t slot) {
  const size_t order[] = {slot, 1, 0};
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    if (order[i] >= node->n_input || !*node->input[order[i]]) continue;
    int32_t type = reap_onnx_element_type(graph, node->input[order[i]]);
    if (type != 0) return type;
  }
  return 0;
}
