/* Nodes and what they own: copying, releasing, looking up; the graph they stand in is graph.c's. */
#include "node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "operators.h"
#include "reap/error.h"
#include "reap/memory.h"

static void norm_destroy(reap_norm **norm) {
  if (!*norm) return;
  reap_free(&(*norm)->scale);
  reap_free(&(*norm)->bias);
  reap_free(&(*norm)->mean);
  reap_free(&(*norm)->var);
  reap_free(norm);
}

static void linear_destroy(reap_linear **linear) {
  if (!*linear) return;
  norm_destroy(&(*linear)->norm);
  reap_free(&(*linear)->raw_weights);
  reap_free(&(*linear)->raw_bias);
  reap_free(linear);
}

/* Copy of a block made by reap_alloc with `count` floats; NULL stays NULL. */
int reap_copy_floats(float **out, const float *from, int64_t count) {
  if (!from) return REAP_OK;
  REAP_TRY(reap_alloc(out, count, sizeof **out));
  memcpy(*out, from, (size_t)count * sizeof *from);
  return REAP_OK;
}

int reap_norm_clone(const reap_norm *from, reap_norm **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_norm *to = *out;
  to->source = from->source;
  to->channels = from->channels;
  to->epsilon = from->epsilon;
  REAP_TRY(reap_copy_floats(&to->scale, from->scale, from->channels));
  REAP_TRY(reap_copy_floats(&to->bias, from->bias, from->channels));
  REAP_TRY(reap_copy_floats(&to->mean, from->mean, from->channels));
  return reap_copy_floats(&to->var, from->var, from->channels);
}

static int linear_clone(const reap_linear *from, reap_linear **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_linear *to = *out;
  *to = *from;
  to->norm = NULL;
  to->raw_weights = to->raw_bias = NULL;
  if (from->norm) REAP_TRY(reap_norm_clone(from->norm, &to->norm));
  to->raw_weights = reap_share(from->raw_weights);
  return reap_copy_floats(&to->raw_bias, from->raw_bias, from->norm ? from->norm->channels : 0);
}

void reap_attributes_destroy(reap_attribute **attributes, int count) {
  for (int i = 0; *attributes && i < count; i++) {
    reap_attribute *a = &(*attributes)[i];
    reap_free(&a->name);
    reap_free(&a->s);
    reap_free(&a->ints);
    reap_free(&a->floats);
    reap_tensor_destroy(&a->tensor);
  }
  reap_free(attributes);
}

void reap_node_destroy(reap_node **node) {
  if (!*node) return;
  reap_attributes_destroy(&(*node)->attributes, (*node)->n_attributes);
  linear_destroy(&(*node)->linear);
  reap_free(&(*node)->name);
  reap_free(&(*node)->layer);
  reap_free(&(*node)->inputs);
  reap_free(&(*node)->outputs);
  reap_free(node);
}

int reap_copy_indices(int **out, const int *from, int count) {
  REAP_TRY(reap_alloc(out, count, sizeof **out));
  if (count > 0) memcpy(*out, from, (size_t)count * sizeof *from);
  return REAP_OK;
}

static int attribute_clone(const reap_attribute *from, reap_attribute *to) {
  to->kind = from->kind;
  to->i = from->i;
  to->f = from->f;
  to->count = from->count;
  REAP_TRY(reap_strdup(&to->name, from->name));
  REAP_TRY(reap_strdup(&to->s, from->s));
  if (from->ints) {
    REAP_TRY(reap_alloc(&to->ints, from->count, sizeof *to->ints));
    memcpy(to->ints, from->ints, (size_t)from->count * sizeof *to->ints);
  }
  if (from->floats) {
    REAP_TRY(reap_alloc(&to->floats, from->count, sizeof *to->floats));
    memcpy(to->floats, from->floats, (size_t)from->count * sizeof *to->floats);
  }
  return from->tensor ? reap_tensor_clone(from->tensor, &to->tensor) : REAP_OK;
}

int reap_node_clone(const reap_node *from, reap_node **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  reap_node *to = *out;
  to->op = from->op;
  to->source = from->source;
  to->part = from->part;
  to->parts = from->parts;
  to->fixed_shape = from->fixed_shape;
  to->gathers = from->gathers;
  to->cut = from->cut;
  REAP_TRY(reap_strdup(&to->name, from->name));
  REAP_TRY(reap_strdup(&to->layer, from->layer));
  REAP_TRY(reap_copy_indices(&to->inputs, from->inputs, from->n_inputs));
  to->n_inputs = from->n_inputs;
  REAP_TRY(reap_copy_indices(&to->outputs, from->outputs, from->n_outputs));
  to->n_outputs = from->n_outputs;
  REAP_TRY(reap_calloc(&to->attributes, from->n_attributes, sizeof *to->attributes));
  to->n_attributes = from->n_attributes;
  for (int i = 0; i < from->n_attributes; i++) REAP_TRY(attribute_clone(&from->attributes[i], &to->attributes[i]));
  return from->linear ? linear_clone(from->linear, &to->linear) : REAP_OK;
}

const reap_attribute *reap_node_attribute(const reap_node *node, const char *name) {
  for (int i = 0; i < node->n_attributes; i++)
    if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
  return NULL;
}

int64_t reap_node_int(const reap_node *node, const char *name, int64_t fallback) {
  const reap_attribute *a = reap_node_attribute(node, name);
  return a && a->kind == REAP_ATTRIBUTE_INT ? a->i : fallback;
}

float reap_node_float(const reap_node *node, const char *name, float fallback) {
  const reap_attribute *a = reap_node_attribute(node, name);
  return a && a->kind == REAP_ATTRIBUTE_FLOAT ? a->f : fallback;
}

const char *reap_node_string(const reap_node *node, const char *name, const char *fallback) {
  const reap_attribute *a = reap_node_attribute(node, name);
  return a && a->kind == REAP_ATTRIBUTE_STRING && a->s ? a->s : fallback;
}

const char *reap_node_title(const reap_node *node) {
  static _Thread_local char buffers[4][192];
  static _Thread_local int next;
  char *buffer = buffers[next++ % 4];
  if (node->name && node->name[0])
    snprintf(buffer, sizeof buffers[0], "%s %s", node->op->name, node->name);
  else
    snprintf(buffer, sizeof buffers[0], "%s (node %d)", node->op->name, node->source);
  return buffer;
}

int reap_node_error(const reap_node *node, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return reap_error(REAP_ERR_INPUT, "%s: %s", reap_node_title(node), text);
}

reap_value *reap_node_input(const reap_graph *graph, const reap_node *node, int slot) {
  return slot < node->n_inputs && node->inputs[slot] >= 0 ? &graph->values[node->inputs[slot]] : NULL;
}

reap_value *reap_node_output(const reap_graph *graph, const reap_node *node, int slot) {
  return slot < node->n_outputs && node->outputs[slot] >= 0 ? &graph->values[node->outputs[slot]] : NULL;
}

const reap_tensor *reap_node_constant(const reap_graph *graph, const reap_node *node, int slot) {
  const reap_value *v = reap_node_input(graph, node, slot);
  return v ? v->constant : NULL;
}
