/* Putting edits into the message. */
#include <string.h>

#include "onnx_inputs.h"
#include "onnx_names.h"
#include "onnx_shapes.h"
#include "onnx_types.h"
#include "onnx_unused.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct editor {
  const ReapOnnx__ModelProto *model;
  ReapOnnx__GraphProto *graph;
  ReapOnnx__NodeProto *
      *original; /* nodes by their places in the file: what the indices of edits mean; NULL where one is left out */
  size_t n_original;
  reap_name_list lost; /* tensors that an edit took a user from */
} editor;

/* ------------------------------------------------------------------ tensors */

/* Gives `old` the type, shape and data of `fresh`; the rest (name, documentation, unknown fields) stays. */
static void replace_tensor(ReapOnnx__TensorProto *old, ReapOnnx__TensorProto *fresh) {
  reap_free(&old->float_data);
  reap_free(&old->int32_data);
  reap_free(&old->int64_data);
  reap_free(&old->double_data);
  reap_free(&old->uint64_data);
  old->n_float_data = old->n_int32_data = old->n_int64_data = old->n_double_data = old->n_uint64_data = 0;
  int64_t *dims = old->dims;
  size_t n_dims = old->n_dims;
  ProtobufCBinaryData data = old->raw_data;
  old->dims = fresh->dims;
  old->n_dims = fresh->n_dims;
  old->raw_data = fresh->raw_data;
  old->has_raw_data = 1;
  old->has_data_type = 1;
  old->data_type = fresh->data_type;
  fresh->dims = dims;
  fresh->n_dims = n_dims;
  fresh->raw_data = data;
  reap_onnx_free_part(&fresh->base);
}

/* The tensor as a message; float16 and bfloat16 networks get their own type back. */
static int make_typed(const reap_tensor *tensor, const char *name, int32_t type, ReapOnnx__TensorProto **out) {
  REAP_TRY(reap_onnx_make_tensor(tensor, name, out));
  int status = reap_onnx_to_half(*out, type);
  if (status == REAP_OK) return REAP_OK;
  reap_onnx_free_part(&(*out)->base);
  return reap_error_prefix(status, "tensor \"%s\"", name);
}

static int add_initializer(const editor *e, const reap_tensor *tensor, const char *name, int32_t type) {
  ReapOnnx__TensorProto *proto = NULL;
  REAP_TRY(make_typed(tensor, name, type, &proto));
  int status = reap_onnx_append(&e->graph->initializer, &e->graph->n_initializer, proto);
  if (status != REAP_OK) {
    reap_onnx_free_part(&proto->base);
    return status;
  }
  return reap_onnx_list_input(e->model, proto);
}

/* ------------------------------------------------------------------ one input */

static int extend_inputs(ReapOnnx__NodeProto *node, size_t slots) {
  while (node->n_input < slots) {
    char *empty = NULL;
    REAP_TRY(reap_strdup(&empty, ""));
    int status = reap_onnx_append(&node->input, &node->n_input, empty);
    if (status != REAP_OK) {
      reap_free(&empty);
      return status;
    }
  }
  return REAP_OK;
}

/* A name for the node's own copy: from the tensor it replaces, or from what the input is. */
static int name_for_input(const editor *e, const reap_edit *edit, const char *old, char **out) {
  const ReapOnnx__NodeProto *node = e->original[edit->node];
  const char *known = reap_onnx_input_name(reap_onnx_text(node->op_type), (size_t)edit->slot);
  char *layer = NULL, *wish = NULL;
  int status = reap_onnx_layer_name(node, (size_t)edit->node, &layer);
  if (status == REAP_OK && *old)
    status = reap_format(&wish, "%s_%s", old, layer);
  else if (status == REAP_OK && known)
    status = reap_format(&wish, "%s.%s", layer, known);
  else if (status == REAP_OK)
    status = reap_format(&wish, "%s.input%d", layer, edit->slot);
  if (status == REAP_OK) status = reap_onnx_fresh_name(e->graph, wish, out);
  reap_free(&wish);
  reap_free(&layer);
  return status;
}

static int replace_in_place(const editor *e, ReapOnnx__TensorProto *old, const reap_tensor *tensor) {
  ReapOnnx__TensorProto *fresh = NULL;
  REAP_TRY(make_typed(tensor, old->name, old->data_type, &fresh));
  replace_tensor(old, fresh);
  return reap_onnx_update_input(e->graph, old);
}

static int edit_input(editor *e, const reap_edit *edit) {
  ReapOnnx__NodeProto *node = e->original[edit->node];
  REAP_TRY(extend_inputs(node, (size_t)edit->slot + 1));
  char **input = &node->input[edit->slot], *fresh = NULL;
  int64_t old = **input ? reap_onnx_find_initializer(e->graph, *input) : -1;
  if (old >= 0 && reap_onnx_uses(e->graph, *input) == 1)
    return replace_in_place(e, e->graph->initializer[old], edit->tensor);
  REAP_TRY(name_for_input(e, edit, *input, &fresh));
  int status = add_initializer(e, edit->tensor, fresh, reap_onnx_input_type(e->graph, node, (size_t)edit->slot));
  if (status == REAP_OK && **input) status = reap_name_list_add(&e->lost, *input);
  if (status != REAP_OK) {
    reap_free(&fresh);
    return status;
  }
  reap_free(input);
  *input = fresh;
  return REAP_OK;
}

/* ------------------------------------------------------------------ an attribute */

static int new_attribute(ReapOnnx__NodeProto *node, const char *name) {
  ReapOnnx__AttributeProto *a = NULL;
  REAP_TRY(reap_alloc(&a, 1, sizeof *a));
  reap_onnx__attribute_proto__init(a);
  a->has_type = 1;
  a->type = REAP_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  int status = reap_strdup(&a->name, name);
  if (status == REAP_OK) status = reap_onnx_append(&node->attribute, &node->n_attribute, a);
  if (status != REAP_OK) reap_onnx_free_part(&a->base);
  return status;
}

static void remove_attribute(ReapOnnx__NodeProto *node, size_t at) {
  reap_onnx_free_part(&node->attribute[at]->base);
  for (node->n_attribute--; at < node->n_attribute; at++) node->attribute[at] = node->attribute[at + 1];
}

static int edit_attribute(const editor *e, const reap_edit *edit) {
  ReapOnnx__NodeProto *node = e->original[edit->node];
  const reap_tensor *t = edit->tensor;
  size_t i = 0;
  while (i < node->n_attribute && strcmp(reap_onnx_text(node->attribute[i]->name), edit->name) != 0) i++;
  if (!t) {
    if (i < node->n_attribute) remove_attribute(node, i);
    return REAP_OK;
  }
  if (i == node->n_attribute) REAP_TRY(new_attribute(node, edit->name));
  ReapOnnx__AttributeProto *a = node->attribute[i];
  if (t->rank == 0) {
    a->i = t->i64[0];
    a->has_i = 1;
    return REAP_OK;
  }
  if (a->n_ints != (size_t)t->count) {
    reap_free(&a->ints);
    a->n_ints = 0;
    REAP_TRY(reap_alloc(&a->ints, t->count, sizeof *a->ints));
    a->n_ints = (size_t)t->count;
  }
  memcpy(a->ints, t->i64, a->n_ints * sizeof *a->ints);
  return REAP_OK;
}

/* ------------------------------------------------------------------ a Reshape in place of a node */

static int edit_reshape(editor *e, const reap_edit *edit) {
  ReapOnnx__NodeProto *node = e->original[edit->node];
  reap_free(&node->op_type);
  REAP_TRY(reap_strdup(&node->op_type, "Reshape"));
  while (node->n_attribute > 0) remove_attribute(node, node->n_attribute - 1);
  return edit_input(e, edit);
}

/* ------------------------------------------------------------------ an Add behind a node */

static int insert_behind(ReapOnnx__GraphProto *graph, const ReapOnnx__NodeProto *node, ReapOnnx__NodeProto *fresh) {
  REAP_TRY(reap_onnx_append(&graph->node, &graph->n_node, fresh));
  size_t at = graph->n_node - 1;
  for (; at > 0 && graph->node[at - 1] != node; at--) graph->node[at] = graph->node[at - 1];
  graph->node[at] = fresh;
  return REAP_OK;
}

/* Takes over nothing: the strings are copied. */
static int make_add(const char *name, const char *a, const char *b, const char *output, ReapOnnx__NodeProto **out) {
  ReapOnnx__NodeProto *node = NULL;
  REAP_TRY(reap_alloc(&node, 1, sizeof *node));
  reap_onnx__node_proto__init(node);
  int status = REAP_OK;
  REAP_TRY_OR(reap_strdup(&node->op_type, "Add"), fail);
  REAP_TRY_OR(reap_strdup(&node->name, name), fail);
  REAP_TRY_OR(extend_inputs(node, 2), fail);
  reap_free(&node->input[0]);
  reap_free(&node->input[1]);
  REAP_TRY_OR(reap_strdup(&node->input[0], a), fail);
  REAP_TRY_OR(reap_strdup(&node->input[1], b), fail);
  REAP_TRY_OR(reap_calloc(&node->output, 1, sizeof *node->output), fail);
  node->n_output = 1;
  REAP_TRY_OR(reap_strdup(&node->output[0], output), fail);
  *out = node;
  return REAP_OK;
fail:
  reap_onnx_free_part(&node->base);
  return status;
}

/* Names of the new node, its constant, and what the old node's output is called from now on. */
static int names_for_add(const editor *e, const reap_edit *edit, char **name, char **constant, char **inner) {
  const ReapOnnx__NodeProto *node = e->original[edit->node];
  char *layer = NULL, *wish = NULL;
  int status = reap_onnx_layer_name(node, (size_t)edit->node, &layer);
  if (status == REAP_OK) status = reap_format(&wish, "%s_bias_add", *reap_onnx_text(node->name) ? node->name : layer);
  if (status == REAP_OK) status = reap_onnx_fresh_name(e->graph, wish, name);
  reap_free(&wish);
  if (status == REAP_OK) status = reap_format(&wish, "%s.bias", layer);
  if (status == REAP_OK) status = reap_onnx_fresh_name(e->graph, wish, constant);
  reap_free(&wish);
  if (status == REAP_OK) status = reap_format(&wish, "%s_before_bias", node->output[0]);
  if (status == REAP_OK) status = reap_onnx_fresh_name(e->graph, wish, inner);
  reap_free(&wish);
  reap_free(&layer);
  return status;
}

static int edit_add(editor *e, const reap_edit *edit) {
  ReapOnnx__NodeProto *node = e->original[edit->node], *add = NULL;
  if (node->n_output < 1 || !*node->output[0])
    return reap_error(REAP_ERR_INTERNAL, "node %s has no output to add to", reap_onnx_text(node->name));
  char *name = NULL, *constant = NULL, *inner = NULL;
  int status = names_for_add(e, edit, &name, &constant, &inner);
  if (status == REAP_OK) status = make_add(name, inner, constant, node->output[0], &add);
  if (status == REAP_OK) status = add_initializer(e, edit->tensor, constant, reap_onnx_input_type(e->graph, node, 1));
  if (status == REAP_OK) status = insert_behind(e->graph, node, add);
  if (status == REAP_OK) {
    reap_free(&node->output[0]);
    node->output[0] = inner;
    inner = NULL;
  } else if (add) {
    reap_onnx_free_part(&add->base);
  }
  reap_free(&inner);
  reap_free(&constant);
  reap_free(&name);
  return status;
}

/* ------------------------------------------------------------------ all of them */

static int apply_all(editor *e, const reap_edits *edits) {
  for (int i = 0; i < edits->count; i++) {
    const reap_edit *edit = &edits->list[i];
    if (edit->node < 0 || (size_t)edit->node >= e->n_original || !e->original[edit->node] || edit->slot < 0)
      return reap_error(REAP_ERR_INTERNAL, "an edit names node %d, input %d", edit->node, edit->slot);
    REAP_TRY(edit->kind == REAP_EDIT_INPUT     ? edit_input(e, edit)
             : edit->kind == REAP_EDIT_ADD     ? edit_add(e, edit)
             : edit->kind == REAP_EDIT_RESHAPE ? edit_reshape(e, edit)
                                               : edit_attribute(e, edit));
  }
  return reap_onnx_remove_unused(e->graph, &e->lost);
}

int reap_source_apply(reap_source *source, const reap_edits *edits, const reap_graph *graph) {
  ReapOnnx__GraphProto *proto = source->model->graph;
  if (source->edited) return reap_error(REAP_ERR_INTERNAL, "%s: edits were applied before", source->path);
  if (edits->count == 0) return REAP_OK;
  source->edited = true;
  editor e = {source->model, proto, NULL, proto->n_node + source->n_dead, {NULL, 0}};
  int status = reap_calloc(&e.original, (int64_t)e.n_original, sizeof(ReapOnnx__NodeProto *));
  for (size_t i = 0; status == REAP_OK && i < proto->n_node; i++) e.original[source->places[i]] = proto->node[i];
  if (status == REAP_OK) status = apply_all(&e, edits);
  if (status == REAP_OK) status = reap_onnx_update_shapes(source->model, graph);
  if (status == REAP_OK) status = reap_source_note_maker(source);
  reap_name_list_clear(&e.lost);
  reap_free(&e.original);
  return reap_error_prefix(status, "%s", source->path);
}
