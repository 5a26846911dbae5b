#include "onnx_unused.h"

#include <string.h>

#include "onnx_names.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_name_list_add(reap_name_list *list, const char *name) {
  char *copy = NULL;
  REAP_TRY(reap_strdup(&copy, name));
  int status = reap_onnx_append(&list->names, &list->count, copy);
  if (status != REAP_OK) reap_free(&copy);
  return status;
}

void reap_name_list_clear(reap_name_list *list) {
  for (size_t i = 0; i < list->count; i++) reap_free(&list->names[i]);
  reap_free(&list->names);
  list->count = 0;
}

/* Takes the pointer at `at` out of an array of `count`. */
static void take_out(void *items, size_t *count, size_t at) {
  char *hole = (char *)items + at * sizeof(void *);
  memmove(hole, hole + sizeof(void *), (*count - at - 1) * sizeof(void *));
  --*count;
}

static void remove_initializer(ReapOnnx__GraphProto *graph, size_t at) {
  ReapOnnx__TensorProto *tensor = graph->initializer[at];
  int64_t input = reap_onnx_find_input(graph, tensor->name);
  if (input >= 0) {
    ReapOnnx__ValueInfoProto *info = graph->input[input];
    take_out(graph->input, &graph->n_input, (size_t)input);
    reap_onnx_free_part(&info->base);
  }
  take_out(graph->initializer, &graph->n_initializer, at);
  reap_onnx_free_part(&tensor->base);
}

static bool is_unused(const ReapOnnx__GraphProto *graph, const ReapOnnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_output; i++)
    if (*node->output[i] && reap_onnx_uses(graph, node->output[i]) > 0) return false;
  return true;
}

/* Removes the node; its inputs have lost a user then. */
static int remove_node(ReapOnnx__GraphProto *graph, size_t at, reap_name_list *lost) {
  ReapOnnx__NodeProto *node = graph->node[at];
  for (size_t i = 0; i < node->n_input; i++)
    if (*node->input[i]) REAP_TRY(reap_name_list_add(lost, node->input[i]));
  take_out(graph->node, &graph->n_node, at);
  reap_onnx_free_part(&node->base);
  return REAP_OK;
}

int reap_onnx_remove_unused(ReapOnnx__GraphProto *graph, reap_name_list *lost) {
  while (lost->count > 0) {
    char *name = lost->names[--lost->count];
    int status = REAP_OK;
    if (reap_onnx_uses(graph, name) == 0) {
      int64_t initializer = reap_onnx_find_initializer(graph, name);
      int64_t node = initializer < 0 ? reap_onnx_find_producer(graph, name) : -1;
      if (initializer >= 0)
        remove_initializer(graph, (size_t)initializer);
      else if (node >= 0 && is_unused(graph, graph->node[node]))
        status = remove_node(graph, (size_t)node, lost);
    }
    reap_free(&name);
    REAP_TRY(status);
  }
  return REAP_OK;
}
