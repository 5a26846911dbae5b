/* Convolutions through oneDNN; private to src/exec. Only onednn.c includes the library. */
#ifndef REAP_EXEC_KERNELS_ONEDNN_H
#define REAP_EXEC_KERNELS_ONEDNN_H

#include "kernel.h"
#include "model/operators/geometry.h"

typedef struct reap_onednn_conv reap_onednn_conv;

/* Prepares a convolution of blocks of w->batch images.
 *   weights [outputs, channels / groups, kernel_y, kernel_x], bias [outputs] or NULL: copied
 *   fusion: the result is added to what the output holds, and clamped
 * `title` names the node in messages. REAP_ERR_RESOURCE without memory, REAP_ERR_INPUT if oneDNN refuses. */
int reap_onednn_conv_create(const reap_window *w, const char *title, const float *weights, const float *bias,
                            const reap_fusion *fusion, reap_onednn_conv **out);
void reap_onednn_conv_destroy(reap_onednn_conv **conv);

/* input [batch, height, width, channels], output [batch, out_height, out_width, outputs] */
int reap_onednn_conv_run(reap_onednn_conv *conv, const float *input, float *output);

/* "oneDNN 2.6.3": the library that was loaded. */
const char *reap_onednn_name(void);

#endif
