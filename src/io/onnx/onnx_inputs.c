#include "onnx_inputs.h"

#include "onnx_names.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The last version in which every initialiser has to be an input. */
enum { LAST_LISTED_IR = 3 };

static int append_dimension(ReapOnnx__TensorShapeProto *shape, int64_t size) {
  ReapOnnx__TensorShapeProto__Dimension *dim = NULL;
  REAP_TRY(reap_alloc(&dim, 1, sizeof *dim));
  reap_onnx__tensor_shape_proto__dimension__init(dim);
  dim->value_case = REAP_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
  dim->dim_value = size;
  int status = reap_onnx_append(&shape->dim, &shape->n_dim, dim);
  if (status != REAP_OK) reap_onnx_free_part(&dim->base);
  return status;
}

static int set_shape(ReapOnnx__TypeProto__Tensor *type, const ReapOnnx__TensorProto *tensor) {
  ReapOnnx__TensorShapeProto *shape = NULL;
  REAP_TRY(reap_alloc(&shape, 1, sizeof *shape));
  reap_onnx__tensor_shape_proto__init(shape);
  int status = REAP_OK;
  for (size_t i = 0; status == REAP_OK && i < tensor->n_dims; i++) status = append_dimension(shape, tensor->dims[i]);
  if (status != REAP_OK) {
    reap_onnx_free_part(&shape->base);
    return status;
  }
  if (type->shape) reap_onnx_free_part(&type->shape->base);
  type->shape = shape;
  return REAP_OK;
}

int reap_onnx_update_input(const ReapOnnx__GraphProto *graph, const ReapOnnx__TensorProto *tensor) {
  int64_t index = reap_onnx_find_input(graph, tensor->name);
  ReapOnnx__TypeProto *type = index < 0 ? NULL : graph->input[index]->type;
  if (!type || type->value_case != REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type) return REAP_OK;
  return set_shape(type->tensor_type, tensor);
}

/* Each part is put into the one around it as soon as it exists: freeing `info` frees all. */
static int fill_info(ReapOnnx__ValueInfoProto *info, const ReapOnnx__TensorProto *tensor) {
  REAP_TRY(reap_strdup(&info->name, tensor->name));
  REAP_TRY(reap_alloc(&info->type, 1, sizeof *info->type));
  reap_onnx__type_proto__init(info->type);
  ReapOnnx__TypeProto__Tensor *type = NULL;
  REAP_TRY(reap_alloc(&type, 1, sizeof *type));
  reap_onnx__type_proto__tensor__init(type);
  type->has_elem_type = 1;
  type->elem_type = tensor->data_type;
  info->type->value_case = REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  info->type->tensor_type = type;
  return set_shape(type, tensor);
}

int reap_onnx_list_input(const ReapOnnx__ModelProto *model, const ReapOnnx__TensorProto *tensor) {
  if (model->ir_version > LAST_LISTED_IR) return REAP_OK;
  ReapOnnx__ValueInfoProto *info = NULL;
  REAP_TRY(reap_alloc(&info, 1, sizeof *info));
  reap_onnx__value_info_proto__init(info);
  int status = fill_info(info, tensor);
  if (status == REAP_OK) status = reap_onnx_append(&model->graph->input, &model->graph->n_input, info);
  if (status != REAP_OK) reap_onnx_free_part(&info->base);
  return status;
}
