/* Convolutions and matrix products through oneDNN; private to src/exec. Only onednn.c includes the library. */
#ifndef REAP_EXEC_PRIMITIVES_ONEDNN_H
#define REAP_EXEC_PRIMITIVES_ONEDNN_H

#include "fusion.h"
#include "model/operators/geometry.h"

typedef struct reap_onednn_conv reap_onednn_conv;

/* Prepares a convolution of blocks of w->batch images.
 *   weights [outputs, channels / groups, taps], bias [outputs] or NULL: copied
 *   fusion: the result is added to what the output holds, and clamped
 * `title` names the node in messages. REAP_ERR_RESOURCE without memory, REAP_ERR_INPUT if oneDNN refuses. */
int reap_onednn_conv_create(const reap_window *w, const char *title, const float *weights, const float *bias,
                            const reap_fusion *fusion, reap_onednn_conv **out);
void reap_onednn_conv_destroy(reap_onednn_conv **conv);

/* input [batch, pixels, channels], output [batch, positions, outputs] */
int reap_onednn_conv_run(reap_onednn_conv *conv, const float *input, float *output);

/* reap_sgemm() (linalg/dense.h) by oneDNN, twice as fast on processors that OpenBLAS has no kernels for. The first call
 * for a shape makes code: reap_onednn_check_room() before it. */
int reap_onednn_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                      const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/* REAP_ERR_RESOURCE that names `title` unless there is memory for the code that oneDNN makes. */
int reap_onednn_check_room(const char *title);

/* "oneDNN 2.6.3": the library that was loaded. */
const char *reap_onednn_name(void);

#endif
