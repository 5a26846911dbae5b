/* Windows of convolutions and poolings from attributes and shapes; see geometry.h. */
#include "geometry.h"

#include <stdbool.h>
#include <string.h>

#include "reap/error.h"
#include "rules.h"

/* Sizes beyond this cannot be images, and keep all sums below far from overflow. */
static const int64_t LARGEST = (int64_t)1 << 31;

/* Two integers from a list attribute of the given length, checked to lie in [least, LARGEST]. */
static int pair(const reap_node *node, const char *name, int64_t fallback, int64_t least, int64_t *y, int64_t *x) {
  *y = *x = fallback;
  const reap_attribute *a = reap_node_attribute(node, name);
  if (!a) return REAP_OK;
  if (a->kind != REAP_ATTRIBUTE_INTS || a->count != 2)
    return reap_node_error(node, "%s does not have two entries; only two-dimensional windows are supported", name);
  *y = a->ints[0];
  *x = a->ints[1];
  if (*y < least || *x < least || *y > LARGEST || *x > LARGEST)
    return reap_node_error(node, "%s = [%lld, %lld] is out of range", name, (long long)*y, (long long)*x);
  return REAP_OK;
}

static int64_t extent(int64_t kernel, int64_t dilation) { return (kernel - 1) * dilation + 1; }

/* auto_pad: as much padding as makes the output ceil(input / stride), the odd one behind or in front. */
static void same_padding(int64_t size, int64_t kernel, int64_t dilation, int64_t stride, bool upper, int64_t *before,
                         int64_t *after) {
  int64_t out = (size + stride - 1) / stride;
  int64_t total = (out - 1) * stride + extent(kernel, dilation) - size;
  if (total < 0) total = 0;
  *before = upper ? total / 2 : total - total / 2;
  *after = total - *before;
}

static int paddings(const reap_node *node, reap_window *w) {
  const char *automatic = reap_node_string(node, "auto_pad", "NOTSET");
  if (strcmp(automatic, "SAME_UPPER") == 0 || strcmp(automatic, "SAME_LOWER") == 0) {
    bool upper = strcmp(automatic, "SAME_UPPER") == 0;
    same_padding(w->height, w->kernel_y, w->dilation_y, w->stride_y, upper, &w->pad_top, &w->pad_bottom);
    same_padding(w->width, w->kernel_x, w->dilation_x, w->stride_x, upper, &w->pad_left, &w->pad_right);
    return REAP_OK;
  }
  if (strcmp(automatic, "VALID") == 0) return REAP_OK;
  if (strcmp(automatic, "NOTSET") != 0) return reap_node_error(node, "auto_pad = %s is not known", automatic);
  const reap_attribute *pads = reap_node_attribute(node, "pads");
  if (!pads) return REAP_OK;
  if (pads->kind != REAP_ATTRIBUTE_INTS || pads->count != 4)
    return reap_node_error(node, "pads does not have four entries; only two-dimensional windows are supported");
  for (int i = 0; i < 4; i++)
    if (pads->ints[i] < 0 || pads->ints[i] > LARGEST)
      return reap_node_error(node, "pads has the entry %lld, which is out of range", (long long)pads->ints[i]);
  w->pad_top = pads->ints[0];
  w->pad_left = pads->ints[1];
  w->pad_bottom = pads->ints[2];
  w->pad_right = pads->ints[3];
  return REAP_OK;
}

/* Output size along one axis; with `ceil`, the last window may reach past the padding behind the image, if by less than
 * a stride, but has to start in front of it. This includes a first window that is larger than the padded image. */
static int64_t out_size(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation, int64_t stride,
                        bool ceil) {
  int64_t room = size + before + after - extent(kernel, dilation) + (ceil ? stride - 1 : 0);
  if (room < 0) return 0;
  int64_t out = room / stride + 1;
  if (ceil && (out - 1) * stride >= size + before) out--;
  return out;
}

static int common(const reap_graph *graph, const reap_node *node, reap_window *w) {
  const reap_value *x = reap_node_input(graph, node, 0);
  if (x->rank != 4)
    return reap_node_error(node, "its input has rank %d; only images [batch, channels, height, width] are supported",
                           x->rank);
  w->batch = x->dims[0];
  w->channels = x->dims[1];
  w->height = x->dims[2];
  w->width = x->dims[3];
  w->groups = 1;
  if (w->height > LARGEST || w->width > LARGEST || w->height < 1 || w->width < 1)
    return reap_node_error(node, "its input is empty or too large");
  REAP_TRY(pair(node, "strides", 1, 1, &w->stride_y, &w->stride_x));
  return pair(node, "dilations", 1, 1, &w->dilation_y, &w->dilation_x);
}

static int finish(const reap_node *node, reap_window *w, bool ceil) {
  if (w->kernel_y < 1 || w->kernel_x < 1) return reap_node_error(node, "its kernel is empty");
  if (w->kernel_y > LARGEST / w->dilation_y || w->kernel_x > LARGEST / w->dilation_x)
    return reap_node_error(node, "kernel times dilation is out of range");
  REAP_TRY(paddings(node, w));
  w->out_height = out_size(w->height, w->pad_top, w->pad_bottom, w->kernel_y, w->dilation_y, w->stride_y, ceil);
  w->out_width = out_size(w->width, w->pad_left, w->pad_right, w->kernel_x, w->dilation_x, w->stride_x, ceil);
  if (w->out_height < 1 || w->out_width < 1)
    return reap_node_error(node, "the window does not fit into the image (%lld x %lld)", (long long)w->height,
                           (long long)w->width);
  return REAP_OK;
}

int reap_conv_window(const reap_graph *graph, const reap_node *node, reap_window *w) {
  memset(w, 0, sizeof *w);
  REAP_TRY(common(graph, node, w));
  const reap_value *weights = reap_node_input(graph, node, 1);
  if (!weights || weights->rank != 4)
    return reap_node_error(node, "its weights do not have the rank 4 of a two-dimensional convolution");
  w->outputs = weights->dims[0];
  w->kernel_y = weights->dims[2];
  w->kernel_x = weights->dims[3];
  w->groups = reap_node_int(node, "group", 1);
  if (w->outputs < 1 || w->channels < 1) return reap_node_error(node, "it has no channels");
  if (w->groups < 1 || w->channels % w->groups != 0 || w->outputs % w->groups != 0)
    return reap_node_error(node, "group = %lld does not divide %lld channels and %lld outputs", (long long)w->groups,
                           (long long)w->channels, (long long)w->outputs);
  if (weights->dims[1] != w->channels / w->groups)
    return reap_node_error(node, "its weights are for %lld channels, its input has %lld (group = %lld)",
                           (long long)weights->dims[1], (long long)w->channels, (long long)w->groups);
  int64_t ky, kx;
  REAP_TRY(pair(node, "kernel_shape", 0, 1, &ky, &kx));
  if (ky && (ky != w->kernel_y || kx != w->kernel_x))
    return reap_node_error(node, "kernel_shape differs from its weights");
  return finish(node, w, false);
}

int reap_pool_window(const reap_graph *graph, const reap_node *node, reap_window *w) {
  memset(w, 0, sizeof *w);
  REAP_TRY(common(graph, node, w));
  REAP_TRY(pair(node, "kernel_shape", 0, 1, &w->kernel_y, &w->kernel_x));
  w->outputs = w->channels;
  w->count_padding = reap_node_int(node, "count_include_pad", 0) != 0;
  REAP_TRY(finish(node, w, reap_node_int(node, "ceil_mode", 0) != 0));
  int64_t reach_y = extent(w->kernel_y, w->dilation_y), reach_x = extent(w->kernel_x, w->dilation_x);
  if (w->pad_top >= reach_y || w->pad_bottom >= reach_y || w->pad_left >= reach_x || w->pad_right >= reach_x)
    return reap_node_error(node, "its padding is as wide as its window, which would then see nothing but padding");
  return REAP_OK;
}
