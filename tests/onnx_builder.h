/* Whole files, and small ONNX models put together in memory, for the tests of src/io.
 *
 * One model at a time: begin_model(), then tensors and nodes, finish_model(), store_model() or apply(). All of it lives
 * in static memory that the next begin_model() uses again.
 */
#ifndef TESTS_ONNX_BUILDER_H
#define TESTS_ONNX_BUILDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "io/onnx/source.h"
#include "onnx.pb-c.h"

/* ------------------------------------------------------------------ whole files */

typedef struct bytes {
  uint8_t *data;
  size_t size;
} bytes;

static inline bytes read_bytes(const char *path) {
  bytes b = {NULL, 0};
  FILE *file = fopen(path, "rb");
  if (!file) return b;
  fseek(file, 0, SEEK_END);
  b.size = (size_t)ftell(file);
  rewind(file);
  b.data = malloc(b.size + 1);
  if (fread(b.data, 1, b.size, file) != b.size) b.size = 0;
  fclose(file);
  return b;
}

static inline void write_bytes(const char *path, const uint8_t *data, size_t size) {
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_EQUAL(fwrite(data, 1, size, file), size);
  fclose(file);
}

static inline bool same_files(const char *a, const char *b) {
  bytes x = read_bytes(a), y = read_bytes(b);
  bool same = x.size == y.size && x.size > 0 && memcmp(x.data, y.data, x.size) == 0;
  free(x.data);
  free(y.data);
  return same;
}

/* Load, build the graph, prepare: what a command does first. */
static inline int load_all(const char *path) {
  reap_source *source = NULL;
  reap_graph *net = NULL;
  int status = reap_source_load(path, &source);
  if (status == REAP_OK) status = reap_source_graph(source, &net);
  if (status == REAP_OK) status = reap_graph_prepare(net, 2); /* images that could meet */
  reap_graph_destroy(&net);
  reap_source_destroy(&source);
  return status;
}

/* ------------------------------------------------------------------ small models, made here */

static ReapOnnx__ModelProto model;
static ReapOnnx__GraphProto graph;
static ReapOnnx__OperatorSetIdProto opset, *opsets[1] = {&opset};
static char arena[1 << 18];
static size_t arena_used;

enum { MOST = 16 };
static ReapOnnx__NodeProto *nodes[MOST];
static ReapOnnx__TensorProto *tensors[MOST];
static ReapOnnx__ValueInfoProto *inputs[MOST], *outputs[MOST], *infos[MOST];

static inline void *take(size_t size) {
  void *block = arena + arena_used;
  arena_used += (size + 15) / 16 * 16;
  CU_ASSERT_TRUE_FATAL(arena_used <= sizeof arena);
  return block;
}

static inline char *text(const char *value) { return strcpy(take(strlen(value) + 1), value); }

static inline void begin_model(int64_t ir_version) {
  arena_used = 0;
  reap_onnx__model_proto__init(&model);
  reap_onnx__graph_proto__init(&graph);
  reap_onnx__operator_set_id_proto__init(&opset);
  model.has_ir_version = 1;
  model.ir_version = ir_version;
  model.producer_name = text("somebody");
  graph.name = text("network");
  opset.has_version = 1;
  opset.version = 13;
  model.opset_import = opsets;
  model.n_opset_import = 1;
  model.graph = &graph;
  graph.node = nodes;
  graph.initializer = tensors;
  graph.input = inputs;
  graph.output = outputs;
  graph.value_info = infos;
}

static inline ReapOnnx__TensorProto *make_tensor(const char *name, int32_t type, int rank, const int64_t *dims) {
  ReapOnnx__TensorProto *tensor = take(sizeof *tensor);
  reap_onnx__tensor_proto__init(tensor);
  size_t count = 1, width = type == REAP_ONNX__TENSOR_PROTO__DATA_TYPE__INT64 ? 8 : 4;
  tensor->name = text(name);
  tensor->has_data_type = 1;
  tensor->data_type = type;
  tensor->n_dims = (size_t)rank;
  tensor->dims = take(sizeof(int64_t) * (size_t)(rank + 1));
  for (int i = 0; i < rank; i++) count *= (size_t)(tensor->dims[i] = dims[i]);
  tensor->has_raw_data = 1;
  tensor->raw_data.len = count * width;
  tensor->raw_data.data = take(count * width + 1);
  memset(tensor->raw_data.data, 0, count * width);
  for (size_t i = 0; i < count && width == 4; i++) {
    float value = 0.25f * (float)(i % 7) - 0.5f;
    memcpy(tensor->raw_data.data + 4 * i, &value, 4);
  }
  return tensor;
}

static inline ReapOnnx__TensorProto *add_weights(const char *name, int rank, const int64_t *dims) {
  return tensors[graph.n_initializer++] = make_tensor(name, REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dims);
}

static inline ReapOnnx__ValueInfoProto *make_info(const char *name, int rank, const int64_t *dims) {
  ReapOnnx__ValueInfoProto *info = take(sizeof *info);
  reap_onnx__value_info_proto__init(info);
  info->name = text(name);
  info->type = take(sizeof *info->type);
  reap_onnx__type_proto__init(info->type);
  info->type->value_case = REAP_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  ReapOnnx__TypeProto__Tensor *type = info->type->tensor_type = take(sizeof *type);
  reap_onnx__type_proto__tensor__init(type);
  type->has_elem_type = 1;
  type->elem_type = REAP_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  type->shape = take(sizeof *type->shape);
  reap_onnx__tensor_shape_proto__init(type->shape);
  type->shape->n_dim = (size_t)rank;
  type->shape->dim = take(sizeof *type->shape->dim * (size_t)(rank + 1));
  for (int i = 0; i < rank; i++) {
    ReapOnnx__TensorShapeProto__Dimension *dim = type->shape->dim[i] = take(sizeof *dim);
    reap_onnx__tensor_shape_proto__dimension__init(dim);
    dim->value_case = dims[i] < 0 ? REAP_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                  : REAP_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (dims[i] < 0)
      dim->dim_param = text("batch");
    else
      dim->dim_value = dims[i];
  }
  return info;
}

/* Words of a line, "-" for an input left out. */
static inline size_t split(const char *line, char ***out) {
  size_t n = 0;
  *out = take(sizeof(char *) * 8);
  for (char *word = strtok(text(line), " "); word; word = strtok(NULL, " "))
    (*out)[n++] = strcmp(word, "-") ? word : text("");
  return n;
}

static inline ReapOnnx__NodeProto *add_node(const char *op, const char *name, const char *in, const char *out) {
  ReapOnnx__NodeProto *node = take(sizeof *node);
  reap_onnx__node_proto__init(node);
  node->op_type = text(op);
  node->name = text(name);
  node->n_input = split(in, &node->input);
  node->n_output = split(out, &node->output);
  return nodes[graph.n_node++] = node;
}

static inline void add_value_attribute(ReapOnnx__NodeProto *node, ReapOnnx__TensorProto *value) {
  ReapOnnx__AttributeProto *attribute = take(sizeof *attribute);
  reap_onnx__attribute_proto__init(attribute);
  attribute->name = text("value");
  attribute->has_type = 1;
  attribute->type = REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  attribute->t = value;
  node->attribute = take(sizeof attribute);
  node->attribute[0] = attribute;
  node->n_attribute = 1;
}

static const int64_t VECTOR[2] = {-1, 4}, SQUARE[2] = {4, 4};

/* Network input x [batch, 4] and output y. */
static inline void finish_model(void) {
  inputs[graph.n_input++] = make_info("x", 2, VECTOR);
  outputs[graph.n_output++] = make_info("y", 2, VECTOR);
}

static inline const char *store_model(const char *name) {
  const char *path = test_scratch_path(name);
  size_t size = reap_onnx__model_proto__get_packed_size(&model);
  uint8_t *data = malloc(size);
  reap_onnx__model_proto__pack(&model, data);
  write_bytes(path, data, size);
  free(data);
  return path;
}

/* ------------------------------------------------------------------ what came of it */

/* Applies the edits to the model made here and reads the result, which has to be a sound model still. */
static inline ReapOnnx__ModelProto *apply(reap_edits *edits) {
  const char *from = store_model("before.onnx"), *to = test_scratch_path("after.onnx");
  reap_source *source = NULL;
  CHECK_OK(reap_source_load(from, &source));
  if (source) {
    CHECK_OK(reap_source_apply(source, edits, NULL));
    CHECK_OK(reap_source_write_onnx(source, to));
  }
  reap_source_destroy(&source);
  reap_edits_clear(edits);
  CHECK_OK(load_all(to));
  bytes b = read_bytes(to);
  ReapOnnx__ModelProto *result = reap_onnx__model_proto__unpack(NULL, b.size, b.data);
  free(b.data);
  CU_ASSERT_PTR_NOT_NULL_FATAL(result);
  return result;
}

static inline void done(ReapOnnx__ModelProto *result) { reap_onnx__model_proto__free_unpacked(result, NULL); }

static inline const ReapOnnx__TensorProto *find(const ReapOnnx__ModelProto *m, const char *name) {
  for (size_t i = 0; i < m->graph->n_initializer; i++)
    if (strcmp(m->graph->initializer[i]->name, name) == 0) return m->graph->initializer[i];
  return NULL;
}

static inline float first(const ReapOnnx__TensorProto *tensor) {
  float value = -1;
  if (tensor && tensor->raw_data.len >= 4) memcpy(&value, tensor->raw_data.data, 4);
  return value;
}

#endif
