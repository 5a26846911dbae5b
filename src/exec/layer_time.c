/* Timing: a network of one layer, or the one given, run on blocks of random numbers; see layer_time.h.
 *
 * The fastest of at least LEAST_RUNS blocks and LEAST_SECONDS counts: what else the machine does can only add to it.
 * The first block, which finds caches and kernels cold, is not timed.
 */
#include "layer_time.h"

#include <string.h>

#include "base/random.h"
#include "base/timer.h"
#include "model/operators/layer.h"
#include "model/tensor.h"
#include "plan.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { LEAST_RUNS = 5, MOST_RUNS = 200 };
static const double LEAST_SECONDS = 0.01;

/* ------------------------------------------------------------------ a graph of one layer */

static int ints_attribute(const char *name, int count, const int64_t *values, reap_attribute *out) {
  out->kind = REAP_ATTRIBUTE_INTS;
  out->count = count;
  REAP_TRY(reap_strdup(&out->name, name));
  REAP_TRY(reap_alloc(&out->ints, count, sizeof *out->ints));
  memcpy(out->ints, values, (size_t)count * sizeof *values);
  return REAP_OK;
}

static int int_attribute(const char *name, int64_t value, reap_attribute *out) {
  out->kind = REAP_ATTRIBUTE_INT;
  out->i = value;
  return reap_strdup(&out->name, name);
}

/* For windows over the last `axes` of depth, height and width. */
static int convolution_attributes(const reap_window *w, int axes, reap_attribute *a) {
  const int64_t strides[] = {w->stride_z, w->stride_y, w->stride_x},
                dilations[] = {w->dilation_z, w->dilation_y, w->dilation_x},
                before[] = {w->pad_front, w->pad_top, w->pad_left},
                after[] = {w->pad_back, w->pad_bottom, w->pad_right};
  const int first = 3 - axes;
  int64_t pads[6];
  memcpy(pads, before + first, (size_t)axes * sizeof *pads);
  memcpy(pads + axes, after + first, (size_t)axes * sizeof *pads);
  REAP_TRY(ints_attribute("strides", axes, strides + first, &a[0]));
  REAP_TRY(ints_attribute("dilations", axes, dilations + first, &a[1]));
  REAP_TRY(ints_attribute("pads", 2 * axes, pads, &a[2]));
  return int_attribute("group", w->groups, &a[3]);
}

static int random_tensor(int rank, const int64_t *dims, reap_tensor **out) {
  reap_random random = reap_random_init(1, 2, 3);
  REAP_TRY(reap_tensor_create(REAP_F32, rank, dims, out));
  for (int64_t i = 0; i < (*out)->count; i++) (*out)->f32[i] = (float)(reap_random_uniform(&random) - 0.5);
  return REAP_OK;
}

static int add_random(reap_graph *graph, const char *name, int rank, const int64_t *dims) {
  reap_tensor *tensor = NULL;
  REAP_TRY(random_tensor(rank, dims, &tensor));
  return reap_graph_add_constant(graph, name, tensor, NULL);
}

/* Conv, Gemm (rank 2) or MatMul, whichever computes the same. */
static int add_layer(reap_graph *graph, const reap_graph *from, const reap_node *node, int rank, int64_t groups) {
  char *const inputs[] = {"x", "w", "b"}, *const outputs[] = {"y"};
  const bool convolution = reap_is_convolution(node), gemm = !convolution && rank == 2;
  const int count = convolution ? 4 : gemm ? 1 : 0;
  reap_attribute *attributes = NULL;
  reap_window window;
  if (convolution) {
    REAP_TRY(reap_conv_window(from, node, &window));
    window.groups = groups;
  }
  REAP_TRY(reap_calloc(&attributes, count, sizeof *attributes));
  int status = convolution ? convolution_attributes(&window, rank - 2, attributes)
               : gemm      ? int_attribute("transB", 1, attributes)
                           : REAP_OK;
  if (status == REAP_OK)
    return reap_graph_add_node(graph,
                               convolution ? "Conv"
                               : gemm      ? "Gemm"
                                           : "MatMul",
                               "", "layer", 0, !convolution && !gemm ? 2 : 3, inputs, 1, outputs, count, attributes);
  for (int i = 0; i < count; i++) {
    reap_free(&attributes[i].name);
    reap_free(&attributes[i].ints);
  }
  reap_free(&attributes);
  return status;
}

static int build(const reap_graph *from, int index, int64_t inputs, int64_t outputs, int64_t groups, reap_graph **out) {
  const reap_node *node = from->nodes[index];
  const reap_value *x = reap_node_input(from, node, 0);
  const reap_tensor *weights = reap_node_constant(from, node, 1);
  const bool convolution = reap_is_convolution(node), matmul = !convolution && x->rank != 2;
  int64_t dims[REAP_MAX_RANK], shape[REAP_MAX_RANK];
  memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
  memcpy(shape, weights->dims, (size_t)weights->rank * sizeof *shape);
  dims[0] = -1;
  const int axis = reap_linear_axis(from, node);
  dims[axis] = inputs;
  shape[matmul ? 1 : 0] = outputs;
  shape[matmul ? 0 : 1] = inputs / groups;
  REAP_TRY(reap_graph_create(13, out));
  REAP_TRY(reap_graph_add_input(*out, "x", REAP_F32, x->rank, dims, NULL));
  REAP_TRY(add_random(*out, "w", weights->rank, shape));
  REAP_TRY(add_random(*out, "b", 1, &outputs));
  REAP_TRY(add_layer(*out, from, node, x->rank, groups));
  REAP_TRY(reap_graph_add_output(*out, "y"));
  return reap_graph_prepare(*out, from->batch);
}

/* ------------------------------------------------------------------ timing a graph */

typedef struct stage {
  float **storage; /* [n_values] */
  int *nodes;
  bool *kept;
  reap_plan *plan;
} stage;

static void clear(const reap_graph *graph, stage *s) {
  reap_plan_destroy(&s->plan);
  for (int v = 0; s->storage && v < graph->n_values; v++) reap_free(&s->storage[v]);
  reap_free(&s->storage);
  reap_free(&s->nodes);
  reap_free(&s->kept);
}

static int set_up(const reap_graph *graph, reap_backend backend, stage *s) {
  reap_random random = reap_random_init(4, 5, 6);
  REAP_TRY(reap_calloc(&s->storage, graph->n_values, sizeof *s->storage));
  REAP_TRY(reap_alloc(&s->nodes, graph->n_nodes, sizeof *s->nodes));
  REAP_TRY(reap_calloc(&s->kept, graph->n_values, sizeof *s->kept));
  for (int i = 0; i < graph->n_nodes; i++) s->nodes[i] = i;
  for (int i = 0; i < graph->n_inputs + graph->n_outputs; i++) {
    const int v = i < graph->n_inputs ? graph->inputs[i] : graph->outputs[i - graph->n_inputs];
    const int64_t count = reap_value_count(&graph->values[v]);
    if (s->storage[v]) continue;
    REAP_TRY(reap_alloc(&s->storage[v], count, sizeof(float)));
    for (int64_t k = 0; i < graph->n_inputs && k < count; k++)
      s->storage[v][k] = (float)(reap_random_uniform(&random) - 0.5);
    if (i >= graph->n_inputs) s->kept[v] = true;
  }
  return reap_plan_create(graph, s->nodes, graph->n_nodes, s->kept, backend, &s->plan);
}

static int run(stage *s, double *seconds) {
  double total = 0, best = 0;
  REAP_TRY(reap_plan_run(s->plan, s->storage));
  for (int i = 0; i < MOST_RUNS && (i < LEAST_RUNS || total < LEAST_SECONDS); i++) {
    const double start = reap_seconds();
    REAP_TRY(reap_plan_run(s->plan, s->storage));
    const double taken = reap_seconds() - start;
    total += taken;
    if (i == 0 || taken < best) best = taken;
  }
  *seconds = best;
  return REAP_OK;
}

int reap_graph_seconds(const reap_graph *graph, reap_backend backend, double *seconds) {
  stage s = {0};
  int status = set_up(graph, backend, &s);
  if (status == REAP_OK) status = run(&s, seconds);
  *seconds /= (double)graph->batch;
  clear(graph, &s);
  return status;
}

int reap_layer_seconds(const reap_graph *graph, int node, int64_t inputs, int64_t outputs, int64_t groups,
                       reap_backend backend, double *seconds) {
  reap_graph *layer = NULL;
  *seconds = 0;
  int status = build(graph, node, inputs, outputs, groups, &layer);
  if (status == REAP_OK) status = reap_graph_seconds(layer, backend, seconds);
  reap_graph_destroy(&layer);
  return reap_error_prefix(status, "timing %s", graph->nodes[node]->layer);
}
