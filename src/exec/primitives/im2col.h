/* Patches of an image as rows of a matrix: what convolutions multiply and what moments are made of. Local. */
#ifndef REAP_EXEC_PRIMITIVES_IM2COL_H
#define REAP_EXEC_PRIMITIVES_IM2COL_H

#include <stdint.h>

#include "model/operators/geometry.h"

/* Row r is the window of the output position p = positions[r], or first_position + r where positions is NULL, with
 * p = (oz * out_height + oy) * out_width + ox. Column t * channels + c is tap t = (kz * kernel_y + ky) * kernel_x + kx
 * of channel first_channel + c; zero where the window lies on padding.
 *
 *   image [depth, height, width, w->channels]: one image, channels last
 *   rows  [n_positions, taps * channels]
 *
 * Runs of channels (whole kernel rows where all channels are asked for and dilation_x is 1) are copied as they lie. */
void reap_im2col_rows_f32(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, float *rows);
void reap_im2col_rows_f64(const reap_window *w, const float *image, int64_t first_channel, int64_t channels,
                          int64_t n_positions, const int64_t *positions, int64_t first_position, double *rows);

/* The transpose of that: every entry of the rows [n_positions, taps * channels] of positions first_position, ... is
 * added to the entry of the image [depth, height, width, w->channels] that it would be a copy of. */
void reap_col2im_add(const reap_window *w, int64_t first_channel, int64_t channels, int64_t first_position,
                     int64_t n_positions, const float *rows, float *image);

#endif
