/* From the graph as read to the graph to be computed: shapes, folding, layer names, linear layers; see graph.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/name_table.h"
#include "batch.h"
#include "linear.h"
#include "model/allowance.h"
#include "model/node.h"
#include "model/operators.h"
#include "model/operators/layout_rules.h"
#include "model/operators/rules.h"
#include "owners.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "storage.h"
#include "strided.h"

/* Along one axis. */
static const int64_t LARGEST_INPUT = (int64_t)1 << 31;

static int bind_inputs(reap_graph *graph, int64_t batch) {
  for (int i = 0; i < graph->n_inputs; i++) {
    reap_value *v = &graph->values[graph->inputs[i]];
    if (v->rank < 1) return reap_error(REAP_ERR_INPUT, "the network's input \"%s\" has no batch dimension", v->name);
    v->dims[0] = batch;
    int64_t count = (int64_t)sizeof(double);
    for (int k = 0; k < v->rank; k++)
      if (v->dims[k] < 1)
        return reap_error(REAP_ERR_INPUT,
                          "the network's input \"%s\" has no fixed size along axis %d, and no images are given whose "
                          "it could be; give a data set (reap inspect --data), or export the network with a size",
                          v->name, k);
      else if (v->dims[k] > LARGEST_INPUT || reap_multiply(count, v->dims[k], &count) != REAP_OK)
        return reap_error(REAP_ERR_INPUT,
                          "the network's input \"%s\" has the size %lld along axis %d, more than any image has; "
                          "export it with the size of your images",
                          v->name, (long long)v->dims[k], k);
    v->known = true;
    reap_layout_input(v);
  }
  return REAP_OK;
}

static bool all_constant(const reap_graph *graph, const reap_node *node) {
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0 && !graph->values[node->inputs[k]].constant) return false;
  return true;
}

/* The node reads what the copies that it reads are copies of. */
static void redirect(reap_node *node, const int *origin) {
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) node->inputs[k] = origin[node->inputs[k]];
}

/* A Reshape (or Squeeze) of [batch, channels, ...] to [batch, rest] is a Flatten; knowing it as one lets channels be
 * followed through it. */
static void recognise_flatten(reap_graph *graph, reap_node *node) {
  if (node->op->id != REAP_OP_Reshape) return;
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  if (x->rank < 2 || y->rank != 2 || y->dims[0] != x->dims[0]) return;
  const reap_tensor *shape = reap_node_constant(graph, node, 1);
  node->fixed_shape = shape->i64[1] > 0;
  node->op = reap_operator_at(REAP_OP_Flatten);
  node->n_inputs = 1;
}

/* Only passes on what it is given. Computing in float32 makes a Cast from one float type to another such a node. */
static bool is_copy(const reap_graph *graph, const reap_node *node) {
  const bool real =
      reap_node_input(graph, node, 0)->dtype == REAP_F32 && reap_node_output(graph, node, 0)->dtype == REAP_F32;
  return reap_rules_of(node->op)->fold == reap_fold_identity || (node->op->id == REAP_OP_Cast && real);
}

/* Shape of one node, and its value if that is known already. Sets *done if nothing is left to be computed. */
static int infer_or_fold(reap_graph *graph, reap_node *node, reap_image_place *places, bool *done) {
  const reap_value *y = reap_node_output(graph, node, 0);
  *done = false;
  if (reap_rules_of(node->op)->fold && node->n_inputs > 0 && all_constant(graph, node)) {
    if (reap_rules_of(node->op)->shape != reap_shape_folded) REAP_TRY(reap_rules_of(node->op)->shape(graph, node));
    REAP_TRY(reap_rules_of(node->op)->fold(graph, node));
    *done = true;
    return REAP_OK;
  }
  REAP_TRY(reap_rules_of(node->op)->shape(graph, node));
  if (y->constant) {
    *done = true;
  } else if (!node->op->has_kernel) {
    return reap_shape_folded(graph, node);
  } else {
    return reap_check_batch(graph, node, places);
  }
  return REAP_OK;
}

typedef struct inference {
  int *origin;              /* [n_values] the value itself, or what it is a copy of */
  int *remaining;           /* [n_values] inputs of nodes still to come that it is */
  reap_image_place *places; /* [n_values] where the images of a block lie */
} inference;

/* Drops constants that served to compute others after their last reader. */
static void drop_read(reap_graph *graph, const reap_node *node, inference *f) {
  for (int k = 0; k < node->n_inputs; k++) {
    const int v = node->inputs[k];
    if (v >= 0 && --f->remaining[v] == 0 && !graph->values[v].is_output) reap_graph_drop_constant(graph, v);
  }
}

/* Masks, indices and other outputs behind the first have no shape: they are not computed. */
static int check_inputs(const reap_graph *graph, const reap_node *node) {
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0 && !graph->values[node->inputs[k]].known)
      return reap_node_error(node, "it reads \"%s\", which is not the first output of its node: not supported",
                             graph->values[node->inputs[k]].name);
  return REAP_OK;
}

/* A constant that came from shapes is one that the file computes anew from the tensors as they then are. */
static void note_measured(reap_graph *graph, const reap_node *node) {
  bool measured = node->op->id == REAP_OP_Shape || node->op->id == REAP_OP_Size;
  for (int k = 0; k < node->n_inputs; k++) measured |= node->inputs[k] >= 0 && graph->values[node->inputs[k]].measured;
  graph->values[node->outputs[0]].measured = measured;
}

static int infer_one(reap_graph *graph, reap_node *node, inference *f) {
  bool done = false;
  redirect(node, f->origin);
  REAP_TRY(check_inputs(graph, node));
  REAP_TRY(infer_or_fold(graph, node, f->places, &done));
  int out = node->outputs[0];
  const bool folded = done;
  if (!done && is_copy(graph, node) && !graph->values[out].is_output) {
    f->origin[out] = node->inputs[0];
    done = true;
  }
  if (folded) note_measured(graph, node);
  if (done)
    node->outputs[0] = -1;
  else
    recognise_flatten(graph, node);
  reap_layout_infer(graph, node);
  if (folded) drop_read(graph, node, f);
  return REAP_OK;
}

static int infer_all(reap_graph *graph) {
  inference f = {NULL, NULL, NULL};
  int status = reap_alloc(&f.origin, graph->n_values + 1, sizeof *f.origin);
  if (status == REAP_OK) status = reap_calloc(&f.remaining, graph->n_values + 1, sizeof *f.remaining);
  if (status == REAP_OK) status = reap_alloc(&f.places, graph->n_values + 1, sizeof *f.places);
  for (int v = 0; status == REAP_OK && v < graph->n_values; v++) {
    f.origin[v] = v;
    f.places[v] = (reap_image_place){0, 1}; /* of the network's inputs */
  }
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++)
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++)
      if (graph->nodes[i]->inputs[k] >= 0) f.remaining[graph->nodes[i]->inputs[k]]++;
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++) status = infer_one(graph, graph->nodes[i], &f);
  if (status == REAP_OK) status = reap_check_blocks(graph, f.places);
  reap_free(&f.places);
  reap_free(&f.origin);
  reap_free(&f.remaining);
  return status;
}

/* ---- names */

static int name_layer(reap_node *node, reap_name_table *taken) {
  const char *name = node->name[0] == '/' ? node->name + 1 : node->name;
  if (name[0] && node->part > 0)
    REAP_TRY(reap_format(&node->layer, "%s:%d", name, node->part));
  else if (name[0])
    REAP_TRY(reap_strdup(&node->layer, name));
  else
    REAP_TRY(reap_format(&node->layer, "%s_%d", node->op->name, node->source));
  for (char *c = node->layer; *c; c++)
    if (*c == '/') *c = '.';
  while (strcmp(node->layer, ".") == 0 ||
         reap_name_table_find(taken, node->layer) >= 0) { /* "a_4" may be the name of another node */
    char *longer = NULL;
    REAP_TRY(reap_format(&longer, "%s_%d", node->layer, node->source));
    reap_free(&node->layer);
    node->layer = longer;
  }
  return reap_name_table_set(taken, node->layer, node->source);
}

static int name_layers(reap_graph *graph) {
  reap_name_table *taken = NULL;
  int status = reap_name_table_create(&taken);
  for (int i = 0; status == REAP_OK && i < graph->n_nodes; i++) status = name_layer(graph->nodes[i], taken);
  reap_name_table_destroy(&taken);
  return status;
}

/* ---- clean-up */

static void mark_needed(int value, bool *needed, const int *producer) {
  int i = producer[value];
  if (i < 0 || needed[i]) return;
  needed[i] = true;
}

/* Keeps the nodes from which a network output follows, and drops constants without readers. */
static int drop_unused(reap_graph *graph) {
  bool *needed = NULL, *read = NULL;
  int *producer = NULL, status = REAP_OK;
  REAP_TRY_OR(reap_calloc(&needed, graph->n_nodes + 1, sizeof *needed), done);
  REAP_TRY_OR(reap_calloc(&read, graph->n_values + 1, sizeof *read), done);
  REAP_TRY_OR(reap_alloc(&producer, graph->n_values + 1, sizeof *producer), done);
  for (int v = 0; v < graph->n_values; v++) producer[v] = -1;
  for (int i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->outputs[0] >= 0) producer[graph->nodes[i]->outputs[0]] = i;
  for (int i = 0; i < graph->n_outputs; i++) mark_needed(graph->outputs[i], needed, producer);
  for (int i = graph->n_nodes - 1; i >= 0; i--) /* topological order: readers come later */
    for (int k = 0; needed[i] && k < graph->nodes[i]->n_inputs; k++) {
      int v = graph->nodes[i]->inputs[k];
      if (v < 0) continue;
      read[v] = true;
      mark_needed(v, needed, producer);
    }
  int kept = 0;
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!needed[i]) {
      reap_node_destroy(&graph->nodes[i]);
      continue;
    }
    graph->nodes[kept++] = graph->nodes[i];
  }
  graph->n_nodes = kept;
  for (int v = 0; v < graph->n_values; v++) {
    graph->values[v].producer = -1;
    if (!read[v]) reap_graph_drop_constant(graph, v);
  }
  for (int i = 0; i < kept; i++) graph->values[graph->nodes[i]->outputs[0]].producer = i;
done:
  reap_free(&needed);
  reap_free(&read);
  reap_free(&producer);
  return status;
}

/* Extra outputs (a mask, training statistics) are not computed and must have no readers. */
static int check_outputs(reap_graph *graph) {
  reap_graph_note_readers(graph);
  for (int i = 0; i < graph->n_nodes; i++)
    for (int k = 1; k < graph->nodes[i]->n_outputs; k++) {
      const reap_value *v = reap_node_output(graph, graph->nodes[i], k);
      if (v && (v->is_output || v->n_readers > 0))
        return reap_node_error(graph->nodes[i], "its output %d is used, which is not supported", k);
    }
  return REAP_OK;
}

static int check_finite(const reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    bool others = node->op->channels == REAP_CHANNELS_NORM || node->op->id == REAP_OP_ConvTranspose;
    for (int k = 1; (node->linear || others) && k < node->n_inputs; k++) {
      const reap_tensor *t = reap_node_constant(graph, node, k);
      for (int64_t j = 0; t && j < t->count; j++)
        if (!isfinite(t->f32[j]))
          return reap_node_error(node, "its %s hold a NaN or an infinity (input %d, element %lld)",
                                 node->linear ? "weights (with the batch norm behind them)" : "parameters", k,
                                 (long long)j);
    }
  }
  return REAP_OK;
}

/* Outputs that are the same whatever the images are (anchors, strides) stay in the file and are none here, unless all
 * are. */
static int drop_constant_outputs(reap_graph *graph) {
  int kept = 0;
  if (graph->n_outputs < 1) return reap_error(REAP_ERR_INPUT, "the network has no output");
  for (int i = 0; i < graph->n_outputs; i++) {
    const reap_value *v = &graph->values[graph->outputs[i]];
    if (!v->constant && (v->producer >= 0 || v->is_input)) graph->outputs[kept++] = graph->outputs[i];
  }
  if (kept == 0)
    return reap_error(REAP_ERR_INPUT, "the network's output \"%s\" does not depend on the images",
                      graph->values[graph->outputs[0]].name);
  graph->n_outputs = kept;
  return REAP_OK;
}

static int check_outcome(const reap_graph *graph) {
  if (graph->n_inputs < 1) return reap_error(REAP_ERR_INPUT, "the network has no input");
  for (int i = 0; i < graph->n_outputs; i++) {
    const reap_value *v = &graph->values[graph->outputs[i]];
    if (v->rank < 1 || v->dims[0] != graph->batch)
      return reap_error(REAP_ERR_INPUT, "the network's output \"%s\" does not have the batch as its first dimension",
                        v->name);
  }
  return graph->n_nodes > 0 ? REAP_OK : reap_error(REAP_ERR_INPUT, "the network computes nothing");
}

int reap_graph_infer(reap_graph *graph, int64_t batch) {
  graph->batch = batch;
  REAP_TRY(bind_inputs(graph, batch));
  return infer_all(graph);
}

int reap_graph_prepare(reap_graph *graph, int64_t batch) {
  REAP_TRY(name_layers(graph));
  REAP_TRY(reap_graph_infer(graph, batch));
  REAP_TRY(drop_unused(graph));
  REAP_TRY(reap_strided_collect(graph));
  REAP_TRY(drop_unused(graph));
  REAP_TRY(check_outputs(graph));
  REAP_TRY(reap_linear_collect(graph));
  REAP_TRY(drop_unused(graph));
  REAP_TRY(reap_linear_fold_norms(graph));
  REAP_TRY(drop_unused(graph));
  REAP_TRY(drop_constant_outputs(graph));
  REAP_TRY(check_outcome(graph));
  REAP_TRY(check_finite(graph));
  REAP_TRY(reap_graph_own_constants(graph));
  reap_graph_note_readers(graph);
  for (int i = 0; i < graph->n_nodes; i++) REAP_TRY(reap_graph_infer_node(graph, i));
  return reap_choose_storage(graph);
}

int reap_graph_infer_node(reap_graph *graph, int index) {
  reap_node *node = graph->nodes[index];
  for (int k = 0; k < node->n_inputs; k++) {
    reap_value *value = reap_node_input(graph, node, k);
    if (!value || !value->constant) continue;
    value->rank = value->constant->rank;
    memcpy(value->dims, value->constant->dims, sizeof value->dims);
  }
  REAP_TRY(reap_rules_of(node->op)->shape(graph, node));
  reap_layout_infer(graph, node);
  return REAP_OK;
}
