/* Pad: a constant around the image, or what mirroring it, its border or its other end give.
 *
 * Method: along each axis the output is up to three parts, in front of the image, the image, and behind it; each part
 * takes the input at a step of 1, -1 or 0. Every combination of parts is one box, copied by a loop nest (kernels.h)
 * built once. Of a constant there is one box, and the rest is filled. Memory-bound.
 */
#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct box {
  reap_nest nest;   /* operands: output, input */
  int64_t to, from; /* where it begins */
} box;

typedef struct pad_state {
  bool filled;
  float fill;
  int n_boxes;
  box *boxes;
} pad_state;

static void pad_destroy(void **state) {
  pad_state *s = *state;
  reap_free(&s->boxes);
}

/* One part of an axis. */
typedef struct part {
  int64_t to, from, count, step;
} part;

/* Parts of an axis of `n` elements with `before` and `after` others around it; their number. */
static int find_parts(reap_pad_mode mode, int64_t n, int64_t before, int64_t after, part parts[3]) {
  int count = 0;
  const bool mirrored = mode == REAP_PAD_REFLECT, edge = mode == REAP_PAD_EDGE;
  const int64_t step = mirrored ? -1 : edge ? 0 : 1;
  parts[count++] = (part){before, 0, n, 1};
  if (mode == REAP_PAD_CONSTANT) return count;
  if (before > 0) parts[count++] = (part){0, mirrored ? before : edge ? 0 : n - before, before, step};
  if (after > 0) parts[count++] = (part){before + n, mirrored ? n - 2 : edge ? n - 1 : 0, after, step};
  return count;
}

/* The box of parts chosen[i] of each axis. */
static void build_box(int rank, const int64_t *own, const int64_t *to, part (*parts)[3], const int *chosen, box *b) {
  int64_t dims[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  b->to = b->from = 0;
  for (int i = 0; i < rank; i++) {
    const part *p = &parts[i][chosen[i]];
    dims[i] = p->count;
    strides[0][i] = to[i];
    strides[1][i] = p->step * own[i];
    b->to += p->to * to[i];
    b->from += p->from * own[i];
  }
  reap_nest_build(rank, dims, 2, strides, &b->nest);
}

static int fill(const reap_graph *graph, const reap_node *node, pad_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  reap_padding padding;
  part parts[REAP_MAX_RANK][3];
  int counts[REAP_MAX_RANK], chosen[REAP_MAX_RANK] = {0}, total = 1;
  int64_t own[REAP_MAX_RANK], to[REAP_MAX_RANK];
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  reap_storage_strides(in, own);
  reap_storage_strides(out, to);
  for (int i = 0; i < in->rank; i++) {
    counts[i] = find_parts(padding.mode, in->dims[i], padding.before[i], padding.after[i], parts[i]);
    total *= counts[i]; /* at most three for each axis */
  }
  s->filled = padding.mode == REAP_PAD_CONSTANT && reap_value_count(in) != reap_value_count(out);
  s->fill = (float)padding.value;
  REAP_TRY(reap_alloc(&s->boxes, total, sizeof *s->boxes));
  for (s->n_boxes = 0; s->n_boxes < total; s->n_boxes++) {
    build_box(in->rank, own, to, parts, chosen, &s->boxes[s->n_boxes]);
    for (int i = 0; i < in->rank && ++chosen[i] == counts[i]; i++) chosen[i] = 0;
  }
  return REAP_OK;
}

static int pad_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(pad_state)));
  return fill(graph, node, *state);
}

static int pad_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                   float *output) {
  const pad_state *s = state;
  const int64_t n = s->filled ? reap_value_count(reap_node_output(graph, node, 0)) : 0;
  for (int64_t i = 0; i < n; i++) output[i] = s->fill;
  for (int k = 0; k < s->n_boxes; k++)
    reap_nest_copy(&s->boxes[k].nest, output + s->boxes[k].to, inputs[0] + s->boxes[k].from);
  return REAP_OK;
}

const reap_kernel reap_kernel_pad = {pad_prepare, pad_run, pad_destroy, false, NULL, false};
