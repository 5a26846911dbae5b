/* Making, copying and reading tensors (reap/graph.h). Local. */
#ifndef REAP_MODEL_TENSOR_H
#define REAP_MODEL_TENSOR_H

#include "reap/graph.h"

/* Zero-filled tensor; the caller owns it. REAP_ERR_INPUT for a rank or a dimension out of range. */
int reap_tensor_create(reap_dtype dtype, int rank, const int64_t *dims, reap_tensor **out);

/* Float tensor of values[product of dims], a block of reap_alloc() that it shares (reap/memory.h). */
int reap_tensor_of(int rank, const int64_t *dims, float *values, reap_tensor **out);

/* The clone shares the numbers (float32) until one of the two calls reap_tensor_own() in order to write to them. */
int reap_tensor_clone(const reap_tensor *tensor, reap_tensor **out);
int reap_tensor_own(reap_tensor *tensor);

/* Copy of a float matrix, with rows for columns; its precision is float32. */
int reap_tensor_transpose(const reap_tensor *matrix, reap_tensor **out);
void reap_tensor_destroy(reap_tensor **tensor);

/* New rank-1 int64 tensor with the given values. */
int reap_tensor_from_ints(const int64_t *values, int64_t count, reap_tensor **out);

/* Element i as a number of the other type. */
double reap_tensor_number(const reap_tensor *tensor, int64_t i);

/* True if shapes are equal. */
bool reap_same_dims(int rank_a, const int64_t *a, int rank_b, const int64_t *b);

/* Row-major strides in elements of dims[rank]. */
void reap_row_major_strides(int rank, const int64_t *dims, int64_t *strides);

/* Copies a box of dims[rank] elements of `size` bytes (4 or 8) between two strided arrays (strides in elements, any
 * sign): what slicing, padding, transposing and concatenating come down to. */
void reap_strided_copy(int rank, const int64_t *dims, int size, void *to, const int64_t *to_strides, const void *from,
                       const int64_t *from_strides);

#endif
