#include "tensor.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

/* Without elements yet. */
static int create_empty(reap_dtype dtype, int rank, const int64_t *dims, reap_tensor **out) {
  if (rank < 0 || rank > REAP_MAX_RANK)
    return reap_error(REAP_ERR_INPUT, "a tensor of rank %d is not supported (at most %d)", rank, REAP_MAX_RANK);
  for (int i = 0; i < rank; i++)
    if (dims[i] < 0) return reap_error(REAP_ERR_INPUT, "a tensor has the negative dimension %lld", (long long)dims[i]);
  int64_t count = 0;
  REAP_TRY(reap_product(dims, rank, &count));
  reap_tensor *t = NULL;
  REAP_TRY(reap_calloc(&t, 1, sizeof *t));
  t->dtype = dtype;
  t->rank = rank;
  if (rank > 0) memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
  t->count = count;
  *out = t;
  return REAP_OK;
}

int reap_tensor_create(reap_dtype dtype, int rank, const int64_t *dims, reap_tensor **out) {
  reap_tensor *t = NULL;
  REAP_TRY(create_empty(dtype, rank, dims, &t));
  int status = dtype == REAP_F32 ? reap_calloc(&t->f32, t->count, sizeof *t->f32)
                                 : reap_calloc(&t->i64, t->count, sizeof *t->i64);
  if (status != REAP_OK) reap_tensor_destroy(&t);
  *out = t;
  return status;
}

int reap_tensor_of(int rank, const int64_t *dims, float *values, reap_tensor **out) {
  REAP_TRY(create_empty(REAP_F32, rank, dims, out));
  (*out)->f32 = reap_share(values);
  return REAP_OK;
}

int reap_tensor_clone(const reap_tensor *tensor, reap_tensor **out) {
  if (tensor->dtype == REAP_F32) {
    REAP_TRY(reap_tensor_of(tensor->rank, tensor->dims, tensor->f32, out));
  } else {
    REAP_TRY(reap_tensor_create(tensor->dtype, tensor->rank, tensor->dims, out));
    memcpy((*out)->i64, tensor->i64, (size_t)tensor->count * sizeof *tensor->i64);
  }
  (*out)->precision = tensor->precision;
  return REAP_OK;
}

int reap_tensor_own(reap_tensor *tensor) { return reap_own(&tensor->f32, tensor->count, sizeof *tensor->f32); }

int reap_tensor_transpose(const reap_tensor *matrix, reap_tensor **out) {
  const int64_t rows = matrix->dims[0], columns = matrix->dims[1];
  const int64_t dims[] = {columns, rows}, to[] = {1, rows}, from[] = {columns, 1};
  REAP_TRY(reap_tensor_create(REAP_F32, 2, dims, out));
  reap_strided_copy(2, matrix->dims, sizeof(float), (*out)->f32, to, matrix->f32, from);
  return REAP_OK;
}

void reap_tensor_destroy(reap_tensor **tensor) {
  if (!*tensor) return;
  reap_free(&(*tensor)->f32);
  reap_free(&(*tensor)->i64);
  reap_free(tensor);
}

int reap_tensor_from_ints(const int64_t *values, int64_t count, reap_tensor **out) {
  REAP_TRY(reap_tensor_create(REAP_I64, 1, &count, out));
  if (count > 0) memcpy((*out)->i64, values, (size_t)count * sizeof *values);
  return REAP_OK;
}

double reap_tensor_number(const reap_tensor *tensor, int64_t i) {
  return tensor->dtype == REAP_F32 ? (double)tensor->f32[i] : (double)tensor->i64[i];
}

bool reap_same_dims(int rank_a, const int64_t *a, int rank_b, const int64_t *b) {
  if (rank_a != rank_b) return false;
  for (int i = 0; i < rank_a; i++)
    if (a[i] != b[i]) return false;
  return true;
}

void reap_row_major_strides(int rank, const int64_t *dims, int64_t *strides) {
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    strides[i] = step;
    step *= dims[i];
  }
}

static void copy_line(int64_t n, int size, char *to, int64_t to_step, const char *from, int64_t from_step) {
  if (to_step == 1 && from_step == 1) {
    memcpy(to, from, (size_t)n * (size_t)size);
  } else if (size == 4) {
    for (int64_t i = 0; i < n; i++) memcpy(to + 4 * i * to_step, from + 4 * i * from_step, 4);
  } else {
    for (int64_t i = 0; i < n; i++) memcpy(to + 8 * i * to_step, from + 8 * i * from_step, 8);
  }
}

void reap_strided_copy(int rank, const int64_t *dims, int size, void *to, const int64_t *to_strides, const void *from,
                       const int64_t *from_strides) {
  for (int i = 0; i < rank; i++)
    if (dims[i] == 0) return;
  if (rank == 0) {
    memcpy(to, from, (size_t)size);
    return;
  }
  /* The innermost loop runs over the axis that is contiguous in the target, if there is one. */
  int inner = rank - 1;
  for (int i = 0; i < rank; i++)
    if (to_strides[i] == 1 && dims[i] > 1) inner = i;
  int64_t index[REAP_MAX_RANK] = {0};
  char *t = to;
  const char *f = from;
  for (;;) {
    copy_line(dims[inner], size, t, to_strides[inner], f, from_strides[inner]);
    int axis = rank - 1;
    for (; axis >= 0; axis--) {
      if (axis == inner) continue;
      t += to_strides[axis] * size;
      f += from_strides[axis] * size;
      if (++index[axis] < dims[axis]) break;
      t -= to_strides[axis] * dims[axis] * size;
      f -= from_strides[axis] * dims[axis] * size;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}
