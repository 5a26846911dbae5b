/* Binds the operators of operators.def to their kernels. */
#include <stddef.h>

#include "exec/primitives/onednn.h"
#include "kernels.h"
#include "linalg/dense.h"

/* OpenMP's runtime comes with oneDNN, if at all: weak, so that reap links without it. */
extern void omp_set_num_threads(int) __attribute__((weak));

static const reap_kernel reap_kernel_none = {NULL, NULL, NULL, false, NULL, false};

#define REAP_OPERATOR(name, min, max, shape, fold, kernel, layout, channels) &reap_kernel_##kernel,

static const reap_kernel *const table[] = {
#include "model/operators.def"
};

#undef REAP_OPERATOR

const reap_kernel *reap_kernel_of(const reap_operator *op) {
  const reap_kernel *kernel = table[op->id];
  return kernel == &reap_kernel_none ? NULL : kernel;
}

const char *reap_backend_name(reap_backend backend) {
#ifdef REAP_HAVE_ONEDNN
  return backend == REAP_BACKEND_PLAIN ? "plain" : reap_onednn_name();
#else
  return backend == REAP_BACKEND_ONEDNN ? "oneDNN (not built in)" : "plain";
#endif
}

int reap_kernels_set_threads(int threads) {
  if (omp_set_num_threads) omp_set_num_threads(threads);
  return reap_blas_set_threads(threads);
}
