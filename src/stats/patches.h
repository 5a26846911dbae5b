/* Rows of a linear layer, X and Y, as the files have them: which positions of an image count, and what stands there.
 * Local. */
#ifndef REAP_STATS_PATCHES_H
#define REAP_STATS_PATCHES_H

#include <stdint.h>

#include "accumulator.h"
#include "model/operators/layer.h"

/* Rows of one image. */
int64_t reap_patches_per_image(const reap_layer *layer, const reap_sampling *sampling);

/* Positions of image `image` that count, ascending, into positions[reap_patches_per_image()]: those that the moments
 * take (see accumulator.h). */
void reap_patches_positions(const reap_layer *layer, const char *name, const reap_sampling *sampling, int64_t image,
                            int64_t *positions);

/* Row and column of a position in the layer's output: (oy, ox) of a convolution, (row, 0) of a matrix product,
 * whose rows count in ONNX's order. */
void reap_patches_place(const reap_layer *layer, int64_t position, int64_t place[2]);

/* X [count, n] in the file's order of columns (channel * block + t) and Y [count, m] at positions[count] of one image
 * of a block; x, y: the layer's input and output of that image in storage order. scratch: [n] floats. */
void reap_patches_gather(const reap_layer *layer, const float *x, const float *y, int64_t count,
                         const int64_t *positions, float *scratch, float *rows_x, float *rows_y);

/* Elements of one image's input and output. */
int64_t reap_patches_input_size(const reap_layer *layer);
int64_t reap_patches_output_size(const reap_layer *layer);

#endif
