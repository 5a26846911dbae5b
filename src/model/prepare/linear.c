/* Linear layers: from the file's many forms to one, and batch normalisation folded in.
 *
 * Computation form: y = W x + b with W [m, channels / groups, kh, kw] (Conv) or [m, n] (Gemm, MatMul) and b [m]. Behind
 * a folded batch norm with s = scale / sqrt(var + epsilon) these are W = s * W_file and b = s * (b_file - mean) + bias,
 * formed in float64 and rounded once. Every layer gets a copy of its own, so that pruning one consumer of a shared
 * initialiser leaves the others alone.
 */
#include "linear.h"

#include <math.h>

#include "model/allowance.h"
#include "model/node.h"
#include "model/operators.h"
#include "model/operators/layout.h"
#include "model/operators/rules.h"
#include "owners.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Weights in computation form from the file's: transposed if need be, times Gemm's alpha. */
static int computation_weights(const reap_node *node, const reap_tensor *file, reap_tensor **out) {
  const reap_linear *linear = node->linear;
  REAP_TRY((linear->transposed ? reap_tensor_transpose : reap_tensor_clone)(file, out));
  if (linear->alpha == 1.0f) return REAP_OK;
  REAP_TRY(reap_tensor_own(*out));
  for (int64_t i = 0; i < (*out)->count; i++) (*out)->f32[i] *= linear->alpha;
  return REAP_OK;
}

/* Bias [m] in computation form; the file's may be absent, a vector, [1, m] or a single number. */
static int computation_bias(const reap_node *node, const reap_tensor *file, int64_t m, reap_tensor **out) {
  REAP_TRY(reap_tensor_create(REAP_F32, 1, &m, out));
  if (!file) return REAP_OK;
  bool vector = file->dtype == REAP_F32 && (file->count == m || file->count == 1) &&
                (file->rank == 0 || file->dims[file->rank - 1] == file->count);
  if (!vector) {
    reap_tensor_destroy(out);
    return reap_node_error(node, "its bias is not a constant vector of %lld numbers", (long long)m);
  }
  for (int64_t j = 0; j < m; j++) (*out)->f32[j] = node->linear->beta * file->f32[file->count == 1 ? 0 : j];
  return REAP_OK;
}

/* The Add of a constant vector that alone reads a MatMul's output, or NULL; *slot is the constant's place in it. */
static reap_node *bias_add(const reap_graph *graph, const reap_node *node, int64_t m, int *slot) {
  const reap_value *y = reap_node_output(graph, node, 0);
  if (y->is_output || y->n_readers != 1) return NULL;
  reap_node *add = graph->nodes[y->reader];
  if (add->op->id != REAP_OP_Add) return NULL;
  *slot = add->inputs[0] == node->outputs[0] ? 1 : 0;
  const reap_tensor *t = reap_node_constant(graph, add, *slot);
  bool vector =
      t && t->dtype == REAP_F32 && t->count == m && t->rank >= 1 && t->dims[t->rank - 1] == m && t->rank <= y->rank;
  return vector ? add : NULL;
}

/* Reads the form in the file: which of transposed, alpha, beta and the places of weights and bias hold. */
static int describe(const reap_graph *graph, reap_node *node) {
  REAP_TRY(reap_calloc(&node->linear, 1, sizeof *node->linear));
  reap_linear *linear = node->linear;
  *linear = (reap_linear){
      .weight_node = node->source, .weight_slot = 1, .alpha = 1, .beta = 1, .bias_node = node->source, .bias_slot = 2};
  linear->bias_present = reap_node_input(graph, node, 2) != NULL;
  if (node->op->id == REAP_OP_Gemm) {
    linear->transposed = !reap_node_int(node, "transB", 0);
    linear->alpha = reap_node_float(node, "alpha", 1);
    linear->beta = reap_node_float(node, "beta", 1);
    if (linear->alpha == 0 || !isfinite(linear->alpha) || !isfinite(linear->beta))
      return reap_node_error(node, "alpha = %g and beta = %g are not supported", (double)linear->alpha,
                             (double)linear->beta);
    if (linear->beta == 0) { /* the file's bias counts for nothing, and none put there would */
      const reap_tensor *idle = reap_node_constant(graph, node, 2);
      linear->idle_bias = idle ? idle->count : 0;
      linear->bias_present = false;
      linear->bias_needs_add = true;
      linear->beta = 1;
    }
  } else if (node->op->id == REAP_OP_MatMul) {
    linear->transposed = true;
    linear->bias_needs_add = true;
  }
  return REAP_OK;
}

static int collect_one(reap_graph *graph, reap_node *node) {
  const reap_tensor *file = reap_node_constant(graph, node, 1);
  if (!file || file->dtype != REAP_F32) return reap_node_error(node, "its weights are not constant float32 numbers");
  if (reap_node_constant(graph, node, 0)) return reap_node_error(node, "its input does not depend on the images");
  if (reap_node_input(graph, node, 2) && !reap_node_constant(graph, node, 2))
    return reap_node_error(node, "its bias is not constant");
  REAP_TRY(describe(graph, node));
  reap_tensor *weights = NULL, *bias = NULL;
  REAP_TRY(reap_graph_charge(graph, node, reap_tensor_bytes(file)));
  int status = computation_weights(node, file, &weights);
  if (status != REAP_OK) reap_tensor_destroy(&weights);
  REAP_TRY(status);
  const int64_t m = weights->dims[0];
  const reap_tensor *file_bias = node->linear->bias_present ? reap_node_constant(graph, node, 2) : NULL;
  node->linear->precision = file->precision;
  int slot = 0;
  reap_node *add = node->linear->bias_needs_add ? bias_add(graph, node, m, &slot) : NULL;
  if (add) {
    file_bias = reap_node_constant(graph, add, slot);
    node->linear->bias_needs_add = false;
    node->linear->bias_present = true;
    node->linear->bias_node = add->source;
    node->linear->bias_slot = slot;
    node->outputs[0] = add->outputs[0];
    add->outputs[0] = -1; /* absorbed: nothing reads it any more */
  }
  node->linear->bias_precision = (file_bias ? file_bias : file)->precision;
  status = reap_graph_charge(graph, node, m * (int64_t)sizeof(float));
  if (status == REAP_OK) status = computation_bias(node, file_bias, m, &bias);
  if (status == REAP_OK) status = reap_grow(&node->inputs, node->n_inputs, 3, sizeof *node->inputs);
  if (status != REAP_OK) {
    reap_tensor_destroy(&weights);
    reap_tensor_destroy(&bias);
    return status;
  }
  node->n_inputs = 3;
  status = reap_graph_own_input(graph, node, 1, "weights", weights);
  if (status == REAP_OK) return reap_graph_own_input(graph, node, 2, "bias", bias);
  reap_tensor_destroy(&bias);
  return status;
}

int reap_linear_collect(reap_graph *graph) {
  reap_graph_note_readers(graph);
  for (int i = 0; i < graph->n_nodes; i++)
    if (reap_multiplies_weights(graph, graph->nodes[i])) REAP_TRY(collect_one(graph, graph->nodes[i]));
  return REAP_OK;
}

static int norm_from_node(const reap_graph *graph, const reap_node *node, reap_norm **out) {
  const reap_tensor *t[4];
  for (int i = 0; i < 4; i++) t[i] = reap_node_constant(graph, node, i + 1);
  reap_norm view = {.source = node->source,
                    .channels = t[0]->count,
                    .epsilon = reap_node_float(node, "epsilon", 1e-5f),
                    .scale = t[0]->f32,
                    .bias = t[1]->f32,
                    .mean = t[2]->f32,
                    .var = t[3]->f32};
  for (int64_t j = 0; j < view.channels; j++)
    if (!isfinite(view.scale[j]) || !isfinite(view.bias[j]) || !isfinite(view.mean[j]) || !isfinite(view.var[j]))
      return reap_node_error(node, "its parameters hold a NaN or an infinity (channel %lld)", (long long)j);
  for (int64_t j = 0; j < view.channels; j++)
    if (!(view.var[j] + view.epsilon > 0))
      return reap_node_error(node, "channel %lld has a variance that is not positive", (long long)j);
  return reap_norm_clone(&view, out);
}

static int fold_norm(reap_graph *graph, reap_node *node, reap_node *norm_node) {
  reap_linear *linear = node->linear;
  REAP_TRY(norm_from_node(graph, norm_node, &linear->norm));
  const reap_tensor *weights = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2);
  linear->bias_precision = reap_node_constant(graph, norm_node, 2)->precision;
  linear->n_raw = weights->count;
  REAP_TRY(reap_graph_charge(graph, node, reap_tensor_bytes(weights)));
  linear->raw_weights = reap_share(weights->f32);
  REAP_TRY(reap_copy_floats(&linear->raw_bias, bias->f32, bias->count));
  node->outputs[0] = norm_node->outputs[0];
  norm_node->outputs[0] = -1;
  return reap_linear_refresh(graph, node);
}

/* A batch norm can be part of the layer only if the layer's outputs lie along its axis, which those of a MatMul on more
 * than two axes do not. */
static bool scales_outputs(const reap_graph *graph, const reap_node *node, const reap_node *norm) {
  const int64_t m = reap_node_constant(graph, node, 1)->dims[0];
  bool fits = reap_channel_axis(reap_node_output(graph, node, 0)) == REAP_NORM_AXIS;
  for (int slot = 1; slot < 5; slot++) fits = fits && reap_node_constant(graph, norm, slot)->count == m;
  return fits;
}

static int fold_norm_behind(reap_graph *graph, reap_node *node) {
  if (!node->linear) return REAP_OK;
  const reap_value *y = reap_node_output(graph, node, 0);
  if (y->is_output || y->n_readers != 1) return REAP_OK;
  reap_node *norm = graph->nodes[y->reader];
  if (norm->op->id != REAP_OP_BatchNormalization || !scales_outputs(graph, node, norm)) return REAP_OK;
  return fold_norm(graph, node, norm);
}

int reap_linear_fold_norms(reap_graph *graph) {
  reap_graph_note_readers(graph);
  for (int i = 0; i < graph->n_nodes; i++) REAP_TRY(fold_norm_behind(graph, graph->nodes[i]));
  return REAP_OK;
}

int reap_linear_own(reap_graph *graph, reap_node *node) {
  REAP_TRY(reap_tensor_own(graph->values[node->inputs[1]].constant));
  REAP_TRY(reap_tensor_own(graph->values[node->inputs[2]].constant));
  return reap_own(&node->linear->raw_weights, node->linear->n_raw, sizeof *node->linear->raw_weights);
}

double reap_norm_factor(const reap_norm *norm, int64_t j) {
  return (double)norm->scale[j] / sqrt((double)norm->var[j] + (double)norm->epsilon);
}

int reap_linear_refresh(reap_graph *graph, reap_node *node) {
  reap_linear *linear = node->linear;
  if (!linear->norm) return REAP_OK;
  reap_tensor *weights = graph->values[node->inputs[1]].constant, *bias = graph->values[node->inputs[2]].constant;
  REAP_TRY(reap_tensor_own(weights));
  REAP_TRY(reap_tensor_own(bias));
  const int64_t m = bias->count, n = m > 0 ? weights->count / m : 0;
  for (int64_t j = 0; j < m; j++) {
    double s = reap_norm_factor(linear->norm, j);
    for (int64_t i = 0; i < n; i++) weights->f32[j * n + i] = (float)(s * (double)linear->raw_weights[j * n + i]);
    bias->f32[j] =
        (float)(s * ((double)linear->raw_bias[j] - (double)linear->norm->mean[j]) + (double)linear->norm->bias[j]);
  }
  return REAP_OK;
}
