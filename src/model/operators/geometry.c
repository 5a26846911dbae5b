/* Windows of convolutions and poolings from attributes and shapes; see geometry.h. */
#include "geometry.h"

#include <stdbool.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"

/* Sizes beyond this cannot be images, and keep all sums below far from overflow. */
static const int64_t LARGEST = (int64_t)1 << 31;

enum { AXES = 3 }; /* depth, height, width */

/* A window axis by axis. Axes in front of `first` are not there. */
typedef struct frame {
  int first;
  int64_t size[AXES], out[AXES], kernel[AXES], stride[AXES], dilation[AXES], before[AXES], after[AXES];
} frame;

static int present(const frame *f) { return AXES - f->first; }

/* Integers for each axis that is there from a list attribute, checked to lie in [least, LARGEST]. */
static int read_list(const reap_node *node, const char *name, int64_t fallback, int64_t least, const frame *f,
                     int64_t out[AXES]) {
  for (int i = 0; i < AXES; i++) out[i] = i < f->first ? 1 : fallback;
  const reap_attribute *a = reap_node_attribute(node, name);
  if (!a) return REAP_OK;
  if (a->kind != REAP_ATTRIBUTE_INTS || a->count != present(f))
    return reap_node_error(node, "%s does not have %d entries, one for each axis of its windows", name, present(f));
  for (int i = f->first; i < AXES; i++) {
    out[i] = a->ints[i - f->first];
    if (out[i] < least || out[i] > LARGEST)
      return reap_node_error(node, "%s has the entry %lld, which is out of range", name, (long long)out[i]);
  }
  return REAP_OK;
}

static int64_t extent(const frame *f, int axis) { return (f->kernel[axis] - 1) * f->dilation[axis] + 1; }

/* auto_pad: as much padding as makes the output ceil(input / stride), the odd one behind or in front. */
static void same_padding(frame *f, int axis, bool upper) {
  int64_t out = (f->size[axis] + f->stride[axis] - 1) / f->stride[axis];
  int64_t total = (out - 1) * f->stride[axis] + extent(f, axis) - f->size[axis];
  if (total < 0) total = 0;
  f->before[axis] = upper ? total / 2 : total - total / 2;
  f->after[axis] = total - f->before[axis];
}

static int listed_padding(const reap_node *node, frame *f) {
  const reap_attribute *pads = reap_node_attribute(node, "pads");
  const int n = present(f);
  if (!pads) return REAP_OK;
  if (pads->kind != REAP_ATTRIBUTE_INTS || pads->count != 2 * n)
    return reap_node_error(node, "pads does not have %d entries, two for each axis of its windows", 2 * n);
  for (int i = 0; i < 2 * n; i++)
    if (pads->ints[i] < 0 || pads->ints[i] > LARGEST)
      return reap_node_error(node, "pads has the entry %lld, which is out of range", (long long)pads->ints[i]);
  memcpy(f->before + f->first, pads->ints, (size_t)n * sizeof *f->before);
  memcpy(f->after + f->first, pads->ints + n, (size_t)n * sizeof *f->after);
  return REAP_OK;
}

static int paddings(const reap_node *node, frame *f) {
  const char *automatic = reap_node_string(node, "auto_pad", "NOTSET");
  if (strcmp(automatic, "SAME_UPPER") == 0 || strcmp(automatic, "SAME_LOWER") == 0) {
    for (int i = f->first; i < AXES; i++) same_padding(f, i, strcmp(automatic, "SAME_UPPER") == 0);
    return REAP_OK;
  }
  if (strcmp(automatic, "VALID") == 0) return REAP_OK;
  if (strcmp(automatic, "NOTSET") != 0) return reap_node_error(node, "auto_pad = %s is not known", automatic);
  return listed_padding(node, f);
}

/* Output size along one axis; with `ceil`, the last window may reach past the padding behind the image, if by less than
 * a stride, but has to start in front of it. This includes a first window that is larger than the padded image. */
static int64_t out_size(const frame *f, int axis, bool ceil) {
  int64_t stride = f->stride[axis];
  int64_t room = f->size[axis] + f->before[axis] + f->after[axis] - extent(f, axis) + (ceil ? stride - 1 : 0);
  if (room < 0) return 0;
  int64_t out = room / stride + 1;
  if (ceil && (out - 1) * stride >= f->size[axis] + f->before[axis]) out--;
  return out;
}

/* Sizes of the input, strides and dilations. */
static int start(const reap_graph *graph, const reap_node *node, frame *f, reap_window *w) {
  const reap_value *x = reap_node_input(graph, node, 0);
  memset(w, 0, sizeof *w);
  memset(f, 0, sizeof *f);
  if (x->rank < 3 || x->rank > 2 + AXES)
    return reap_node_error(node,
                           "its input has rank %d; [batch, channels, ...] with one to %d axes of windows is supported",
                           x->rank, AXES);
  w->batch = x->dims[0];
  w->channels = x->dims[1];
  w->groups = 1;
  f->first = AXES - (x->rank - 2);
  for (int i = 0; i < AXES; i++) {
    f->size[i] = i < f->first ? 1 : x->dims[2 + i - f->first];
    if (f->size[i] > LARGEST || f->size[i] < 1) return reap_node_error(node, "its input is empty or too large");
  }
  REAP_TRY(read_list(node, "strides", 1, 1, f, f->stride));
  return read_list(node, "dilations", 1, 1, f, f->dilation);
}

static int check_kernel(const reap_node *node, const frame *f) {
  for (int i = 0; i < AXES; i++) {
    if (f->kernel[i] < 1) return reap_node_error(node, "its kernel is empty");
    if (f->kernel[i] > LARGEST / f->dilation[i]) return reap_node_error(node, "kernel times dilation is out of range");
  }
  return REAP_OK;
}

static void store(const frame *f, reap_window *w) {
  int64_t *const fields[][AXES] = {{&w->depth, &w->height, &w->width},
                                   {&w->out_depth, &w->out_height, &w->out_width},
                                   {&w->kernel_z, &w->kernel_y, &w->kernel_x},
                                   {&w->stride_z, &w->stride_y, &w->stride_x},
                                   {&w->dilation_z, &w->dilation_y, &w->dilation_x},
                                   {&w->pad_front, &w->pad_top, &w->pad_left},
                                   {&w->pad_back, &w->pad_bottom, &w->pad_right}};
  const int64_t *const lists[] = {f->size, f->out, f->kernel, f->stride, f->dilation, f->before, f->after};
  for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++)
    for (int i = 0; i < AXES; i++) *fields[k][i] = lists[k][i];
}

static int finish(const reap_node *node, frame *f, bool ceil, reap_window *w) {
  REAP_TRY(check_kernel(node, f));
  REAP_TRY(paddings(node, f));
  for (int i = 0; i < AXES; i++) {
    f->out[i] = out_size(f, i, ceil);
    if (f->out[i] < 1)
      return reap_node_error(node, "the window does not fit into the image (%lld x %lld)", (long long)f->size[1],
                             (long long)f->size[2]);
  }
  store(f, w);
  return REAP_OK;
}

/* Kernel and channels that the weights [rows, columns, taps] give; rows or columns are for all groups. */
static int read_weights(const reap_graph *graph, const reap_node *node, frame *f, reap_window *w) {
  const reap_value *x = reap_node_input(graph, node, 0), *weights = reap_node_input(graph, node, 1);
  if (!weights || weights->rank != x->rank)
    return reap_node_error(node, "its weights do not have the rank of its input, %d", x->rank);
  for (int i = 0; i < AXES; i++) f->kernel[i] = i < f->first ? 1 : weights->dims[2 + i - f->first];
  w->groups = reap_node_int(node, "group", 1);
  int64_t listed[AXES];
  REAP_TRY(read_list(node, "kernel_shape", 0, 1, f, listed));
  for (int i = f->first; i < AXES; i++)
    if (listed[i] && listed[i] != f->kernel[i]) return reap_node_error(node, "kernel_shape differs from its weights");
  return REAP_OK;
}

static int check_groups(const reap_node *node, int64_t groups, int64_t channels, int64_t outputs) {
  if (outputs < 1 || channels < 1) return reap_node_error(node, "it has no channels");
  if (groups >= 1 && channels % groups == 0 && outputs % groups == 0) return REAP_OK;
  return reap_node_error(node, "group = %lld does not divide %lld channels and %lld outputs", (long long)groups,
                         (long long)channels, (long long)outputs);
}

int reap_conv_window(const reap_graph *graph, const reap_node *node, reap_window *w) {
  frame f;
  REAP_TRY(start(graph, node, &f, w));
  REAP_TRY(read_weights(graph, node, &f, w));
  const reap_value *weights = reap_node_input(graph, node, 1);
  w->outputs = weights->dims[0];
  REAP_TRY(check_groups(node, w->groups, w->channels, w->outputs));
  if (weights->dims[1] != w->channels / w->groups)
    return reap_node_error(node, "its weights are for %lld channels, its input has %lld (group = %lld)",
                           (long long)weights->dims[1], (long long)w->channels, (long long)w->groups);
  return finish(node, &f, false, w);
}

/* A dilated window that reaches beyond the padding, where padding counts: the ONNX reference counts what lies beyond,
 * runtimes do not. */
static int check_counted(const reap_node *node, const frame *f) {
  for (int i = 0; i < AXES; i++)
    if (f->dilation[i] > 1 && (f->out[i] - 1) * f->stride[i] + extent(f, i) > f->before[i] + f->size[i] + f->after[i])
      return reap_node_error(node,
                             "what ceil_mode adds to a dilated window is counted by some runtimes only; export it "
                             "with count_include_pad = 0, or pad the image");
  return REAP_OK;
}

int reap_pool_window(const reap_graph *graph, const reap_node *node, reap_window *w) {
  frame f;
  REAP_TRY(start(graph, node, &f, w));
  REAP_TRY(read_list(node, "kernel_shape", 0, 1, &f, f.kernel));
  w->outputs = w->channels;
  w->count_padding = reap_node_int(node, "count_include_pad", 0) != 0;
  REAP_TRY(finish(node, &f, reap_node_int(node, "ceil_mode", 0) != 0, w));
  if (w->count_padding) REAP_TRY(check_counted(node, &f));
  for (int i = 0; i < AXES; i++)
    if (f.before[i] >= extent(&f, i) || f.after[i] >= extent(&f, i))
      return reap_node_error(node, "its padding is as wide as its window, which would then see nothing but padding");
  return REAP_OK;
}

/* Where a runtime pads for a size that is asked for differs from version to version. */
static int check_transposed(const reap_node *node) {
  const char *automatic = reap_node_string(node, "auto_pad", "NOTSET");
  if (reap_node_attribute(node, "output_shape") || strncmp(automatic, "SAME", 4) == 0)
    return reap_node_error(node, "output_shape and auto_pad = SAME are not supported; export it with pads");
  return REAP_OK;
}

int reap_transposed_window(const reap_graph *graph, const reap_node *node, reap_window *w) {
  frame f;
  int64_t extra[AXES];
  REAP_TRY(check_transposed(node));
  REAP_TRY(start(graph, node, &f, w));
  REAP_TRY(read_weights(graph, node, &f, w));
  REAP_TRY(check_kernel(node, &f));
  REAP_TRY(paddings(node, &f));
  REAP_TRY(read_list(node, "output_padding", 0, 0, &f, extra));
  const reap_value *weights = reap_node_input(graph, node, 1);
  w->outputs = w->channels;
  if (weights->dims[0] != w->outputs || reap_multiply(weights->dims[1], w->groups, &w->channels) != REAP_OK)
    return reap_node_error(node, "its weights are for %lld channels, its input has %lld", (long long)weights->dims[0],
                           (long long)w->outputs);
  REAP_TRY(check_groups(node, w->groups, w->outputs, w->channels));
  for (int i = 0; i < AXES; i++) {
    f.out[i] = f.size[i];
    if (i < f.first) continue;
    if (extra[i] >= f.stride[i] && extra[i] >= f.dilation[i])
      return reap_node_error(node, "output_padding = %lld is not below its stride or dilation", (long long)extra[i]);
    f.size[i] = (f.out[i] - 1) * f.stride[i] + extent(&f, i) + extra[i] - f.before[i] - f.after[i];
    if (f.size[i] < 1 || f.size[i] > LARGEST) return reap_node_error(node, "its output is empty or too large");
  }
  store(&f, w);
  return REAP_OK;
}

void reap_window_dims(int64_t batch, int64_t channels, const int64_t sizes[3], int rank, int64_t *dims) {
  dims[0] = batch;
  dims[1] = channels;
  for (int i = 2; i < rank; i++) dims[i] = sizes[AXES - rank + i];
}
