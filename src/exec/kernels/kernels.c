/* What kernels share: the end of their states, values from storage order to ONNX's and back, and parameters of nodes.
 */
#include "kernels.h"

#include "exec/primitives/onednn.h"
#include "linalg/dense.h"

#include "reap/error.h"
#include "reap/memory.h"

void reap_kernel_release(const reap_kernel *kernel, void **state) {
  if (*state && kernel->destroy) kernel->destroy(state);
  reap_free(state);
}

/* ---------------------------------------------------------------- storage */

static void convert(const reap_value *value, bool to_rows, const float *from, float *to) {
  int64_t strides[2][REAP_MAX_RANK];
  reap_row_major_strides(value->rank, value->dims, strides[to_rows ? 0 : 1]);
  reap_storage_strides(value, strides[to_rows ? 1 : 0]);
  reap_nest nest;
  reap_nest_build(value->rank, value->dims, 2, strides, &nest);
  reap_nest_copy(&nest, to, from);
}

void reap_storage_to_rows(const reap_value *value, const float *stored, float *rows) {
  convert(value, true, stored, rows);
}

void reap_rows_to_storage(const reap_value *value, const float *rows, float *stored) {
  convert(value, false, rows, stored);
}

int reap_kernel_constant(const reap_tensor *tensor, bool row_major, int rank, const int64_t *dims, float **out) {
  int64_t strides[2][REAP_MAX_RANK];
  reap_nest nest;
  float *numbers = NULL;
  reap_storage_strides_of(row_major, rank, dims, strides[0]);
  reap_row_major_strides(rank, dims, strides[1]);
  reap_nest_build(rank, dims, 2, strides, &nest);
  if (tensor->dtype != REAP_F32) REAP_TRY(reap_alloc(&numbers, tensor->count, sizeof *numbers));
  for (int64_t i = 0; numbers && i < tensor->count; i++) numbers[i] = (float)tensor->i64[i];
  int status = reap_alloc(out, tensor->count, sizeof **out);
  if (status == REAP_OK) reap_nest_copy(&nest, *out, numbers ? numbers : tensor->f32);
  reap_free(&numbers);
  return status;
}

int reap_kernel_operand(const reap_graph *graph, const reap_node *node, int slot, const reap_value *out,
                        float **constant, int64_t *strides) {
  const reap_value *in = reap_node_input(graph, node, slot);
  if (!in) return reap_error(REAP_ERR_INPUT, "%s: input %d is missing", reap_node_title(node), slot);
  int lead = out->rank - in->rank;
  if (lead < 0)
    return reap_error(REAP_ERR_INTERNAL, "%s: input %d has more axes than the output", reap_node_title(node), slot);
  int64_t aligned[REAP_MAX_RANK];
  for (int i = 0; i < out->rank; i++) {
    aligned[i] = i < lead ? 1 : in->dims[i - lead];
    if (aligned[i] != 1 && aligned[i] != out->dims[i])
      return reap_error(REAP_ERR_INTERNAL, "%s: axis %d of input %d does not fit the output", reap_node_title(node),
                        i - lead, slot);
    strides[i] = 0;
  }
  if (in->constant) {
    REAP_TRY(reap_kernel_constant(in->constant, reap_stored_row_major(out), out->rank, aligned, constant));
    reap_storage_strides_of(reap_stored_row_major(out), out->rank, aligned, strides);
  } else {
    reap_storage_strides(in, strides + lead);
  }
  for (int i = 0; i < out->rank; i++)
    if (aligned[i] == 1) strides[i] = 0;
  return REAP_OK;
}

/* ---------------------------------------------------------------- parameters of nodes */

int reap_kernel_needs_input(const reap_graph *graph, const reap_node *node, int slot) {
  const reap_value *value = reap_node_input(graph, node, slot);
  if (!value) return reap_error(REAP_ERR_INPUT, "%s: input %d is missing", reap_node_title(node), slot);
  if (value->constant)
    return reap_error(REAP_ERR_INPUT, "%s: input %d is constant, which is not supported here; simplify the model first",
                      reap_node_title(node), slot);
  return REAP_OK;
}

int reap_kernel_number(const reap_graph *graph, const reap_node *node, int slot, const char *attribute, float fallback,
                       float *number) {
  *number = reap_node_float(node, attribute, fallback);
  if (!reap_node_input(graph, node, slot)) return REAP_OK;
  const reap_tensor *tensor = reap_node_constant(graph, node, slot);
  if (!tensor || tensor->count != 1)
    return reap_error(REAP_ERR_INPUT, "%s: input %d (%s) has to be one constant number", reap_node_title(node), slot,
                      attribute);
  *number = (float)reap_tensor_number(tensor, 0);
  return REAP_OK;
}

/* ---------------------------------------------------------------- backends */

bool reap_kernel_uses_onednn(reap_backend backend) {
#ifdef REAP_HAVE_ONEDNN
  return backend != REAP_BACKEND_PLAIN;
#else
  return backend == REAP_BACKEND_ONEDNN;
#endif
}

int reap_kernel_choose_product(const reap_node *node, reap_backend backend, int64_t rows, int64_t images,
                               reap_multiply_call *call) {
  *call = reap_sgemm;
#ifdef REAP_HAVE_ONEDNN
  if (rows <= images || !reap_kernel_uses_onednn(backend)) return REAP_OK;
  *call = reap_onednn_sgemm;
  return reap_onednn_check_room(reap_node_title(node));
#else
  (void)node;
  (void)backend;
  (void)rows;
  (void)images;
  return REAP_OK;
#endif
}
