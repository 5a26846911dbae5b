/* Convolutions and matrix products through oneDNN; see onednn.h. The only file that names its symbols.
 *
 * Method: forward inference in float32 with images channels last on both sides (which costs nothing against oneDNN's
 * own blocked layouts) and weights in whatever layout the library prefers, reordered once. Algorithm: direct, whose
 * rounding errors are those of a plain sum. Scratch memory is ours and allocated once.
 *
 * Versions: 2.x describes an operation first and makes a primitive descriptor from that; 3.x does both in one call and
 * keeps its memory descriptors to itself. The first part of this file hides the difference.
 */
#include "onednn.h"

#include <dnnl.h>
#include <math.h>
#include <stdio.h>

#include "reap/error.h"
#include "reap/memory.h"

/* ---------------------------------------------------------------- versions */

/* Where the convolution's windows lie, as oneDNN takes it. */
typedef struct placement {
  dnnl_dims_t strides, dilates, before, after;
} placement;

#if DNNL_VERSION_MAJOR == 2

typedef dnnl_memory_desc_t layout;
typedef const dnnl_memory_desc_t *borrowed_layout;

static void layout_destroy(layout *l) { (void)l; }
static borrowed_layout layout_of(const layout *l) { return l; }

static dnnl_status_t layout_create(layout *l, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_init_by_tag(l, rank, dims, dnnl_f32, tag);
}

static dnnl_status_t describe(dnnl_engine_t engine, const layout *src, const layout *weights, const layout *bias,
                              const layout *dst, const placement *p, const_dnnl_primitive_attr_t attributes,
                              dnnl_primitive_desc_t *out) {
  dnnl_convolution_desc_t operation;
  dnnl_status_t code =
      dnnl_dilated_convolution_forward_desc_init(&operation, dnnl_forward_inference, dnnl_convolution_direct, src,
                                                 weights, bias, dst, p->strides, p->dilates, p->before, p->after);
  return code != dnnl_success ? code : dnnl_primitive_desc_create(out, &operation, attributes, engine, NULL);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1.0f); }

static dnnl_status_t append_clamp(dnnl_post_ops_t ops, const reap_fusion *f) {
  if (f->low == 0 && f->high == INFINITY) return dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
  return dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_clip, f->low, f->high);
}

#elif DNNL_VERSION_MAJOR == 3

typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t borrowed_layout;

static void layout_destroy(layout *l) {
  if (*l) dnnl_memory_desc_destroy(*l);
}
static borrowed_layout layout_of(const layout *l) { return *l; }

static dnnl_status_t layout_create(layout *l, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_create_with_tag(l, rank, dims, dnnl_f32, tag);
}

static dnnl_status_t describe(dnnl_engine_t engine, const layout *src, const layout *weights, const layout *bias,
                              const layout *dst, const placement *p, const_dnnl_primitive_attr_t attributes,
                              dnnl_primitive_desc_t *out) {
  return dnnl_convolution_forward_primitive_desc_create(out, engine, dnnl_forward_inference, dnnl_convolution_direct,
                                                        *src, *weights, bias ? *bias : NULL, *dst, p->strides,
                                                        p->dilates, p->before, p->after, attributes);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
  return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t append_clamp(dnnl_post_ops_t ops, const reap_fusion *f) {
  if (f->low == 0 && f->high == INFINITY) return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f);
  return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_clip, f->low, f->high);
}

#else
#error "reap knows oneDNN 2 and 3; configure with -DREAP_ONEDNN=OFF, or adapt src/exec/primitives/onednn.c"
#endif

const char *reap_onednn_name(void) {
  static char name[48];
  const dnnl_version_t *v = dnnl_version();
  snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
  return name;
}

/* ---------------------------------------------------------------- creation */

enum { ARGUMENTS = 5 }; /* source, destination, weights, bias, scratch */

struct reap_onednn_conv {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t arguments[ARGUMENTS];
  int n_arguments;        /* the first two are source and destination, without data until a run */
  float *data[ARGUMENTS]; /* what the other arguments point to */
  char title[160];
};

/* What is needed during creation only. */
typedef struct builder {
  layout src, dst, weights, plain_weights, bias; /* plain_weights: as they come */
  dnnl_primitive_attr_t attributes;
  dnnl_primitive_desc_t desc;
} builder;

static int check(const char *title, const char *step, dnnl_status_t code) {
  if (code == dnnl_success) return REAP_OK;
  return reap_error(code == dnnl_out_of_memory ? REAP_ERR_RESOURCE : REAP_ERR_INPUT,
                    "%s: oneDNN failed to %s (status %d); the plain backend may do", title, step, (int)code);
}

static void builder_destroy(builder *b) {
  if (b->desc) dnnl_primitive_desc_destroy(b->desc);
  if (b->attributes) dnnl_primitive_attr_destroy(b->attributes);
  layout_destroy(&b->src);
  layout_destroy(&b->dst);
  layout_destroy(&b->weights);
  layout_destroy(&b->plain_weights);
  layout_destroy(&b->bias);
}

/* Such images go without a depth: the library is faster on two axes than on three of which one is 1. */
static bool is_flat(const reap_window *w) { return w->depth == 1 && w->kernel_z == 1 && w->out_depth == 1; }

/* dims [rank] from batch or groups and so on, and the sizes of three axes. */
static void fill_dims(dnnl_dims_t dims, int leading, const int64_t *lead, bool flat, const int64_t sizes[3]) {
  for (int i = 0; i < leading; i++) dims[i] = lead[i];
  for (int i = flat ? 1 : 0; i < 3; i++) dims[leading++] = sizes[i];
}

static int create_layouts(const reap_window *w, const char *title, builder *b) {
  const int64_t g = w->groups, depth = w->channels / g;
  const bool flat = is_flat(w);
  const int64_t taps[] = {w->kernel_z, w->kernel_y, w->kernel_x};
  const dnnl_dims_t bias = {w->outputs};
  dnnl_dims_t src, dst, weights;
  fill_dims(src, 2, (int64_t[]){w->batch, w->channels}, flat, (int64_t[]){w->depth, w->height, w->width});
  fill_dims(dst, 2, (int64_t[]){w->batch, w->outputs}, flat, (int64_t[]){w->out_depth, w->out_height, w->out_width});
  if (g > 1)
    fill_dims(weights, 3, (int64_t[]){g, w->outputs / g, depth}, flat, taps);
  else
    fill_dims(weights, 2, (int64_t[]){w->outputs, depth}, flat, taps);
  const int axes = flat ? 4 : 5, rank = g > 1 ? axes + 1 : axes;
  const dnnl_format_tag_t images = flat ? dnnl_nhwc : dnnl_ndhwc, single = flat ? dnnl_oihw : dnnl_oidhw,
                          grouped = flat ? dnnl_goihw : dnnl_goidhw;
  const char *step = "describe the tensors";
  REAP_TRY(check(title, step, layout_create(&b->src, axes, src, images)));
  REAP_TRY(check(title, step, layout_create(&b->dst, axes, dst, images)));
  REAP_TRY(check(title, step, layout_create(&b->weights, rank, weights, dnnl_format_tag_any)));
  REAP_TRY(check(title, step, layout_create(&b->plain_weights, rank, weights, g > 1 ? grouped : single)));
  return check(title, step, layout_create(&b->bias, 1, bias, dnnl_x));
}

/* What the library does to the results while they are in registers. */
static int set_fusion(const reap_fusion *fusion, const char *title, builder *b) {
  dnnl_post_ops_t ops = NULL;
  if (!fusion->add && !fusion->clamp) return REAP_OK;
  dnnl_status_t code = dnnl_post_ops_create(&ops);
  if (code == dnnl_success && fusion->add) code = append_sum(ops);
  if (code == dnnl_success && fusion->clamp) code = append_clamp(ops, fusion);
  if (code == dnnl_success) code = dnnl_primitive_attr_set_post_ops(b->attributes, ops);
  if (ops) dnnl_post_ops_destroy(ops);
  return check(title, "add to a convolution", code);
}

static int create_primitive(const reap_window *w, bool has_bias, const reap_fusion *fusion, builder *b,
                            reap_onednn_conv *c) {
  placement p;
  const bool flat = is_flat(w);
  fill_dims(p.strides, 0, NULL, flat, (int64_t[]){w->stride_z, w->stride_y, w->stride_x});
  fill_dims(p.dilates, 0, NULL, flat, /* counted from 0 there */
            (int64_t[]){w->dilation_z - 1, w->dilation_y - 1, w->dilation_x - 1});
  fill_dims(p.before, 0, NULL, flat, (int64_t[]){w->pad_front, w->pad_top, w->pad_left});
  fill_dims(p.after, 0, NULL, flat, (int64_t[]){w->pad_back, w->pad_bottom, w->pad_right});
  const char *step = "make a convolution";
  REAP_TRY(check(c->title, step, dnnl_primitive_attr_create(&b->attributes)));
  REAP_TRY(check(c->title, step, dnnl_primitive_attr_set_scratchpad_mode(b->attributes, dnnl_scratchpad_mode_user)));
  REAP_TRY(set_fusion(fusion, c->title, b));
  REAP_TRY(check(
      c->title, step,
      describe(c->engine, &b->src, &b->weights, has_bias ? &b->bias : NULL, &b->dst, &p, b->attributes, &b->desc)));
  return check(c->title, step, dnnl_primitive_create(&c->primitive, b->desc));
}

/* Adds an argument of that layout; `data` may be NULL for later. */
static int add_argument(reap_onednn_conv *c, int name, borrowed_layout shape, void *data) {
  dnnl_memory_t memory = NULL;
  REAP_TRY(check(c->title, "wrap memory", dnnl_memory_create(&memory, shape, c->engine, data)));
  c->arguments[c->n_arguments++] = (dnnl_exec_arg_t){name, memory};
  return REAP_OK;
}

/* Adds an argument with memory of its own, uninitialised. */
static int add_owned(reap_onednn_conv *c, int name, borrowed_layout shape) {
  float **data = &c->data[c->n_arguments];
  int64_t floats = (int64_t)(dnnl_memory_desc_get_size(shape) / sizeof **data) + 1; /* + 1: sizes need not be whole */
  REAP_TRY(reap_alloc(data, floats, sizeof **data));
  return add_argument(c, name, shape, *data);
}

/* Brings weights from the order of the file to the one the primitive asked for. */
static int reorder_weights(const float *weights, const builder *b, reap_onednn_conv *c, dnnl_memory_t to) {
  borrowed_layout plain = layout_of(&b->plain_weights);
  borrowed_layout wanted = dnnl_primitive_desc_query_md(b->desc, dnnl_query_weights_md, 0);
  dnnl_memory_t from = NULL;
  dnnl_primitive_desc_t desc = NULL;
  dnnl_primitive_t reorder = NULL;
  void *data = (void *)(uintptr_t)weights; /* read only, which oneDNN's types cannot say */
  dnnl_status_t code = dnnl_memory_create(&from, plain, c->engine, data);
  if (code == dnnl_success) code = dnnl_reorder_primitive_desc_create(&desc, plain, c->engine, wanted, c->engine, NULL);
  if (code == dnnl_success) code = dnnl_primitive_create(&reorder, desc);
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  if (code == dnnl_success) code = dnnl_primitive_execute(reorder, c->stream, 2, arguments);
  if (code == dnnl_success) code = dnnl_stream_wait(c->stream);
  if (reorder) dnnl_primitive_destroy(reorder);
  if (desc) dnnl_primitive_desc_destroy(desc);
  if (from) dnnl_memory_destroy(from);
  return check(c->title, "reorder weights", code);
}

static int create_arguments(const reap_window *w, const float *weights, const float *bias, const builder *b,
                            reap_onednn_conv *c) {
  REAP_TRY(add_argument(c, DNNL_ARG_SRC, layout_of(&b->src), NULL));
  REAP_TRY(add_argument(c, DNNL_ARG_DST, layout_of(&b->dst), NULL));
  REAP_TRY(add_owned(c, DNNL_ARG_WEIGHTS, dnnl_primitive_desc_query_md(b->desc, dnnl_query_weights_md, 0)));
  REAP_TRY(reorder_weights(weights, b, c, c->arguments[c->n_arguments - 1].memory));
  if (bias) {
    REAP_TRY(add_owned(c, DNNL_ARG_BIAS, layout_of(&b->bias)));
    float *copy = c->data[c->n_arguments - 1];
    for (int64_t i = 0; i < w->outputs; i++) copy[i] = bias[i];
  }
  return add_owned(c, DNNL_ARG_SCRATCHPAD, dnnl_primitive_desc_query_md(b->desc, dnnl_query_scratchpad_md, 0));
}

/* oneDNN crashes where there is no memory for the code that it makes of a convolution; this much is enough for it. */
static const int64_t ROOM = (int64_t)32 << 20;

int reap_onednn_check_room(const char *title) {
  return reap_error_prefix(reap_memory_check("oneDNN", ROOM), "%s", title);
}

static int create(const reap_window *w, const float *weights, const float *bias, const reap_fusion *fusion, builder *b,
                  reap_onednn_conv *c) {
  REAP_TRY(reap_onednn_check_room(c->title));
  REAP_TRY(check(c->title, "start", dnnl_engine_create(&c->engine, dnnl_cpu, 0)));
  REAP_TRY(check(c->title, "start", dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags)));
  REAP_TRY(create_layouts(w, c->title, b));
  REAP_TRY(create_primitive(w, bias != NULL, fusion, b, c));
  return create_arguments(w, weights, bias, b, c);
}

int reap_onednn_conv_create(const reap_window *w, const char *title, const float *weights, const float *bias,
                            const reap_fusion *fusion, reap_onednn_conv **out) {
  reap_onednn_conv *c = NULL;
  REAP_TRY(reap_calloc(&c, 1, sizeof *c));
  snprintf(c->title, sizeof c->title, "%s", title);
  builder b = {.desc = NULL};
  int status = create(w, weights, bias, fusion, &b, c);
  builder_destroy(&b);
  if (status != REAP_OK) reap_onednn_conv_destroy(&c);
  *out = c;
  return status;
}

void reap_onednn_conv_destroy(reap_onednn_conv **conv) {
  reap_onednn_conv *c = *conv;
  if (!c) return;
  for (int i = 0; i < c->n_arguments; i++) dnnl_memory_destroy(c->arguments[i].memory);
  for (int i = 0; i < ARGUMENTS; i++) reap_free(&c->data[i]);
  if (c->primitive) dnnl_primitive_destroy(c->primitive);
  if (c->stream) dnnl_stream_destroy(c->stream);
  if (c->engine) dnnl_engine_destroy(c->engine);
  reap_free(conv);
}

/* ---------------------------------------------------------------- running */

int reap_onednn_conv_run(reap_onednn_conv *conv, const float *input, float *output) {
  void *source = (void *)(uintptr_t)input; /* read only, which oneDNN's types cannot say */
  dnnl_status_t code = dnnl_memory_set_data_handle(conv->arguments[0].memory, source);
  if (code == dnnl_success) code = dnnl_memory_set_data_handle(conv->arguments[1].memory, output);
  if (code == dnnl_success)
    code = dnnl_primitive_execute(conv->primitive, conv->stream, conv->n_arguments, conv->arguments);
  if (code == dnnl_success) code = dnnl_stream_wait(conv->stream);
  return check(conv->title, "run a convolution", code);
}

/* Row-major there: the transposes of all three. */
int reap_onednn_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                      const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  return check("matrix product", "multiply matrices", dnnl_sgemm(tb, ta, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc));
}
