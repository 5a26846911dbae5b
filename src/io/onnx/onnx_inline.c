/* Model-local functions: a node that calls one becomes a copy of the function's nodes.
 *
 * Tensors within a call are named "<base><call>/<name>", with a base that no name of the graph begins with; nodes are
 * named after the call, as exporters name modules. Functions call others: copies are looked through again, to a depth
 * that no exporter reaches. A file of a few bytes could become any size so, and what copies take is limited.
 */
#include "onnx_inline.h"

#include <string.h>

#include "base/name_table.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_DEPTH = 32, MOST_NAME = 1024 };

/* Bytes of all copies: a fixed amount, and a multiple of the model. */
static const int64_t ROOM = (int64_t)32 << 20, ROOM_SHARE = 8;

/* Fields of FunctionProto that newer ONNX versions have: default values of attributes, and overloads. */
enum { DEFAULTS = 11, OVERLOAD = 13 };

typedef struct inliner {
  const ReapOnnx__ModelProto *model;
  reap_name_table *functions; /* "domain:name" to the index */
  char **keys;                /* [n_functions] */
  char base[64];              /* of new names */
  int64_t calls, room;
  ReapOnnx__NodeProto **nodes; /* what the graph is to have, owned */
  int64_t n_nodes, capacity;
} inliner;

/* ------------------------------------------------------------------ which functions there are */

static int make_key(const char *domain, const char *name, char **out) {
  return reap_format(out, "%s:%s", reap_onnx_text(domain), reap_onnx_text(name));
}

static int list_functions(inliner *in) {
  REAP_TRY(reap_name_table_create(&in->functions));
  REAP_TRY(reap_calloc(&in->keys, (int64_t)in->model->n_functions, sizeof *in->keys));
  for (size_t i = 0; i < in->model->n_functions; i++) {
    const ReapOnnx__FunctionProto *f = in->model->functions[i];
    REAP_TRY(make_key(f->domain, f->name, &in->keys[i]));
    REAP_TRY(reap_name_table_set(in->functions, in->keys[i], (int64_t)i));
  }
  return REAP_OK;
}

/* The function that the node calls, or NULL. */
static int find_function(const inliner *in, const ReapOnnx__NodeProto *node, const ReapOnnx__FunctionProto **out) {
  char *key = NULL;
  *out = NULL;
  REAP_TRY(make_key(node->domain, node->op_type, &key));
  const int64_t at = reap_name_table_find(in->functions, key);
  reap_free(&key);
  if (at >= 0) *out = in->model->functions[at];
  return REAP_OK;
}

static int refuse(const ReapOnnx__FunctionProto *f, const char *why) {
  return reap_error(REAP_ERR_INPUT, "the function \"%.200s\" of the model %s; inline it before (onnx.inliner)",
                    reap_onnx_text(f->name), why);
}

static int check_function(const inliner *in, const ReapOnnx__FunctionProto *f) {
  int64_t version = 0;
  reap_onnx_opset(in->model, &version);
  for (unsigned i = 0; i < f->base.n_unknown_fields; i++)
    if (f->base.unknown_fields[i].tag == DEFAULTS || f->base.unknown_fields[i].tag == OVERLOAD)
      return refuse(f, "has default values of attributes, or overloads");
  for (size_t i = 0; i < f->n_opset_import; i++)
    if (reap_onnx_default_domain(f->opset_import[i]->domain) && f->opset_import[i]->version != version)
      return refuse(f, "is written for another opset");
  return REAP_OK;
}

/* ------------------------------------------------------------------ one call */

typedef struct call {
  const ReapOnnx__FunctionProto *function;
  const ReapOnnx__NodeProto *node;
  int64_t number;
  reap_name_table *formal; /* inputs from 0 on, then outputs */
} call;

static int list_formal(call *c) {
  const ReapOnnx__FunctionProto *f = c->function;
  REAP_TRY(reap_name_table_create(&c->formal));
  for (size_t i = 0; i < f->n_input; i++) REAP_TRY(reap_name_table_set(c->formal, f->input[i], (int64_t)i));
  for (size_t i = 0; i < f->n_output; i++) {
    if (reap_name_table_find(c->formal, f->output[i]) >= 0) return refuse(f, "passes an input on as an output");
    REAP_TRY(reap_name_table_set(c->formal, f->output[i], (int64_t)(f->n_input + i)));
  }
  return REAP_OK;
}

/* What a tensor of the function is called in this call. */
static int rename_tensor(const inliner *in, const call *c, char **name) {
  const size_t inputs = c->function->n_input;
  if (!**name) return REAP_OK;
  const int64_t at = reap_name_table_find(c->formal, *name);
  const char *actual = NULL;
  char *fresh = NULL;
  if (at >= 0 && (size_t)at < inputs) actual = (size_t)at < c->node->n_input ? c->node->input[at] : "";
  if (at >= 0 && (size_t)at >= inputs && (size_t)at - inputs < c->node->n_output)
    actual = c->node->output[(size_t)at - inputs];
  const bool output = at >= 0 && (size_t)at >= inputs;
  if (actual && (*actual || !output))
    REAP_TRY(reap_strdup(&fresh, actual));
  else
    REAP_TRY(reap_format(&fresh, "%s%lld/%s", in->base, (long long)c->number, *name));
  reap_free(name);
  *name = fresh;
  return REAP_OK;
}

static int rename_node(const call *c, ReapOnnx__NodeProto *copy) {
  const char *outer = reap_onnx_text(c->node->name), *own = reap_onnx_text(copy->name);
  char *name = NULL;
  if (!*outer || !*own || strlen(outer) + strlen(own) > MOST_NAME) return REAP_OK;
  REAP_TRY(reap_format(&name, "%s/%s", outer, own));
  reap_free(&copy->name);
  copy->name = name;
  return REAP_OK;
}

static int copy_message(inliner *in, const ProtobufCMessage *from, ProtobufCMessage **out) {
  uint8_t *data = NULL;
  bool failed;
  ProtobufCAllocator allocator = reap_onnx_allocator(&failed);
  const size_t size = protobuf_c_message_get_packed_size(from);
  in->room -= (int64_t)size + (int64_t)sizeof(ReapOnnx__NodeProto);
  if (in->room < 0)
    return reap_error(REAP_ERR_INPUT,
                      "the model's functions would become more than %lld times the model and %lld MB when they are "
                      "inlined; simplify the model (onnxsim, say)",
                      (long long)ROOM_SHARE, (long long)(ROOM >> 20));
  REAP_TRY(reap_alloc(&data, (int64_t)size + 1, 1));
  protobuf_c_message_pack(from, data);
  *out = protobuf_c_message_unpack(from->descriptor, &allocator, size, data);
  reap_free(&data);
  return *out ? REAP_OK : REAP_ERR_RESOURCE; /* the message is reap_alloc's */
}

/* An attribute that stands for one of the call becomes that one; one that the call does not have goes. */
static int bind_attribute(inliner *in, const call *c, ReapOnnx__AttributeProto **attribute) {
  const ReapOnnx__AttributeProto *old = *attribute;
  ProtobufCMessage *copy = NULL;
  if (old->g || old->n_graphs > 0) return refuse(c->function, "has a subgraph");
  if (!*reap_onnx_text(old->ref_attr_name)) return REAP_OK;
  for (size_t i = 0; i < c->node->n_attribute && !copy; i++)
    if (strcmp(reap_onnx_text(c->node->attribute[i]->name), old->ref_attr_name) == 0)
      REAP_TRY(copy_message(in, &c->node->attribute[i]->base, &copy));
  ReapOnnx__AttributeProto *fresh = (ReapOnnx__AttributeProto *)copy;
  if (fresh) {
    char *name = fresh->name;
    fresh->name = (*attribute)->name;
    (*attribute)->name = name;
  }
  reap_onnx_free_part(&(*attribute)->base);
  *attribute = fresh;
  return REAP_OK;
}

static int bind_node(inliner *in, const call *c, ReapOnnx__NodeProto *copy) {
  size_t kept = 0;
  int status = REAP_OK;
  for (size_t i = 0; i < copy->n_attribute; i++) {
    if (status == REAP_OK) status = bind_attribute(in, c, &copy->attribute[i]);
    if (status == REAP_OK && copy->attribute[i] && copy->attribute[i]->t) reap_onnx_normalise(copy->attribute[i]->t);
    if (copy->attribute[i]) copy->attribute[kept++] = copy->attribute[i];
  }
  copy->n_attribute = kept;
  REAP_TRY(status);
  for (size_t i = 0; i < copy->n_input; i++) REAP_TRY(rename_tensor(in, c, &copy->input[i]));
  for (size_t i = 0; i < copy->n_output; i++) REAP_TRY(rename_tensor(in, c, &copy->output[i]));
  return rename_node(c, copy);
}

/* ------------------------------------------------------------------ all of them */

static int expand(inliner *in, ReapOnnx__NodeProto **node, int depth);

static int expand_call(inliner *in, call *c, int depth) {
  if (depth >= MOST_DEPTH) return refuse(c->function, "calls others without end");
  REAP_TRY(check_function(in, c->function));
  REAP_TRY(list_formal(c));
  for (size_t i = 0; i < c->function->n_node; i++) {
    ProtobufCMessage *copy = NULL;
    REAP_TRY(copy_message(in, &c->function->node[i]->base, &copy));
    ReapOnnx__NodeProto *inner = (ReapOnnx__NodeProto *)copy;
    int status = bind_node(in, c, inner);
    if (status == REAP_OK) status = expand(in, &inner, depth + 1);
    if (inner) reap_onnx_free_part(&inner->base);
    REAP_TRY(status);
  }
  return REAP_OK;
}

static int append(inliner *in, ReapOnnx__NodeProto **node) {
  if (in->n_nodes == in->capacity) {
    const int64_t capacity = in->capacity ? 2 * in->capacity : 64;
    REAP_TRY(reap_grow(&in->nodes, in->n_nodes, capacity, sizeof *in->nodes));
    in->capacity = capacity;
  }
  in->nodes[in->n_nodes++] = *node;
  *node = NULL;
  return REAP_OK;
}

/* Appends the node, which is taken over (*node becomes NULL), or what it calls. */
static int expand(inliner *in, ReapOnnx__NodeProto **node, int depth) {
  call c = {.node = *node, .number = in->calls};
  REAP_TRY(find_function(in, *node, &c.function));
  if (!c.function) return append(in, node);
  in->calls++;
  int status = expand_call(in, &c, depth);
  reap_name_table_destroy(&c.formal);
  return status;
}

static bool begins(const char *text, const char *base) {
  return strncmp(reap_onnx_text(text), base, strlen(base)) == 0;
}

static bool base_is_taken(const ReapOnnx__GraphProto *graph, const char *base) {
  bool taken = false;
  for (size_t i = 0; i < graph->n_input; i++) taken = taken || begins(graph->input[i]->name, base);
  for (size_t i = 0; i < graph->n_initializer; i++) taken = taken || begins(graph->initializer[i]->name, base);
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_output; k++) taken = taken || begins(graph->node[i]->output[k], base);
  return taken;
}

static int choose_base(inliner *in) {
  strcpy(in->base, "inlined_");
  while (base_is_taken(in->model->graph, in->base)) {
    const size_t length = strlen(in->base);
    if (length + 2 > sizeof in->base) return reap_error(REAP_ERR_INPUT, "its tensors have names that leave no other");
    memcpy(in->base + length, "_", 2);
  }
  return REAP_OK;
}

static int expand_all(inliner *in, ReapOnnx__GraphProto *graph) {
  REAP_TRY(choose_base(in));
  for (size_t i = 0; i < graph->n_node; i++) {
    REAP_TRY(expand(in, &graph->node[i], 0));
    if (graph->node[i]) reap_onnx_free_part(&graph->node[i]->base);
    graph->node[i] = NULL;
  }
  return REAP_OK;
}

/* Nodes that are there already follow those that were put in their place. */
static void replace_nodes(inliner *in, ReapOnnx__ModelProto *model, int status) {
  ReapOnnx__GraphProto *graph = model->graph;
  size_t left = 0;
  for (size_t i = 0; i < graph->n_node; i++)
    if (graph->node[i]) graph->node[left++] = graph->node[i];
  graph->n_node = left;
  if (status != REAP_OK) { /* the model goes: what was taken out of it goes here */
    for (int64_t i = 0; i < in->n_nodes; i++) reap_onnx_free_part(&in->nodes[i]->base);
    reap_free(&in->nodes);
    return;
  }
  reap_free(&graph->node);
  graph->node = in->nodes;
  graph->n_node = (size_t)in->n_nodes;
  for (size_t i = 0; i < model->n_functions; i++) reap_onnx_free_part(&model->functions[i]->base);
  reap_free(&model->functions);
  model->n_functions = 0;
}

static int any_call(const inliner *in, bool *any) {
  *any = false;
  for (size_t i = 0; i < in->model->graph->n_node && !*any; i++) {
    const ReapOnnx__FunctionProto *f = NULL;
    REAP_TRY(find_function(in, in->model->graph->node[i], &f));
    *any = f != NULL;
  }
  return REAP_OK;
}

int reap_onnx_inline(ReapOnnx__ModelProto *model) {
  if (model->n_functions == 0) return REAP_OK;
  inliner in = {.model = model};
  const size_t n = model->n_functions;
  bool any = false;
  in.room = ROOM + ROOM_SHARE * (int64_t)protobuf_c_message_get_packed_size(&model->base);
  int status = list_functions(&in);
  if (status == REAP_OK) status = any_call(&in, &any);
  if (status == REAP_OK && any) status = expand_all(&in, model->graph);
  if (any) replace_nodes(&in, model, status);
  reap_name_table_destroy(&in.functions);
  for (size_t i = 0; in.keys && i < n; i++) reap_free(&in.keys[i]);
  reap_free(&in.keys);
  return status;
}
