/* Who computes convolutions and matrix products. Local. */
#ifndef REAP_BACKEND_H
#define REAP_BACKEND_H

#include "reap/api.h"

REAP_API_BEGIN

typedef enum reap_backend {
  REAP_BACKEND_AUTO,  /* oneDNN where it was built in, else plain */
  REAP_BACKEND_PLAIN, /* im2col and BLAS: the reference */
  REAP_BACKEND_ONEDNN /* REAP_ERR_USAGE if not built in */
} reap_backend;

/* Name and version of the convolution library in use ("oneDNN 2.6.3", "plain"). */
const char *reap_backend_name(reap_backend backend);

/* Threads that kernels of this process may use; see reap_blas_set_threads(). */
int reap_kernels_set_threads(int threads);

REAP_API_END

#endif
