/* From the message to a graph, in the file's order. */
#include <string.h>

#include "model/tensor.h"
#include "onnx_message.h"
#include "onnx_names.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ------------------------------------------------------------------ attributes */

static void free_attributes(reap_attribute *attributes, int count) {
  for (int i = 0; attributes && i < count; i++) {
    reap_free(&attributes[i].name);
    reap_free(&attributes[i].s);
    reap_free(&attributes[i].ints);
    reap_free(&attributes[i].floats);
    reap_tensor_destroy(&attributes[i].tensor);
  }
  reap_free(&attributes);
}

/* The type field is required since IR version 2; files of some tools lack it all the same. */
static int attribute_type(const ReapOnnx__AttributeProto *proto) {
  if (proto->has_type && proto->type != REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) return (int)proto->type;
  if (proto->has_f) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  if (proto->has_i) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  if (proto->has_s) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
  if (proto->t) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  if (proto->n_floats) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
  if (proto->n_ints) return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  return REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED;
}

static int copy_array(void *out, const void *from, size_t count, size_t size) {
  REAP_TRY(reap_alloc(out, (int64_t)count, size));
  void *to;
  memcpy(&to, out, sizeof to);
  if (count > 0) memcpy(to, from, count * size);
  return REAP_OK;
}

static int convert_attribute(const ReapOnnx__AttributeProto *proto, reap_attribute *out) {
  const char *name = reap_onnx_text(proto->name);
  REAP_TRY(reap_strdup(&out->name, name));
  out->kind = REAP_ATTRIBUTE_OTHER;
  switch (attribute_type(proto)) {
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
      out->kind = REAP_ATTRIBUTE_INT;
      out->i = proto->i;
      return REAP_OK;
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
      out->kind = REAP_ATTRIBUTE_FLOAT;
      out->f = proto->f;
      return REAP_OK;
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
      out->kind = REAP_ATTRIBUTE_STRING;
      return proto->s.len > 0 ? reap_strndup(&out->s, (const char *)proto->s.data, proto->s.len)
                              : reap_strdup(&out->s, "");
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      out->kind = REAP_ATTRIBUTE_INTS;
      out->count = (int64_t)proto->n_ints;
      return copy_array(&out->ints, proto->ints, proto->n_ints, sizeof *out->ints);
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
      out->kind = REAP_ATTRIBUTE_FLOATS;
      out->count = (int64_t)proto->n_floats;
      return copy_array(&out->floats, proto->floats, proto->n_floats, sizeof *out->floats);
    case REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
      if (!proto->t) return reap_error(REAP_ERR_INPUT, "attribute \"%s\" has no value", name);
      out->kind = REAP_ATTRIBUTE_TENSOR;
      return reap_onnx_read_tensor(proto->t, name, &out->tensor);
    default:
      return REAP_OK;
  }
}

/* Constant says its value in one of several ways; the rest of reap uses the tensor only. */
static int constant_value(reap_attribute *attribute) {
  reap_tensor *tensor = NULL;
  int64_t count = attribute->count;
  if (strcmp(attribute->name, "value_int") == 0 && attribute->kind == REAP_ATTRIBUTE_INT) {
    REAP_TRY(reap_tensor_create(REAP_I64, 0, NULL, &tensor));
    tensor->i64[0] = attribute->i;
  } else if (strcmp(attribute->name, "value_float") == 0 && attribute->kind == REAP_ATTRIBUTE_FLOAT) {
    REAP_TRY(reap_tensor_create(REAP_F32, 0, NULL, &tensor));
    tensor->f32[0] = attribute->f;
  } else if (strcmp(attribute->name, "value_ints") == 0 && attribute->kind == REAP_ATTRIBUTE_INTS) {
    REAP_TRY(reap_tensor_from_ints(attribute->ints, count, &tensor));
  } else if (strcmp(attribute->name, "value_floats") == 0 && attribute->kind == REAP_ATTRIBUTE_FLOATS) {
    REAP_TRY(reap_tensor_create(REAP_F32, 1, &count, &tensor));
    if (count > 0) memcpy(tensor->f32, attribute->floats, (size_t)count * sizeof(float));
  } else {
    return REAP_OK;
  }
  attribute->kind = REAP_ATTRIBUTE_TENSOR;
  attribute->tensor = tensor;
  attribute->count = 0;
  reap_free(&attribute->ints);
  reap_free(&attribute->floats);
  reap_free(&attribute->name);
  return reap_strdup(&attribute->name, "value");
}

static int convert_attributes(const ReapOnnx__NodeProto *node, reap_attribute **out) {
  int count = (int)node->n_attribute;
  reap_attribute *attributes = NULL;
  REAP_TRY(reap_calloc(&attributes, count, sizeof *attributes));
  bool constant = strcmp(reap_onnx_text(node->op_type), "Constant") == 0 && reap_onnx_default_domain(node->domain);
  int status = REAP_OK;
  for (int i = 0; i < count; i++) {
    REAP_TRY_OR(convert_attribute(node->attribute[i], &attributes[i]), fail);
    if (constant) REAP_TRY_OR(constant_value(&attributes[i]), fail);
  }
  *out = attributes;
  return REAP_OK;
fail:
  free_attributes(attributes, count);
  return status;
}

/* ------------------------------------------------------------------ the graph's parts */

static bool is_whole(int32_t type) {
  switch (type) {
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
    case REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
      return true;
    default:
      return false;
  }
}

static int add_input(reap_graph *graph, const ReapOnnx__ValueInfoProto *info) {
  const char *name = reap_onnx_text(info->name);
  const ReapOnnx__TypeProto *type = info->type;
  if (!type || type->value_case != REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type)
    return reap_error(REAP_ERR_INPUT, "input \"%s\" is not a tensor; only tensor inputs are supported", name);
  int32_t element = type->tensor_type->has_elem_type ? type->tensor_type->elem_type : 0;
  const bool whole = is_whole(element);
  if (element != REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && !reap_onnx_is_half(element) && !whole)
    return reap_error(REAP_ERR_INPUT,
                      "input \"%s\" has element type %s; float32, float16, bfloat16 and whole numbers are supported",
                      name, reap_onnx_type_name(element));
  const ReapOnnx__TensorShapeProto *shape = type->tensor_type->shape;
  if (!shape) return reap_error(REAP_ERR_INPUT, "input \"%s\" has no shape; export the model with input shapes", name);
  if (shape->n_dim > REAP_MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "input \"%s\" has %zu dimensions; at most %d are supported", name, shape->n_dim,
                      REAP_MAX_RANK);
  int64_t dims[REAP_MAX_RANK];
  for (size_t i = 0; i < shape->n_dim; i++) {
    const ReapOnnx__TensorShapeProto__Dimension *dim = shape->dim[i];
    bool known = dim->value_case == REAP_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && dim->dim_value > 0;
    dims[i] = known ? dim->dim_value : -1; /* some exporters write 0 or -1 for a free dimension */
  }
  return reap_graph_add_input(graph, name, whole ? REAP_I64 : REAP_F32, (int)shape->n_dim, dims, NULL);
}

static int add_constants(reap_graph *graph, const ReapOnnx__GraphProto *proto) {
  for (size_t i = 0; i < proto->n_initializer; i++) {
    reap_tensor *tensor = NULL;
    REAP_TRY(reap_onnx_read_tensor(proto->initializer[i], proto->initializer[i]->name, &tensor));
    REAP_TRY(reap_graph_add_constant(graph, proto->initializer[i]->name, tensor, NULL));
  }
  return REAP_OK;
}

/* A weight with a default: all weights are listed as inputs in old files. */
static bool is_initializer(const reap_graph *graph, const char *name) {
  const int value = reap_graph_find(graph, name);
  return value >= 0 && graph->values[value].constant;
}

/* Inputs that nothing reads (labels of a loss that was taken off, say) do not count, as long as others are read. */
static int add_read_inputs(reap_graph *graph, const ReapOnnx__GraphProto *proto, const reap_name_table *uses) {
  int count = 0, read = 0;
  for (size_t i = 0; i < proto->n_input; i++) {
    const char *name = reap_onnx_text(proto->input[i]->name);
    read += !is_initializer(graph, name) && reap_name_table_find(uses, name) > 0;
  }
  for (size_t i = 0; i < proto->n_input; i++) {
    const char *name = reap_onnx_text(proto->input[i]->name);
    if (is_initializer(graph, name)) continue;
    if (read > 0 && reap_name_table_find(uses, name) <= 0) continue;
    REAP_TRY(add_input(graph, proto->input[i]));
    count++;
  }
  if (count == 0) return reap_error(REAP_ERR_INPUT, "the network has no input");
  return REAP_OK;
}

static int add_inputs(reap_graph *graph, const ReapOnnx__GraphProto *proto) {
  reap_name_table *uses = NULL;
  int status = reap_onnx_count_uses(proto, &uses);
  if (status == REAP_OK) status = add_read_inputs(graph, proto, uses);
  reap_name_table_destroy(&uses);
  return status;
}

static int add_nodes(reap_graph *graph, const ReapOnnx__GraphProto *proto, const size_t *places) {
  for (size_t i = 0; i < proto->n_node; i++) {
    const ReapOnnx__NodeProto *node = proto->node[i];
    const char *op = reap_onnx_text(node->op_type), *name = reap_onnx_text(node->name);
    if (node->n_input > INT16_MAX || node->n_output > INT16_MAX || node->n_attribute > INT16_MAX)
      return reap_error(REAP_ERR_INPUT, "node %s %s has too many inputs, outputs or attributes", op, name);
    reap_attribute *attributes = NULL;
    int status = convert_attributes(node, &attributes);
    if (status != REAP_OK) return reap_error_prefix(status, "node %s %s", op, name);
    const char *domain = reap_onnx_default_domain(node->domain) ? "" : node->domain;
    REAP_TRY(reap_graph_add_node(graph, op, domain, name, places ? (int)places[i] : (int)i, (int)node->n_input,
                                 node->input, (int)node->n_output, node->output, (int)node->n_attribute, attributes));
  }
  return REAP_OK;
}

static int add_outputs(reap_graph *graph, const ReapOnnx__GraphProto *proto) {
  if (proto->n_output == 0) return reap_error(REAP_ERR_INPUT, "the network has no output");
  for (size_t i = 0; i < proto->n_output; i++)
    REAP_TRY(reap_graph_add_output(graph, reap_onnx_text(proto->output[i]->name)));
  return REAP_OK;
}

int reap_onnx_graph(const ReapOnnx__ModelProto *model, const size_t *places, reap_graph **out) {
  const ReapOnnx__GraphProto *proto = model->graph;
  reap_graph *graph = NULL;
  int64_t opset = 0;
  reap_onnx_opset(model, &opset); /* there is one: checked on loading */
  int status = reap_graph_create(opset, &graph);
  if (status == REAP_OK) status = add_constants(graph, proto);
  if (status == REAP_OK) status = add_inputs(graph, proto);
  if (status == REAP_OK) status = add_nodes(graph, proto, places);
  if (status == REAP_OK) status = add_outputs(graph, proto);
  if (status == REAP_OK) {
    *out = graph;
    return REAP_OK;
  }
  reap_graph_destroy(&graph);
  return status;
}

int reap_source_graph(const reap_source *source, reap_graph **out) {
  return reap_error_prefix(reap_onnx_graph(source->model, source->places, out), "%s", source->path);
}
