/* What the kernels share; private to src/exec. */
#ifndef REAP_EXEC_KERNELS_KERNELS_H
#define REAP_EXEC_KERNELS_KERNELS_H

#include "base/each_width.h"
#include "exec/primitives/nest.h"
#include "kernel.h"

/* One definition each in kernel_*.c; operators.def binds them to operators. */
extern const reap_kernel reap_kernel_conv, reap_kernel_conv_transposed, reap_kernel_gemm, reap_kernel_matmul,
    reap_kernel_norm, reap_kernel_normalisation, reap_kernel_lrn, reap_kernel_relu, reap_kernel_clip,
    reap_kernel_elementwise, reap_kernel_chain, reap_kernel_copy, reap_kernel_cast, reap_kernel_arithmetic,
    reap_kernel_compare, reap_kernel_where, reap_kernel_max_pool, reap_kernel_average_pool,
    reap_kernel_global_average_pool, reap_kernel_global_max_pool, reap_kernel_reduce, reap_kernel_softmax,
    reap_kernel_arg, reap_kernel_top_k, reap_kernel_concat, reap_kernel_slice, reap_kernel_pad, reap_kernel_reshape,
    reap_kernel_transpose, reap_kernel_gather, reap_kernel_expand, reap_kernel_tile, reap_kernel_blocks,
    reap_kernel_resize;

/* REAP_ERR_INPUT unless input `slot` is there and is computed (not constant). */
int reap_kernel_needs_input(const reap_graph *graph, const reap_node *node, int slot);

/* The number in constant input `slot`, or else in the float attribute, or else `fallback`. */
int reap_kernel_number(const reap_graph *graph, const reap_node *node, int slot, const char *attribute, float fallback,
                       float *number);

/* True if that backend is to use oneDNN. */
bool reap_kernel_uses_onednn(reap_backend backend);

/* A matrix product, with the parameters of reap_sgemm() (linalg/dense.h). */
typedef int (*reap_multiply_call)(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                                  int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/* That of BLAS for a row for each of `images` images (a classifier), else that of the backend. */
int reap_kernel_choose_product(const reap_node *node, reap_backend backend, int64_t rows, int64_t images,
                               reap_multiply_call *call);

/* A copy of a constant as floats in the given storage order (layout.h); dims[rank] may have more axes of one element
 * than the tensor. The caller's. */
int reap_kernel_constant(const reap_tensor *tensor, bool row_major, int rank, const int64_t *dims, float **out);

/* Input `slot` as an operand of loops over `out`: its strides along the axes of `out`, 0 where it is broadcast.
 * *constant becomes a copy in the storage order of `out`, the caller's, if the input is constant; else it is left as it
 * is. */
int reap_kernel_operand(const reap_graph *graph, const reap_node *node, int slot, const reap_value *out,
                        float **constant, int64_t *strides);

/* Bounds of a Clip node; false if they are not constant numbers. */
bool reap_kernel_clip_bounds(const reap_graph *graph, const reap_node *node, float *low, float *high);

/* x[n] into low .. high; a NaN stays. The upper bound wins, as in ONNX, should they cross. */
void reap_kernel_clamp(int64_t n, const float *x, float low, float high, float *out);

/* The reverse of reap_storage_to_rows. */
void reap_rows_to_storage(const reap_value *value, const float *rows, float *stored);

#endif
