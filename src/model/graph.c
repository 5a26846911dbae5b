/* Building, copying and asking a graph; preparation is in prepare.c, shapes in shapes.c. */
#include "reap/graph.h"

#include <stdio.h>
#include <string.h>

#include "allowance.h"
#include "base/name_table.h"
#include "node.h"
#include "operators.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_graph_create(int64_t opset, reap_graph **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->opset = opset;
  int status = reap_name_table_create(&(*out)->names);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}

void reap_graph_destroy(reap_graph **graph) {
  reap_graph *g = *graph;
  if (!g) return;
  reap_name_table_destroy(&g->names);
  for (int i = 0; i < g->n_values; i++) {
    reap_free(&g->values[i].name);
    reap_tensor_destroy(&g->values[i].constant);
  }
  for (int i = 0; i < g->n_nodes; i++) reap_node_destroy(&g->nodes[i]);
  reap_free(&g->values);
  reap_free(&g->nodes);
  reap_free(&g->inputs);
  reap_free(&g->outputs);
  reap_free(graph);
}

static int clone_into(const reap_graph *from, reap_graph *to) {
  to->batch = from->batch;
  to->file_bytes = from->file_bytes;
  to->held_bytes = from->held_bytes;
  to->made_bytes = from->made_bytes;
  REAP_TRY(reap_calloc(&to->values, from->n_values, sizeof *to->values));
  to->capacity_values = from->n_values;
  for (int i = 0; i < from->n_values; i++) {
    reap_value *v = &to->values[i];
    *v = from->values[i];
    v->name = NULL;
    v->constant = NULL;
    to->n_values = i + 1;
    REAP_TRY(reap_strdup(&v->name, from->values[i].name));
    REAP_TRY(reap_name_table_set(to->names, v->name, i));
    if (from->values[i].constant) REAP_TRY(reap_tensor_clone(from->values[i].constant, &v->constant));
  }
  REAP_TRY(reap_calloc(&to->nodes, from->n_nodes, sizeof *to->nodes));
  to->capacity_nodes = from->n_nodes;
  for (int i = 0; i < from->n_nodes; i++) {
    to->n_nodes = i + 1;
    REAP_TRY(reap_node_clone(from->nodes[i], &to->nodes[i]));
  }
  REAP_TRY(reap_copy_indices(&to->inputs, from->inputs, from->n_inputs));
  to->n_inputs = from->n_inputs;
  REAP_TRY(reap_copy_indices(&to->outputs, from->outputs, from->n_outputs));
  to->n_outputs = from->n_outputs;
  return REAP_OK;
}

int reap_graph_clone(const reap_graph *graph, reap_graph **out) {
  REAP_TRY(reap_graph_create(graph->opset, out));
  int status = clone_into(graph, *out);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}

int reap_graph_find(const reap_graph *graph, const char *name) { return (int)reap_name_table_find(graph->names, name); }

int reap_graph_new_value(reap_graph *graph, const char *name, int *index) {
  if (graph->n_values == graph->capacity_values) {
    int capacity = graph->capacity_values ? 2 * graph->capacity_values : 64;
    REAP_TRY(reap_grow(&graph->values, graph->n_values, capacity, sizeof *graph->values));
    graph->capacity_values = capacity;
  }
  reap_value *v = &graph->values[graph->n_values];
  memset(v, 0, sizeof *v);
  v->producer = -1;
  v->channel_axis = -1;
  REAP_TRY(reap_strdup(&v->name, name));
  *index = graph->n_values++;
  return reap_name_table_set(graph->names, v->name, *index);
}

/* A name may be given once. */
static int new_named_value(reap_graph *graph, const char *name, int *index) {
  if (reap_graph_find(graph, name) >= 0) return reap_error(REAP_ERR_INPUT, "the tensor \"%s\" is defined twice", name);
  return reap_graph_new_value(graph, name, index);
}

static void adopt_constant(reap_value *v, reap_tensor *constant) {
  v->constant = constant;
  v->dtype = constant->dtype;
  v->rank = constant->rank;
  memcpy(v->dims, constant->dims, sizeof v->dims);
  v->known = true;
}

int reap_graph_add_constant(reap_graph *graph, const char *name, reap_tensor *constant, int *value) {
  int index = -1;
  int status = new_named_value(graph, name, &index);
  if (status != REAP_OK) {
    reap_tensor_destroy(&constant);
    return status;
  }
  adopt_constant(&graph->values[index], constant);
  reap_graph_note_file(graph, reap_tensor_bytes(constant));
  if (value) *value = index;
  return REAP_OK;
}

static int append_index(int **list, int *count, int index) {
  REAP_TRY(reap_grow(list, *count, *count + 1, sizeof **list));
  (*list)[(*count)++] = index;
  return REAP_OK;
}

int reap_graph_add_input(reap_graph *graph, const char *name, reap_dtype dtype, int rank, const int64_t *dims,
                         int *value) {
  int index = -1;
  if (rank > REAP_MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "the input \"%s\" has rank %d; at most %d is supported", name, rank,
                      REAP_MAX_RANK);
  REAP_TRY(new_named_value(graph, name, &index));
  reap_value *v = &graph->values[index];
  v->dtype = dtype;
  v->rank = rank;
  memcpy(v->dims, dims, (size_t)rank * sizeof *dims);
  v->is_input = true;
  if (value) *value = index;
  return append_index(&graph->inputs, &graph->n_inputs, index);
}

/* Fills inputs and outputs of a node whose other members are set. */
static int connect(reap_graph *graph, reap_node *node, int n_inputs, char *const *inputs, int n_outputs,
                   char *const *outputs) {
  REAP_TRY(reap_alloc(&node->inputs, n_inputs, sizeof *node->inputs));
  node->n_inputs = n_inputs;
  for (int i = 0; i < n_inputs; i++) {
    node->inputs[i] = inputs[i][0] ? reap_graph_find(graph, inputs[i]) : -1;
    if (inputs[i][0] && node->inputs[i] < 0)
      return reap_error(REAP_ERR_INPUT, "%s: reads the tensor \"%s\", which nothing before it computes",
                        reap_node_title(node), inputs[i]);
  }
  while (node->n_inputs > 0 && node->inputs[node->n_inputs - 1] < 0) node->n_inputs--;
  for (int i = 0; i < node->n_inputs && i < node->op->min_inputs; i++)
    if (node->inputs[i] < 0)
      return reap_error(REAP_ERR_INPUT, "%s: its input %d is left out", reap_node_title(node), i);
  if (node->n_inputs < node->op->min_inputs || (node->op->max_inputs >= 0 && node->n_inputs > node->op->max_inputs))
    return reap_error(REAP_ERR_INPUT, "%s: has %d inputs; not a form of %s known here", reap_node_title(node),
                      node->n_inputs, node->op->name);
  REAP_TRY(reap_alloc(&node->outputs, n_outputs, sizeof *node->outputs));
  for (int i = 0; i < n_outputs; i++) {
    node->outputs[i] = -1;
    node->n_outputs = i + 1;
    if (!outputs[i][0]) continue;
    REAP_TRY(reap_error_prefix(new_named_value(graph, outputs[i], &node->outputs[i]), "%s", reap_node_title(node)));
    graph->values[node->outputs[i]].producer = graph->n_nodes;
  }
  if (n_outputs < 1 || node->outputs[0] < 0)
    return reap_error(REAP_ERR_INPUT, "%s: has no output", reap_node_title(node));
  return REAP_OK;
}

/* QuantizeLinear, DynamicQuantizeLinear, QLinearConv, MatMulInteger and their like. */
static bool is_quantised(const char *op) {
  return strstr(op, "QuantizeLinear") || strncmp(op, "QLinear", 7) == 0 || strcmp(op, "ConvInteger") == 0 ||
         strcmp(op, "MatMulInteger") == 0;
}

/* What a node is made of, outputs and attributes aside. */
typedef struct node_form {
  const char *op, *domain, *name; /* domain: "" for ONNX's own */
  int source, part, parts;
  int n_inputs;
  char *const *inputs;
} node_form;

static int unknown_operator(const node_form *f) {
  return reap_error(
      REAP_ERR_INPUT, "the operator %s%s%s of node \"%s\" (number %d in the file) is not supported%s", f->domain,
      f->domain[0] ? "." : "", f->op, f->name, f->source,
      is_quantised(f->op) ? ": quantised networks are not supported; prune the float network, then quantise" : "");
}

static int append_node(reap_graph *graph, reap_node *node) {
  if (graph->n_nodes == graph->capacity_nodes) {
    int capacity = graph->capacity_nodes ? 2 * graph->capacity_nodes : 64;
    REAP_TRY(reap_grow(&graph->nodes, graph->n_nodes, capacity, sizeof *graph->nodes));
    graph->capacity_nodes = capacity;
  }
  graph->nodes[graph->n_nodes++] = node;
  return REAP_OK;
}

/* Of any number of tensors, all alike. */
static bool reduces_terms(const char *op) {
  return strcmp(op, "Sum") == 0 || strcmp(op, "Min") == 0 || strcmp(op, "Max") == 0;
}

static int add_one(reap_graph *graph, const node_form *f, int n_outputs, char *const *outputs, int n_attributes,
                   reap_attribute *attributes) {
  reap_node *node = NULL;
  int status = reap_calloc(&node, 1, sizeof *node);
  if (status != REAP_OK) {
    reap_attributes_destroy(&attributes, n_attributes);
    return status;
  }
  node->attributes = attributes;
  node->n_attributes = n_attributes;
  node->source = f->source;
  node->part = f->part;
  node->parts = f->parts;
  for (int i = 0; i < n_attributes; i++) reap_graph_note_file(graph, reap_tensor_bytes(attributes[i].tensor));
  REAP_TRY_OR(reap_strdup(&node->name, f->name), failed);
  node->op = f->domain[0] ? NULL : reap_operator_find(f->op);
  if (!node->op) {
    status = unknown_operator(f);
    goto failed;
  }
  REAP_TRY_OR(connect(graph, node, f->n_inputs, f->inputs, n_outputs, outputs), failed);
  if (reduces_terms(node->op->name) && node->n_inputs == 1) node->op = reap_operator_at(REAP_OP_Identity);
  REAP_TRY_OR(append_node(graph, node), failed);
  return REAP_OK;
failed:
  reap_node_destroy(&node);
  return status;
}

/* ((a + b) + c) + ... for the terms of a Sum, and the same for Min and Max; partial results are named after the output.
 */
static int add_chain(reap_graph *graph, const node_form *form, int n_outputs, char *const *outputs) {
  const int n_inputs = form->n_inputs;
  char *const *inputs = form->inputs;
  char *sum = inputs[0], *partial = NULL;
  int status = REAP_OK;
  for (int k = 0; k < n_inputs; k++)
    if (!inputs[k][0]) return reap_error(REAP_ERR_INPUT, "%s %s: its input %d is left out", form->op, form->name, k);
  for (int k = 1; status == REAP_OK && k < n_inputs; k++) {
    const bool last = k == n_inputs - 1;
    char *const terms[] = {sum, inputs[k]};
    char *fresh = NULL;
    node_form link = *form;
    link.n_inputs = 2;
    link.inputs = terms;
    link.part = k - 1;
    link.parts = n_inputs - 1;
    if (!last) status = reap_format(&fresh, "%s:sum%d", outputs[0], k);
    char *const *sums = last ? outputs : &fresh;
    if (status == REAP_OK) status = add_one(graph, &link, last ? n_outputs : 1, sums, 0, NULL);
    reap_free(&partial);
    sum = partial = fresh;
  }
  reap_free(&partial);
  return status;
}

/* Several outputs, all of which are computed. */
static bool has_parts(const char *op) { return strcmp(op, "Split") == 0 || strcmp(op, "TopK") == 0; }

/* What part `k` needs of the attributes: numbers, and of a list of sizes its own and the sums in front and behind. */
static int part_attributes(int n, const reap_attribute *from, int k, int parts, int *count, reap_attribute **out) {
  REAP_TRY(reap_calloc(out, n, sizeof **out));
  *count = 0;
  for (int i = 0; i < n; i++) {
    const bool sizes = from[i].kind == REAP_ATTRIBUTE_INTS && strcmp(from[i].name, "split") == 0;
    if (from[i].kind != REAP_ATTRIBUTE_INT && !sizes) continue;
    reap_attribute *to = &(*out)[(*count)++];
    to->kind = from[i].kind;
    to->i = from[i].i;
    REAP_TRY(reap_strdup(&to->name, from[i].name));
    if (!sizes) continue;
    REAP_TRY(reap_calloc(&to->ints, 3, sizeof *to->ints));
    to->count = 3;
    bool fits = from[i].count == parts;
    for (int j = 0; fits && j < parts; j++) {
      int64_t *sum = &to->ints[j < k ? 0 : j == k ? 1 : 2];
      fits = from[i].ints[j] >= 0 && !__builtin_add_overflow(*sum, from[i].ints[j], sum);
    }
    if (!fits) to->ints[0] = -1; /* for its shape rule to refuse */
  }
  return REAP_OK;
}

/* More than any network has; each part looks at the sizes of all. */
enum { MOST_PARTS = 1024 };

/* A file of a few bytes must not become nodes of any size: their names count as constants do. */
static int add_parts(reap_graph *graph, const node_form *form, int n_outputs, char *const *outputs, int n_attributes,
                     const reap_attribute *attributes) {
  if (n_outputs > MOST_PARTS)
    return reap_error(REAP_ERR_INPUT, "%s %s: has %d outputs; at most %d are supported", form->op, form->name,
                      n_outputs, MOST_PARTS);
  for (int k = 0; k < n_outputs; k++) {
    if (!outputs[k][0]) continue;
    reap_attribute *own = NULL;
    node_form part = *form;
    int n = 0;
    part.part = k;
    part.parts = n_outputs;
    int status = part_attributes(n_attributes, attributes, k, n_outputs, &n, &own);
    if (status != REAP_OK) reap_attributes_destroy(&own, n_attributes);
    REAP_TRY(status);
    REAP_TRY(add_one(graph, &part, 1, &outputs[k], n, own));
    const reap_node *node = graph->nodes[graph->n_nodes - 1];
    REAP_TRY(reap_graph_charge(graph, node, (int64_t)(sizeof *node + 2 * strlen(node->name))));
  }
  return REAP_OK;
}

int reap_graph_add_node(reap_graph *graph, const char *op, const char *domain, const char *name, int source,
                        int n_inputs, char *const *inputs, int n_outputs, char *const *outputs, int n_attributes,
                        reap_attribute *attributes) {
  const bool standard = !domain || !domain[0] || strcmp(domain, "ai.onnx") == 0;
  const node_form form = {op, standard ? "" : domain, name, source, 0, 1, n_inputs, inputs};
  if (standard && has_parts(op) && n_outputs > 0) {
    int status = add_parts(graph, &form, n_outputs, outputs, n_attributes, attributes);
    reap_attributes_destroy(&attributes, n_attributes);
    return status;
  }
  if (standard && reduces_terms(op) && n_inputs > 2 && n_outputs > 0) {
    reap_attributes_destroy(&attributes, n_attributes);
    return add_chain(graph, &form, n_outputs, outputs);
  }
  return add_one(graph, &form, n_outputs, outputs, n_attributes, attributes);
}

int reap_graph_add_output(reap_graph *graph, const char *name) {
  int index = reap_graph_find(graph, name);
  if (index < 0) return reap_error(REAP_ERR_INPUT, "nothing computes the network's output \"%s\"", name);
  graph->values[index].is_output = true;
  return append_index(&graph->outputs, &graph->n_outputs, index);
}

void reap_graph_note_readers(reap_graph *graph) {
  for (int v = 0; v < graph->n_values; v++) graph->values[v].n_readers = 0;
  for (int i = 0; i < graph->n_nodes; i++)
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++) {
      reap_value *v = reap_node_input(graph, graph->nodes[i], k);
      if (!v || (v->n_readers > 0 && v->reader == i)) continue;
      v->n_readers++;
      v->reader = i;
    }
}

int64_t reap_value_count(const reap_value *value) {
  int64_t count = 1;
  for (int i = 0; i < value->rank; i++) count *= value->dims[i]; /* checked when the shape was set */
  return count;
}

/* ------------------------------------------------------------------ a layer taken out of its network */

/* A copy of `value`, for `images` images in place of a block. */
static int add_value(const reap_graph *from, int value, int64_t images, reap_graph *to, int *index) {
  const reap_value *old = &from->values[value];
  REAP_TRY(reap_graph_new_value(to, old->name, index));
  reap_value *v = &to->values[*index];
  v->dtype = old->dtype;
  v->rank = old->rank;
  memcpy(v->dims, old->dims, sizeof v->dims);
  v->known = true;
  v->channel_axis = old->channel_axis;
  v->channels_last = old->channels_last;
  if (!old->constant) v->dims[0] = old->dims[0] / from->batch * images;
  return old->constant ? reap_tensor_clone(old->constant, &v->constant) : REAP_OK;
}

static int fill_layer(const reap_graph *from, int index, int64_t images, reap_graph *to) {
  to->batch = images;
  REAP_TRY(reap_calloc(&to->nodes, 1, sizeof *to->nodes));
  to->capacity_nodes = to->n_nodes = 1;
  REAP_TRY(reap_node_clone(from->nodes[index], &to->nodes[0]));
  reap_node *node = to->nodes[0];
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) REAP_TRY(add_value(from, node->inputs[k], images, to, &node->inputs[k]));
  REAP_TRY(add_value(from, node->outputs[0], images, to, &node->outputs[0]));
  node->n_outputs = 1;
  to->values[node->inputs[0]].is_input = to->values[node->outputs[0]].is_output = true;
  to->values[node->outputs[0]].producer = 0;
  REAP_TRY(reap_copy_indices(&to->inputs, node->inputs, 1));
  to->n_inputs = 1;
  REAP_TRY(reap_copy_indices(&to->outputs, node->outputs, 1));
  to->n_outputs = 1;
  return REAP_OK;
}

int reap_graph_extract(const reap_graph *graph, int node, int64_t images, reap_graph **out) {
  REAP_TRY(reap_graph_create(graph->opset, out));
  int status = fill_layer(graph, node, images, *out);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}
