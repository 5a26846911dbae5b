/* Shapes that the file tells of tensors between nodes, for people and tools that look at it.
 *
 * They are inferred from the edited message itself, by the rules that serve to read a network, so that they are those
 * of the file's own tensors whatever became of the nodes in memory. Cost: that of reading the network once more, the
 * weights aside, which are shared.
 */
#include "onnx_shapes.h"

#include "reap/error.h"
#include "reap/memory.h"

/* Sizes that the file leaves free, from the network that was computed. Returns the batch. */
static int64_t bind_sizes(const reap_graph *from, reap_graph *to) {
  int64_t batch = from->batch;
  for (int k = 0; k < to->n_inputs; k++) {
    reap_value *x = &to->values[to->inputs[k]];
    const int index = reap_graph_find(from, x->name);
    if (k == 0 && x->rank > 0 && x->dims[0] > 0) batch = x->dims[0];
    for (int i = 1; index >= 0 && from->values[index].rank == x->rank && i < x->rank; i++)
      if (x->dims[i] < 0) x->dims[i] = from->values[index].dims[i];
  }
  return batch;
}

/* Whether the tensor's shape is known, and now told. */
static bool update(const reap_graph *graph, const ReapOnnx__ValueInfoProto *info) {
  const ReapOnnx__TypeProto *type = info->type;
  const int index = reap_graph_find(graph, reap_onnx_text(info->name));
  const reap_value *v = index < 0 ? NULL : &graph->values[index];
  if (!v || !v->known || !type || type->value_case != REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type)
    return false;
  const ReapOnnx__TensorShapeProto *shape = type->tensor_type->shape;
  if (!shape) return true; /* its type alone was told */
  if (shape->n_dim != (size_t)v->rank) return false;
  for (int i = 0; i < v->rank; i++)
    if (shape->dim[i]->value_case == REAP_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
      shape->dim[i]->dim_value = v->dims[i];
  return true;
}

static void update_all(const reap_graph *graph, ReapOnnx__GraphProto *proto) {
  size_t kept = 0;
  for (size_t i = 0; i < proto->n_value_info; i++)
    if (graph && update(graph, proto->value_info[i]))
      proto->value_info[kept++] = proto->value_info[i];
    else
      reap_onnx_free_part(&proto->value_info[i]->base);
  proto->n_value_info = kept;
  if (kept == 0) reap_free(&proto->value_info);
}

int reap_onnx_update_shapes(ReapOnnx__ModelProto *model, const reap_graph *graph) {
  reap_graph *edited = NULL;
  int status = REAP_OK;
  if (model->graph->n_value_info == 0) return REAP_OK;
  if (graph) status = reap_onnx_graph(model, NULL, &edited);
  if (status == REAP_OK && graph) status = reap_graph_infer(edited, bind_sizes(graph, edited));
  /* A batch that is fixed in the file may be one that images cannot be computed with: no shapes are told then. */
  if (status == REAP_OK || status == REAP_ERR_INPUT) update_all(status == REAP_OK ? edited : NULL, model->graph);
  reap_graph_destroy(&edited);
  return status == REAP_ERR_INPUT ? REAP_OK : status;
}
