/* Resize and Upsample: modes by name, scales and sizes by axis; see resizing.h.
 *
 * Sizes follow from scales, and scales from sizes, in float32: runtimes do so, and a place that is rounded to a
 * neighbour shows the last digit.
 */
#include "resizing.h"

#include <math.h>
#include <string.h>

#include "model/operators.h"
#include "reap/error.h"
#include "rules.h"

static const int64_t LARGEST = (int64_t)1 << 31; /* along an axis */

/* Index of a text attribute among `names`, NULL at the end. */
static int choose(const reap_node *node, const char *attribute, const char *fallback, const char *const *names,
                  int *out) {
  const char *name = reap_node_string(node, attribute, fallback);
  for (*out = 0; names[*out]; ++*out)
    if (strcmp(name, names[*out]) == 0) return REAP_OK;
  return reap_node_error(node, "%s = %s is not supported", attribute, name);
}

static int read_modes(const reap_graph *graph, const reap_node *node, reap_resize *r) {
  static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
  static const char *const places[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
      NULL};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
  int mode, place, rounding;
  const bool old = node->op->id == REAP_OP_Upsample || graph->opset < 11;
  REAP_TRY(choose(node, "mode", "nearest", modes, &mode));
  REAP_TRY(choose(node, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel", places, &place));
  REAP_TRY(choose(node, "nearest_mode", "round_prefer_floor", roundings, &rounding));
  const char *policy = reap_node_string(node, "keep_aspect_ratio_policy", "stretch");
  if (strcmp(policy, "stretch") != 0)
    return reap_node_error(node, "keep_aspect_ratio_policy = %s is not supported", policy);
  r->mode = (reap_resize_mode)mode;
  r->place = (reap_resize_place)place;
  r->rounding = old ? REAP_ROUND_SIMPLE : (reap_resize_rounding)rounding;
  r->cubic_a = reap_node_float(node, "cubic_coeff_a", -0.75f);
  r->exclude_outside = reap_node_int(node, "exclude_outside", 0) != 0;
  return REAP_OK;
}

/* Input `slot` as long as there is one that is not empty. */
static int listed(const reap_graph *graph, const reap_node *node, int slot, reap_dtype dtype,
                  const reap_tensor **list) {
  const reap_value *v = reap_node_input(graph, node, slot);
  *list = v ? v->constant : NULL;
  if (v && (!v->constant || v->constant->dtype != dtype || v->constant->rank > 1))
    return reap_node_error(
        node, "its input \"%s\" is not a constant list; export the network with fixed sizes, or simplify it", v->name);
  if (*list && (*list)->count == 0) *list = NULL;
  return REAP_OK;
}

/* The numbers belong to axes[0 .. n-1]. */
static int read_axes(const reap_graph *graph, const reap_node *node, int rank, int axes[REAP_MAX_RANK], int *n) {
  const reap_attribute *a = reap_node_attribute(node, "axes");
  unsigned seen = 0;
  *n = rank;
  for (int i = 0; i < rank; i++) axes[i] = i;
  if (!a || graph->opset < 18) return REAP_OK;
  if (a->kind != REAP_ATTRIBUTE_INTS || a->count > rank)
    return reap_node_error(node, "its axes are not a list of axes");
  *n = (int)a->count;
  for (int i = 0; i < *n; i++) {
    REAP_TRY(reap_node_axis(node, a->ints[i], rank, &axes[i]));
    if (seen & 1u << axes[i]) return reap_node_error(node, "axis %d is named twice", axes[i]);
    seen |= 1u << axes[i];
  }
  return REAP_OK;
}

static int set_axis(const reap_node *node, reap_resize *r, int axis, float scale, int64_t size) {
  const bool by_scale = size < 0;
  const float length = scale * (float)r->in[axis];
  if (by_scale ? !(scale > 0 && length < (float)LARGEST) : size < 1 || size > LARGEST)
    return reap_node_error(node, by_scale ? "its scales are out of range" : "its sizes are out of range");
  r->out[axis] = by_scale ? (int64_t)length : size;
  if (by_scale && r->place == REAP_ALIGN_CORNERS && (float)r->out[axis] != length)
    return reap_node_error(node,
                           "its corners are aligned to %g pixels, which runtimes round differently; export it "
                           "with sizes in place of scales",
                           (double)length);
  r->scale[axis] = by_scale ? scale : (float)size / (float)r->in[axis];
  if (r->out[axis] < 1) return reap_node_error(node, "its output is empty");
  return REAP_OK;
}

static int read_scale(const reap_node *node, const reap_tensor *scales, const reap_attribute *attribute, int64_t count,
                      const int *axes, int n, reap_resize *r) {
  if (count != n) return reap_node_error(node, "has %lld scales for %d axes", (long long)count, n);
  for (int i = 0; i < n; i++) REAP_TRY(set_axis(node, r, axes[i], scales ? scales->f32[i] : attribute->floats[i], -1));
  return REAP_OK;
}

/* Scales are input 1 or an attribute of older opsets, later input 2; sizes are input 3. */
static int read_sizes(const reap_graph *graph, const reap_node *node, reap_resize *r) {
  const bool old = node->op->id == REAP_OP_Upsample || graph->opset < 11;
  const reap_attribute *attribute = old && graph->opset < 9 ? reap_node_attribute(node, "scales") : NULL;
  const reap_tensor *scales, *sizes = NULL;
  int axes[REAP_MAX_RANK], n;
  REAP_TRY(listed(graph, node, old ? 1 : 2, REAP_F32, &scales));
  if (!old) REAP_TRY(listed(graph, node, 3, REAP_I64, &sizes));
  REAP_TRY(read_axes(graph, node, r->rank, axes, &n));
  if (scales) return read_scale(node, scales, NULL, scales->count, axes, n, r);
  if (attribute && attribute->kind == REAP_ATTRIBUTE_FLOATS)
    return read_scale(node, NULL, attribute, attribute->count, axes, n, r);
  if (!sizes || sizes->count != n) return reap_node_error(node, "has neither scales nor %d sizes", n);
  for (int i = 0; i < n; i++) REAP_TRY(set_axis(node, r, axes[i], 0, sizes->i64[i]));
  return REAP_OK;
}

int reap_resize_resolve(const reap_graph *graph, const reap_node *node, reap_resize *r) {
  const reap_value *x = reap_node_input(graph, node, 0);
  r->rank = x->rank;
  for (int i = 0; i < x->rank; i++) {
    r->in[i] = r->out[i] = x->dims[i];
    r->scale[i] = 1;
    if (x->dims[i] < 1 || x->dims[i] > LARGEST) return reap_node_error(node, "its input is empty or too large");
  }
  REAP_TRY(read_modes(graph, node, r));
  REAP_TRY(read_sizes(graph, node, r));
  for (int i = 0; i < x->rank; i++)
    if (r->scale[i] < 1 && r->mode != REAP_RESIZE_NEAREST && reap_node_int(node, "antialias", 0))
      return reap_node_error(node, "antialias is not supported where the image gets smaller");
  return REAP_OK;
}

int reap_shape_resize(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_resize r;
  REAP_TRY(reap_resize_resolve(graph, node, &r));
  return reap_set_shape(graph, node, 0, x->dtype, r.rank, r.out);
}
