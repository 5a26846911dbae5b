/* Names: of layers and their inputs in our files, and new ones for tensors and nodes. */
#include "onnx_names.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

int reap_onnx_layer_name(const ReapOnnx__NodeProto *node, size_t index, char **out) {
  const char *name = reap_onnx_text(node->name);
  if (*name == '/') name++;
  if (!*name || strcmp(name, ".") == 0) return reap_format(out, "%s_%zu", reap_onnx_text(node->op_type), index);
  REAP_TRY(reap_strdup(out, name));
  for (char *c = *out; *c; c++)
    if (*c == '/') *c = '.';
  return REAP_OK;
}

const char *reap_onnx_input_name(const char *op, size_t slot) {
  static const char *const linear[] = {NULL, "weight", "bias"};
  static const char *const norm[] = {NULL, "scale", "bias", "mean", "var"};
  bool is_linear = strcmp(op, "Conv") == 0 || strcmp(op, "Gemm") == 0 || strcmp(op, "MatMul") == 0;
  if (is_linear && slot < sizeof linear / sizeof linear[0]) return linear[slot];
  if (strcmp(op, "BatchNormalization") == 0 && slot < sizeof norm / sizeof norm[0]) return norm[slot];
  return NULL;
}

bool reap_onnx_first_user(const ReapOnnx__GraphProto *graph, const char *tensor, size_t *node, size_t *slot) {
  for (*node = 0; *node < graph->n_node; ++*node)
    for (*slot = 0; *slot < graph->node[*node]->n_input; ++*slot)
      if (strcmp(graph->node[*node]->input[*slot], tensor) == 0) return true;
  return false;
}

int reap_onnx_uses(const ReapOnnx__GraphProto *graph, const char *tensor) {
  int uses = 0;
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_input; k++) uses += strcmp(graph->node[i]->input[k], tensor) == 0;
  for (size_t i = 0; i < graph->n_output; i++) uses += strcmp(reap_onnx_text(graph->output[i]->name), tensor) == 0;
  return uses;
}

static int count_use(reap_name_table *uses, const char *name) {
  const int64_t before = reap_name_table_find(uses, name);
  return reap_name_table_set(uses, name, before < 0 ? 1 : before + 1);
}

int reap_onnx_count_uses(const ReapOnnx__GraphProto *graph, reap_name_table **out) {
  int status = reap_name_table_create(out);
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; status == REAP_OK && k < graph->node[i]->n_input; k++)
      status = count_use(*out, graph->node[i]->input[k]);
  for (size_t i = 0; status == REAP_OK && i < graph->n_output; i++)
    status = count_use(*out, reap_onnx_text(graph->output[i]->name));
  if (status != REAP_OK) reap_name_table_destroy(out);
  return status;
}

int64_t reap_onnx_find_initializer(const ReapOnnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (strcmp(graph->initializer[i]->name, name) == 0) return (int64_t)i;
  return -1;
}

int64_t reap_onnx_find_input(const ReapOnnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_input; i++)
    if (strcmp(reap_onnx_text(graph->input[i]->name), name) == 0) return (int64_t)i;
  return -1;
}

int64_t reap_onnx_find_producer(const ReapOnnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_output; k++)
      if (strcmp(graph->node[i]->output[k], name) == 0) return (int64_t)i;
  return -1;
}

static bool tensor_exists(const ReapOnnx__GraphProto *graph, const char *name) {
  return reap_onnx_uses(graph, name) > 0 || reap_onnx_find_initializer(graph, name) >= 0 ||
         reap_onnx_find_input(graph, name) >= 0 || reap_onnx_find_producer(graph, name) >= 0;
}

static bool node_exists(const ReapOnnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_node; i++)
    if (strcmp(reap_onnx_text(graph->node[i]->name), name) == 0) return true;
  return false;
}

/* The format distinguishes tensors and nodes, but some tools put both into one table: new names are new in both. */
int reap_onnx_fresh_name(const ReapOnnx__GraphProto *graph, const char *wish, char **out) {
  REAP_TRY(reap_strdup(out, wish));
  for (int n = 2; tensor_exists(graph, *out) || node_exists(graph, *out); n++) {
    reap_free(out);
    REAP_TRY(reap_format(out, "%s_%d", wish, n));
  }
  return REAP_OK;
}
