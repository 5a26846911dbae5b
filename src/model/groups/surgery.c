/* Cuts channels, sets weights and lists the edits of the file; see surgery.h.
 *
 * A layer's weights are an array [m, c, taps] (taps = 1 for a matrix): a cut keeps some rows and some of the c columns.
 * Behind a folded batch norm the file's own weights (raw) are cut as they are, so that a layer that is only cut is
 * written back bit for bit; re-solved weights are divided by the norm's factor, and the computation's weights
 * follow from the rounded result, so that what is evaluated is what is written.
 */
#include "surgery.h"

#include <math.h>
#include <string.h>

#include "cut_node.h"
#include "model/half.h"
#include "model/operators.h"
#include "model/operators/layout.h"
#include "model/prepare/batch_sizes.h"
#include "model/prepare/linear.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ---- cutting */

/* Keeps entries[count] along `axis` of a plain array of the given shape. */
static void cut_floats(float *values, int rank, const int64_t *dims, int axis, int64_t count, const int64_t *entries) {
  reap_tensor view = {.dtype = REAP_F32, .rank = rank, .f32 = values};
  memcpy(view.dims, dims, (size_t)rank * sizeof *dims);
  reap_cut_tensor(&view, axis, count, entries);
}

/* Rows (outputs) or columns (inputs) of a linear layer. */
static void cut_linear(reap_graph *graph, reap_node *node, int axis, int64_t count, const int64_t *entries) {
  reap_linear *linear = node->linear;
  reap_tensor *weights = graph->values[node->inputs[1]].constant, *bias = graph->values[node->inputs[2]].constant;
  linear->changed = true;
  if (linear->norm) cut_floats(linear->raw_weights, weights->rank, weights->dims, axis, count, entries);
  if (axis == 0 && linear->norm) {
    reap_norm *norm = linear->norm;
    float *lists[] = {norm->scale, norm->bias, norm->mean, norm->var, linear->raw_bias};
    for (int i = 0; i < 5; i++) cut_floats(lists[i], 1, &norm->channels, 0, count, entries);
    norm->channels = count;
  }
  reap_cut_tensor(weights, axis, count, entries);
  if (axis == 0) reap_cut_tensor(bias, 0, count, entries);
  linear->n_raw = linear->norm ? weights->count : 0;
}

/* Of entries[count] in parts of `size` those in the first part that has any come first, counted from where it starts;
 * *parts: how many have any. Returns their number. */
static int64_t first_part(int64_t size, int64_t count, int64_t *entries, int64_t *parts) {
  int64_t first = 0;
  *parts = 0;
  for (int64_t k = 0; k < count; k++) {
    *parts += k == 0 || entries[k] / size != entries[k - 1] / size;
    if (*parts == 1) first++;
  }
  for (int64_t k = 0, start = entries[0] / size * size; k < first; k++) entries[k] -= start;
  return first;
}

/* A grouped convolution loses groups, or as many inputs or outputs of each. */
static void cut_layer(reap_graph *graph, const reap_member *member, int64_t count, int64_t *entries) {
  reap_node *node = graph->nodes[member->node];
  const int64_t groups = reap_node_int(node, "group", 1), parts = groups > 0 ? groups : 1,
                size = graph->values[member->value].dims[member->axis] / parts;
  const bool outputs = member->role == REAP_PRODUCES;
  int64_t left = parts;
  if (outputs) cut_linear(graph, node, 0, count, entries);
  const int64_t first = groups > 1 ? first_part(size, count, entries, &left) : count;
  if (!outputs) cut_linear(graph, node, 1, first, entries);
  if (outputs && groups > 1) reap_cut_attribute(node, "group", left);
}

/* What is cut in place is no other graph's. */
static int own_constants(reap_graph *graph, reap_node *node) {
  for (int slot = 0; slot < node->n_inputs; slot++) {
    reap_value *v = reap_node_input(graph, node, slot);
    if (v && v->constant && v->constant->dtype == REAP_F32) REAP_TRY(reap_tensor_own(v->constant));
  }
  return node->linear ? reap_linear_own(graph, node) : REAP_OK;
}

static int cut_members(reap_graph *graph, const reap_groups *groups, int index, const bool *keep) {
  const reap_group *group = reap_groups_at(groups, index);
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    int64_t *entries = NULL;
    REAP_TRY(own_constants(graph, graph->nodes[member->node]));
    REAP_TRY(reap_alloc(&entries, graph->values[member->value].dims[member->axis], sizeof *entries));
    const int64_t count = reap_groups_entries(groups, member->value, index, keep, entries);
    int status = REAP_OK;
    if (graph->nodes[member->node]->linear)
      cut_layer(graph, member, count, entries);
    else
      status = reap_cut_node(graph, groups, member, index, keep, count, entries);
    reap_free(&entries);
    REAP_TRY(status);
  }
  return REAP_OK;
}

/* What stands in the group's members is as long as the weights now are. */
static int infer_members(reap_graph *graph, const reap_group *group) {
  for (int k = 0, last = -1; k < group->n_members; last = group->members[k++].node)
    if (group->members[k].node != last) REAP_TRY(reap_graph_infer_node(graph, group->members[k].node));
  return REAP_OK;
}

/* The file computes into how many parts an axis goes, heads say. */
static bool parts_by_computed_sizes(const reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (node->op->id != REAP_OP_Reshape || !reap_node_input(graph, node, 1)->measured) continue;
    if (reap_node_output(graph, node, 0)->rank > reap_node_input(graph, node, 0)->rank) return true;
  }
  return false;
}

/* What the file computes from shapes may follow from the width of a stream that was cut: it is written as numbers. */
static void fix_sizes(reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++)
    for (int slot = 0; slot < graph->nodes[i]->n_inputs; slot++)
      if (reap_is_computed_size(graph, graph->nodes[i], slot) && reap_batch_is_free(graph, graph->nodes[i], slot))
        graph->nodes[i]->cut |= 1u << slot;
}

int reap_surgery_cut(reap_graph *graph, reap_groups *groups, int group, int64_t n_kept, const int64_t *kept) {
  const int64_t units = reap_groups_at(groups, group)->units;
  bool *keep = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&keep, units, sizeof *keep));
  for (int64_t k = 0; k < n_kept; k++) {
    if (kept[k] < 0 || kept[k] >= units || (k > 0 && kept[k] <= kept[k - 1])) {
      status = reap_error(REAP_ERR_INTERNAL, "group %s: units to keep are not ascending or out of range",
                          reap_groups_at(groups, group)->name);
      goto done;
    }
    keep[kept[k]] = true;
  }
  REAP_TRY_OR(cut_members(graph, groups, group, keep), done);
  if (!reap_groups_at(groups, group)->prunable && parts_by_computed_sizes(graph)) fix_sizes(graph);
  REAP_TRY_OR(reap_groups_shrink(groups, group, keep), done);
  status = infer_members(graph, reap_groups_at(groups, group));
done:
  reap_free(&keep);
  return status;
}

/* ---- weights */

/* Factor of output j that the file's weights are divided by; a scale of zero (or too small to divide by) is
 * replaced by one first. */
static double usable_factor(reap_norm *norm, int64_t j) {
  double factor = reap_norm_factor(norm, j);
  if (fabs(factor) < 1e-20) {
    norm->scale[j] = 1;
    factor = reap_norm_factor(norm, j);
  }
  return factor;
}

static int too_large(const reap_node *node, reap_precision precision) {
  return reap_error(REAP_ERR_NUMERIC, "layer %s: a re-solved weight does not fit %s; raise the ridge", node->layer,
                    reap_precision_name(precision));
}

/* The weight as it comes back from the file, which holds it in its own type and without Gemm's factor. */
static float as_stored(double value, reap_precision precision, float factor) {
  if (precision == REAP_FLOAT32) return (float)value;
  return reap_round_to((float)(value / (double)factor), precision) * factor;
}

int reap_surgery_set_weights(reap_graph *graph, int index, const double *weights, const double *bias) {
  reap_node *node = graph->nodes[index];
  reap_linear *linear = node->linear;
  reap_tensor *w = graph->values[node->inputs[1]].constant, *b = graph->values[node->inputs[2]].constant;
  const int64_t m = w->dims[0], n = w->count / m;
  REAP_TRY(reap_linear_own(graph, node));
  float *target = linear->norm ? linear->raw_weights : w->f32;
  for (int64_t j = 0; j < m; j++) {
    double factor = linear->norm ? usable_factor(linear->norm, j) : 1;
    for (int64_t i = 0; i < n; i++) {
      float value = as_stored(weights[i * m + j] / factor, linear->precision, linear->alpha);
      if (!isfinite(value)) return too_large(node, linear->precision);
      target[j * n + i] = value;
    }
    float *file_bias = linear->norm ? linear->norm->bias : b->f32;
    double shift = linear->norm ? factor * ((double)linear->raw_bias[j] - (double)linear->norm->mean[j]) : 0;
    file_bias[j] = as_stored(bias[j] - shift, linear->bias_precision, linear->norm ? 1 : linear->beta);
    if (!isfinite(file_bias[j])) return too_large(node, linear->bias_precision);
  }
  linear->changed = true;
  if (!linear->norm) linear->bias_present = true;
  return reap_linear_refresh(graph, node);
}

/* [m, channels, columns], of which kept channels only. */
static void copy_columns(float *to, const float *from, int64_t m, int64_t channels, int64_t columns, int64_t n_kept,
                         const int64_t *kept) {
  for (int64_t j = 0; j < m; j++)
    for (int64_t k = 0; k < n_kept; k++, to += columns)
      memcpy(to, from + (j * channels + kept[k]) * columns, (size_t)columns * sizeof *to);
}

int reap_surgery_copy_weights(reap_graph *graph, int index, const reap_graph *from, int from_index, int64_t channels,
                              int64_t n_kept, const int64_t *kept) {
  const reap_node *old_node = from->nodes[from_index];
  const reap_tensor *old_w = reap_node_constant(from, old_node, 1), *old_b = reap_node_constant(from, old_node, 2);
  reap_node *node = graph->nodes[index];
  reap_linear *linear = node->linear;
  const reap_linear *old = old_node->linear;
  reap_tensor *w = graph->values[node->inputs[1]].constant, *b = graph->values[node->inputs[2]].constant;
  const int64_t m = old_w->dims[0], columns = old_w->count / m / channels;
  if (w->dims[0] != m || w->count != m * n_kept * columns || !linear->norm != !old->norm)
    return reap_error(REAP_ERR_INTERNAL, "layer %s: weights to copy have another shape", node->layer);
  REAP_TRY(reap_linear_own(graph, node));
  copy_columns(w->f32, old_w->f32, m, channels, columns, n_kept, kept);
  memcpy(b->f32, old_b->f32, (size_t)m * sizeof *b->f32);
  linear->bias_present = old->bias_present;
  if (!linear->norm) return REAP_OK;
  copy_columns(linear->raw_weights, old->raw_weights, m, channels, columns, n_kept, kept);
  memcpy(linear->norm->scale, old->norm->scale, (size_t)m * sizeof *old->norm->scale);
  memcpy(linear->norm->bias, old->norm->bias, (size_t)m * sizeof *old->norm->bias);
  return REAP_OK;
}

void reap_surgery_get_weights(const reap_graph *graph, int index, double *weights, double *bias) {
  const reap_node *node = graph->nodes[index];
  const reap_tensor *w = reap_node_constant(graph, node, 1), *b = reap_node_constant(graph, node, 2);
  const int64_t m = w->dims[0], n = w->count / m;
  for (int64_t j = 0; j < m; j++) {
    for (int64_t i = 0; i < n; i++) weights[i * m + j] = (double)w->f32[j * n + i];
    bias[j] = (double)b->f32[j];
  }
}

/* ---- edits of the file */

static int vector_edit(reap_edits *edits, reap_edit_kind kind, int node, int slot, const float *values, int64_t count,
                       float divisor) {
  reap_tensor *t = NULL;
  REAP_TRY(reap_tensor_create(REAP_F32, 1, &count, &t));
  for (int64_t j = 0; j < count; j++) t->f32[j] = values[j] / divisor;
  return reap_edits_add(edits, kind, node, slot, t);
}

/* The weights as the file has them: before the norm, transposed back, Gemm's alpha taken out. */
static int weight_edit(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  const reap_linear *linear = node->linear;
  const reap_tensor *w = reap_node_constant(graph, node, 1);
  reap_tensor *t = NULL;
  reap_tensor view = *w;
  if (linear->norm) view.f32 = linear->raw_weights;
  REAP_TRY((linear->transposed ? reap_tensor_transpose : reap_tensor_clone)(&view, &t));
  if (linear->alpha != 1.0f) {
    const int status = reap_tensor_own(t);
    if (status != REAP_OK) reap_tensor_destroy(&t);
    REAP_TRY(status);
    for (int64_t i = 0; i < t->count; i++) t->f32[i] /= linear->alpha;
  }
  return reap_edits_add(edits, REAP_EDIT_INPUT, linear->weight_node, linear->weight_slot, t);
}

/* A bias that counts for nothing still has to be as long as the outputs that are left. */
static int idle_bias_edit(const reap_node *node, int64_t m, reap_edits *edits) {
  reap_tensor *t = NULL;
  if (node->linear->idle_bias <= 1 || node->linear->idle_bias == m) return REAP_OK;
  REAP_TRY(reap_tensor_create(REAP_F32, 1, &m, &t));
  return reap_edits_add(edits, REAP_EDIT_INPUT, node->source, 2, t);
}

static int linear_edits(const reap_graph *graph, const reap_node *node, reap_edits *edits) {
  const reap_linear *linear = node->linear;
  const reap_tensor *b = reap_node_constant(graph, node, 2);
  REAP_TRY(weight_edit(graph, node, edits));
  REAP_TRY(idle_bias_edit(node, b->count, edits));
  if (linear->bias_present) {
    reap_edit_kind kind = linear->bias_needs_add ? REAP_EDIT_ADD : REAP_EDIT_INPUT;
    const float *values = linear->norm ? linear->raw_bias : b->f32;
    REAP_TRY(vector_edit(edits, kind, linear->bias_node, linear->bias_slot, values, b->count, linear->beta));
  }
  const reap_norm *norm = linear->norm;
  if (!norm) return REAP_OK;
  const float *lists[] = {norm->scale, norm->bias, norm->mean, norm->var};
  for (int k = 0; k < 4; k++)
    REAP_TRY(vector_edit(edits, REAP_EDIT_INPUT, norm->source, 1 + k, lists[k], norm->channels, 1));
  return REAP_OK;
}

int reap_surgery_edits(const reap_graph *graph, reap_edits *edits) {
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (node->linear && node->linear->changed) REAP_TRY(linear_edits(graph, node, edits));
    REAP_TRY(reap_cut_node_edits(graph, node, edits));
  }
  return REAP_OK;
}
