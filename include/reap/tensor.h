/* Constant tensors: weights, biases and folded shape arithmetic. Local. */
#ifndef REAP_TENSOR_H
#define REAP_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/api.h"

REAP_API_BEGIN

enum { REAP_MAX_RANK = 8 };

/* Weights are float32; every integer and boolean type of ONNX is held as int64. */
typedef enum reap_dtype { REAP_F32, REAP_I64 } reap_dtype;

/* Types that weights are kept in. */
typedef enum reap_precision { REAP_FLOAT32, REAP_FLOAT16, REAP_BFLOAT16 } reap_precision;

typedef struct reap_tensor {
  reap_dtype dtype;
  int rank;
  int64_t dims[REAP_MAX_RANK];
  int64_t count;            /* product of dims; 1 for a scalar (rank 0) */
  reap_precision precision; /* of REAP_F32: the type that the network has them in; the values fit it */
  float *f32;               /* [count] row-major, owned, if dtype is REAP_F32 */
  int64_t *i64;             /* [count] row-major, owned, if dtype is REAP_I64 */
} reap_tensor;

/* Zero-filled tensor; the caller owns it. REAP_ERR_INPUT for a rank or a dimension out of range. */
int reap_tensor_create(reap_dtype dtype, int rank, const int64_t *dims, reap_tensor **out);
int reap_tensor_clone(const reap_tensor *tensor, reap_tensor **out);
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

REAP_API_END

#endif
