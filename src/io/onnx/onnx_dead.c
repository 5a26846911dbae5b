/* Nodes that no output of the network follows from: left-overs of exports whose outputs were taken off the list.
 *
 * Method: from the outputs back to their producers, over names sorted once. Cost: a logarithm per name that is read.
 */
#include "onnx_dead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_names.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Names, each with a node; borrowed from the message. */
typedef struct entry {
  const char *name;
  size_t node;
} entry;

typedef struct entry_list {
  entry *entries;
  int64_t count, capacity;
} entry_list;

static int add_entry(entry_list *list, const char *name, size_t node) {
  if (!*reap_onnx_text(name)) return REAP_OK;
  if (list->count == list->capacity) {
    int64_t capacity = list->capacity ? 2 * list->capacity : 64;
    REAP_TRY(reap_grow(&list->entries, list->count, capacity, sizeof *list->entries));
    list->capacity = capacity;
  }
  list->entries[list->count++] = (entry){name, node};
  return REAP_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

static void sort(entry_list *list) {
  if (list->count > 1) qsort(list->entries, (size_t)list->count, sizeof *list->entries, by_name);
}

/* First entry of that name; list->count if there is none. */
static int64_t find(const entry_list *list, const char *name) {
  int64_t low = 0, high = list->count;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (strcmp(list->entries[middle].name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < list->count && strcmp(list->entries[low].name, name) == 0 ? low : list->count;
}

static bool has(const entry_list *list, const char *name) { return find(list, reap_onnx_text(name)) < list->count; }

/* ------------------------------------------------------------------ what nodes read */

static int add_reads(entry_list *list, const ReapOnnx__NodeProto *node, size_t index);

/* Everything that a subgraph names may come from outside it. Nesting is bounded: see reap_onnx_scan(). */
static int add_graph_reads(entry_list *list, const ReapOnnx__GraphProto *graph, size_t index) {
  for (size_t i = 0; i < graph->n_node; i++) REAP_TRY(add_reads(list, graph->node[i], index));
  for (size_t i = 0; i < graph->n_output; i++) REAP_TRY(add_entry(list, graph->output[i]->name, index));
  return REAP_OK;
}

static int add_reads(entry_list *list, const ReapOnnx__NodeProto *node, size_t index) {
  for (size_t k = 0; k < node->n_input; k++) REAP_TRY(add_entry(list, node->input[k], index));
  for (size_t a = 0; a < node->n_attribute; a++) {
    const ReapOnnx__AttributeProto *attribute = node->attribute[a];
    if (attribute->g) REAP_TRY(add_graph_reads(list, attribute->g, index));
    for (size_t i = 0; i < attribute->n_graphs; i++) REAP_TRY(add_graph_reads(list, attribute->graphs[i], index));
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ which nodes are needed */

/* Makes the producer of `name` live; if it was not, it joins `next`. A name that is produced more than once is an error
 * for the graph to tell, for which two of them do. */
static int need(const entry_list *producers, const char *name, bool *live, entry_list *next) {
  const int64_t first = find(producers, name);
  for (int64_t i = first; i < producers->count && i < first + 2; i++) {
    const entry *e = &producers->entries[i];
    if (strcmp(e->name, name) != 0) break;
    if (live[e->node]) continue;
    live[e->node] = true;
    REAP_TRY(add_entry(next, e->name, e->node));
  }
  return REAP_OK;
}

static int mark_live(const ReapOnnx__GraphProto *graph, const entry_list *producers, bool *live) {
  entry_list next = {NULL, 0, 0}, reads = {NULL, 0, 0};
  int status = REAP_OK;
  for (size_t i = 0; i < graph->n_output; i++)
    REAP_TRY_OR(need(producers, reap_onnx_text(graph->output[i]->name), live, &next), done);
  while (next.count > 0) {
    const size_t node = next.entries[--next.count].node;
    reads.count = 0;
    REAP_TRY_OR(add_reads(&reads, graph->node[node], node), done);
    for (int64_t i = 0; i < reads.count; i++) REAP_TRY_OR(need(producers, reads.entries[i].name, live, &next), done);
  }
done:
  reap_free(&next.entries);
  reap_free(&reads.entries);
  return status;
}

/* ------------------------------------------------------------------ taking out */

typedef struct reader_lists {
  entry_list live, dead, dead_outputs; /* what nodes of each kind read; sorted */
} reader_lists;

static int list_readers(const ReapOnnx__GraphProto *graph, const bool *live, reader_lists *lists) {
  for (size_t i = 0; i < graph->n_node; i++) {
    const ReapOnnx__NodeProto *node = graph->node[i];
    REAP_TRY(add_reads(live[i] ? &lists->live : &lists->dead, node, i));
    for (size_t k = 0; !live[i] && k < node->n_output; k++)
      REAP_TRY(add_entry(&lists->dead_outputs, node->output[k], i));
  }
  for (size_t i = 0; i < graph->n_output; i++) REAP_TRY(add_entry(&lists->live, graph->output[i]->name, 0));
  sort(&lists->live);
  sort(&lists->dead);
  sort(&lists->dead_outputs);
  return REAP_OK;
}

/* Frees the items of a repeated field whose flag is set, and closes the gaps. */
static void take_out(void *array, size_t *count, const bool *out) {
  ProtobufCMessage **items;
  size_t kept = 0;
  memcpy(&items, array, sizeof items);
  for (size_t i = 0; i < *count; i++)
    if (out[i])
      reap_onnx_free_part(items[i]);
    else
      items[kept++] = items[i];
  *count = kept;
}

/* Initialisers that dead nodes alone read; an IR version 3 file lists them as inputs, too. */
static int drop_initializers(ReapOnnx__GraphProto *graph, const reader_lists *lists) {
  entry_list names = {NULL, 0, 0};
  bool *tensors = NULL, *inputs = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_calloc(&tensors, (int64_t)graph->n_initializer + 1, sizeof *tensors), done);
  REAP_TRY_OR(reap_calloc(&inputs, (int64_t)graph->n_input + 1, sizeof *inputs), done);
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const char *name = graph->initializer[i]->name;
    tensors[i] = has(&lists->dead, name) && !has(&lists->live, name);
    if (tensors[i]) REAP_TRY_OR(add_entry(&names, name, i), done);
  }
  sort(&names);
  for (size_t i = 0; i < graph->n_input; i++) inputs[i] = has(&names, graph->input[i]->name);
  take_out(&graph->input, &graph->n_input, inputs);
  take_out(&graph->initializer, &graph->n_initializer, tensors);
done:
  reap_free(&names.entries);
  reap_free(&tensors);
  reap_free(&inputs);
  return status;
}

static int drop_value_info(ReapOnnx__GraphProto *graph, const reader_lists *lists) {
  bool *out = NULL;
  REAP_TRY(reap_calloc(&out, (int64_t)graph->n_value_info + 1, sizeof *out));
  for (size_t i = 0; i < graph->n_value_info; i++) out[i] = has(&lists->dead_outputs, graph->value_info[i]->name);
  take_out(&graph->value_info, &graph->n_value_info, out);
  reap_free(&out);
  return REAP_OK;
}

/* "Conv /head/conv" or "Conv (node 7)", as messages name nodes. */
static int node_title(const ReapOnnx__NodeProto *node, size_t index, char **out) {
  const char *op = reap_onnx_text(node->op_type), *name = reap_onnx_text(node->name);
  return *name ? reap_format(out, "%s %s", op, name) : reap_format(out, "%s (node %zu)", op, index);
}

static int drop_nodes(reap_source *source, const bool *live) {
  ReapOnnx__GraphProto *graph = source->model->graph;
  size_t kept = 0;
  REAP_TRY(reap_alloc(&source->places, (int64_t)graph->n_node, sizeof *source->places));
  REAP_TRY(reap_calloc(&source->dead, (int64_t)graph->n_node, sizeof *source->dead));
  for (size_t i = 0; i < graph->n_node; i++)
    if (live[i])
      source->places[kept++] = i;
    else
      REAP_TRY(node_title(graph->node[i], i, &source->dead[source->n_dead++]));
  bool *out = NULL;
  REAP_TRY(reap_alloc(&out, (int64_t)graph->n_node + 1, sizeof *out));
  for (size_t i = 0; i < graph->n_node; i++) out[i] = !live[i];
  take_out(&graph->node, &graph->n_node, out);
  reap_free(&out);
  return REAP_OK;
}

static int drop(reap_source *source, const bool *live) {
  ReapOnnx__GraphProto *graph = source->model->graph;
  reader_lists lists = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
  int status = list_readers(graph, live, &lists);
  if (status == REAP_OK) status = drop_initializers(graph, &lists);
  if (status == REAP_OK) status = drop_value_info(graph, &lists);
  reap_free(&lists.live.entries);
  reap_free(&lists.dead.entries);
  reap_free(&lists.dead_outputs.entries); /* the lists borrow names from the nodes */
  return status == REAP_OK ? drop_nodes(source, live) : status;
}

int reap_onnx_drop_dead(reap_source *source) {
  const ReapOnnx__GraphProto *graph = source->model->graph;
  entry_list producers = {NULL, 0, 0};
  bool *live = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_calloc(&live, (int64_t)graph->n_node + 1, sizeof *live), done);
  for (size_t i = 0; i < graph->n_node; i++) {
    const int64_t before = producers.count;
    for (size_t k = 0; k < graph->node[i]->n_output; k++)
      REAP_TRY_OR(add_entry(&producers, graph->node[i]->output[k], i), done);
    live[i] = producers.count == before; /* malformed, for the graph to refuse */
  }
  sort(&producers);
  REAP_TRY_OR(mark_live(graph, &producers, live), done);
  status = drop(source, live);
done:
  reap_free(&producers.entries);
  reap_free(&live);
  return status;
}
